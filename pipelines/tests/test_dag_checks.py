# ruff: noqa: E501 - each line of FILES is a file
"""`dp dag check`: what it finds in DAG files, with line and cure, in a process that knows no service."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pipelines.dag_checks import Known, check

DP = Path(sys.executable).parent / "dp"
KNOWN = Known(frozenset({"warehouse_loader", "minio"}), frozenset({"default_pool", "dbt"}))
HEAD = "from airflow.sdk import dag, task\nimport datetime as dt\n"
GOOD = '@dag(schedule="@daily", tags=["t"], default_args={"owner": "me"})\n'
BODY = "    @task\n    def one(): ...\n    one()\n"


def dag(name: str, decorator: str = GOOD, body: str = BODY, head: str = HEAD) -> str:
    return f"{head}{decorator}def {name}():\n{body}{name}()\n"


FILES = {
    "good": dag("good"),
    "syntax": "from airflow.sdk import dag\ndef broken(:\n",
    "name_error": dag("name_error") + "nothing_of_that_name\n",
    "library": "import no_such_library\n" + dag("library"),
    "moved": dag("moved", head="from airflow.decorators import dag, task\nfrom airflow.operators.bash import BashOperator\n"),
    "gone": "from airflow.utils.dates import days_ago\n" + dag("gone"),
    "bare": dag("bare", "@dag()\n"),
    "never_called": HEAD + GOOD + "def never_called():\n" + BODY,
    "heavy": "import pandas as pd\n" + dag("heavy", body="    import duckdb\n" + BODY),
    "lazy": dag("lazy", body="    @task\n    def one():\n        import pandas\n    one()\n"),
    "variable": dag("variable", head=HEAD + "from airflow.sdk import Variable\nregion = Variable.get('region')\n"),
    "connection": dag("connection", body="    from airflow.sdk import BaseHook\n    BaseHook.get_connection('minio')\n" + BODY),
    "network": dag("network", head=HEAD + "import urllib.request\nurllib.request.urlopen('http://127.0.0.1:9/')\n"),
    "caught": dag("caught", head=HEAD + "import socket\ntry:\n    socket.create_connection(('localhost', 9))\nexcept OSError:\n    pass\n"),
    "unknown_connection": HEAD + "from pipelines.operators import MinIOUploadOperator as Up\n" + GOOD + (
        "def unknown_connection():\n    Up(task_id='up', bucket='b', key='k', data='d', aws_conn_id='mino')\nunknown_connection()\n"
    ),
    "unknown_pool": dag("unknown_pool", body="    @task(pool='dbtt')\n    def one(): ...\n    one()\n"),
    "in_a_task": dag("in_a_task", body=(
        "    @task\n    def one():\n        from airflow.providers.postgres.hooks.postgres import PostgresHook\n"
        "        return PostgresHook('warehouse_lodaer').get_first('select 1')\n    one()\n"
    )),
    "cycle": HEAD + GOOD + "def cycle():\n    @task\n    def a(): ...\n    @task\n    def b(): ...\n    x, y = a(), b()\n    x >> y >> x\ncycle()\n",
    "moving": dag("moving", '@dag(schedule="@daily", start_date=dt.datetime.now(dt.UTC), tags=["t"], default_args={"owner": "me"})\n'),
    "catchup": dag("catchup", '@dag(schedule="@daily", start_date=dt.datetime(2020, 1, 1), catchup=True, tags=["t"], default_args={"owner": "me"})\n'),
    "future": dag("future", '@dag(schedule="@daily", start_date=dt.datetime(2190, 1, 1), tags=["t"], default_args={"owner": "me"})\n'),
    "twin_one": dag("twin", GOOD.replace("@dag(", '@dag(dag_id="twin", ')),
    "twin_two": dag("twin_two", GOOD.replace("@dag(", '@dag(dag_id="twin", ')),
    "exits": dag("exits") + "import sys\nsys.exit(3)\n",
    "slow": dag("slow") + "import time\ntime.sleep(2.1)\n",
    "two_lines": dag("two_lines") + "raise ValueError('one\\nand two')\n",
    "prints": dag("prints") + "print('a DAG file that talks')\n",
    "dbt_named": dag("dbt_named"),
}  # fmt: skip

FOUND = {
    "good": [],
    "syntax": [(2, "error", "import-error")],
    "name_error": [(9, "error", "import-error")],
    "library": [(1, "error", "import-error")],
    "moved": [(1, "warning", "moved-import"), (2, "warning", "moved-import")],
    "gone": [(1, "error", "import-error"), (1, "warning", "moved-import")],
    "bare": [(4, "warning", "no-owner"), (4, "warning", "no-schedule"), (4, "warning", "no-tags")],
    "never_called": [(4, "error", "never-called")],
    "heavy": [(1, "warning", "heavy-import"), (6, "warning", "heavy-import")],
    "lazy": [],
    "variable": [(4, "error", "top-level-io")],
    "connection": [(6, "error", "top-level-io")],
    "network": [(4, "error", "top-level-io")],
    "caught": [(5, "error", "top-level-io")],
    "unknown_connection": [(6, "error", "unknown-connection")],
    "unknown_pool": [(4, "error", "unknown-pool")],
    "in_a_task": [(8, "error", "unknown-connection")],
    "cycle": [(0, "error", "import-error")],
    "moving": [(3, "error", "moving-start-date")],
    "catchup": [(4, "warning", "catchup")],
    "future": [(4, "warning", "future-start")],
    "twin_one": [(3, "error", "duplicate-id")],
    "twin_two": [(3, "error", "duplicate-id")],
    "exits": [(10, "error", "import-error")],
    "slow": [(0, "warning", "slow-import")],
    "two_lines": [(9, "error", "import-error")],
    "prints": [],
    "dbt_named": [(0, "error", "file-name")],
}
CURES = {
    "two_lines": "the file can't be imported: ValueError: one (mend what the error names",
    "syntax": "mend the line",
    "library": "add no_such_library to requirements/platform.in",
    "moved": "import from airflow.sdk (dag, task, task_group)",
    "bare": 'default_args={"owner": "<team>"}',
    "never_called": "add the line never_called() at the end of the file",
    "variable": "{{ var.value.name }}",
    "connection": "inside a task",
    "unknown_connection": "did you mean 'minio'?; a new one goes into pipelines/config/connections.yaml",
    "unknown_pool": "did you mean 'dbt'?",
    "in_a_task": "did you mean 'warehouse_loader'?",
    "cycle": "let no task be upstream of itself",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("dags")
    for name, text in FILES.items():
        (path / f"{name}.py").write_text(text)
    return path


@pytest.fixture(scope="module")
def report(folder: Path) -> Any:
    """All files in one process."""
    return check([folder], folder, KNOWN)


@pytest.mark.parametrize("name", FILES)
def test_what_is_found(name: str, report: Any) -> None:
    found = [item for item in report.findings if Path(item.path).stem == name]
    shown = "\n".join(map(str, found))
    assert sorted((item.line, item.level, item.rule) for item in found) == sorted(FOUND[name]), shown
    assert CURES.get(name, "") in shown
    assert all(item.what and item.cure for item in found)


def test_one_file_is_held_against_the_folders_others(folder: Path) -> None:
    (found,) = check([folder / "twin_one.py"], folder, KNOWN).findings
    assert found.what.startswith("there is another DAG twin in twin_two.py")


def test_the_command(folder: Path, tmp_path: Path) -> None:
    def dp(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([str(DP), "dag", "check", *arguments], capture_output=True, text=True, check=False)

    good = dp(str(folder / "good.py"))
    assert (good.returncode, good.stdout) == (0, "1 files, 1 DAGs: nothing to mend\n"), good.stderr
    bad = dp(str(folder / "name_error.py"), str(folder / "bare.py"), "--json")
    assert bad.returncode == 1
    told = json.loads(bad.stdout)
    assert told["ok"] is False
    assert {item["rule"] for item in told["findings"]} == {"import-error", "no-owner", "no-schedule", "no-tags"}
    absent = dp(str(tmp_path / "absent.py"))
    assert absent.returncode == 1
    assert "there is no file or folder" in absent.stderr


def test_the_repositorys_own_dags_are_good(repository: Path) -> None:
    done = subprocess.run([str(DP), "dag", "check"], capture_output=True, text=True, check=False, cwd=repository)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "nothing to mend" in done.stdout
