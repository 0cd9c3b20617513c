"""`dp bench ingest`: our way, bare COPY as the limit, dlt and pandas beside it."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from rich.table import Table

from dataplatform_cli.bench.data import COLUMNS, COPIED, Data, write_contract, write_data, write_delta
from dataplatform_cli.bench.measure import run_measured
from dataplatform_cli.bench.scratch import scratch_stack
from dataplatform_cli.display import err, out
from dataplatform_cli.errors import PlatformError
from dataplatform_cli.settings import StackSettings
from dataplatform_cli.stack import s3

SCENARIOS = ("first", "upsert", "delta", "files", "memory")
WAYS = ("copy", "ours", "dlt", "pandas")
TABLE = "staging.bench_sales"
DATASET = "bench_sales"
LIMITS = {"first": 1.25, "upsert": 1.5}


@dataclass
class Bench:
    """A run: scratch servers, a folder for files, and what was measured."""

    settings: StackSettings
    folder: Path
    contract: Path
    dsn: str
    ways: tuple[str, ...]
    repeat: int
    results: list[dict[str, Any]]

    def note(self, scenario: str, way: str, measured: dict[str, Any]) -> None:
        """Keep a measurement and tell of it."""
        self.results.append({"scenario": scenario, "way": way, **measured})
        err.print(f"[dim]{scenario}: {way}: {measured['seconds']:.1f} s[/]")


def bench_ingest(
    settings: StackSettings, rows: int, files: int, scenarios: tuple[str, ...], ways: tuple[str, ...], repeat: int
) -> dict[str, Any]:
    """Measure scenarios and return all figures.

    Args:
        settings: The repository's settings; the stack itself is not touched.
        rows: Rows of the large file.
        files: Small files of 100 rows.
        scenarios: Some of SCENARIOS.
        ways: Some of WAYS; `ours` and `copy` are always run.
        repeat: How often the limit and our way are run; the median counts.
    """
    run: dict[str, Callable[[Bench, Data], None]] = {"first": _first, "upsert": _upsert, "delta": _delta}
    with _scratch(settings, ways, repeat) as bench:
        if set(scenarios) & set(run):
            err.print(f"[dim]writing {rows:,} rows[/]")
            data = write_data(bench.folder, rows)
            for name in (name for name in run if name in scenarios):
                run[name](bench, data)
        if "files" in scenarios:
            _files(bench, files)
        if "memory" in scenarios:
            _memory(bench, rows)
        return {"rows": rows, "files": files, "repeat": repeat, "results": bench.results, "ratios": _ratios(bench)}


@contextmanager
def _scratch(settings: StackSettings, ways: tuple[str, ...], repeat: int) -> Iterator[Bench]:
    with scratch_stack(settings, ("postgres", "s3")) as (scratch, folder):
        contract = write_contract(folder / "bench.odcs.yaml")
        yield Bench(scratch, folder, contract, scratch.dsn("loader"), ways, repeat, [])


def _first(bench: Bench, data: Data) -> None:
    """A first load: an empty table with a key."""
    for _ in range(bench.repeat):
        _recreate(bench)
        bench.note("first", "copy", _copy(bench, data))
        _recreate(bench)
        bench.note("first", "ours", _ours(bench, [data.dirty], data.kept))
    _peers(bench, data)


def _upsert(bench: Bench, data: Data) -> None:
    """The same rows into a table that has as many others, spread among their keys."""
    others = "sale_id || 'x' AS " + ", ".join(COLUMNS)
    for way in ("copy", "ours") * bench.repeat:
        _recreate(bench)
        _copy(bench, data)
        with _connected(bench) as connection:
            connection.execute(f"CREATE TABLE staging.others AS SELECT {others}, _file_id FROM {TABLE} ORDER BY 1")
            connection.execute(f"TRUNCATE {TABLE}")
            connection.execute(f"INSERT INTO {TABLE} ({', '.join(COLUMNS)}, _file_id) SELECT * FROM staging.others")
            connection.execute("DROP TABLE staging.others")
            connection.execute(f"VACUUM ANALYZE {TABLE}")
        measured = _copy(bench, data) if way == "copy" else _ours(bench, [data.dirty], 2 * data.kept)
        bench.note("upsert", way, measured)


def _delta(bench: Bench, data: Data) -> None:
    """A hundredth of the rows, changed, into a table of all of them: its time should not be the table's."""
    _recreate(bench)
    _ours(bench, [data.dirty], data.kept)
    with _connected(bench) as connection:
        connection.execute(f"VACUUM ANALYZE {TABLE}")
    bench.note("delta", "ours", _ours(bench, [write_delta(data, bench.folder)], data.kept))


def _files(bench: Bench, count: int) -> None:
    """Many small files of 100 rows each."""
    err.print(f"[dim]writing {count:,} files of 100 rows[/]")
    data = write_data(bench.folder, count * 100, "F")
    lines = data.dirty.read_text().splitlines(keepends=True)
    folder = bench.folder / "small"
    folder.mkdir()
    paths = []
    for number in range(count):
        paths.append(folder / f"{number:06}.csv")
        paths[-1].write_text(lines[0] + "".join(lines[1 + number * 100 : 101 + number * 100]))
    _recreate(bench)
    measured = _ours(bench, paths, data.kept)
    bench.note("files", "ours", measured | {"files_per_second": round(count / measured["moved"], 1)})


