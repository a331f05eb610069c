"""The blocking methods: the same results without a driver, and their time limits."""

from __future__ import annotations

import inspect
import socket
import threading
from collections.abc import Callable

import pytest

from dugong import BodyFollowing, ConnectionClosed, ConnectionTimedOut, HTTPConnection
from tests.drive import drive
from tests.exchanges import (
    CHUNKED,
    DECORATED,
    EMPTY,
    LENGTH,
    OK,
    PAYLOAD,
    SAMPLES,
    Sample,
    works,
)
from tests.peer import Peer
from tests.wire import Wire

WAITING = [
    'connect', 'send_request', 'write', 'end_body', 'read_response', 'read', 'readinto', 'readall',
    'discard', 'get_ssl_peercert', 'get_ssl_cipher',
]  # fmt: skip


@pytest.mark.parametrize("name", WAITING)
def test_both_forms_have_the_same_arguments(name: str) -> None:
    blocking = inspect.signature(getattr(HTTPConnection, name))
    coroutine = inspect.signature(getattr(HTTPConnection, f"co_{name}"))
    assert list(blocking.parameters.values()) == list(coroutine.parameters.values())
    assert getattr(HTTPConnection, name).__doc__
    assert getattr(HTTPConnection, f"co_{name}").__doc__


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


@pytest.mark.parametrize("sample", SAMPLES, ids=str)
@pytest.mark.parametrize("name", ["read", "readinto", "readall", "discard"])
def test_exchange(wire: Wire, sample: Sample, name: str) -> None:
    conn, _ = answered(wire, sample.wire, close=sample.closes)
    response = conn.read_response()
    assert (response.status, response.length) == (200, sample.length)
    got = b""
    if name == "read":
        while piece := conn.read(7):
            got += piece
    elif name == "readinto":
        buf = bytearray(7)
        while count := conn.readinto(buf):
            got += buf[:count]
    elif name == "readall":
        got = conn.readall()
    else:
        conn.discard()
        assert conn.read(5) == b""
        return
    assert got == sample.payload
    assert isinstance(conn.readall(), bytes)


def test_connect_and_everything_else(wire: Wire) -> None:
    """A whole life in blocking calls, with the peer in a thread."""
    listener = wire.listen()
    conn, peer = wire.dial(listener), listener.peer(chunk=3)
    peer.expect_head(b"PUT /a HTTP/1.1\r\n")
    peer.reply(b"HTTP/1.1 100 Continue\r\n\r\n")
    peer.expect(b"5\r\nhello\r\n0\r\nX-Sum: 7\r\n\r\n")
    peer.reply(DECORATED.wire)
    peer.expect_request(b"GET /b HTTP/1.1\r\n")
    peer.reply(OK)
    with peer.in_thread():
        conn.connect()
        assert (conn.get_ssl_peercert() is not None) is wire.tls
        assert (conn.get_ssl_cipher() is not None) is wire.tls
        conn.send_request("PUT", "/a", body=BodyFollowing(), expect100=True)
        assert conn.read_response().status == 100
        conn.write(b"hello")
        conn.end_body({"X-Sum": "7"})
        response = conn.read_response()
        assert conn.readall(limit=27) == PAYLOAD
        assert response.trailers["X-Sum"] == "7"
        conn.send_request("GET", "/b")
        assert conn.read_response().path == "/b"
        assert conn.readall() == b"hi"
    peer.check()


def test_blocked_sender_goes_on_when_the_peer_reads(wire: Wire) -> None:
    conn, peer = wire.pair(small=True)
    body = bytes(range(256)) * 4000
    peer.expect_request(body=body)
    peer.reply(EMPTY)
    with peer.in_thread():
        conn.send_request("PUT", "/", body=body)
        assert conn.read_response().status == 200


