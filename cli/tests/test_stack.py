"""The local stack as a user drives it: up, status, kill, port taken, Ctrl-C, down."""

from __future__ import annotations

import os
import signal
import socket
import stat
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import psutil
import psycopg
import pytest

from dataplatform_cli.stack import postgres as postgres_server
from dataplatform_cli.stack.s3 import client
from dataplatform_cli.stack.supervisor import Supervisor

pytestmark = pytest.mark.integration


def wait_until(true: Callable[[], Any], seconds: float = 60) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := true()):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return found


def left_behind(stack: Any) -> list[psutil.Process]:
    return [process for process in Supervisor(stack.settings).processes() if process.pid != os.getpid()]


def test_up_brings_what_a_service_needs_and_down_leaves_nothing(stack: Any) -> None:
    done = stack.dp("up", "metadata")
    assert done.returncode == 0, done.stderr
    status = stack.status()
    assert stack.dp("status").returncode == 0
    assert [name for name, item in status.items() if item["state"] == "running"] == ["postgres", "metadata"]
    assert status["metadata"]["url"] == stack.settings.metadata_url
    assert status["postgres"]["pid"]
    assert status["postgres"]["memory_mb"] > 0
    assert status["s3"] == {**status["s3"], "state": "stopped", "pid": None, "memory_mb": 0.0}

    again = stack.dp("up", "metadata")
    assert again.returncode == 0, again.stderr
    assert stack.status()["postgres"]["pid"] == status["postgres"]["pid"]

    assert stack.dp("down").returncode == 0
    assert not left_behind(stack)
    assert {item["state"] for item in stack.status().values()} == {"stopped"}


def test_stopping_a_service_stops_what_needs_it(stack: Any) -> None:
    assert stack.dp("up", "metadata", "s3").returncode == 0
    assert stack.dp("down", "postgres").returncode == 0
    status = stack.status()
    assert {name: status[name]["state"] for name in ("postgres", "metadata", "s3")} == {
        "postgres": "stopped",
        "metadata": "stopped",
        "s3": "running",
    }


def test_a_killed_service_comes_back_with_its_data(stack: Any) -> None:
    assert stack.dp("up", "postgres", "s3").returncode == 0
    with psycopg.connect(stack.settings.dsn("loader"), autocommit=True) as connection:
        connection.execute("CREATE TABLE staging.kept AS SELECT 42 AS answer")
    client(stack.settings).put_object(Bucket="raw", Key="a/b.txt", Body=b"kept")
    before = stack.status()
    for name in ("postgres", "s3"):
        os.kill(before[name]["pid"], signal.SIGKILL)

    def back() -> bool:
        now = stack.status()
        return all(
            now[name]["state"] == "running" and now[name]["pid"] != before[name]["pid"] for name in ("postgres", "s3")
        )

    wait_until(back)
    with psycopg.connect(stack.settings.dsn("loader")) as connection:
        assert connection.execute("SELECT answer FROM staging.kept").fetchall() == [(42,)]
    assert client(stack.settings).get_object(Bucket="raw", Key="a/b.txt")["Body"].read() == b"kept"


def test_a_killed_supervisor_is_cleaned_up_after(stack: Any) -> None:
    assert stack.dp("up", "postgres").returncode == 0
    orphan = stack.status()["postgres"]["pid"]
    supervisor = int((stack.home / "supervisor" / "supervisord.pid").read_text())
    os.kill(supervisor, signal.SIGKILL)
    wait_until(lambda: not psutil.pid_exists(supervisor) or psutil.Process(supervisor).status() == psutil.STATUS_ZOMBIE)
    done = stack.dp("up", "postgres")
    assert done.returncode == 0, done.stderr
    assert stack.status()["postgres"]["pid"] not in (None, orphan)
    stack.dp("down")
    assert not left_behind(stack)


def test_a_taken_port_names_itself_its_holder_and_the_variable(stack: Any) -> None:
    with socket.socket() as squatter:
        squatter.bind(("127.0.0.1", stack.settings.minio_port))
        squatter.listen()
        done = stack.dp("up", "s3")
        assert done.returncode == 1
        told = " ".join(done.stderr.split())
        assert f"port {stack.settings.minio_port} (s3) is taken by" in told
        assert f"(pid {os.getpid()})" in told
        assert "MINIO_PORT" in told
        assert "MINIO_PORT" in stack.dp("doctor").stdout
    assert stack.dp("up", "s3").returncode == 0


def test_a_service_that_can_not_start_says_why(stack: Any) -> None:
    done = stack.dp("up", "metadata", DATABASE_URL="", METADATA_API_KEY=" ")
    assert done.returncode == 1
    assert "metadata" in done.stderr
    assert "API_KEY" in done.stderr
    assert stack.status()["metadata"]["state"] == "stopped"


