"""Watch what files bring: measure it, hold it against what its history leads one to expect, and say what is odd.

ledger and tables ─▶ audit.observations ─▶ a check result for each alarm, and one for each kind of measure without any

Each file is observed once, so that a repeated run changes nothing; what was said of the newest file of a dataset is
said again until the next one comes.
"""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import psycopg
from psycopg.rows import dict_row

from data_quality.checks.model import CheckResult, Severity, Status
from data_quality.contract import Contract
from data_quality.monitors import history as kept
from data_quality.monitors.expectation import MOST, Expected, Observation, Scale, expected
from data_quality.monitors.history import Connection, Seen, Series
from data_quality.monitors.measures import METRICS, Metric, shown
from data_quality.monitors.profile import QUANTILES, Profile, profiles

ENGINE = "monitor"
NEWEST = 20
"""Files of a dataset whose rows are looked at in one go: of those before only what the ledger says is kept."""
_SAME_DELIVERY = dt.timedelta(minutes=10)
"""Files that come this close after each other are one delivery."""

_FILES = """
SELECT id, path, contract_version, rows_read, rows_rejected, finished_at,
    lag(finished_at) OVER (ORDER BY finished_at, id) AS before,
    id IN (SELECT file_id FROM audit.observations WHERE dataset = %(table)s) AS observed
FROM (
    SELECT * FROM audit.file_ingestion_log
    WHERE dataset = %(dataset)s AND status = 'succeeded' AND replay_of IS NULL
    AND finished_at > %(now)s - %(kept)s * interval '1 day'
    ORDER BY finished_at DESC, id DESC LIMIT %(most)s
) AS newest ORDER BY finished_at, id
"""
_COLUMNS = """
SELECT attname::text AS name, format_type(atttypid, atttypmod) AS type FROM pg_attribute
WHERE attrelid = to_regclass(%s) AND attnum > 0 AND NOT attisdropped ORDER BY attnum
"""
_FAILED = """
SELECT count(*) AS files FROM audit.file_ingestion_log
WHERE dataset = %s AND status = 'failed' AND finished_at > %s AND finished_at <= %s
"""
_VERDICTS = """
SELECT metric, column_name, value, size, expected_low, expected_high, alarm, message FROM audit.observations
WHERE dataset = %s AND file_id = %s ORDER BY metric, column_name
"""
_ONCE_ODD = "SELECT DISTINCT metric, column_name FROM audit.observations WHERE dataset = %s AND alarm ORDER BY 1, 2"


@dataclass(frozen=True)
class _Delivery:
    file: dict[str, Any]
    profile: Profile | None
    columns: dict[str, str]
    rows: int


def watch(contracts: Iterable[Contract], dsn: str, *, now: dt.datetime | None = None) -> list[CheckResult]:
    """Observe what was loaded since the last look, and return what is to be said of each dataset.

    Args:
        contracts: The datasets' contracts.
        dsn: libpq URL of a role that reads the schemas staging and audit and may make tables in audit.
        now: The time to say it for; the present where it is None.

    Raises:
        psycopg.Error: the warehouse is away, or a table can't be read.
    """
    now = now or dt.datetime.now(dt.UTC)
    results: list[CheckResult] = []
    with psycopg.connect(dsn, row_factory=dict_row, autocommit=True, options="-c timezone=UTC") as connection:
        ledger = connection.execute("SELECT to_regclass('audit.file_ingestion_log') IS NOT NULL AS there").fetchall()
        if not ledger[0]["there"]:
            return []
        kept.ensure_table(connection)
        kept.forget(connection, now)
        for contract in contracts:
            started = time.monotonic()
            found = list(_watch_dataset(connection, contract, now))
            seconds = round((time.monotonic() - started) / max(len(found), 1), 4)
            results += [replace(result, checked_at=now, duration_seconds=seconds) for result in found]
    return results


