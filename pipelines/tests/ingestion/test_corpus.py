"""Odd and broken files, each with its exact outcome: rows staged, rules broken, or why the file is refused."""

from __future__ import annotations

import gzip
import io
import json
import os
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.ingestion import core
from pipelines.ingestion.model import SourceFile

H = "id,day,amount,count,changed\n"
ROW = "a,2026-01-01,1.5,1,2026-01-01T00:00:00Z\n"


@dataclass(frozen=True)
class Case:
    """`staged` are (id, day, amount, count) of the clean Parquet as text; `refused` is part of the error."""

    name: str
    body: bytes | str
    staged: list[tuple[Any, ...]] | None = None
    rules: dict[str, int] = field(default_factory=dict)
    deduplicated: int = 0
    refused: str | None = None
    ingest: dict[str, Any] = field(default_factory=dict)
    rescued: list[str | None] | None = None
    fields: list[dict[str, Any]] | None = None
    stage: str = "validation"


A = ("a", "2026-01-01", "1.50", "1")


def parquet(options: dict[str, Any] | None = None, **columns: Any) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(pa.table(columns), buffer, **(options or {}))
    return buffer.getvalue()


def zstd(text: str) -> bytes:
    return pa.compress(text.encode(), codec="zstd", asbytes=True)


def value(column: str, text: str) -> str:
    """Return a CSV of one row with one value set."""
    row = {"id": "a", "day": "2026-01-01", "amount": "1.5", "count": "1", "changed": "2026-01-01T00:00:00Z"}
    return H + ",".join({**row, column: text}.values()) + "\n"


