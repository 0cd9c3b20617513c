"""From ODCS YAML to `Contract`: the standard's own model first, then the platform's stricter reading."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data_quality.contract.model import Contract, ContractError, Problem
from data_quality.contract.strict import Found

SUFFIX = ".odcs.yaml"


@dataclass(frozen=True)
class ContractSet:
    """The contracts of a folder: the good ones, sorted by dataset name, and all problems of the others."""

    contracts: list[Contract]
    problems: list[Problem]

    def __iter__(self) -> Iterator[Contract]:
        return iter(self.contracts)

    def __len__(self) -> int:
        return len(self.contracts)

    def raise_for_problems(self) -> None:
        """Raise `ContractError` if any file of the folder is broken."""
        if self.problems:
            raise ContractError(tuple(self.problems))


def load_contracts(folder: str | Path) -> ContractSet:
    """Read every `*.odcs.yaml` below a folder. A broken one is reported and does not hide the others."""
    contracts: dict[str, Contract] = {}
    tables: dict[str, Contract] = {}
    problems: list[Problem] = []
    for path in sorted(Path(folder).rglob(f"*{SUFFIX}")):
        try:
            contract = load_contract(path)
        except ContractError as error:
            problems.extend(error.problems)
            continue
        first = contracts.setdefault(contract.name, contract)
        if first is not contract:
            message = f"dataset {contract.name!r} is already described by {first.path}; give one of them another name"
            problems.append(Problem(str(path), "schema[0].name", message))
            continue
        owner = tables.setdefault(contract.table, contract)
        if owner is not contract:
            del contracts[contract.name]
            message = f"table {contract.table!r} is already that of {owner.path}; give one of them another physicalName"
            problems.append(Problem(str(path), "schema[0].physicalName", message))
    return ContractSet(sorted(contracts.values(), key=lambda contract: contract.name), problems)


def load_contract(path: str | Path) -> Contract:
    """Read one contract.

    Raises:
        ContractError: the file can't be read or breaks the standard or the platform's rules; every problem is named.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise _failed(path, [("", f"can't be read: {error}")]) from error
    data = _parse(path, text)
    found = list(_standard(data))
    if found:
        raise _failed(path, found)
    from data_quality.contract.reading import Reading

    reading = Reading(data, path=str(path), fingerprint=hashlib.sha256(text.encode()).hexdigest())
    contract = reading.contract()
    if contract is None:
        raise _failed(path, reading.found)
    return contract


def _failed(path: Path, found: list[Found]) -> ContractError:
    return ContractError(tuple(Problem(str(path), where, message) for where, message in found))


def _parse(path: Path, text: str) -> dict[str, Any]:
    import yaml

    class UniqueKeys(yaml.SafeLoader):
        """YAML keeps the last of two equal keys, which hides a mistake."""

        def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
            seen: set[Any] = set()
            for key_node, _ in node.value:
                key = self.construct_object(key_node, deep=True)
                if isinstance(key, str) and key in seen:
                    raise yaml.MarkedYAMLError(None, None, f"key {key!r} occurs twice", key_node.start_mark)
                seen.add(str(key))
            return dict(super().construct_mapping(node, deep))

    try:
        data = yaml.load(text, Loader=UniqueKeys)  # noqa: S506  a SafeLoader
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise _failed(path, [(where, f"is no YAML: {getattr(error, 'problem', None) or error}")]) from error
    if not isinstance(data, dict):
        raise _failed(path, [("", "is no contract: expected a mapping with apiVersion, kind, id, schema…")])
    return data


def _standard(data: dict[str, Any]) -> Iterator[Found]:
    """Yield what breaks the standard itself. Its package takes 0.2 s to import, so only here."""
    import pydantic
    from open_data_contract_standard.model import OpenDataContractStandard

    from data_quality.contract.strict import unknown_keys

    unknown = list(unknown_keys(OpenDataContractStandard, data))
    yield from unknown
    try:
        OpenDataContractStandard.model_validate(data)
    except pydantic.ValidationError as error:
        for detail in error.errors():
            if detail["type"] != "extra_forbidden":  # told above, with a suggestion
                where = ".".join(str(part) for part in detail["loc"])
                yield where, detail["msg"]
