"""`python -m pipelines.ingestion.generator --out DIR [--days 90] [--seed 7] [--end YYYY-MM-DD]`."""

from __future__ import annotations

import argparse
import datetime as dt
import sys
from pathlib import Path

from pipelines.ingestion.generator.sample import write_sample


def main() -> None:
    """Write the sample and say what was written."""
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.ingestion.generator", description="Write sample files of all datasets."
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for the files and manifest.json")
    parser.add_argument("--days", type=int, default=90, help="days of sales and orders (default 90)")
    parser.add_argument("--seed", type=int, default=7, help="another seed, other rows (default 7)")
    parser.add_argument("--end", type=dt.date.fromisoformat, help="last day, YYYY-MM-DD (default yesterday)")
    options = parser.parse_args()
    if options.days < 1:
        parser.error("--days must be at least 1")
    manifest = write_sample(options.out, options.days, options.seed, options.end)
    rows = sum(file.rows_read for file in manifest.files)
    sys.stdout.write(f"{len(manifest.files)} files, {rows:,} rows, {manifest.totals['rows']:,} of them in the table\n")


if __name__ == "__main__":
    main()
