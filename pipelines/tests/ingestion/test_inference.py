"""Contracts inferred from files: the guesses, their reasons, and that the files themselves pass without a reject."""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data_quality.contract import Contract, load_contract
from data_quality.contract.lint import lint
from pipelines.ingestion.inference import Inference, Inferred, infer
from pipelines.ingestion.model import FileRefused

Infer = Callable[..., tuple[Inference, Contract]]


@pytest.fixture
def inferred(tmp_path: Path) -> Infer:
    """Return a function that infers a contract, proves that it can be used, and returns both."""

    def run(*files: Path | bytes | str, dataset: str = "things", **options: Any) -> tuple[Inference, Contract]:
        paths = []
        for number, file in enumerate(files):
            path = file if isinstance(file, Path) else tmp_path / f"file_{number}"
            if not isinstance(file, Path):
                path.write_bytes(file.encode() if isinstance(file, str) else file)
            paths.append(path)
        found = infer(paths, domain="test", dataset=dataset, **options)
        target = tmp_path / f"{dataset}.odcs.yaml"
        target.write_text(found.text)
        assert [item for item in lint([target]) if item.level == "error"] == []
        return found, load_contract(target)

    return run


@pytest.fixture
def column(inferred: Infer) -> Callable[..., Inferred]:
    """Return a function that infers a column from its values alone, in a file with semicolons."""

    def run(values: list[str], name: str = "a", **options: Any) -> Inferred:
        text = "n;" + name + "\n" + "".join(f"x;{value}\n" for value in values)
        found, _ = inferred(text, **options)
        assert found.rejected == 0 or options.get("tolerance")
        return found.columns[1]

    return run


@pytest.mark.parametrize(
    ("name", "values", "logical", "physical"),
    [
        ("a", ["1", "2", "-3"], "integer", "integer"),
        ("a", ["17850.0", "13047.0"], "integer", "integer"),
        ("a", ["2600.00", "300.00"], "number", "numeric(18,4)"),
        ("unit_price", ["26.0", "3.0"], "number", "numeric(18,4)"),
        ("a", ["1", "9000000"], "integer", "bigint"),
        ("a", ["1", "99999999999999999999"], "integer", "numeric(38,0)"),
        ("customer_id", ["1", "2"], "integer", "bigint"),
        ("invoice_no", ["536365", "536366"], "string", "text"),
        ("zip", ["10115", "80331"], "string", "text"),
        ("a", ["007", "8"], "string", "text"),
        ("a", ["85123A", "71053"], "string", "text"),
        ("a", ["1.5", "2", "10.25"], "number", "numeric(18,4)"),
        ("a", ["0.123456", "1"], "number", "numeric(18,8)"),
        ("a", ["123456789012345.67"], "number", "numeric(23,4)"),
        ("a", ["1e-7", "2.5"], "number", "double precision"),
        ("a", ["1,5", "2,25"], "number", "numeric(18,4)"),
        ("a", ["1,500", "2,250"], "string", "text"),
        ("a", ["1.234,56", "7,10"], "string", "text"),
        ("a", ["true", "false"], "boolean", "boolean"),
        ("a", ["Y", "N"], "boolean", "boolean"),
        ("a", ["N", "N"], "string", "text"),
        ("a", ["0", "1"], "integer", "integer"),
        ("is_new", ["0", "1"], "boolean", "boolean"),
        ("a", ["2026-01-31", "2025-12-01"], "date", "date"),
        ("a", ["2026-01-31", "2026-02-30"], "string", "text"),
        ("a", ["31/12/2025", "01/02/2026"], "date", "date"),
        ("a", ["31.12.2025", "01.02.2026"], "date", "date"),
        ("a", ["5/31/2026", "12/1/2026"], "date", "date"),
        ("day", ["20260131", "20260201"], "date", "date"),
        ("a", ["20260131", "20260201"], "integer", "bigint"),
        ("a", ["31.12.2025 23:59", "01.02.2026 00:00"], "timestamp", "timestamp"),
        ("a", ["2026-01-31 10:00:00", "2026-01-31T10:00:00.5"], "timestamp", "timestamp"),
        ("a", ["2026-01-31T10:00:00Z", "2026-01-31T10:00:00+02:00"], "timestamp", "timestamptz"),
        ("a", ["2026-01-31T10:00:00Z", "2026-01-31 10:00"], "timestamp", "timestamptz"),
        ("a", ["10:00", "23:59:59"], "time", "time"),
        ("a", ["123e4567-e89b-12d3-a456-426614174000"], "string", "uuid"),
        ("a", ["", ""], "string", "text"),
        ("a", ["1", "N/A", ""], "integer", "integer"),
        ("a", ["Berlin", "N/A"], "string", "text"),
        ("a", ["12:34", "no time"], "string", "text"),
    ],
)
def test_types(name, values, logical, physical, column):
    found = column(values, name)
    assert (found.guess.logical, found.guess.physical) == (logical, physical), found.why


