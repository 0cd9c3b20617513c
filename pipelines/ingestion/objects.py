"""The object store as ingestion uses it: whole objects, unique keys, move = copy + delete.

Within these rules MinIO, AWS S3 and `rclone serve s3` behave alike (docs/architecture.md).
"""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_COPY_LIMIT = 5 * 1024**3  # copy_object's, by the S3 API
_DELETE_LIMIT = 1000  # keys of one delete_objects, by the S3 API
_PUT_LIMIT = 8 * 1024**2


def s3_client(endpoint: str | None, access_key: str, secret_key: str, region: str = "us-east-1") -> Any:
    """Return a boto3 S3 client.

    Args:
        endpoint: Address with scheme, or None for AWS itself.
        access_key: Key id.
        secret_key: Its secret.
        region: Region name; stores other than AWS take any.
    """
    import boto3
    from botocore.config import Config

    return boto3.client(
        "s3",
        endpoint_url=endpoint,
        aws_access_key_id=access_key,
        aws_secret_access_key=secret_key,
        region_name=region,
        config=Config(
            signature_version="s3v4",
            # Trailing checksums are unknown to servers other than AWS.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            s3={"addressing_style": "path"},
            retries={"max_attempts": 5, "mode": "standard"},
        ),
    )


@dataclass(frozen=True)
class StoredObject:
    """An object as a listing shows it: `s3://bucket/key`, bytes, when it was written (UTC) and its entity tag."""

    uri: str
    size: int
    modified: dt.datetime
    etag: str


class ObjectStore:
    """The platform's buckets behind one boto3 client. Addresses are `s3://bucket/key`."""

    def __init__(self, client: Any, raw: str = "raw", staging: str = "staging") -> None:
        self.client, self.raw, self.staging = client, raw, staging

    def list(self, bucket: str, prefix: str) -> Iterator[StoredObject]:
        """Yield the objects below a prefix, in key order."""
        for page in self.client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
            for entry in page.get("Contents", []):
                if not entry["Key"].endswith("/"):
                    yield _stored(bucket, entry["Key"], entry["Size"], entry)

    def find_all(self, uris: Iterable[str]) -> dict[str, StoredObject]:
        """Return those of the objects that exist, all of one folder, by listing from the first to the last of them.

        Neighbours cost one request together, where `find` takes one for each.
        """
        wanted = sorted(set(uris))
        if not wanted:
            return {}
        bucket, first = split(wanted[0])
        folder, last = first.rpartition("/")[0] + "/", split(wanted[-1])[1]
        pages = self.client.get_paginator("list_objects_v2").paginate(
            Bucket=bucket,
            Prefix=folder,
            StartAfter=first[:-1],
            PaginationConfig={"PageSize": min(1000, len(wanted) + 1)},
        )
        found: dict[str, StoredObject] = {}
        for page in pages:
            entries = page.get("Contents", [])
            found |= {
                f"s3://{bucket}/{entry['Key']}": _stored(bucket, entry["Key"], entry["Size"], entry)
                for entry in entries
                if first <= entry["Key"] <= last
            }
            if entries and entries[-1]["Key"] >= last:
                break
        return {uri: found[uri] for uri in wanted if uri in found}

    def find(self, uri: str) -> StoredObject | None:
        """Return one object, or None where there is none."""
        from botocore.exceptions import ClientError

        bucket, key = split(uri)
        try:
            head = self.client.head_object(Bucket=bucket, Key=key)
        except ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] == 404:
                return None
            raise
        return _stored(bucket, key, head["ContentLength"], head)

    def download(self, uri: str, path: Path) -> str:
        """Write an object to a file, in one request, since not every store answers range reads rightly.

        Returns:
            The content's SHA-256 as hexadecimal digits.

        Raises:
            FileNotFoundError: there is no such object.
        """
        bucket, key = split(uri)
        try:
            body = self.client.get_object(Bucket=bucket, Key=key)["Body"]
        except self.client.exceptions.NoSuchKey as error:
            raise FileNotFoundError(f"no object {uri}") from error
        digest = hashlib.sha256()
        with path.open("wb") as file:
            for chunk in body.iter_chunks(1 << 20):
                file.write(chunk)
                digest.update(chunk)
        return digest.hexdigest()

    def upload(self, path: Path, uri: str) -> None:
        """Write a file to an object."""
        bucket, key = split(uri)
        if path.stat().st_size > _PUT_LIMIT:
            self.client.upload_file(str(path), bucket, key)
        else:  # without the transfer manager's threads, which cost more than a small file
            self.client.put_object(Bucket=bucket, Key=key, Body=path.read_bytes())

    def copy(self, uri: str, target: str, size: int) -> None:
        """Copy an object of `size` bytes.

        Raises:
            FileNotFoundError: there is no such object.
        """
        from botocore.exceptions import ClientError

        source_bucket, source_key = split(uri)
        bucket, key = split(target)
        source = {"Bucket": source_bucket, "Key": source_key}
        try:
            if size < _COPY_LIMIT:
                self.client.copy_object(Bucket=bucket, Key=key, CopySource=source)
            else:
                self.client.copy(source, bucket, key)
        except ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] == 404:
                raise FileNotFoundError(f"no object {uri}") from error
            raise

    def move(self, uri: str, target: str, size: int) -> None:
        """Copy, then delete. Cut short in between, the object is at both places and the move can be repeated.

        Raises:
            FileNotFoundError: there is no such object.
        """
        self.copy(uri, target, size)
        self.delete(uri)

    def delete(self, *uris: str) -> None:
        """Delete objects; one that is not there is no error.

        Raises:
            OSError: the store kept some of them.
        """
        by_bucket: dict[str, list[str]] = {}
        for bucket, key in map(split, uris):
            by_bucket.setdefault(bucket, []).append(key)
        for bucket, keys in by_bucket.items():
            if len(keys) == 1:
                self.client.delete_object(Bucket=bucket, Key=keys[0])
                continue
            for first in range(0, len(keys), _DELETE_LIMIT):
                objects = [{"Key": key} for key in keys[first : first + _DELETE_LIMIT]]
                answer = self.client.delete_objects(Bucket=bucket, Delete={"Objects": objects, "Quiet": True})
                if answer.get("Errors"):
                    raise OSError(f"not deleted from {bucket}: {answer['Errors'][:3]}")


def split(uri: str) -> tuple[str, str]:
    """Return bucket and key of `s3://bucket/key`."""
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    if not uri.startswith("s3://") or not bucket or not key:
        raise ValueError(f"{uri!r} is no object address: s3://bucket/key")
    return bucket, key


def _stored(bucket: str, key: str, size: int, entry: dict[str, Any]) -> StoredObject:
    return StoredObject(
        f"s3://{bucket}/{key}", size, entry["LastModified"].astimezone(dt.UTC), entry.get("ETag", "").strip('"')
    )