def test_interrupting_the_start_leaves_nothing_behind(stack: Any, repository: Path) -> None:
    process = subprocess.Popen(
        [str(Path(os.sys.executable).parent / "dp"), "up", "airflow"],  # type: ignore[attr-defined]
        env=stack.environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        # Where the tests run in a shell's background, interrupts are ignored, and so they would be by what they start.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    wait_until(lambda: stack.status()["postgres"]["state"] == "running")
    process.send_signal(signal.SIGINT)
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)  # an impatient user
    assert process.wait(90) == 130
    assert not left_behind(stack)


def test_a_start_that_was_cut_short_is_completed_by_the_next(stack: Any) -> None:
    assert stack.dp("up", "postgres", "s3").returncode == 0
    with postgres_server.connect(stack.settings) as admin:
        admin.execute("DROP DATABASE warehouse")
    client(stack.settings).delete_bucket(Bucket="curated")
    assert stack.dp("up", "postgres", "s3").returncode == 0
    with psycopg.connect(stack.settings.dsn("loader")) as connection:
        assert connection.execute("SELECT to_regnamespace('staging')::text").fetchone() == ("staging",)
    assert {bucket["Name"] for bucket in client(stack.settings).list_buckets()["Buckets"]} >= {"raw", "curated"}


def test_ingest_by_hand_tells_lineage_or_spools_it(stack: Any, tmp_path: Path) -> None:
    header = "sale_id,sale_date,product_id,product_category,quantity,unit_price,total_amount,region,updated_at"
    row = "S1,2026-01-02,P1,Toys,2,10.00,20.00,North,2026-01-02 10:00:00"
    path = tmp_path / "by-hand.csv"
    path.write_text(f"{header}\n{row}\n")
    assert stack.dp("up", "metadata").returncode == 0
    stack.dp("down", "metadata")
    done = stack.dp("ingest", str(path), "--contract", "sales")
    assert done.returncode == 0, done.stderr
    assert len(list((stack.home / "lineage-spool").glob("*.json"))) == 1

    assert stack.dp("up", "metadata").returncode == 0
    path.write_text(f"{header}\n{row.replace('S1', 'S2')}\n")
    assert stack.dp("ingest", str(path), "--contract", "sales").returncode == 0
    jobs = httpx.get(f"{stack.settings.metadata_url}/jobs").json()["items"]
    assert [(job["namespace"], job["name"]) for job in jobs] == [("dp", "ingest.sales")]
    runs = httpx.get(f"{stack.settings.metadata_url}/runs").json()["items"]
    assert [run["state"] for run in runs] == ["COMPLETED", "COMPLETED"]
    assert not list((stack.home / "lineage-spool").glob("*.json"))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs Postgres as another user")
def test_root_runs_postgres_where_its_user_can_enter(stack: Any) -> None:
    """A clone in root's home: neither the data folder nor the programs can be entered by Postgres' user."""
    stack.home.mkdir(mode=0o700)
    try:
        done = stack.dp("up", "postgres")
        assert done.returncode == 0, done.stderr
        server = psutil.Process(stack.status()["postgres"]["pid"])
        assert server.uids().real != 0
        assert "/var/lib/dataplatform/" in " ".join(server.cmdline())
        with psycopg.connect(stack.settings.dsn("loader")) as connection:
            assert connection.execute("SELECT current_user").fetchone() == ("loader",)
    finally:
        stack.dp("destroy", "--yes")
    assert not postgres_server.outside_home(stack.settings).parent.exists()


def test_secrets_are_readable_by_their_owner_only(stack: Any) -> None:
    assert stack.dp("up", "postgres", "s3").returncode == 0
    for path in (stack.home / "supervisor").glob("*.json"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
    shown = "".join(path.read_text(errors="replace") for path in (stack.home / "logs").glob("*.log"))
    assert "minio123" not in shown
    commands = [" ".join(process.cmdline()) for process in left_behind(stack)]
    assert commands
    assert not [command for command in commands if "minio123" in command]


def test_an_unknown_service_is_named_with_those_there_are(stack: Any) -> None:
    done = stack.dp("up", "kafka")
    assert done.returncode == 1
    assert "there is no service 'kafka'" in done.stderr
    assert "superset" in done.stderr


def test_logs_of_a_service_and_of_none(stack: Any) -> None:
    assert stack.dp("up", "postgres").returncode == 0
    assert "ready to accept connections" in stack.dp("logs", "postgres").stdout
    missing = stack.dp("logs", "kafka")
    assert missing.returncode == 1
    assert "postgres" in missing.stderr
