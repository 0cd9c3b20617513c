"""Checks as data: what to check, apart from how it is run."""

from __future__ import annotations

from data_quality.checks.declared import CheckFileError, checks_from_sql_files
from data_quality.checks.from_contract import checks_from_contract
from data_quality.checks.from_ledger import check_from_ledger
from data_quality.checks.model import Check, CheckResult, DuplicateCheckError, Severity, Status, Threshold
from data_quality.checks.rules import Kind, Metric, Query

__all__ = [
    "Check",
    "CheckFileError",
    "CheckResult",
    "DuplicateCheckError",
    "Kind",
    "Metric",
    "Query",
    "Severity",
    "Status",
    "Threshold",
    "check_from_ledger",
    "checks_from_contract",
    "checks_from_sql_files",
]
