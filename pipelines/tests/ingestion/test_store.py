"""What ingestion asks of an object store, tested on the one that runs here (`make test-peers`: on MinIO).

Everything is read back through a client of its own, and compared byte by byte.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from botocore.exceptions import BotoCoreError, ClientError

from dataplatform_cli.settings import StackSettings
from dataplatform_cli.stack import s3 as s3_server
from pipelines.ingestion.objects import ObjectStore, s3_client, split

pytestmark = pytest.mark.integration

NAMES = [
    "plain.csv",
    "with space.csv",
    "umlaut-äöü-日本-\N{GRINNING FACE}.csv",
    "plus+and&amp=equals.csv",
    "percent%20already%2F.csv",
    "quote'double\"semi;.csv",
    "hash#question?.csv",
    "[brackets]{braces}(parens).csv",
    "deep/er/and/deeper/file.csv",
    "UPPER.CSV",
    "no extension",
    ".hidden",
    "two..dots...csv",
    "dt=2026-01-01/part-0.parquet",
    "tilde~at@dollar$comma,.csv",
    "x" * 200 + ".csv",
]


@pytest.fixture
def prefix(dataset: str) -> str:
    return f"s3://raw/{dataset}/"


@pytest.fixture
def put(store: ObjectStore, tmp_path: Path) -> Callable[[str, bytes], None]:
    def upload(uri: str, content: bytes) -> None:
        path = tmp_path / "upload"
        path.write_bytes(content)
        store.upload(path, uri)

    return upload


@pytest.fixture
def get(store: ObjectStore, tmp_path: Path) -> Callable[[str], bytes]:
    def download(uri: str) -> bytes:
        path = tmp_path / "download"
        store.download(uri, path)
        return path.read_bytes()

    return download


@pytest.mark.parametrize("name", NAMES)
def test_any_name_makes_the_whole_way(store, prefix, put, get, name):
    content = name.encode()
    put(prefix + "in/" + name, content)
    assert get(prefix + "in/" + name) == content
    [listed] = store.list("raw", split(prefix)[1])
    found = store.find(prefix + "in/" + name)
    assert found is not None
    assert (listed.uri, listed.size, listed.etag) == (prefix + "in/" + name, len(content), found.etag)
    store.move(prefix + "in/" + name, prefix + "out/" + name, len(content))
    assert get(prefix + "out/" + name) == content
    assert [entry.uri for entry in store.list("raw", split(prefix)[1])] == [prefix + "out/" + name]


def test_what_a_listing_says(store, prefix, put):
    before = dt.datetime.now(dt.UTC) - dt.timedelta(seconds=2)
    put(prefix + "a.csv", b"12345")
    [entry] = store.list("raw", split(prefix)[1])
    assert entry.size == 5
    assert before <= entry.modified <= dt.datetime.now(dt.UTC) + dt.timedelta(seconds=2)
    assert entry.modified.utcoffset() == dt.timedelta(0)
    assert entry.etag == hashlib.md5(b"12345", usedforsecurity=False).hexdigest()
    assert [entry] == list(store.list("raw", split(prefix)[1])), "what is left alone looks the same twice"


def test_a_listing_is_in_key_order_and_complete(store, prefix, put):
    """Past a page of a thousand, and only below the prefix."""
    _, key = split(prefix)
    keys = [f"{key}in/{number:04}.csv" for number in range(1100)]
    for name in keys:
        store.client.put_object(Bucket="raw", Key=name, Body=b"")
    put(prefix + "inner.csv", b"x")
    assert [split(entry.uri)[1] for entry in store.list("raw", f"{key}in/")] == keys
    assert list(store.list("raw", f"{key}nothing/")) == []


def test_an_empty_object(store, prefix, put, get):
    put(prefix + "empty.csv", b"")
    assert get(prefix + "empty.csv") == b""
    [entry] = store.list("raw", split(prefix)[1])
    assert entry.size == 0
    store.move(prefix + "empty.csv", prefix + "moved/empty.csv", 0)
    assert get(prefix + "moved/empty.csv") == b""


def test_a_large_object_goes_in_parts(store, prefix, put, get):
    content = os.urandom(1 << 20) * 33  # boto3 sends more than 8 MB in parts
    put(prefix + "large.bin", content)
    assert get(prefix + "large.bin") == content
    store.move(prefix + "large.bin", prefix + "moved/large.bin", len(content))
    assert get(prefix + "moved/large.bin") == content


def test_what_is_not_there(store, prefix, get):
    assert store.find(prefix + "nothing") is None
    with pytest.raises(FileNotFoundError, match="nothing"):
        get(prefix + "nothing")
    with pytest.raises(FileNotFoundError, match="nothing"):
        store.move(prefix + "nothing", prefix + "elsewhere", 1)
    assert list(store.list("raw", split(prefix)[1])) == []
    with pytest.raises(ClientError):
        list(store.list("no-such-bucket", ""))


def test_deleting_twice_is_no_error(store, prefix, put):
    put(prefix + "a.csv", b"x")
    for _ in range(2):
        store.delete(prefix + "a.csv")
    assert store.find(prefix + "a.csv") is None


def test_a_move_cut_short_can_be_done_again(store, prefix, put, get):
    put(prefix + "a.csv", b"content")
    store.copy(prefix + "a.csv", prefix + "b.csv", 7)
    assert {entry.uri for entry in store.list("raw", split(prefix)[1])} == {prefix + "a.csv", prefix + "b.csv"}
    store.move(prefix + "a.csv", prefix + "b.csv", 7)
    assert [entry.uri for entry in store.list("raw", split(prefix)[1])] == [prefix + "b.csv"]
    with pytest.raises(FileNotFoundError, match=r"a\.csv"):
        store.move(prefix + "a.csv", prefix + "b.csv", 7)
    assert get(prefix + "b.csv") == b"content"


def test_a_copy_has_the_content_and_tag_of_its_original(store, prefix, put):
    put(prefix + "a.csv", b"content")
    first = store.find(prefix + "a.csv")
    store.move(prefix + "a.csv", prefix + "b.csv", 7)
    second = store.find(prefix + "b.csv")
    assert (first.size, first.etag) == (second.size, second.etag)


def test_a_put_over_an_object_replaces_it_whole(store, prefix, put, get):
    for content in (b"long content", b"short", b""):
        put(prefix + "a.csv", content)
        assert get(prefix + "a.csv") == content
        assert [entry.size for entry in store.list("raw", split(prefix)[1])] == [len(content)]


def test_an_object_shows_when_it_is_whole(store, prefix):
    """A put that takes its time, and an upload in parts: nothing is listed before the end."""
    _, key = split(prefix)

    def slow() -> Iterator[bytes]:
        for _ in range(10):
            time.sleep(0.05)
            yield b"x" * 100_000

    seen: list[list[int]] = []
    done = threading.Event()

    def watch() -> None:
        while not done.is_set():
            seen.append([entry.size for entry in store.list("raw", key)])

    watcher = threading.Thread(target=watch)
    watcher.start()
    url = store.client.generate_presigned_url("put_object", Params={"Bucket": "raw", "Key": f"{key}slow.csv"})
    assert httpx.put(url, content=slow(), headers={"Content-Length": "1000000"}).status_code == 200
    upload = store.client.create_multipart_upload(Bucket="raw", Key=f"{key}slow2.csv")["UploadId"]
    target = {"Bucket": "raw", "Key": f"{key}slow2.csv", "UploadId": upload}
    part = store.client.upload_part(**target, PartNumber=1, Body=b"y" * 5_000_000)
    time.sleep(0.2)
    parts = [{"PartNumber": 1, "ETag": part["ETag"]}]
    store.client.complete_multipart_upload(**target, MultipartUpload={"Parts": parts})
    done.set()
    watcher.join()
    seen.append([entry.size for entry in store.list("raw", key)])
    assert [sizes for index, sizes in enumerate(seen) if not index or sizes != seen[index - 1]] == [
        [],
        [1_000_000],
        [1_000_000, 5_000_000],
    ]


def test_an_upload_in_parts_that_is_given_up_leaves_nothing(store, prefix):
    _, key = split(prefix)
    upload = store.client.create_multipart_upload(Bucket="raw", Key=f"{key}a.csv")["UploadId"]
    target = {"Bucket": "raw", "Key": f"{key}a.csv", "UploadId": upload}
    store.client.upload_part(**target, PartNumber=1, Body=b"y" * 5_000_000)
    store.client.abort_multipart_upload(**target)
    assert list(store.list("raw", key)) == []


def test_the_store_tells_its_time(store, prefix):
    from pipelines.ingestion.arrivals import _now

    assert abs(_now(store, split(prefix)[1]) - dt.datetime.now(dt.UTC)) < dt.timedelta(seconds=3)


@pytest.fixture
def other(tmp_path: Path, free_port: Callable[[], int]) -> StackSettings:
    ports = {"minio_port": free_port(), "minio_console_port": free_port()}
    return StackSettings(dp_home=tmp_path / "s3", _env_file=None, **ports)  # type: ignore[call-arg, arg-type]


def test_wrong_keys_and_a_store_that_is_away_are_errors(store, s3, other):
    stranger = ObjectStore(s3_client(s3.s3_endpoint, s3.minio_root_user, "wrong-secret"))
    with pytest.raises(ClientError):
        list(stranger.list("raw", ""))
    with pytest.raises(ClientError):
        stranger.find("s3://raw/a")  # not None: it is not known to be away
    away = ObjectStore(s3_server.client(other))
    with pytest.raises(BotoCoreError):
        away.find("s3://raw/a")


def test_an_address_has_a_bucket_and_a_key():
    assert split("s3://raw/a/b c") == ("raw", "a/b c")
    for wrong in ("raw/a", "s3://raw", "s3://raw/", "s3:///a", ""):
        with pytest.raises(ValueError, match="is no object address"):
            split(wrong)
