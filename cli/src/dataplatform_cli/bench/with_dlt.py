"""Loading with dlt, in its own environment (`scripts/install.sh bench`): merge by delete-insert, repeated keys removed.

It gets the rows without the bad ones, as Arrow tables of the right types: it validates nothing.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time

import dlt  # type: ignore[import-not-found]
import pyarrow as pa
import pyarrow.csv as pc

given = json.loads(sys.argv[1])
TYPES = {
    "sale_date": pa.date32(),
    "quantity": pa.int32(),
    "unit_price": pa.decimal128(12, 2),
    "total_amount": pa.decimal128(14, 2),
    "updated_at": pa.timestamp("us", "UTC"),
}


@dlt.resource(
    name="bench_dlt",
    primary_key="sale_id",
    write_disposition={"disposition": "merge", "strategy": "delete-insert"},
    columns={"updated_at": {"dedup_sort": "desc"}},
)
def sales():  # type: ignore[no-untyped-def]
    """Yield the file's rows."""
    options = pc.ConvertOptions(column_types=TYPES, timestamp_parsers=["%Y-%m-%d %H:%M:%S+00", pc.ISO8601])
    yield from (pa.Table.from_batches([batch]) for batch in pc.open_csv(given["typed"], convert_options=options))


with tempfile.TemporaryDirectory() as folder:
    pipeline = dlt.pipeline(
        "bench", pipelines_dir=folder, destination=dlt.destinations.postgres(given["dsn"]), dataset_name="bench_dlt"
    )
    began = time.monotonic()
    pipeline.run(sales())
    sys.stdout.write(json.dumps({"seconds": time.monotonic() - began}) + "\n")
