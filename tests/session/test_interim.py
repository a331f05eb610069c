"""Interim responses: 1xx collected on the way, 100-continue, and 101."""

from __future__ import annotations

import pytest

from dugong import BodyFollowing, ConnectionClosed, InvalidResponse, StateError, UnsupportedResponse
from tests.support.exchanges import DECORATED, EMPTY, OK, PAYLOAD, ask, fetch, works
from tests.support.in_turn import in_turn
from tests.support.styles import StyledWire

HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n"
PROCESSING = b"HTTP/1.1 102 Processing\r\n\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
SWITCHING = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: sea\r\nConnection: Upgrade\r\n\r\n"
REFUSED = b"HTTP/1.1 417 Expectation Failed\r\nContent-Length: 4\r\n\r\nnope"
UPGRADE = {"Upgrade": "sea", "Connection": "Upgrade"}


# ---------------------------------------------------------------------- collected on the way


@pytest.mark.parametrize("chunk", [None, 1])
async def test_interim_responses_are_collected(wire: StyledWire, chunk: int | None) -> None:
    conn, peer = wire.pair(chunk=chunk)
    peer.expect_request()
    peer.expect_request()
    peer.reply(HINTS + CONTINUE + PROCESSING + HINTS + OK + PROCESSING + EMPTY)
    await conn.send_request("GET", "/one")
    await conn.send_request("GET", "/two")
    response = await conn.read_response()
    assert response.status == 200
    assert [early.status for early in response.informational] == [103, 100, 102, 103]
    assert response.informational[0].headers["Link"] == "</style.css>; rel=preload"
    assert await conn.readall() == b"hi"
    second = await conn.read_response()
    assert [early.status for early in second.informational] == [102]
    await works(conn, peer)


async def test_no_interim_responses(wire: StyledWire) -> None:
    conn, peer = wire.pair()
    peer.expect_request()
    peer.reply(OK)
    assert len((await ask(conn)).informational) == 0


async def test_unknown_interim_status(wire: StyledWire) -> None:
    conn, peer = wire.pair()
    peer.expect_request()
    peer.reply(b"HTTP/1.1 142 Thinking\r\nX-Thought: 7\r\n\r\n" + OK)
    response = await ask(conn)
    assert [early.status for early in response.informational] == [142]
    assert await conn.readall() == b"hi"


async def test_twenty_interim_responses_are_fine(wire: StyledWire) -> None:
    conn, peer = wire.pair()
    peer.expect_request()
    peer.reply(HINTS * 20 + OK)
    assert len((await ask(conn)).informational) == 20


async def test_interim_responses_are_limited(wire: StyledWire) -> None:
    conn, peer = wire.pair()
    peer.expect_request()
    peer.reply(PROCESSING * 5000)
    with pytest.raises(InvalidResponse):
        await ask(conn)


@pytest.mark.parametrize("field", [b"Content-Length: 2", b"Transfer-Encoding: chunked"])
async def test_interim_response_that_announces_a_body(wire: StyledWire, field: bytes) -> None:
    """It has none (RFC 9112 section 6.3), but the server may send one: no request follows."""
    listener = wire.listen()
    conn, first, second = wire.dial(listener), listener.peer(), listener.peer()
    first.expect_request()
    first.reply(b"HTTP/1.1 103 Early Hints\r\n" + field + b"\r\n\r\n" + OK)
    response, body = await fetch(conn)
    assert (response.status, body, response.will_close) == (200, b"hi", True)
    assert [(early.status, early.length) for early in response.informational] == [(103, 0)]
    with pytest.raises(ConnectionClosed) as info:
        await conn.send_request("GET", "/")
    assert (info.value.bytes_sent, info.value.safe_to_retry) == (0, True)
    await works(conn, second)


@pytest.mark.parametrize("field", [b"Content-Length: 2", b"Transfer-Encoding: gzip"])
async def test_204_that_announces_a_body(wire: StyledWire, field: bytes) -> None:
    listener = wire.listen()
    conn, first, second = wire.dial(listener), listener.peer(), listener.peer()
    first.expect_request()
    first.reply(b"HTTP/1.1 204 No Content\r\n" + field + b"\r\n\r\n")
    response = await conn.request("GET", "/")
    assert (response.status, response.length, response.will_close) == (204, 0, True)
    assert await conn.readall() == b""
    second.expect_request()
    second.reply(EMPTY)
    assert (await conn.request("GET", "/")).status == 200
    second.check()


# ----------------------------------------------------------------------------- 100-continue


