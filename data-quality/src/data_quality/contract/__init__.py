"""Data contracts: one Open Data Contract Standard 3.1 file a dataset, read strictly.

`load_contract` reads one file, `load_contracts` a folder tree. An unknown key anywhere is a problem that names its
place and the nearest known key. Importing this package is cheap: the DAG processor does it for every DAG file.
"""

from __future__ import annotations

from data_quality.contract.loader import ContractSet, load_contract, load_contracts
from data_quality.contract.model import (
    Column,
    Contract,
    ContractError,
    CsvOptions,
    FileRules,
    Freshness,
    IngestOptions,
    Problem,
    QualityRule,
    Reference,
    RejectBudget,
)

__all__ = [
    "Column",
    "Contract",
    "ContractError",
    "ContractSet",
    "CsvOptions",
    "FileRules",
    "Freshness",
    "IngestOptions",
    "Problem",
    "QualityRule",
    "Reference",
    "RejectBudget",
    "load_contract",
    "load_contracts",
]
