"""After a response that announced to close, the socket is closed with the last byte.

Everything else stays: the certificate can be asked for, requests that were pipelined behind that
response fail with the reason, and `send_request` reports it once before it connects again.
"""

from __future__ import annotations

from typing import Any

import pytest

from dugong import AsyncHTTPConnection, ConnectionClosed
from tests.session.test_state import is_closed, socket_of
from tests.support.exchanges import CHUNKED, CLOSED, LENGTH, OK, ask, works
from tests.support.in_turn import in_turn
from tests.support.peer import Peer
from tests.support.styles import StyledWire

#: More than the small buffers of both ends hold.
LARGE = 300_000

CLOSE = b"Connection: close\r\n"


def announcing(reply: bytes) -> bytes:
    line, rest = reply.split(b"\r\n", 1)
    return b"%s\r\n%s%s" % (line, CLOSE, rest)


#: By name: what is asked, what is replied, and the body.
REPLIES: dict[str, tuple[dict[str, Any], bytes, bytes]] = {
    "length": ({}, announcing(LENGTH.wire), LENGTH.payload),
    "chunked": ({}, announcing(CHUNKED.wire), CHUNKED.payload),
    "until close": ({}, CLOSED.wire, CLOSED.payload),
    "HTTP/1.0": ({}, b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi", b"hi"),
    "our own": ({"headers": {"Connection": "close"}}, OK, b"hi"),
    "length 0": ({}, announcing(b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n"), b""),
    "204": ({}, announcing(b"HTTP/1.1 204 No Content\r\n\r\n"), b""),
    "HEAD": ({"method": "HEAD"}, announcing(OK[:-2]), b""),
}

reply = in_turn("kind", REPLIES)


async def answered(
    wire: StyledWire, kind: str, *, chunk: int | None = None
) -> tuple[AsyncHTTPConnection, Peer, Any]:
    """Make an exchange up to the end of its body; also return where to listen for another."""
    listener = wire.listen()
    conn, peer = wire.dial(listener), listener.peer()
    options, data, body = REPLIES[kind]
    peer.expect_request()
    peer.reply(data, chunk=chunk)
    if kind == "until close":
        peer.close()
    response = await ask(conn, **options)
    assert response.will_close
    if body and kind != "until close":
        assert conn.connected, "its body is unread"
        assert conn.response_pending()
    assert await conn.readall() == body
    assert not conn.response_pending()
    return conn, peer, listener


@reply
@in_turn("chunk", [None, 5])
async def test_closed_with_the_last_byte(wire: StyledWire, kind: str, chunk: int | None) -> None:
    """By us, and without another call."""
    conn, peer, _ = await answered(wire, kind, chunk=chunk)
    assert socket_of(conn).fileno() == -1
    if kind != "until close":
        is_closed(conn, peer)
        assert peer.saw_close_notify == wire.tls
    for _ in range(2):
        assert await conn.readall() == b""


async def test_closed_with_the_last_byte_that_is_read(wire: StyledWire) -> None:
    """Not with its arrival, and without reading the end."""
    conn, peer = wire.pair()
    peer.expect_request()
    peer.reply(announcing(OK))
    await ask(conn)
    assert await conn.read(1) == b"h"
    assert conn.connected
    assert await conn.read(1) == b"i"
    is_closed(conn, peer)
    assert await conn.read(1) == b""


@reply
async def test_what_comes_next(wire: StyledWire, kind: str) -> None:
    conn, _, listener = await answered(wire, kind)
    with pytest.raises(ConnectionClosed, match="announced") as info:
        await conn.send_request("GET", "/")
    assert info.value.safe_to_retry
    assert (info.value.bytes_sent, info.value.unanswered) == (0, ())
    conn._traits.is_http10 = False
    await works(conn, listener.peer())


@in_turn("how", ["request", "connect", "disconnect", "reusable", "pipeline"])
async def test_connecting_again(wire: StyledWire, how: str) -> None:
    conn, _, listener = await answered(wire, "length")
    peer = listener.peer()
    if how in ("request", "pipeline"):
        peer.expect_request()
        peer.reply(OK)
        if how == "request":
            await conn.request("GET", "/")
        else:
            await anext(aiter(conn.pipeline(["/"])))
        assert await conn.readall() == b"hi"
    elif how == "connect":
        await conn.connect()
        assert conn.connected
    elif how == "disconnect":
        conn.disconnect()
    else:
        assert not conn.reusable
    await works(conn, peer)


async def test_certificate_afterwards(tls: StyledWire) -> None:
    """Nothing is connected to for that."""
    conn, peer, _ = await answered(tls, "length")
    certificate = await conn.get_ssl_peercert()
    assert ("DNS", "localhost") in certificate["subjectAltName"]
    assert isinstance(await conn.get_ssl_peercert(binary_form=True), bytes)
    cipher = await conn.get_ssl_cipher()
    assert cipher is not None
    assert cipher[1] == "TLSv1.3"
    is_closed(conn, peer)


async def test_requests_behind_it(wire: StyledWire) -> None:
    """They have no response, for the reason that the server gave."""
    conn, peer = wire.pair()
    for _ in range(3):
        peer.expect_request()
    peer.reply(announcing(OK) + OK)
    for path in ("/a", "/b", "/c"):
        await conn.send_request("GET", path)
    assert (await conn.read_response()).path == "/a"
    assert await conn.readall() == b"hi"
    is_closed(conn, peer)
    assert conn.response_pending()
    for _ in range(2):
        with pytest.raises(ConnectionClosed, match="announced") as info:
            await conn.read_response()
        assert [request.path for request in info.value.unanswered] == ["/b", "/c"]
        assert info.value.safe_to_retry
    with pytest.raises(ConnectionClosed, match="announced"):
        await conn.send_request("GET", "/d")


async def test_while_the_next_request_is_being_sent(wire: StyledWire) -> None:
    conn, peer = wire.pair(small=True)
    peer.expect_request()
    await conn.send_request("GET", "/a")

    async def send() -> None:
        await conn.send_request("PUT", "/b", body=bytes(LARGE))

    async def read() -> None:
        peer.expect_head(b"PUT /b")
        peer.reply(announcing(OK))
        await conn.read_response()
        assert await conn.readall() == b"hi"
        assert not conn.connected

    sent, received = await wire.together(send(), read())
    received.get()
    assert isinstance(sent.error, ConnectionClosed)
    assert "announced" in str(sent.error)
    with pytest.raises(ConnectionClosed):
        await conn.read_response()


async def test_an_early_response_that_refuses_nothing(wire: StyledWire) -> None:
    """The rest of the request is sent before the socket is closed."""
    conn, peer = wire.pair(small=True)
    peer.expect_head()
    peer.reply(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    peer.expect(bytes(LARGE))
    headers = {"Connection": "close"}
    response = await conn.request("PUT", "/", headers=headers, body=bytes(LARGE), expect100=False)
    assert response.status == 200
    assert await conn.readall() == b""
    is_closed(conn, peer)


async def test_in_a_pipeline(wire: StyledWire) -> None:
    """The socket is closed before the next step, which asks another connection for the rest."""
    listener = wire.listen()
    conn, first, second = wire.dial(listener), listener.peer(), listener.peer()
    await works(conn, first)
    first.expect_request()
    first.reply(OK)
    first.expect_request()
    first.expect_request()
    first.reply(announcing(OK))
    responses = aiter(conn.pipeline(["/a", "/b", "/c"]))
    for path in ("/a", "/b"):
        assert (await anext(responses)).path == path
        assert await conn.readall() == b"hi"
    is_closed(conn, first)
    second.expect_request(b"GET /c ")
    second.reply(OK)
    assert (await anext(responses)).path == "/c"
    assert await conn.readall() == b"hi"


async def test_reading_raw_afterwards(plain: StyledWire) -> None:
    conn, peer = plain.pair()
    peer.expect_request()
    peer.reply(announcing(OK) + b"more")
    await ask(conn)
    assert await conn.readall() == b"hi"
    before = conn.bytes_received
    is_closed(conn, peer)
    assert conn.bytes_received == before
