"""What the SDK needs to know, from the environment or from `configure`. Only this module reads the environment.

A wrong value in the environment is told once in the log and its default taken: settings never stop a pipeline. A wrong
argument of `configure` raises, since it is met where it was written.
"""

from __future__ import annotations

import difflib
import getpass
import hashlib
import logging
import os
import re
import sys
import tempfile
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)

TRANSPORTS = ("http", "kafka", "file", "console", "noop")
_PREFIX = "LINEAGE_HUB_"
_YES, _NO = ("1", "true", "yes", "on"), ("0", "false", "no", "off", "")


@dataclass(frozen=True)
class RunRef:
    """Which run, of which job."""

    run_id: str
    namespace: str
    job: str


@dataclass(frozen=True)
class Settings:
    """Settings of the SDK. `LINEAGE_HUB_<NAME IN CAPITALS>` in the environment sets each.

    Attributes:
        url: address of the hub, `http://host:port`.
        api_key: bearer key for writing into the namespace.
        namespace: the team's namespace: that of its jobs and of datasets that name none.
        transport: http, kafka, file, console or noop; without one, http if there is a `url`.
        disabled: nothing is recorded at all.
        spool_dir: folder for what could not be delivered; shared by all processes of the user.
        spool_max_bytes: bound of what waits there, for each hub and namespace.
        timeout: seconds to wait for the hub, for the connection and for an answer.
        flush_timeout: seconds that the end of the process waits for delivery; the rest goes to the spool.
        queue_size: records held in memory at most.
        batch_size: records sent together at most.
        linger: seconds to gather records before they are sent.
        metric_interval: seconds between two exports of metrics.
        service_name: `service.name` of spans and metrics; the script's name unless told.
        file: path of the transport `file`, `-` for standard output.
        kafka_servers: brokers of the transport `kafka`, `host:port` with commas between them.
        kafka_config: more of librdkafka's settings, `key=value` with commas between them.
        kafka_topic_lineage: topic of lineage events.
        kafka_topic_spans: topic of spans.
        kafka_topic_metrics: topic of metrics.
        parent: the run that started this process; `OPENLINEAGE_PARENT_ID` as `namespace/job/run id`.
        root: the run that started everything; `OPENLINEAGE_ROOT_PARENT_ID`, or `parent`.
    """

    url: str = ""
    api_key: str = field(default="", repr=False)
    namespace: str = "default"
    transport: str = ""
    disabled: bool = False
    spool_dir: str = ""
    spool_max_bytes: int = 256 * 1024 * 1024
    timeout: float = 5.0
    flush_timeout: float = 3.0
    queue_size: int = 20_000
    batch_size: int = 500
    linger: float = 0.1
    metric_interval: float = 15.0
    service_name: str = ""
    file: str = ""
    kafka_servers: str = ""
    kafka_config: Mapping[str, str] = field(default_factory=dict, repr=False)  # passwords of SASL stand here
    kafka_topic_lineage: str = "openlineage-events"
    kafka_topic_spans: str = "otel-spans"
    kafka_topic_metrics: str = "otel-metrics"
    parent: RunRef | None = None
    root: RunRef | None = None

    def __post_init__(self) -> None:
        for name, least in _LEAST.items():
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, float)) or value < least:
                raise ValueError(f"{name} must be a number from {least}, not {value!r}")
        if self.transport and self.transport not in TRANSPORTS:
            raise ValueError(f"there is no transport {self.transport!r}: use {', '.join(TRANSPORTS)}")
        if self.transport == "file" and not self.file:
            raise ValueError("the transport file needs `file`, the path to write to")
        if self.transport == "kafka" and not self.kafka_servers:
            raise ValueError("the transport kafka needs `kafka_servers`, host:port")
        if self.transport == "http" and not self.url:
            raise ValueError("the transport http needs `url`, the address of the hub")
        if self.url and not re.match(r"https?://[^/]", self.url):
            raise ValueError(f"{self.url!r} is no address of a lineage hub: use http://host:port")

    @property
    def chosen_transport(self) -> str:
        """The transport to use; `noop` if disabled or if nothing says where to send to."""
        if self.disabled:
            return "noop"
        return self.transport or ("http" if self.url else "noop")

    @property
    def spool_folder(self) -> Path:
        """The spool's folder for this hub and namespace: one team's key never sends what another's left behind."""
        target = {"http": self.url, "kafka": self.kafka_servers}.get(self.chosen_transport, self.file)
        digest = hashlib.sha256(f"{target}\n{self.namespace}".encode()).hexdigest()[:10]
        readable = re.sub(r"[^A-Za-z0-9._-]+", "-", self.namespace)[:60]
        root = Path(self.spool_dir) if self.spool_dir else default_spool_dir()
        return root / f"{self.chosen_transport}-{readable}-{digest}"


