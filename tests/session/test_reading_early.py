"""Reading before there is a response to read from: a `StateError`, and never an end of a body.

The end of a body is reported once. After that, and before the first response, a reading call has
nothing to read from. If a request is outstanding, that is a mistake. Otherwise it is the end.
"""

from __future__ import annotations

import io

import pytest

from dugong import AsyncHTTPConnection, BodyFollowing, HTTPConnection, StateError
from tests.support.drive import drive
from tests.support.exchanges import (
    CHUNKED,
    CLOSED,
    EMPTY,
    LENGTH,
    OK,
    PAYLOAD,
    Sample,
    Text,
    ask,
    works,
)
from tests.support.in_turn import in_turn
from tests.support.styles import StyledWire
from tests.support.wire import Wire


@Text
async def _read(conn: AsyncHTTPConnection) -> bytes:
    return await conn.read(100)


@Text
async def _read_to_the_end(conn: AsyncHTTPConnection) -> bytes:
    return await conn.read()


@Text
async def _readinto(conn: AsyncHTTPConnection) -> bytes:
    buf = bytearray(100)
    return bytes(buf[: await conn.readinto(buf)])


@Text
async def _readall(conn: AsyncHTTPConnection) -> bytes:
    return await conn.readall()


@Text
async def _discard(conn: AsyncHTTPConnection) -> bytes:
    assert await conn.discard() is None  # type: ignore[func-returns-value]
    return b""


#: Every call that reads. Each returns b"" for the end of a body.
CALLS = {
    "read": _read,
    "read()": _read_to_the_end,
    "readinto": _readinto,
    "readall": _readall,
    "discard": _discard,
}

call = in_turn("call", CALLS.values(), ids=CALLS)

HEAD_OF_TWO = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"

#: Responses without a body, and the method that each answers.
BODILESS = {
    "length 0": ("GET", EMPTY),
    "204": ("GET", b"HTTP/1.1 204 No Content\r\n\r\n"),
    "304": ("GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n"),
    "HEAD": ("HEAD", HEAD_OF_TWO),
}


async def too_early(conn: AsyncHTTPConnection) -> None:
    """Assert that every call refuses to read, and that none of them changes anything."""
    for read in CALLS.values():
        with pytest.raises(StateError, match=r"call read_response\(\) first"):
            await read(conn)
    for call_ in (conn.read(0), conn.readinto(bytearray())):
        with pytest.raises(StateError):
            await call_


async def nothing_to_read(conn: AsyncHTTPConnection) -> None:
    """Assert that every call returns an end, as often as it is made."""
    for read in [*CALLS.values()] * 2:
        assert await read(conn) == b""
    assert await conn.read(0) == b""
    assert await conn.readinto(bytearray()) == 0


@in_turn("before", ["nothing", "exchange", "announced close"])
async def test_before_the_response(wire: StyledWire, before: str) -> None:
    listener = wire.listen()
    conn, peer = wire.dial(listener), listener.peer()
    if before != "nothing":
        peer.expect_request()
        close = b"Connection: close\r\n" if before == "announced close" else b""
        peer.reply(b"HTTP/1.1 200 OK\r\n%sContent-Length: 2\r\n\r\nhi" % close)
        await ask(conn)
        assert await conn.readall() == b"hi"
    if before == "announced close":
        conn.disconnect()
        peer = listener.peer()
    await nothing_to_read(conn)
    peer.expect_request()
    peer.reply(OK)
    await conn.send_request("GET", "/")
    await too_early(conn)
    assert (await conn.read_response()).status == 200
    assert await conn.readall() == b"hi"
    await nothing_to_read(conn)
    await works(conn, peer)


async def test_before_the_body_is_sent(wire: StyledWire) -> None:
    conn, peer = wire.pair()
    await conn.send_request("PUT", "/", body=BodyFollowing(2))
    await too_early(conn)
    await conn.write(b"hi")
    await too_early(conn)
    peer.expect_request(body=b"hi")
    peer.reply(OK)
    await conn.read_response()
    assert await conn.readall() == b"hi"
    await works(conn, peer)


async def test_around_a_100(wire: StyledWire) -> None:
    """The 100 (Continue) that `read_response` returns is a response without a body."""
    conn, peer = wire.pair()
    peer.expect_head()
    peer.reply(b"HTTP/1.1 100 Continue\r\n\r\n")
    await conn.send_request("PUT", "/", body=BodyFollowing(2), expect100=True)
    await too_early(conn)
    assert (await conn.read_response()).status == 100
    assert await conn.readall() == b""
    await too_early(conn)
    peer.expect(b"hi")
    peer.reply(OK)
    await conn.write(b"hi")
    await conn.read_response()
    assert await conn.readall() == b"hi"
    await works(conn, peer)


