"""`deadline` of a pipeline, which covers all of it up to the last byte of the last body."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from dugong import AsyncHTTPConnection, ConnectionTimedOut, Request, StateError
from tests.support.exchanges import LENGTH, OK, PAYLOAD, works
from tests.support.peer import Peer
from tests.support.styles import StyledWire
from tests.support.turned import Turned

SHORT = 0.02

BIG = bytes(3_000_000)


def timed(wire: StyledWire, **options: Any) -> tuple[AsyncHTTPConnection, Peer, Turned]:
    conn, peer = wire.pair(**options)
    conn._monitor.clock = clock = Turned()
    return conn, peer, clock


async def in_flight(
    wire: StyledWire, *, replies: bytes = OK, deadline: float = 5
) -> tuple[AsyncHTTPConnection, Peer, Turned, Any]:
    """A pipeline of three requests, all sent, of which one is answered: the server pipelines."""
    conn, peer, clock = timed(wire)
    conn._traits.keeps_connections = conn._traits.pipelines = True
    for _ in range(3):
        peer.expect_request()
    peer.reply(replies)
    responses = aiter(conn.pipeline(["/a", "/b", "/c"], deadline=deadline))
    assert (await anext(responses)).path == "/a"
    return conn, peer, clock, responses


async def late(responses: Any, phase: str) -> ConnectionTimedOut:
    with pytest.raises(ConnectionTimedOut, match="not done within 5 seconds") as info:
        await anext(responses)
    assert info.value.phase == phase
    return info.value


async def test_no_response(wire: StyledWire) -> None:
    """Each step says so, and the rest is taken when it has come."""
    conn, peer, clock, responses = await in_flight(wire)
    assert await conn.readall() == b"hi"
    clock.turn(5)
    for _ in range(2):
        exc = await late(responses, "response")
        assert [request.path for request in exc.unanswered] == ["/b", "/c"]
        assert exc.safe_to_retry
    peer.reply(OK + LENGTH.wire[:-1])
    peer.run()
    assert (await anext(responses)).path == "/b"
    assert await conn.readall() == b"hi"
    for _ in range(2):
        await late(responses, "body")
        with pytest.raises(StateError):
            await conn.readall()
    peer.reply(LENGTH.wire[-1:])
    peer.run()
    assert (await anext(responses)).path == "/c"
    assert await conn.readall() == PAYLOAD
    with pytest.raises(StopAsyncIteration):
        await anext(responses)
    await works(conn, peer)


async def test_the_body_in_between(wire: StyledWire) -> None:
    """Whether the caller reads it or leaves it to the next step."""
    conn, peer, clock, responses = await in_flight(wire, replies=LENGTH.wire[:-1])
    clock.turn(5)
    with pytest.raises(ConnectionTimedOut) as info:
        await conn.read(1)
    assert info.value.phase == "body"
    await late(responses, "body")
    peer.reply(LENGTH.wire[-1:] + OK + OK)
    peer.run()
    assert [response.path async for response in responses] == ["/b", "/c"]


async def test_all_has_come_in_time(wire: StyledWire) -> None:
    conn, _, clock, responses = await in_flight(wire, replies=OK * 3)
    clock.turn(1000)
    assert await conn.readall() == b"hi"
    async for response in responses:
        assert response.status == 200
        assert await conn.readall() == b"hi"


async def test_a_wait_ends_by_itself(wire: StyledWire) -> None:
    conn, _, clock, responses = await in_flight(wire, deadline=SHORT)
    assert await conn.readall() == b"hi"
    clock.run()
    with pytest.raises(ConnectionTimedOut, match=r"deadline=0\.02") as info:
        await anext(responses)
    assert info.value.phase == "response"


async def test_nothing_is_sent_too_late(wire: StyledWire) -> None:
    """Not the first request, either."""
    conn, peer, clock = timed(wire)
    await works(conn, peer)
    sent = conn.bytes_sent
    responses = aiter(conn.pipeline(["/a", "/b"], deadline=5))
    clock.turn(5)
    exc = await late(responses, "send")
    assert [request.path for request in exc.unanswered] == ["/a"]
    assert conn.bytes_sent == sent
    await works(conn, peer)


async def test_one_at_a_time(wire: StyledWire) -> None:
    """What is not asked for yet when the time is over is not asked for any more."""
    conn, peer, clock = timed(wire)
    peer.expect_request(b"GET /a ")
    peer.reply(OK)
    responses = aiter(conn.pipeline(["/a", "/b"], depth=1, deadline=5))
    await anext(responses)
    assert await conn.readall() == b"hi"
    clock.turn(5)
    for _ in range(2):
        await late(responses, "send")
    peer.check()


async def test_a_peer_that_does_not_read(wire: StyledWire) -> None:
    conn, peer, clock = timed(wire, small=True)
    peer.expect_head()
    peer.call(clock.run)
    responses = aiter(conn.pipeline([Request("PUT", "/", None, BIG)], deadline=SHORT))
    with pytest.raises(ConnectionTimedOut) as info:
        await anext(responses)
    assert info.value.phase in ("send", "response"), "it waits for both"


async def test_a_source_that_takes_its_time(wire: StyledWire) -> None:
    conn, peer, clock = timed(wire)

    def paths() -> Iterator[str]:
        yield "/a"
        clock.turn(5)
        yield "/b"

    peer.expect_request(b"GET /a ")
    peer.reply(OK)
    responses = aiter(conn.pipeline(paths(), deadline=5))
    assert (await anext(responses)).path == "/a"
    assert await conn.readall() == b"hi"
    await late(responses, "send")
    peer.check()


@pytest.mark.styles("asyncio", "trio")  # the others have no async iterables
async def test_an_async_source_that_has_nothing(wire: StyledWire) -> None:
    conn, peer, clock = timed(wire)

    async def paths() -> AsyncIterator[str]:
        yield "/a"
        await never(wire)
        yield "/b"

    peer.expect_request(b"GET /a ")
    peer.reply(OK)
    pipeline = conn.pipeline(paths(), deadline=SHORT)
    assert (await anext(pipeline)).path == "/a"
    assert await conn.readall() == b"hi"
    clock.run()
    for _ in range(2):
        with pytest.raises(ConnectionTimedOut) as info:
            await anext(pipeline)
        assert info.value.phase == "send"
    await pipeline.aclose()


async def never(wire: StyledWire) -> None:
    if "Trio" in type(wire).__name__:
        import trio

        await trio.sleep_forever()
    else:
        import asyncio

        await asyncio.get_running_loop().create_future()


async def test_the_next_pipeline(wire: StyledWire) -> None:
    conn, peer, clock = timed(wire)
    for _ in range(2):
        for _ in range(2):
            peer.expect_request()
            peer.reply(OK)
        async for response in conn.pipeline(["/a", "/b"], depth=1, deadline=5):
            assert response.status == 200
            assert await conn.readall() == b"hi"
        clock.turn(1000)
        await works(conn, peer)
