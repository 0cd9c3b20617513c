"""Objects in MinIO or any other S3: put one there, wait for some to be there."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator, BaseSensorOperator
from airflow.sdk.exceptions import AirflowException

from pipelines.utils.connections import MINIO, s3_client

if TYPE_CHECKING:
    from airflow.providers.openlineage.extractors import OperatorLineage
    from airflow.sdk import Context


class MinIOUploadOperator(BaseOperator):
    """Put a local file, or text or bytes, into a bucket. Running it again writes the same object again.

    Example:
        MinIOUploadOperator(task_id="export", bucket="curated", key="exports/{{ ds }}.csv", source="/data/export.csv")

    Args:
        bucket: Bucket name.
        key: Object key.
        source: Path of the file to put; give this or `data`.
        data: Text (written as UTF-8) or bytes to put.
        conn_id: AWS connection.

    Returns:
        The object's address, `s3://bucket/key`.

    Raises:
        ValueError: neither or both of `source` and `data` are given.
        AirflowException: the file does not exist.
    """

    template_fields: Sequence[str] = ("bucket", "key", "source", "data")
    ui_color = "#d9ead3"

    def __init__(
        self,
        *,
        bucket: str,
        key: str,
        source: str | None = None,
        data: str | bytes | None = None,
        conn_id: str = MINIO,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if (source is None) == (data is None):
            raise ValueError(f"{self.task_id}: give either source (a path) or data (text or bytes)")
        self.bucket, self.key, self.source, self.data, self.conn_id = bucket, key, source, data, conn_id

    def execute(self, context: Context) -> str:
        """Put the object and return its address."""
        client = s3_client(self.conn_id)
        if self.source is not None:
            path = Path(self.source)
            if not path.is_file():
                raise AirflowException(f"there is no file {path} to upload to s3://{self.bucket}/{self.key}")
            client.upload_file(str(path), self.bucket, self.key)
        else:
            body = self.data.encode() if isinstance(self.data, str) else self.data
            client.put_object(Bucket=self.bucket, Key=self.key, Body=body)
        self.log.info("wrote s3://%s/%s", self.bucket, self.key)
        return f"s3://{self.bucket}/{self.key}"

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
        bucket: Bucket name.
        prefix: Key prefix.
        pattern: Shell pattern for what follows the prefix.
        minimum: How many objects there have to be, at least 1.
        conn_id: AWS connection.
        deferrable: Wait in the triggerer, which costs no worker slot.

    Returns:
        The keys that matched.
    """

    template_fields: Sequence[str] = ("bucket", "prefix", "pattern")
    ui_color = "#fff2cc"

    def __init__(
        self,
        *,
        bucket: str,
        prefix: str = "",
        pattern: str = "*",
        minimum: int = 1,
        conn_id: str = MINIO,
        deferrable: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if minimum < 1:
            raise ValueError(f"{self.task_id}: minimum has to be at least 1, not {minimum}")
        self.bucket, self.prefix, self.pattern, self.minimum = bucket, prefix, pattern, minimum
        self.conn_id, self.deferrable = conn_id, deferrable
        self.keys: list[str] = []

    def poke(self, context: Context) -> bool:
        """Whether enough objects match now."""
        from pipelines.triggers.objects import list_objects

        found = list_objects(s3_client(self.conn_id), self.bucket, self.prefix, self.pattern)
        self.keys = [item["Key"] for item in found]
        self.log.info(
            "%d of %d objects at s3://%s/%s%s", len(found), self.minimum, self.bucket, self.prefix, self.pattern
        )
        return len(found) >= self.minimum

    def execute(self, context: Context) -> list[str]:
        """Wait, in the triggerer where `deferrable`, and return the keys that matched."""
        if not self.deferrable:
            super().execute(context)
        elif not self.poke(context):
            from pipelines.triggers.objects import ObjectsPresentTrigger

            trigger = ObjectsPresentTrigger(
                self.bucket, self.prefix, self.pattern, self.minimum, self.conn_id, self.poke_interval
            )
            timeout = dt.timedelta(seconds=self.timeout)
            self.defer(trigger=trigger, method_name="execute_complete", timeout=timeout)
        return self.keys

    def execute_complete(self, context: Context, event: dict[str, Any]) -> list[str]:
        """Take what the trigger found."""
        if "error" in event:
            raise AirflowException(f"waiting for s3://{self.bucket}/{self.prefix}{self.pattern}: {event['error']}")
        keys: list[str] = event["keys"]
        return keys
