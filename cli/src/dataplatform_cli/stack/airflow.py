"""Airflow in the local stack: api-server, scheduler, dag-processor and triggerer with the LocalExecutor."""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx

from dataplatform_cli.settings import StackSettings
from dataplatform_cli.stack.initialise import run_unless_done
from dataplatform_cli.stack.model import Program, Service
from dataplatform_cli.stack.supervisor import Supervisor

COMPONENTS = ("api-server", "scheduler", "dag-processor", "triggerer")
# Logs are read from the shared folder: serving them as well would take two more ports.
ARGUMENTS: Mapping[str, list[str]] = {"scheduler": ["--skip-serve-logs"], "triggerer": ["--skip-serve-logs"]}


def service(settings: StackSettings) -> Service:
    """Return Airflow as a service of the stack."""
    environment = component_environment(settings)
    programs = [
        Program(
            name=f"airflow-{component}",
            command=[str(Path(sys.executable).parent / "airflow"), component, *ARGUMENTS.get(component, [])],
            environment=environment,
            folder=settings.root,
            # A running task is given time to end.
            stop_seconds=30,
        )
        for component in COMPONENTS
    ]
    return Service(
        name="airflow",
        title="Airflow",
        programs=programs,
        url=settings.airflow_url,
        ports={"AIRFLOW_PORT": settings.airflow_port},
        is_ready=lambda: is_healthy(settings),
        needs=("postgres", "s3", "metadata"),
        after=("postgres",),
        prepare=lambda: initialise(settings),
        ready_seconds=180,
    )


def component_environment(settings: StackSettings) -> dict[str, str]:
    """Return the environment of Airflow's processes (and so of the tasks they run)."""
    home = settings.home / "airflow"
    passwords = home / "passwords.json"
    lineage = {
        "type": "data_lineage_hub_sdk.transport.SpoolingHttpTransport",
        "url": settings.metadata_url,
        "api_key": settings.metadata_api_key.get_secret_value(),
        "spool_dir": str(settings.home / "lineage-spool"),
    }
    connection = settings.dsn("airflow", scheme="postgresql+psycopg2")
    return {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW_CONFIG": str(settings.root / "infrastructure" / "airflow" / "airflow.cfg"),
        "AIRFLOW__CORE__DAGS_FOLDER": str(settings.dags),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(settings.root / "pipelines" / "plugins"),
        "AIRFLOW__CORE__PARALLELISM": str(settings.airflow_parallelism),
        "AIRFLOW__CORE__FERNET_KEY": fernet_key(settings),
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{settings.airflow_url}/execution/",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": f"{settings.airflow_admin_user}:admin",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(passwords),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": connection,
        "AIRFLOW__API__HOST": settings.bind_address,
        "AIRFLOW__API__PORT": str(settings.airflow_port),
        "AIRFLOW__API__BASE_URL": settings.airflow_url,
        "AIRFLOW__API__SECRET_KEY": secret(settings, "api"),
        "AIRFLOW__API_AUTH__JWT_SECRET": secret(settings, "jwt"),
        "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(home / "logs"),
        "AIRFLOW__OPENLINEAGE__TRANSPORT": json.dumps(lineage),
        # Tasks find dbt and the other programs of the environment by name.
        "PATH": f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin",
        **pipeline_environment(settings),
    }


def pipeline_environment(settings: StackSettings) -> dict[str, str]:
    """Return what the package `pipelines` reads from its environment (pipelines/config/settings.py)."""
    return {
        "PLATFORM_ROOT": str(settings.root),
        "PLATFORM_STATE_DIR": str(settings.home),
        "CONTRACTS_DIR": str(settings.contracts),
        "METADATA_URL": settings.metadata_url,
        "METADATA_API_KEY": settings.metadata_api_key.get_secret_value(),
        "SUPERSET_URL": settings.superset_url,
        "AIRFLOW_URL": settings.airflow_url,
        "INGEST_MEMORY_MB": str(settings.ingest_memory_mb),
        "INGEST_SECONDS": str(settings.ingest_seconds),
        "INGEST_UNPACKED_GB": str(settings.ingest_unpacked_gb),
        "ALERT_WEBHOOK_URL": settings.alert_webhook_url.get_secret_value(),
        "ALERT_EMAIL_TO": settings.alert_email_to,
        "ALERT_EMAIL_FROM": settings.alert_email_from,
        "ALERT_WINDOW_MINUTES": str(settings.alert_window_minutes),
        "ALERT_REJECTED_PERCENT": str(settings.alert_rejected_percent),
        "SMTP_HOST": settings.smtp_host,
        "SMTP_PORT": str(settings.smtp_port),
        "SMTP_SECURITY": settings.smtp_security,
        "SMTP_USER": settings.smtp_user,
        "SMTP_PASSWORD": settings.smtp_password.get_secret_value(),
    }


