"""Random dirty files in every format against an independent slow reader, and valid files with their bytes damaged.

The slow reader below is plain Python (csv, json, decimal, datetime) and knows of the engine's nothing: what it makes
of a file's values decides which rows are good, which rule a bad one breaks first, and which of a key is kept.
"""

from __future__ import annotations

import csv
import datetime as dt
import gzip
import io
import json
import os
import random
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from data_quality.contract import Contract
from pipelines.ingestion import core
from pipelines.ingestion.model import PreparedFile, SourceFile

COLUMNS = ["id", "day", "amount", "count", "changed"]
Row = dict[str, str | None]


# --- the slow reader -----------------------------------------------------------------------------------------------


def a_date(text: str) -> dt.date | None:
    if not re.fullmatch(r"\d{4}-\d\d-\d\d", text, re.ASCII):
        return None
    try:
        return dt.date.fromisoformat(text)
    except ValueError:
        return None


def a_number(text: str) -> Decimal | str:
    if not re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", text, re.ASCII):
        return "type"
    number = Decimal(text)
    if abs(number.quantize(Decimal("0.01"))) >= 10**10:
        return "range"
    return number if number == number.quantize(Decimal("0.01")) else "scale"


def an_integer(text: str) -> int | str:
    if not re.fullmatch(r"[+-]?\d+(\.0*)?", text, re.ASCII):
        return "type"
    number = int(text.split(".")[0])
    return number if -(2**63) <= number < 2**63 else "range"


def a_time(text: str) -> dt.datetime | None:
    if not re.fullmatch(r"\d{4}-\d\d-\d\d([ T]\d\d:\d\d(:\d\d(\.\d{1,6})?)?(Z|[+-]\d\d:\d\d)?)?", text, re.ASCII):
        return None
    try:
        moment = dt.datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)


@dataclass
class Expected:
    """What a file comes to."""

    read: int = 0
    rules: Counter[str] = field(default_factory=Counter)
    rejected: dict[int, str] = field(default_factory=dict)
    deduplicated: int = 0
    staged: list[tuple[Any, ...]] = field(default_factory=list)


def slowly(rows: list[Row | None]) -> Expected:
    """Return what the rows of a file come to; None is a record that is none."""
    expected, by_key = Expected(read=len(rows)), dict[str, list[tuple[int, tuple[Any, ...]]]]()
    for record, row in enumerate(rows, 1):
        rule, values = judged(row)
        if rule:
            expected.rules[rule] += 1
            expected.rejected[record] = rule
        else:
            by_key.setdefault(values[0], []).append((record, rounded(values)))
    for same_key in by_key.values():
        last, newest = max(same_key, key=lambda item: (item[1][4] is not None, item[1][4], item[0]))
        expected.staged.append(newest)
        for record, values in same_key:
            if values[4] is not None and values[4] == newest[4] and values != newest:
                expected.rules["changed: tie"] += 1
                expected.rejected[record] = "changed: tie"
            else:
                expected.deduplicated += record != last
    return expected


def rounded(values: tuple[Any, ...]) -> tuple[Any, ...]:
    amount = values[2] if values[2] is None else values[2].quantize(Decimal("0.01"))
    return (*values[:2], amount, *values[3:])


def judged(row: Row | None) -> tuple[str | None, tuple[Any, ...]]:
    if row is None:
        return "*: record", ()
    trimmed = {name: (row.get(name) or "").strip(" ") or None for name in COLUMNS[1:]}
    key = row.get("id") or None
    if key is None:
        return "id: required", ()
    if "\0" in key:
        return "id: type", ()
    values: list[Any] = [key]
    makers: dict[str, Callable[[str], Any]] = {
        "day": a_date, "amount": a_number, "count": an_integer, "changed": a_time
    }  # fmt: skip
    for name, make in makers.items():
        text = trimmed[name]
        value = None if text is None else make(text)
        if isinstance(value, str):
            return f"{name}: {value}", ()
        if text is not None and value is None:
            return f"{name}: type", ()
        values.append(value)
    return None, tuple(values)


# --- random rows ---------------------------------------------------------------------------------------------------

