"""How many Python functions a warm exchange calls: what a small request costs, mostly.

CPython spends more time on these calls than on the system calls between them. The counts depend
neither on the machine nor on its load, unlike any time.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any, Self

import pytest

from dugong import HTTPConnection
from tests.support.drive import drive
from tests.support.peer import Peer
from tests.support.pipeline_server import Server
from tests.support.wire import Wire

RESPONSE = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"


class Calls:
    """Counts the Python functions that begin, and the generators that are resumed, in ``with``."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def __enter__(self) -> Self:
        sys.setprofile(self._profile)
        return self

    def __exit__(self, *exc: object) -> None:
        sys.setprofile(None)
        del self.names[-1:]  # this method

    def _profile(self, frame: FrameType, event: str, arg: object) -> None:
        if event == "call":
            self.names.append(frame.f_code.co_qualname)

    def __len__(self) -> int:
        return len(self.names)


def calls_of(function: Callable[..., object], *args: Any) -> Calls:
    with Calls() as calls:
        function(*args)
    return calls


@pytest.fixture
def warm(plain: Wire) -> tuple[HTTPConnection, Peer]:
    """A connection that was used before, and a peer with nothing to do."""
    conn, peer = plain.pair()
    for _ in range(2):
        exchange(conn, peer)
    return conn, peer


def exchange(conn: HTTPConnection, peer: Peer) -> tuple[Calls, Calls, Calls]:
    sending = calls_of(conn.send_request, "GET", "/")
    peer.expect_request()
    peer.reply(RESPONSE)
    peer.run()
    reading = calls_of(conn.read_response)
    return sending, reading, calls_of(conn.readall)


def test_an_exchange_in_three_calls(warm: tuple[HTTPConnection, Peer]) -> None:
    sending, reading, body = exchange(*warm)
    assert len(sending) <= 21, sending.names
    assert len(reading) <= 24, reading.names
    assert len(body) <= 10, body.names


def test_request(warm: tuple[HTTPConnection, Peer]) -> None:
    conn, peer = warm
    peer.expect_request()
    peer.reply(RESPONSE)
    with peer.in_thread():  # which is not counted
        calls = calls_of(conn.request, "GET", "/")
    assert len(calls) <= 54, calls.names
    assert conn.readall() == b"hello"


def test_a_pipeline(plain: Wire) -> None:
    """For each response, with its request and its body, on average."""
    server = Server(plain, burst=True)
    conn = plain.dial(server.listener)
    paths = [f"/{i}" for i in range(200)]
    for path in paths[:3]:
        drive(conn.co_request("GET", path), server)
        conn.readall()
    pipeline = conn.pipeline(paths)
    count = 0
    for _ in paths:
        step: Any = pipeline.co_next()
        while True:
            calls = calls_of(next, step, None)
            count += len(calls)
            if step.gi_frame is None:
                break
            while server.step():
                pass
        count += len(calls_of(conn.readall))
    assert next(pipeline, None) is None
    assert count <= 36 * len(paths), count / len(paths)
