"""Import DAG files with Airflow's own importer, and note what they are and what importing them asked for.

The network is closed and Airflow's variables and connections are stand-ins while a file is imported: what it asks
for is noted with the line that asked.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pipelines.dag_checks.model import ReadDag, ReadFile, ReadTask


class NetworkClosed(OSError):
    """A DAG file asked for the network while it was imported."""


class Watch:
    """What the file being imported asks for. One for the process: an audit hook can't be taken away again."""

    def __init__(self) -> None:
        self.file = ""
        self.asked: dict[tuple[int, str], None] = {}
        sys.addaudithook(self._hear)

    @contextmanager
    def on(self, file: str) -> Iterator[None]:
        """Watch over the import of a file."""
        self.file, self.asked = file, {}
        try:
            yield
        finally:
            self.file = ""

    def note(self, what: str) -> None:
        """Note what is asked for, with the file's line that is running."""
        frame = sys._getframe(1)
        while frame is not None:
            if frame.f_code.co_filename == self.file:
                self.asked[frame.f_lineno, what] = None
                return
            frame = frame.f_back  # type: ignore[assignment]
        self.asked[0, what] = None

    def _hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.file or event not in ("socket.connect", "socket.getaddrinfo"):
            return
        address = arguments[1] if event == "socket.connect" else arguments[:2]
        told = ":".join(map(str, address[:2])) if isinstance(address, tuple) else str(address)
        self.note(f"the network address {told}")
        raise NetworkClosed(f"a DAG file asked for {told} while it was imported")


_watch: Watch | None = None


def read_files(paths: Iterable[Path]) -> list[ReadFile]:
    """Import files one after the other."""
    global _watch
    _watch = _watch or Watch()
    with _stand_ins(_watch):
        return [_read(path, _watch) for path in paths]


def _read(path: Path, watch: Watch) -> ReadFile:
    from airflow.dag_processing.importers import get_importer_registry

    importer = get_importer_registry().get_importer(str(path))
    began = time.perf_counter()
    with watch.on(str(path)):
        result = importer.import_file(file_path=str(path), safe_mode=False)
    seconds = time.perf_counter() - began
    asked = list(watch.asked)
    if result.errors:
        error = result.errors[0]
        told = error.stacktrace or error.message
        # The closed network is our doing: what asked for it is told, the error that came of it is not.
        told = "" if NetworkClosed.__name__ in told else told
        return ReadFile(str(path), seconds, told, _line_in(told, path), asked)
    dags = [_described(dag) for dag in result.dags]
    problem = next(filter(None, map(_problem, result.dags)), "")
    return ReadFile(str(path), seconds, problem, 0, asked, dags=sorted(dags, key=lambda dag: dag.dag_id))


def _problem(dag: Any) -> str:
    """Return why Airflow would refuse a DAG, empty where it would not."""
    try:
        dag.validate()
        dag.check_cycle()
        dag.resolve_template_files()
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return ""


def _line_in(traceback: str, path: Path) -> int:
    """Return the last line of a file that a traceback names; 0 where it names none."""
    marker = f'File "{path}", line '
    _, found, rest = traceback.rpartition(marker)
    digits = rest.partition("\n")[0].partition(",")[0]
    return int(digits) if found and digits.isdigit() else 0


def _described(dag: Any) -> ReadDag:
    from pipelines.policy import is_given

    start = dag.start_date or dag.default_args.get("start_date")
    return ReadDag(
        dag_id=dag.dag_id,
        tags=sorted(dag.tags),
        start=start.isoformat() if start and start.tzinfo else None,
        catchup=bool(dag.catchup),
        is_scheduled=bool(getattr(dag.timetable, "can_be_scheduled", False)) and _is_timed(dag.timetable),
        tasks=[
            ReadTask(
                task_id=task.task_id,
                pool=task.pool,
                has_owner=is_given(task, "owner"),
                connections=_connections(task),
            )
            for task in dag.tasks
        ],
    )


def _is_timed(timetable: Any) -> bool:
    """Whether time starts runs, and not an asset."""
    return not type(timetable).__name__.startswith(("Null", "AssetTriggered", "Once", "Continuous"))


def _connections(task: Any) -> dict[str, str]:
    """Return the connection ids that a task holds, by argument."""
    arguments = getattr(task, "partial_kwargs", None) or vars(task)
    return {
        name.lstrip("_"): value
        for name, value in arguments.items()
        if name.endswith("conn_id") and isinstance(value, str) and value and "{{" not in value
    }


@contextmanager
def _stand_ins(watch: Watch) -> Iterator[None]:
    """Answer for Airflow's variables and connections, which a file being imported has no business to ask for."""
    from airflow.sdk import BaseHook, Connection, Variable

    def variable(key: str, default: Any = None, deserialize_json: bool = False, **_: Any) -> Any:
        watch.note(f"the variable {key}")
        return {} if deserialize_json else default if isinstance(default, str) else ""

    def connection(conn_id: str, *_: Any) -> Any:
        watch.note(f"the connection {conn_id}")
        return Connection(conn_id=conn_id, conn_type="generic", host="127.0.0.1")

    changed: list[tuple[Any, str, Any, Callable[..., Any]]] = [
        (Variable, "get", Variable.__dict__["get"], variable),
        (Connection, "get", Connection.__dict__["get"], connection),
        (BaseHook, "get_connection", BaseHook.__dict__["get_connection"], connection),
    ]
    for owner, name, _, stand_in in changed:
        setattr(owner, name, staticmethod(stand_in))
    try:
        yield
    finally:
        for owner, name, original, _ in changed:
            setattr(owner, name, original)
