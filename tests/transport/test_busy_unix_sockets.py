"""Unix sockets whose backlog is full: connecting waits, as it does for any other server."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from dugong import (
    AsyncHTTPConnection,
    ConnectionClosed,
    ConnectionTimedOut,
    HTTPConnection,
    is_temp_network_error,
)
from tests.support.drive import drive
from tests.support.exchanges import OK, works
from tests.support.peer import Peer
from tests.support.styles import StyledWire
from tests.support.wire import HOST, AnyWire, Wire
from tests.transport.tools import open_descriptors


class Busy:
    """A server at a Unix socket that has not accepted the connections in its backlog yet."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(self.path)
        self._listening.listen(0)
        self._listening.setblocking(False)
        self._waiting = socket.socket(socket.AF_UNIX)
        self._waiting.connect(self.path)

    def peer(self, wire: AnyWire[AsyncHTTPConnection] | Wire) -> Peer:
        """The server's side of our connection: it accepts the one before at its first step."""
        before = Peer(listener=self._listening)
        context = wire.certificates.server if wire.tls else None
        peer = Peer(listener=self._listening, context=context, after=before.accept)
        wire.adopt_peer(before)
        wire.adopt_peer(peer)
        return peer

    def close(self) -> None:
        self._listening.close()
        self._waiting.close()


@pytest.fixture
def busy(tmp_path: Path) -> Iterator[Busy]:
    busy = Busy(tmp_path / "socket")
    yield busy
    busy.close()


async def test_connecting_waits_until_there_is_room(wire: StyledWire, busy: Busy) -> None:
    conn = wire.connection(HOST, ssl_context=wire.client_context, unix_socket=busy.path)
    await works(conn, busy.peer(wire))


async def test_request_waits_until_there_is_room(wire: StyledWire, busy: Busy) -> None:
    conn = wire.connection(HOST, ssl_context=wire.client_context, unix_socket=busy.path, timeout=30)
    peer = busy.peer(wire)
    peer.expect_request()
    peer.reply(OK)
    assert (await conn.request("PUT", "/", body=b"abc")).status == 200
    assert await conn.readall() == b"hi"


@pytest.mark.styles("blocking", "asyncio", "trio")  # generators have no limits
@pytest.mark.parametrize("limit", ["timeout", "deadline"])
@pytest.mark.parametrize("seconds", [0, 0.02])
async def test_connecting_waits_no_longer_than_allowed(
    plain: StyledWire, busy: Busy, limit: str, seconds: float
) -> None:
    conn = plain.connection(HOST, unix_socket=busy.path)
    setattr(conn, limit, seconds)
    with pytest.raises(ConnectionTimedOut, match=busy.path) as info:
        await conn.send_request("GET", "/")
    assert (info.value.bytes_sent, info.value.safe_to_retry) == (0, True)
    assert is_temp_network_error(info.value)


def test_disconnect_ends_the_wait(plain: Wire, busy: Busy) -> None:
    before = open_descriptors()
    conn = HTTPConnection(HOST, unix_socket=busy.path)
    crt = conn.co_connect()
    need = next(crt)
    assert not need.poll(0)
    conn.disconnect()
    assert need.poll(10)
    with pytest.raises(ConnectionClosed, match="disconnect"):
        next(crt)
    assert open_descriptors() == before


def test_coroutine_that_is_dropped(plain: Wire, busy: Busy) -> None:
    before = open_descriptors()
    conn = HTTPConnection(HOST, unix_socket=busy.path)
    crt = conn.co_send_request("GET", "/")
    for _ in range(3):
        need = next(crt)
        need.poll(need.timeout)
    crt.close()
    assert open_descriptors() == before
    works(conn, busy.peer(plain))


def test_server_that_ends_instead(plain: Wire, busy: Busy) -> None:
    crt = HTTPConnection(HOST, unix_socket=busy.path).co_connect()
    next(crt)
    busy.close()
    with pytest.raises(ConnectionRefusedError, match=busy.path):
        drive(crt)
