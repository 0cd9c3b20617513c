"""Files that are taken in together, and their bytes brought here."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from data_quality.contract import Contract
from pipelines.ingestion.content import sha256
from pipelines.ingestion.model import FileOutcome, SourceFile, Stage
from pipelines.ingestion.objects import ObjectStore

GROUP_FILES = 200
GROUP_BYTES = 16 << 20
SMALL_FILE = 256 << 10  # a file up to this size goes together with others
TRANSFERS = 8  # at the same time


@dataclass(frozen=True)
class Fetched:
    """A file whose bytes are here; `path` is None where it is no longer there."""

    source: SourceFile
    path: Path | None
    content_hash: str
    contract_version: str
    started_at: str
    replay_of: int | None

    def outcome(self, error: str | None = None, stage: Stage | None = None) -> FileOutcome:
        """Return the outcome of the file, without counts: a failure if an error is given."""
        return FileOutcome(
            path=self.source.uri,
            dataset=self.source.dataset,
            status="succeeded" if error is None else "failed",
            stage=stage,
            error=error,
            content_hash=self.content_hash,
            contract_version=self.contract_version,
            size=self.source.size,
            modified=self.source.modified,
            started_at=self.started_at,
            replay_of=self.replay_of,
        )


def groups(sources: Iterable[SourceFile], contract: Contract) -> Iterator[list[SourceFile]]:
    """Yield the files in their order, neighbours that are small together.

    Modes that replace rows, and files that may add columns, take one file at a time.
    """
    together = contract.ingest.write in ("upsert", "append") and contract.ingest.columns != "evolve"
    group: list[SourceFile] = []
    size = 0
    for source in sources:
        small = together and source.size <= SMALL_FILE
        if group and (not small or len(group) >= GROUP_FILES or size + source.size > GROUP_BYTES):
            yield group
            group, size = [], 0
        if small:
            group.append(source)
            size += source.size
        else:
            yield [source]
    if group:
        yield group


def fetch(
    sources: Sequence[SourceFile],
    store: ObjectStore | None,
    scratch: Path,
    contract: Contract,
    replay_of: int | None,
) -> list[Fetched]:
    """Bring files' bytes here and hash them."""

    def one(place: int) -> Fetched:
        source, started = sources[place], dt.datetime.now(dt.UTC).isoformat()
        path: Path | None
        try:
            if not source.is_object:
                path = Path(source.uri)
                content_hash = sha256(path)
            elif store is None:
                raise ValueError(f"{source.uri} needs an object store")
            else:
                path = scratch / f"source-{place}"
                content_hash = store.download(source.uri, path)
        except FileNotFoundError:
            path, content_hash = None, ""
        return Fetched(source, path, content_hash, contract.version, started, replay_of)

    if len(sources) == 1:
        return [one(0)]
    with ThreadPoolExecutor(TRANSFERS) as pool:
        return list(pool.map(one, range(len(sources))))


def split_rejects(path: Path, parts: int) -> dict[int, Path]:
    """Return the rejected rows of each file that has some, as Parquet of its own."""
    if not path.exists():
        return {}
    if parts == 1:
        return {0: path}
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    table, found = pq.read_table(path), {}
    for part in pc.unique(table["part"]).to_pylist():
        found[part] = path.with_name(f"rejects-{part}.parquet")
        pq.write_table(table.filter(pc.equal(table["part"], part)), found[part], compression="zstd")
    return found
