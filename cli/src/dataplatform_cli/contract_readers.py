"""Who reads a dataset's table, or one of its columns: from the metadata service, else from the dbt project's files.

The service knows what ran; the project is there also where nothing runs, as in CI. Of the project it is read which
model names which column: good enough to name whom to ask, no proof that nobody else reads it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import httpx
import yaml

from data_quality.contract import Contract, ContractSet
from dataplatform_cli.settings import StackSettings

_SECONDS = 5


@dataclass(frozen=True)
class Reader:
    """Something below a dataset: a table or model, files, a dashboard, a product, a contract that refers to it.

    `certain` is false where it is only known that it reads the dataset, not which of its columns.
    """

    kind: str
    name: str
    owner: str
    certain: bool = True

    def to_dict(self) -> dict[str, Any]:
        """Return the reader as JSON has it."""
        return asdict(self)


class CatalogReaders:
    """Readers as the metadata service knows them."""

    source = "metadata service"

    def __init__(self, settings: StackSettings) -> None:
        key = settings.metadata_api_key.get_secret_value()
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._http = httpx.Client(base_url=settings.metadata_url, headers=headers, timeout=_SECONDS)

    def of(self, contract: Contract, column: str | None) -> list[Reader] | None:
        """Return what is below a table or one of its columns; None where the service does not know the table.

        Raises:
            httpx.HTTPError: it does not answer.
        """
        name = f"warehouse.staging.{contract.table}"
        found = self._http.get("/datasets", params={"q": name, "limit": 50}).raise_for_status().json()["items"]
        known = next((item for item in found if item["name"] == name), None)
        if known is None:
            return None
        parameters = {} if column is None else {"column": column}
        answer = self._http.get(f"/datasets/{known['id']}/impact", params=parameters)
        if answer.status_code in (404, 422):  # it has not seen this column
            return None
        told = answer.raise_for_status().json()
        dashboards = {item["id"] for item in told["dashboards"]}
        readers = []
        for item in told["datasets"]:
            namespace, name, owner = str(item["namespace"]), str(item["name"]), str(item.get("owner") or "")
            if item["id"] in dashboards:
                kind, name = "dashboard", name.removeprefix("dashboard/")
            elif namespace.startswith("s3://"):
                kind, name = "files", f"{namespace}/{name}"
            else:
                kind = "table"
            readers.append(Reader(kind, name, owner, bool(item["certain"])))
        return readers + [Reader("product", item["name"], item["owner"] or "") for item in told["products"]]


class ProjectReaders:
    """Readers as the files of the dbt project and the contracts tell them."""

    source = "dbt project"

    def __init__(self, project: Path, contracts: ContractSet) -> None:
        self._project, self._contracts = project, contracts

    def of(self, contract: Contract, column: str | None) -> list[Reader]:
        """Return the models, dashboards and contracts below a table or one of its columns."""
        from pipelines.sources import model_graph, read_sources, source_name

        graph = model_graph(self._project)
        source = (source_name(contract.domain), contract.table)
        names = {column} if column else None
        # What each node has of the column, by whichever name; None stands for the whole of a table.
        carried: dict[str, set[str] | None] = {}
        certain: dict[str, bool] = {}
        waiting = [name for name, text in self._texts.items() if source in read_sources(text)]
        for name in waiting:
            self._pass_on(name, names, carried, certain)
        while waiting:
            parent = waiting.pop(0)
            for name, parents in sorted(graph.items()):
                if parent in parents and self._pass_on(name, carried[parent], carried, certain):
                    waiting.append(name)
        return [
            *(Reader("model", name, self._owner(name), certain[name]) for name in sorted(carried)),
            *self._exposures(carried, certain),
            *self._referring(contract, column),
        ]

    def _pass_on(
        self, name: str, names: set[str] | None, carried: dict[str, set[str] | None], certain: dict[str, bool]
    ) -> bool:
        """Note what a node gets of a column; return whether that is more than was known."""
        text = self._texts.get(name, "")
        if names is None:
            new: set[str] | None = None
            sure = True
        else:
            new = {alias for known in names for alias in _passed(text, known)}
            sure = bool(new)
            new = new or set(names)
        before = carried.get(name, set())
        known = name in carried and (before is None or (new is not None and new <= before))
        carried[name] = None if new is None or before is None else before | new
        certain[name] = certain.get(name, False) or sure
        return not known

    def _exposures(self, carried: Iterable[str], certain: dict[str, bool]) -> Iterator[Reader]:
        from pipelines.sources import references

        reached = set(carried)
        for exposure in self._declared.get("exposures", ()):
            read = {name for reference in exposure.get("depends_on", ()) for name in references(reference)}
            if read & reached:
                owner = exposure.get("owner") or {}
                sure = any(certain[name] for name in read & reached)
                yield Reader("dashboard", exposure["name"], owner.get("name") or owner.get("email") or "", sure)

    def _referring(self, contract: Contract, column: str | None) -> Iterator[Reader]:
        spelled = {item.name: item.column for item in contract.columns}
        for other in self._contracts:
            for reference in other.references:
                targets = {spelled.get(name, name) for name in reference.to_columns}
                if reference.to_dataset == contract.name and (column is None or column in targets):
                    yield Reader("contract", other.name, other.owner)

    def _owner(self, name: str) -> str:
        node = self._nodes.get(name, {})
        config = node.get("config") or {}
        meta = config.get("meta") or node.get("meta") or {}
        return str(meta.get("owner") or self._groups.get(config.get("group") or "", ""))

    @cached_property
    def _texts(self) -> dict[str, str]:
        texts = {path.stem: path.read_text(encoding="utf-8") for path in (self._project / "models").rglob("*.sql")}
        for snapshot in self._declared.get("snapshots", ()):
            columns = [item["name"] for item in snapshot.get("columns", ())]
            texts[snapshot["name"]] = f"select {', '.join(columns) or '*'} from {snapshot.get('relation', '')}"
        return texts

    @cached_property
    def _declared(self) -> dict[str, list[dict[str, Any]]]:
        found: dict[str, list[dict[str, Any]]] = {}
        for folder in ("models", "snapshots"):
            for path in sorted((self._project / folder).rglob("*.yml")):
                for kind, items in (yaml.safe_load(path.read_text(encoding="utf-8")) or {}).items():
                    if isinstance(items, list):
                        found.setdefault(kind, []).extend(items)
        return found

    @cached_property
    def _nodes(self) -> dict[str, dict[str, Any]]:
        return {item["name"]: item for kind in ("models", "snapshots") for item in self._declared.get(kind, ())}

    @cached_property
    def _groups(self) -> dict[str, str]:
        return {item["name"]: (item.get("owner") or {}).get("name", "") for item in self._declared.get("groups", ())}


def _passed(text: str, column: str) -> set[str]:
    """Return the names under which a query goes on with a column: its own, and those of what is made of it."""
    plain = re.sub(r"\{#.*?#\}|--[^\n]*", "", text, flags=re.DOTALL)
    if not re.search(rf"\b{re.escape(column)}\b", plain):
        return {column} if re.search(r"select\s+(\w+\.)?\*", plain, re.IGNORECASE) else set()
    return {column} | {
        found[1]
        for found in re.finditer(r"\bas\s+(\w+)\b(?!\s*[()])", plain, re.IGNORECASE)
        if re.search(rf"\b{re.escape(column)}\b", _expression(plain[: found.start()]))
    }


def _expression(text: str) -> str:
    """Return what is given a name at the end of a text: back to the comma, bracket or `select` before it."""
    depth = 0
    for place in range(len(text) - 1, -1, -1):
        depth += (text[place] == ")") - (text[place] == "(")
        if depth < 0 or (depth == 0 and text[place] == ","):
            text = text[place + 1 :]
            break
    text = re.split(r"\bselect\b", text, flags=re.IGNORECASE)[-1] if "(" not in text else text
    return "" if re.search(r"\b(from|join)\b[^()]*$", text, re.IGNORECASE) else text
