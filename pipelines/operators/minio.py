"""Objects in MinIO or any other S3: put one there, wait for some to be there."""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import conf
from airflow.sdk import BaseOperator, BaseSensorOperator
from airflow.sdk.exceptions import AirflowFailException, AirflowSensorTimeout

from pipelines.utils.connections import MINIO, s3_client
from pipelines.utils.failures import Failure, explained

if TYPE_CHECKING:
    from airflow.providers.openlineage.extractors import OperatorLineage
    from airflow.sdk import Context

MAX_LINEAGE_OBJECTS = 50


class MinIOUploadOperator(BaseOperator):
    """Put a local file, or text or bytes, into a bucket. Others see the whole object or none.

    Running it again is safe: it writes the same object again, or with `replace=False` finds it there.

    Example:
        MinIOUploadOperator(task_id="export", bucket="curated", key="exports/{{ ds }}.csv", source="/data/export.csv")

    Args:
        bucket: Bucket name (templated).
        key: Object key (templated).
        source: Path of the file to put (templated); give this or `data`.
        data: Text (templated; written as UTF-8) or bytes to put.
        replace: Overwrite an object of that key. Where False, one with other content fails the task.
        aws_conn_id: AWS connection.

    Returns:
        The object's address, `s3://bucket/key`.

    Raises:
        ValueError: neither or both of `source` and `data` are given.
        AirflowFailException: the file, the bucket or the connection does not exist, the key is refused, or another
            object is there already; trying again does not help, so the task is not.
        AirflowException: the object store is away.
    """

    template_fields: Sequence[str] = ("bucket", "key", "source", "data", "aws_conn_id")
    ui_color = "#d9ead3"

    def __init__(
        self,
        *,
        bucket: str,
        key: str,
        source: str | None = None,
        data: str | bytes | None = None,
        replace: bool = True,
        aws_conn_id: str = MINIO,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if (source is None) == (data is None):
            raise ValueError(f"{self.task_id}: give either source (a path) or data (text or bytes)")
        self.bucket, self.key, self.source, self.data = bucket, key, source, data
        self.replace, self.aws_conn_id = replace, aws_conn_id

    def execute(self, context: Context) -> str:
        """Put the object and return its address."""
        address = f"s3://{self.bucket}/{self.key}"
        if self.source is not None and not Path(self.source).is_file():
            raise AirflowFailException(f"there is no file {self.source} to upload to {address}")
        with explained(f"uploading {address}", self.aws_conn_id):
            client = s3_client(self.aws_conn_id)
            if not self.replace and (there := _digest(client, self.bucket, self.key)) is not None:
                if there != self._digest():
                    raise AirflowFailException(f"{address} is there already, with other content, and replace is False")
                self.log.info("%s is there already", address)
                return address
            if self.source is not None:
                client.upload_file(self.source, self.bucket, self.key)
            else:
                client.put_object(Bucket=self.bucket, Key=self.key, Body=self._body())
        self.log.info("wrote %s", address)
        return address

    def _body(self) -> bytes:
        return self.data.encode() if isinstance(self.data, str) else self.data or b""

    def _digest(self) -> str:
        if self.source is None:
            return hashlib.sha256(self._body()).hexdigest()
        with Path(self.source).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def get_openlineage_facets_on_complete(self, _: Any) -> OperatorLineage:
        """Name the object as this task's output, and the file as its input."""
        from airflow.providers.openlineage.extractors import OperatorLineage
        from openlineage.client.event_v2 import Dataset

        inputs = [Dataset(namespace="file", name=str(Path(self.source).absolute()))] if self.source else []
        return OperatorLineage(inputs=inputs, outputs=[Dataset(namespace=f"s3://{self.bucket}", name=self.key)])


class MinIOFileSensorOperator(BaseSensorOperator):
    """Wait until objects are there.

    Example:
        MinIOFileSensorOperator(task_id="wait", bucket="raw", prefix="sales/incoming/", pattern="*.csv", minimum=3)

    Args:
        bucket: Bucket name (templated).
        prefix: Key prefix (templated).
        pattern: Shell pattern for what follows the prefix (templated).
        minimum: How many objects there have to be, at least 1.
        aws_conn_id: AWS connection.
        deferrable: Wait in the triggerer, which costs no worker slot; by default as Airflow's setting
            `[operators] default_deferrable` says. Leave such a task a retry: Airflow 3.3 can lose a trigger that
            fires at once.
        poke_interval: Seconds between looks.
        timeout: Seconds after which the task fails.

    Returns:
        The keys that matched.

    Raises:
        AirflowSensorTimeout: too few came in time; the message says how many did.
        AirflowFailException: there is no such bucket or connection, or the key is refused.
        AirflowException: the object store is away.
    """

    template_fields: Sequence[str] = ("bucket", "prefix", "pattern", "aws_conn_id")
    ui_color = "#fff2cc"

    def __init__(
        self,
        *,
        bucket: str,
        prefix: str = "",
        pattern: str = "*",
        minimum: int = 1,
        aws_conn_id: str = MINIO,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if minimum < 1:
            raise ValueError(f"{self.task_id}: minimum has to be at least 1, not {minimum}")
        self.bucket, self.prefix, self.pattern, self.minimum = bucket, prefix, pattern, minimum
        self.aws_conn_id, self.deferrable = aws_conn_id, deferrable
        self.keys: list[str] = []

    def poke(self, context: Context) -> bool:
        """Whether enough objects match now."""
        from pipelines.triggers.objects import list_objects

        with explained(f"looking for {self._place}", self.aws_conn_id):
            found = list_objects(s3_client(self.aws_conn_id), self.bucket, self.prefix, self.pattern)
        self.keys = [item["Key"] for item in found]
        self.log.info("%d of %d objects at %s", len(found), self.minimum, self._place)
        return len(found) >= self.minimum

    def execute(self, context: Context) -> list[str]:
        """Wait, in the triggerer where `deferrable`, and return the keys that matched."""
        if not self.deferrable:
            try:
                super().execute(context)
            except AirflowSensorTimeout as error:
                raise AirflowSensorTimeout(
                    f"{len(self.keys)} of {self.minimum} objects came to {self._place} within {self.timeout:g} s"
                ) from error
        elif not self.poke(context):
            from pipelines.triggers.objects import ObjectsPresentTrigger

            trigger = ObjectsPresentTrigger(
                self.bucket, self.prefix, self.pattern, self.minimum, self.aws_conn_id, self.poke_interval
            )
            timeout = dt.timedelta(seconds=self.timeout)
            self.defer(trigger=trigger, method_name="execute_complete", timeout=timeout)
        return self.keys

    def execute_complete(self, context: Context, event: dict[str, Any]) -> list[str]:
        """Take what the trigger found."""
        if "error" in event:
            raise Failure(event["error"], bool(event.get("permanent"))).to_exception()
        self.keys = event["keys"]
        return self.keys

    @property
    def _place(self) -> str:
        return f"s3://{self.bucket}/{self.prefix}{self.pattern}"

    def get_openlineage_facets_on_complete(self, _: Any) -> OperatorLineage:
        """Name the objects that were waited for as inputs; many of them by their prefix."""
        from airflow.providers.openlineage.extractors import OperatorLineage
        from openlineage.client.event_v2 import Dataset

        names = self.keys if len(self.keys) <= MAX_LINEAGE_OBJECTS else [self.prefix.rstrip("/") or "/"]
        return OperatorLineage(inputs=[Dataset(namespace=f"s3://{self.bucket}", name=name) for name in names])


def _digest(client: Any, bucket: str, key: str) -> str | None:
    """Return the digest of an object's content; None where there is no object."""
    from botocore.exceptions import ClientError

    try:
        body = client.get_object(Bucket=bucket, Key=key)["Body"]
    except ClientError as error:
        if error.response["Error"]["Code"] in ("NoSuchKey", "404"):
            return None
        raise
    digest = hashlib.sha256()
    for chunk in body.iter_chunks(1024**2):
        digest.update(chunk)
    return digest.hexdigest()
