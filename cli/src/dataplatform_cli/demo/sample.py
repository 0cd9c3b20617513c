"""The demo's files: written once, uploaded unless the platform has had them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg.rows import dict_row

from dataplatform_cli.settings import StackSettings
from dataplatform_cli.stack.s3 import client

if TYPE_CHECKING:
    from pipelines.ingestion.generator import ExpectedFile, Manifest

BUCKET = "raw"
DAYS, SEED = 90, 7


def folder(settings: StackSettings) -> Path:
    """Return where the sample lies."""
    return settings.home / "sample"


def ensure(settings: StackSettings) -> Manifest:
    """Return the sample's manifest, writing the sample first where there is none.

    It is written once: run on another day, the demo finds the files that it has loaded already.
    """
    from pipelines.ingestion.generator import Manifest, write_sample

    path = folder(settings) / "manifest.json"
    if path.exists() and "tables" in (found := json.loads(path.read_text())):  # an older sample is of sales alone
        return Manifest.from_dict(found)
    return write_sample(folder(settings), days=DAYS, seed=SEED)


def key(file: ExpectedFile) -> str:
    """Return the address in the bucket to which a file is uploaded."""
    return f"{file.dataset}/incoming/{file.name}"


def ledger(settings: StackSettings, manifest: Manifest) -> dict[str, dict[str, Any]]:
    """Return the ledger's newest entry of each sample file, by file name; files it does not know are missing."""
    paths = {f"s3://{BUCKET}/{key(file)}": file.name for file in manifest.files}
    with psycopg.connect(settings.dsn("loader"), row_factory=dict_row) as connection:
        exists = connection.execute("SELECT to_regclass('audit.file_ingestion_log') IS NOT NULL AS yes").fetchone()
        if not exists or not exists["yes"]:
            return {}
        rows = connection.execute(
            """
            SELECT DISTINCT ON (path) path, status, stage, error, moved_to, rows_read, rows_rejected, rows_deduplicated,
                rows_inserted, rows_updated, rows_unchanged
            FROM audit.file_ingestion_log
            WHERE path = ANY(%s)
            ORDER BY path, id DESC
            """,
            (list(paths),),
        ).fetchall()
    return {paths[row["path"]]: row for row in rows}


def upload(settings: StackSettings, manifest: Manifest) -> list[str]:
    """Put the files that the ledger does not know into the bucket, in the manifest's order. Returns their names."""
    s3 = client(settings)
    known = ledger(settings, manifest).keys()
    waiting = {
        item["Key"]
        for dataset in {file.dataset for file in manifest.files}
        for item in s3.list_objects_v2(Bucket=BUCKET, Prefix=f"{dataset}/incoming/").get("Contents", ())
    }
    missing = [file for file in manifest.files if file.name not in known and key(file) not in waiting]
    for file in missing:
        s3.upload_file(str(folder(settings) / file.name), BUCKET, key(file))
    return [file.name for file in missing]
