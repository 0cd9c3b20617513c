"""Published marts as Parquet in the bucket `curated`: data files that never change, and a manifest, switched last.

    curated/<model>/manifest.json                              which files are the table now
    curated/<model>/data/<publication>.parquet                 a small table, or
    curated/<model>/data/sale_date_month=2026-11/<publication>.parquet

A publication writes the months it touched; the others keep their files. Who reads by the manifest reads one version.
The files of the version before stay until the next export, for whoever is in the middle of reading them.
"""

from __future__ import annotations

import datetime as dt
import json
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from pipelines.publishing.marts import CURATED, Mart
from pipelines.publishing.publication import publisher, read_change
from pipelines.publishing.shapes import Shape, shape_of

BUCKET = "curated"
_TYPES = {
    "smallint": "SMALLINT",
    "integer": "INTEGER",
    "bigint": "BIGINT",
    "real": "REAL",
    "double precision": "DOUBLE",
    "numeric": "DECIMAL(38, 10)",
    "boolean": "BOOLEAN",
    "date": "DATE",
    "timestamp with time zone": "TIMESTAMPTZ",
    "timestamp without time zone": "TIMESTAMP",
}
"""DuckDB's types by those of Postgres; numeric(p,s) keeps its digits, whatever else there is becomes text."""

Connection = psycopg.Connection[Any]


@dataclass(frozen=True)
class Exported:
    """What an export wrote of a model, and what the model has in all."""

    model: str
    publication: int
    files_written: int
    rows: int
    bytes: int


def export_models(
    dsn: str,
    client: Any,
    marts: Iterable[Mart],
    *,
    before: Callable[[str], None] = lambda step: None,
) -> list[Exported]:
    """Bring the bucket up to the newest publication, and return what was written; what is current is passed by.

    Args:
        dsn: The warehouse, as a role that reads curated and audit.
        client: boto3 S3 client.
        marts: The marts.
        before: Called before each step with its name; the tests end the process there.
    """
    exported = []
    with publisher(dsn) as connection, _one_moment(connection), tempfile.TemporaryDirectory() as scratch:
        for mart in marts:
            shape = shape_of(connection, CURATED, mart.name)
            if shape is not None:
                done = _Export(connection, client, mart, shape, Path(scratch), before).run()
                exported += [done] if done else []
    return exported


def read_manifest(client: Any, model: str) -> dict[str, Any] | None:
    """Return a model's manifest, or None where it was never exported."""
    try:
        body = client.get_object(Bucket=BUCKET, Key=f"{model}/manifest.json")["Body"].read()
    except client.exceptions.NoSuchKey:
        return None
    found: dict[str, Any] = json.loads(body)
    return found


