"""Files too large for one piece: records, lines and raw text of rejected rows are right wherever a piece ends."""

from __future__ import annotations

import json
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.ingestion import core
from pipelines.ingestion.model import SourceFile

pytestmark = pytest.mark.integration

H = "id,day,amount,count,changed\n"
ROWS = 620_000  # some forty megabytes, three pieces
BAD = {3: "x", 300_000: "y", 611_111: "z"}  # record → its count, which is no integer
PAD = "p" * 40


def row(n: int) -> tuple[str, str]:
    """Return key and count of a record, from 1."""
    return f"k{n:07}{PAD}", BAD.get(n, str(n))


def csv_text(quoted: str = "", extra: dict[int, str] | None = None) -> str:
    lines = [H]
    for n in range(1, ROWS + 1):
        key, count = row(n)
        lines.append((extra or {}).get(n, "") + f"{quoted}{key}{quoted},,,{count},\n")
    return "".join(lines)


def parquet(path: Path) -> None:
    keys, counts = zip(*(row(n) for n in range(1, ROWS + 1)), strict=True)
    pq.write_table(pa.table({"id": keys, "count": counts}), path, row_group_size=ROWS)


def prepare(path: Path, contract, folder: Path):
    source = SourceFile(str(path), contract.name, path.stat().st_size, "2026-01-02T00:00:00+00:00")
    return core.prepare(source, contract, None, folder=folder)


def check(prepared, lines: dict[int, int | None]) -> None:
    """Compare counts, keys and the rejected rows with what was written; `lines` are those of the bad records."""
    assert (prepared.status, prepared.error) == ("staged", None)
    assert (prepared.rows_read, prepared.rows_rejected, prepared.rows_staged) == (ROWS, 3, ROWS - 3)
    [(count, keys, total)] = duckdb.execute(
        "SELECT count(*), count(DISTINCT id), sum(count) FROM read_parquet(?)", [prepared.staged_uri]
    ).fetchall()
    assert (count, keys, total) == (ROWS - 3, ROWS - 3, sum(range(ROWS + 1)) - sum(BAD))
    rejected = duckdb.execute(
        "SELECT record, line, raw FROM read_parquet(?) ORDER BY record", [prepared.rejects_uri]
    ).fetchall()
    assert [(record, line) for record, line, _ in rejected] == list(lines.items())
    assert all(f"k{record:07}" in raw and BAD[record] in raw for record, _, raw in rejected)


@pytest.mark.parametrize("quoted", ["", '"'])
@pytest.mark.parametrize("ends", ["\n", "\r\n"])
def test_plain_csv(quoted, ends, tmp_path, make_contract):
    path = tmp_path / "x"
    path.write_text(csv_text(quoted).replace("\n", ends), newline="")
    check(prepare(path, make_contract(), tmp_path / "out"), {n: n + 1 for n in BAD})


def test_csv_with_blank_lines_in_one_piece(tmp_path, make_contract):
    path = tmp_path / "x"
    path.write_text(csv_text(extra={400_000: "\n\n"}))
    check(prepare(path, make_contract(), tmp_path / "out"), {3: 4, 300_000: 300_001, 611_111: 611_114})


def test_csv_with_records_of_several_lines(tmp_path, make_contract):
    path = tmp_path / "x"
    body = csv_text(quoted='"').replace(f'"{row(350_000)[0]}"', f'"{row(350_000)[0]}\n\nmore"')
    path.write_text(body)
    check(prepare(path, make_contract(), tmp_path / "out"), {3: 4, 300_000: 300_001, 611_111: 611_114})


def test_csv_with_a_ragged_record(tmp_path, make_contract):
    path = tmp_path / "x"
    path.write_text(csv_text(extra={500_000: "ragged,record\n"}))
    prepared = prepare(path, make_contract(), tmp_path / "out")
    assert (prepared.rows_read, prepared.rows_rejected) == (ROWS + 1, 4)
    assert prepared.rejects_by_rule == {"*: record": 1, "count: type": 3}
    found = duckdb.execute(
        "SELECT record, line, raw FROM read_parquet(?) WHERE rule = 'record'", [prepared.rejects_uri]
    )
    assert found.fetchall() == [(500_000, 500_001, "ragged,record")]


def test_ndjson_with_blank_lines(tmp_path, make_contract):
    path = tmp_path / "x"
    with path.open("w") as file:
        for n in range(1, ROWS + 1):
            key, count = row(n)
            file.write("\n \n" if n == 200_000 else "")
            file.write(json.dumps({"id": key, "count": count if n in BAD else n}) + "\n")
    check(prepare(path, make_contract(), tmp_path / "out"), {3: 3, 300_000: 300_002, 611_111: 611_113})


def test_json_array(tmp_path, make_contract):
    path = tmp_path / "x"
    records = ({"id": row(n)[0], "count": BAD.get(n, n)} for n in range(1, ROWS + 1))
    path.write_text("[" + ",\n".join(map(json.dumps, records)) + "]")
    check(prepare(path, make_contract(), tmp_path / "out"), dict.fromkeys(BAD))


def test_parquet_of_one_row_group(tmp_path, make_contract):
    parquet(tmp_path / "x")
    check(prepare(tmp_path / "x", make_contract(), tmp_path / "out"), dict.fromkeys(BAD))


def test_keys_that_repeat_across_pieces(tmp_path, make_contract):
    path = tmp_path / "x"
    late = "".join(f"{row(n)[0]},,,{n + 1},2026-01-0{1 + n % 2}T00:00:00Z\n" for n in range(10, 1010))
    path.write_text(csv_text() + late)
    prepared = prepare(path, make_contract(), tmp_path / "out")
    assert (prepared.rows_deduplicated, prepared.rows_staged) == (1000, ROWS - 3)
    query = "SELECT count(*), sum(count) FROM read_parquet(?) WHERE id < 'k0001010' AND id >= 'k0000010'"
    assert duckdb.execute(query, [prepared.staged_uri]).fetchall() == [(1000, sum(range(11, 1011)))]