@pytest.mark.parametrize(
    ("values", "form", "doubt"),
    [
        (["31/12/2025", "01/02/2026"], "dd/MM/yyyy", False),
        (["12/31/2025", "01/02/2026"], "MM/dd/yyyy", False),
        (["03/04/2026", "01/02/2026"], "dd/MM/yyyy", True),
        (["2026/04/03"], "yyyy/MM/dd", False),
        (["3.4.2026", "31.12.2026"], "d.M.yyyy", False),
        (["03-Apr-2026"], "dd-MMM-yyyy", False),
    ],
)
def test_day_and_month_are_told_apart_by_the_data(values, form, doubt, column):
    found = column(values)
    assert found.guess.options["format"] == form
    assert bool(found.guess.doubt) == doubt


def test_a_column_that_is_nearly_of_a_type_says_so(column):
    values = ["2026-01-01"] * 199 + ["2026-02-30"]
    found = column(values)
    assert found.guess.logical == "string"
    assert "all but 1 values" in found.guess.doubt
    assert "--tolerance" in found.guess.doubt
    assert column(values, tolerance=0.01).guess.logical == "date"


def test_null_words_are_written_down(inferred):
    _, contract = inferred("id,amount,note\n1,1.5,x\n2,N/A,y\n3,NULL,NULL\n")
    assert contract.ingest.csv.null_words == ("", "N/A", "NULL")
    assert contract.columns[1].logical_type == "number"
    assert not contract.columns[1].required


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["InvoiceNo", "CustomerID", "HTTPStatus"], ["invoice_no", "customer_id", "http_status"]),
        (["Größe (cm)", "Prix €", "数量"], ["grosse_cm", "prix", "column_3"]),
        (["order", "2nd", "_id"], ["order_", "n_2nd", "id"]),
        (["a b", "a-b", "a_b"], ["a_b_2", "a_b_3", "a_b"]),
        (["x" * 80, "y", "z"], ["x" * 60, "y", "z"]),
    ],
)
def test_names_fit_for_sql(names, expected, inferred):
    _, contract = inferred(",".join(names) + "\nq,w,e\n")
    assert [column.column for column in contract.columns] == expected
    assert [column.name for column in contract.columns] == names


def test_columns_that_no_contract_can_name_are_left_out_and_told(inferred):
    found, contract = inferred("Name,name,\nq,w,e\n")
    assert [column.name for column in contract.columns] == ["Name"]
    assert any("differs from 'Name' in case alone" in note for note in found.notes)
    assert found.rejected == 0


@pytest.mark.parametrize(
    ("name", "value", "kind"),
    [
        ("E-Mail", "x", "email"),
        ("contact", "ann@example.com", "email"),
        ("Vorname", "Ann", "person_name"),
        ("customerId", "C1", "person_id"),
        ("client", "192.168.0.17", "ip_address"),
        ("source", "2001:db8::8a2e:370:7334", "ip_address"),
        ("pays_by", "DE89 3704 0044 0532 0130 00", "bank_account"),
        ("reach", "+49 30 901820", "phone"),
        ("date_of_birth", "1980-02-01", "birth_date"),
        ("street", "Main 1", "address"),
        ("product_name", "Lamp", None),
        ("city", "Berlin", None),
        ("version", "1.2.3", None),
    ],
)
def test_personal_data(name, value, kind, column):
    found = column([value] * 5, name)
    assert (found.personal.kind if found.personal else None) == kind
    if kind:
        assert any("personal data by its" in why for why in found.why)


def test_personal_data_is_classified_and_its_values_are_not_quoted(inferred):
    rows = "".join(f"{number},1980-02-{number % 28 + 1:02d},gold\n" for number in range(300))
    found, contract = inferred("id,birth_date,tier\n" + rows, dataset="members")
    assert contract.columns[1].is_pii
    assert "birth_date" in contract.columns[1].tags
    assert "1980-02" not in found.text
    assert "gold" in found.text


