"""`dp bench search`: how long a search takes in a large catalog, beside reading the same rows by their ids."""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import psycopg
from rich.table import Table

from dataplatform_cli.bench.scratch import scratch_stack
from dataplatform_cli.display import err, out
from dataplatform_cli.settings import StackSettings

LIMIT = 0.05  # seconds, of 95 in 100 searches

_SYSTEMS = [
    "warehouse", "lake", "crm", "erp", "shop", "billing", "logistics", "web", "mobile", "finance", "support",
    "partner",
]  # fmt: skip
_ENTITIES = [
    "customer", "order", "product", "invoice", "payment", "shipment", "session", "click", "ticket", "campaign",
    "employee", "supplier", "contract", "price", "stock", "return", "refund", "address", "account", "device", "event",
    "visit", "lead", "opportunity", "subscription", "plan", "coupon", "review", "rating", "warehouse", "route",
    "driver", "vehicle", "budget", "forecast", "target", "region", "store", "channel", "segment", "consent", "audit",
]  # fmt: skip
_SHAPES = [
    "daily", "weekly", "monthly", "history", "snapshot", "current", "raw", "clean", "agg", "summary", "detail",
    "delta", "dim", "fct",
]  # fmt: skip

_FILL = """
INSERT INTO dataset (id, namespace, name, layer, type, description, owner, tags, fields, declared,
                     created_at, updated_at)
SELECT gen_random_uuid(), 'postgres://' || s.system || '-db:5432', s.system || '.' || t.schema_name || '.' ||
       e.entity || '_' || e.other || '_' || s.shape || '_' || i, 'curated', 'table',
       'The ' || s.shape || ' of each ' || e.entity || ' by ' || e.other || '.', 'team-' || i %% 200,
       CASE WHEN i %% 20 = 0 THEN ARRAY['pii'] ELSE '{{}}' END,
       jsonb_build_array(jsonb_build_object('name', e.entity || '_key'), jsonb_build_object('name', e.other || '_id'),
                         jsonb_build_object('name', 'updated_at')), '{{}}',
       now() - i * interval '1 second', now() - i * interval '1 second'
  FROM generate_series(1::bigint, {count}) AS i
 CROSS JOIN LATERAL (SELECT (%(systems)s::text[])[1 + ((i * 7919) %% {systems})::integer] AS system,
                            (%(shapes)s::text[])[1 + ((i * 104729) %% {shapes})::integer] AS shape) AS s
 CROSS JOIN LATERAL (SELECT (%(entities)s::text[])[1 + ((i * 31) %% {entities})::integer] AS entity,
                            (%(entities)s::text[])[1 + ((i * 17 + i / 97) %% {entities})::integer] AS other) AS e
 CROSS JOIN LATERAL (SELECT (ARRAY['staging', 'intermediate', 'curated'])[1 + (i %% 3)::integer] AS schema_name) AS t
"""


def bench_search(settings: StackSettings, count: int, searches: int) -> dict[str, Any]:
    """Fill a catalog with datasets, search it in several ways and return the figures.

    Args:
        settings: The repository's settings; the stack itself is not touched.
        count: Datasets in the catalog.
        searches: Searches of each kind.
    """
    with _catalog(settings, count) as (client, dsn), psycopg.connect(dsn) as connection:
        chance = random.Random(7)  # noqa: S311  which searches are tried, and nothing secret
        kinds: dict[str, Callable[[], dict[str, str]]] = {
            "exact name": lambda: {"q": _some_name(connection, chance)},
            "two words": lambda: {"q": f"{chance.choice(_ENTITIES)} {chance.choice(_ENTITIES)}"},
            "beginning of a word": lambda: {"q": chance.choice(_ENTITIES)[:4]},
            "word and filters": lambda: {"q": chance.choice(_ENTITIES), "tag": "pii", "owner": "team-40"},
            "number in a name": lambda: {"q": str(chance.randrange(1, count))},
            "typo": lambda: {"q": _mistyped(f"{chance.choice(_ENTITIES)} {chance.choice(_ENTITIES)}", chance)},
            "nothing found": lambda: {"q": f"qqqq{chance.randrange(10**6)}"},
        }
        for make in kinds.values():  # the first searches wait for plans and caches, as they do after every start
            client.get("/search", params=make())
        results = [{"kind": kind, **_measure(client, connection, make, searches)} for kind, make in kinds.items()]
        return {"datasets": count, "searches": searches, "results": results, "plan": _plan(connection)}


