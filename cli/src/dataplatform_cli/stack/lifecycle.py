"""Start and stop the stack: every service as soon as what it waits for is ready, side by side."""

from __future__ import annotations

import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

from dataplatform_cli.errors import PlatformError
from dataplatform_cli.settings import StackSettings
from dataplatform_cli.stack.model import Service
from dataplatform_cli.stack.ports import taken_ports
from dataplatform_cli.stack.postgres import outside_home
from dataplatform_cli.stack.services import all_services, dependents, with_needs
from dataplatform_cli.stack.supervisor import Supervisor, tail

POLL_SECONDS = 0.2
STARTS_BORNE = 3
"""How often a program may end and be started again before the start of its service has failed."""


@dataclass
class Progress:
    """How far a service is: waiting, preparing, starting, finishing, ready, or failed."""

    service: Service
    phase: str = "waiting"
    started: float | None = None
    seconds: float | None = None
    error: PlatformError | None = None


Watcher = Callable[[list[Progress]], None]


class Cancelled(Exception):
    """Another service failed, or the user pressed Ctrl-C."""


def up(settings: StackSettings, names: Iterable[str] = (), watch: Watcher = lambda _: None) -> list[Progress]:
    """Start services and all they need, and wait until they answer. What runs already is left as it is.

    Args:
        settings: The stack.
        names: Services; every one where none is named.
        watch: Called with everyone's progress a few times a second.

    Raises:
        PlatformError: a port is taken, or a service did not start; the message has the end of its log.
        KeyboardInterrupt: passed on after what this call started has been stopped.
    """
    services = all_services(settings)
    chosen = with_needs(services, names)
    supervisor = Supervisor(settings)
    fresh = not supervisor.is_running()
    if fresh:
        supervisor.sweep()
    running = {name for name, info in supervisor.states().items() if info["statename"] in ("RUNNING", "STARTING")}
    missing = [service for service in chosen if not running >= {program.name for program in service.programs}]
    _check_ports(missing, running, settings)
    supervisor.ensure_running(program for service in services.values() for program in service.programs)

    progress = {service.name: Progress(service) for service in chosen}
    cancel = threading.Event()
    ready = {name: threading.Event() for name in progress}
    with ThreadPoolExecutor(len(chosen)) as pool:
        jobs = [
            pool.submit(_start, item, service in missing, supervisor, ready, cancel)
            for item in progress.values()
            for service in [item.service]
        ]
        try:
            while not all(job.done() for job in jobs):
                watch(list(progress.values()))
                time.sleep(POLL_SECONDS)
        except KeyboardInterrupt:
            with deaf_to_interrupts():
                cancel.set()
                pool.shutdown(wait=True)
                _undo(supervisor, missing, fresh)
            raise
    watch(list(progress.values()))
    failed = [item for item in progress.values() if item.error]
    if failed:
        error = failed[0].error
        assert error is not None  # noqa: S101 - the filter above
        raise error
    return list(progress.values())


@contextmanager
def deaf_to_interrupts() -> Iterator[None]:
    """Let an impatient second Ctrl-C not cut short the stopping that the first one asked for."""
    before = {which: signal.signal(which, signal.SIG_IGN) for which in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for which, handler in before.items():
            signal.signal(which, handler)


def down(settings: StackSettings, names: Iterable[str] = ()) -> list[str]:
    """Stop services and all that need them; the whole stack where none is named. Returns the names of those stopped."""
    supervisor = Supervisor(settings)
    names = list(names)
    stopping = dependents(all_services(settings), names)
    states = supervisor.states()
    stopped = [
        service.name
        for service in stopping
        if any(states.get(program.name, {}).get("pid") for program in service.programs)
    ]
    if names:
        for service in reversed(stopping):
            _stop(supervisor, service)
    else:
        # What depends on Postgres goes first, so that nothing logs the loss of its database.
        for service in reversed(stopping):
            if service.name in stopped:
                _stop(supervisor, service)
        supervisor.shutdown()
    return stopped


def destroy(settings: StackSettings) -> None:
    """Stop the stack and delete all its data and logs."""
    down(settings)
    for folder in (settings.home, outside_home(settings).parent):
        if folder.exists():
            shutil.rmtree(folder)


def _check_ports(missing: list[Service], running: set[str], settings: StackSettings) -> None:
    untouched = [service for service in missing if not running & {program.name for program in service.programs}]
    taken = taken_ports(untouched, settings.bind_address)
    if taken:
        raise PlatformError("; ".join(map(str, taken)), "; ".join(port.cure for port in taken))


def _start(
    item: Progress,
    start: bool,
    supervisor: Supervisor,
    ready: dict[str, threading.Event],
    cancel: threading.Event,
) -> None:
    service = item.service
    try:
        for name in service.after:
            while not ready[name].wait(POLL_SECONDS):
                _stop_if(cancel)
        item.started = time.monotonic()
        if start:
            item.phase = "preparing"
            service.prepare()
            _stop_if(cancel)
            item.phase = "starting"
            for program in service.programs:
                supervisor.start(program.name)
        _await_ready(item, supervisor, cancel)
        # Also where the service ran already: the call that started it may have been cut short before this.
        item.phase = "finishing"
        service.finish()
        item.seconds = time.monotonic() - item.started
        item.phase = "ready"
        ready[service.name].set()
    except Cancelled:
        item.phase = "cancelled"
    except Exception as error:  # shown to the user as this service's failure
        item.phase = "failed"
        item.error = error if isinstance(error, PlatformError) else PlatformError(f"{service.title}: {error}")
        cancel.set()


def _await_ready(item: Progress, supervisor: Supervisor, cancel: threading.Event) -> None:
    service = item.service
    deadline = time.monotonic() + service.ready_seconds
    reason = ""
    seen: dict[str, set[int]] = {program.name: set() for program in service.programs}
    while True:
        _stop_if(cancel)
        states = supervisor.states()
        for program in service.programs:
            info = states.get(program.name, {})
            seen[program.name].update({info["pid"]} if info.get("pid") else ())
            if info.get("statename") == "FATAL" or len(seen[program.name]) > STARTS_BORNE:
                _stop(supervisor, service)
                raise _failure(service, program.name, "keeps ending", supervisor)
        try:
            if service.is_ready():
                return
        except PlatformError:
            raise
        except Exception as error:  # not yet there: the reason counts only when time is up
            reason = str(error)
        if time.monotonic() > deadline:
            raise _failure(
                service,
                service.programs[0].name,
                f"did not answer within {service.ready_seconds:.0f} s ({reason or 'not healthy'})",
                supervisor,
            )
        time.sleep(POLL_SECONDS)


def _failure(service: Service, program: str, what: str, supervisor: Supervisor) -> PlatformError:
    log = supervisor.log_file(program)
    return PlatformError(f"{service.title} ({program}) {what}. The end of its log:\n{tail(log, 12)}", f"see {log}")


def _stop_if(cancel: threading.Event) -> None:
    if cancel.is_set():
        raise Cancelled


def _stop(supervisor: Supervisor, service: Service) -> None:
    with ThreadPoolExecutor(len(service.programs)) as pool:
        list(pool.map(lambda program: supervisor.stop(program.name), service.programs))


def _undo(supervisor: Supervisor, started: list[Service], fresh: bool) -> None:
    if fresh:
        supervisor.shutdown()
        return
    for service in reversed(started):
        _stop(supervisor, service)