KEYS = st.one_of(
    st.sampled_from(
        ["a", "b", "c", " padded ", "NULL", "null", "NaN", "-", "0", "00", "ä", "日本", "\N{GRINNING FACE}"]
    ),
    # Control characters make a file binary data.
    st.text(st.characters(codec="utf-8", include_characters="\n", exclude_categories=["Cs", "Cc"]), max_size=12),
    st.just(""),
)
NUMBERS = st.one_of(st.decimals(-(10**8), 10**8, places=3), st.integers(-(10**11), 10**11).map(Decimal)).map(
    lambda number: f"{number:f}"
)
ODD = st.text("0123456789-+.:TZeE ,NaInf_x", max_size=12)
VALUES = {
    "day": st.one_of(
        st.dates(dt.date(1, 1, 1)).map(str),
        st.sampled_from(["2026-02-30", "20260101", "2026-1-5", "1.2.2026", " ", ""]),
        ODD,
    ),
    "amount": st.one_of(
        NUMBERS,
        st.sampled_from(["1.50", "-0", "+7", ".5", "5.", "1e2", "15e-1", "NaN", "inf", "1,5", "0x1", "1_0", ""]),
        ODD,
    ),
    "count": st.one_of(
        st.integers(-(2**64), 2**64).map(str), st.integers(-9, 9).map(str),
        st.sampled_from(["17.0", "17.", "17.5", "1e3", "007", "+5", " 3 ", "", "--1"]), ODD,
    ),
    "changed": st.one_of(
        st.datetimes(dt.datetime(1900, 1, 1)).map(lambda moment: moment.isoformat(sep=" ")),  # noqa: DTZ001
        st.datetimes(dt.datetime(1900, 1, 1)).map(lambda moment: f"{moment.isoformat()}Z"),  # noqa: DTZ001
        st.sampled_from(["2026-01-01", "2026-01-01T10:00", "2026-01-01T10:00:00+05:30"]),
        st.sampled_from(["2026-01-01T25:00:00", "2026-02-29 00:00:00", "now", ""]),
        ODD,
    ),
}  # fmt: skip
ROWS = st.lists(st.fixed_dictionaries({"id": KEYS, **VALUES}), max_size=12)
EXAMPLES = os.environ.get("DP_TEST_EXAMPLES")  # how many random files of each format; otherwise 60, always the same
LOADS = settings(
    deadline=None, max_examples=int(EXAMPLES or 60), derandomize=not EXAMPLES, database=None, phases=[Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)  # fmt: skip

PACKED: dict[str, Callable[[bytes], bytes]] = {
    "plain": lambda data: data,
    "gzip": gzip.compress,
    "gzip members": lambda data: gzip.compress(data[: len(data) // 2]) + gzip.compress(data[len(data) // 2 :]),
    "zstd": lambda data: pa.compress(data, codec="zstd", asbytes=True),
}


@pytest.fixture
def take(tmp_path: Path, make_contract: Any) -> Callable[..., tuple[PreparedFile, Contract]]:
    """A function that prepares a file of some bytes under a contract with ingest options."""

    def prepare(content: bytes, **ingest: Any) -> tuple[PreparedFile, Contract]:
        contract = make_contract(**ingest)
        path = tmp_path / "file"
        path.write_bytes(content)
        source = SourceFile(str(path), contract.name, len(content), "2026-01-02T00:00:00+00:00")
        return core.prepare(source, contract, None, folder=tmp_path / "staged"), contract

    return prepare


def same(prepared: PreparedFile, expected: Expected) -> None:
    assert prepared.error is None, prepared.error
    counted = (prepared.rows_read, prepared.rows_rejected, prepared.rows_deduplicated, prepared.rows_staged)
    with duckdb.connect() as engine:
        engine.execute("SET timezone = 'UTC'")
        query = "SELECT id, day, amount, count, changed FROM read_parquet(?)"
        staged = engine.execute(query, [prepared.staged_uri]).fetchall()
        told = []
        if prepared.rejects_uri:
            query = "SELECT record, coalesce(column_name, '*') || ': ' || rule FROM read_parquet(?)"
            told = engine.execute(query, [prepared.rejects_uri]).fetchall()
    staged = [(*row[:4], row[4] and row[4].astimezone(dt.UTC)) for row in staged]
    wanted = [(*row[:4], row[4] and row[4].astimezone(dt.UTC)) for row in expected.staged]
    assert dict(told) == expected.rejected
    assert sorted(staged, key=repr) == sorted(wanted, key=repr)
    assert prepared.rejects_by_rule == dict(expected.rules)
    assert counted == (expected.read, sum(expected.rules.values()), expected.deduplicated, len(expected.staged))


BULK: list[Row] = [
    {"id": f"k{n}", "day": "2026-01-01", "amount": "1.50", "count": str(n), "changed": "2026-01-01T00:00:00Z"}
    for n in range(12_000)
]
"""Enough of good rows that a file is read as a large one."""


@LOADS
@given(data=st.data())
def test_csv(take: Any, data: st.DataObject) -> None:
    rows: list[Row] = data.draw(ROWS)
    if data.draw(st.integers(0, 11)) == 0:
        place = data.draw(st.integers(0, len(rows)))
        rows = [*rows[:place], *BULK, *rows[place:]]
    order = data.draw(st.permutations(COLUMNS))
    delimiter = data.draw(st.sampled_from([",", ";", "\t", "|"]))
    end = data.draw(st.sampled_from(["\n", "\r\n"]))
    text = io.StringIO(newline="")
    quoting = data.draw(st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]))
    writer = csv.writer(text, delimiter=delimiter, lineterminator=end, quoting=quoting)
    writer.writerow([name.upper() if data.draw(st.booleans()) else name for name in order])
    found: list[Row | None] = []
    for row in rows:
        kind = data.draw(st.integers(0, 19)) if len(rows) < 100 else 9
        if kind == 0:
            text.write(end)  # a blank line is no record
        elif kind == 1:
            writer.writerow([row[name] for name in order] + ["too many"])
            found.append(None)
            continue
        elif kind == 2:
            writer.writerow([row["id"] or "x", "too few"])
            found.append(None)
            continue
        writer.writerow([row[name] for name in order])
        found.append(row)
    content = text.getvalue()
    if data.draw(st.booleans()):
        content = content.removesuffix(end)
    encoding = data.draw(st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]))
    packed = PACKED[data.draw(st.sampled_from(sorted(PACKED)))]
    prepared, _ = take(packed(content.encode(encoding)))
    same(prepared, slowly(found))


