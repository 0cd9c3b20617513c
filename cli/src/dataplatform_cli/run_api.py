"""`dp run-api`: the metadata service in the foreground, on the Postgres of whichever stack is up."""

from __future__ import annotations

import os
from typing import NoReturn

from dataplatform_cli.errors import PlatformError
from dataplatform_cli.settings import StackSettings
from dataplatform_cli.stack import metadata
from dataplatform_cli.stack.kinds import running
from dataplatform_cli.stack.ports import TakenPort, can_bind, free_port_above, holder_of
from dataplatform_cli.stack.supervisor import clean_environment


def run_api(settings: StackSettings) -> NoReturn:
    """Become the metadata service.

    Raises:
        PlatformError: no stack is up, or its own metadata service holds the port.
    """
    running(settings)
    port = settings.metadata_port
    if not can_bind(settings.bind_address, port):
        taken = TakenPort("metadata", "METADATA_PORT", port, holder_of(port))
        raise PlatformError(str(taken), f"METADATA_PORT={free_port_above(port)} make run-api")
    (program,) = metadata.service(settings).programs
    os.execve(program.command[0], program.command, clean_environment(program.environment))  # noqa: S606
