"""Prepare Superset: its database, roles and two log-ins, and the dashboards of this folder. Safe to repeat.

One process does what four calls of the `superset` command would, in less than half their time.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import yaml
from bundle import UUIDS, bundle
from superset.app import create_app

REPORTER_ROLE = "Reporter"
# Beside what Superset holds to be enough to look at a dashboard (its role Public): to find it, and to see who one is.
REPORTER_MAY = (
    ("menu_access", "Dashboards"),
    ("can_read", "CurrentUserRestApi"),
    ("can_get", "MenuApi"),
    ("can_recent_activity", "Log"),
    ("can_read", "SecurityRestApi"),
    ("can_userinfo", "UserDBModelView"),
)


def forget_unreadable_passwords() -> None:
    """Where SUPERSET_SECRET_KEY is not the one that passwords were stored with, remove them; the import brings ours."""
    from sqlalchemy import text
    from superset.extensions import db
    from superset.models.core import Database

    try:
        db.session.query(Database.password, Database.encrypted_extra, Database.server_cert).all()
    except ValueError:
        db.session.rollback()
        db.session.execute(text("UPDATE dbs SET password = NULL, encrypted_extra = NULL, server_cert = NULL"))
        db.session.commit()
        sys.stderr.write("passwords of databases were stored with another SUPERSET_SECRET_KEY: they are forgotten\n")


def user(name: str, password: str, last_name: str, role: Any) -> Any:
    """Return a user, made where it is missing, with this password and no other role."""
    from superset.extensions import db, security_manager

    found = security_manager.find_user(name)
    if found is None:
        security_manager.add_user(name, "Platform", last_name, f"{name}@example.com", role, password=password)
        return security_manager.find_user(name)
    security_manager.reset_password(found.id, password)
    found.roles = [role]
    db.session.commit()
    return found


def import_assets(admin: Any) -> None:
    """Bring databases, datasets, charts and dashboards to what the folder says; what left it leaves Superset, too."""
    from flask import g
    from superset.commands.importers.v1.assets import ImportAssetsCommand
    from superset.connectors.sqla.models import SqlaTable
    from superset.extensions import db
    from superset.models.dashboard import Dashboard
    from superset.models.slice import Slice
    from superset.utils.core import override_user

    assets = bundle()
    assets["databases/warehouse.yaml"]["sqlalchemy_uri"] = os.environ["WAREHOUSE_URI"]
    with override_user(admin):
        g.user = admin
        ImportAssetsCommand({path: yaml.safe_dump(asset) for path, asset in assets.items()}, passwords={}).run()
        ours = {asset["uuid"] for asset in assets.values() if "uuid" in asset}
        for model in (Dashboard, Slice, SqlaTable):
            for made in db.session.query(model).all():
                if str(made.uuid).startswith(UUIDS) and str(made.uuid) not in ours:
                    db.session.delete(made)
        db.session.commit()


def set_reporter_role() -> Any:
    """Return the role that looks at the dashboards and at nothing else; what it may not any more is taken from it."""
    from superset.connectors.sqla.models import SqlaTable
    from superset.extensions import db, security_manager

    role = security_manager.add_role(REPORTER_ROLE)
    may = {*security_manager.PUBLIC_ROLE_PERMISSIONS, *REPORTER_MAY}
    may |= {
        ("datasource_access", dataset.perm)
        for dataset in db.session.query(SqlaTable).all()
        if str(dataset.uuid).startswith(UUIDS)
    }
    found = [security_manager.find_permission_view_menu(*pair) for pair in sorted(may)]
    role.permissions = [permission for permission in found if permission is not None]
    db.session.commit()
    return role


def main() -> None:
    """Bring Superset's database to the state that this folder describes."""
    if os.environ["SUPERSET_ADMIN_USER"] == os.environ["SUPERSET_REPORTER_USER"]:
        raise SystemExit("SUPERSET_REPORTER_USER is SUPERSET_ADMIN_USER, too: give the reporter another name")
    app = create_app()
    with app.app_context():
        import flask_migrate
        from superset.extensions import appbuilder, security_manager

        migrations = Path(__import__("superset").__file__).parent / "migrations"
        flask_migrate.upgrade(directory=str(migrations))
        forget_unreadable_passwords()
        appbuilder.add_permissions(update_perms=True)
        security_manager.sync_role_definitions()
        admin_role = security_manager.find_role("Admin")
        admin = user(os.environ["SUPERSET_ADMIN_USER"], os.environ["SUPERSET_ADMIN_PASSWORD"], "Admin", admin_role)
        import_assets(admin)
        reporter_role = set_reporter_role()
        user(os.environ["SUPERSET_REPORTER_USER"], os.environ["SUPERSET_REPORTER_PASSWORD"], "Reporter", reporter_role)


if __name__ == "__main__":
    main()
