"""A backup of a working stack, restored into an empty one: every row, every object, the keys; and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from dataplatform_cli.backup import buckets
from dataplatform_cli.errors import PlatformError
from dataplatform_cli.setup import replace_values
from dataplatform_cli.stack import s3
from metadata_service.database import make_engine, migrate
from metadata_service.settings import ServiceSettings

pytestmark = pytest.mark.integration

SALES = "sale_id,sale_date,customer_id,product_id,product_category,quantity,unit_price,total_amount,region,updated_at"


def sales(file: int) -> str:
    """Return a file of 40 sales of its own, and a row that is rejected."""
    dates = [f"2026-01-{day:02}" for day in range(1, 29)] + [f"2026-02-{day:02}" for day in range(1, 13)]
    rows = [f"S{file}-{n},{date},C{n},P1,Toys,1,2.50,2.50,North,2026-01-01T00:00:00Z" for n, date in enumerate(dates)]
    return "\n".join([SALES, *rows, f"S{file}-x,never,C9,P1,Toys,1,2.50,2.50,North,2026-01-01T00:00:00Z", ""])


def deliver(stack: Any, name: str, text: str) -> None:
    s3.client(stack.settings).put_object(Bucket="raw", Key=f"sales/incoming/{name}", Body=text.encode())


def ingest(stack: Any, name: str) -> str:
    done = stack.dp("ingest", f"s3://raw/sales/incoming/{name}", "--contract", "sales", "--json")
    assert done.returncode == 0, done.stderr
    status: str = json.loads(done.stdout)["files"][0]["status"]
    return status


def loaded(stack: Any) -> list[Any]:
    with psycopg.connect(stack.settings.dsn("loader")) as connection:
        rows = connection.execute("SELECT * FROM staging.sales ORDER BY sale_id").fetchall()
        ledger = connection.execute("SELECT * FROM audit.file_ingestion_log ORDER BY id").fetchall()
        rejected = connection.execute("SELECT * FROM audit.rejected_rows ORDER BY file_id, line").fetchall()
    return [rows, ledger, rejected]


def objects(stack: Any) -> dict[tuple[str, str], bytes]:
    client = s3.client(stack.settings)
    return {
        (bucket, key): client.get_object(Bucket=bucket, Key=key)["Body"].read()
        for bucket in s3.BUCKETS
        for key in buckets.keys(client, bucket)
    }


def catalogue(stack: Any) -> None:
    """Fill the metadata service's database as the service would."""
    url = stack.settings.dsn("metadata")
    engine = make_engine(ServiceSettings(api_key="a-key", database_url=url))
    migrate(engine)
    engine.dispose()
    with psycopg.connect(url) as connection:
        connection.execute(
            "INSERT INTO dataset (id, namespace, name, type, created_at, updated_at)"
            " VALUES (gen_random_uuid(), 'db', 'w.staging.orders', 'table', now(), now())"
        )


def catalogued(stack: Any) -> list[Any]:
    """Return what a search finds in the metadata service's database."""
    with psycopg.connect(stack.settings.dsn("metadata")) as connection:
        query = "SELECT name FROM dataset WHERE search @@ $$'title=orders'$$::tsquery"
        return connection.execute(query).fetchall()


@pytest.fixture
def other_stack(new_stack: Callable[[], Any]) -> Any:
    return new_stack()


@pytest.fixture
def backup(stack: Any, tmp_path: Path) -> Iterator[Path]:
    """A backup of a stack that has one file loaded and one waiting."""
    assert stack.dp("up", "postgres", "s3").returncode == 0
    catalogue(stack)
    deliver(stack, "one.csv", sales(1))
    assert ingest(stack, "one.csv") == "succeeded"
    deliver(stack, "größe 2 & more.csv", sales(2))
    s3.client(stack.settings).put_object(Bucket="curated", Key="large.bin", Body=bytes(range(256)) * 40_000)
    done = stack.dp("backup", str(tmp_path / "taken"), "--json")
    assert done.returncode == 0, done.stderr
    assert [bucket["objects"] for bucket in json.loads(done.stdout)["buckets"]] == [
        2,
        2,
        1,
    ]  # staging: good and rejected rows
    return tmp_path / "taken"


