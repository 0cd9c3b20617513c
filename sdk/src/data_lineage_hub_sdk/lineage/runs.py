"""Runs: what is going on in which context, and what is known of it. Cheap: events are made of them elsewhere."""

from __future__ import annotations

import contextvars
import sys
import time
import traceback
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from data_lineage_hub_sdk import instrument
from data_lineage_hub_sdk.ids import new_run_id
from data_lineage_hub_sdk.lineage.datasets import Dataset, DatasetSpec, read_specs
from data_lineage_hub_sdk.settings import RunRef

if TYPE_CHECKING:
    from data_lineage_hub_sdk.lineage.client import LineageHubClient

State = Literal["START", "COMPLETE", "FAIL", "ABORT"]
_MAX_FRAMES = 50


class Job(NamedTuple):
    """A job: what runs again and again."""

    namespace: str
    name: str
    description: str = ""
    type: str = "FUNCTION"


class Record(NamedTuple):
    """What an event is made of; nothing in it changes any more."""

    state: State
    nanoseconds: int
    run: Run
    inputs: tuple[Dataset, ...]
    outputs: tuple[Dataset, ...]
    facets: Mapping[str, Any]
    error: traceback.TracebackException | None


class Run:
    """A run of a job. In a `with lineage_run(…) as run` and by `current_run()`, more can be said about it.

    Attributes:
        ref: the run's id (UUID version 7), namespace and job.
        parent: the run that this one is part of.
        root: the run that everything is part of.
        trace: trace id and span id of the span that covers the run.
    """

    __slots__ = (
        "_client",
        "_facets",
        "_outer",
        "_started",
        "inputs",
        "job",
        "outputs",
        "parent",
        "ref",
        "root",
        "trace",
    )

    def __init__(
        self,
        client: LineageHubClient,
        job: Job,
        inputs: tuple[Dataset, ...],
        outputs: tuple[Dataset, ...],
    ) -> None:
        outer = _current.get()
        self._client = client
        self._outer: Run | None = None
        self._facets: Mapping[str, Any] = {}
        self.job = job
        self.inputs = inputs
        self.outputs = outputs
        self._started = time.time_ns()
        self.ref = RunRef(new_run_id(self._started), job.namespace, job.name)
        self.parent = outer.ref if outer is not None else client.settings.parent
        self.root: RunRef = outer.root if outer is not None else client.settings.root or self.parent or self.ref
        self.trace: tuple[int, int] | None = None

    @property
    def run_id(self) -> str:
        """The run's id."""
        return self.ref.run_id

    def add_input(self, dataset: DatasetSpec) -> None:
        """Say that the run reads a dataset; its last event tells it. A wrong specification is told in the log."""
        self.inputs = (*self.inputs, *read_specs([dataset], self.job.namespace))

    def add_output(self, dataset: DatasetSpec) -> None:
        """Say that the run writes a dataset; its last event tells it. A wrong specification is told in the log."""
        self.outputs = (*self.outputs, *read_specs([dataset], self.job.namespace))

    def add_facet(self, name: str, facet: Any) -> None:
        """Say more about the run: a facet of openlineage-python or a dictionary; its last event tells it."""
        self._facets = {**self._facets, name: facet}

    def start(self) -> None:
        """Tell that the run has started, within the span that is current now, such as that of the same call."""
        self.trace = active_span()
        self._client.record(Record("START", self._started, self, self.inputs, self.outputs, {}, None))

    def resume(self) -> None:
        """Make it the current run of this context."""
        self._outer = _current.get()
        _current.set(self)

    def suspend(self) -> None:
        """Make current again what was before."""
        _current.set(self._outer)

    def end(self, error: BaseException | None = None) -> None:
        """Tell how the run ended: completed, failed, or aborted by whoever waited for it."""
        state = _state_after(error)
        told = _told(error) if error is not None and state == "FAIL" else None
        now = max(time.time_ns(), self._started)
        self._client.record(Record(state, now, self, self.inputs, self.outputs, self._facets, told))


_current: contextvars.ContextVar[Run | None] = contextvars.ContextVar("lineage_hub_run", default=None)


def current_run() -> Run | None:
    """Return the run whose code is running in this context, if any."""
    return _current.get()


def active_span() -> tuple[int, int] | None:
    """Return trace id and span id of OpenTelemetry's current span; without importing it."""
    trace = sys.modules.get("opentelemetry.trace")
    if trace is None:
        return None
    context = trace.get_current_span().get_span_context()
    return (context.trace_id, context.span_id) if context.is_valid else None


def _state_after(error: BaseException | None) -> State:
    if error is None or (isinstance(error, SystemExit) and error.code in (None, 0)):
        return "COMPLETE"
    asyncio = sys.modules.get("asyncio")
    cancelled = asyncio is not None and isinstance(error, asyncio.CancelledError)
    return "ABORT" if cancelled or isinstance(error, (GeneratorExit, KeyboardInterrupt)) else "FAIL"


def _told(error: BaseException) -> traceback.TracebackException:
    """Return what is to be said of an error; lines of source are read later, and no frame is kept alive."""
    frames = error.__traceback__
    while frames is not None and frames.tb_next and frames.tb_frame.f_code.co_filename == instrument.__file__:
        frames = frames.tb_next
    return traceback.TracebackException(
        type(error), error, frames, limit=-_MAX_FRAMES, lookup_lines=False, capture_locals=False
    )
