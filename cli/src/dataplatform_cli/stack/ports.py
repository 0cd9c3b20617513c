"""Who holds a port: a taken one is named with its holder and with the variable that moves it."""

from __future__ import annotations

import socket
from collections.abc import Iterable
from dataclasses import dataclass

import psutil

from dataplatform_cli.stack.model import Service


@dataclass(frozen=True)
class TakenPort:
    """A port of the stack that another program holds."""

    service: str
    variable: str
    port: int
    holder: str

    def __str__(self) -> str:
        return f"port {self.port} ({self.service}) is taken by {self.holder}"

    @property
    def cure(self) -> str:
        """What the user can do."""
        return f"set {self.variable} in .env to a free port (say {free_port_above(self.port)}), or stop that program"


def taken_ports(services: Iterable[Service], address: str) -> list[TakenPort]:
    """Return the ports of these services that can't be bound."""
    return [
        TakenPort(service.name, variable, port, holder_of(port))
        for service in services
        for variable, port in service.ports.items()
        if not can_bind(address, port)
    ]


def can_bind(address: str, port: int) -> bool:
    """Whether a server could listen there now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError:
            return False
        return True


def holder_of(port: int) -> str:
    """Return the program that listens on a port, as `name (pid N)`, as far as this user may see it."""
    try:
        for connection in psutil.net_connections("tcp"):
            address = tuple(connection.laddr)  # (host, port), or empty where nothing is bound
            listens = connection.status == psutil.CONN_LISTEN and address[1:2] == (port,)
            if listens and connection.pid:
                return f"{psutil.Process(connection.pid).name()} (pid {connection.pid})"
    except psutil.Error:
        pass
    return "another program"


def free_port_above(port: int) -> int:
    """Return the first port above the given one, in steps of ten, that is free on loopback."""
    candidate = port + 10
    while not can_bind("127.0.0.1", candidate):
        candidate += 10
    return candidate
