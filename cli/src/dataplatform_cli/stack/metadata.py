"""The metadata service in the local stack."""

from __future__ import annotations

import sys

import httpx

from dataplatform_cli.settings import StackSettings
from dataplatform_cli.stack.model import Program, Service


def service(settings: StackSettings) -> Service:
    """Return the metadata service as a service of the stack."""
    program = Program(
        name="metadata",
        command=[sys.executable, "-m", "metadata_service"],
        environment={
            "HOST": settings.bind_address,
            "PORT": str(settings.metadata_port),
            "LOG_LEVEL": settings.log_level,
            "API_KEY": settings.metadata_api_key.get_secret_value(),
            "DATABASE_URL": settings.dsn("metadata"),
            "WAREHOUSE_URL": settings.dsn("reporter"),
            "PUBLIC_READS": str(settings.metadata_public_reads).lower(),
            "RETENTION_DAYS": str(settings.metadata_retention_days),
        },
        folder=settings.root,
    )
    return Service(
        name="metadata",
        title="Metadata service",
        programs=[program],
        url=settings.metadata_url,
        ports={"METADATA_PORT": settings.metadata_port},
        is_ready=lambda: httpx.get(f"{settings.metadata_url}/health", timeout=5).status_code == 200,
        needs=("postgres",),
        after=("postgres",),
    )
