"""The values that pass between the stages of ingestion. All are JSON-serialisable, so that a stage can be a task."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any, ClassVar, Literal, Self

Stage = Literal["validation", "processing", "loading"]


class FileRefused(Exception):
    """A file can't be taken in; the message says what it is or what it lacks. `stage` is where that was found."""

    def __init__(self, message: str, stage: Stage = "validation") -> None:
        super().__init__(message)
        self.stage: Stage = stage


@dataclass(frozen=True)
class Limits:
    """How much a reader may take for one file, since a file may be broken, huge or hostile.

    Attributes:
        memory: Bytes of memory of the process that reads.
        seconds: Time for one file, or for a group of small ones.
        unpacked_bytes: What a packed file may unpack to at all.
        unpacked_ratio: What it may unpack to as a multiple of its size, beyond `UNPACKED_FREE` bytes.
    """

    UNPACKED_FREE: ClassVar[int] = 256 * 1024**2

    memory: int = 3 * 1024**3
    seconds: float = 3600
    unpacked_bytes: int = 64 * 1024**3
    unpacked_ratio: int = 100

    def unpacked(self, packed: int, free_disk: int) -> int:
        """Return how many bytes a file of `packed` bytes may unpack to where so much disk is free.

        Half of the free disk is left: reading makes a second copy.
        """
        return min(self.unpacked_bytes, free_disk // 2, max(self.UNPACKED_FREE, self.unpacked_ratio * packed))


class _Record:
    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON has them."""
        return dataclasses.asdict(self)  # type: ignore[call-overload,no-any-return]

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """Return the value that `to_dict` made `data` of; keys of newer versions are passed over."""
        fields = {field.name for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
        return cls(**{key: value for key, value in data.items() if key in fields})


@dataclass(frozen=True)
class SourceFile(_Record):
    """A file to take in: an `s3://bucket/key` or an absolute local path, bytes, and when it arrived (ISO 8601, UTC)."""

    uri: str
    dataset: str
    size: int
    modified: str

    @property
    def is_object(self) -> bool:
        """Whether the file lies in the object store."""
        return self.uri.startswith("s3://")

    @property
    def name(self) -> str:
        """The file's name, below `incoming/` where it lies there."""
        _, found, below = self.uri.partition("/incoming/")
        return below if found and self.is_object else PurePosixPath(self.uri).name

    @property
    def day(self) -> str:
        """Day of arrival, YYYY-MM-DD: the `dt=` of everything made from the file, the same on every attempt."""
        return self.modified[:10]


@dataclass(frozen=True)
class Counts(_Record):
    """Rows by outcome. The law: read = rejected + deduplicated + inserted + updated + unchanged."""

    rows_read: int = 0
    rows_rejected: int = 0
    rows_deduplicated: int = 0
    rows_inserted: int = 0
    rows_updated: int = 0
    rows_unchanged: int = 0

    def check(self) -> None:
        """Raise AssertionError if rows were lost or invented."""
        parts = (self.rows_rejected, self.rows_deduplicated, self.rows_inserted, self.rows_updated, self.rows_unchanged)
        if self.rows_read != sum(parts) or min(parts) < 0:
            raise AssertionError(f"rows do not add up: {self}")


@dataclass(frozen=True)
class PreparedFile(_Record):
    """A file after validation and processing: `staged` with its clean Parquet, or `failed` with stage and reason."""

    source: SourceFile
    content_hash: str
    contract_version: str
    status: Literal["staged", "failed"]
    stage: Stage | None = None
    error: str | None = None
    staged_uri: str | None = None
    rejects_uri: str | None = None
    rows_read: int = 0
    rows_rejected: int = 0
    rows_deduplicated: int = 0
    rows_staged: int = 0
    rejects_by_rule: dict[str, int] = field(default_factory=dict)
    notes: dict[str, Any] = field(default_factory=dict)
    started_at: str = ""
    seconds: float = 0.0


@dataclass(frozen=True)
class FileOutcome(_Record):
    """What became of a file. `path` is its address when it arrived, `moved_to` its address afterwards."""

    path: str
    dataset: str
    status: Literal["succeeded", "failed", "duplicate"]
    stage: Stage | None = None
    error: str | None = None
    rows_read: int = 0
    rows_rejected: int = 0
    rows_deduplicated: int = 0
    rows_inserted: int = 0
    rows_updated: int = 0
    rows_unchanged: int = 0
    seconds: float = 0.0
    content_hash: str = ""
    contract_version: str = ""
    size: int = 0
    modified: str = ""
    moved_to: str | None = None
    rejects_uri: str | None = None
    rejects_by_rule: dict[str, int] = field(default_factory=dict)
    notes: dict[str, Any] = field(default_factory=dict)
    started_at: str = ""
    replay_of: int | None = None

    @property
    def source(self) -> SourceFile:
        """The file as it arrived."""
        return SourceFile(self.path, self.dataset, self.size, self.modified)

    @property
    def counts(self) -> Counts:
        """Rows by outcome."""
        return Counts.from_dict(self.to_dict())