@in_turn("chunk", [None, 1])
@in_turn("length", [5, None])
async def test_continue(wire: StyledWire, chunk: int | None, length: int | None) -> None:
    conn, peer = wire.pair(chunk=chunk)
    peer.expect_head(b"PUT /up HTTP/1.1\r\n")
    peer.reply(CONTINUE)
    peer.expect(b"hello" if length else b"5\r\nhello\r\n0\r\n\r\n")
    peer.reply(OK)
    options = {"body": BodyFollowing(length), "expect100": True}
    await conn.send_request("PUT", "/up", **options)  # type: ignore[arg-type]
    assert conn.body_pending
    interim = await conn.read_response()
    assert (interim.status, interim.length) == (100, 0)
    assert conn.body_pending
    await conn.write(b"hello")
    if length is None:
        await conn.end_body()
    response = await conn.read_response()
    assert (response.status, response.path) == (200, "/up")
    assert await conn.readall() == b"hi"
    assert peer.requests[0].get("Expect") == "100-continue"
    await works(conn, peer)


async def test_a_whole_life(wire: StyledWire) -> None:
    """Every operation there is, one after the other, on a connection that is dialled."""
    listener = wire.listen()
    conn, peer = wire.dial(listener), listener.peer(chunk=3)
    peer.expect_head(b"PUT /a HTTP/1.1\r\n")
    peer.reply(CONTINUE)
    peer.expect(b"5\r\nhello\r\n0\r\nX-Sum: 7\r\n\r\n")
    peer.reply(DECORATED.wire)
    peer.expect_request(b"GET /b HTTP/1.1\r\n")
    peer.reply(OK)
    await conn.connect()
    assert (await conn.get_ssl_peercert() is not None) is wire.tls
    assert (await conn.get_ssl_cipher() is not None) is wire.tls
    await conn.send_request("PUT", "/a", body=BodyFollowing(), expect100=True)
    assert (await conn.read_response()).status == 100
    await conn.write(b"hello")
    await conn.end_body({"X-Sum": "7"})
    response = await conn.read_response()
    assert await conn.readall(limit=27) == PAYLOAD
    assert response.trailers["X-Sum"] == "7"
    await conn.send_request("GET", "/b")
    assert (await conn.read_response()).path == "/b"
    buf = bytearray(1)
    assert await conn.readinto(buf) == 1
    assert buf + await conn.read(1) == b"hi"
    await conn.discard()
    peer.check()


async def test_expect_field_only_when_asked_for(wire: StyledWire) -> None:
    conn, peer = wire.pair()
    peer.expect_request(body=b"hello")
    peer.reply(EMPTY)
    await conn.send_request("PUT", "/", body=BodyFollowing(5))
    await conn.write(b"hello")
    await conn.read_response()
    assert peer.requests[0].get("Expect") is None


async def test_hints_before_the_continue(wire: StyledWire) -> None:
    conn, peer = wire.pair()
    peer.expect_head()
    peer.reply(HINTS)
    peer.reply(CONTINUE + HINTS)
    peer.expect(b"hello")
    peer.reply(EMPTY)
    await conn.send_request("PUT", "/", body=BodyFollowing(5), expect100=True)
    assert (await conn.read_response()).status == 100
    await conn.write(b"hello")
    response = await conn.read_response()
    assert response.status == 200
    assert [early.status for early in response.informational].count(103) >= 1
    await works(conn, peer)


async def test_no_writing_before_the_continue(wire: StyledWire) -> None:
    conn, peer = wire.pair()
    peer.expect_head()
    await conn.send_request("PUT", "/", body=BodyFollowing(5), expect100=True)
    peer.reply(CONTINUE)
    for _ in range(2):
        with pytest.raises(StateError):
            await conn.write(b"hello")
        with pytest.raises(StateError):
            await conn.send_request("GET", "/")
    await conn.read_response()
    with pytest.raises(StateError):
        await conn.read_response()  # now the body is due
    peer.expect(b"hello")
    peer.reply(EMPTY)
    await conn.write(b"hello")
    await conn.read_response()
    await works(conn, peer)


@in_turn("body", [None, b"bytes", b""], ids=repr)
async def test_expect_needs_a_body_that_follows(wire: StyledWire, body: bytes | None) -> None:
    conn, peer = wire.pair()
    with pytest.raises(ValueError):
        await conn.send_request("PUT", "/", body=body, expect100=True)
    await works(conn, peer)


@in_turn("length", [5, None])
@in_turn("head", [b"", HINTS], ids=["alone", "after hints"])
async def test_refused_expectation(wire: StyledWire, length: int | None, head: bytes) -> None:
    """The refusal is returned and can be read; then the connection is replaced by itself."""
    listener = wire.listen()
    conn, first, second = wire.dial(listener), listener.peer(), listener.peer()
    first.expect_head(b"PUT")
    first.reply(head + REFUSED)
    first.expect_eof()
    options = {"body": BodyFollowing(length), "expect100": True}
    await conn.send_request("PUT", "/", **options)  # type: ignore[arg-type]
    response = await conn.read_response()
    assert (response.status, response.reason) == (417, "Expectation Failed")
    assert not conn.body_pending
    with pytest.raises(StateError):
        await conn.write(b"hello")
    assert await conn.readall() == b"nope"
    assert not conn.response_pending()
    second.expect_request(b"GET /again")
    second.reply(OK)
    again, body = await fetch(conn, path="/again")
    assert (again.status, body) == (200, b"hi")
    first.run()
    first.check()


