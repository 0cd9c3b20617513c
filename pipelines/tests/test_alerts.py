"""Alerts read back from a real HTTP server, a real SMTP server and Postgres, across processes."""

from __future__ import annotations

import datetime as dt
import http.server
import json
import logging
import socketserver
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from email import message_from_string
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest

from data_quality.contract import Contract, load_contract
from pipelines import alerts
from pipelines.alerts import dispatch
from pipelines.config.settings import get_settings
from pipelines.ingestion import ledger
from pipelines.ingestion.model import FileOutcome

pytestmark = pytest.mark.integration

LOG = "https://airflow.example/log?a=1&b=2"


class Webhook(http.server.ThreadingHTTPServer):
    """A webhook that keeps what it is sent and answers as told."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), WebhookHandler)
        self.messages: list[dict[str, Any]] = []
        self.answer = 200

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/services/T0/B0/s3cr3t"


class WebhookHandler(http.server.BaseHTTPRequestHandler):
    server: Webhook

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        assert self.headers["Content-Type"] == "application/json"
        if self.server.answer == 200:
            self.server.messages.append(json.loads(body))
        self.send_response(self.server.answer)
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, format: str, *args: Any) -> None:
        pass


class Smtp(socketserver.ThreadingTCPServer):
    """An SMTP server that keeps envelopes and messages."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), SmtpHandler)
        self.mails: list[tuple[list[str], str]] = []

    @property
    def port(self) -> int:
        return int(self.server_address[1])


class SmtpHandler(socketserver.StreamRequestHandler):
    server: Smtp

    def handle(self) -> None:
        self.wfile.write(b"220 test\r\n")
        recipients: list[str] = []
        for line in self.rfile:
            word = line.split(b":")[0].split()[0].upper() if line.strip() else b""
            if word == b"RCPT":
                recipients.append(line.decode().partition("<")[2].partition(">")[0])
            if word == b"DATA":
                self.wfile.write(b"354 go on\r\n")
                text = ""
                while (data := self.rfile.readline().decode()) != ".\r\n":
                    text += data.replace("\r\n", "\n")
                self.server.mails.append((recipients, text))
                recipients = []
            self.wfile.write(b"221 bye\r\n" if word == b"QUIT" else b"250 ok\r\n")
            if word == b"QUIT":
                return


def serve(server: Any) -> Iterator[Any]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def webhook() -> Iterator[Webhook]:
    yield from serve(Webhook())


@pytest.fixture
def smtp() -> Iterator[Smtp]:
    yield from serve(Smtp())


@pytest.fixture
def environment(webhook: Webhook, smtp: Smtp, tmp_path: Path) -> dict[str, str]:
    return {
        "ALERT_WEBHOOK_URL": webhook.url,
        "ALERT_EMAIL_TO": "ops@example.com, lead@example.com",
        "ALERT_EMAIL_FROM": "platform@example.com",
        "SMTP_HOST": "127.0.0.1",
        "SMTP_PORT": str(smtp.port),
        "SMTP_SECURITY": "none",
        "PLATFORM_STATE_DIR": str(tmp_path),
        "AIRFLOW_URL": "https://airflow.example",
    }


