"""The names that a DAG may use: the connections and pools of pipelines/config/connections.yaml."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import yaml

DEFAULT_POOL = "default_pool"


@dataclass(frozen=True)
class Known:
    """The connections and pools that there are."""

    connections: frozenset[str]
    pools: frozenset[str] = frozenset({DEFAULT_POOL})


def known_to_the_platform(file: Path) -> Known:
    """Read connections.yaml."""
    content = yaml.safe_load(file.read_text(encoding="utf-8"))
    return Known(frozenset(content["connections"]), frozenset({*content["pools"], DEFAULT_POOL}))


def suggestion(name: str, known: Iterable[str]) -> str:
    """Return `did you mean …?`, or the list of what is known."""
    known = sorted(known)
    near = difflib.get_close_matches(name, known, n=1)
    return f"did you mean '{near[0]}'?" if near else f"known are {', '.join(known)}"