ONE = [A]
FORMATS = [
    Case("plain", H + ROW, ONE),
    Case("no newline at the end", (H + ROW).rstrip(), ONE),
    Case("carriage returns", (H + ROW).replace("\n", "\r\n"), ONE),
    Case("old Mac line ends", (H + ROW).replace("\n", "\r"), ONE),
    Case("mixed line ends", H + ROW.replace("\n", "\r\n") + "b,,,,\n", [A, ("b", None, None, None)]),
    Case("blank lines", H + "\n" + ROW + "\n\n", ONE),
    Case("semicolons", (H + ROW).replace(",", ";"), ONE),
    Case("tabs", (H + ROW).replace(",", "\t"), ONE),
    Case("bars", (H + ROW).replace(",", "|"), ONE),
    Case("utf-8 with BOM", b"\xef\xbb\xbf" + (H + ROW).encode(), ONE),
    Case("utf-16 with BOM", (H + ROW).encode("utf-16"), ONE),
    Case("utf-16 big endian with BOM", b"\xfe\xff" + (H + ROW).encode("utf-16-be"), ONE),
    Case("utf-16 without BOM", (H + ROW).encode("utf-16-le"), ONE),
    Case("latin-1 by contract", (H + "é,,,,\n").encode("latin-1"), [("é", None, None, None)],
         ingest={"csv": {"encoding": "latin-1"}}),
    Case("latin-1 unannounced", (H + "é,,,,\n").encode("latin-1"), refused="is not utf-8: byte 0xe9"),
    Case("gzip", gzip.compress((H + ROW).encode()), ONE),
    Case("gzip of two members", gzip.compress(H.encode()) + gzip.compress(ROW.encode()), ONE),
    Case("gzip cut short", gzip.compress((H + ROW * 1000).encode())[:-20], refused="cut short"),
    Case("gzip broken", gzip.compress((H + ROW * 1000).encode())[:30] + b"x" * 40, refused="gzip stream is"),
    Case("zstd", zstd(H + ROW), ONE),
    Case("quoted newline", H + '"a\nb",2026-01-01,1.5,1,\n', [("a\nb", "2026-01-01", "1.50", "1")]),
    Case("doubled quote", H + '"a""b",,,,\n', [('a"b', None, None, None)]),
    Case("delimiter in quotes", H + '"a,b",,,,\n', [("a,b", None, None, None)]),
    Case("quoted numbers", H + 'a,"2026-01-01","1.5","1",""\n', ONE),
    Case("open quote", H + ROW + '"b,,,,\nc,,,,\n', refused="opens a quote in line 3"),
    Case("very long line", H + "a" * 3_000_000 + ",,,,\n", [("a" * 3_000_000, None, None, None)]),
    Case("decimal comma", (H + ROW).replace(",", ";").replace("1.5", "1,5"), ONE, ingest={"csv": {"decimal": ","}}),
    Case("null words", value("amount", "NA"),
         [("a", "2026-01-01", None, "1")], ingest={"csv": {"null_words": ["", "NA"]}}),
    Case("skipped lines", "report of today\n\n" + H + ROW, ONE, ingest={"csv": {"skip_rows": 1}}),
    Case("without header", ROW, ONE, ingest={"csv": {"header": False}}),
    Case("other order of columns", "count,id,changed,amount,day\n1,a,,1.5,2026-01-01\n", ONE),
    Case("header in capitals", H.upper() + ROW, ONE),
    Case("optional columns missing", "id,day\na,2026-01-01\n", [("a", "2026-01-01", None, None)]),
    Case("blank in the key stays", H + " a ,,,,\n", [(" a ", None, None, None)]),
    Case("unicode", H + "日本\N{GRINNING FACE},,,,\n", [("日本\N{GRINNING FACE}", None, None, None)]),
    Case("ndjson", '{"id":"a","day":"2026-01-01","amount":1.5,"count":1}\n', ONE),
    Case("ndjson with blank lines",
         '\n{"id":"a","day":"2026-01-01","amount":"1.50","count":1.0}\r\n\r\n', ONE),
    Case("json array", '[\n {"id":"a","day":"2026-01-01","amount":1.5,"count":1},\n {"id":"b"}\n]',
         [A, ("b", None, None, None)]),
    Case("empty json array", "[]", []),
    Case("json array cut short", '[{"id":"a"},{"id":', refused="is no readable json"),
    Case("parquet", parquet(id=["a"], day=pa.array([20454], pa.date32()), amount=[1.5], count=[1]), ONE),
    Case("parquet with floats as integers", parquet(id=["a"], day=["2026-01-01"], amount=["1.5"], count=[1.0]), ONE),
    Case("parquet with timestamps as dates",
         parquet(id=["a"], day=pa.array([20454 * 86400], pa.timestamp("s")), amount=[1.5], count=[1]), ONE),
    Case("parquet cut short", parquet(id=["a"])[:-30], refused="is no readable parquet"),
    Case("empty parquet", parquet(id=pa.array([], pa.string())), []),
    Case("header only", H, []),
    Case("unknown column is rescued", "id,colour,size\na,red,\nb,,\n",
         [("a", None, None, None), ("b", None, None, None)],
         rescued=['{"colour":"red"}', None]),
    Case("unknown column is discarded", "id,colour\na,red\n", [("a", None, None, None)],
         ingest={"columns": "discard"}, rescued=[None]),
    Case("nested json is rescued", '{"id":"a","more":{"x":[1,null]}}\n', [("a", None, None, None)],
         rescued=['{"more":{"x":[1,null]}}']),
]  # fmt: skip

REFUSED = [
    Case("no bytes", "", refused="is empty"),
    Case("blanks only", " \n\n", refused="is empty"),
    Case("html", "<!DOCTYPE html><html></html>", refused="an HTML page"),
    Case("html after blanks", "\n\n  <HTML><body>", refused="an HTML page"),
    Case("xml", '<?xml version="1.0"?><a/>', refused="an XML document"),
    Case("pdf", b"%PDF-1.7\n\x00\x01", refused="a PDF document"),
    Case("zip", b"PK\x03\x04\x00\x00", refused="a ZIP archive or an Excel workbook"),
    Case("png", b"\x89PNG\r\n\x1a\n", refused="a PNG picture"),
    Case("random bytes", bytes(range(256)) * 20, refused="is"),
    Case("prose", "Dear all,\nthe export failed again.\nRegards\n", refused="no column of the contract"),
    Case("required column missing", "day,count\n2026-01-01,1\n", refused="lacks the required column id"),
    Case("misspelt column", "ids,day\na,2026-01-01\n", refused="perhaps 'ids'"),
    Case("column twice", "id,day,day\na,b,c\n", refused="names column 'day' twice"),
    Case("frozen columns", "id,colour\na,red\n", refused="'colour'", ingest={"columns": "freeze"}),
    Case("contract wants parquet", H + ROW,
         refused="is csv, but its contract says parquet", ingest={"format": "parquet"}),
    Case("budget in rows", H + "a,x,,,\nb,x,,,\nc,,,,\n", refused="2 bad rows of 3, more than the 1 rows",
         rules={"day: type": 2}, ingest={"rejects": {"max_percent": 100, "max_rows": 1}}),
    Case("budget in percent", H + "a,x,,,\nb,,,,\n", refused="more than the 40 percent",
         rules={"day: type": 1}, ingest={"rejects": {"max_percent": 40}}),
]  # fmt: skip

