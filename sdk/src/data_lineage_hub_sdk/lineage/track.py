"""`lineage_track` and `lineage_run`: a function's calls, or a block of code, as runs."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, overload

from data_lineage_hub_sdk import defaults
from data_lineage_hub_sdk.instrument import Arguments, Function, watch_calls, without_partial
from data_lineage_hub_sdk.lineage.client import LineageHubClient
from data_lineage_hub_sdk.lineage.datasets import DatasetSpec, DatasetTemplates, Template, read_specs
from data_lineage_hub_sdk.lineage.runs import Job, Run
from data_lineage_hub_sdk.settings import program_name


class _LineageObserver:
    """Makes a run of each call."""

    rank = 0  # before the span, which carries the run's id

    def __init__(
        self,
        function: Callable[..., Any],
        job_name: str | None,
        description: str | None,
        inputs: Sequence[DatasetSpec],
        outputs: Sequence[DatasetSpec],
        client: LineageHubClient | None,
    ) -> None:
        self._name = Template(job_name, function) if job_name else None
        self._default_name = function_name(function)
        documentation = description if description is not None else inspect.getdoc(without_partial(function)) or ""
        self._description = documentation.strip().partition("\n\n")[0]
        self._inputs = DatasetTemplates(inputs, function)
        self._outputs = DatasetTemplates(outputs, function)
        self._client = client

    def begin(self, args: Arguments, kwargs: Mapping[str, Any]) -> Run | None:
        client = self._client or defaults.lineage_client()
        if not client.enabled:
            return None
        namespace = client.settings.namespace
        return Run(
            client,
            Job(namespace, self._job_name(args, kwargs), self._description),
            self._inputs.fill(args, kwargs, namespace),
            self._outputs.fill(args, kwargs, namespace),
        )

    def _job_name(self, args: Arguments, kwargs: Mapping[str, Any]) -> str:
        if self._name is None:
            return self._default_name
        try:
            return self._name.fill(args, kwargs)
        except Exception:  # an argument without what the template asks for
            return self._default_name


@overload
def lineage_track(function: Function, /) -> Function: ...
@overload
def lineage_track(
    job_name: str | None = None,
    *,
    inputs: Sequence[DatasetSpec] = (),
    outputs: Sequence[DatasetSpec] = (),
    description: str | None = None,
    client: LineageHubClient | None = None,
) -> Callable[[Function], Function]: ...
def lineage_track(
    job_name: Any = None,
    *,
    inputs: Sequence[DatasetSpec] = (),
    outputs: Sequence[DatasetSpec] = (),
    description: str | None = None,
    client: LineageHubClient | None = None,
) -> Any:
    """Tell the hub of each call: that it started, and whether it completed, failed or was aborted.

    Works on plain, async, generator and async generator functions, methods, class and static methods. A call made
    within another becomes part of its run. A generator's run lasts from its first item to its last. Running code never
    notices: errors pass through untouched, and nothing that goes wrong here is raised.

    Args:
        job_name: the job; may be a template. Module and qualified name of the function unless given.
        inputs: datasets that are read, each `{"type", "name", "format", "namespace"}` (only the name is needed) or a
            name. Names, namespaces and formats may be templates over the call's arguments: `s3://raw/{day}`,
            `{self.table}`. A dataset whose template fails at a call is left out of that call's run.
        outputs: datasets that are written.
        description: what the job does; the first paragraph of the function's documentation unless given.
        client: who sends; the process' own client unless given.

    Raises:
        ValueError: where it is written, not at a call: a dataset has an unknown key or no name, or a template names an
            argument that the function doesn't have.
        TypeError: where it is written: it stands on a class, or on what can't be called.
    """

    def decorate(function: Any) -> Any:
        def make(plain: Callable[..., Any]) -> _LineageObserver:
            return _LineageObserver(plain, name, description, inputs, outputs, client)

        return watch_calls(function, make)

    if job_name is None or isinstance(job_name, str):
        name = job_name
        return decorate
    name = None
    return decorate(job_name)


class lineage_run:
    """A block of code as a run: `with lineage_run("load", outputs=["s3://lake/orders"]) as run: …`; `async with` too.

    The run takes more while it lasts: `run.add_output(…)`, `run.add_facet(…)`. What the block raises passes through.

    Args:
        job_name: the job.
        inputs: datasets that are read, as for `lineage_track`, without templates.
        outputs: datasets that are written.
        description: what the job does.
        client: who sends; the process' own client unless given.

    Like the function a decorator stands on, the block never notices: a wrong dataset is left out and told in the log.
    """

    def __init__(
        self,
        job_name: str,
        *,
        inputs: Sequence[DatasetSpec] = (),
        outputs: Sequence[DatasetSpec] = (),
        description: str = "",
        client: LineageHubClient | None = None,
    ) -> None:
        self._client = client or defaults.lineage_client()
        place = self._client.settings.namespace
        self._job = Job(place, job_name, description, "BLOCK")
        self._inputs = read_specs(inputs, place)
        self._outputs = read_specs(outputs, place)
        self._run: Run | None = None

    def __enter__(self) -> Run:
        self._run = Run(self._client, self._job, self._inputs, self._outputs)
        self._run.start()
        self._run.resume()
        return self._run

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._run is not None:
            self._run.suspend()
            self._run.end(error)

    async def __aenter__(self) -> Run:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, at)


def function_name(function: Callable[..., Any]) -> str:
    """Return module and qualified name of a function; a script's own functions are in its name."""
    function = without_partial(function)
    module = getattr(function, "__module__", None) or "unknown"
    name = getattr(function, "__qualname__", None) or type(function).__qualname__
    return f"{program_name() if module == '__main__' else module}.{name.replace('.<locals>', '')}"
