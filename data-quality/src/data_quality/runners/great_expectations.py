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
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psycopg
import yaml

from data_quality.checks.model import CheckResult, Severity, Status
from data_quality.checks.schemas import sql_in_schemas

ENGINE = "great_expectations"
NO_SCHEMAS: Mapping[str, str] = {}


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


def run_suite(suite: Suite, dsn: str, *, schemas: Mapping[str, str] = NO_SCHEMAS) -> list[CheckResult]:
    """Carry out a suite on its table, and return the results in the suite's order.

    An expectation that can't be carried out (no such table or column, an unknown type) ends as `error`.

    Args:
        suite: The suite.
        dsn: libpq URL of a role that may read the table.
        schemas: Schemas to read in the place of those that the suite is written for, as {"curated": "candidate"}:
            results name the dataset as it is written.

    Raises:
        psycopg.OperationalError: the warehouse is away.
    """
    psycopg.connect(dsn).close()  # GX wraps every trouble alike: this one is not the suite's
    # GX looks for a home to write to and sends usage figures unless told otherwise before it is imported.
    os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")
    from great_expectations.exceptions import GreatExpectationsError
    from great_expectations.expectations.registry import get_expectation_impl

    started = time.monotonic()
    results: dict[str, CheckResult] = {}
    built = []
    for item in suite.expectations:
        try:
            kwargs = _in_schemas(item.kwargs, schemas)
            built.append(get_expectation_impl(item.type)(**kwargs, meta={"name": item.name}))
        except (GreatExpectationsError, ValueError, TypeError) as error:
            results[item.name] = _result(suite, item, Status.ERROR, message=str(error))
    by_name = {item.name: item for item in suite.expectations}
    try:
        found = _validate(suite, built, dsn, schemas.get(suite.schema, suite.schema)) if built else []
    except Exception as error:  # GX has no common class for what it raises on a missing table
        message = str(error).strip()
        results |= {name: _result(suite, by_name[name], Status.ERROR, message=message)
                    for name in by_name.keys() - results.keys()}  # fmt: skip
    else:
        for one in found:
            item = by_name[one.expectation_config.meta["name"]]
            results[item.name] = _judged(suite, item, one)
    seconds = round((time.monotonic() - started) / max(len(results), 1), 4)
    return [replace(results[item.name], duration_seconds=seconds) for item in suite.expectations]


def _in_schemas(kwargs: dict[str, Any], schemas: Mapping[str, str]) -> dict[str, Any]:
    """Return an expectation's arguments with the schemas replaced in its queries, such as `unexpected_rows_query`."""
    if not schemas:
        return kwargs
    return {
        name: sql_in_schemas(value, schemas) if name.endswith("_query") else value for name, value in kwargs.items()
    }


def _validate(suite: Suite, expectations: list[Any], dsn: str, schema: str) -> list[Any]:
    import great_expectations as gx

    logging.getLogger("great_expectations").setLevel(logging.WARNING)
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False, "metric_calculations": False}
    source = context.data_sources.add_postgres(
        "warehouse", connection_string=dsn.replace("postgresql://", "postgresql+psycopg2://")
    )
    asset = source.add_table_asset(suite.table, table_name=suite.table, schema_name=schema)
    batch = asset.add_batch_definition_whole_table("all")
    made = context.suites.add(gx.ExpectationSuite(name=suite.name, expectations=expectations))
    validation = gx.ValidationDefinition(name=suite.name, data=batch, suite=made)
    found = context.validation_definitions.add(validation).run(result_format="SUMMARY")
    return list(found.results)


def _judged(suite: Suite, expectation: Expectation, found: Any) -> CheckResult:
    raised = found.exception_info or {}
    details = [raised] if "raised_exception" in raised else list(raised.values())
    errors = [item["exception_message"] for item in details if item.get("raised_exception")]
    if errors:
        return _result(suite, expectation, Status.ERROR, message="; ".join(dict.fromkeys(errors)))
    outcome = found.result or {}
    unexpected = outcome.get("unexpected_count")
    status = Status.PASSED if found.success else Status.FAILED
    measured = outcome.get("observed_value", unexpected)
    return _result(suite, expectation, status, measured=measured, failed_rows=unexpected)


def _result(suite: Suite, expectation: Expectation, status: Status, **more: Any) -> CheckResult:
    return CheckResult(
        check=expectation.name,
        dataset=f"{suite.schema}.{suite.table}",
        status=status,
        severity=expectation.severity,
        engine=ENGINE,
        column=expectation.kwargs.get("column"),
        expected=f"{expectation.type}({', '.join(f'{k}={v}' for k, v in expectation.kwargs.items())})",
        **more,
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
