"""Quality checks as tasks: SQL checks and Great Expectations suites, recorded, and stopping what must not go on."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowFailException

from pipelines.config.settings import get_settings
from pipelines.utils.connections import WAREHOUSE_TRANSFORMER, warehouse_dsn, warehouse_namespace
from pipelines.utils.failures import explained

if TYPE_CHECKING:
    from logging import Logger

    from airflow.providers.openlineage.extractors import OperatorLineage
    from airflow.sdk import Context

    from data_quality.checks import Check, CheckResult, Threshold
    from data_quality.contract import Contract

THRESHOLDS = {
    "must_be": "mustBe",
    "must_not_be": "mustNotBe",
    "must_be_greater_than": "mustBeGreaterThan",
    "must_be_at_least": "mustBeGreaterOrEqualTo",
    "must_be_less_than": "mustBeLessThan",
    "must_be_at_most": "mustBeLessOrEqualTo",
    "must_be_between": "mustBeBetween",
    "must_not_be_between": "mustNotBeBetween",
}
CHECK_KEYS = ("name", "dataset", "query", *THRESHOLDS, "severity", "column", "dimension", "description", "failing")


FAILED_CHECKS = "failed_checks"
"""XCom under which a task leaves the checks that hold a publication back, as pairs of name and account."""


def record_results(
    found: Sequence[CheckResult], instance: Any, dsn: str, warehouse: tuple[str, str], log: Logger
) -> None:
    """Write the results of a task to audit.check_results, and tell the metadata service.

    Args:
        found: The results.
        instance: The task's instance.
        dsn: The warehouse.
        warehouse: Its lineage namespace and its database.
        log: Where it is said that the metadata service did not take them.
    """
    from airflow.providers.openlineage import conf
    from airflow.providers.openlineage.plugins.macros import lineage_job_name, lineage_run_id

    from data_quality import results

    run_id, settings = lineage_run_id(instance), get_settings()
    results.record(found, run_id, dsn)
    try:
        results.report(
            found,
            run_id=run_id,
            job=(conf.namespace(), lineage_job_name(instance)),
            namespace=warehouse[0],
            database=warehouse[1],
            url=settings.metadata_url,
            api_key=settings.metadata_api_key.get_secret_value(),
        )
    except Exception as error:  # the verdict does not depend on who hears of it; audit.check_results has it
        log.warning("the metadata service did not take the results: %s", error)


class _CheckingOperator(BaseOperator):
    """What both engines share: results go to audit.check_results and the metadata service, then they are judged."""

    ui_color = "#ead1dc"

    def __init__(
        self,
        *,
        postgres_conn_id: str = WAREHOUSE_TRANSFORMER,
        schemas: Mapping[str, str] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.postgres_conn_id, self.schemas = postgres_conn_id, dict(schemas or {})
        self.results: list[CheckResult] = []
        self.namespace, self.database = "", ""

    def run_checks(self, dsn: str) -> list[CheckResult]:
        """Carry the checks out."""
        raise NotImplementedError

    def execute(self, context: Context) -> dict[str, int]:
        """Carry out, record, report and judge the checks; return how many ended how."""
        from collections import Counter

        with explained("checking", self.postgres_conn_id):
            dsn = warehouse_dsn(self.postgres_conn_id)
            # For lineage, which is told beside the task and should not have to ask Airflow for the address.
            self.namespace, self.database = warehouse_namespace(self.postgres_conn_id), dsn.rsplit("/", 1)[-1]
            self.results = self.run_checks(dsn)
            for result in self.results:
                (self.log.info if result.status in ("passed", "skipped") else self.log.warning)("%s", result)
            record_results(self.results, context["ti"], dsn, (self.namespace, self.database), self.log)
        blocking = [result for result in self.results if result.holds_back]
        context["ti"].xcom_push(FAILED_CHECKS, [(result.check, str(result)) for result in blocking])
        self._judge()
        return dict(Counter(result.status.value for result in self.results))

    def _judge(self) -> None:
        bad = [result for result in self.results if result.status in ("failed", "error")]
        critical = [str(result) for result in bad if result.stops]
        if critical:
            # No retry: the data will not be better in a minute.
            raise AirflowFailException("critical checks failed, so the run stops here:\n" + "\n".join(critical))
        errors = [str(result) for result in bad if result.severity == "error"]
        if errors:
            raise AirflowFailException("checks failed:\n" + "\n".join(errors))

    def get_openlineage_facets_on_complete(self, _: Any) -> OperatorLineage:
        """Name the tables that were checked, with the outcome of every check."""
        return self._lineage()

    def get_openlineage_facets_on_failure(self, _: Any) -> OperatorLineage:
        """Name the same where a check failed."""
        return self._lineage()

    def _lineage(self) -> OperatorLineage:
        from airflow.providers.openlineage.extractors import OperatorLineage
        from openlineage.client.event_v2 import InputDataset
        from openlineage.client.facet_v2 import data_quality_assertions_dataset as assertions

        inputs = []
        for dataset in dict.fromkeys(result.dataset for result in self.results):
            facet = assertions.DataQualityAssertionsDatasetFacet(
                assertions=[
                    assertions.Assertion(
                        assertion=result.check, success=result.status == "passed", column=result.column
                    )
                    for result in self.results
                    if result.dataset == dataset and result.status in ("passed", "failed")
                ]
            )
            facets = {"dataQualityAssertions": facet}
            name = f"{self.database}.{dataset}"
            inputs.append(InputDataset(namespace=self.namespace, name=name, inputFacets=facets))
        return OperatorLineage(inputs=inputs)


class DataQualityCheckOperator(_CheckingOperator):
    """Carry out SQL checks: those of contracts, those of a folder of SQL files, and any given here.

    A failed check of severity `warn` is noted; `error` and `critical` fail the task, without a retry. In the gate
    before a publication both therefore hold it back: the last good version keeps serving.

    Example:
        DataQualityCheckOperator(
            task_id="check_orders",
            checks=[{"name": "orders_have_customers", "dataset": "staging.orders", "severity": "critical",
                     "query": "SELECT count(*) FROM staging.orders WHERE customer_id IS NULL", "must_be": 0}],
        )

    Args:
        checks: Checks, or dictionaries (templated) with name, dataset (`schema.table`), query (its single value is
            measured; a path ending in .sql is read), one of must_be (0 where none is given), must_not_be,
            must_be_greater_than, must_be_at_least, must_be_less_than, must_be_at_most, must_be_between and
            must_not_be_between (two values), and as you like severity (warn, error, critical), column, dimension,
            description, failing (a query for the rows that break the rule: a sample is recorded).
        contracts: Folder of data contracts whose quality rules are checked on the schema staging, and whose tables
            are compared with the file ledger.
        folder: Folder of SQL checks.
        datasets: Names of the contracts whose checks are carried out; all of them where None.
        schemas: Schemas to read in the place of those that checks are written for: {"curated": "candidate"} in the
            gate. Results name the dataset as it is written.
        postgres_conn_id: Postgres connection of a role that reads the tables and writes audit.check_results.

    Returns:
        How many checks ended with each status.

    Raises:
        AirflowFailException: a check of severity error or critical failed or could not be carried out (the message
            names each), a declaration can't be used, two checks of a dataset have the same name, or there is nothing
            to check.
    """

    template_fields: Sequence[str] = ("checks", "contracts", "folder", "datasets", "postgres_conn_id")
    template_ext: Sequence[str] = (".sql",)
    template_fields_renderers: Mapping[str, str] = {"checks": "json"}

    def __init__(
        self,
        *,
        checks: Sequence[Check | Mapping[str, Any]] = (),
        contracts: str | None = None,
        folder: str | None = None,
        datasets: Sequence[str] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.checks, self.contracts, self.folder = list(checks), contracts, folder
        self.datasets = datasets

    def run_checks(self, dsn: str) -> list[CheckResult]:
        """Carry out the checks; those of a dataset that no file has come for yet are skipped."""
        from data_quality.checks import (
            CheckFileError,
            DuplicateCheckError,
            check_from_ledger,
            checks_from_contract,
            checks_from_sql_files,
        )
        from data_quality.contract import load_contracts
        from data_quality.runners.sql import run_checks, skip

        known = load_contracts(Path(self.contracts)).contracts if self.contracts else []
        contracts = known if self.datasets is None else _chosen(known, self.datasets)
        by_name = {contract.name: contract for contract in known}
        checks = [_check(item) for item in self.checks]
        skipped: list[CheckResult] = []
        loaded = _with_data(known, dsn)
        for contract in contracts:
            for check in [*checks_from_contract(contract, others=by_name), check_from_ledger(contract)]:
                missing = {contract.table, *_referred(check, by_name)} - loaded
                if missing:
                    skipped.append(skip(check, f"no file of {', '.join(sorted(missing))} has been loaded yet"))
                else:
                    checks.append(check)
        if self.folder:
            try:
                checks.extend(checks_from_sql_files(Path(self.folder)))
            except CheckFileError as error:
                raise AirflowFailException(f"checks that can't be used:\n{error}") from error
        if not checks and not skipped:
            raise AirflowFailException(f"{self.task_id}: there is nothing to check")
        pii = {column.column for contract in known for column in contract.columns if column.is_pii}
        try:
            return [*run_checks(checks, dsn, pii, schemas=self.schemas), *skipped]
        except DuplicateCheckError as error:
            raise AirflowFailException(f"{self.task_id}: {error}") from error


class GreatExpectationsOperator(_CheckingOperator):
    """Carry out every Great Expectations suite of a folder. Importing GX takes 12 s: many suites, one task.

    Example:
        GreatExpectationsOperator(task_id="great_expectations", folder="data-quality/suites")

    Args:
        folder: Folder of the suites.
        schemas: Schemas to read in the place of those that suites are written for: {"curated": "candidate"} in the
            gate. Results name the dataset as it is written.
        postgres_conn_id: Postgres connection of a role that reads the tables and writes audit.check_results.

    Returns:
        How many expectations ended with each status.

    Raises:
        AirflowFailException: an expectation of severity error or critical failed (in the gate: which holds the
            publication back); the message names each.
    """

    template_fields: Sequence[str] = ("folder", "postgres_conn_id")

    def __init__(self, *, folder: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.folder = folder

    def run_checks(self, dsn: str) -> list[CheckResult]:
        """Carry out the suites, one after the other."""
        from data_quality.runners.great_expectations import SuiteError, load_suites, run_suite

        try:
            suites = load_suites(Path(self.folder))
        except SuiteError as error:
            raise AirflowFailException(f"a suite that can't be used: {error}") from error
        if not suites:
            raise AirflowFailException(f"{self.task_id}: there is nothing to check in {self.folder}")
        return [result for suite in suites for result in run_suite(suite, dsn, schemas=self.schemas)]


class MonitorOperator(_CheckingOperator):
    """Observe the files that were loaded since the last look, and record what is odd about them, as warnings.

    Monitors need no set-up: what is usual they learn from audit.observations, which they keep.

    Example:
        MonitorOperator(task_id="monitors", contracts="data-quality/contracts")

    Args:
        contracts: Folder of the contracts of the datasets that are watched.
        postgres_conn_id: Postgres connection of a role that reads the schemas staging and audit, and writes audit.

    Returns:
        How many results have each status: a failed one is an alarm.
    """

    template_fields: Sequence[str] = ("contracts", "postgres_conn_id")

    def __init__(self, *, contracts: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.contracts = contracts

    def run_checks(self, dsn: str) -> list[CheckResult]:
        """Look at every dataset."""
        from data_quality.contract import load_contracts
        from data_quality.monitors import watch

        return watch(load_contracts(Path(self.contracts)), dsn)


def _chosen(contracts: Sequence[Contract], names: Sequence[str]) -> list[Contract]:
    """Return the contracts of the given names; one that is not there would go unchecked without a word."""
    if missing := set(names) - {contract.name for contract in contracts}:
        raise AirflowFailException(
            f"there is no usable contract for {', '.join(sorted(missing))}: see `dp contract lint`"
        )
    return [contract for contract in contracts if contract.name in names]


def _referred(check: Check, contracts: Mapping[str, Contract]) -> set[str]:
    """Return the tables of other datasets that a check looks values up in."""
    from data_quality.checks.rules import ForeignKey

    known = {contract.table for contract in contracts.values()}
    return {check.rule.to_table} & known if isinstance(check.rule, ForeignKey) else set()


def _check(item: Check | Mapping[str, Any]) -> Check:
    from data_quality.checks import Check, Query, Severity

    if isinstance(item, Check):
        return item
    name = item.get("name", "a check without a name")
    for key in item.keys() - CHECK_KEYS:
        near = difflib.get_close_matches(key, CHECK_KEYS, n=1)
        hint = f"did you mean '{near[0]}'?" if near else f"known are {', '.join(CHECK_KEYS)}"
        raise AirflowFailException(f"{name}: '{key}' is no fact of a check; {hint}")
    for key in ("name", "dataset", "query"):
        if not item.get(key):
            raise AirflowFailException(f"{name}: {key} is missing")
    schema, dot, table = item["dataset"].partition(".")
    if not dot:
        raise AirflowFailException(f"{name}: dataset is <schema>.<table>, not '{item['dataset']}'")
    severity = item.get("severity", "error")
    if severity not in list(Severity):
        raise AirflowFailException(f"{name}: severity is warn, error or critical, not '{severity}'")
    return Check(
        name=item["name"],
        schema=schema,
        table=table,
        threshold=_threshold(name, item),
        severity=Severity(severity),
        column=item.get("column"),
        dimension=item.get("dimension"),
        description=item.get("description", ""),
        rule=Query(item["query"], item.get("failing")),
    )


def _threshold(name: str, item: Mapping[str, Any]) -> Threshold:
    from data_quality.checks import Threshold

    given = [key for key in THRESHOLDS if key in item]
    if len(given) > 1:
        raise AirflowFailException(f"{name}: give one of {' and '.join(given)}, not both")
    key = given[0] if given else "must_be"
    value = item.get(key, 0)
    if key.endswith("between") and not (isinstance(value, (list, tuple)) and len(value) == 2):
        raise AirflowFailException(f"{name}: {key} takes two values, as [1, 10], not {value!r}")
    return Threshold(THRESHOLDS[key], value)


def _with_data(contracts: Sequence[Contract], dsn: str) -> set[str]:
    """Return tables that have rows, or had files: one that vanished or was emptied is a matter for its checks."""
    import psycopg
    from psycopg import sql

    with psycopg.connect(dsn) as connection:
        names = "SELECT schemaname || '.' || tablename FROM pg_tables WHERE schemaname IN ('staging', 'audit')"
        there = {name for (name,) in connection.execute(names)}
        ledger = "SELECT DISTINCT dataset FROM audit.file_ingestion_log WHERE status = 'succeeded'"
        had = {name for (name,) in connection.execute(ledger)} if "audit.file_ingestion_log" in there else set()

        def has_rows(table: str) -> bool:
            rows = sql.SQL("SELECT EXISTS (SELECT FROM {})").format(sql.Identifier("staging", table))
            return f"staging.{table}" in there and connection.execute(rows).fetchone() == (True,)

        return {item.table for item in contracts if item.name in had or has_rows(item.table)}