def _watch_dataset(connection: Connection, contract: Contract, now: dt.datetime) -> Iterator[CheckResult]:
    dataset = f"staging.{contract.table}"
    given = {"dataset": contract.name, "table": dataset, "now": now, "kept": kept.DAYS, "most": MOST}
    files = connection.execute(_FILES, given).fetchall()
    columns = _columns(connection, contract)
    if not files or not columns:
        return
    past = kept.read_history(connection, dataset)
    new = [file for file in files if not file["observed"]]
    looked_at = profiles(connection, contract, columns, [file["id"] for file in new[-NEWEST:]]) if new else {}
    rows = _rows(connection, contract) if new else 0
    for file in new:
        delivery = _Delivery(file, looked_at.get(file["id"]), columns, rows)
        seen = list(_judged(connection, contract, delivery, past, is_last=file is new[-1]))
        kept.write(connection, dataset, file["id"], seen)
        for item in seen:
            observation = Observation(item.at, item.learned, item.size)
            past.setdefault((item.metric, item.column), []).append(observation)
    yield from _verdicts(connection, contract, files[-1])
    yield _freshness(connection, contract, files[-1], past.get(("hours_between_deliveries", ""), []), now)


def _judged(
    connection: Connection,
    contract: Contract,
    delivery: _Delivery,
    past: dict[Series, list[Observation]],
    *,
    is_last: bool,
) -> Iterator[Seen]:
    """Yield the measures of a delivery with what is thought of them."""
    file = delivery.file
    changed = _changed_columns(connection, contract, delivery.columns) if is_last else []
    upstream = _upstream(connection, contract, file, changed)
    for item in _measures(delivery):
        metric = METRICS[item.metric]
        if delivery.profile is None or not metric.judged:  # an old file: only kept
            yield item
            continue
        whole = any(column.column == item.column and column.logical_type == "integer" for column in contract.columns)
        yield _with_verdict(item, metric, past.get((item.metric, item.column), []), whole, upstream)
    if is_last:
        yield _schema(delivery, changed, upstream)
        item = Seen("table_rows", "", file["finished_at"], delivery.rows, delivery.rows)
        yield _with_verdict(item, METRICS["table_rows"], past.get(("table_rows", ""), []), False, upstream)


def _measures(delivery: _Delivery) -> Iterator[Seen]:
    file = delivery.file
    at, rows = file["finished_at"], file["rows_read"]
    about = {"path": file["path"], "contract_version": file["contract_version"]}
    yield Seen("volume", "", at, rows, rows, detail=about)
    yield Seen("rejected_share", "", at, file["rows_rejected"] / max(rows, 1), rows)
    if file["before"] and at - file["before"] > _SAME_DELIVERY:
        # Under the time it counts from: a weekend follows a Friday.
        hours = (at - file["before"]).total_seconds() / 3600
        yield Seen("hours_between_deliveries", "", file["before"], hours, 1)
    if delivery.profile:
        for column, profile in delivery.profile.columns.items():
            size = delivery.profile.rows
            yield Seen("null_share", column, at, profile.nulls, size)
            yield Seen("distinct", column, at, profile.distinct, size)
            if profile.mean is not None:
                yield Seen("mean", column, at, profile.mean, size)
            for share, value in zip(QUANTILES, profile.quantiles, strict=False):
                yield Seen(f"quantile_{round(share * 100):02d}", column, at, value, size)


