"""Values of every type through binary COPY: what Postgres has afterwards is what the Arrow table held."""

from __future__ import annotations

import datetime as dt
import uuid
from decimal import Decimal

import psycopg
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipelines.ingestion import pgcopy

pytestmark = pytest.mark.integration


def local(*parts: int) -> dt.datetime:
    """Return a time of no zone."""
    return dt.datetime(*parts)  # type: ignore[misc,arg-type]  # noqa: DTZ001


TIME = local(2026, 2, 3, 4, 5, 6, 789012)
CASES = [
    ("text", pa.string(), ["a", "", None, "日本\n\t\\N", "x" * 100_000]),
    ("varchar(5)", pa.string(), ["a", None, "abcde"]),
    ("jsonb", pa.string(), ['{"a": 1}', None, "[]"]),
    ("smallint", pa.int16(), [1, -32768, None, 32767]),
    ("integer", pa.int32(), [1, -(2**31), None, 2**31 - 1]),
    ("bigint", pa.int64(), [1, -(2**63), None, 2**63 - 1]),
    ("boolean", pa.bool_(), [True, None, False]),
    ("real", pa.float32(), [1.5, None, -0.25]),
    ("double precision", pa.float64(), [1.1, None, 1e300, -0.0]),
    ("date", pa.date32(), [dt.date(2026, 1, 2), None, dt.date(1, 1, 1), dt.date(9999, 12, 31), dt.date(2000, 1, 1)]),
    ("time", pa.time64("us"), [dt.time(1, 2, 3, 4), None, dt.time(0)]),
    ("timestamp", pa.timestamp("us"), [TIME, None, local(1, 1, 1), local(9999, 12, 31)]),
    ("timestamptz", pa.timestamp("us", "UTC"), [TIME.replace(tzinfo=dt.UTC), None]),
    ("numeric(12,2)", pa.decimal128(12, 2), [Decimal("1.50"), None, Decimal("-9999999999.99"), Decimal("0.00")]),
    ("numeric(5,0)", pa.decimal128(5, 0), [Decimal(12345), None, Decimal(-1)]),
    ("numeric(4,4)", pa.decimal128(4, 4), [Decimal("0.0001"), None, Decimal("-0.9999")]),
    ("numeric(38,9)", pa.decimal128(38, 9), [Decimal("12345678901234567890123456789.123456789"), None, Decimal("-1")]),
    ("numeric(38,38)", pa.decimal128(38, 38), [Decimal("0." + "9" * 38), None]),
    ("numeric(18,17)", pa.decimal128(18, 17), [Decimal("9." + "9" * 17), Decimal("-0." + "0" * 16 + "1")]),
    ("uuid", pa.string(), ["12345678-1234-5678-1234-567812345678", None]),
]


def through(dsn: str, types: list[str], table: pa.Table) -> list[tuple[object, ...]]:
    columns = ", ".join(f"c{index} {kind}" for index, kind in enumerate(types))
    names = ", ".join(f"c{index}" for index in range(len(types)))
    with psycopg.connect(dsn, options="-c timezone=UTC") as connection:
        connection.execute(f"CREATE TEMP TABLE t ({columns}, n serial)")  # type: ignore[call-overload]
        copied = f"COPY t ({names}) FROM STDIN (FORMAT binary)"
        with connection.cursor().copy(copied) as copy:  # type: ignore[call-overload]
            copy.write(pgcopy.HEADER)
            for batch in table.to_batches(max_chunksize=2):
                copy.write(pgcopy.encode(pa.Table.from_batches([batch]), types))
            copy.write(pgcopy.TRAILER)
        return connection.execute(f"SELECT {names} FROM t ORDER BY n").fetchall()  # type: ignore[call-overload,no-any-return]


@pytest.mark.parametrize(("kind", "arrow", "values"), CASES, ids=lambda case: case if isinstance(case, str) else "")
def test_type(kind, arrow, values, empty_database):
    found = through(empty_database, [kind], pa.table([pa.array(values, arrow)], names=["a"]))
    expected = values
    if kind == "jsonb":
        expected = [{"a": 1}, None, []]
    elif kind == "uuid":
        expected = [None if value is None else uuid.UUID(value) for value in values]
    assert [row[0] for row in found] == expected


def test_many_columns_at_once(empty_database):
    length = max(len(values) for _, _, values in CASES)
    columns = [pa.array([*values, *[None] * (length - len(values))], arrow) for _, arrow, values in CASES]
    types = [kind for kind, _, _ in CASES]
    found = through(empty_database, types, pa.table(columns, names=[str(n) for n in range(len(columns))]))
    assert [row[0] for row in found] == [*CASES[0][2], *[None] * (length - len(CASES[0][2]))]
    assert len(found) == length


def test_values_out_of_a_types_bounds_are_refused(empty_database):
    with pytest.raises(psycopg.errors.StringDataRightTruncation):
        through(empty_database, ["varchar(2)"], pa.table([pa.array(["abc"])], names=["a"]))


@given(st.lists(st.none() | st.decimals(-(10**20), 10**20, places=6, allow_nan=False), min_size=1))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_decimal(empty_database, values):
    table = pa.table([pa.array(values, pa.decimal128(38, 6))], names=["a"])
    assert [row[0] for row in through(empty_database, ["numeric(38,6)"], table)] == values