class _Export:
    """The export of one model."""

    def __init__(
        self,
        connection: Connection,
        client: Any,
        mart: Mart,
        shape: Shape,
        scratch: Path,
        before: Callable[[str], None],
    ) -> None:
        self.connection, self.client, self.mart, self.shape = connection, client, mart, shape
        self.scratch, self.before = scratch, before
        self.partition = f"{mart.partition_by}_month" if mart.partition_by else None

    def run(self) -> Exported | None:
        current = read_manifest(self.client, self.mart.name)
        newest, months = self._what_changed(current)
        if newest is None:
            return None
        kept = [file for file in current["files"] if file["partition"] not in months] if current and months else []
        written = list(self._write(newest, months))
        files = sorted([*kept, *written], key=lambda file: str(file["path"]))
        self.before(f"manifest {self.mart.name}")
        self._put_manifest(newest, files)
        self.before(f"clean {self.mart.name}")
        self._clean({file["path"] for file in [*files, *(current["files"] if current else [])]})
        return Exported(
            self.mart.name,
            newest,
            len(written),
            sum(file["rows"] for file in files),
            sum(file["bytes"] for file in files),
        )

    def _what_changed(self, current: dict[str, Any] | None) -> tuple[int | None, set[str]]:
        """Return the newest publication that the bucket lacks, and the months to write; none stands for all."""
        rows = self.connection.execute(
            "SELECT id, changes -> %(model)s FROM audit.publications"
            " WHERE status = 'published' AND changes ? %(model)s AND id > %(known)s ORDER BY id",
            {"model": self.mart.name, "known": current["publication"] if current else 0},
        ).fetchall()
        changes = [change for change in (read_change(change) for _, change in rows) if change.rows]
        same_shape = current is not None and current["columns"] == self._columns()
        if not rows or (same_shape and not changes):
            return None, set()
        partial = same_shape and self.partition and all(change.partitions is not None for change in changes)
        months = {month for change in changes for month in change.partitions or ()} if partial else set()
        return int(rows[-1][0]), months

    def _write(self, publication: int, months: set[str]) -> Iterator[dict[str, Any]]:
        """Write the rows of some months, or all, to files of their own, upload them, and yield their entries."""
        import duckdb

        text, folder = self.scratch / f"{self.mart.name}.csv", self.scratch / self.mart.name
        folder.mkdir()
        self._dump(text, months)
        types = {name: duckdb_type(kind) for name, (kind, _, _) in self.shape.columns.items()}
        with duckdb.connect() as engine:
            engine.execute("SET TimeZone = 'UTC'; SET preserve_insertion_order = true; SET memory_limit = '1GB'")
            engine.execute(f"SET temp_directory = '{self.scratch}'")
            table = (
                "read_csv($source, columns = $types, auto_detect = false, header = false, delim = ',', quote = '\"',"
                " escape = '\"', nullstr = '', allow_quoted_nulls = false, max_line_size = 67108864)"
            )
            options = "FORMAT parquet, COMPRESSION zstd"
            if self.partition:
                month = f"strftime({_quoted(str(self.mart.partition_by))}, '%Y-%m') AS {_quoted(self.partition)}"
                query, target = f"SELECT *, {month} FROM {table}", folder
                options += f", PARTITION_BY ({_quoted(self.partition)})"
            else:
                query, target = f"SELECT * FROM {table}", folder / "all.parquet"
            engine.execute(f"COPY ({query}) TO '{target}' ({options})", {"source": str(text), "types": types})
            text.unlink()
            for number, path in enumerate(sorted(folder.rglob("*.parquet"))):
                value = path.parent.name.partition("=")[2] if self.partition else None
                place = f"{path.parent.name}/" if self.partition else ""
                suffix = "" if path.name in ("all.parquet", "data_0.parquet") else f"-{number}"
                key = f"{self.mart.name}/data/{place}{publication:09d}{suffix}.parquet"
                (rows,) = engine.execute("SELECT count(*) FROM read_parquet($1)", [str(path)]).fetchone() or (0,)
                self.before(f"file {key}")
                self.client.upload_file(str(path), BUCKET, key)
                yield {
                    "path": f"s3://{BUCKET}/{key}",
                    "rows": rows,
                    "bytes": path.stat().st_size,
                    "partition": value,
                }

    def _dump(self, path: Path, months: set[str]) -> None:
        """Write rows as CSV, by key so that neighbours lie together; an empty text is quoted, a missing value not."""
        condition: sql.Composable = sql.SQL("")
        if months:
            condition = sql.SQL("WHERE to_char({}, 'YYYY-MM') IN ({})").format(
                sql.Identifier(str(self.mart.partition_by)), sql.SQL(", ").join(map(sql.Literal, sorted(months)))
            )
        names = sql.SQL(", ").join(map(sql.Identifier, self.shape.columns))
        query = sql.SQL("COPY (SELECT {} FROM {} {}) TO STDOUT (FORMAT csv, FORCE_QUOTE *)").format(
            names, sql.Identifier(CURATED, self.mart.name), condition
        )
        with path.open("wb") as file, self.connection.cursor() as cursor, cursor.copy(query) as copy:
            for block in copy:
                file.write(block)

    def _put_manifest(self, publication: int, files: list[dict[str, Any]]) -> None:
        manifest = {
            "model": self.mart.name,
            "publication": publication,
            "exported_at": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
            "rows": sum(file["rows"] for file in files),
            "columns": self._columns(),
            "partition_by": self.partition,
            "files": files,
        }
        self.client.put_object(
            Bucket=BUCKET,
            Key=f"{self.mart.name}/manifest.json",
            Body=json.dumps(manifest, indent=1).encode(),
            ContentType="application/json",
        )

    def _clean(self, wanted: set[str]) -> None:
        prefix = f"{self.mart.name}/data/"
        for page in self.client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=prefix):
            for entry in page.get("Contents", ()):
                if f"s3://{BUCKET}/{entry['Key']}" not in wanted:
                    self.client.delete_object(Bucket=BUCKET, Key=entry["Key"])

    def _columns(self) -> list[dict[str, str]]:
        return [{"name": name, "type": duckdb_type(kind)} for name, (kind, _, _) in self.shape.columns.items()]


def duckdb_type(postgres: str) -> str:
    """Return the type in which DuckDB and Parquet keep a column of a Postgres type."""
    digits = re.fullmatch(r"numeric\((\d+),(\d+)\)", postgres)
    if digits and int(digits[1]) <= 38:
        return f"DECIMAL({digits[1]}, {digits[2]})"
    return _TYPES.get(postgres, "VARCHAR")


@contextmanager
def _one_moment(connection: Connection) -> Iterator[None]:
    with connection.transaction():
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        yield


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
