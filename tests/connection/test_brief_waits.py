"""Blocking methods wait inside the receive for a moment: see "Brief waits" in `transport.stream`.

The limit of such a wait is taken away here. So a call that must not wait would never return, and a
signal that arrives after a moment certainly arrives during the wait.
"""

from __future__ import annotations

import os
import signal
import socket
import struct
import tempfile
import threading
from collections.abc import Callable, Iterator

import pytest

from dugong import ConnectionClosed, HTTPConnection, PollNeeded, eval_coroutine
from dugong.transport import stream

pytestmark = pytest.mark.skipif(not stream.AT_ONCE, reason="no MSG_DONTWAIT here")

RESPONSE = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"


class Interrupted(Exception):
    """What the signal handler raises."""


@pytest.fixture(autouse=True)
def endless(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "_RECEIVE_TIMEOUT", struct.pack("@ll", 0, 0))


@pytest.fixture
def pair() -> Iterator[tuple[HTTPConnection, socket.socket]]:
    """A connection that has waited briefly before, and its peer."""
    near, far = socket.socketpair()
    with far, HTTPConnection("localhost", sock=near) as conn:
        conn.send_request("GET", "/")
        far.recv(1000)
        far.sendall(RESPONSE)
        conn.read_response()
        assert conn.readall() == b"hello"
        yield conn, far


@pytest.fixture
def on_signal() -> Iterator[Callable[[Callable[[], None]], None]]:
    """Have a function run by a signal handler, again and again until the end of the test."""

    def arrange(run: Callable[[], None]) -> None:
        signal.signal(signal.SIGALRM, lambda *_: run())
        signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)

    before = signal.getsignal(signal.SIGALRM)
    yield arrange
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


def interrupt() -> None:
    signal.setitimer(signal.ITIMER_REAL, 0)
    raise Interrupted


def test_an_interrupt_loses_nothing(
    pair: tuple[HTTPConnection, socket.socket],
    on_signal: Callable[[Callable[[], None]], None],
) -> None:
    conn, far = pair
    conn.send_request("GET", "/")
    on_signal(interrupt)
    with pytest.raises(Interrupted):
        conn.read_response()
    far.sendall(RESPONSE[:-5])
    assert conn.read_response().status == 200
    for read in (lambda: conn.read(5), lambda: conn.readinto(bytearray(5)), conn.readall):
        on_signal(interrupt)
        with pytest.raises(Interrupted):
            read()
    far.sendall(b"hello")
    assert conn.readall() == b"hello"


def test_a_later_exception_has_another_origin(
    pair: tuple[HTTPConnection, socket.socket],
    on_signal: Callable[[Callable[[], None]], None],
) -> None:
    """It breaks the connection if data was consumed, as it does without an interrupted wait."""

    class Failing:
        def update(self, data: object) -> None:
            raise Interrupted

    conn, far = pair
    conn.send_request("GET", "/")
    far.sendall(RESPONSE[:-5])
    conn.read_response()
    conn.hash_body(Failing())
    on_signal(interrupt)
    with pytest.raises(Interrupted):
        conn.readall()
    far.sendall(b"hello")
    with pytest.raises(Interrupted):
        eval_coroutine(conn.co_readall(), 10)
    with pytest.raises(ConnectionClosed):
        conn.readall()


def test_an_interrupted_request_has_been_sent(
    pair: tuple[HTTPConnection, socket.socket],
    on_signal: Callable[[Callable[[], None]], None],
) -> None:
    conn, far = pair
    on_signal(interrupt)
    with pytest.raises(Interrupted):
        conn.request("GET", "/")
    far.sendall(RESPONSE)
    assert conn.read_response().status == 200
    assert conn.readall() == b"hello"


def test_a_signal_handler_disconnects(
    pair: tuple[HTTPConnection, socket.socket],
    on_signal: Callable[[Callable[[], None]], None],
) -> None:
    conn, far = pair
    conn.send_request("GET", "/")
    on_signal(conn.disconnect)
    with pytest.raises(ConnectionClosed, match=r"closed by disconnect\(\)"):
        conn.read_response()
    far.recv(1000)
    assert far.recv(1) == b""


def test_coroutines_never_wait(pair: tuple[HTTPConnection, socket.socket]) -> None:
    conn, far = pair
    asking = conn.co_request("GET", "/")
    assert isinstance(next(asking), PollNeeded)
    asking.close()
    reading = conn.co_read_response()
    assert isinstance(next(reading), PollNeeded)
    reading.close()
    far.sendall(RESPONSE[:-5])
    assert conn.read_response().status == 200
    for crt in (conn.co_read(5), conn.co_readinto(bytearray(5)), conn.co_readall()):
        assert isinstance(next(crt), PollNeeded)
        crt.close()


@pytest.mark.parametrize("limit", ["timeout", "deadline"])
def test_short_time_limits_hold(pair: tuple[HTTPConnection, socket.socket], limit: str) -> None:
    conn, _ = pair
    setattr(conn, limit, 0.01)
    conn.send_request("GET", "/")
    with pytest.raises(TimeoutError):
        conn.read_response()


def test_sending_a_file_never_waits_long(pair: tuple[HTTPConnection, socket.socket]) -> None:
    """The peer refuses a large file without reading it."""
    conn, far = pair
    with tempfile.TemporaryFile() as file:
        os.truncate(file.fileno(), 1 << 30)
        server = threading.Thread(target=_refuse, args=(far,))
        server.start()
        response = conn.request("PUT", "/", body=file, expect100=False)
        server.join()
    assert response.status == 413


def test_a_socket_that_sends_files_does_not_block(
    pair: tuple[HTTPConnection, socket.socket],
) -> None:
    """Otherwise, one call could last as long as a slow peer receives, past all time limits."""
    conn, far = pair
    with tempfile.TemporaryFile() as file:
        file.write(b"hello")
        file.seek(0)
        conn.send_request("PUT", "/", body=file)
    used = conn._open_stream()
    assert used is not None
    assert used.sock.gettimeout() == 0
    far.sendall(RESPONSE)
    conn.timeout = 10
    assert conn.read_response().status == 200
    assert conn.readall() == b"hello"


def _refuse(far: socket.socket) -> None:
    far.recv(1000)
    far.sendall(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n")


def test_a_detached_socket_waits_as_long_as_it_likes() -> None:
    near, far = socket.socketpair()
    with far, HTTPConnection("localhost", sock=near) as conn:
        conn.send_request("GET", "/", headers={"Upgrade": "x", "Connection": "upgrade"})
        far.sendall(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"
        )
        assert conn.read_response().status == 101
        sock, rest = conn.detach()
        with sock:
            assert rest == b""
            assert sock.gettimeout() is None
            assert not any(sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, 16))


def test_a_socket_with_methods_of_its_own_is_left_alone() -> None:
    """gevent's sockets, for example, wait in their own way whenever they block."""

    class Green(socket.socket):
        def recv_into(self, *args: object) -> int:
            return super().recv_into(*args)  # type: ignore[arg-type]

    near, far = socket.socketpair()
    with far, HTTPConnection("localhost", sock=Green(fileno=near.detach())) as conn:
        conn.timeout = 1
        conn.send_request("GET", "/")
        far.recv(1000)
        threading.Timer(0.01, far.sendall, (RESPONSE,)).start()
        assert conn.read_response().status == 200
        assert conn.readall() == b"hello"
        used = conn._open_stream()
        assert used is not None
        assert used.sock.gettimeout() == 0