@LOADS
@given(data=st.data())
def test_json(take: Any, data: st.DataObject) -> None:
    """JSON arrays and lines; numbers as numbers or as text, keys left out, nulls, and records that are no objects."""
    is_array = data.draw(st.booleans())
    found: list[Row | None] = []
    records: list[str] = []
    for row in data.draw(ROWS):
        item: dict[str, Any] = {}
        kept: Row = {}
        for name in data.draw(st.permutations(COLUMNS)):
            text = row[name]
            how = data.draw(st.integers(0, 9))
            if how == 0 and (name != "id" or found):
                continue
            if how == 1:
                item[name] = None
                continue
            number = name in ("amount", "count") and re.fullmatch(
                r"-?(0|[1-9]\d{0,14})(\.\d{1,3})?", text or "", re.ASCII
            )
            item[name] = json.loads(text) if number and how < 6 else text
            kept[name] = json.dumps(item[name]) if number and how < 6 else text
        records.append(json.dumps(item, ensure_ascii=data.draw(st.booleans())))
        found.append(kept)
        if data.draw(st.integers(0, 14)) == 0:
            records.append(data.draw(st.sampled_from(["[1]", '"text"', "17", "null"])))
            found.append(None)
        if not is_array and data.draw(st.integers(0, 14)) == 0:
            records.append(data.draw(st.sampled_from(['{"id":', "{id: 1}", "}", "text"])))
            found.append(None)
    if not found:  # a file without one object is another matter
        records, found = ['{"id":"only"}'], [{"id": "only"}]
    if not is_array and not records[0].startswith("{"):
        records, found = ['{"id":"first"}', *records], [{"id": "first"}, *found]
    content = "[" + ",\n ".join(records) + "]\n" if is_array else "\n".join(records) + "\n"
    packed = PACKED[data.draw(st.sampled_from(sorted(PACKED)))]
    prepared, _ = take(packed(content.encode()))
    same(prepared, slowly(found))


@LOADS
@given(data=st.data())
def test_parquet(take: Any, data: st.DataObject) -> None:
    """Columns as text with anything in it, or of their own types, in all codecs."""
    rows = data.draw(ROWS)
    columns: dict[str, pa.Array] = {"id": pa.array([row["id"] for row in rows], pa.string())}
    found: list[Row] = [{"id": row["id"]} for row in rows]
    typed: dict[str, tuple[Any, Callable[[str], Any]]] = {
        "day": (pa.date32(), a_date),
        "amount": (pa.decimal128(15, 3), lambda text: None if isinstance(found := a_number(text), str) else found),
        "count": (pa.int64(), lambda text: None if isinstance(found := an_integer(text), str) else found),
        "changed": (pa.timestamp("us", "UTC"), a_time),
    }  # fmt: skip
    for name, (kind, make) in typed.items():
        texts = [row[name] for row in rows]
        if data.draw(st.booleans()):
            columns[name] = pa.array(texts, pa.string())
        else:
            values = [make(text.strip(" ")) for text in texts]
            columns[name] = pa.array(values, kind)
            texts = [None if value is None else str(value) for value in values]
        for row, text in zip(found, texts, strict=True):
            row[name] = text
    target = io.BytesIO()
    codec = data.draw(st.sampled_from(["none", "snappy", "gzip", "zstd", "brotli", "lz4"]))
    version = data.draw(st.sampled_from(["1.0", "2.4", "2.6"]))
    size = data.draw(st.integers(1, 5))
    pq.write_table(pa.table(columns), target, compression=codec, version=version, row_group_size=size)
    prepared, _ = take(target.getvalue())
    same(prepared, slowly(list(found)))