BAD = {
    "day": [
        "2026-02-30",
        "2026-13-01",
        "01.02.2026",
        "2026-1-5",
        "infinity",
        "epoch",
        "20260101",
        "2026-01-01T10:00:00",
    ],
    "amount": ["NaN", "inf", "1,5", "abc", "1_000", "0x10", "--1", "1e400"],
    "count": ["17.5", "1e3", "NaN", "one", "1_0", "0x1", "+-1"],
    "changed": ["2026-02-30T00:00:00Z", "2026-01-01T25:00:00", "now", "2026-01-01T24:00:00", "1767225600"],
}
RULE = {("amount", "1e400"): "range"}
VALUES = [
    *(
        Case(f"{column}={text}", value(column, f'"{text}"'), [], {f"{column}: {RULE.get((column, text), 'type')}": 1})
        for column, texts in BAD.items()
        for text in texts
    ),
    Case("integer too large", value("count", "99999999999999999999"), [], {"count: range": 1}),
    Case("number too large", value("amount", "12345678901.00"), [], {"amount: range": 1}),
    Case("too many decimals", value("amount", "1.505"), [], {"amount: scale": 1}),
    Case("float noise", value("amount", "53.97000000000001"), [("a", "2026-01-01", "53.97", "1")]),
    Case("trailing zeros", value("amount", "1.5000"), ONE),
    Case("exponent", value("amount", "15e-1"), ONE),
    Case("integer as float", value("count", "17850.0"), [("a", "2026-01-01", "1.50", "17850")]),
    Case("blanks around a number", value("count", " 1 "), ONE),
    Case("missing key", value("id", ""), [], {"id: required": 1}),
    Case("too few fields", H + "a,b\n" + ROW, ONE, {"*: record": 1}),
    Case("too many fields", H + ROW + "b,,,,,\n", ONE, {"*: record": 1}),
    Case("ragged between quotes", H + ROW + '"b\nc"\n"d",,,,\n', [A, ("d", None, None, None)], {"*: record": 1}),
    Case("NUL in json", '{"id":"a\\u0000"}\n{"id":"b"}\n', [("b", None, None, None)], {"id: type": 1}),
    Case("NUL in what is rescued", '{"id":"a","x":"\\u0000"}\n', [], {"*: unknown columns": 1}),
    Case("json lines broken", '{"id":"a"}\n{"id":\n[1]\n{"id":"b"}\n',
         [("a", None, None, None), ("b", None, None, None)], {"*: record": 2}),
    Case("later row of a key wins", H + "a,,,1,2026-01-02T00:00:00Z\na,,,2,2026-01-01T00:00:00Z\n",
         [("a", None, None, "1")], deduplicated=1),
    Case("of equal order the last row counts, others that differ are rejected",
         H + "a,,,1,2026-01-01T00:00:00Z\na,,,2,2026-01-02T00:00:00Z\nb,,,,\n"
         "a,,,3,2026-01-02T01:00:00+01:00\na,,,3,2026-01-02T00:00:00Z\n",
         [("a", None, None, "3"), ("b", None, None, None)], {"changed: tie": 1}, deduplicated=2),
    Case("the same in json",
         '{"id":"a","count":1,"changed":"2026-01-02T00:00:00Z"}\n{"id":"a","count":2,"changed":"2026-01-02T00:00:00Z"}\n',
         [("a", None, None, "2")], {"changed: tie": 1}),
    Case("without an order the last row wins",
         H + "a,,,1,\na,,,2,\na,,,3,\n", [("a", None, None, "3")], deduplicated=2),
]  # fmt: skip


