"""The stack's services, by name, and which of them a request brings up."""

from __future__ import annotations

from collections.abc import Iterable

from dataplatform_cli.errors import PlatformError
from dataplatform_cli.settings import StackSettings
from dataplatform_cli.stack import airflow, metadata, postgres, s3, superset
from dataplatform_cli.stack.model import Service

NAMES = ("postgres", "s3", "metadata", "airflow", "superset")


def all_services(settings: StackSettings) -> dict[str, Service]:
    """Return every service of the stack, in the order in which people list them."""
    modules = (postgres, s3, metadata, airflow, superset)
    return {name: module.service(settings) for name, module in zip(NAMES, modules, strict=True)}


def with_needs(services: dict[str, Service], wanted: Iterable[str]) -> list[Service]:
    """Return the named services and all they need, in listing order; every service where none is named.

    Raises:
        PlatformError: a name is not one of the stack's.
    """
    names = list(wanted) or list(services)
    chosen: set[str] = set()
    while names:
        name = names.pop()
        if name not in services:
            raise PlatformError(f"there is no service '{name}'", f"the services are {', '.join(services)}")
        if name not in chosen:
            chosen.add(name)
            names.extend(services[name].needs)
    return [service for service in services.values() if service.name in chosen]


def dependents(services: dict[str, Service], names: Iterable[str]) -> list[Service]:
    """Return the named services and all that need them, so that stopping one leaves none useless behind."""
    chosen = set(names) or set(services)
    for name in chosen - services.keys():
        raise PlatformError(f"there is no service '{name}'", f"the services are {', '.join(services)}")
    grown = True
    while grown:
        more = {service.name for service in services.values() if chosen & set(service.needs)} - chosen
        chosen |= more
        grown = bool(more)
    return [service for service in services.values() if service.name in chosen]
