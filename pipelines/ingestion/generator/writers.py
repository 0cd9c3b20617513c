"""Rows as files: the name's ending says the format, `csv`, `ndjson`, `json` or `parquet`, packed as `gz` or `zst`.

A value that is a text where its column has another kind is dirt, and written as it is.
"""

from __future__ import annotations

import csv
import datetime as dt
import gzip
import io
import json
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

Kind = Literal["text", "date", "integer", "money", "boolean", "timestamp", "list"]
Row = dict[str, Any]  # money in cents, times as datetime with a zone, dates as ISO text


def write_rows(
    path: Path, rows: Sequence[Row], fields: dict[str, Kind], *, delimiter: str = ",", decimal: str = "."
) -> None:
    """Write rows in the format that the file's name ends with."""
    packing = path.suffix if path.suffix in (".gz", ".zst") else ""
    format = path.name.removesuffix(packing).rsplit(".", 1)[-1]
    if format == "parquet":
        _write_parquet(path, rows, fields)
        return
    if format == "csv":
        text = _csv(rows, fields, delimiter, decimal)
    else:
        records = [json.dumps({name: _json(row[name], kind) for name, kind in fields.items()}) for row in rows]
        text = "[\n  " + ",\n  ".join(records) + "\n]\n" if format == "json" else "\n".join(records) + "\n"
    path.write_bytes(_packed(text.encode(), packing))


def money(cents: int) -> str:
    """Return an amount of cents as decimal text."""
    return str(Decimal(cents).scaleb(-2))


def _packed(data: bytes, packing: str) -> bytes:
    if packing == ".gz":
        return gzip.compress(data, mtime=0)
    if packing == ".zst":
        import pyarrow as pa

        return bytes(pa.Codec("zstd").compress(data, asbytes=True))
    return data


def _csv(rows: Sequence[Row], fields: dict[str, Kind], delimiter: str, decimal: str) -> str:
    out = io.StringIO(newline="")
    writer = csv.writer(out, delimiter=delimiter, lineterminator="\n")
    writer.writerow(fields)
    for row in rows:
        writer.writerow([_text(row[name], kind, decimal) for name, kind in fields.items()])
    return out.getvalue()


def _text(value: Any, kind: Kind, decimal: str) -> Any:
    if value is None or isinstance(value, str):
        return value
    if kind == "money":
        return money(value).replace(".", decimal)
    if kind == "timestamp":
        return _iso(value)
    if kind == "boolean":
        return "true" if value else "false"
    return json.dumps(value) if kind == "list" else value


def _json(value: Any, kind: Kind) -> Any:
    if value is None or isinstance(value, str):
        return value
    if kind == "timestamp":
        return _iso(value)
    return value / 100 if kind == "money" else value


def _iso(value: dt.datetime) -> str:
    return f"{value:%Y-%m-%dT%H:%M:%SZ}"


def _write_parquet(path: Path, rows: Sequence[Row], fields: dict[str, Kind]) -> None:
    """A typed file holds no dirt but values out of range."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    kinds: dict[Kind, Any] = {
        "text": pa.string(),
        "date": pa.date32(),
        "integer": pa.int32(),
        "money": pa.decimal128(14, 2),
        "boolean": pa.bool_(),
        "timestamp": pa.timestamp("us", tz="UTC"),
        "list": pa.list_(pa.string()),
    }
    arrays = []
    for name, kind in fields.items():
        values = [row[name] for row in rows]
        if kind == "date":
            values = [None if day is None else dt.date.fromisoformat(day) for day in values]
        if kind == "money":
            values = [None if cents is None else Decimal(cents).scaleb(-2) for cents in values]
        arrays.append(pa.array(values, kinds[kind]))
    pq.write_table(pa.table(arrays, names=list(fields)), path, compression="zstd")
