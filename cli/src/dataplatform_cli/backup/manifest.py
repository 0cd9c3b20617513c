"""What a backup holds, so that it can be checked before anything is replaced by it, and compared with afterwards."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from dataplatform_cli.errors import PlatformError

FORMAT = 1
FILE = "manifest.json"
KEYS = "keys.json"

Tell = Callable[[str], None]
"""Takes a line about what is being done."""


@dataclass(frozen=True)
class Database:
    """A database: its dump, and how many rows each table (`schema.table`) had."""

    name: str
    owner: str
    file: str
    bytes: int
    sha256: str
    rows: dict[str, int]


@dataclass(frozen=True)
class Bucket:
    """A bucket: its archive, and how many objects of how many bytes together are in it."""

    name: str
    file: str
    bytes: int
    sha256: str
    objects: int
    object_bytes: int


@dataclass(frozen=True)
class Manifest:
    """A backup. `taken_at` is ISO 8601, in UTC; `postgres` is the server's major version."""

    taken_at: str
    stack: str
    postgres: int
    keys_sha256: str
    databases: tuple[Database, ...]
    buckets: tuple[Bucket, ...]
    format: int = FORMAT

    @property
    def parts(self) -> list[Database | Bucket]:
        """Databases and buckets."""
        return [*self.databases, *self.buckets]

    def to_dict(self) -> dict[str, Any]:
        """Return it JSON-ready."""
        return asdict(self)


def write(manifest: Manifest, folder: Path) -> None:
    """Write the manifest into its backup's folder."""
    (folder / FILE).write_text(json.dumps(manifest.to_dict(), indent=2) + "\n")


def read(folder: Path) -> Manifest:
    """Return the manifest of a backup.

    Raises:
        PlatformError: the folder is no finished backup, or one of a newer version.
    """
    path = folder / FILE
    if not path.is_file():
        unfinished = folder.name.endswith(".partial")
        reason = "was cut short" if unfinished else f"has no {FILE}"
        raise PlatformError(f"{folder} is no backup: it {reason}", "name the folder that `dp backup` printed")
    try:
        found = json.loads(path.read_text())
        if found["format"] > FORMAT:
            raise PlatformError(f"{folder} was made by a newer version of the platform", "restore it with that version")
        databases = tuple(Database(**item) for item in found.pop("databases"))
        buckets = tuple(Bucket(**item) for item in found.pop("buckets"))
        return Manifest(**found, databases=databases, buckets=buckets)
    except (ValueError, KeyError, TypeError) as error:
        raise PlatformError(f"{path} can't be read: {error}", "take another backup's folder") from error


def check(folder: Path, manifest: Manifest, tell: Tell = lambda _: None) -> None:
    """Compare every file of a backup with its hash.

    Raises:
        PlatformError: a file is missing or not what was written.
    """
    expected = {item.file: item.sha256 for item in manifest.parts}
    for name, wanted in {**expected, KEYS: manifest.keys_sha256}.items():
        path = folder / name
        if not path.is_file():
            raise PlatformError(f"{path} is missing from the backup", "use another backup, or fetch the file again")
        if digest(path) != wanted:
            raise PlatformError(f"{path} is damaged: it is not what was written", "use another backup")
        tell(f"{name} is whole")


def digest(path: Path) -> str:
    """Return a file's SHA-256 as hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
