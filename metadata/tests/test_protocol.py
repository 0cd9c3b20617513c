"""The short way that events take through the server: it answers as the usual way does."""

from __future__ import annotations

import json
import socket
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import uvicorn

from metadata_service.app import create_app
from metadata_service.database import make_engine, migrate
from metadata_service.protocol import lean_protocol
from metadata_service.settings import ServiceSettings

pytestmark = pytest.mark.integration
Make = Callable[..., dict[str, Any]]
PATH = "/api/v1/lineage"


@pytest.fixture
def port(empty_database: str, free_port: Callable[[], int]) -> Iterator[int]:
    """A server in this process, on a database of its own."""
    settings = ServiceSettings(api_key="k", database_url=empty_database, max_body_bytes=100_000)
    engine = make_engine(settings)
    migrate(engine)
    app = create_app(settings, engine)
    number = free_port()
    server = uvicorn.Server(uvicorn.Config(app, port=number, http=lean_protocol(app), loop="uvloop", log_config=None))
    server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        assert thread.is_alive()
    yield number
    server.should_exit = True
    thread.join()


def _request(body: bytes, path: str = PATH, *headers: str, length: bool = True) -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: h", "Authorization: Bearer k", *headers]
    lines += [f"Content-Length: {len(body)}"] if length else []
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def _answers(port: int, *pieces: bytes, count: int) -> list[tuple[int, dict[str, str], Any]]:
    """Send pieces over one connection and return (status, headers, JSON) of the answers."""
    found = []
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        for piece in pieces:
            connection.sendall(piece)
        stream = connection.makefile("rb")
        for _ in range(count):
            status = int(stream.readline().split()[1])
            headers = {}
            while line := stream.readline().strip():
                name, _, value = line.decode().partition(": ")
                headers[name.lower()] = value
            found.append((status, headers, json.loads(stream.read(int(headers["content-length"])))))
    return found


def test_the_short_way_answers_as_the_usual_one(port: int, event: Make) -> None:
    body = json.dumps(event()).encode()
    short, usual, again = _answers(
        port, _request(body), _request(body, PATH, "Origin: http://x"), _request(body), count=3
    )
    assert [short[0], usual[0], again[0]] == [201, 201, 201]
    assert short[2] == {"status": "stored", "kind": "run"}
    assert usual[2] == again[2] == {"status": "duplicate", "kind": "run"}
    assert {"content-type", "content-length", "x-request-id", "date"} <= short[1].keys()
    assert short[1].keys() == usual[1].keys()
    (named,) = _answers(port, _request(body, PATH, "X-Request-ID: mine"), count=1)
    assert named[1]["x-request-id"] == "mine"


def test_pipelined_and_split_requests_are_answered_in_order(port: int, event: Make) -> None:
    bodies = [json.dumps(event(run=f"r{number}")).encode() for number in range(6)]
    stream = b"".join(map(_request, bodies)) + b"GET /health HTTP/1.1\r\nHost: h\r\n\r\n" + _request(b"{}")
    pieces = [stream[first : first + 97] for first in range(0, len(stream), 97)]
    answers = _answers(port, *pieces, count=8)
    assert [status for status, _, _ in answers] == [201] * 6 + [200, 422]
    batch = b"[" + b",".join(bodies) + b"]"
    ((status, _, result),) = _answers(port, _request(batch, f"{PATH}/batch"), count=1)
    assert (status, result["summary"]["successful"]) == (200, 6)
    assert {item["status"] for item in result["results"]} == {"duplicate"}


def test_heads_that_differ_in_length_only_are_known_again_and_no_others(port: int, event: Make) -> None:
    bodies = [json.dumps(event(run="r" * number)).encode() for number in (1, 20, 120, 9, 30)]
    first, second, third, fourth, fifth = map(_request, bodies)
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        stream = connection.makefile("rb")

        def answer(*pieces: bytes) -> tuple[int, Any]:
            for piece in pieces:
                connection.sendall(piece)
                time.sleep(0.02)  # so that each arrives by itself
            status, length = int(stream.readline().split()[1]), 0
            while line := stream.readline().strip():
                length = int(line.partition(b":")[2]) if line.lower().startswith(b"content-length") else length
            return status, json.loads(stream.read(length))

        stored = {"status": "stored", "kind": "run"}
        assert answer(_request(b"{}"))[0] == answer(_request(b"[]"))[0] == 422
        assert answer(first) == (201, stored)
        assert answer(second) == (201, stored)
        # The rest of a request may look like the head of one.
        odd = _request(third)
        assert answer(odd[: -len(third)], third)[0] == 422
        assert answer(third[:50], third[50:]) == (201, stored)
        assert answer(first.replace(b"Bearer k", b"Bearer x"))[0] == 401
        connection.sendall(fourth + fifth)
        assert [answer(), answer()] == [(201, stored)] * 2
        assert answer(first) == (201, {"status": "duplicate", "kind": "run"})
        connection.sendall(first.replace(b"Content-Length: ", b"Content-Length: +"))
        assert b"400" in stream.readline()


def test_a_refused_event_is_counted_once(port: int) -> None:
    answers = _answers(port, _request(b"{}"), _request(b"{}"), _request(b"[{}]", f"{PATH}/batch"), count=3)
    assert [status for status, _, _ in answers] == [422, 422, 200]
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as metrics:
        assert 'metadata_lineage_events_total{outcome="rejected"} 3.0' in metrics.read().decode()


def test_what_is_wrong_goes_the_usual_way(port: int, event: Make) -> None:
    body = json.dumps(event()).encode()
    for request, status in (
        (_request(b"{"), 422),
        (_request(b""), 422),
        (_request(body).replace(b"Bearer k", b"Bearer x"), 401),
        (_request(b"[" + b" " * 200_000 + b"]"), 413),
    ):
        ((found, headers, problem),) = _answers(port, request, count=1)
        assert (found, problem["status"], headers["content-type"]) == (status, status, "application/problem+json")
    chunked = _request(b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body), PATH, "Transfer-Encoding: chunked", length=False)
    ((status, _, _),) = _answers(port, chunked, count=1)
    assert status == 201
    ((status, headers, _),) = _answers(port, _request(body, PATH, "Connection: close"), count=1)
    assert (status, headers["connection"]) == (201, "close")
