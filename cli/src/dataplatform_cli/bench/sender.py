"""Sixteen clients in one process, as lean as can be, since they share the processors with what is measured.

`python -m dataplatform_cli.bench.sender`, with a JSON object on stdin: {"way": "insert", "dsn": …} or {"way":
"single" | "batch", "port": …, "key": …}, and "clients", "events", "first" (the number of the first event), "linked"
(whether jobs read what others write). Prints a line of JSON.

Both kinds of client run on one event loop and send what was made beforehand; a client sends its next piece when it has
the answer to the one before. An inserting client speaks libpq directly: a prepared one-row INSERT, committed. An HTTP
client keeps its connection and looks at status and length of an answer, no more.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Iterator
from typing import Any

import psycopg
import uvloop
from psycopg.pq import ExecStatus

from dataplatform_cli.bench.event_data import event, linked_event

BATCH = 100
_TOO_LONG = 600.0


class _Inserter:
    """A client that inserts rows over a connection of its own."""

    def __init__(self, dsn: str, payloads: Iterator[bytes], done: asyncio.Future[None]) -> None:
        self._connection = psycopg.connect(dsn, autocommit=True)
        self._pgconn = self._connection.pgconn
        self._pgconn.prepare(b"one", b"INSERT INTO bench_insert (payload) VALUES ($1::json)")
        self._pgconn.nonblocking = 1
        self._payloads = payloads
        self._done = done

    def start(self) -> None:
        asyncio.get_running_loop().add_reader(self._pgconn.socket, self._on_answer)
        self._send()

    def _send(self) -> None:
        payload = next(self._payloads, None)
        if payload is None:
            asyncio.get_running_loop().remove_reader(self._pgconn.socket)
            self._connection.close()
            self._done.set_result(None)
        else:
            self._pgconn.send_query_prepared(b"one", [payload])
            self._pgconn.flush()

    def _on_answer(self) -> None:
        self._pgconn.consume_input()
        if self._pgconn.is_busy():
            return
        while result := self._pgconn.get_result():
            if result.status != ExecStatus.COMMAND_OK:
                self._done.set_exception(RuntimeError(result.error_message.decode()))
                return
        self._send()


class _Poster(asyncio.Protocol):
    """A client that posts requests over a connection of its own."""

    def __init__(self, requests: Iterator[bytes], done: asyncio.Future[None]) -> None:
        self._requests = requests
        self._done = done
        self._answer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport
        self._send()

    def _send(self) -> None:
        request = next(self._requests, None)
        if request is None:
            self._done.set_result(None)
            self._transport.close()
        else:
            self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._answer += data
        end = self._answer.find(b"\r\n\r\n")
        if end < 0:
            return
        head = self._answer[:end].lower()
        length = int(head.partition(b"content-length:")[2].split(b"\r\n", 1)[0] or 0)
        if len(self._answer) < end + 4 + length:
            return
        if not head.startswith((b"http/1.1 200", b"http/1.1 201")) or b'"rejected"' in self._answer:
            self._done.set_exception(RuntimeError(self._answer.decode(errors="replace")[:500]))
            return
        self._answer = b""
        self._send()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._done.done():
            self._done.set_exception(RuntimeError("the server closed the connection"))


def _requests(given: dict[str, Any], payloads: list[bytes]) -> list[bytes]:
    path, bodies = given.get("path", "/api/v1/lineage"), payloads
    if given["way"] == "batch":
        path = "/api/v1/lineage/batch"
        bodies = [b"[" + b",".join(payloads[i : i + BATCH]) + b"]" for i in range(0, len(payloads), BATCH)]
    head = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {given['key']}\r\n"
        "Content-Type: application/json\r\nContent-Length: "
    ).encode()
    return [head + str(len(body)).encode() + b"\r\n\r\n" + body for body in bodies]


async def send(given: dict[str, Any]) -> dict[str, Any]:
    """Send the events and return how long it took."""
    loop = asyncio.get_running_loop()
    first = given["first"]
    make = linked_event if given.get("linked") else event
    payloads = [json.dumps(make(number)).encode() for number in range(first, first + given["events"])]
    clients: int = given["clients"]
    finished: list[asyncio.Future[None]] = [loop.create_future() for _ in range(clients)]
    if given["way"] == "insert":
        inserters = [_Inserter(given["dsn"], iter(payloads[i::clients]), finished[i]) for i in range(clients)]
        began, cpu_began = time.perf_counter(), time.process_time()
        for inserter in inserters:
            inserter.start()
    else:
        requests = _requests(given, payloads)
        began, cpu_began = time.perf_counter(), time.process_time()
        for number, done in enumerate(finished):
            mine = iter(requests[number::clients])
            await loop.create_connection(lambda mine=mine, done=done: _Poster(mine, done), "127.0.0.1", given["port"])  # type: ignore[misc]
    await asyncio.wait_for(asyncio.gather(*finished), _TOO_LONG)
    return {
        "seconds": time.perf_counter() - began,
        "cpu_seconds": time.process_time() - cpu_began,
        "bytes": len(payloads[0]),
    }


def main() -> None:
    """Do what stdin asks."""
    sys.stdout.write(json.dumps(uvloop.run(send(json.loads(sys.stdin.read())))) + "\n")


if __name__ == "__main__":
    main()
