"""The object store as ingestion uses it: whole objects, unique keys, move = copy + delete.

Within these rules MinIO, AWS S3 and `rclone serve s3` behave alike (docs/architecture.md).
"""

from __future__ import annotations

from typing import Any


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