def _with_verdict(item: Seen, metric: Metric, past: list[Observation], whole: bool, upstream: str) -> Seen:
    """Return a measure with what was expected of it, and, if it is an alarm, what to say."""
    scale, value, history = metric.scale, item.value, past
    of_rows = item.metric == "distinct" and _mostly_distinct(past)
    if of_rows:  # names and numbers of things: there are as many as rows, so their share is what is looked at
        scale, value = Scale.SHARE, item.value / max(item.size, 1)
        history = [Observation(seen.at, seen.value / max(seen.size, 1), seen.size) for seen in past]
    step = 1.0 if whole and item.metric.startswith("quantile") else 0.0
    range_ = expected(history, item.at, scale, size=item.size, step=step)
    if range_ is None:
        return item
    alarm = (value < range_.low and metric.odd != "high") or (value > range_.high and metric.odd != "low")
    message = f"{metric.told(item.column, value, scale)}; {_expected(range_, scale)}, {range_.why}. {upstream}"
    factor = max(item.size, 1) if of_rows else 1
    return replace(
        item, low=range_.low * factor, high=range_.high * factor, alarm=alarm, message=message if alarm else None
    )


def _mostly_distinct(past: list[Observation]) -> bool:
    shares = sorted(seen.value / max(seen.size, 1) for seen in past)
    return bool(shares) and shares[len(shares) // 2] >= 0.1


def _changed_columns(connection: Connection, contract: Contract, columns: dict[str, str]) -> list[str]:
    """Return what is different of the table's columns and types since the delivery before, in words."""
    row = connection.execute(
        "SELECT detail FROM audit.observations WHERE dataset = %s AND metric = 'schema' "
        "ORDER BY observed_at DESC, file_id DESC LIMIT 1",
        [f"staging.{contract.table}"],
    ).fetchone()
    before: dict[str, str] = row["detail"] if row else columns
    return [
        *(f"{name} {kind} is new" for name, kind in columns.items() if name not in before),
        *(f"{name} {kind} is gone" for name, kind in before.items() if name not in columns),
        *(f"{name} is {columns[name]}, was {kind}" for name, kind in before.items() if columns.get(name, kind) != kind),
    ]


def _schema(delivery: _Delivery, changed: list[str], upstream: str) -> Seen:
    """Return the table's columns and types, an alarm where they are not what they were at the delivery before."""
    at, columns = delivery.file["finished_at"], delivery.columns
    message = f"{len(changed)} columns changed; expected those of the delivery before. {upstream}" if changed else None
    return Seen("schema", "", at, len(changed), len(columns), 0, 0, bool(changed), message, columns)


def _upstream(connection: Connection, contract: Contract, file: dict[str, Any], changed: list[str]) -> str:
    """Return what came with a delivery: its file, another contract version, failed files before it, other columns."""
    told = [f"It came with {file['path']}"]
    normal = connection.execute(
        "SELECT seen.detail ->> 'contract_version' AS version FROM audit.observations AS seen "
        "WHERE dataset = %s AND metric = 'volume' AND NOT EXISTS (SELECT FROM audit.observations AS odd "
        "WHERE odd.dataset = seen.dataset AND odd.file_id = seen.file_id AND odd.alarm) "
        "ORDER BY observed_at DESC LIMIT 1",
        [f"staging.{contract.table}"],
    ).fetchone()
    if normal and normal["version"] != file["contract_version"]:
        told.append(f"under contract version {file['contract_version']}, the last normal one under {normal['version']}")
    if file["before"]:
        row = connection.execute(_FAILED, [contract.name, file["before"], file["finished_at"]]).fetchone()
        if row and row["files"]:
            told.append(f"after {row['files']} file(s) that failed")
    columns = f" The table's columns have changed: {', '.join(changed)}." if changed else ""
    return f"{', '.join(told)}.{columns}"


def _verdicts(connection: Connection, contract: Contract, file: dict[str, Any]) -> Iterator[CheckResult]:
    """Yield what the newest file is like: each measure that is odd or once was, and each kind that has no odd one."""
    dataset = f"staging.{contract.table}"
    rows = connection.execute(_VERDICTS, [dataset, file["id"]]).fetchall()
    measured = {(row["metric"], row["column_name"]): row for row in rows}
    # An alarm ends with a result of the same name, or it would be the newest of that name for ever.
    for odd in connection.execute(_ONCE_ODD, [dataset]).fetchall():
        name, column = odd["metric"], odd["column_name"]
        row = measured.get((name, column))
        if column or (row and row["alarm"]):  # without a column it is told of as a kind
            yield _of_measure(contract, name, column, row)
    kinds: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        if METRICS[row["metric"]].judged:
            kinds.setdefault(METRICS[row["metric"]].kind, []).append(row)
    for kind, of_kind in kinds.items():
        if not any(row["alarm"] for row in of_kind):
            yield _of_kind(contract, kind, of_kind)


def _of_measure(contract: Contract, name: str, column: str, row: dict[str, Any] | None) -> CheckResult:
    """Return the result of one measure of the newest file, None where it has no such measure."""
    metric = METRICS[name]
    check = "_".join(filter(None, (column, name)))
    about: dict[str, Any] = {"column": column or None, "dimension": metric.dimension}
    if row is None:
        return _result(
            contract, check, Status.SKIPPED, message="The newest file has no rows to measure it of.", **about
        )
    low, high, share = row["expected_low"], row["expected_high"], metric.scale is Scale.SHARE
    has_range = low is not None and name != "schema"
    return _result(
        contract,
        check,
        Status.FAILED if row["alarm"] else Status.PASSED,
        measured=round(row["value"], 6),
        expected=f"{shown(low, share)} to {shown(high, share)}" if has_range else None,
        message=row["message"],
        **about,
    )


def _of_kind(contract: Contract, kind: str, rows: list[dict[str, Any]]) -> CheckResult:
    """Return the result of a kind of measure of which none is odd."""
    judged = sum(row["expected_low"] is not None for row in rows)
    return _result(
        contract,
        kind,
        Status.PASSED,
        dimension=METRICS[rows[0]["metric"]].dimension,
        measured=round(rows[0]["value"], 6) if len(rows) == 1 else 0,
        message=f"{judged} of {len(rows)} measures had history enough to be judged; none was odd.",
    )


def _freshness(
    connection: Connection, contract: Contract, newest: dict[str, Any], past: list[Observation], now: dt.datetime
) -> CheckResult:
    """Return whether the next delivery is late for the dataset's own rhythm."""
    last = newest["finished_at"]
    hours = (now - last).total_seconds() / 3600
    range_ = expected(past, last, Scale.NUMBER, size=1)
    late = range_ is not None and hours > range_.high
    row = connection.execute(_FAILED, [contract.name, last, now]).fetchone()
    failed = f"; files that have failed since: {row['files']}" if row and row["files"] else ""
    usual = f"expected within {shown(range_.high)} hours, {range_.why}" if range_ else "too few deliveries for a rhythm"
    return _result(
        contract,
        "freshness",
        Status.FAILED if late else Status.PASSED,
        dimension="timeliness",
        measured=round(hours, 2),
        expected=f"≤ {shown(range_.high)}" if range_ else None,
        message=f"{shown(hours)} hours since the last delivery; {usual}. The last was {newest['path']}{failed}.",
    )


def _result(contract: Contract, name: str, status: Status, **more: Any) -> CheckResult:
    # A prefix of their own: a rule of a contract may well be called volume.
    return CheckResult(f"usual_{name}", f"staging.{contract.table}", status, Severity.WARN, ENGINE, **more)


def _expected(range_: Expected, scale: Scale) -> str:
    share = scale is Scale.SHARE
    return f"expected {shown(range_.low, share)} to {shown(range_.high, share)}"


def _columns(connection: Connection, contract: Contract) -> dict[str, str]:
    name = 'staging."' + contract.table.replace('"', '""') + '"'
    return {row["name"]: row["type"] for row in connection.execute(_COLUMNS, [name]).fetchall()}


def _rows(connection: Connection, contract: Contract) -> int:
    name = contract.table.replace('"', '""')
    (row,) = connection.execute(f'SELECT count(*) AS rows FROM staging."{name}"').fetchall()
    return int(row["rows"])