N = None
NESTED = '{"a":'
DEEP = "[" * 100_000 + "]" * 100_000
OBJECT = {"id": "a", "day": "2026-01-01", "amount": 1.5, "count": 1}
DIALECTS = [
    Case("comment lines", f"# made today\n{H}# more\n{ROW}#\n", ONE, ingest={"csv": {"comment": "#"}}),
    Case("a comment mark inside a row", H + "a#b,,,,\n", [("a#b", N, N, N)], ingest={"csv": {"comment": "#"}}),
    Case("escaped quote", H + '"a\\"b",,,,\n', [('a"b', N, N, N)], ingest={"csv": {"escape": "\\"}}),
    Case("escaped delimiter", H + "a\\,b,,,,\n", [("a,b", N, N, N)], ingest={"csv": {"escape": "\\"}}),
    Case("single quotes", H + "'a,b',,,,\n", [("a,b", N, N, N)], ingest={"csv": {"quote": "'"}}),
    Case("delimiter by contract", (H + ROW).replace(",", "~"), ONE, ingest={"csv": {"delimiter": "~"}}),
    Case("several null words", H + "a,-,N/A,null,\n", [("a", N, N, N)],
         ingest={"csv": {"null_words": ["", "-", "N/A", "null"]}}),
    Case("quoted header", '"id","day","amount","count","changed"\n' + ROW, ONE),
    Case("blanks around header names", " id , day,amount ,count,changed\n" + ROW, ONE),
    Case("header with BOM and quotes", b"\xef\xbb\xbf" + ('"id",' + H[3:] + ROW).encode(), ONE),
    Case("unnamed column", "id,day,\na,2026-01-01,x\n", [("a", "2026-01-01", N, N)], rescued=['{"column 3":"x"}']),
    Case("one column", "id\na\nb\n", [("a", N, N, N), ("b", N, N, N)]),
    Case("row of delimiters", H + ",,,,\n" + ROW, ONE, {"id: required": 1}),
    Case("quote inside a field", H + 'a"b,,,,\n', [('a"b', N, N, N)]),
    Case("line of blanks", H + "   \n" + ROW, ONE, {"*: record": 1}),
    Case("a thousand columns", f"id,{','.join(f'c{n}' for n in range(1000))}\na{',' * 1000}\n", [("a", N, N, N)]),
    Case("utf-16 in gzip", gzip.compress((H + ROW).encode("utf-16")), ONE),
    Case("gzip of nothing", gzip.compress(b""), refused="is empty"),
    Case("gzip in gzip", gzip.compress(gzip.compress((H + ROW).encode())), refused="is not utf-8"),
    Case("html in gzip", gzip.compress(b"<html><body>no</body></html>"), refused="an HTML page"),
    Case("empty gzip member between", b"".join(map(gzip.compress, (H.encode(), b"", ROW.encode()))), ONE),
    Case("zstd of two frames", zstd(H) + zstd(ROW), ONE),
    Case("zstd cut short", zstd(H + ROW * 1000)[:-10], refused="zstd"),
    Case("windows-1252 by contract", (H + "\N{EURO SIGN},,,,\n").encode("cp1252"), [("\N{EURO SIGN}", N, N, N)],
         ingest={"csv": {"encoding": "cp1252"}}),
    Case("utf-16 cut in half", (H + ROW).encode("utf-16")[:-1], refused="utf-16"),
    Case("thousands of duplicates", H + "a,,,1,\n" * 3000, [("a", N, N, "1")], deduplicated=2999),
]  # fmt: skip

