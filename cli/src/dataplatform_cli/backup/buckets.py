"""Buckets out into archives and back. An archive holds each object under its key, which may be any text."""

from __future__ import annotations

import io
import re
import tarfile
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from dataplatform_cli.backup.manifest import Bucket, digest
from dataplatform_cli.errors import PlatformError
from dataplatform_cli.settings import StackSettings
from dataplatform_cli.stack import s3

SMALL = 4 << 20  # bytes up to which objects are transferred side by side, held in memory
AHEAD = 8  # of them at a time
REJECTED = ".rejected.parquet"
_MOVED = re.compile(r"(?P<dataset>[^/]+)/(processed|failed/[^/]+)/dt=[^/]+/(?P<name>.+)")


@dataclass(frozen=True)
class Content:
    """What a bucket holds."""

    objects: int
    bytes: int


def content(client: Any, bucket: str) -> Content:
    """Count a bucket's objects."""
    sizes = [size for _, size in _listed(client, bucket)]
    return Content(len(sizes), sum(sizes))


def keys(client: Any, bucket: str) -> set[str]:
    """Return the keys of a bucket's objects."""
    return {key for key, _ in _listed(client, bucket)}


def pack(client: Any, bucket: str, folder: Path, before: set[str]) -> Bucket:
    """Write a bucket's objects into `buckets/<name>.tar`, while others may go on moving them.

    Args:
        client: The object store's.
        bucket: The bucket.
        folder: The backup's.
        before: Its keys when the databases were not yet seen. A file that has come out of `incoming/` since is packed
            as if it still lay there, since the backup's ledger may not know it.
    """
    path = folder / "buckets" / f"{bucket}.tar"
    path.parent.mkdir(exist_ok=True)
    packed: dict[str, int] = {}
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as archive:
        for key, size, body in _bodies(client, bucket, _keys_in_order(client, bucket)):
            name = key if key in before else _where_it_was(key)
            if name is None or name in packed:
                continue
            entry = tarfile.TarInfo(name)
            entry.size = size
            archive.addfile(entry, body)
            packed[name] = size
    file = str(path.relative_to(folder))
    return Bucket(bucket, file, path.stat().st_size, digest(path), len(packed), sum(packed.values()))


def _where_it_was(key: str) -> str | None:
    """Return the key that a file had before it was taken in; None for what was only written beside it."""
    found = _MOVED.fullmatch(key)
    if found is None:
        return key
    return None if key.endswith(REJECTED) else f"{found['dataset']}/incoming/{found['name']}"


def unpack(client: Any, bucket: Bucket, folder: Path) -> None:
    """Put an archive's objects into their bucket."""
    waiting: deque[Future[None]] = deque()
    with tarfile.open(folder / bucket.file) as archive, ThreadPoolExecutor(AHEAD) as pool:
        for entry in archive:
            body = archive.extractfile(entry)
            if body is None:
                raise PlatformError(f"{bucket.file} holds {entry.name}, which is no object", "use another backup")
            if entry.size > SMALL:
                client.upload_fileobj(body, bucket.name, entry.name)
            else:
                waiting.append(pool.submit(_put, client, bucket.name, entry.name, body.read()))
            while len(waiting) > AHEAD:
                waiting.popleft().result()
        for future in waiting:
            future.result()


def empty(client: Any, bucket: str) -> None:
    """Delete all objects of a bucket."""
    for key, _ in list(_listed(client, bucket)):
        client.delete_object(Bucket=bucket, Key=key)


def client(settings: StackSettings) -> Any:
    """Return the object store's client, its buckets made."""
    s3.make_buckets(settings)
    return s3.client(settings)


def _put(client: Any, bucket: str, key: str, body: bytes) -> None:
    client.put_object(Bucket=bucket, Key=key, Body=body)


def _listed(client: Any, bucket: str) -> Iterator[tuple[str, int]]:
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket):
        for entry in page.get("Contents", []):
            if not entry["Key"].endswith("/"):
                yield entry["Key"], entry["Size"]


def _keys_in_order(client: Any, bucket: str) -> Iterator[tuple[str, int]]:
    """Yield what lies in an `incoming/`, then all that lies elsewhere by then, then what came in meanwhile.

    So a file that moves is met at least once.
    """
    first = [found for found in _listed(client, bucket) if "/incoming/" in found[0]]
    yield from first
    yield from (found for found in _listed(client, bucket) if "/incoming/" not in found[0])
    seen = {key for key, _ in first}
    yield from (found for found in _listed(client, bucket) if "/incoming/" in found[0] and found[0] not in seen)


def _bodies(client: Any, bucket: str, keys: Iterable[tuple[str, int]]) -> Iterator[tuple[str, int, IO[bytes]]]:
    """Yield objects with their size and content, small ones read ahead. One that is gone by then has moved."""
    waiting: deque[tuple[str, Future[tuple[int, IO[bytes]] | None]]] = deque()
    with ThreadPoolExecutor(AHEAD) as pool:
        for key, size in keys:
            waiting.append((key, pool.submit(_get, client, bucket, key, size <= SMALL)))
            while len(waiting) > AHEAD:
                yield from _arrived(*waiting.popleft())
        while waiting:
            yield from _arrived(*waiting.popleft())


def _arrived(key: str, future: Future[tuple[int, IO[bytes]] | None]) -> Iterator[tuple[str, int, IO[bytes]]]:
    found = future.result()
    if found is not None:
        yield key, *found


def _get(client: Any, bucket: str, key: str, whole: bool) -> tuple[int, IO[bytes]] | None:
    try:
        answer = client.get_object(Bucket=bucket, Key=key)
    except client.exceptions.NoSuchKey:
        return None
    if whole:
        data = answer["Body"].read()
        return len(data), io.BytesIO(data)
    return int(answer["ContentLength"]), answer["Body"]
