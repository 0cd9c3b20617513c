"""The object store of the local stack: `minio` where one is on PATH, else `rclone serve s3` from its wheel.

rclone keeps objects as plain files; docs/architecture.md lists the rules under which both behave alike.
"""

from __future__ import annotations

import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dataplatform_cli.settings import StackSettings
from dataplatform_cli.stack.model import Program, Service

BUCKETS = ("raw", "staging", "curated")


@dataclass(frozen=True)
class ObjectServer:
    """How to run the object store: its kind (minio or rclone), command and environment."""

    kind: str
    command: list[str]
    environment: dict[str, str]


def locate(settings: StackSettings) -> ObjectServer:
    """Return the server this machine can run. The data folder names the kind, since their formats differ."""
    address = f"{settings.bind_address}:{settings.minio_port}"
    user, password = settings.minio_root_user, settings.minio_root_password.get_secret_value()
    minio = shutil.which("minio")
    if minio:
        folder = settings.home / "s3" / "minio"
        console = f"{settings.bind_address}:{settings.minio_console_port}"
        return ObjectServer(
            "minio",
            [minio, "server", "--address", address, "--console-address", console, str(folder)],
            {"MINIO_ROOT_USER": user, "MINIO_ROOT_PASSWORD": password},
        )
    folder = settings.home / "s3" / "rclone"
    folder.mkdir(parents=True, exist_ok=True)
    rclone = Path(sys.executable).parent / "rclone"
    return ObjectServer(
        "rclone",
        [str(rclone), "serve", "s3", "--addr", address, "--vfs-cache-mode", "off", str(folder)],
        # A flag would show the key in the process list.
        {"RCLONE_CONFIG": "/dev/null", "RCLONE_AUTH_KEY": f'"{user},{password}"'},
    )


def client(settings: StackSettings) -> Any:
    """Return a boto3 client of the object store, as its root account."""
    return client_of(settings, settings.minio_root_user, settings.minio_root_password.get_secret_value())


def client_of(settings: StackSettings, user: str, password: str) -> Any:
    """Return a boto3 client of the object store, as one of its accounts."""
    from pipelines.ingestion.objects import s3_client

    return s3_client(settings.s3_endpoint, user, password)


def make_buckets(settings: StackSettings) -> None:
    """Make the platform's buckets unless they are there."""
    s3 = client(settings)
    existing = {bucket["Name"] for bucket in s3.list_buckets()["Buckets"]}
    for name in BUCKETS:
        if name not in existing:
            s3.create_bucket(Bucket=name)


def service(settings: StackSettings) -> Service:
    """Return the object store as a service of the stack."""
    server = locate(settings)
    ports = {"MINIO_PORT": settings.minio_port}
    if server.kind == "minio":
        ports["MINIO_CONSOLE_PORT"] = settings.minio_console_port
    return Service(
        name="s3",
        title=f"Object store ({server.kind})",
        programs=[Program(name="s3", command=server.command, environment=server.environment)],
        url=settings.s3_endpoint,
        ports=ports,
        is_ready=lambda: client(settings).list_buckets() is not None,
        finish=lambda: make_buckets(settings),
    )