DOCUMENTS = [
    Case("keys twice in json", '{"id":"a","id":"b"}\n', [("a", N, N, N)]),
    Case("json with BOM", "\ufeff" + json.dumps(OBJECT) + "\n", ONE),
    Case("json in utf-16", (json.dumps(OBJECT) + "\n").encode("utf-16"), ONE),
    Case("one object over several lines", json.dumps(OBJECT, indent=2), [], {"*: record": 6}),
    Case("json array in one line", json.dumps([OBJECT]), ONE),
    Case("json numbers as text", '{"id":"a","amount":"1.50","count":"1"}\n', [("a", N, "1.50", "1")]),
    Case("json true as integer", '{"id":"a","count":true}\n', [], {"count: type": 1}),
    Case("json object as number", '{"id":"a","count":{"x":1}}\n', [], {"count: type": 1}),
    Case("json array as text", '{"id":["a"]}\n', [('["a"]', N, N, N)]),
    Case("json null key", '{"id":null}\n{"id":"b"}\n', [("b", N, N, N)], {"id: required": 1}),
    Case("json NaN", '{"id":"a"}\n{"id":"b","amount":NaN}\n', [("a", N, N, N)], {"amount: type": 1}),
    Case("json large integer", '{"id":"a","count":99999999999999999999}\n', [], {"count: range": 1}),
    Case("json exponent", '{"id":"a","amount":1.5e0,"count":1}\n', [("a", N, "1.50", "1")]),
    Case("json escapes", '{"id":"\\u00e4\\n\\ud83d\\ude00"}\n', [("ä\n\N{GRINNING FACE}", N, N, N)]),
    Case("json of a lone surrogate", '{"id":"\\ud800"}\n{"id":"b"}\n', [("b", N, N, N)], {"*: record": 1}),
    Case("deep json line", json.dumps(OBJECT) + '\n{"id":' + DEEP + "}\n", [(DEEP, N, N, N), A]),
    Case("deep json array", DEEP, [], {"*: record": 1}),
    Case("deep objects", f"{json.dumps(OBJECT)}\n{NESTED * 9_999}1{'}' * 9_999}\n", ONE, {"id: required": 1}),
    Case("json array of texts", '["a","b"]', [], {"*: record": 2}),
    Case("objects one after the other", '{"id":"a"}{"id":"b"}\n', [], {"*: record": 1}),
    Case("two arrays", '[{"id":"a"}][{"id":"b"}]', refused="is no readable json"),
]  # fmt: skip

CODECS = ["NONE", "SNAPPY", "GZIP", "BROTLI", "LZ4", "ZSTD"]
COLUMNAR = [
    *(Case(f"parquet {codec}", parquet({"compression": codec}, id=["a"], amount=[1.5]), [("a", N, "1.50", N)])
      for codec in CODECS),
    Case("parquet with INT96", parquet({"use_deprecated_int96_timestamps": True}, id=["a"],
         day=pa.array([20454 * 86400], pa.timestamp("s"))), [("a", "2026-01-01", N, N)]),
    Case("parquet with nanoseconds", parquet({"version": "2.6"}, id=["a"],
         day=pa.array([20454 * 86400 * 10**9], pa.timestamp("ns"))), [("a", "2026-01-01", N, N)]),
    Case("parquet with decimals", parquet(id=["a"], amount=pa.array([Decimal("1.50")], pa.decimal128(30, 10))),
         [("a", N, "1.50", N)]),
    Case("parquet with a fine decimal", parquet(id=["a"], amount=pa.array([Decimal("1.505")], pa.decimal128(30, 3))),
         [], {"amount: scale": 1}),
    Case("parquet with wide decimals", parquet(id=["a"], amount=pa.array([Decimal("9" * 50)], pa.decimal256(60, 0))),
         [], {"amount: range": 1}),
    Case("parquet with NaN", parquet(id=["a", "b"], amount=[float("nan"), 1.5]), [("b", N, "1.50", N)],
         {"amount: type": 1}),
    Case("parquet with infinity", parquet(id=["a"], amount=[float("inf")]), [], {"amount: type": 1}),
    Case("parquet with unsigned integers", parquet(id=["a"], count=pa.array([2**64 - 1], pa.uint64())), [],
         {"count: range": 1}),
    Case("parquet with a dictionary", parquet(id=pa.array(["a", "a"]).dictionary_encode()), [("a", N, N, N)],
         deduplicated=1),
    Case("parquet with large text", parquet(id=pa.array(["a"], pa.large_string())), [("a", N, N, N)]),
    Case("parquet with bytes as text", parquet(id=pa.array([b"a"], pa.binary())), [("a", N, N, N)]),
    Case("parquet with booleans as integers", parquet(id=["a"], count=[True]), [], {"count: type": 1}),
    Case("parquet with a struct", parquet(id=["a"], more=[{"x": [1, None]}]), [("a", N, N, N)],
         rescued=['{"more":"{\\"x\\":[1,null]}"}']),
    Case("parquet of many row groups", parquet({"row_group_size": 1}, id=[str(n) for n in range(5)]),
         [(str(n), N, N, N) for n in range(5)]),
    Case("parquet without columns of the contract", parquet(x=[1]), refused="lacks the required column id"),
    Case("parquet in gzip", gzip.compress(parquet(id=["a"])), [("a", N, N, N)]),
    Case("parquet with NUL", parquet(id=["a\0", "b"]), [("b", N, N, N)], {"id: type": 1}),
]  # fmt: skip