def test_lists_are_closed_only_where_the_name_says_so(inferred):
    rows = "".join(
        f"{number},{('new', 'old', 'used')[number % 3]},{('DE', 'FR')[number % 2]},{('open', 'paid')[number % 2]},EUR\n"
        for number in range(600)
    )
    _, contract = inferred("row,category,country,status,currency\n" + rows)
    assert contract.columns[1].accepted == ("new", "old", "used")
    # Other countries, later states and a second currency are to be expected.
    assert [column.accepted for column in contract.columns[2:]] == [(), (), ()]
    rule = next(rule for rule in contract.quality if rule.name == "country_seen_before")
    assert (rule.severity, rule.unit) == ("warning", "percent")


def test_ranges_leave_room(inferred):
    rows = "".join(f"{number},{number % 90},{number % 7 - 3},{number * 1.25}\n" for number in range(200))
    _, contract = inferred("row,age,offset,price\n" + rows)
    assert [(column.minimum, column.maximum) for column in contract.columns] == [
        (None, None),
        (0, 150),
        (None, None),
        (0, None),
    ]


def test_required_and_null_rates(inferred):
    rows = "".join(f"x{number},{'' if number % 10 else 'y'},free text\n" for number in range(200))
    _, contract = inferred("a,b,comment\n" + rows)
    assert [column.required for column in contract.columns] == [True, False, False]
    rules = {rule.name: rule for rule in contract.quality}
    assert "b_mostly_known" not in rules  # nine of ten rows have none: nothing to watch
    rows = "".join(f"x{number},{'y' if number % 10 else ''}\n" for number in range(200))
    _, contract = inferred("a,b\n" + rows)
    rule = next(rule for rule in contract.quality if rule.name == "b_mostly_known")
    assert (rule.threshold, rule.unit, rule.severity) == (25, "percent", "warning")


def orders(rows: int, repeat: int = 0) -> str:
    lines = [f"O{number - repeat * (number == 1):06d},2026-01-01T10:00:{number % 60:02d}Z" for number in range(rows)]
    return "order_id,updated_at\n" + "\n".join(lines) + "\n"


def test_a_sure_key_is_taken(inferred):
    found, contract = inferred(orders(200), dataset="orders")
    assert contract.key == ("order_id",)
    assert (contract.ingest.write, contract.ingest.order_by) == ("upsert", "updated_at")
    assert any("unique in all 200 rows" in note for note in found.notes)


def test_the_first_and_only_id_of_many_rows_is_a_key_whatever_the_dataset_is_called(inferred):
    assert inferred(orders(2000), dataset="deliveries")[1].key == ("order_id",)
    assert inferred(orders(200), dataset="deliveries")[1].key == ()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (orders(20), "20 rows are too few"),
        (orders(200, repeat=1), "order_id repeats in 1 of 200 rows"),
        ("a,b\n1,2\n", "no column named like one"),
    ],
)
def test_a_key_that_is_not_sure_is_only_suggested(text, reason, inferred):
    found, contract = inferred(text, dataset="orders")
    assert contract.key == ()
    assert contract.ingest.write == "append"
    assert any(reason in note for note in found.notes), found.notes


def test_a_key_given_is_taken(inferred):
    found, contract = inferred(orders(20, repeat=1), dataset="orders", key=("order_id",), order_by="updated_at")
    assert contract.key == ("order_id",)
    assert any("1 rows repeat" in note for note in found.notes)
    _, contract = inferred("a,b,c\n1,2,3\n1,3,3\n", key=("b", "a"))
    assert contract.key == ("b", "a")
    with pytest.raises(FileRefused, match="there is no such column"):
        inferred("a,b\n1,2\n", key=("z",))
    with pytest.raises(FileRefused, match="1 of 2 rows have no value"):
        inferred("a,b\n1,2\n,2\n", key=("a",))
    with pytest.raises(FileRefused, match="--order-by z"):
        inferred("a,b\n1,2\n", key=("a",), order_by="z")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a;b\n1,5;x\n2,5;y\n", {"delimiter": ";", "decimal": ","}),
        ("a\tb\n1\tx\n", {"delimiter": "\t"}),
        ("a|b\n1|x,y\n2|x;y\n", {"delimiter": "|"}),
        ("a,b\n'1,5','x'\n'2,5','y'\n", {"quote": "'", "decimal": ","}),
        ('a,b\n"x \\"y\\"",1\n"z",2\n', {"escape": "\\"}),
        ("1,x\n2,y\n", {"header": False}),
        ("Report of May\n\na,b\n1,x\n2,y\n", {"skip_rows": 1}),
        ("name;city\nÄnne;Köln\n".encode("cp1252"), {"encoding": "cp1252", "delimiter": ";"}),
        ("a,b\n1,x\n".encode("utf-16"), {"encoding": None}),
        ("single\n1\n2\n", {"delimiter": ","}),
    ],
)
def test_dialects(text, expected, inferred):
    found, contract = inferred(text)
    assert {name: getattr(contract.ingest.csv, name) for name in expected} == expected
    assert found.rejected == 0


