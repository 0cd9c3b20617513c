"""The two kinds of stack, local and Compose, behind one face; and which of them is up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from dataplatform_cli.errors import PlatformError
from dataplatform_cli.settings import StackSettings
from dataplatform_cli.stack.model import ServiceStatus

START = "`make start` starts the stack on Docker Compose, `make up` the one that needs no Docker"


class Stack(Protocol):
    """What the commands ask of a stack. Addresses and passwords are the settings', whichever kind it is."""

    kind: str
    """`local` or `compose`, as the setting STACK has it."""
    warehouse: str
    """Host and port at which its own services reach Postgres."""

    def is_up(self) -> bool:
        """Whether a part of it runs."""

    def start(self) -> None:
        """Start all of it and wait until every service answers.

        Raises:
            PlatformError: something kept it from starting; the message has the end of its log.
        """

    def stop(self, services: Sequence[str] = ()) -> list[str]:
        """Stop services and what needs them, or all of it. Data stay. Returns the names of those stopped."""

    def status(self) -> list[ServiceStatus]:
        """Return the status of every service."""

    def logs(self, program: str | None, lines: int, follow: bool) -> None:
        """Print the end of the logs of a program or a service, or of all; keep on where asked to."""

    def destroy(self) -> None:
        """Stop it and delete all its data and logs."""

    def airflow(self, arguments: Sequence[str]) -> int:
        """Run the `airflow` command inside and return its exit code."""

    def write_connections(self) -> None:
        """Write the connections and pools of pipelines/config/connections.yaml into Airflow's database."""

    def make_buckets(self) -> None:
        """Make the buckets, with all that this kind's server knows of versioning, policies and accounts."""

    def start_stores(self) -> None:
        """Start Postgres and the object store, nothing else. What is started later is prepared anew."""

    def stop_all_but_stores(self) -> None:
        """Stop every service but Postgres and the object store."""

    def stop_airflow(self) -> None:
        """Stop Airflow's processes."""

    def start_airflow(self) -> None:
        """Provision the databases and start Airflow's processes, its database prepared anew."""


def both(settings: StackSettings) -> list[Stack]:
    """Return the stacks of both kinds, or the one that the setting STACK names."""
    from dataplatform_cli.stack.compose import ComposeStack
    from dataplatform_cli.stack.local import LocalStack

    stacks: list[Stack] = [LocalStack(settings), ComposeStack(settings)]
    return [stack for stack in stacks if settings.stack in ("", stack.kind)]


def find(settings: StackSettings) -> Stack | None:
    """Return the stack that is up, or None.

    Raises:
        PlatformError: both are up, and STACK does not say which is meant.
    """
    up = [stack for stack in both(settings) if stack.is_up()]
    if len(up) > 1:
        raise PlatformError("both stacks are up, local and Compose", "say which: STACK=local or STACK=compose")
    return up[0] if up else None


def running(settings: StackSettings) -> Stack:
    """Return the stack that is up.

    Raises:
        PlatformError: none is, or both are.
    """
    found = find(settings)
    if found is None:
        raise PlatformError("no stack is up", START)
    return found


def warehouse_namespace(settings: StackSettings) -> str:
    """Return how lineage names the warehouse: by the address at which the tasks of the stack that is up reach it."""
    found = find(settings)
    address = found.warehouse if found else f"{settings.loopback}:{settings.postgres_port}"
    return f"postgres://{address}"


def refuse_if_other_is_up(settings: StackSettings, kind: str) -> None:
    """Return unless a stack of the other kind is up, which would hold the ports. STACK says that both are wanted.

    Raises:
        PlatformError: it is.
    """
    for stack in both(settings):
        if stack.kind != kind and stack.is_up():
            raise PlatformError(f"the {stack.kind} stack is up", "`make stop` stops it")