def field_of(**more: Any) -> list[dict[str, Any]]:
    """Return columns of which `v` has further properties."""
    return [{"name": "id", "logicalType": "string", "primaryKey": True, "required": True},
            {"name": "v", **{"logicalType": "string"} | more}]  # fmt: skip


def judged(name: str, rule: str, good: list[str], bad: list[str], **more: Any) -> Case:
    """Return a case of a column whose good values stay and whose bad ones break a rule."""
    rows = [f'{number},"{text}"' for number, text in enumerate([*good, *bad])]
    staged = [(str(number),) for number in range(len(good))]
    return Case(name, "id,v\n" + "\n".join(rows) + "\n", staged, {f"v: {rule}": len(bad)}, fields=field_of(**more))


RULES = [
    judged("too long", "maxLength", ["abc", "äöü"], ["abcd"], logicalTypeOptions={"maxLength": 3}),
    judged("varchar", "maxLength", ["abc"], ["abcd"], physicalType="varchar(3)"),
    judged("too short", "minLength", ["ab"], ["a"], logicalTypeOptions={"minLength": 2}),
    judged("pattern", "pattern", ["A1"], ["1A", "a1"], logicalTypeOptions={"pattern": "^[A-Z][0-9]$"}),
    judged("email", "format", ["a@b.de"], ["a@b", "@b.de", "a b@c.de"], logicalTypeOptions={"format": "email"}),
    judged("minimum", "minimum", ["1", "5"], ["0", "-1"], logicalType="integer", logicalTypeOptions={"minimum": 1}),
    judged("maximum", "maximum", ["1.5"], ["1.51"], logicalType="number", physicalType="numeric(9,2)",
           logicalTypeOptions={"maximum": 1.5}),
    judged("exclusive minimum", "exclusiveMinimum", ["0.01"], ["0"], logicalType="number", physicalType="numeric(9,2)",
           logicalTypeOptions={"exclusiveMinimum": 0}),
    judged("small integer", "range", ["32767", "-32768"], ["32768"], logicalType="integer", physicalType="smallint"),
    judged("double", "range", ["1e308", "-0"], ["1e309"], logicalType="number", physicalType="double precision"),
    judged("not a number", "type", ["1.0"], ["NaN", "Infinity"], logicalType="number", physicalType="double precision"),
    judged("boolean", "type", ["true", "0", "Yes"], ["maybe", "2"], logicalType="boolean"),
    judged("time", "type", ["10:00", "23:59:59.5"], ["24:00", "10:60"], logicalType="time"),
    judged("date of another format", "type", ["31.12.2026"], ["2026-12-31", "31.02.2026"], logicalType="date",
           logicalTypeOptions={"format": "dd.MM.yyyy"}),
    judged("json", "type", ["{}", "[1]"], ["{", "x"], logicalType="object"),
    Case("volume: too few rows", "id,v\na,1\n", refused="1 row", fields=field_of(),
         ingest={"file": {"min_rows": 2}}),
    Case("volume: too many rows", "id,v\na,1\nb,2\n", refused="2 rows", fields=field_of(),
         ingest={"file": {"max_rows": 1}}),
    Case("uniqueness of a set", "id,v\na,1\nb,1\n", refused="v", fields=field_of(unique=True)),
    Case("uniqueness holds", "id,v\na,1\nb,2\n", [("a",), ("b",)], fields=field_of(unique=True)),
]  # fmt: skip