@contextmanager
def _catalog(settings: StackSettings, count: int) -> Iterator[tuple[httpx.Client, str]]:
    with scratch_stack(settings, ("postgres", "metadata")) as (scratch, _):
        dsn = scratch.dsn("metadata")
        began = time.monotonic()
        with psycopg.connect(dsn, autocommit=True) as connection:
            given = {"systems": _SYSTEMS, "shapes": _SHAPES, "entities": _ENTITIES}
            sizes = {name: len(words) for name, words in given.items()}
            # The vocabulary is made at once, as it would have grown with the catalog.
            connection.execute("ALTER TABLE dataset DISABLE TRIGGER note_new_words")
            connection.execute(_FILL.format(count=count, **sizes), given)
            connection.execute("ALTER TABLE dataset ENABLE TRIGGER note_new_words")
            words = "SELECT word FROM ts_stat('SELECT search FROM dataset') WHERE word ~ '^[^=0-9]{3,40}$'"
            connection.execute(f"INSERT INTO search_new_word {words}")
            connection.execute("VACUUM ANALYZE dataset")
        err.print(f"[dim]{count:,} datasets in {time.monotonic() - began:.0f} s[/]")
        with httpx.Client(base_url=f"http://127.0.0.1:{scratch.metadata_port}", timeout=60) as client:
            while client.get("/search", params={"q": "customre", "limit": 1}).json()["total"] == 0:
                time.sleep(1)  # the vocabulary is on its way
            yield client, dsn


def _measure(
    client: httpx.Client, connection: psycopg.Connection[Any], make: Callable[[], dict[str, str]], searches: int
) -> dict[str, Any]:
    """Time searches of a kind, and after each the fetching of the rows it answered by their ids."""
    ours, by_id, found = [], [], []
    for _ in range(searches):
        query = make()
        began = time.perf_counter()
        answer = client.get("/search", params=query)
        ours.append(time.perf_counter() - began)
        answer.raise_for_status()
        ids = [item["id"] for item in answer.json()["items"]]
        found.append(len(ids))
        began = time.perf_counter()
        connection.execute("SELECT * FROM dataset WHERE id = ANY (%s::uuid[])", [ids]).fetchall()
        by_id.append(time.perf_counter() - began)
    return {
        "p50": statistics.median(ours),
        "p95": statistics.quantiles(ours, n=20)[-1],
        "by_id_p95": statistics.quantiles(by_id, n=20)[-1],
        "found": statistics.median(found),
    }


def _some_name(connection: psycopg.Connection[Any], chance: random.Random) -> str:
    query = "SELECT name FROM dataset TABLESAMPLE SYSTEM (0.1) ORDER BY md5(name || %s) LIMIT 1"
    row = connection.execute(query, [str(chance.random())]).fetchone()
    return str(row[0]) if row else "nothing"


def _mistyped(text: str, chance: random.Random) -> str:
    """Swap two neighbouring letters of each word, inside of it."""
    words = []
    for word in text.split():
        place = chance.randrange(1, len(word) - 1)
        words.append(word[:place] + word[place + 1] + word[place] + word[place + 2 :])
    return " ".join(words)


def _plan(connection: psycopg.Connection[Any]) -> list[str]:
    query = "EXPLAIN SELECT id FROM dataset WHERE search @@ '''customer'' & ''order'''::tsquery LIMIT 500"
    return [str(line) for (line,) in connection.execute(query).fetchall()]


def print_report(figures: dict[str, Any]) -> None:
    """Print the figures as a table."""
    table = Table(title=f"{figures['datasets']:,} datasets, milliseconds", box=None)
    for name in ("search", "p50", "p95", "the same rows by id, p95", "found"):
        table.add_column(name, justify="left" if name == "search" else "right")
    for result in figures["results"]:
        times = [f"{result[name] * 1000:.1f}" for name in ("p50", "p95", "by_id_p95")]
        table.add_row(result["kind"], *times, f"{result['found']:.0f}")
    out.print(table)
    worst = max(result["p95"] for result in figures["results"])
    out.print(f"slowest p95 {worst * 1000:.1f} ms (should be below {LIMIT * 1000:.0f})")
    for line in figures["plan"]:
        out.print(f"[dim]{line}[/]")
