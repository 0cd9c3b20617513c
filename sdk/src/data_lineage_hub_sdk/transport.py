"""OpenLineage transport that never fails its caller: what can't be delivered is spooled to disk and sent later.

Use it wherever OpenLineage takes a transport::

    {"type": "data_lineage_hub_sdk.transport.SpoolingHttpTransport", "url": "http://127.0.0.1:8000",
     "api_key": "…", "spool_dir": "/var/spool/lineage", "timeout": 2}

An event that the hub refuses as malformed goes to `<spool_dir>/rejected/` with the reason. After a delivery, some of
what waits is sent too. While the hub is known to be away, events go straight to the spool, so that a dead hub costs one
time-out every `retry_after` seconds on a machine, not one an event.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attr
from openlineage.client.serde import Serde
from openlineage.client.transport.transport import Config, Transport

from data_lineage_hub_sdk.batch import Batch
from data_lineage_hub_sdk.delivery import Sender
from data_lineage_hub_sdk.spool import DEFAULT_MAX_BYTES, Spool, send_waiting, tell_left

if TYPE_CHECKING:
    from openlineage.client import OpenLineageClient

log = logging.getLogger(__name__)


@attr.define
class SpoolingHttpConfig(Config):  # type: ignore[misc]
    """Settings of the transport.

    Attributes:
        url: address of the lineage hub.
        spool_dir: folder for undelivered events, shared by all processes of the machine.
        api_key: bearer key for writes.
        timeout: seconds to wait for the hub.
        max_spool_bytes: bound of the spool; beyond it the oldest events are dropped with a warning.
        drain_limit: waiting events to send after a delivery, for at most a second.
        retry_after: seconds to leave a hub alone that failed to answer.
    """

    url: str
    spool_dir: str
    api_key: str = attr.field(default="", repr=False)
    timeout: float = 2.0
    max_spool_bytes: int = DEFAULT_MAX_BYTES
    drain_limit: int = 50
    retry_after: float = 15.0

    @classmethod
    def from_dict(cls, params: dict[str, Any]) -> SpoolingHttpConfig:
        """Make a configuration of OpenLineage's transport settings; `apiKey` and `spoolDir` are taken too.

        Raises:
            ValueError: `url` or `spool_dir` is missing, or a number is none.
        """
        given = {"api_key": params.get("apiKey"), "spool_dir": params.get("spoolDir"), **params}
        for name in ("url", "spool_dir"):
            if not given.get(name):
                raise ValueError(f"SpoolingHttpTransport needs `{name}` in the OpenLineage transport settings")
        return cls(
            url=str(given["url"]),
            spool_dir=str(given["spool_dir"]),
            api_key=str(given["api_key"] or ""),
            timeout=float(given.get("timeout", 2.0)),
            max_spool_bytes=int(given.get("max_spool_bytes", DEFAULT_MAX_BYTES)),
            drain_limit=int(given.get("drain_limit", 50)),
            retry_after=float(given.get("retry_after", 15.0)),
        )


class SpoolingHttpTransport(Transport):  # type: ignore[misc]
    """Posts events to a lineage hub and spools those it can't deliver."""

    kind = "spooling_http"
    config_class = SpoolingHttpConfig

    def __init__(self, config: SpoolingHttpConfig) -> None:
        Sender(config.url, config.api_key, config.timeout)  # tells a wrong address now, not at the first event
        self.config = config
        self.spool = Spool(config.spool_dir, config.max_spool_bytes)

    def emit(self, event: Any) -> None:
        """Deliver an event or spool it; never raises."""
        try:
            content = Serde.to_json(event).encode()
        except Exception:
            log.exception("an OpenLineage event can't be turned into JSON and is lost")
            return
        try:
            self._deliver(content)
        except Exception:  # a full disk, a folder of someone else's: lineage must not fail the work it describes
            log.exception("an OpenLineage event could be neither delivered nor spooled to %s", self.spool.folder)

    def _deliver(self, content: bytes) -> None:
        if self.spool.unreachable_for() < self.config.retry_after:
            self.spool.add(content)
            return
        with Sender(self.config.url, self.config.api_key, self.config.timeout) as sender:
            outcome = sender.send(Batch("event", "", (content,)))
            if outcome.kind == "retry":
                self.spool.add(content)
                self.spool.note_unreachable()
                log.warning("lineage hub: %s; the event is spooled to %s", outcome.reason, self.spool.folder)
                return
            self.spool.note_reachable()
            if outcome.kind == "rejected":
                self.spool.reject(content, outcome.reason)
                log.error("lineage hub refused an event, kept in %s: %s", self.spool.rejected, outcome.reason)
            tell_left(self.spool, send_waiting(self.spool, sender, self.config.drain_limit, seconds=1.0))


def client_from(url: str, api_key: str, spool_dir: str | Path) -> OpenLineageClient:
    """Return an OpenLineage client that emits through this transport.

    Raises:
        ValueError: `url` is no address.
    """
    from openlineage.client import OpenLineageClient

    config = SpoolingHttpConfig(url=url, api_key=api_key, spool_dir=str(spool_dir))
    return OpenLineageClient(transport=SpoolingHttpTransport(config))
