"""What a connection tells of itself, and how it notices that the server has closed it."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

import pytest

from dugong import AsyncHTTPConnection, BodyFollowing, InvalidRequest
from tests.support.exchanges import CHUNKED, LENGTH, OK, PAYLOAD, ask, fetch, works
from tests.support.in_turn import in_turn
from tests.support.peer import Peer
from tests.support.styles import StyledWire
from tests.support.wire import HOST, Listener

KEPT = b"HTTP/1.1 200 OK\r\nKeep-Alive: timeout=5\r\nContent-Length: 2\r\n\r\nhi"


@pytest.fixture(params=["tcp", "unix"])
def listener(request: pytest.FixtureRequest, wire: StyledWire, tmp_path: Path) -> Listener:
    return wire.listen(None if request.param == "tcp" else str(tmp_path / "socket"))


def socket_of(conn: AsyncHTTPConnection) -> socket.socket:
    session = conn._session
    assert session is not None
    assert session.stream is not None
    return session.stream.sock


def is_closed(conn: AsyncHTTPConnection, peer: Peer) -> None:
    """Assert that the server sees the end, and that there is nothing more to see here."""
    assert not conn.connected
    assert not conn.reusable
    assert (conn.peer_address, conn.local_address, conn.tls_version) == (None, None, None)
    peer.expect_eof()
    peer.run()


async def exchange(conn: AsyncHTTPConnection, peer: Peer, reply: bytes = OK) -> None:
    peer.expect_request()
    peer.reply(reply)
    await fetch(conn)


def close(peer: Peer, how: str) -> None:
    """Make an idle connection useless."""
    if how == "stray bytes":
        peer.reply(b"HTTP/1.1 408 Request Timeout\r\n\r\n")
    getattr(peer, how.replace(" ", "_"), peer.close)()
    peer.run()


ENDS = ["close", "close without notify", "reset", "stray bytes"]


async def test_connected(wire: StyledWire, listener: Listener) -> None:
    conn, peer = wire.dial(listener), listener.peer()
    assert not conn.connected
    await conn.connect()
    assert conn.connected
    peer.expect_request()
    peer.reply(LENGTH.wire)
    await ask(conn)
    assert conn.connected
    assert await conn.readall() == PAYLOAD
    assert conn.connected
    conn.disconnect()
    is_closed(conn, peer)
    peer = listener.peer()
    await works(conn, peer)
    assert conn.connected


async def test_not_connected_after_a_failure(plain: StyledWire) -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        address = unused.getsockname()
    conn = plain.connection(HOST, address=address)
    with pytest.raises(ConnectionRefusedError):
        await conn.connect()
    assert not conn.connected
    assert not conn.reusable


async def test_addresses(wire: StyledWire, listener: Listener) -> None:
    conn, peer = wire.dial(listener), listener.peer()
    assert (conn.peer_address, conn.local_address) == (None, None)
    await works(conn, peer)
    assert conn.peer_address == listener.options.get("address", listener.options.get("unix_socket"))
    if "address" in listener.options:
        assert conn.local_address == peer._socket.getpeername()
    conn.disconnect()
    assert (conn.peer_address, conn.local_address) == (None, None)


async def test_addresses_outlive_a_reset(plain: StyledWire) -> None:
    listener = plain.listen()
    conn, peer = plain.dial(listener), listener.peer()
    await works(conn, peer)
    peer.reset()
    peer.run()
    assert conn.peer_address == listener.address
    assert not conn.reusable
    assert conn.peer_address is None


async def test_the_proxys_address(plain: StyledWire) -> None:
    listener = plain.listen()
    conn = plain.connection("far.example", proxy=listener.address)
    peer = listener.peer()
    peer.expect_request(b"GET http://far.example/ HTTP/1.1")
    peer.reply(OK)
    await fetch(conn)
    assert conn.peer_address == listener.address


async def test_tls_version(wire: StyledWire, listener: Listener) -> None:
    conn, peer = wire.dial(listener), listener.peer()
    assert conn.tls_version is None
    await works(conn, peer)
    assert conn.tls_version == ("TLSv1.3" if wire.tls else None)


# ------------------------------------------------------------------------------- reusable


async def test_reusable(wire: StyledWire, listener: Listener) -> None:
    conn, peer = wire.dial(listener), listener.peer()
    assert not conn.reusable
    await conn.connect()
    assert conn.reusable
    await conn.send_request("PUT", "/", body=BodyFollowing(2))
    assert not conn.reusable
    await conn.write(b"hi")
    assert not conn.reusable
    peer.expect_request()
    peer.reply(CHUNKED.wire[:-5])  # the last chunk is missing
    assert (await conn.read_response()).status == 200
    assert not conn.reusable
    assert await conn.read(100) == PAYLOAD
    assert not conn.reusable
    assert conn.connected
    peer.reply(CHUNKED.wire[-5:])
    peer.run()
    assert conn.reusable, "the end of the body has arrived"
    assert await conn.read(1) == b""
    assert conn.reusable
    await works(conn, peer)
    assert conn.reusable


@pytest.mark.parametrize("how", ENDS)
async def test_an_idle_connection_that_the_server_closed(
    wire: StyledWire, listener: Listener, how: str
) -> None:
    """It is closed as soon as that is noticed; the next request connects, without an error."""
    conn, peer = wire.dial(listener), listener.peer()
    await works(conn, peer)
    close(peer, how)
    assert conn.connected, "nobody has looked"
    assert not conn.reusable
    assert not conn.connected
    await works(conn, listener.peer())


async def test_a_connection_that_is_kept_for_some_time(wire: StyledWire) -> None:
    listener = wire.listen()
    conn, peer = wire.dial(listener), listener.peer()
    now = 100.0
    conn._monitor.clock = lambda: now
    await exchange(conn, peer, KEPT)
    now += 4
    assert conn.reusable
    now += 1
    assert not conn.reusable
    is_closed(conn, peer)


async def test_not_reusable_and_not_closed(wire: StyledWire) -> None:
    """What is unread, or broken, stays as it is."""
    conn, peer = wire.pair()
    peer.expect_request()
    peer.reply(OK)
    await ask(conn)
    peer.close()
    peer.run()
    assert not conn.reusable
    assert conn.connected
    assert await conn.readall() == b"hi"
    assert not conn.reusable
    assert not conn.connected


async def test_after_an_invalid_response(wire: StyledWire) -> None:
    conn, peer = wire.pair()
    peer.expect_request()
    peer.reply(b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n")
    with pytest.raises(Exception, match="Content-Length"):
        await fetch(conn)
    assert not conn.reusable
    assert conn.connected
    conn.disconnect()
    assert not conn.connected


# -------------------------------------------------------------------------------- connect


@pytest.mark.parametrize("how", ENDS)
async def test_connect_replaces_a_dead_connection(
    wire: StyledWire, listener: Listener, how: str
) -> None:
    conn, peer = wire.dial(listener), listener.peer()
    await works(conn, peer)
    close(peer, how)
    second = listener.peer()
    await conn.connect()
    assert conn.reusable
    await works(conn, second)


async def test_connect_leaves_a_good_connection_alone(wire: StyledWire) -> None:
    listener = wire.listen()
    conn, peer = wire.dial(listener), listener.peer()
    await conn.connect()
    address = conn.local_address
    await conn.connect()
    await works(conn, peer)
    await conn.connect()
    peer.expect_request()
    await conn.send_request("GET", "/")
    peer.run()
    peer.reply(OK)
    peer.close()
    peer.run()
    await conn.connect()
    assert (await conn.read_response()).status == 200, "it was not idle"
    assert conn.local_address == address


# ------------------------------------------------------------------------- socket options


async def test_keep_alive_by_default(wire: StyledWire, listener: Listener) -> None:
    conn, peer = wire.dial(listener), listener.peer()
    await works(conn, peer)
    on = socket_of(conn).getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
    assert bool(on) == ("address" in listener.options)


async def test_socket_options(wire: StyledWire, listener: Listener) -> None:
    """They are set on each socket, and override ours."""
    options: list[tuple[int, int, int | bytes]] = [
        (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 0),
        (socket.SOL_SOCKET, socket.SO_RCVBUF, (30_000).to_bytes(4, "little")),
    ]
    if "address" in listener.options:
        options.append((socket.IPPROTO_TCP, socket.TCP_NODELAY, 0))
    conn = wire.dial(listener, socket_options=iter(options))
    for _ in range(2):
        await works(conn, listener.peer())
        sock = socket_of(conn)
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 0
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) == 60_000
        if "address" in listener.options:
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 0
        conn.disconnect()


async def test_socket_options_are_set_before_connecting(plain: StyledWire) -> None:
    """The largest segment is agreed on while connecting."""
    listener = plain.listen()
    options = [(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 600)]
    conn, peer = plain.dial(listener, socket_options=options), listener.peer()
    await works(conn, peer)
    assert peer._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG) <= 600


async def test_a_socket_option_that_is_refused(plain: StyledWire) -> None:
    listener = plain.listen()
    conn = plain.dial(listener, socket_options=[(socket.SOL_SOCKET, 9999, 1)])
    with pytest.raises(OSError, match="Protocol not available"):
        await conn.connect()
    assert not conn.connected


LARGE = 2**40


@in_turn(
    ("options", "error"),
    [
        (None, TypeError),
        (5, TypeError),
        ("ab", TypeError),
        ((1, 2, 3), TypeError),
        ([(1, 2)], TypeError),
        ([(1, 2, 3, 4)], TypeError),
        ([(1, 2, "3")], TypeError),
        ([(1, 2, None)], TypeError),
        ([("a", 2, 3)], TypeError),
        ([(1, 2.0, 3)], TypeError),
        ([(1, 2, LARGE)], InvalidRequest),
        ([(LARGE, 2, b"")], InvalidRequest),
    ],
)
def test_socket_options_are_checked_at_once(options: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="socket_options"):
        AsyncHTTPConnection(HOST, socket_options=options)


def test_a_socket_that_was_given(wire: Any) -> None:
    options = [(socket.SOL_SOCKET, socket.SO_RCVBUF, 30_000)]
    conn, peer = wire.pair(socket_options=options)
    assert not conn.connected
    assert (conn.peer_address, conn.local_address) == (None, None)
    works(conn, peer)
    assert conn.connected
    assert socket_of(conn).getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) == 60_000
    assert os.fstat(socket_of(conn).fileno())
