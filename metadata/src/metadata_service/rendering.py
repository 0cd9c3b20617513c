"""How answers are written: JSON, and the templates of the web pages with their times, lengths and values."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import msgspec
from fastapi.responses import Response
from fastapi.templating import Jinja2Templates
from markupsafe import Markup, escape

templates = Jinja2Templates(Path(__file__).parent / "templates")

NOTHING = "\u2013"
_PASSWORD = re.compile(r"(\w+://[^/\s:@\"]+):[^/\s@\"]+@")
_SECRET = re.compile(r"password|passwd|secret|token|api_?key", re.IGNORECASE)

_PARTS = re.compile(r"[^_./:]*[_./:]+|[^_./:]+")


def _ago(at: datetime | None) -> str:
    """Return how long ago a time was, in its largest unit."""
    if at is None:
        return "never"
    seconds = (datetime.now(UTC) - at).total_seconds()
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{int(seconds // length)} {unit} ago"
    return "just now"


def _duration(seconds: float | None) -> str:
    """Return a length of time as 0.4 s, 12 s, 3 min 20 s or 2 h 5 min."""
    if seconds is None:
        return NOTHING
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def _value(value: Any) -> str:
    """Return a measured or expected value as a person writes it."""
    if value is None:
        return NOTHING
    if isinstance(value, bool | str):
        return str(value)
    if isinstance(value, int | float):
        return f"{value:,.6g}" if isinstance(value, float) else f"{value:,}"
    if isinstance(value, dict):
        return ", ".join(f"{key} {_value(item)}" for key, item in value.items())
    return ", ".join(_value(item) for item in value)


def _pretty(value: Any) -> str:
    """Return JSON for reading, passwords in addresses left out."""
    return _PASSWORD.sub(r"\1:***@", json.dumps(value, indent=2, ensure_ascii=False))


def masked(value: Any) -> Any:
    """Return a JSON value without what looks like a secret: values of such names, passwords in addresses."""
    if isinstance(value, dict):
        return {key: "***" if _SECRET.search(key) else masked(item) for key, item in value.items()}
    if isinstance(value, list):
        return [masked(item) for item in value]
    return _PASSWORD.sub(r"\1:***@", value) if isinstance(value, str) else value


def _short_name(name: str) -> str:
    """Return the end of a dataset's name that tells it apart: `schema.table`, or the path."""
    return name if "/" in name else ".".join(name.split(".")[-2:])


def _breakable(name: str) -> Markup:
    """Return a name that a browser may break after its separators, and nowhere else if it can help it."""
    return Markup("<wbr>").join(_PARTS.findall(name))


def _inline_code(text: str) -> Markup:
    """Return text with what stands between backticks as code."""
    parts = text.split("`")
    return Markup("").join(Markup("<code>{}</code>").format(p) if i % 2 else escape(p) for i, p in enumerate(parts))


def _short_id(run_id: str) -> str:
    """Return enough of a run's id to tell it from its neighbours: ids that begin with a time differ at their end."""
    return run_id if len(run_id) <= 12 else f"…{run_id[-8:]}"


templates.env.filters |= {
    "ago": _ago,
    "duration": _duration,
    "value": _value,
    "pretty": _pretty,
    "short_name": _short_name,
    "breakable": _breakable,
    "inline_code": _inline_code,
    "short_id": _short_id,
    "query": urlencode,
    "when": datetime.fromisoformat,
}


def encoded(answer: Any, status: int = 200) -> Response:
    """Return an answer as JSON: dictionaries, with parts that may be JSON already."""
    return Response(msgspec.json.encode(answer), status, media_type="application/json")