_LEAST: dict[str, float] = {
    "spool_max_bytes": 1,
    "timeout": 0.01,
    "flush_timeout": 0,
    "queue_size": 1,
    "batch_size": 1,
    "linger": 0,
    "metric_interval": 0.1,
}
_KINDS: dict[str, type] = {item.name: type(item.default) for item in fields(Settings)}


def default_spool_dir() -> Path:
    """Return the user's folder for state of programs, or a temporary one where there is no home."""
    state = os.environ.get("XDG_STATE_HOME", "")
    try:
        return (Path(state) if state else Path.home() / ".local" / "state") / "data-lineage-hub"
    except RuntimeError:
        return Path(tempfile.gettempdir()) / f"data-lineage-hub-{getpass.getuser()}"


def program_name() -> str:
    """Return the name of the script or module that runs."""
    main = sys.modules.get("__main__")
    spec = getattr(main, "__spec__", None)
    if spec is not None:
        return str(spec.name.removesuffix(".__main__"))
    return Path(getattr(main, "__file__", "") or "python").stem


def pairs(text: str) -> dict[str, str]:
    """Read `key=value,key=value`.

    Raises:
        ValueError: a part has no `=`.
    """
    found = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        key, equals, value = part.partition("=")
        if not equals:
            raise ValueError(f"{key!r} is no key=value")
        found[key.strip()] = value.strip()
    return found


def _run_ref(text: str) -> RunRef:
    parts = text.rsplit("/", 2)
    if len(parts) != 3 or not all(parts):
        raise ValueError(f"{text!r} is no namespace/job/run id")
    return RunRef(parts[2], parts[0], parts[1])


def _boolean(text: str) -> bool:
    if text.lower() not in _YES + _NO:
        raise ValueError(f"{text!r} is neither true nor false")
    return text.lower() in _YES


def _read(name: str, text: str) -> Any:
    if name in ("parent", "root"):
        return _run_ref(text)
    if name == "kafka_config":
        return pairs(text)
    kind = _KINDS[name]
    return _boolean(text) if kind is bool else kind(text)


def from_environment(environment: Mapping[str, str] | None = None) -> Settings:
    """Return the settings that the environment gives; what is wrong in it is told in the log and left out."""
    environment = os.environ if environment is None else environment
    variables = {name: _PREFIX + name.upper() for name in _KINDS}
    variables |= {"parent": "OPENLINEAGE_PARENT_ID", "root": "OPENLINEAGE_ROOT_PARENT_ID"}
    settings = Settings(service_name=environment.get("OTEL_SERVICE_NAME", ""))
    given: dict[str, Any] = {}
    for name, variable in variables.items():
        text = environment.get(variable, "").strip()
        if not text:
            continue
        try:
            given[name] = _read(name, text)
            if name != "transport":  # whether that is right, the others decide together
                replace(settings, **{name: given[name]})
        except ValueError as error:
            given.pop(name, None)
            log.warning("%s is left out: %s", variable, error)
    known = list(variables.values())
    for variable in sorted(environment.keys() - set(known)):
        if variable.startswith(_PREFIX) and (meant := difflib.get_close_matches(variable, known, 1, 0.8)):
            log.warning("%s means nothing to the lineage SDK: do you mean %s?", variable, meant[0])
    try:
        return replace(settings, **given)
    except ValueError as error:
        log.warning("nothing is recorded: %s", error)
        return replace(settings, **{**given, "transport": "noop"})


_lock = threading.Lock()
_current: Settings | None = None


def get_settings() -> Settings:
    """Return the process' settings; the environment is read at the first call."""
    global _current
    if _current is None:
        with _lock:
            if _current is None:
                _current = from_environment()
    return _current


def change_settings(changes: Mapping[str, Any]) -> Settings:
    """Return the process' settings after a change of some.

    Raises:
        TypeError: there is no such setting.
        ValueError: a value is wrong.
    """
    global _current
    for name in changes:
        if name not in _KINDS:
            meant = difflib.get_close_matches(name, _KINDS, 1)
            raise TypeError(f"there is no setting {name!r}" + (f": do you mean {meant[0]!r}?" if meant else ""))
    with _lock:
        _current = replace(_current or from_environment(), **changes)
    return _current