@pytest.fixture
def configure(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """A function that sets the environment of alerts, some of it overridden."""

    def apply(**overrides: str) -> None:
        for name, value in {**environment, **overrides}.items():
            monkeypatch.setenv(name, value)
        get_settings.cache_clear()

    apply()
    yield apply
    monkeypatch.undo()
    get_settings.cache_clear()


@pytest.fixture
def contract(repository: Path) -> Contract:
    return load_contract(repository / "data-quality/contracts/sales/sales.odcs.yaml")


def failed(number: int = 1, error: str = "lacks the required column sale_id", **counts: Any) -> FileOutcome:
    path = f"s3://raw/sales/incoming/f{number}.csv"
    return FileOutcome(path, "sales", "failed", "validation", error, **counts)


def test_a_failed_file_is_told_with_owner_counts_and_link(
    configure: Any, webhook: Webhook, smtp: Smtp, contract: Contract, empty_database: str, caplog: Any
) -> None:
    outcome = failed(error="7 bad rows of <10> & more", rows_read=10, rows_rejected=7)
    good = FileOutcome("s3://raw/sales/incoming/g.csv", "sales", "succeeded", rows_read=1000, rows_rejected=10)
    sent = alerts.report_outcomes(contract, [good, outcome], run_id="r+1", link=LOG, dsn=empty_database)
    assert sent == 1
    assert webhook.messages == [
        {
            "text": "sales: 1 file failed at validation: 7 bad rows of <10> & more",
            "blocks": [
                {
                    "type": "section",
                    "text": {
                        "type": "mrkdwn",
                        "text": "*sales: 1 file failed at validation*\n"
                        "*Reason:* 7 bad rows of &lt;10&gt; &amp; more\n"
                        f"*Owner:* {contract.owner}\n"
                        "*Counts:* 10 rows read, 7 rows rejected\n"
                        "*Files:* f1.csv\n"
                        "*Run:* r+1",
                    },
                },
                {
                    "type": "context",
                    "elements": [{"type": "mrkdwn", "text": f"<{LOG.replace('&', '&amp;')}|Log and details>"}],
                },
            ],
        }
    ]
    [(recipients, text)] = smtp.mails
    mail = message_from_string(text)
    owner = [contract.owner_email] if contract.owner_email else []
    assert recipients == ["ops@example.com", "lead@example.com", *owner]
    assert (mail["Subject"], mail["From"]) == (
        "[data platform] sales: 1 file failed at validation",
        "platform@example.com",
    )
    assert mail.get_payload() == (
        "sales: 1 file failed at validation\n\nReason: 7 bad rows of <10> & more\n"
        f"Owner: {contract.owner}\nCounts: 10 rows read, 7 rows rejected\nFiles: f1.csv\nRun: r+1\nDetails: {LOG}\n"
    )
    [told] = [record.getMessage() for record in caplog.records if record.name == "pipelines.alerts"]
    assert told.startswith("sales: 1 file failed at validation; reason: 7 bad rows")
    with psycopg.connect(empty_database) as connection:
        row = connection.execute("SELECT subject, stage, owner, files, untold FROM audit.alerts").fetchone()
    assert row == ("sales", "validation", contract.owner, 1, 0)


def test_rejected_rows_above_the_threshold_are_told(
    configure: Any, webhook: Webhook, contract: Contract, empty_database: str
) -> None:
    configure(ALERT_REJECTED_PERCENT="2", SMTP_HOST="")
    counts = {"rows_read": 100, "rejects_by_rule": {"sale_date: type": 1, "region: accepted": 4}}
    outcomes = [
        FileOutcome(f"s3://raw/sales/incoming/{n}.csv", "sales", "succeeded", rows_rejected=n, **counts)
        for n in (1, 2, 3, 5)
    ]
    assert alerts.report_outcomes(contract, outcomes, run_id="r", dag_id="ingest__sales", dsn=empty_database) == 1
    [message] = webhook.messages
    assert message["text"] == ("sales: 2 files with rejected rows: more than 2 % of the rows, most by region: accepted")
    assert "*Counts:* 200 rows read, 8 rows rejected\n*Files:* 3.csv, 5.csv" in message["blocks"][0]["text"]["text"]
    link = message["blocks"][1]["elements"][0]["text"]
    assert link == "<https://airflow.example/dags/ingest__sales/runs/r|Log and details>"


def test_a_flood_is_one_message_with_a_count(
    configure: Any, webhook: Webhook, smtp: Smtp, contract: Contract, empty_database: str
) -> None:
    flood = [failed(n, f"is not utf-8: byte 0xe9 at {n}, near 'x{n}'") for n in range(1000)]
    assert alerts.report_outcomes(contract, flood, dsn=empty_database) == 1
    assert [message["text"].partition(": byte")[0] for message in webhook.messages] == [
        "sales: 1000 files failed at validation: is not utf-8"
    ]
    assert "*Files:* f0.csv, f1.csv, f2.csv …" in webhook.messages[0]["blocks"][0]["text"]["text"]
    assert len(smtp.mails) == 1
    # In batches, as tasks report them: the first is told, the rest is counted and told when the window has passed.
    for start in range(0, 1000, 200):
        batch = [failed(n, f"lacks column 'c{n}'") for n in range(start, start + 200)]
        alerts.report_outcomes(contract, batch, dsn=empty_database)
    assert len(webhook.messages) == 2
    assert alerts.report_untold(empty_database) == 0
    configure(ALERT_WINDOW_MINUTES="0")
    assert alerts.report_untold(empty_database) == 1
    assert alerts.report_untold(empty_database) == 0
    assert webhook.messages[-1]["text"].startswith("sales: 800 files failed at validation: lacks column")


def test_what_has_gone_well_since_is_closed_and_told_once(
    configure: Any, webhook: Webhook, contract: Contract, empty_database: str
) -> None:
    configure(SMTP_HOST="")
    alerts.report_outcomes(contract, [failed()], dsn=empty_database)
    task = alerts.Alert("build__x.load", "task", "it broke", "me")
    alerts.report([task], empty_database)
    held = alerts.Alert("curated", "publication", "not published: a check failed", "me")
    alerts.report([held, held], empty_database)
    assert len(webhook.messages) == 3

    def succeeded(dag_id: str, task_id: str, since: dt.datetime) -> bool:
        return (dag_id, task_id) == ("build__x", "load") and since < dt.datetime.now(dt.UTC)

    with psycopg.connect(empty_database, autocommit=True) as connection:
        ledger.ensure_ledger(connection)
        # The next file, which is good, was taken in before the alert; the one after it, afterwards.
        for name, when in (("before", "now() - interval '1 hour'"), ("after", "now() + interval '1 second'")):
            assert alerts.resolve_healed(empty_database, lambda *_: False) == 0
            connection.execute(
                "INSERT INTO audit.file_ingestion_log"
                " (dataset, path, content_hash, contract_version, status, finished_at)"
                f" VALUES ('sales', '{name}', '{name}', '1', 'succeeded', {when})".encode()
            )
        assert alerts.resolve_healed(empty_database, succeeded) == 2
        assert alerts.resolve("curated", "publication", empty_database) == 1
        assert alerts.resolve_healed(empty_database, succeeded) == 0
        assert alerts.resolve("curated", "publication", empty_database) == 0
        closed = connection.execute("SELECT count(*) FROM audit.alerts WHERE resolved_at IS NOT NULL").fetchone()
        assert closed == (3,)
    told = sorted(message["text"] for message in webhook.messages[3:])
    assert told == [
        "resolved: build__x.load failed: it broke",
        "resolved: curated is held back: not published: a check failed",
        "resolved: sales: 1 file failed at validation: lacks the required column sale_id",
    ]
    # The same again is a new matter, told at once.
    assert alerts.report([held], empty_database) == 1


def test_many_reasons_make_few_messages(
    configure: Any, webhook: Webhook, contract: Contract, empty_database: str
) -> None:
    outcomes = [failed(n, f"reason {'abcdefghijkl'[n]}") for n in range(12)]
    assert alerts.report_outcomes(contract, outcomes, dsn=empty_database) == 6
    assert webhook.messages[-1]["text"] == ("sales: 7 files failed at validation: other reasons: the ledger names them")


def test_the_same_is_told_once_by_many_processes(
    configure: Any, environment: dict[str, str], webhook: Webhook, contract: Contract, empty_database: str
) -> None:
    code = (
        "import sys; from data_quality.contract import load_contract; from pipelines import alerts;"
        "from pipelines.ingestion.model import FileOutcome;"
        "o = FileOutcome('s3://raw/sales/incoming/x.csv', 'sales', 'failed', 'loading', 'constraint no_more');"
        "print(alerts.report_outcomes(load_contract(sys.argv[1]), [o], dsn=sys.argv[2]))"
    )
    command = [sys.executable, "-c", code, contract.path, empty_database]
    running = [
        subprocess.Popen(command, env={"PATH": "/usr/bin:/bin", **environment}, stdout=subprocess.PIPE)
        for _ in range(4)
    ]
    answers = [process.communicate(timeout=60)[0].decode().strip() for process in running]
    assert sorted(answers) == ["0", "0", "0", "1"]
    assert len(webhook.messages) == 1
    other = failed(error="constraint no_more")  # another stage is another matter
    assert alerts.report_outcomes(contract, [other], dsn=empty_database) == 1
    # After the window the same is told again, with what was kept back.
    configure(ALERT_WINDOW_MINUTES="0")
    again = FileOutcome("s3://raw/sales/incoming/y.csv", "sales", "failed", "loading", "constraint no_more")
    assert alerts.report_outcomes(contract, [again], dsn=empty_database) == 1
    assert webhook.messages[-1]["text"].startswith("sales: 4 files failed at loading")


def test_services_that_are_away_fail_nothing_and_are_tried_again(
    configure: Any, webhook: Webhook, smtp: Smtp, contract: Contract, empty_database: str, caplog: Any, free_port: Any
) -> None:
    caplog.set_level(logging.DEBUG)
    webhook.answer = 503
    configure(SMTP_PORT=str(free_port()), SMTP_USER="u", SMTP_PASSWORD="t0ps3cr3t")
    assert alerts.report_outcomes(contract, [failed()], dsn=empty_database) == 0
    assert "webhook took no alert: HTTPError 503" in caplog.text
    assert "email took no alert: ConnectionRefusedError" in caplog.text
    configure(ALERT_WEBHOOK_URL=f"http://127.0.0.1:{free_port()}/s3cr3t", SMTP_HOST="")
    assert alerts.report_outcomes(contract, [failed()], dsn=empty_database) == 0
    assert "webhook took no alert: URLError (ConnectionRefusedError)" in caplog.text
    # One that takes no log-in is no reason to keep the other from being told.
    configure(SMTP_USER="u", SMTP_PASSWORD="t0ps3cr3t")
    webhook.answer = 200
    assert alerts.report_outcomes(contract, [failed()], dsn=empty_database) == 1
    assert webhook.messages[0]["text"].startswith("sales: 3 files failed at validation")
    assert "email took no alert: SMTPNotSupportedError" in caplog.text
    assert "s3cr3t" not in caplog.text


def test_without_a_warehouse_this_machine_remembers(
    configure: Any, webhook: Webhook, contract: Contract, free_port: Any
) -> None:
    configure(SMTP_HOST="")
    nowhere = f"postgresql://u:p@127.0.0.1:{free_port()}/d"
    webhook.answer = 500
    assert alerts.report_outcomes(contract, [failed()], dsn=nowhere) == 0
    webhook.answer = 200
    assert [alerts.report_outcomes(contract, [failed()], dsn=nowhere) for _ in range(3)] == [1, 0, 0]
    assert alerts.report_untold(nowhere) == 0
    assert len(webhook.messages) == 1


def test_a_task_s_failure_is_told_once(
    configure: Any, webhook: Webhook, smtp: Smtp, caplog: Any, empty_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatch, "_warehouse", lambda: empty_database)
    instance = SimpleNamespace(dag_id="build__curated", task_id="build", run_id="r1", log_url=LOG)
    context = {
        "task_instance": instance,
        "task": SimpleNamespace(owner="analytics"),
        "exception": RuntimeError("dbt\nfailed after 12 s"),
    }
    alerts.on_task_failure(context)
    alerts.on_task_failure({**context, "exception": RuntimeError("dbt failed after 13 s")})
    assert [message["text"] for message in webhook.messages] == ["build__curated.build failed: dbt failed after 12 s"]
    assert [recipients for recipients, _ in smtp.mails] == [["ops@example.com", "lead@example.com"]]
    alerts.on_task_failure({})
    assert "an alert of a failed task could not be made" in caplog.text
