"""The local stack as one of the two kinds: services from wheels, under supervisor."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from dataplatform_cli.settings import StackSettings
from dataplatform_cli.stack import airflow, initialise, lifecycle, postgres, s3
from dataplatform_cli.stack.model import ServiceStatus
from dataplatform_cli.stack.status import status
from dataplatform_cli.stack.supervisor import Supervisor, clean_environment


class LocalStack:
    """See `dataplatform_cli.stack.kinds.Stack`."""

    kind = "local"

    def __init__(self, settings: StackSettings) -> None:
        self._settings = settings
        self.warehouse = f"{settings.loopback}:{settings.postgres_port}"

    def is_up(self) -> bool:
        return Supervisor(self._settings).is_running()

    def start(self) -> None:
        self._up(())

    def stop(self, services: Sequence[str] = ()) -> list[str]:
        return lifecycle.down(self._settings, services)

    def status(self) -> list[ServiceStatus]:
        return status(self._settings)

    def logs(self, program: str | None, lines: int, follow: bool) -> None:
        from dataplatform_cli.logs import show_logs

        show_logs(self._settings, program, lines, follow)

    def destroy(self) -> None:
        lifecycle.destroy(self._settings)

    def airflow(self, arguments: Sequence[str]) -> int:
        command = [str(Path(sys.executable).parent / "airflow"), *arguments]
        environment = clean_environment(airflow.component_environment(self._settings))
        return subprocess.run(command, env=environment, check=False).returncode

    def write_connections(self) -> None:
        initialise.stamp(self._settings, "airflow").unlink(missing_ok=True)
        airflow.initialise(self._settings)

    def make_buckets(self) -> None:
        s3.make_buckets(self._settings)

    def start_stores(self) -> None:
        for service in ("airflow", "superset"):
            initialise.stamp(self._settings, service).unlink(missing_ok=True)
        self._up(["postgres", "s3"])

    def stop_all_but_stores(self) -> None:
        lifecycle.down(self._settings, ["metadata", "airflow", "superset"])

    def stop_airflow(self) -> None:
        lifecycle.down(self._settings, ["airflow"])

    def start_airflow(self) -> None:
        initialise.stamp(self._settings, "airflow").unlink(missing_ok=True)
        postgres.provision(self._settings)
        self._up(["airflow"])

    def _up(self, services: Sequence[str]) -> None:
        from dataplatform_cli.display import start_display

        with start_display() as watch:
            lifecycle.up(self._settings, services, watch)
