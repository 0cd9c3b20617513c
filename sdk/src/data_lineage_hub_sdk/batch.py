"""What is sent to the hub together, and what became of it. Standard library only: every Airflow task imports this."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

# `event` is one OpenLineage event by itself; `traces` and `metrics` are OTLP as protobuf; the others are JSON lists.
Kind = Literal["event", "lineage", "spans", "points", "traces", "metrics"]
KINDS: tuple[str, ...] = get_args(Kind)
_LISTS = {"lineage": "events", "spans": "spans", "points": "metrics"}


@dataclass(frozen=True)
class Outcome:
    """What became of a batch.

    Attributes:
        kind: `sent`; `rejected`, refused for good; or `retry`, to be tried again later.
        reason: why it was not sent.
        refused: of a sent batch the items that were refused for good: index and reason.
        after: seconds that the hub asked to be left alone.
    """

    kind: Literal["sent", "rejected", "retry"]
    reason: str = ""
    refused: tuple[tuple[int, str], ...] = ()
    after: float = 0.0


@dataclass(frozen=True)
class Batch:
    """Items of one kind and namespace, each encoded: JSON, or a whole OTLP request."""

    kind: Kind
    namespace: str
    items: Sequence[bytes]

    @property
    def body(self) -> bytes:
        """The request's body, and the content of a file of the spool."""
        if self.kind not in _LISTS:
            return self.items[0]
        namespace = json.dumps(self.namespace).encode()
        return b'{"namespace":%b,"%b":[%b]}' % (namespace, _LISTS[self.kind].encode(), b",".join(self.items))

    @classmethod
    def from_body(cls, kind: Kind, body: bytes) -> Batch:
        """Return the batch that has this body.

        Raises:
            ValueError: it is no such body.
        """
        if kind not in _LISTS:
            return cls(kind, "", (body,))
        content = json.loads(body)
        try:
            items = [encode(item) for item in content[_LISTS[kind]]]
            return cls(kind, content["namespace"], items)
        except (KeyError, TypeError) as error:
            raise ValueError(f"this is no batch of {kind}") from error

    def halves(self) -> tuple[Batch, Batch]:
        """Return the first and the second half of its items."""
        middle = len(self.items) // 2
        return Batch(self.kind, self.namespace, self.items[:middle]), Batch(
            self.kind, self.namespace, self.items[middle:]
        )


def encode(item: Mapping[str, Any]) -> bytes:
    """Return an item's JSON; what JSON doesn't know becomes its text.

    Raises:
        ValueError: it refers to itself.
        TypeError: a key is no text.
    """
    return json.dumps(item, separators=(",", ":"), default=str).encode()
