"""A contract tried on the files that it was inferred from, with the very code that will take them in."""

from __future__ import annotations

import datetime as dt
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from data_quality.contract import load_contract
from pipelines.ingestion import core
from pipelines.ingestion.model import FileRefused, SourceFile


def rejects(text: str, files: Sequence[Path]) -> Counter[str]:
    """Return how many rows of the files a contract rejects, by `column: rule`.

    Raises:
        FileRefused: it refuses a whole file, though not for the number of its bad rows.
    """
    found: Counter[str] = Counter()
    with tempfile.TemporaryDirectory(prefix="infer-") as folder:
        path = Path(folder) / "inferred.odcs.yaml"
        path.write_text(text, encoding="utf-8")
        contract = load_contract(path)
        for file in files:
            status = file.stat()
            modified = dt.datetime.fromtimestamp(status.st_mtime, dt.UTC).isoformat()
            source = SourceFile(str(file.absolute()), contract.name, status.st_size, modified)
            prepared = core.prepare(source, contract, None, folder=Path(folder))
            if prepared.status == "failed" and not prepared.rejects_by_rule:
                raise FileRefused(f"{file} {prepared.error}")
            found.update(prepared.rejects_by_rule)
    return found
