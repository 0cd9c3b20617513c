"""Carry out Great Expectations suites on tables of the warehouse.

A suite is a YAML file: the table and its expectations, each as GX names it, with a name and a severity.

    dataset: curated.agg_revenue_daily
    expectations:
      - name: every_day_once
        type: expect_column_values_to_be_unique
        severity: critical
        kwargs: {column: sale_date}
"""

from __future__ import annotations

import logging
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from data_quality.checks.model import CheckResult, Severity, Status

ENGINE = "great_expectations"


class SuiteError(Exception):
    """A suite that can't be used: the file and what is wrong with it."""


@dataclass(frozen=True)
class Expectation:
    """One expectation of a suite: GX's type and arguments, under the name that results carry."""

    name: str
    type: str
    severity: Severity
    kwargs: dict[str, Any]


@dataclass(frozen=True)
class Suite:
    """The expectations on one table."""

    name: str
    schema: str
    table: str
    expectations: tuple[Expectation, ...]


def load_suites(folder: Path) -> list[Suite]:
    """Return the suites of a folder, by name.

    Raises:
        SuiteError: a file lacks the table, or an expectation its type, or has an unknown severity.
    """
    return [_read(path) for path in sorted(folder.glob("*.yaml"))]


def run_suite(suite: Suite, dsn: str) -> list[CheckResult]:
    """Carry out a suite on its table.

    Args:
        suite: The suite.
        dsn: libpq URL of a role that may read the table.
    """
    # GX looks for a home to write to and sends usage figures unless told otherwise before it is imported.
    os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")
    import great_expectations as gx
    from great_expectations.expectations.registry import get_expectation_impl

    logging.getLogger("great_expectations").setLevel(logging.WARNING)
    started = time.monotonic()
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False, "metric_calculations": False}
    source = context.data_sources.add_postgres(
        "warehouse", connection_string=dsn.replace("postgresql://", "postgresql+psycopg2://")
    )
    asset = source.add_table_asset(suite.table, table_name=suite.table, schema_name=suite.schema)
    batch = asset.add_batch_definition_whole_table("all")
    expectations = [
        get_expectation_impl(item.type)(**item.kwargs, meta={"name": item.name}) for item in suite.expectations
    ]
    built = context.suites.add(gx.ExpectationSuite(name=suite.name, expectations=expectations))
    validation = gx.ValidationDefinition(name=suite.name, data=batch, suite=built)
    found = context.validation_definitions.add(validation).run(result_format="SUMMARY")
    seconds = (time.monotonic() - started) / max(len(found.results), 1)
    by_name = {item.name: item for item in suite.expectations}
    return [_result(suite, by_name[one.expectation_config.meta["name"]], one, seconds) for one in found.results]


def _result(suite: Suite, expectation: Expectation, found: Any, seconds: float) -> CheckResult:
    raised = found.exception_info or {}
    details = [raised] if "raised_exception" in raised else list(raised.values())
    errors = [item["exception_message"] for item in details if item.get("raised_exception")]
    outcome = found.result or {}
    unexpected = outcome.get("unexpected_count")
    measured = outcome.get("observed_value", unexpected)
    if errors:
        status, message = Status.ERROR, "; ".join(dict.fromkeys(errors))
    else:
        status, message = (Status.PASSED if found.success else Status.FAILED), None
    return CheckResult(
        check=expectation.name,
        dataset=f"{suite.schema}.{suite.table}",
        status=status,
        severity=expectation.severity,
        engine=ENGINE,
        column=expectation.kwargs.get("column"),
        measured=measured,
        expected=f"{expectation.type}({', '.join(f'{k}={v}' for k, v in expectation.kwargs.items())})",
        message=message,
        failed_rows=unexpected,
        duration_seconds=round(seconds, 4),
    )


def _read(path: Path) -> Suite:
    declared = yaml.safe_load(path.read_text()) or {}
    schema, dot, table = str(declared.get("dataset", "")).partition(".")
    if not dot:
        raise SuiteError(f"{path}: say which table it is about: `dataset: <schema>.<table>`")
    expectations = []
    for number, item in enumerate(declared.get("expectations", ()), start=1):
        if not isinstance(item, dict) or "type" not in item:
            raise SuiteError(f"{path}: expectation {number} has no type, such as expect_column_values_to_not_be_null")
        severity = item.get("severity", "error")
        if severity not in list(Severity):
            raise SuiteError(f"{path}: expectation {number}: severity is warn, error or critical, not '{severity}'")
        kwargs = dict(item.get("kwargs", {}))
        name = item.get("name") or "_".join(filter(None, (item["type"].removeprefix("expect_"), kwargs.get("column"))))
        expectations.append(Expectation(name, item["type"], Severity(severity), kwargs))
    if len({expectation.name for expectation in expectations}) < len(expectations):
        raise SuiteError(f"{path}: two expectations have the same name")
    return Suite(path.stem, schema, table, tuple(expectations))
