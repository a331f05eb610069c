"""The blocking methods: what they alone have to do with, threads and files among it.

What they do is tested with the other styles, in the tests that are written for all of them.
"""

from __future__ import annotations

import inspect
import io
import threading
from collections.abc import Callable
from typing import Any

import pytest

from dugong import AsyncHTTPConnection, ConnectionClosed, HTTPConnection
from tests.support.drive import drive
from tests.support.exchanges import (
    CLOSED,
    LENGTH,
    PAYLOAD,
    Sample,
    works,
)
from tests.support.in_turn import in_turn
from tests.support.peer import Peer
from tests.support.styles import WAITING
from tests.support.wire import Wire


@in_turn("name", sorted(WAITING))
def test_all_forms_have_the_same_arguments(name: str) -> None:
    """Only the async form takes async iterables as bodies."""

    def arguments(function: Any) -> list[str]:
        found = inspect.signature(function).parameters.values()
        return [str(argument).replace(" | AsyncBody", "") for argument in found]

    blocking = getattr(HTTPConnection, name)
    for other in (getattr(HTTPConnection, f"co_{name}"), getattr(AsyncHTTPConnection, name)):
        assert arguments(other) == arguments(blocking)
        assert other.__doc__
    assert blocking.__doc__


def test_all_forms_of_a_connection_are_made_with_the_same_arguments() -> None:
    def public(kind: type) -> set[str]:
        return {name for name in dir(kind) if not name.startswith("_")}

    assert {f"co_{name}" for name in WAITING} <= public(HTTPConnection)
    assert public(HTTPConnection) - public(AsyncHTTPConnection) == {"read_raw"}


def answered(wire: Wire, reply: bytes, *, close: bool = False) -> tuple[HTTPConnection, Peer]:
    """A connection whose request has been sent and whose reply lies in the socket's buffer."""
    conn, peer = wire.pair()
    drive(conn.co_connect(), peer)
    conn.send_request("GET", "/")
    peer.expect_request()
    peer.reply(reply)
    if close:
        peer.close()
    peer.run()
    return conn, peer


def test_blocking_calls_and_coroutines_mix(wire: Wire) -> None:
    conn, peer = answered(wire, LENGTH.wire)
    conn.read_response()
    assert conn.read(5) == PAYLOAD[:5]
    assert drive(conn.co_readall(), peer) == PAYLOAD[5:]
    works(conn, peer)


@pytest.mark.parametrize("sample", [LENGTH, CLOSED], ids=str)
def test_text_wrapper(wire: Wire, sample: Sample) -> None:
    conn, peer = wire.pair()
    drive(conn.co_connect(), peer)
    conn.send_request("GET", "/")
    peer.expect_request()
    peer.reply(sample.wire)
    if sample.closes:
        peer.close()
    peer.run()
    conn.read_response()
    text = io.TextIOWrapper(conn, encoding="us-ascii", newline="\r\n")
    assert list(text) == ["swim\r\n", "like a sea cow\r\n", "\r\n", "0\r\n"]
    assert (text.name, text.isatty()) == ("localhost", False)
    for use in (text.fileno, text.truncate, text.tell, lambda: text.seek(0)):
        with pytest.raises(io.UnsupportedOperation):
            use()
    text.close()
    assert not conn.closed


# ------------------------------------------------------------------------- other threads


class Call:
    """A call in a thread of its own, and what came of it."""

    def __init__(self, function: Callable[[], object]) -> None:
        self.error: BaseException | None = None
        self._function = function
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._function()
        except Exception as exc:
            self.error = exc

    def join(self) -> BaseException | None:
        self._thread.join(10)
        assert not self._thread.is_alive(), "the call was not woken"
        return self.error


def test_disconnect_wakes_a_blocked_reader(wire: Wire) -> None:
    conn, _ = answered(wire, LENGTH.wire[:-3])
    conn.read_response()
    reader = Call(conn.readall)
    conn.disconnect()  # whether it blocks already or not
    assert isinstance(reader.join(), ConnectionClosed)


def test_disconnect_wakes_a_blocked_sender(wire: Wire) -> None:
    conn, peer = wire.pair(small=True)
    drive(conn.co_connect(), peer)
    sender = Call(lambda: conn.send_request("PUT", "/", body=bytes(10_000_000)))
    while conn.bytes_sent == 0:  # until it has begun
        pass
    conn.disconnect()
    assert isinstance(sender.join(), ConnectionClosed)


def test_disconnect_wakes_both(wire: Wire) -> None:
    conn, _ = answered(wire, LENGTH.wire[:-3])
    conn.read_response()
    before = conn.bytes_sent
    reader = Call(conn.readall)
    sender = Call(lambda: conn.send_request("PUT", "/", body=bytes(50_000_000)))
    while conn.bytes_sent == before:
        pass
    conn.disconnect()
    assert isinstance(reader.join(), ConnectionClosed)
    assert isinstance(sender.join(), ConnectionClosed)


def test_disconnect_wakes_a_call_that_connects(tls: Wire) -> None:
    conn, peer = tls.pair(handshake=False)
    caller = Call(conn.connect)
    peer.expect(b"\x16\x03")  # the handshake has begun
    peer.run()
    conn.disconnect()
    assert isinstance(caller.join(), ConnectionClosed)


def test_sender_and_reader_in_two_threads(wire: Wire) -> None:
    conn, peer = wire.pair(small=True)
    count, body = 200, bytes(range(256)) * 8
    for i in range(count):
        peer.expect_request(b"PUT /%d " % i, body=body)
        peer.reply(b"HTTP/1.1 200 OK\r\nContent-Length: 2048\r\n\r\n" + body)
    handed = threading.Semaphore(0)

    def send() -> None:
        for i in range(count):
            conn.send_request("PUT", f"/{i}", body=body)
            handed.release()

    with peer.in_thread():
        sender = Call(send)
        for i in range(count):
            handed.acquire()
            assert conn.read_response().path == f"/{i}"
            assert conn.readall() == body
        assert sender.join() is None