def connection_values(settings: StackSettings) -> dict[str, str]:
    """Return the words that pipelines/config/connections.yaml leaves open."""
    return {
        "POSTGRES_HOST": settings.loopback,
        "POSTGRES_PORT": str(settings.postgres_port),
        "WAREHOUSE_LOADER_PASSWORD": settings.password("loader"),
        "WAREHOUSE_TRANSFORMER_PASSWORD": settings.password("transformer"),
        "WAREHOUSE_REPORTER_PASSWORD": settings.password("reporter"),
        "MINIO_ENDPOINT": settings.s3_endpoint,
        "MINIO_USER": settings.minio_root_user,
        "MINIO_PASSWORD": settings.minio_root_password.get_secret_value(),
        "METADATA_HOST": settings.loopback,
        "METADATA_PORT": str(settings.metadata_port),
        "METADATA_API_KEY": settings.metadata_api_key.get_secret_value(),
        "AIRFLOW_HOST": settings.loopback,
        "AIRFLOW_PORT": str(settings.airflow_port),
        "AIRFLOW_ADMIN_USER": settings.airflow_admin_user,
        "AIRFLOW_ADMIN_PASSWORD": settings.airflow_admin_password.get_secret_value(),
        "SUPERSET_HOST": settings.loopback,
        "SUPERSET_PORT": str(settings.superset_port),
    }


def initialise(settings: StackSettings) -> None:
    """Migrate Airflow's database, write connections and pools, and the log-in.

    One process does all of it, and none where neither the lock nor a value has changed since the last start.
    """
    run_unless_done(
        settings,
        "airflow",
        "Airflow's database",
        python=Path(sys.executable),
        script=settings.root / "infrastructure" / "airflow" / "initialise.py",
        environment={
            **component_environment(settings),
            **connection_values(settings),
        },
        inputs=[
            settings.root / "requirements" / "platform.txt",
            settings.root / "pipelines" / "config" / "connections.yaml",
        ],
    )


def is_healthy(settings: StackSettings) -> bool:
    """Whether every component has reported since it was started. (The health page takes older heartbeats for good.)"""
    states = Supervisor(settings).states()
    health: dict[str, Any] = httpx.get(f"{settings.airflow_url}/api/v2/monitor/health", timeout=5).json()
    beats = {
        "scheduler": "latest_scheduler_heartbeat",
        "dag_processor": "latest_dag_processor_heartbeat",
        "triggerer": "latest_triggerer_heartbeat",
    }
    for component, key in beats.items():
        program = states.get(f"airflow-{component.replace('_', '-')}", {})
        beat = health[component].get(key)
        if not program.get("start") or health[component]["status"] != "healthy" or beat is None:
            return False
        if dt.datetime.fromisoformat(beat).timestamp() < program["start"]:
            return False
    return bool(health["metadatabase"]["status"] == "healthy")


def fernet_key(settings: StackSettings) -> str:
    """Return the key that encrypts stored connections: the one of `.env`, else one derived for development."""
    given = settings.airflow_fernet_key.get_secret_value()
    return given or base64.urlsafe_b64encode(hashlib.sha256(b"development").digest()).decode()


def secret(settings: StackSettings, use: str) -> str:
    """Return a secret for signing, one for each use, derived from the one of `.env`."""
    base = settings.airflow_jwt_secret.get_secret_value() or "development"
    return hashlib.sha256(f"{use}:{base}".encode()).hexdigest()