def _memory(bench: Bench, rows: int) -> None:
    """Peak memory of a file and of one ten times its size: it must not grow with the file."""
    for factor in (1, 10):
        data = write_data(bench.folder, rows * factor, "M")
        _recreate(bench)
        measured = _ours(bench, [data.dirty], data.kept)
        bench.note("memory", "ours", measured | {"file_mb": data.dirty.stat().st_size // 1024**2})
        for path in (data.dirty, data.typed, data.clean):
            path.unlink()


@contextmanager
def _connected(bench: Bench) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(bench.dsn, autocommit=True) as connection:
        yield connection


def _recreate(bench: Bench) -> None:
    """Make an empty table and an empty ledger, and start from a checkpoint."""
    from data_quality.contract import load_contract
    from pipelines.ingestion import ledger

    with _connected(bench) as connection:
        connection.execute(f"DROP TABLE IF EXISTS {TABLE}")
        ledger.ensure_schema(connection, load_contract(bench.contract))
        connection.execute("TRUNCATE audit.file_ingestion_log, audit.rejected_rows")
    admin = bench.settings.postgres_admin_password.get_secret_value()
    user, host = bench.settings.postgres_admin_user, bench.settings.loopback
    with psycopg.connect(
        host=host, port=bench.settings.postgres_port, user=user, password=admin, dbname="postgres", autocommit=True
    ) as connection:
        connection.execute("CHECKPOINT")


def _copy(bench: Bench, data: Data) -> dict[str, Any]:
    """COPY the clean, sorted rows straight into the table: the limit."""
    names = ", ".join(COPIED)
    with _connected(bench) as connection:
        began = time.monotonic()
        statement = f"COPY {TABLE} ({names}) FROM STDIN (FORMAT csv)"
        with data.clean.open("rb") as file, connection.cursor().copy(statement) as copy:
            while chunk := file.read(1 << 18):
                copy.write(chunk)
        return {"seconds": time.monotonic() - began, "rows_inserted": data.kept}


def _ours(bench: Bench, paths: list[Path], expected: int) -> dict[str, Any]:
    """Put files into the bucket and take them in; from S3 to committed, validated, deduplicated, in the ledger."""
    client = s3.client(bench.settings)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda path: client.upload_file(str(path), "raw", f"{DATASET}/incoming/{path.name}"), paths))
    given = {
        "contract": str(bench.contract), "dsn": bench.dsn, "endpoint": bench.settings.s3_endpoint,
        "user": bench.settings.minio_root_user,
    }  # fmt: skip
    secret = bench.settings.minio_root_password.get_secret_value()
    command = [sys.executable, "-m", "dataplatform_cli.bench.once", "ours", json.dumps(given)]
    measured = run_measured(command, secret)
    with _connected(bench) as connection:
        row = connection.execute(f"SELECT count(*) FROM {TABLE}").fetchone()
    if row is None or row[0] != expected:
        raise PlatformError(f"the table has {row and row[0]} rows, expected {expected}: the benchmark measured nothing")
    return measured


def _peers(bench: Bench, data: Data) -> None:
    given = {"dsn": bench.dsn, "typed": str(data.typed), "table": TABLE}
    if "dlt" in bench.ways:
        python = bench.settings.root / ".venv-bench" / "bin" / "python"
        if not python.exists():
            raise PlatformError("dlt is not installed", "scripts/install.sh bench, or leave it out: --ways copy,ours")
        script = Path(__file__).with_name("with_dlt.py")
        with _connected(bench) as connection:
            connection.execute("DROP SCHEMA IF EXISTS bench_dlt CASCADE")
        _allow_schema(bench)
        bench.note("first", "dlt", run_measured([str(python), str(script), json.dumps(given)]))
    if "pandas" in bench.ways:
        _recreate(bench)
        with _connected(bench) as connection:
            connection.execute(f"ALTER TABLE {TABLE} ALTER _file_id SET DEFAULT 0")
        command = [sys.executable, "-m", "dataplatform_cli.bench.once", "pandas", json.dumps(given)]
        bench.note("first", "pandas", run_measured(command))


def _allow_schema(bench: Bench) -> None:
    """Let the loader make a schema, as dlt wants to and the platform's may not."""
    admin = bench.settings.postgres_admin_password.get_secret_value()
    with psycopg.connect(
        host=bench.settings.loopback,
        port=bench.settings.postgres_port,
        user=bench.settings.postgres_admin_user,
        password=admin,
        dbname="warehouse",
        autocommit=True,
    ) as connection:
        connection.execute("GRANT CREATE ON DATABASE warehouse TO loader")


def _median(bench: Bench, scenario: str, way: str) -> float | None:
    found = sorted(item["seconds"] for item in bench.results if (item["scenario"], item["way"]) == (scenario, way))
    return found[len(found) // 2] if found else None


def _ratios(bench: Bench) -> dict[str, dict[str, float]]:
    """Return every way's median time as a multiple of the limit's, for each scenario that has one."""
    ratios: dict[str, dict[str, float]] = {}
    for scenario in LIMITS:
        limit = _median(bench, scenario, "copy")
        for way in WAYS[1:]:
            seconds = _median(bench, scenario, way)
            if limit and seconds:
                ratios.setdefault(scenario, {})[way] = round(seconds / limit, 2)
    return ratios


def print_report(figures: dict[str, Any]) -> None:
    """Print the figures as a table."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for name in ("scenario", "way", "seconds", "peak MB", ""):
        table.add_column(name, justify="left" if name in ("scenario", "way", "") else "right")
    for item in figures["results"]:
        more = f"{item['files_per_second']} files/s" if "files_per_second" in item else ""
        more = f"file of {item['file_mb']:,} MB" if "file_mb" in item else more
        table.add_row(item["scenario"], item["way"], f"{item['seconds']:.2f}", str(item.get("peak_mb", "")), more)
    out.print(table)
    for scenario, ways in figures["ratios"].items():
        told = ", ".join(f"{way} {ratio:.2f}" for way, ratio in ways.items())
        out.print(f"{scenario}: as a multiple of the bare COPY: {told} (ours should be at most {LIMITS[scenario]})")