# --- damaged bytes -------------------------------------------------------------------------------------------------


def a_csv(rows: int = 200) -> bytes:
    lines = [f'k{n},2026-01-{n % 28 + 1:02},{n}.5,{n},"2026-01-01T00:00:00Z"' for n in range(rows)]
    return ("id,day,amount,count,changed\n" + "\n".join(lines) + "\n").encode()


def objects(rows: int = 200) -> list[str]:
    return [
        json.dumps({"id": f"k{n}", "day": "2026-01-01", "amount": n / 2, "count": n, "x": [n]}) for n in range(rows)
    ]


def a_parquet(codec: str) -> bytes:
    target = io.BytesIO()
    table = pa.table({"id": [f"k{n}" for n in range(200)], "amount": [n / 2 for n in range(200)],
                      "count": list(range(200)), "more": [{"a": [n]} for n in range(200)]})  # fmt: skip
    pq.write_table(table, target, compression=codec, row_group_size=50)
    return target.getvalue()


VALID: dict[str, bytes] = {
    "csv": a_csv(),
    "large csv": a_csv(9000),
    "utf-16": a_csv().decode().encode("utf-16"),
    "ndjson": "\n".join(objects()).encode(),
    "large ndjson": "\n".join(objects(7000)).encode(),
    "json": ("[" + ",".join(objects()) + "]").encode(),
    "parquet": a_parquet("snappy"),
    "parquet zstd": a_parquet("zstd"),
    "gzip": gzip.compress(a_csv()),
    "zstd": pa.compress(a_csv(), codec="zstd", asbytes=True),
}


def damaged(content: bytes, chance: random.Random) -> bytes:
    """Return the bytes with a few of them changed, cut out, doubled, or taken from another file."""
    data = bytearray(content)
    for _ in range(chance.randint(1, 4)):
        place = chance.randrange(len(data) + 1)
        end = min(len(data), place + chance.choice((1, 4, 50, 2000)))
        kind = chance.randrange(6)
        if kind == 0 and data:
            data[min(place, len(data) - 1)] ^= 1 << chance.randrange(8)
        elif kind == 1:
            del data[place:]
        elif kind == 2:
            data[place:place] = data[place:end]
        elif kind == 3:
            del data[place:end]
        elif kind == 4:
            other = chance.choice(list(VALID.values()))
            start = chance.randrange(len(other))
            data[place:end] = other[start : start + chance.choice((1, 20, 3000))]
        else:
            data[place:end] = chance.choice((b"\0" * 20, b"\xff" * 9, b'"', b"\n", b"\r", b"{" * 200, b"[" * 5000))
    return bytes(data)


@pytest.mark.parametrize("name", VALID)
def test_damaged_files_are_outcomes(take: Any, name: str) -> None:
    """Whatever is done to a file: no exception, and counts that add up."""
    chance = random.Random(name if not EXAMPLES else None)  # noqa: S311
    reasons: Counter[str] = Counter()
    prepared, _ = take(VALID[name])
    assert (prepared.status, prepared.rows_rejected) == ("staged", 0), prepared.error
    for _ in range(8 if name.startswith("large") else int(EXAMPLES or 30)):
        prepared, _ = take(damaged(VALID[name], chance))
        json.dumps(prepared.to_dict())
        if prepared.status == "staged":
            parts = (prepared.rows_rejected, prepared.rows_deduplicated, prepared.rows_staged)
            assert prepared.rows_read == sum(parts), (prepared, parts)
            assert pq.read_metadata(prepared.staged_uri).num_rows == prepared.rows_staged
            assert sum(prepared.rejects_by_rule.values()) == prepared.rows_rejected
        else:
            assert prepared.status == "failed"
            assert prepared.stage in ("validation", "processing")
            assert prepared.error
        reasons[prepared.status] += 1
    assert reasons["failed"] or reasons["staged"]
