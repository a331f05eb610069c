"""What `request` leaves behind when it did not go well: on which connection the next one goes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from dugong import AsyncHTTPConnection, ConnectionClosed, ConnectionTimedOut
from tests.support.exchanges import OK
from tests.support.in_turn import in_turn
from tests.support.peer import Peer
from tests.support.styles import StyledWire
from tests.support.uploads import (
    HINTS,
    HUGE,
    OK_CLOSE,
    TOO_LARGE,
    Taken,
    at_once,
    requested,
    small_listener,
    swallow,
)
from tests.support.wire import Listener


async def goes_elsewhere(
    conn: AsyncHTTPConnection, listener: Listener, first: Peer, next_call: str
) -> None:
    second = listener.peer()
    second.expect_request(b"GET /again")
    second.reply(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nagain")
    if next_call == "request":
        await conn.request("GET", "/again")
    else:
        await conn.send_request("GET", "/again")
        assert (await conn.read_response()).path == "/again"
    assert await conn.readall() == b"again"
    second.check()
    assert b"/again" not in first.received


every_next_call = in_turn("next_call", ["request", "send_request"])


@every_next_call
@in_turn("reply", [OK, HINTS + OK, OK_CLOSE, TOO_LARGE])
@in_turn("read", [True, False])
async def test_a_response_and_a_reset(
    wire: StyledWire, reply: bytes, next_call: str, read: bool
) -> None:
    """The body of the response that came first is read, or given up."""
    listener = small_listener(wire)
    conn, first = wire.dial(listener), listener.peer()
    first.expect_head()
    first.reply(reply)
    first.reset()
    at_once(first, 2)
    response = await conn.request("PUT", "/", body=bytes(HUGE), expect100=False)
    assert (response.status, response.will_close) == (413 if reply is TOO_LARGE else 200, True)
    if read:
        assert await conn.readall() in (b"hi", b"nope")
    else:
        conn.disconnect()
    await goes_elsewhere(conn, listener, first, next_call)


@every_next_call
async def test_a_response_without_a_body_and_a_reset(wire: StyledWire, next_call: str) -> None:
    listener = small_listener(wire)
    conn, first = wire.dial(listener), listener.peer()
    first.expect_head()
    first.reply(b"HTTP/1.1 204 No Content\r\n\r\n")
    first.reset()
    at_once(first, 2)
    response = await conn.request("PUT", "/", body=bytes(HUGE), expect100=False)
    assert (response.status, response.will_close) == (204, True)
    assert not conn.response_pending()
    assert await conn.readall() == b""
    await goes_elsewhere(conn, listener, first, next_call)


@pytest.mark.styles("generator", "asyncio", "trio")  # a blocking call may be stopped before it
@every_next_call
async def test_stopped_after_an_early_2xx(wire: StyledWire, next_call: str) -> None:
    """Nobody has seen its head, so nobody is given its body."""
    listener = small_listener(wire)
    conn, first = wire.dial(listener), listener.peer()
    await conn.connect()
    first.expect_head()
    first.reply(OK)
    events: list[str] = []
    conn.on_event = events.append
    await wire.stop(conn.request("PUT", "/", body=bytes(HUGE), expect100=False))
    assert "first_byte" in events
    await goes_elsewhere(conn, listener, first, next_call)


@pytest.mark.styles("blocking", "asyncio", "trio")  # a generator has no time limits
@every_next_call
async def test_timed_out_after_an_early_2xx(wire: StyledWire, next_call: str) -> None:
    listener = small_listener(wire)
    conn, first = wire.dial(listener), listener.peer()
    first.expect_head()
    first.reply(OK)
    await conn.connect()
    events: list[str] = []
    conn.on_event = events.append
    conn.timeout = 0.2
    with pytest.raises(ConnectionTimedOut):
        await conn.request("PUT", "/", body=bytes(HUGE), expect100=False)
    conn.timeout = None
    assert "first_byte" in events
    await goes_elsewhere(conn, listener, first, next_call)


@pytest.mark.parametrize("kind", [ConnectionClosed, ConnectionResetError])
@every_next_call
async def test_a_generator_fails_after_an_early_2xx(
    wire: StyledWire, kind: type[Exception], next_call: str
) -> None:
    """Its own failure is none of this connection: it comes out, and not the 200."""
    listener = small_listener(wire)
    conn, first = wire.dial(listener), listener.peer()
    error = kind("mine")

    def blocks() -> Iterator[bytes]:
        yield bytes(HUGE)  # is sent only if the peer comes to answer and read
        raise error

    first.expect_head()
    first.reply(OK)
    swallow(first, HUGE)
    with pytest.raises(kind) as caught:
        await conn.request("PUT", "/", body=blocks(), expect100=False)
    assert caught.value is error
    assert vars(error)["response_started"] is True
    assert vars(error)["safe_to_retry"] is False
    await goes_elsewhere(conn, listener, first, next_call)


class Disconnecting(dict[str, str]):
    """Header fields that are looked at while somebody else disconnects."""

    conn: Any

    def items(self) -> Any:
        self.conn.disconnect()
        return super().items()


@in_turn("kind", ["none", "bytes", "iterable"])
async def test_disconnected_before_the_first_byte(wire: StyledWire, kind: str) -> None:
    """On a connection used before, which would be made anew had it been the server's doing."""
    listener = wire.listen()
    conn, first, second = wire.dial(listener), listener.peer(), listener.peer()
    first.expect_request()
    first.reply(OK)
    await requested(conn)
    body = {"none": None, "bytes": b"hello", "iterable": Taken(b"hello")}[kind]
    headers = Disconnecting({"X-A": "b"})
    headers.conn = conn
    with pytest.raises(ConnectionClosed) as caught:
        await conn.request("POST", "/", headers, body)
    assert (caught.value.bytes_sent, caught.value.safe_to_retry) == (0, True)
    assert not second.received
    second.expect_request(b"GET /again")
    second.reply(OK)
    await requested(conn, path="/again")
    second.check()
