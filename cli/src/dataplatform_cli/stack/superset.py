"""Superset in the local stack: an environment of its own, one worker, dashboards from its folder `assets`."""

from __future__ import annotations

import hashlib
from pathlib import Path

import httpx

from dataplatform_cli.errors import PlatformError
from dataplatform_cli.settings import StackSettings
from dataplatform_cli.stack.initialise import run_unless_done
from dataplatform_cli.stack.model import Program, Service


def service(settings: StackSettings) -> Service:
    """Return Superset as a service of the stack."""
    program = Program(
        name="superset",
        command=[
            *(str(_python(settings)), "-m", "gunicorn", "superset.app:create_app()"),
            *("--bind", f"{settings.bind_address}:{settings.superset_port}"),
            # 284 MB a worker: threads serve a small team.
            *("--workers", "1", "--worker-class", "gthread", "--threads", "12", "--timeout", "120"),
            *("--access-logfile", "-"),
        ],
        environment=environment(settings),
        folder=settings.root,
    )
    return Service(
        name="superset",
        title="Superset",
        programs=[program],
        url=settings.superset_url,
        ports={"SUPERSET_PORT": settings.superset_port},
        is_ready=lambda: httpx.get(f"{settings.superset_url}/health", timeout=5).status_code == 200,
        needs=("postgres",),
        after=("postgres",),
        prepare=lambda: initialise(settings),
        ready_seconds=180,
    )


def environment(settings: StackSettings) -> dict[str, str]:
    """Return Superset's environment."""
    key = settings.superset_secret_key.get_secret_value() or hashlib.sha256(b"development").hexdigest()
    return {
        "SUPERSET_CONFIG_PATH": str(settings.root / "infrastructure" / "superset" / "superset_config.py"),
        "SUPERSET_HOME": str(settings.home / "superset"),
        "SUPERSET_DATABASE_URI": settings.dsn("superset", scheme="postgresql+psycopg2"),
        "SUPERSET_SECRET_KEY": key,
        "PATH": f"{_python(settings).parent}:/usr/local/bin:/usr/bin:/bin",
    }


def initialise(settings: StackSettings) -> None:
    """Migrate Superset's database, make its administrator and roles, import the dashboards.

    Skipped where neither the lock, the assets nor a value has changed since the last start.
    """
    python = _python(settings)
    if not python.exists():
        raise PlatformError("Superset is not installed", "run `make install` (or `dp up` without superset)")
    folder = settings.root / "infrastructure" / "superset"
    run_unless_done(
        settings,
        "superset",
        "Superset",
        python=python,
        script=folder / "initialise.py",
        environment={
            **environment(settings),
            "SUPERSET_ADMIN_USER": settings.superset_admin_user,
            "SUPERSET_ADMIN_PASSWORD": settings.superset_admin_password.get_secret_value(),
            "SUPERSET_REPORTER_USER": settings.superset_reporter_user,
            "SUPERSET_REPORTER_PASSWORD": settings.superset_reporter_password.get_secret_value(),
            "WAREHOUSE_URI": settings.dsn("reporter", scheme="postgresql+psycopg2"),
        },
        inputs=[*folder.rglob("*.yaml"), *folder.glob("*.py"), *folder.glob("*.txt")],
    )


def _python(settings: StackSettings) -> Path:
    return settings.root / ".venv-superset" / "bin" / "python"
