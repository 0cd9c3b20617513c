"""Superset's settings. Addresses and secrets come from the environment."""

import os

from superset import config  # half read at this moment: what follows only takes defaults that stand above its end

SECRET_KEY = os.environ["SUPERSET_SECRET_KEY"]
SQLALCHEMY_DATABASE_URI = os.environ["SUPERSET_DATABASE_URI"]
SQLALCHEMY_TRACK_MODIFICATIONS = False

APP_NAME = "Data platform"
WTF_CSRF_ENABLED = True
TALISMAN_ENABLED = False  # it forces HTTPS; a proxy in front of a public address does that
# Images from here only: Superset's pages bring a picture from a statistics service that would count every visit.
DEFAULT_HTTP_HEADERS = {"Content-Security-Policy": "img-src 'self' data: blob:"}
SESSION_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_HTTPONLY = True

ROW_LIMIT = 5000
SQLLAB_TIMEOUT = 60
SUPERSET_WEBSERVER_TIMEOUT = 60
ENABLE_PROXY_FIX = True

# One palette for every dashboard; assets/style.yaml gives what has a name its colour of it.
EXTRA_CATEGORICAL_COLOR_SCHEMES = [
    {
        "id": "dataplatform",
        "description": "Calm, and told apart by the colour-blind, too",
        "label": "Data platform",
        "isDefault": True,
        "colors": ["#2F6DB5", "#E08A3C", "#4C9F70", "#B5485D", "#8A6FB5", "#C9AE3C", "#5FA8A8", "#7A7F87", "#1D4E89"],
    }
]

# Without the buttons "All" and "Inv" beside every legend.
THEME_DEFAULT = {**config.THEME_DEFAULT, "echartsOptionsOverrides": {"legend": {"selector": False}}}
THEME_DARK = {**(config.THEME_DARK or {}), "echartsOptionsOverrides": {"legend": {"selector": False}}}

# The "experimental" chart is the big number with its change to the period before.
FEATURE_FLAGS = {"ALERT_REPORTS": False, "CHART_PLUGINS_EXPERIMENTAL": True, "DASHBOARD_RBAC": True}

# Figures change when a build publishes new tables, so charts may not be cached for long.
CACHE_CONFIG = {"CACHE_TYPE": "SimpleCache", "CACHE_DEFAULT_TIMEOUT": 300}
DATA_CACHE_CONFIG = {"CACHE_TYPE": "SimpleCache", "CACHE_DEFAULT_TIMEOUT": 30}
FILTER_STATE_CACHE_CONFIG = {"CACHE_TYPE": "SupersetMetastoreCache", "CACHE_DEFAULT_TIMEOUT": 86400}
EXPLORE_FORM_DATA_CACHE_CONFIG = {"CACHE_TYPE": "SupersetMetastoreCache", "CACHE_DEFAULT_TIMEOUT": 86400}