@pytest.mark.parametrize(
    "case", [*FORMATS, *REFUSED, *VALUES, *DIALECTS, *DOCUMENTS, *COLUMNAR, *RULES], ids=lambda case: case.name
)
def test_file(case: Case, tmp_path, make_contract):
    contract = make_contract(case.fields, **case.ingest)
    path = tmp_path / "file.csv"  # the name never matters
    path.write_bytes(case.body if isinstance(case.body, bytes) else case.body.encode())
    source = SourceFile(str(path), contract.name, path.stat().st_size, "2026-01-02T00:00:00+00:00")
    prepared = core.prepare(source, contract, None, folder=tmp_path / "staged")
    if case.refused is not None:
        assert (prepared.status, prepared.stage) == ("failed", case.stage), prepared
        assert case.refused in (prepared.error or "")
        assert prepared.rejects_by_rule == case.rules
        return
    assert (prepared.status, prepared.error) == ("staged", None)
    assert prepared.rejects_by_rule == case.rules
    shown = "id" if case.fields else "id, day::text, amount::text, count::text"
    staged = duckdb.execute(
        f"SELECT {shown}, _rescued FROM read_parquet(?) ORDER BY id", [prepared.staged_uri]
    ).fetchall()
    assert [row[:-1] for row in staged] == case.staged
    assert prepared.rows_deduplicated == case.deduplicated
    assert prepared.rows_read == len(staged) + case.deduplicated + sum(case.rules.values())
    if case.rescued is not None:
        assert [row[-1] for row in staged] == case.rescued
    if case.rules:
        kept = duckdb.execute("SELECT raw, message FROM read_parquet(?)", [prepared.rejects_uri]).fetchall()
        assert len(kept) == sum(case.rules.values())
        assert all(raw is not None and message for raw, message in kept), kept


def test_a_decimal_too_many_in_a_large_number(tmp_path, make_contract):
    case = Case("", value("amount", "2439400982.208"), [], {"amount: scale": 1})
    test_file(case, tmp_path, make_contract)


def test_rejected_row_is_found_again_in_its_file(tmp_path, make_contract):
    """Line and text of a bad row are right when records span lines, as when they don't."""
    bodies = (H + ROW + "b,x,,,\n", H + '"a\nz",,,,\n\nb,x,,,\n', '{"id":"a"}\n\n{"id":"b","day":"x"}\n')
    found = []
    for number, body in enumerate(bodies):
        path = tmp_path / f"{number}"
        path.write_text(body)
        contract = make_contract()
        source = SourceFile(str(path), contract.name, len(body), "2026-01-02T00:00:00+00:00")
        prepared = core.prepare(source, contract, None, folder=tmp_path / f"staged{number}")
        found += duckdb.execute("SELECT record, line, raw FROM read_parquet(?)", [prepared.rejects_uri]).fetchall()
    assert found == [(2, 3, "b,x,,,"), (2, 5, "b,x,,,"), (2, 3, '{"id":"b","day":"x"}')]


def test_random_bytes_never_raise(tmp_path, make_contract):
    contract = make_contract()
    for number in range(30):
        path = tmp_path / str(number)
        path.write_bytes(os.urandom(1 + number * 50))
        source = SourceFile(str(path), contract.name, path.stat().st_size, "2026-01-02T00:00:00+00:00")
        prepared = core.prepare(source, contract, None, folder=tmp_path / "staged")
        assert prepared.status == "failed"
        json.dumps(prepared.to_dict())
