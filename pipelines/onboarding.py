"""Contracts brought into effect: a file dropped into the contracts' folder is a table, and an entry of the catalog.

`sync` does it for all contracts, as often as one likes: what is in effect already costs a look. It keeps in
`audit.contracts` what it has seen. A contract that was removed is noted there; its table and rows stay.

The ingest DAG and the checks need nothing: Airflow makes them of the same files (`pipelines.factory`). dbt's sources
are made where dbt is run (`pipelines.sources`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import psycopg

if TYPE_CHECKING:
    from data_quality.contract import Contract, ContractSet

_DDL = """
CREATE TABLE IF NOT EXISTS audit.contracts (
    dataset text PRIMARY KEY,
    path text NOT NULL,
    version text NOT NULL,
    fingerprint text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    removed_at timestamptz
)
"""
_APPLIED = """
INSERT INTO audit.contracts (dataset, path, version, fingerprint) VALUES (%s, %s, %s, %s)
ON CONFLICT (dataset) DO UPDATE SET path = excluded.path, version = excluded.version,
    fingerprint = excluded.fingerprint, applied_at = clock_timestamp(), removed_at = NULL
"""

Action = Literal["new", "changed", "unchanged", "removed", "waiting", "failed"]


@dataclass(frozen=True)
class Synced:
    """What became of a dataset's contract; `message` says why it failed, or what its catalog entry waits for."""

    dataset: str
    action: Action
    message: str = ""


def ensure_tables(contracts: Iterable[Contract], connection: psycopg.Connection[Any]) -> dict[str, str]:
    """Make the table of every contract that has none, and bring the others up to date.

    Args:
        contracts: The contracts.
        connection: To the warehouse as the loader, in autocommit mode.

    Returns:
        Why not, for each dataset whose table does not fit its contract.
    """
    from pipelines.ingestion.ledger import ensure_schema

    failed = {}
    for contract in contracts:
        try:
            ensure_schema(connection, contract)
        except psycopg.OperationalError:
            raise
        except Exception as error:  # one contract that does not fit its table must not hold up the others
            failed[contract.name] = str(error)
    return failed


def sync(
    contracts: ContractSet,
    dsn: str,
    *,
    warehouse_namespace: str,
    emit: Callable[[Any], None],
    declare: Callable[[dict[str, str]], None],
) -> list[Synced]:
    """Bring contracts into effect: tables, and for what is new or changed the catalog.

    Args:
        contracts: All contracts there are: one that is missing counts as removed, unless a broken file may be it.
        dsn: The warehouse as the loader.
        warehouse_namespace: Its namespace in lineage, `postgres://host:port`.
        emit: Sends an OpenLineage event.
        declare: Tells the metadata service a dataset's `namespace`, `name` and `domain`, which no event can say.

    Returns:
        What became of each dataset, sorted by name.

    Raises:
        psycopg.OperationalError: the warehouse is away.
    """
    known = {contract.name: contract for contract in contracts}
    with psycopg.connect(dsn, autocommit=True) as connection:
        failed = ensure_tables(known.values(), connection)
        connection.execute(_DDL)
        seen = connection.execute("SELECT dataset, fingerprint FROM audit.contracts WHERE removed_at IS NULL")
        before: dict[str, str] = {dataset: fingerprint for dataset, fingerprint in seen}
        done = []
        for name, contract in sorted(known.items()):
            if name in failed:
                done.append(Synced(name, "failed", failed[name]))
            elif before.get(name) == contract.fingerprint:
                done.append(Synced(name, "unchanged"))
            else:
                done.append(_publish(contract, name in before, connection, warehouse_namespace, emit, declare))
        for name in sorted(before.keys() - known.keys()) if not contracts.problems else ():
            connection.execute("UPDATE audit.contracts SET removed_at = clock_timestamp() WHERE dataset = %s", [name])
            done.append(Synced(name, "removed"))
    return sorted(done, key=lambda item: item.dataset)


def metadata_declare(url: str, api_key: str) -> Callable[[dict[str, str]], None]:
    """Return a function that tells the metadata service of a dataset.

    It raises `httpx.HTTPError` where the service does not take it.
    """
    import httpx

    def declare(dataset: dict[str, str]) -> None:
        headers = {"Authorization": f"Bearer {api_key}"}
        httpx.post(f"{url}/datasets", json=dataset, headers=headers, timeout=10).raise_for_status()

    return declare


def _publish(
    contract: Contract,
    known: bool,
    connection: psycopg.Connection[Any],
    warehouse_namespace: str,
    emit: Callable[[Any], None],
    declare: Callable[[dict[str, str]], None],
) -> Synced:
    """Enter a dataset in the catalog, and note it. Where the service is away, all of it waits for the next time."""
    import httpx

    from pipelines.ingestion.catalog import dataset_events

    events = dataset_events(contract, warehouse_namespace=warehouse_namespace)
    try:
        for event in events:
            declare({"namespace": event.dataset.namespace, "name": event.dataset.name, "domain": contract.domain})
    except httpx.HTTPError as error:
        return Synced(contract.name, "waiting", f"the catalog does not take it now: {error}")
    for event in events:
        emit(event)
    connection.execute(_APPLIED, (contract.name, contract.path, contract.version, contract.fingerprint))
    return Synced(contract.name, "changed" if known else "new")
