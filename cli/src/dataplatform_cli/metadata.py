"""`dp metadata`: everything the metadata service holds out and in, and forgetting what is old."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from dataplatform_cli.command import Json, reported
from dataplatform_cli.display import err, out
from dataplatform_cli.errors import PlatformError
from dataplatform_cli.metadata_api import ask, opened

app = typer.Typer(help="What the metadata service holds: out, in, and away.", no_args_is_help=True)


@app.command()
@reported
def export(file: Annotated[Path, typer.Argument(help="Where to write JSON lines; it must not be there yet.")]) -> None:
    """Write everything as JSON lines, all of one moment."""
    part = file.with_name(file.name + ".part")
    if file.exists():
        raise PlatformError(f"{file} is there already", "name another file")
    try:
        with opened("GET", "/export") as answer, part.open("wb") as target, err.status("exporting …"):
            for chunk in answer.iter_bytes():
                target.write(chunk)
        part.rename(file)
    finally:
        part.unlink(missing_ok=True)
    out.print(f"wrote {file} ({file.stat().st_size:,} bytes)")


@app.command("import")
@reported
def import_file(
    file: Annotated[Path, typer.Argument(help="An export.", exists=True, dir_okay=False)], as_json: Json = False
) -> None:
    """Take an export into a service whose database is new: all of it or nothing."""
    with file.open("rb") as source, err.status("importing …"):
        rows = ask("POST", "/import", content=source)["rows"]
    if as_json:
        sys.stdout.write(json.dumps(rows) + "\n")
    else:
        out.print(f"took in {sum(rows.values()):,} rows of {len(rows)} tables")


@app.command()
@reported
def forget(
    days: Annotated[int, typer.Option(min=1, help="Events and runs older than so many days.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say how many there are.")] = False,
    as_json: Json = False,
) -> None:
    """Forget old events and runs. Datasets, jobs and their edges stay, and the newest run and result of each."""
    with err.status("looking …" if dry_run else "forgetting …"):
        done = ask("POST", "/retention", json={"older_than_days": days, "dry_run": dry_run})
    if as_json:
        sys.stdout.write(json.dumps(done) + "\n")
        return
    did = "would forget" if dry_run else "forgot"
    out.print(f"{did} {done['events']:,} events and {done['runs']:,} runs from before {done['before'][:10]}")
