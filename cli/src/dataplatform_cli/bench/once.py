"""One way of loading, once, in a process of its own, so that its memory is its own. Prints a line of JSON.

python -m dataplatform_cli.bench.once ours '{"contract": …, "dsn": …, "endpoint": …, "user": …}', the secret on stdin
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any


def ours(given: dict[str, Any], secret: str) -> dict[str, Any]:
    """Take in what waits in the bucket. `seconds` is until the commit, `moved` until the files are moved too."""
    import psycopg

    from data_quality.contract import load_contract
    from pipelines.ingestion import core
    from pipelines.ingestion.objects import ObjectStore, s3_client

    store = ObjectStore(s3_client(given["endpoint"], given["user"], secret))
    contract = load_contract(given["contract"])
    files = core.discover(store, contract)
    began, clock = time.monotonic(), time.time()
    outcomes = []
    for batch in core.plan(files, contract):
        outcomes += core.ingest_batch(batch, contract, given["dsn"], store, run_id="bench")
    moved = time.monotonic() - began
    with psycopg.connect(given["dsn"]) as connection:
        row = connection.execute("SELECT extract(epoch FROM max(finished_at)) FROM audit.file_ingestion_log").fetchone()
    bad = [outcome for outcome in outcomes if outcome.status != "succeeded"]
    if bad or row is None:
        raise SystemExit(f"not loaded: {bad[0].error if bad else 'no ledger'}")
    counts = {
        name: sum(outcome.to_dict()[name] for outcome in outcomes)
        for name in (
            "rows_read",
            "rows_rejected",
            "rows_deduplicated",
            "rows_inserted",
            "rows_updated",
            "rows_unchanged",
        )
    }
    return {"seconds": float(row[0]) - clock, "moved": moved, "files": len(outcomes), **counts}


def pandas(given: dict[str, Any], _: str) -> dict[str, Any]:
    """Read with pandas, drop repeated keys, to_sql into a stage, INSERT … ON CONFLICT. It validates nothing."""
    import pandas as pd
    import sqlalchemy as sa

    engine = sa.create_engine(given["dsn"].replace("postgresql://", "postgresql+psycopg://"))
    began = time.monotonic()
    frame = pd.read_csv(given["typed"], parse_dates=["sale_date", "updated_at"])
    frame = frame.sort_values("updated_at").drop_duplicates("sale_id", keep="last")
    with engine.begin() as connection:
        frame.to_sql(
            "pandas_stage",
            connection,
            schema="staging",
            if_exists="replace",
            index=False,
            chunksize=5_000,
            method="multi",
        )
        names = ", ".join(frame.columns)
        sets = ", ".join(f"{name} = excluded.{name}" for name in frame.columns if name != "sale_id")
        connection.execute(
            sa.text(
                f"INSERT INTO {given['table']} ({names}) SELECT {names} FROM staging.pandas_stage "
                f"ON CONFLICT (sale_id) DO UPDATE SET {sets}"
            )
        )
        connection.execute(sa.text("DROP TABLE staging.pandas_stage"))
    return {"seconds": time.monotonic() - began, "rows_inserted": len(frame)}


def main() -> None:
    """Run the way named by the first argument."""
    way: dict[str, Any] = {"ours": ours, "pandas": pandas}
    given = json.loads(sys.argv[2])
    sys.stdout.write(json.dumps(way[sys.argv[1]](given, sys.stdin.readline().strip())) + "\n")


if __name__ == "__main__":
    main()
