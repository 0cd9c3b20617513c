"""How processes end, and what they leave to the next one."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from data_lineage_hub_sdk.settings import Settings


def numbers(events: list[dict[str, Any]]) -> list[int]:
    return [int(item["job"]["name"].removeprefix("job")) for item in events]


SCRIPT = """
import os, sys, time
from data_lineage_hub_sdk import configure, flush, lineage_track
configure(url=sys.argv[1], namespace="team", spool_dir=sys.argv[2], timeout=float(sys.argv[4]),
    flush_timeout=float(sys.argv[5]))

@lineage_track("job{number}")
def load(number): ...

def many(first):
    for number in range(first, first + 5):
        load(number)

many(0)
how = sys.argv[3]
if how == "kill":
    flush(2)
    print("flushed", flush=True)
    many(5)
    flush(2)
    os.kill(os.getpid(), 9)
if how == "fork":
    if os.fork() == 0:
        many(5)
    else:
        os.wait()
if how == "spawn in fork":
    import multiprocessing
    with multiprocessing.get_context("fork").Pool(2) as pool:
        pool.map(many, [5, 10])
        pool.close()
        pool.join()
if how == "fail":
    raise SystemExit(3)
"""


def run_script(
    url: str, spool: Path, how: str, timeout: float = 0.3, flush_timeout: float = 20
) -> tuple[subprocess.CompletedProcess[str], float]:
    """Run the script; return how it ended, and after how many seconds."""
    began = time.monotonic()
    command = [sys.executable, "-c", SCRIPT, url, str(spool), how, str(timeout), str(flush_timeout)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    return done, time.monotonic() - began


def started(hub: Any) -> list[int]:
    return sorted(numbers([item for item in hub.events if item["eventType"] == "START"]))


@pytest.mark.parametrize(("how", "count"), [("end", 5), ("fail", 5), ("fork", 10), ("spawn in fork", 15)])
def test_the_end_of_a_process_delivers_what_it_has(hub: Any, fresh: None, tmp_path: Path, how: str, count: int) -> None:
    done, _ = run_script(hub.url, tmp_path, how, 15)
    assert done.returncode == (3 if how == "fail" else 0), done.stderr
    assert "Traceback" not in done.stderr
    assert started(hub) == list(range(count))
    assert len(hub.events) == 2 * count  # each run's end too, and nothing twice


def test_what_a_killed_process_left_the_next_one_delivers(hub: Any, fresh: None, tmp_path: Path) -> None:
    gone = f"http://127.0.0.1:{hub.server_port}"
    hub.status = 503
    done, _ = run_script(gone, tmp_path, "kill")
    assert done.returncode == -9
    (folder,) = (path for path in tmp_path.iterdir() if path.is_dir())
    assert len(list(folder.glob("*.lineage"))) == 2  # of before and after; no half-written file
    hub.status = 0
    (folder / ".unreachable").unlink()
    done, _ = run_script(gone, tmp_path, "end", 15)
    assert started(hub) == sorted([*range(10), *range(5)])
    assert not list(folder.glob("*.lineage"))


def test_what_waits_can_be_sent_by_hand(hub: Any, fresh: None, tmp_path: Path) -> None:
    def by_hand(*arguments: str) -> tuple[int, str]:
        environment = {
            "LINEAGE_HUB_URL": hub.url,
            "LINEAGE_HUB_NAMESPACE": "team",
            "LINEAGE_HUB_SPOOL_DIR": str(tmp_path),
        }
        command = [sys.executable, "-m", "data_lineage_hub_sdk", *arguments]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert not done.stderr
        return done.returncode, done.stdout

    hub.status = 503
    run_script(hub.url, tmp_path, "end")
    assert by_hand()[0] == 1
    code, told = by_hand("drain")
    assert (code, told.splitlines()[0].startswith("sent 0, refused 0, left 1: HTTP 503")) == (1, True)
    hub.status = 0
    code, told = by_hand("drain")
    assert (code, told.splitlines()[0]) == (0, "sent 1, refused 0, left 0")
    assert started(hub) == list(range(5))


def test_a_short_script_waits_for_a_dead_hub_but_once(fresh: None, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=1) as silent:  # takes connections, never answers
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        first, _ = run_script(url, tmp_path, "end", 0.3)
        second, took = run_script(url, tmp_path, "end", 30)
    assert (first.returncode, second.returncode) == (0, 0), second.stderr
    assert took < 5
    assert sum(len(json.loads(file.read_text())["events"]) for file in tmp_path.glob("*/*.lineage*")) == 20


def test_one_teams_spool_is_not_sent_with_anothers_key(fresh: None, tmp_path: Path) -> None:
    folders = {
        Settings(spool_dir=str(tmp_path), url=url, namespace=namespace, api_key=key).spool_folder
        for url, namespace, key in (
            ("http://a", "one", "k1"),
            ("http://a", "one", "k2"),
            ("http://a", "two", "k1"),
            ("http://b", "one", "k1"),
            ("http://a", "one/", "k1"),
        )
    }
    assert len(folders) == 4  # a new key of the same team delivers what waited
