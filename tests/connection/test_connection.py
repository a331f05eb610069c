"""A connection's life: made, opened, found unusable, disconnected, opened again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import dugong
from dugong import ConnectionClosed, HTTPConnection, StateError
from tests.support.drive import advance, drive
from tests.support.exchanges import CHUNKED, EMPTY, LENGTH, OK, ask, fetch, works
from tests.support.in_turn import in_turn
from tests.support.peer import Peer
from tests.support.styles import StyledWire
from tests.support.wire import Wire

# --------------------------------------------------------------------------------- made


def test_attributes(wire: Wire) -> None:
    context = wire.client_context
    conn = HTTPConnection("example.com", ssl_context=context)
    assert (conn.hostname, conn.port) == ("example.com", 443 if wire.tls else 80)
    assert conn.ssl_context is context
    assert conn.proxy is None
    assert conn.timeout is None
    conn = HTTPConnection("example.com", 8080, context, ("proxy.example.com", 3128), timeout=7)
    assert (conn.port, conn.proxy, conn.timeout) == (8080, ("proxy.example.com", 3128), 7)
    conn.hostname, conn.port, conn.proxy, conn.timeout = "other", 81, None, 1.5
    assert (conn.hostname, conn.port, conn.proxy, conn.timeout) == ("other", 81, None, 1.5)


@pytest.mark.parametrize("url", ["socks4://p:1", "socks://p:1", "ftp://p", "p:1", ""])
def test_proxy_of_another_scheme(url: str) -> None:
    with pytest.raises(ValueError):
        HTTPConnection("example.com", proxy=url)


def test_making_does_no_io(plain: Wire) -> None:
    listener = plain.listen()
    conn, peer = plain.dial(listener), listener.peer()
    HTTPConnection("no-such-host.invalid")
    assert not peer.step(), "something has connected"
    assert not conn.response_pending()
    assert not conn.body_pending
    assert (conn.bytes_sent, conn.bytes_received) == (0, 0)


def test_version() -> None:
    assert dugong.__version__ == "4.0.0.dev0"


async def test_socket_that_is_used_up(wire: StyledWire) -> None:
    conn, peer = wire.pair()
    await works(conn, peer)
    conn.disconnect()
    with pytest.raises(StateError):
        await conn.connect()


# ------------------------------------------------------------------------------- opened


async def test_connect_is_a_no_op_when_connected(wire: StyledWire) -> None:
    listener = wire.listen()
    conn, peer = wire.dial(listener), listener.peer()
    for _ in range(3):
        await conn.connect()
    await works(conn, peer)


async def test_idle_connection_is_kept(wire: StyledWire) -> None:
    """Over TLS 1.3 an idle connection is readable: there are session tickets. It is well."""
    conn, peer = wire.pair()
    await conn.connect()
    peer.run()
    for _ in range(3):
        await works(conn, peer)


IDLE: dict[str, Callable[[Peer], None]] = {
    "closed": Peer.close,
    "closed without notify": Peer.close_without_notify,
    "reset": Peer.reset,
    "stray byte": lambda peer: peer.reply(b"\n"),
    "stray response": lambda peer: peer.reply(OK),
    "stray timeout": lambda peer: peer.reply(b"HTTP/1.1 408 Request Timeout\r\n\r\n"),
}


@in_turn("happens", IDLE.values(), ids=IDLE)
@in_turn("used", [True, False], ids=["after an exchange", "before any"])
async def test_idle_connection_found_unusable(
    wire: StyledWire, happens: Callable[[Peer], None], used: bool
) -> None:
    listener = wire.listen()
    conn, first, second = wire.dial(listener), listener.peer(), listener.peer()
    await conn.connect()
    if used:
        await works(conn, first)
    sent_before = len(first.received)
    happens(first)
    first.run()
    with pytest.raises(ConnectionClosed) as info:
        await conn.send_request("POST", "/x", body=b"abc")
    assert info.value.bytes_sent == 0
    assert info.value.safe_to_retry
    assert not info.value.response_started
    assert len(first.received) == sent_before
    assert not conn.response_pending()
    assert not conn.body_pending
    await works(conn, second)


async def test_stray_bytes_behind_a_response(wire: StyledWire) -> None:
    listener = wire.listen()
    conn, first, second = wire.dial(listener), listener.peer(), listener.peer()
    first.expect_request()
    first.reply(OK + b"!")
    await fetch(conn)
    with pytest.raises(ConnectionClosed) as info:
        await conn.send_request("GET", "/")
    assert (info.value.bytes_sent, info.value.safe_to_retry) == (0, True)
    await works(conn, second)


async def test_close_delimited_response_ends_the_connection(wire: StyledWire) -> None:
    listener = wire.listen()
    conn, first, second = wire.dial(listener), listener.peer(), listener.peer()
    first.expect_request()
    first.reply(b"HTTP/1.1 200 OK\r\n\r\nall")
    first.close()
    response, body = await fetch(conn)
    assert (body, response.will_close) == (b"all", True)
    with pytest.raises(ConnectionClosed) as info:
        await conn.send_request("GET", "/")
    assert (info.value.bytes_sent, info.value.safe_to_retry) == (0, True)
    await works(conn, second)


async def test_send_request_takes_the_end_of_a_response_along(wire: StyledWire) -> None:
    """Its last chunk came after the payload was read: nothing is outstanding any more."""
    listener = wire.listen()
    conn, first, second = wire.dial(listener), listener.peer(), listener.peer()
    first.expect_request()
    first.reply(b"HTTP/1.1 200 OK\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n")
    first.reply(b"2\r\nhi\r\n")
    await ask(conn)
    assert await conn.read(2) == b"hi"
    first.reply(b"0\r\n\r\n")
    first.run()
    with pytest.raises(ConnectionClosed) as info:
        await conn.send_request("POST", "/")
    assert (info.value.bytes_sent, info.value.safe_to_retry) == (0, True)
    assert info.value.unanswered == ()
    await works(conn, second)


async def test_keep_alive_timeout_that_has_passed(wire: StyledWire) -> None:
    listener = wire.listen()
    conn, first, second = wire.dial(listener), listener.peer(), listener.peer()
    first.expect_request()
    first.reply(b"HTTP/1.1 200 OK\r\nKeep-Alive: timeout=0\r\nContent-Length: 0\r\n\r\n")
    await fetch(conn)
    with pytest.raises(ConnectionClosed) as info:
        await conn.send_request("GET", "/")
    assert (info.value.bytes_sent, info.value.safe_to_retry) == (0, True)
    await works(conn, second)


@in_turn("value", ["timeout=600", "timeout=600, max=100", "max=5", "timeout=x", ""])
async def test_keep_alive_timeout_that_has_not(wire: StyledWire, value: str) -> None:
    conn, peer = wire.pair()
    peer.expect_request()
    peer.reply(b"HTTP/1.1 200 OK\r\nKeep-Alive: %b\r\nContent-Length: 0\r\n\r\n" % value.encode())
    await fetch(conn)
    await works(conn, peer)


# -------------------------------------------------------------------------- disconnected


@in_turn("end", ["disconnect", "reset"])
@in_turn("state", ["fresh", "connected", "idle", "sent", "head", "body", "writing"])
async def test_disconnect_from_any_state(wire: StyledWire, end: str, state: str) -> None:
    listener = wire.listen()
    conn, first, second = wire.dial(listener), listener.peer(), listener.peer()
    if state == "fresh":
        second = first
    elif state == "connected":
        await conn.connect()
    elif state == "idle":
        await works(conn, first)
    elif state == "writing":
        await conn.send_request("PUT", "/", body=dugong.BodyFollowing(10))
    else:
        await conn.send_request("GET", "/")
        first.expect_request()
        if state == "head":
            first.reply(OK[:10])
            await wire.stop(conn.read_response())
        elif state == "body":
            first.reply(OK[:-1])
            await conn.read_response()
            await conn.read(1)
    for _ in range(3):
        getattr(conn, end)()
    assert not conn.response_pending()
    assert not conn.body_pending
    if state in ("fresh", "connected", "idle"):
        with pytest.raises(StateError):
            await conn.read_response()
    await works(conn, second)
    if state == "idle":
        first.expect_eof()
        first.run()


async def test_write_after_disconnect_in_the_middle_of_a_body(wire: StyledWire) -> None:
    listener = wire.listen()
    conn, _, second = wire.dial(listener), listener.peer(), listener.peer()
    await conn.send_request("PUT", "/", body=dugong.BodyFollowing(10))
    await conn.write(b"abc")
    conn.disconnect()
    with pytest.raises(ConnectionClosed):
        await conn.write(b"def")
    await works(conn, second)


@pytest.mark.parametrize("sample", [LENGTH, CHUNKED], ids=str)
async def test_read_after_disconnect_in_the_middle_of_a_body(wire: StyledWire, sample: Any) -> None:
    listener = wire.listen()
    conn, first, second = wire.dial(listener), listener.peer(), listener.peer()
    first.expect_request()
    first.reply(sample.wire)
    await ask(conn)
    await conn.read(3)
    conn.disconnect()
    with pytest.raises(ConnectionClosed):
        await conn.read(3)
    await works(conn, second)


async def test_read_after_disconnect_behind_a_body(wire: StyledWire) -> None:
    conn, peer = wire.pair()
    await works(conn, peer)
    conn.disconnect()
    assert await conn.read(3) == b""


async def test_with_disconnects_at_the_end(wire: StyledWire) -> None:
    conn, peer = wire.pair()
    async with conn as entered:
        assert entered is conn
        await works(conn, peer)
    peer.expect_eof()
    peer.run()


async def test_with_disconnects_after_an_error(wire: StyledWire) -> None:
    conn, peer = wire.pair()
    with pytest.raises(KeyError):
        async with conn:
            await works(conn, peer)
            raise KeyError
    peer.expect_eof()
    peer.run()


def test_waiting_coroutines_end_when_disconnected(wire: Wire) -> None:
    conn, peer = wire.pair(small=True)
    drive(conn.co_send_request("GET", "/"), peer)
    reader = conn.co_read_response()
    advance(reader, peer)
    sender = conn.co_send_request("PUT", "/", body=bytes(1_000_000))
    advance(sender, peer)
    conn.disconnect()
    for crt in (reader, sender):
        with pytest.raises(ConnectionClosed):
            next(crt)


def test_disconnect_while_connecting(wire: Wire) -> None:
    """The handshake gets no answer, or the connection has only just been begun."""
    listener = wire.listen()
    conn = wire.dial(listener)
    crt = conn.co_connect()
    waiting = next(crt, None) is not None
    conn.disconnect()
    if waiting:
        with pytest.raises(ConnectionClosed):
            next(crt)


# --------------------------------------------------------------------------------- TLS


async def test_certificate_and_cipher(wire: StyledWire) -> None:
    conn, peer = wire.pair()
    certificate = await conn.get_ssl_peercert()
    binary = await conn.get_ssl_peercert(binary_form=True)
    cipher = await conn.get_ssl_cipher()
    if not wire.tls:
        assert (certificate, binary, cipher) == (None, None, None)
    else:
        assert certificate is not None
        assert ("DNS", "localhost") in certificate["subjectAltName"]
        assert isinstance(binary, bytes)
        assert binary.startswith(b"\x30")
        assert cipher is not None
        assert isinstance(cipher[0], str)
    await works(conn, peer)


async def test_head_reply_without_a_body(wire: StyledWire) -> None:
    conn, peer = wire.pair()
    peer.expect_request()
    peer.reply(EMPTY)
    assert (await ask(conn, "HEAD")).status == 200
    await works(conn, peer)
