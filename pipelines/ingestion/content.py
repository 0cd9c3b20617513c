"""What a file is, by its bytes: unpacks and transcodes it to plain UTF-8 and says which format it has.

One pass over the bytes, in chunks. Nothing here trusts the file's name.
"""

from __future__ import annotations

import codecs
import gzip
import hashlib
import re
import shutil
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal

from pipelines.ingestion.model import FileRefused, Limits

Kind = Literal["csv", "json", "ndjson", "parquet", "empty"]

CHUNK = 1 << 20
_HEAD = 1 << 16
_CONTROLS = re.compile(r"[\x00-\x08\x0b\x0e-\x1b]")
_BINARY = {
    b"%PDF": "a PDF document",
    b"PK\x03\x04": "a ZIP archive or an Excel workbook",
    b"\xd0\xcf\x11\xe0": "an old Excel or Word document",
    b"\x89PNG": "a PNG picture",
    b"\xff\xd8\xff": "a JPEG picture",
    b"GIF8": "a GIF picture",
    b"\x7fELF": "a program",
    b"MZ\x90": "a program",
    b"SQLite format 3": "an SQLite database",
    b"ORC": "an ORC file",
    b"Obj\x01": "an Avro file",
    b"BZh": "packed with bzip2 (gzip and zstd are understood)",
    b"\xfd7zXZ": "packed with xz (gzip and zstd are understood)",
    b"7z\xbc\xaf": "a 7-Zip archive",
    b"Rar!": "a RAR archive",
}
_BOMS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))


@dataclass
class Content:
    """A file made plain: `path` is UTF-8 without a byte-order mark (or Parquet as it came)."""

    path: Path
    kind: Kind
    compression: str | None
    encoding: str
    head: str = ""


def sha256(path: Path) -> str:
    """Return the file's SHA-256 in hex: its identity in the ledger."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def inspect(path: Path, stem: Path, encoding: str | None, limits: Limits) -> Content:
    """Find out what a file is and make it plain.

    Args:
        path: The file as it came.
        stem: How the path of a plain copy begins, if one has to be made.
        encoding: The contract's encoding, None to find it out.
        limits: How much a packed file may unpack to.

    Raises:
        FileRefused: it is no data, broken, unpacks to too much, or is not in its encoding.
    """
    with path.open("rb") as file:
        compression = _compression(file.read(4))
    plain = path
    if compression:
        plain = stem.with_name(f"{stem.name}-unpacked")
        _unpack(path, plain, compression, limits)
    with plain.open("rb") as file:
        head = file.read(_HEAD)
    if head[:4] == b"PAR1":
        return Content(plain, "parquet", compression, "binary")
    _refuse_binary(head)
    found, bom = _encoding(head, encoding)
    text = plain if (found, bom) == ("utf-8", 0) else stem.with_name(f"{stem.name}-text")
    content = Content(text, "empty", compression, found)
    _transcode(plain, content, bom)
    content.kind = _kind(content)
    return content


def _compression(magic: bytes) -> str | None:
    if magic[:2] == b"\x1f\x8b":
        return "gzip"
    return "zstd" if magic == b"\x28\xb5\x2f\xfd" else None


def _unpack(path: Path, target: Path, compression: str, limits: Limits) -> None:
    most = limits.unpacked(path.stat().st_size, shutil.disk_usage(target.parent).free)
    size = 0
    try:
        with _opened(path, compression) as source, target.open("wb") as out:
            while chunk := source.read(CHUNK):
                size += len(chunk)
                if size > most:
                    raise FileRefused(f"unpacks to more than {most:,} bytes, the most that is taken of such a file")
                out.write(chunk)
    except EOFError as error:
        raise FileRefused(f"the {compression} stream is cut short") from error
    except (OSError, zlib.error) as error:
        raise FileRefused(f"the {compression} stream is broken: {error}") from error


def _opened(path: Path, compression: str) -> IO[bytes] | Any:
    if compression == "gzip":
        return gzip.open(path, "rb")
    import pyarrow

    return pyarrow.input_stream(str(path), compression="zstd")


def _refuse_binary(head: bytes) -> None:
    for magic, name in _BINARY.items():
        if head.startswith(magic):
            raise FileRefused(f"is no data file but {name}")


def _encoding(head: bytes, given: str | None) -> tuple[str, int]:
    """Return the encoding and the length of the byte-order mark."""
    for mark, name in _BOMS:
        if head.startswith(mark):
            return name, len(mark)
    if given:
        name = codecs.lookup(given).name
        return ("utf-8" if name in ("ascii", "utf-8-sig") else name), 0
    sample = head[: len(head) // 2 * 2]
    if len(sample) >= 4:
        even, odd, half = sample[::2].count(0), sample[1::2].count(0), len(sample) // 2
        if odd > 0.4 * half and even < 0.05 * half:
            return "utf-16-le", 0
        if even > 0.4 * half and odd < 0.05 * half:
            return "utf-16-be", 0
    return "utf-8", 0


def _chunks(path: Path, encoding: str, bom: int) -> Iterator[bytes]:
    """Yield the text as UTF-8 bytes, checked."""
    decoder = codecs.getincrementaldecoder(encoding)("strict")
    position = bom
    with path.open("rb") as file:
        file.seek(bom)
        while True:
            chunk = file.read(CHUNK)
            try:
                text = decoder.decode(chunk, final=not chunk)
            except UnicodeDecodeError as error:
                where = position + error.start
                bad = error.object[error.start : error.start + 1].hex()
                raise FileRefused(
                    f"is not {encoding}: byte 0x{bad} near offset {where:,}; "
                    "name the file's encoding in the contract (ingest.csv.encoding, for example cp1252)"
                ) from error
            if not chunk:
                if text:
                    yield text.encode()
                return
            position += len(chunk)
            yield chunk if encoding == "utf-8" else text.encode()


def _transcode(plain: Path, content: Content, bom: int) -> None:
    """Check the text, and write it as UTF-8 unless it is that already."""
    out = None if content.path == plain else content.path.open("wb")
    head = b""
    try:
        for chunk in _chunks(plain, content.encoding, bom):
            if out:
                out.write(chunk)
            if len(head) < _HEAD:
                head += chunk[: _HEAD - len(head)]
            if b"\0" in chunk:
                raise FileRefused("is binary data: it holds NUL bytes")
    finally:
        if out:
            out.close()
    content.head = head.decode("utf-8", "ignore")


def _kind(content: Content) -> Kind:
    start = content.head.lstrip()
    if not start:
        return "empty"
    controls = len(_CONTROLS.findall(content.head))
    if controls > len(content.head) * 0.01:
        raise FileRefused("is binary data, no text")
    lowered = start[:200].lower()
    if lowered.startswith(("<!doctype html", "<html")):
        raise FileRefused("is an HTML page, perhaps an error page saved under a data file's name")
    if lowered.startswith("<?xml"):
        raise FileRefused("is an XML document; CSV, JSON and Parquet are understood")
    if start[0] == "[":
        return "json"
    if start[0] == "{":
        return "ndjson"
    return "csv"
