"""`dp minio`: the buckets of whichever stack is up."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any

import typer
from botocore.exceptions import BotoCoreError, ClientError

from dataplatform_cli.command import reported, settings_of_repository
from dataplatform_cli.display import out
from dataplatform_cli.errors import PlatformError
from dataplatform_cli.settings import StackSettings
from dataplatform_cli.stack.kinds import running
from dataplatform_cli.stack.s3 import BUCKETS, client, client_of

app = typer.Typer(help="The buckets of the stack that is up.", no_args_is_help=True)

NO_ACCOUNT = ("InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidAccessKey")
"""How servers say that they do not know an account."""


@dataclass(frozen=True)
class Found:
    """One thing that was looked at. `good` is None where this server has no such thing."""

    good: bool | None
    message: str


@app.command()
@reported
def buckets() -> None:
    """Make the buckets raw, staging and curated, with versioning, policies and accounts where the server has them."""
    settings = settings_of_repository()
    running(settings).make_buckets()
    out.print(f"buckets: {', '.join(sorted(item['Name'] for item in client(settings).list_buckets()['Buckets']))}")


@app.command("upload-sample")
@reported
def upload_sample() -> None:
    """Put the sample files into raw/<dataset>/incoming/, as far as the platform has not had them."""
    from dataplatform_cli.demo import put_sample

    settings = settings_of_repository()
    running(settings)
    put_sample(settings)


@app.command()
@reported
def verify() -> None:
    """Check buckets, reading and writing, versioning, and what the producers' account may do. Exit code 1 if not so."""
    settings = settings_of_repository()
    running(settings)
    try:
        found = examine(settings)
    except (BotoCoreError, ClientError) as error:
        raise PlatformError(f"the object store does not answer as it should: {error}", "see `dp logs s3`") from error
    for item in found:
        mark = {True: "[green]✔[/]", False: "[red]✘[/]", None: "[dim]·[/]"}[item.good]
        out.print(f"  {mark} {item.message}")
    if any(item.good is False for item in found):
        raise PlatformError("the object store is not as it should be", "`make minio-buckets` makes what is missing")


@app.command()
@reported
def console() -> None:
    """Tell where the object store's web pages are, and their log-in."""
    settings = settings_of_repository()
    stack = running(settings)
    if stack.kind == "local" and not any(item["name"] == "s3" and _is_minio(settings) for item in stack.status()):
        raise PlatformError(
            "rclone, which serves the buckets here, has no web pages",
            "MinIO has: start the Compose stack, or put a minio on PATH",
        )
    password = settings.minio_root_password.get_secret_value()
    shown = password if password == "minio123" else "MINIO_ROOT_PASSWORD in .env"  # noqa: S105 - the known default
    out.print(f"{settings.console_url}   {settings.minio_root_user} / {shown}")


def _is_minio(settings: StackSettings) -> bool:
    from dataplatform_cli.stack.s3 import locate

    return locate(settings).kind == "minio"


def examine(settings: StackSettings) -> list[Found]:
    """Return what was found of buckets, objects, versioning and accounts."""
    s3 = client(settings)
    there = {item["Name"] for item in s3.list_buckets()["Buckets"]}
    found = [Found(name in there, f"bucket {name}{'' if name in there else ' is missing'}") for name in BUCKETS]
    if not there.issuperset(BUCKETS):
        return found
    producer = _producer(settings, s3)
    # A server without accounts is a stand-in, which keeps no versions either.
    wanted = producer[0].good is not None
    return [*found, _round_trip(s3), *(_versioning(s3, name, wanted) for name in BUCKETS), *producer]


def _round_trip(s3: Any) -> Found:
    key, body = f"verify/{uuid.uuid4()}", b"verify"
    s3.put_object(Bucket="staging", Key=key, Body=body)
    read = s3.get_object(Bucket="staging", Key=key)["Body"].read()
    s3.delete_object(Bucket="staging", Key=key)
    return Found(read == body, "an object was written, read back and deleted")


def _versioning(s3: Any, bucket: str, wanted: bool) -> Found:
    try:
        on = s3.get_bucket_versioning(Bucket=bucket).get("Status") == "Enabled"
    except ClientError:
        on = False
    if on:
        return Found(True, f"{bucket}: versions are kept")
    return Found(False if wanted else None, f"{bucket}: no versions are kept")


def _producer(settings: StackSettings, s3: Any) -> list[Found]:
    """Look at what the producers' account may do, by doing it."""
    name = settings.minio_producer_user
    producer = client_of(settings, name, settings.minio_producer_password.get_secret_value())
    waiting, elsewhere = f"verify/incoming/{uuid.uuid4()}", f"verify/processed/{uuid.uuid4()}"
    try:
        producer.put_object(Bucket="raw", Key=waiting, Body=b"verify")
    except ClientError as error:
        code = error.response["Error"]["Code"]
        if code in NO_ACCOUNT:
            return [Found(None, f"no account {name} for producers: this server has the root pair alone")]
        return [Found(False, f"{name} can't put a file into raw/*/incoming/: {code}")]
    s3.delete_object(Bucket="raw", Key=waiting)
    forbidden = (("raw", elsewhere), ("staging", waiting), ("curated", waiting))
    open_doors = [f"{bucket}/{key}" for bucket, key in forbidden if _may_put(producer, bucket, key)]
    for door in open_doors:
        bucket, _, key = door.partition("/")
        s3.delete_object(Bucket=bucket, Key=key)
    return [
        Found(True, f"{name} may put files into raw/*/incoming/"),
        Found(not open_doors, f"{name} may write {'also ' + ', '.join(open_doors) if open_doors else 'nothing else'}"),
    ]


def _may_put(s3: Any, bucket: str, key: str) -> bool:
    try:
        s3.put_object(Bucket=bucket, Key=key, Body=b"verify")
    except ClientError as error:
        if error.response["Error"]["Code"] != "AccessDenied":
            raise
        return False
    return True