async def test_expectation_answered_at_once_with_success(wire: StyledWire) -> None:
    """A final 2xx instead of the 100 is a refusal of the body all the same."""
    listener = wire.listen()
    conn, first, second = wire.dial(listener), listener.peer(), listener.peer()
    first.expect_head(b"PUT")
    first.reply(OK)
    await conn.send_request("PUT", "/", body=BodyFollowing(5), expect100=True)
    assert (await conn.read_response()).status == 200
    assert await conn.readall() == b"hi"
    second.expect_request(b"GET /again")
    second.reply(EMPTY)
    assert (await fetch(conn, path="/again"))[0].status == 200


async def test_connection_lost_while_waiting_for_the_continue(wire: StyledWire) -> None:
    conn, peer = wire.pair()
    peer.expect_head()
    peer.close()
    await conn.send_request("PUT", "/", body=BodyFollowing(5), expect100=True)
    with pytest.raises(ConnectionClosed) as info:
        await conn.read_response()
    assert not info.value.response_started
    with pytest.raises(ConnectionClosed):
        await conn.write(b"hello")


async def test_pipelined_behind_an_accepted_expectation(wire: StyledWire) -> None:
    conn, peer = wire.pair()
    peer.expect_head()
    peer.reply(CONTINUE)
    peer.expect(b"hello")
    peer.expect_request(b"GET /next")
    peer.reply(EMPTY + OK)
    await conn.send_request("PUT", "/", body=BodyFollowing(5), expect100=True)
    await conn.read_response()
    await conn.write(b"hello")
    await conn.send_request("GET", "/next")
    assert (await conn.read_response()).path == "/"
    assert (await conn.read_response()).path == "/next"


# -------------------------------------------------------------------------------------- 101


async def test_switching_protocols_that_was_asked_for(wire: StyledWire) -> None:
    conn, peer = wire.pair()
    peer.expect_request()
    peer.reply(HINTS + SWITCHING + b"already sea")
    response = await ask(conn, headers=UPGRADE)
    assert (response.status, response.length) == (101, 0)
    assert response.headers["Upgrade"] == "sea"
    sock, received = conn.detach()
    with sock:
        assert bytes(received) == b"already sea"
        peer.reply(b" more")
        peer.run()
        sock.setblocking(True)
        assert sock.recv(100) == b" more"
        sock.sendall(b"whale")
        peer.expect(b"whale")
        peer.run()
        conn.disconnect()
        assert sock.fileno() >= 0, "the socket is no longer ours to close"


async def test_upgrade_that_the_server_ignores(wire: StyledWire) -> None:
    conn, peer = wire.pair()
    peer.expect_request()
    peer.reply(OK)
    response, body = await fetch(conn, headers=UPGRADE)
    assert (response.status, body) == (200, b"hi")
    await works(conn, peer)


async def test_switching_protocols_that_nobody_asked_for(wire: StyledWire) -> None:
    conn, peer = wire.pair()
    peer.expect_request()
    peer.reply(SWITCHING)
    with pytest.raises(UnsupportedResponse) as info:
        await ask(conn)
    assert info.value.response is not None
    assert info.value.response.status == 101


async def test_switching_protocols_to_the_next_request_only(wire: StyledWire) -> None:
    conn, peer = wire.pair()
    peer.expect_request()
    peer.expect_request()
    peer.reply(SWITCHING)
    await conn.send_request("GET", "/")
    await conn.send_request("GET", "/sea", headers=UPGRADE)
    with pytest.raises(UnsupportedResponse):
        await conn.read_response()


async def test_detach_after_connect(plain: StyledWire) -> None:
    conn, peer = plain.pair()
    peer.expect_request(b"CONNECT example.com:443 HTTP/1.1\r\n")
    peer.reply(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nbytes")
    headers = {"Host": "example.com:443"}
    response = await ask(conn, "CONNECT", "example.com:443", headers=headers)
    assert response.status == 200
    sock, received = conn.detach()
    with sock:
        assert bytes(received) == b"bytes"


async def test_detach_at_the_wrong_time(wire: StyledWire) -> None:
    conn, peer = wire.pair()
    peer.expect_request()
    peer.reply(OK)
    await ask(conn)
    with pytest.raises(StateError):
        conn.detach()
    assert await conn.readall() == b"hi"
    await works(conn, peer)
