"""Datasets as a team names them, and their names as templates over a call's arguments."""

from __future__ import annotations

import difflib
import inspect
import logging
import re
import string
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

log = logging.getLogger(__name__)

DatasetSpec: TypeAlias = Mapping[str, str] | str
_KEYS = ("type", "name", "format", "namespace")
_URI = re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]*)://(?P<authority>[^/]*)/?(?P<path>.*)", re.DOTALL | re.IGNORECASE)


class Dataset(NamedTuple):
    """A dataset as lineage knows it.

    Attributes:
        namespace: where it is: `s3://bucket`, `postgres://host:port`, or a team's namespace.
        name: what it is called there.
        type: table, file, topic, model …; empty if nobody said.
        format: csv, parquet, …; empty if nobody said.
    """

    namespace: str
    name: str
    type: str = ""
    format: str = ""


def read_spec(spec: DatasetSpec) -> Dataset:
    """Return the dataset that a specification means; a missing namespace stays empty.

    Args:
        spec: `{"type", "name", "format", "namespace"}`, of which only the name is needed; or the name alone.

    Raises:
        ValueError: a key is unknown, the name is missing, or a value is no text.
    """
    if isinstance(spec, str):
        spec = {"name": spec}
    if not isinstance(spec, Mapping):
        raise ValueError(f"a dataset is told by a dictionary with {', '.join(_KEYS)}, or by its name, not by {spec!r}")
    for key, value in spec.items():
        if key not in _KEYS:
            meant = difflib.get_close_matches(str(key), _KEYS, 1)
            cure = f"do you mean {meant[0]!r}?" if meant else f"known are {', '.join(_KEYS)}"
            raise ValueError(f"dataset {dict(spec)!r}: there is no {key!r}; {cure}")
        if not isinstance(value, str):
            raise ValueError(f"dataset {dict(spec)!r}: {key!r} must be text")
    if not spec.get("name"):
        raise ValueError(f"dataset {dict(spec)!r} has no name")
    return Dataset(spec.get("namespace", ""), spec["name"], spec.get("type", ""), spec.get("format", ""))


def placed(dataset: Dataset, namespace: str) -> Dataset:
    """Return a dataset with its namespace: its own, that of its address (`s3://bucket/path`), or the one given."""
    if dataset.namespace:
        return dataset
    address = _URI.fullmatch(dataset.name)
    if address is None:
        return Dataset(namespace, dataset.name, dataset.type, dataset.format)
    scheme, authority, path = address["scheme"].lower(), address["authority"], address["path"]
    if scheme == "file":
        return Dataset(f"file://{authority}" if authority else "file", f"/{path}", dataset.type, dataset.format)
    return Dataset(f"{scheme}://{authority}", path or "/", dataset.type, dataset.format)


def read_specs(specs: Sequence[DatasetSpec], namespace: str) -> tuple[Dataset, ...]:
    """Return the datasets that specifications mean while a run goes on: what is wrong is left out, and told."""
    datasets = []
    for spec in specs:
        try:
            datasets.append(placed(read_spec(spec), namespace))
        except ValueError as error:
            log.warning("a dataset is left out: %s", error)
    return tuple(datasets)


class Template:
    """A text with fields for a call's arguments: `s3://raw/{day}`, `{self.table}`.

    Raises:
        ValueError: it is no format string, or names an argument that the function doesn't have.
    """

    def __init__(self, text: str, function: Callable[..., Any]) -> None:
        self.text = text
        self._getters: dict[str, Callable[[Sequence[Any], Mapping[str, Any]], Any]] = {}
        try:
            fields = [field for _, field, _, _ in string.Formatter().parse(text) if field is not None]
        except ValueError as error:
            raise ValueError(f"{text!r} is no template: {error}; write {{{{ and }}}} for braces") from error
        self.plain = not fields
        if self.plain:
            self.text = text.format()
            return
        parameters = list(inspect.signature(function).parameters.values())
        for field in fields:
            name = re.split(r"[.\[]", field, maxsplit=1)[0]
            self._getters[name] = _getter(name, parameters, text)

    def fill(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> str:
        """Return the text for a call.

        Raises:
            Exception: whatever an argument's attribute or formatting raises.
        """
        if self.plain:
            return self.text
        return self.text.format(**{name: get(args, kwargs) for name, get in self._getters.items()})


def _getter(
    name: str, parameters: Sequence[inspect.Parameter], text: str
) -> Callable[[Sequence[Any], Mapping[str, Any]], Any]:
    """Return how to find an argument; much faster than binding a whole signature at each call."""
    for at, parameter in enumerate(parameters):
        if parameter.name != name:
            continue
        if parameter.kind is parameter.VAR_POSITIONAL:
            return lambda args, _: args[at:]
        if parameter.kind is parameter.VAR_KEYWORD:
            known = {parameter.name for parameter in parameters}
            return lambda _, kwargs: {key: value for key, value in kwargs.items() if key not in known}
        if parameter.kind is parameter.KEYWORD_ONLY:
            return lambda _, kwargs: kwargs.get(name, parameter.default)
        return lambda args, kwargs: args[at] if at < len(args) else kwargs.get(name, parameter.default)
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return lambda _, kwargs: kwargs[name]
    names = [parameter.name for parameter in parameters]
    meant = difflib.get_close_matches(name, names, 1)
    cure = f"do you mean {{{meant[0]}}}?" if meant else f"there are {', '.join(names) or 'none'}"
    raise ValueError(f"{text!r}: the function has no argument {name!r}; {cure}")


class DatasetTemplates:
    """Datasets of a function whose names, namespaces and formats may be templates.

    Raises:
        ValueError: a specification or template is wrong.
    """

    def __init__(self, specs: Sequence[DatasetSpec], function: Callable[..., Any]) -> None:
        if isinstance(specs, (str, Mapping)):
            raise ValueError(f"inputs and outputs are lists of datasets: write [{specs!r}]")
        self._templates: list[tuple[Template, Template, str, Template]] = []
        for spec in map(read_spec, specs):
            namespace, name, form = (Template(text, function) for text in (spec.namespace, spec.name, spec.format))
            self._templates.append((namespace, name, spec.type, form))
        self._constant = all(
            namespace.plain and name.plain and form.plain for namespace, name, _, form in self._templates
        )
        self._made: dict[str, tuple[Dataset, ...]] = {}
        self._warned = False

    def fill(self, args: Sequence[Any], kwargs: Mapping[str, Any], namespace: str) -> tuple[Dataset, ...]:
        """Return the datasets of a call. One whose template fails is left out, which is told once."""
        if self._constant and (made := self._made.get(namespace)) is not None:
            return made
        datasets = []
        for place, name, kind, form in self._templates:
            try:
                filled = Dataset(place.fill(args, kwargs), name.fill(args, kwargs), kind, form.fill(args, kwargs))
                datasets.append(placed(filled, namespace))
            except Exception as error:
                if not self._warned:
                    self._warned = True
                    log.warning("dataset %r is left out: %s: %s", name.text, type(error).__name__, error)
        if self._constant:
            self._made[namespace] = tuple(datasets)
        return tuple(datasets)