def test_blocking_calls_and_coroutines_mix(wire: Wire) -> None:
    conn, peer = answered(wire, LENGTH.wire)
    conn.read_response()
    assert conn.read(5) == PAYLOAD[:5]
    assert drive(conn.co_readall(), peer) == PAYLOAD[5:]
    works(conn, peer)


# ----------------------------------------------------------------------------- time limits


@pytest.mark.parametrize("timeout", [0, 0.01])
def test_silent_peer(wire: Wire, timeout: float) -> None:
    """A read that timed out may be repeated and has lost nothing."""
    conn, peer = answered(wire, b"HTTP/1.1 20")
    conn.timeout = timeout
    for _ in range(2):
        with pytest.raises(ConnectionTimedOut):
            conn.read_response()
    peer.reply(CHUNKED.wire[11:-20])
    peer.run()
    assert conn.read_response().status == 200
    for _ in range(2):
        with pytest.raises(ConnectionTimedOut):
            conn.readall()
    peer.reply(CHUNKED.wire[-20:])
    peer.run()
    assert conn.readall() == PAYLOAD
    conn.timeout = None
    works(conn, peer)


def test_silence_is_an_error_of_the_exchange(wire: Wire) -> None:
    conn, peer = answered(wire, b"")
    conn.timeout = 0
    with pytest.raises(ConnectionTimedOut) as info:
        conn.read_response()
    assert info.value.bytes_sent == len(peer.received)
    assert not info.value.response_started
    assert info.value.safe_to_retry
    assert [request.path for request in info.value.unanswered] == ["/"]


def test_no_wait_needs_no_time(wire: Wire) -> None:
    conn, _ = answered(wire, OK)
    conn.timeout = 0
    assert conn.read_response().status == 200
    assert conn.readall() == b"hi"


@pytest.mark.parametrize("timeout", [0, 0.01])
def test_timed_out_send_breaks_the_connection(wire: Wire, timeout: float) -> None:
    conn, peer = wire.pair(small=True)
    drive(conn.co_connect(), peer)
    conn.timeout = timeout
    with pytest.raises(ConnectionTimedOut) as info:
        conn.send_request("PUT", "/", body=bytes(10_000_000))
    assert 0 < info.value.bytes_sent < 10_000_000
    with pytest.raises(ConnectionClosed):
        conn.send_request("GET", "/")


def test_timed_out_write_breaks_the_connection(wire: Wire) -> None:
    conn, peer = wire.pair(small=True)
    drive(conn.co_connect(), peer)
    conn.timeout = 0.01
    conn.send_request("PUT", "/", body=BodyFollowing(10_000_000))
    with pytest.raises(ConnectionTimedOut):
        conn.write(bytes(10_000_000))
    with pytest.raises(ConnectionClosed):
        conn.write(b"x")


def test_timeout_covers_the_handshake(tls: Wire) -> None:
    conn, _ = tls.pair(handshake=False, timeout=0.01)
    with pytest.raises(ConnectionTimedOut):
        conn.connect()


def test_timeout_covers_connecting(plain: Wire) -> None:
    """A listening socket whose queue is full leaves further connections hanging."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as server:
        fillers = []
        try:
            for _ in range(5):
                filler = socket.socket()
                filler.setblocking(False)
                filler.connect_ex(server.getsockname())
                fillers.append(filler)
            conn = HTTPConnection("localhost", address=server.getsockname(), timeout=0.01)
            plain.adopt(conn.disconnect)
            with pytest.raises(ConnectionTimedOut):
                conn.connect()
        finally:
            for filler in fillers:
                filler.close()


def test_timeout_is_for_one_wait(wire: Wire) -> None:
    """Bytes that move begin the time anew: no limit of the whole."""
    conn, peer = wire.pair(chunk=1, timeout=5)
    peer.expect_request()
    peer.reply(LENGTH.wire)
    with peer.in_thread():
        conn.send_request("GET", "/")
        conn.read_response()
        assert conn.readall() == PAYLOAD


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
