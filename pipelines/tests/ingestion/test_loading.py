"""How rows get into the table: many files at once, keys known and new, versions kept, columns that come with files."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest

from pipelines.ingestion import core, loading

pytestmark = pytest.mark.integration

H = "id,day,amount,count,changed\n"
KEYED = [
    {"name": "id", "logicalType": "string", "primaryKey": True, "required": True},
    {"name": "amount", "logicalType": "integer"},
    {"name": "changed", "logicalType": "timestamp", "logicalTypeOptions": {"timezone": True}},
]


def put(store, dataset, name, text):
    store.client.put_object(Bucket="raw", Key=f"{dataset}/incoming/{name}", Body=text.encode())


def take_in(store, contract, dsn):
    return core.ingest_batch(core.discover(store, contract), contract, dsn, store)


def take(tmp_path: Path, text: str, contract, dsn):
    path = tmp_path / "file"
    path.write_text(text)
    outcome = core.ingest_file(str(path), contract, dsn)
    assert outcome.status == "succeeded", outcome.error
    return (outcome.rows_inserted, outcome.rows_updated, outcome.rows_unchanged)


def test_small_files_go_in_as_if_one_after_the_other(store, dataset, make_contract, empty_database, rows):
    """A key that is in several files of a group: each file counts what it did, and the newest row stays."""
    contract = make_contract(KEYED, name=dataset, order_by="changed")
    head, day = "id,amount,changed\n", "2026-01-{:02}T00:00:00Z"
    put(store, dataset, "1.csv", head + f"a,1,{day.format(1)}\nb,1,{day.format(1)}\nb,2,{day.format(2)}\nx,bad,\n")
    put(store, dataset, "2.csv", "<html>")
    put(store, dataset, "3.csv", head + f"a,3,{day.format(3)}\nb,1,{day.format(1)}\nc,1,{day.format(1)}\n")
    put(store, dataset, "4.ndjson", '{"id":"a","amount":3,"changed":"2026-01-03T00:00:00Z"}\n{"id":"d","amount":4}\n')
    put(store, dataset, "5.csv", head + f"a,5,{day.format(5)}\n")
    put(store, dataset, "6.csv", head + f"a,5,{day.format(5)}\n")
    outcomes = take_in(store, contract, empty_database)
    found = [
        (o.status, o.rows_read, o.rows_rejected, o.rows_deduplicated, o.rows_inserted, o.rows_updated, o.rows_unchanged)
        for o in outcomes
    ]
    assert found == [
        ("succeeded", 4, 1, 1, 2, 0, 0),
        ("failed", 0, 0, 0, 0, 0, 0),
        ("succeeded", 3, 0, 0, 1, 1, 1),
        ("succeeded", 2, 0, 0, 1, 0, 1),
        ("succeeded", 1, 0, 0, 0, 1, 0),
        ("duplicate", 0, 0, 0, 0, 0, 0),
    ]
    prefix = f"s3://raw/{dataset}/incoming/"
    table = (
        f"SELECT t.id, amount, path FROM staging.{dataset} AS t JOIN audit.file_ingestion_log AS l ON l.id = _file_id"
    )
    assert rows(f"{table} ORDER BY 1") == [
        ("a", 5, prefix + "5.csv"),
        ("b", 2, prefix + "1.csv"),
        ("c", 1, prefix + "3.csv"),
        ("d", 4, prefix + "4.ndjson"),
    ]
    assert rows("SELECT path, rule FROM audit.rejected_rows") == [(prefix + "1.csv", "type")]


@pytest.mark.parametrize("fetch", [0, 10**9])
def test_upsert_counts_the_same_with_and_without_asking_for_keys(
    fetch, tmp_path, make_contract, empty_database, rows, monkeypatch
):
    monkeypatch.setattr(loading, "FETCH_KEYS_UP_TO", fetch)
    contract = make_contract(KEYED, order_by="changed")
    table = {f"k{n:05}": 1 for n in range(0, 3000, 2)}
    text = "".join(f"{key},{amount},2026-01-02T00:00:00Z\n" for key, amount in table.items())
    assert take(tmp_path, "id,amount,changed\n" + text, contract, empty_database) == (1500, 0, 0)
    newer = {f"k{n:05}": 2 if n % 4 else 1 for n in range(1000, 4000)}
    text = "".join(f"{key},{amount},2026-01-03T00:00:00Z\n" for key, amount in newer.items())
    late = "k00000,9,2026-01-01T00:00:00Z\n"
    assert take(tmp_path, "id,amount,changed\n" + text + late, contract, empty_database) == (2000, 1000, 1)
    assert dict(rows("SELECT id, amount FROM staging.things")) == table | newer


def test_composite_and_odd_keys_are_known_again(tmp_path, make_contract, empty_database, rows, monkeypatch):
    monkeypatch.setattr(loading, "FETCH_KEYS_UP_TO", 10**9)
    fields = [
        {"name": "a", "logicalType": "string", "primaryKey": True, "primaryKeyPosition": 1, "required": True},
        {"name": "n", "logicalType": "number", "physicalType": "numeric(9,2)", "primaryKey": True,
         "primaryKeyPosition": 2, "required": True},
        {"name": "v", "logicalType": "string"},
    ]  # fmt: skip
    contract = make_contract(fields)
    text = 'a,n,v\n"x\ny",1,1\n"x,""y",1.5,1\nx\x1fy,2,1\n é ,3.00,1\n'
    assert take(tmp_path, text, contract, empty_database) == (4, 0, 0)
    assert take(tmp_path, text.replace(",1\n", ",2\n") + "new,1,1\n", contract, empty_database) == (1, 4, 0)
    assert rows("SELECT v, count(*) FROM staging.things GROUP BY 1 ORDER BY 1") == [("1", 1), ("2", 4)]


def test_first_large_file_has_its_key_built_after_it(tmp_path, make_contract, empty_database, rows, monkeypatch):
    monkeypatch.setattr(loading, "KEYED_LATER", 1)
    contract = make_contract(KEYED, order_by="changed")
    text = "id,amount,changed\n" + "".join(f"k{n * 7919 % 5003},{n},2026-01-02T00:00:00Z\n" for n in range(6000))
    assert take(tmp_path, text, contract, empty_database) == (5003, 0, 0)
    key = "SELECT count(*) FROM pg_constraint WHERE contype = 'p' AND conrelid = 'staging.things'::regclass"
    assert rows(key) == [(1,)]
    assert rows("SELECT amount FROM staging.things WHERE id = 'k0'") == [(5003,)]
    with psycopg.connect(empty_database, autocommit=True) as connection:
        connection.execute("TRUNCATE staging.things, audit.file_ingestion_log CASCADE")
        connection.execute('CREATE TABLE refers (id text COLLATE "C" REFERENCES staging.things)')
    assert take(tmp_path, text, contract, empty_database) == (5003, 0, 0)


def test_append_with_a_key_changes_no_row(tmp_path, make_contract, empty_database, rows):
    contract = make_contract(KEYED, write="append")
    assert take(tmp_path, "id,amount,changed\na,1,\n", contract, empty_database) == (1, 0, 0)
    assert take(tmp_path, "id,amount,changed\na,2,\nb,2,\n", contract, empty_database) == (1, 0, 1)
    assert rows("SELECT id, amount FROM staging.things ORDER BY 1") == [("a", 1), ("b", 2)]


VERSIONS = "SELECT id, amount, _valid_from::text, _valid_to::text, _is_current FROM staging.things ORDER BY 1, 3"


def test_scd2_keeps_every_version(tmp_path, make_contract, empty_database, rows):
    contract = make_contract(KEYED, write="scd2", order_by="changed")
    head, day = "id,amount,changed\n", "2026-01-0{}T00:00:00Z"
    assert take(tmp_path, head + f"a,1,{day.format(1)}\nb,1,{day.format(1)}\n", contract, empty_database) == (2, 0, 0)
    # a: a new version; b: the same again; c: new
    text = head + f"a,2,{day.format(3)}\nb,1,{day.format(1)}\nc,1,{day.format(2)}\n"
    assert take(tmp_path, text, contract, empty_database) == (1, 1, 1)
    # a: late; b: corrected in place; c: two at once, of which the newer counts
    text = head + f"a,9,{day.format(2)}\nb,5,{day.format(1)}\nc,7,{day.format(4)}\nc,6,{day.format(3)}\n"
    assert take(tmp_path, text, contract, empty_database) == (0, 2, 1)
    first, second, third, fourth = (f"2026-01-0{n} 00:00:00+00" for n in (1, 2, 3, 4))
    assert rows(VERSIONS) == [
        ("a", 1, first, third, False),
        ("a", 2, third, None, True),
        ("b", 5, first, None, True),
        ("c", 1, second, fourth, False),
        ("c", 7, fourth, None, True),
    ]


def test_scd2_without_an_order_column_goes_by_the_time_of_loading(tmp_path, make_contract, empty_database, rows):
    contract = make_contract(KEYED[:2], write="scd2")
    for number, amount in enumerate((1, 1, 2)):
        take(tmp_path, f"id,amount\na,{amount}\n" + "\n" * number, contract, empty_database)
    found = rows("SELECT amount, _is_current, _valid_to IS NULL FROM staging.things ORDER BY _valid_from")
    assert found == [(1, False, False), (2, True, True)]


def test_scd2_wants_a_table_of_its_own(tmp_path, make_contract, empty_database):
    take(tmp_path, "id,amount,changed\na,1,\n", make_contract(KEYED), empty_database)
    contract = make_contract(KEYED, write="scd2")
    (tmp_path / "x").write_text("id,amount,changed\nb,1,\n")
    outcome = core.ingest_file(str(tmp_path / "x"), contract, empty_database)
    assert (outcome.status, outcome.stage) == ("failed", "loading")
    assert "was made for another write mode" in (outcome.error or "")


def test_evolve_adds_columns_that_files_bring(tmp_path, make_contract, empty_database, rows):
    contract = make_contract(KEYED, columns="evolve")
    take(tmp_path, "id,amount,changed\na,1,\n", contract, empty_database)
    take(tmp_path, "id,amount,Colour of it,changed,2nd\nb,2,red,,x\n", contract, empty_database)
    take(tmp_path, '{"id":"c","amount":3,"2nd":{"x":[1]}}\n', contract, empty_database)
    take(tmp_path, "id,amount,changed\nb,4,\n", contract, empty_database)
    assert rows("SELECT id, amount, colour_of_it, c_2nd FROM staging.things ORDER BY 1") == [
        ("a", 1, None, None), ("b", 4, "red", "x"), ("c", 3, None, '{"x":[1]}'),
    ]  # fmt: skip


def test_evolve_takes_no_data_for_columns(tmp_path, make_contract, empty_database):
    path = tmp_path / "x"
    path.write_text("{" + '"id":"a",' + ",".join(f'"k{n}":{n}' for n in range(200)) + "}\n")
    outcome = core.ingest_file(str(path), make_contract(KEYED, columns="evolve"), empty_database)
    assert (outcome.status, outcome.stage) == ("failed", "validation")
    assert outcome.error == "has 200 unknown columns, more than the 100 a file may add"


@pytest.mark.parametrize(
    ("file", "error"),
    [
        ({"min_rows": 3}, "has 2 rows, fewer than the 3 its contract asks for"),
        ({"max_rows": 1}, "has 2 rows, more than the 1 its contract allows"),
        ({"min_rows": 2, "max_rows": 2}, None),
    ],
)
def test_volume_fails_the_file(file, error, tmp_path, make_contract, empty_database, rows):
    path = tmp_path / "x"
    path.write_text("id,amount\na,1\nb,1\n")
    outcome = core.ingest_file(str(path), make_contract(KEYED, file=file), empty_database)
    assert (outcome.status, outcome.error) == (("failed", error) if error else ("succeeded", None))
    if error:
        assert rows("SELECT count(*) FROM staging.things") == [(0,)]


def test_uniqueness_fails_the_file_and_no_other(store, dataset, make_contract, empty_database, rows):
    fields = [KEYED[0], {"name": "email", "logicalType": "string", "unique": True, "classification": "pii"}]
    contract = make_contract(fields, name=dataset)
    put(store, dataset, "1.csv", "id,email\na,x@y.z\nb,x@y.z\n")
    put(store, dataset, "2.csv", "id,email\nc,c@y.z\nd,\ne,\n")
    bad, good = take_in(store, contract, empty_database)
    assert (bad.status, bad.error) == ("failed", "repeats values in column email, which is unique")
    assert (good.status, good.rows_inserted) == ("succeeded", 3)
    assert rows(f"SELECT id FROM staging.{dataset} ORDER BY 1") == [("c",), ("d",), ("e",)]