def test_comment_lines(inferred):
    found, contract = inferred("# made by hand\na,b\n1,x\n# half way\n2,y\n")
    assert contract.ingest.csv.comment == "#"
    assert (found.rows, found.rejected) == (2, 0)
    _, contract = inferred("#a,b\n1,x\n2,y\n")
    assert contract.ingest.csv.comment is None


def test_every_format_gives_the_same_types(inferred, tmp_path: Path):
    import datetime as dt

    rows = [
        {"sku": f"A{n}", "n": n, "price": n + 0.25, "day": f"2026-01-{n % 28 + 1:02d}", "ok": n % 2 == 0}
        for n in range(1, 50)
    ]
    flat = tmp_path / "rows.csv"
    with flat.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    packed = tmp_path / "rows.csv.gz"
    packed.write_bytes(gzip.compress(flat.read_bytes()))
    array = tmp_path / "rows.json"
    array.write_text(json.dumps(rows))
    lines = tmp_path / "rows.ndjson"
    lines.write_text("".join(json.dumps(row) + "\n" for row in rows))
    typed = tmp_path / "rows.parquet"
    days = [dt.date.fromisoformat(row["day"]) for row in rows]
    pq.write_table(pa.Table.from_pylist(rows).set_column(3, "day", pa.array(days)), typed)
    kinds = []
    for path in (flat, packed, array, lines, typed):
        found, contract = inferred(path)
        kinds.append({column.name: column.physical_type for column in contract.columns})
        assert found.rejected == 0
    assert all(kind == kinds[0] for kind in kinds), kinds
    assert kinds[0] == {"sku": "text", "n": "integer", "price": "numeric(18,4)", "day": "date", "ok": "boolean"}
    found, _ = inferred(flat, array, typed)
    assert (found.rows, found.rejected) == (3 * len(rows), 0)


def test_nested_json(inferred):
    _, contract = inferred('{"id": 1, "tags": ["a"], "at": {"x": 1}}\n{"id": 2, "tags": [], "at": {"x": 2}}\n')
    kinds = {column.name: (column.logical_type, column.physical_type) for column in contract.columns}
    assert kinds == {"id": ("integer", "bigint"), "tags": ("array", "jsonb"), "at": ("object", "jsonb")}


def test_ragged_records_are_told(inferred):
    found, contract = inferred("a,b\n1,x\n2\n3,z\n4,q,r\n")
    assert [column.name for column in contract.columns] == ["a", "b"]
    assert any("2 records can't be split" in note for note in found.notes)


def test_several_files_widen_the_guesses(inferred):
    found, contract = inferred("code,n\n1,1\n", "code,n,extra\nA1,2.5,x\n")
    assert [column.physical_type for column in contract.columns] == ["text", "numeric(18,4)", "text"]
    assert found.rejected == 0
    with pytest.raises(FileRefused, match="its header is False"):
        inferred("a,b\nx,y\n", "1,2\n3,4\n")


def test_a_file_too_large_is_sampled_and_said_to_be(inferred):
    rows = "".join(f"{number},{number % 5}\n" for number in range(10_000))
    found, contract = inferred("id,n\n" + rows, max_bytes=len(rows) // 4)
    assert 1500 < found.rows < 3400
    assert "one in" in found.notes[0]
    assert found.rejected is None
    assert contract.key == ()


@pytest.mark.parametrize("content", [b"", b"\n\n", b"a,b\n", b"<html><body>502</body></html>", b"%PDF-1.7"])
def test_what_holds_no_rows_is_refused(content, inferred):
    with pytest.raises(FileRefused):
        inferred(content)