def test_what_was_taken_comes_back(stack: Any, other_stack: Any, backup: Path) -> None:
    assert (backup.stat().st_mode & 0o777) == 0o700
    before, stored = loaded(stack), objects(stack)
    assert len(before[0]) == 40
    assert len(before[2]) == 1
    done = other_stack.dp("restore", str(backup))
    assert done.returncode == 0, done.stderr
    assert loaded(other_stack) == before
    assert objects(other_stack) == stored
    assert catalogued(other_stack) == catalogued(stack) == [("w.staging.orders",)]
    # The roles of the new stack have their grants: what waited is taken in, what was loaded is known.
    assert ingest(other_stack, "größe 2 & more.csv") == "succeeded"
    deliver(other_stack, "again.csv", sales(1))
    assert ingest(other_stack, "again.csv") == "duplicate"
    with psycopg.connect(other_stack.settings.dsn("transformer")) as connection:
        assert connection.execute("SELECT count(*) FROM staging.sales").fetchone() == (80,)

    refused = other_stack.dp("restore", str(backup))
    assert refused.returncode == 1
    assert "not empty" in refused.stderr
    assert "--replace" in refused.stderr
    assert len(loaded(other_stack)[0]) == 80
    done = other_stack.dp("restore", str(backup), "--replace")
    assert done.returncode == 0, done.stderr
    assert loaded(other_stack) == before
    assert objects(other_stack) == stored


def test_a_damaged_backup_replaces_nothing(stack: Any, backup: Path) -> None:
    before = loaded(stack)
    tar = backup / "buckets" / "raw.tar"
    tar.write_bytes(tar.read_bytes().replace(b"2026-01-01", b"2026-01-02", 1))
    for command in (("--check",), ("--replace",)):
        done = stack.dp("restore", str(backup), *command)
        assert done.returncode == 1
        assert "raw.tar is damaged" in done.stderr
    tar.unlink()
    assert "raw.tar is missing" in stack.dp("restore", str(backup), "--check").stderr
    (backup / "manifest.json").unlink()
    assert "is no backup" in stack.dp("restore", str(backup)).stderr
    assert loaded(stack) == before


def test_files_that_are_loaded_meanwhile_are_taken_in_again(
    stack: Any, other_stack: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The backup's ledger does not know them: they have to lie in incoming/ of the restored stack."""
    from dataplatform_cli.backup import databases, take

    assert stack.dp("up", "postgres", "s3").returncode == 0
    deliver(stack, "early.csv", sales(1))
    ingest(stack, "early.csv")
    deliver(stack, "late.csv", sales(2))
    seen = databases.dump

    def dump_then_load(settings: Any, connection: Any, folder: Path) -> Any:
        done = seen(settings, connection, folder)
        if connection.info.dbname == "warehouse":
            assert ingest(stack, "late.csv") == "succeeded"
        return done

    monkeypatch.setattr(databases, "dump", dump_then_load)
    take(stack.settings, tmp_path / "taken")
    assert len(loaded(stack)[0]) == 80

    assert other_stack.dp("restore", str(tmp_path / "taken")).returncode == 0
    assert len(loaded(other_stack)[0]) == 40
    assert ingest(other_stack, "late.csv") == "succeeded"
    assert [row[0] for row in loaded(other_stack)[0]] == [row[0] for row in loaded(stack)[0]]


def test_an_interrupted_backup_leaves_nothing(stack: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from dataplatform_cli.backup import take

    assert stack.dp("up", "postgres", "s3").returncode == 0

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(buckets, "pack", interrupt)
    with pytest.raises(KeyboardInterrupt):
        take(stack.settings, tmp_path / "taken")
    assert list(tmp_path.glob("taken*")) == []
    (tmp_path / "taken").mkdir()
    with pytest.raises(PlatformError, match="there already"):
        take(stack.settings, tmp_path / "taken")


def test_nothing_is_up(stack: Any, tmp_path: Path) -> None:
    done = stack.dp("backup", str(tmp_path / "taken"))
    assert done.returncode == 1
    assert "no stack is up" in done.stderr


def test_keys_go_into_env(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("# words\nAIRFLOW_FERNET_KEY=old\nPOSTGRES_PORT=1\n")
    replace_values(tmp_path, {"AIRFLOW_FERNET_KEY": "new", "SUPERSET_SECRET_KEY": "added"})
    assert (tmp_path / ".env").read_text() == (
        "# words\nAIRFLOW_FERNET_KEY=new\nPOSTGRES_PORT=1\nSUPERSET_SECRET_KEY=added\n"
    )
    assert (tmp_path / ".env").stat().st_mode & 0o777 == 0o600
    assert "AIRFLOW_FERNET_KEY=old" in (tmp_path / ".env.before").read_text()