@call
@in_turn("sample", [LENGTH, CHUNKED, CLOSED], ids=str)
async def test_the_end_is_reported_once(
    wire: StyledWire, call: Text[[], bytes], sample: Sample
) -> None:
    """By ``b""`` or 0, or by the return of what reads to the end."""
    conn, peer = wire.pair()
    behind = not sample.closes
    peer.expect_request()
    if behind:
        peer.expect_request()
    peer.reply(sample.wire)
    if sample.closes:
        peer.close()
    await conn.send_request("GET", "/")
    if behind:
        await conn.send_request("GET", "/")
    await conn.read_response()
    if call in (_read, _readinto):
        while await call(conn):
            pass
    else:
        assert await call(conn) == (b"" if call is _discard else PAYLOAD)
    if not behind:
        await nothing_to_read(conn)
        return
    await too_early(conn)
    peer.reply(OK)
    await conn.read_response()
    assert await conn.readall() == b"hi"
    await works(conn, peer)


@call
@in_turn("kind", BODILESS)
async def test_no_body_has_an_end_too(wire: StyledWire, call: Text[[], bytes], kind: str) -> None:
    """It is reported to the first call, also after the next request was sent."""
    conn, peer = wire.pair()
    method, reply = BODILESS[kind]
    for behind in (False, True):
        peer.expect_request()
        peer.reply(reply)
        await ask(conn, method)
        if behind:
            await conn.send_request("GET", "/")
        assert await conn.read(0) == b""
        assert await conn.readinto(bytearray()) == 0
        assert await call(conn) == b""
        if not behind:
            await nothing_to_read(conn)
    await too_early(conn)
    peer.expect_request()
    peer.reply(OK)
    await conn.read_response()
    assert await conn.readall() == b"hi"
    await works(conn, peer)


async def test_an_empty_buffer_reports_nothing(wire: StyledWire) -> None:
    conn, peer = wire.pair()
    peer.expect_request()
    peer.reply(OK)
    await ask(conn)
    assert await conn.read(2) == b"hi"
    await conn.send_request("GET", "/")
    for _ in range(2):
        assert await conn.read(0) == b""
        assert await conn.readinto(bytearray()) == 0
    assert await conn.read(1) == b""
    await too_early(conn)


async def test_in_a_pipeline(wire: StyledWire) -> None:
    """The requests that are in flight behind the response are outstanding."""
    conn, peer = wire.pair()
    for _ in range(2):
        peer.expect_request()
        peer.reply(OK)
    responses = aiter(conn.pipeline(["/a", "/b", "/c"]))
    await nothing_to_read(conn)
    await anext(responses)
    assert await conn.readall() == b"hi"
    await anext(responses)
    assert await conn.readall() == b"hi"
    await too_early(conn)
    peer.expect_request()
    peer.reply(OK)
    await anext(responses)
    assert await conn.readall() == b"hi"
    await nothing_to_read(conn)


async def test_after_a_switch(wire: StyledWire) -> None:
    conn, peer = wire.pair()
    peer.expect_request()
    peer.reply(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n")
    await ask(conn, headers={"Upgrade": "x"})
    await nothing_to_read(conn)


async def test_a_failed_connection_is_no_mistake(wire: StyledWire) -> None:
    """Of the caller's: the error that ended it says more."""
    conn, peer = wire.pair()
    peer.expect_request()
    peer.reply(b"HTTP/1.1 200 OK\r\nContent-Length: 1, 2\r\n\r\n")
    await conn.send_request("GET", "/")
    with pytest.raises(Exception, match="Content-Length"):
        await conn.read_response()
    for read in CALLS.values():
        with pytest.raises(ConnectionError, match="Content-Length"):
            await read(conn)


def test_text_wrapper(plain: Wire) -> None:
    """`io.TextIOWrapper` reads on behind the end, once more for each call on it."""
    conn, peer = plain.pair()
    for _ in range(2):
        peer.expect_request()
        peer.reply(b"HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\nsea\r\nwalrus")
        drive(ask(conn), peer)
        text = io.TextIOWrapper(conn, "ascii")
        assert [*text] == ["sea\n", "walrus"]
        assert [text.read(), text.readline(), text.read(5)] == ["", "", ""]
    drive(conn.co_send_request("GET", "/"), peer)
    with pytest.raises(StateError):
        io.TextIOWrapper(conn, "ascii").read()


def test_attempts_and_coroutines_agree(plain: Wire) -> None:
    """Blocking calls try without a coroutine first, and a coroutine begins when it is resumed."""
    conn, peer = plain.pair()
    assert isinstance(conn, HTTPConnection)
    reading = conn.co_readall()
    drive(conn.co_send_request("GET", "/"), peer)
    with pytest.raises(StateError):
        next(reading)
    with pytest.raises(StateError):
        conn.readall()
    peer.expect_request()
    peer.reply(OK)
    drive(conn.co_read_response(), peer)
    assert conn.readall() == b"hi"
