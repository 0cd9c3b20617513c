"""What a dataset's OpenLineage name tells: its layer, its kind and its address.

Names follow https://openlineage.io/docs/spec/naming/: `postgres://host:port` + `database.schema.table`,
`s3://bucket` + path, `superset://host:port` + `dashboard/<slug>`.
"""

from __future__ import annotations

from urllib.parse import urlsplit

LAYERS = ("raw", "staging", "intermediate", "curated", "audit", "dashboard")
_FILE_SCHEMES = ("s3", "s3a", "gs", "gcs", "abfss", "wasbs", "hdfs", "file", "dbfs")


def layer_of(namespace: str, name: str) -> str | None:
    """Return the platform's layer of a dataset (one of `LAYERS`), or None where its name doesn't tell."""
    scheme, _, authority = namespace.partition("://")
    if scheme == "superset" or name.startswith("dashboard/"):
        return "dashboard"
    if scheme in _FILE_SCHEMES:
        return authority if authority in LAYERS else None
    parts = name.split(".")
    return parts[-2] if len(parts) > 1 and parts[-2] in LAYERS else None


def kind_of(namespace: str, name: str) -> str:
    """Return `dashboard`, `file` or `table`."""
    scheme = namespace.partition("://")[0]
    if scheme == "superset" or name.startswith("dashboard/"):
        return "dashboard"
    return "file" if scheme in _FILE_SCHEMES else "table"


def uri_of(namespace: str, name: str) -> str:
    """Return the address that namespace and name make together."""
    return f"{namespace}/{name.lstrip('/')}"


def split_uri(uri: str) -> tuple[str, str] | None:
    """Return the (namespace, name) of an address such as `s3://bucket/path`, or None if it is none."""
    parts = urlsplit(uri)
    name = parts.path.strip("/")
    if not parts.scheme or not parts.netloc or not name:
        return None
    host = parts.netloc.rpartition("@")[2]  # a password has no place in a dataset's name
    if parts.scheme in ("postgres", "postgresql"):
        return f"postgres://{host}", name.replace("/", ".")
    return f"{parts.scheme}://{host}", name
