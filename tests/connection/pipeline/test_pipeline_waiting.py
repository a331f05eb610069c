"""`pipeline` and steps that end while they wait: by a time limit, by cancellation.

Neither loses anything: the next step goes on where the last one stopped, on the same connection.
"""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, TypeVar

import pytest

from dugong import ConnectionClosed, ConnectionTimedOut, HTTPResponse, Request
from tests.support.drive import Outcome
from tests.support.exchanges import OK
from tests.support.in_turn import in_turn
from tests.support.pipeline_server import Ending, Server, answer
from tests.support.pipeline_walk import paths
from tests.support.styles import BlockingWire, StyledWire, outcome_of
from tests.support.uploads import DATA, small_listener

T = TypeVar("T")

#: Attempts at one step, after which it is called stuck.
MOST_ATTEMPTS = 2000


def some_requests() -> list[Request]:
    return [
        Request("GET", "/0"),
        Request("GET", "/1"),
        Request("PUT", "/2", body=DATA),
        Request("HEAD", "/3"),
        Request("POST", "/4", body=b"form"),
        Request("POST", "/5", body=iter([DATA[:50_000], DATA[50_000:]])),
        Request("PUT", "/6", body=iter([DATA[:50_000], b"", DATA[50_000:]])),
        Request("GET", "/7"),
        Request("DELETE", "/8"),
    ]


def large_answer(request: Any) -> bytes:
    """In part larger than the buffers."""
    return answer(request, body=DATA if request.target in ("/1", "/2", "/7") else None)


def check(server: Server, requests: list[Request], got: list[tuple[HTTPResponse, bytes]]) -> None:
    """Assert that each was asked for once, and answered."""
    assert [response.request for response, _ in got] == requests
    for response, body in got:
        large = response.path in ("/1", "/2", "/7")
        name = f"{response.method} {response.path}".encode()
        assert body == (b"" if response.method == "HEAD" else DATA if large else name)
    assert len(server.connections) == 1
    assert set(server.times().values()) == {1}
    assert [seen.target for seen in server.log] == [request.path for request in requests]
    for target in ("/2", "/5", "/6"):
        (received,) = server.whole(target)
        assert received.body == DATA


# ---------------------------------------------------------------------------- time limits


@pytest.mark.styles("blocking", "asyncio", "trio")  # for generators it is their driver's to do
@in_turn("limit", ["timeout", "deadline"])
async def test_a_step_that_takes_too_long(wire: StyledWire, limit: str) -> None:
    """It may be repeated, as often as one likes. So may reading."""
    server = Server(wire, answer=large_answer, listener=small_listener(wire))
    conn = wire.dial(server.listener)
    await conn.connect()
    setattr(conn, limit, 0)
    requests = some_requests()
    pipeline = conn.pipeline(requests, depth=4)
    got: list[tuple[HTTPResponse, bytes]] = []
    failures = 0
    while True:
        response, failed = await in_time(wire, lambda: anext(pipeline, None))
        failures += failed
        if response is None:
            break
        body, failed = await in_time(wire, conn.readall)
        failures += failed
        got.append((response, body))
    check(server, requests, got)
    assert failures > 5 or isinstance(wire, BlockingWire)  # there the peer is quick enough at times


async def in_time(wire: StyledWire, operation: Any) -> tuple[Any, int]:
    """Repeat this until it does not take too long. Returns also how often it did."""
    for attempt in range(MOST_ATTEMPTS):
        try:
            return await operation(), attempt
        except ConnectionTimedOut:
            wire.step()
    raise AssertionError("stuck")


@pytest.mark.styles("blocking", "asyncio", "trio")
async def test_what_a_time_limit_says(plain: StyledWire) -> None:
    server = Server(plain)
    conn = plain.dial(server.listener)
    requests = [Request("GET", path) for path in paths(4)]
    pipeline = conn.pipeline(requests)
    assert (await anext(pipeline)).path == "/0"
    server.budget = 0
    conn.timeout = 0
    for _ in range(3):
        with pytest.raises(ConnectionTimedOut) as caught:
            await anext(pipeline)
        assert caught.value.unanswered == tuple(requests[1:])
        assert caught.value.bytes_sent > 0
        assert caught.value.safe_to_retry
        assert not caught.value.response_started
    server.budget = conn.timeout = None
    assert [response.path async for response in pipeline] == paths(3, 1)
    assert len(server.connections) == 1


@pytest.mark.styles("blocking", "asyncio", "trio")
async def test_too_late_for_a_post(plain: StyledWire) -> None:
    """Waiting on may bring its response; whoever disconnects instead is told of it, once."""
    server = Server(plain)
    conn = plain.dial(server.listener)
    requests = [Request("GET", "/0"), Request("POST", "/1", body=b"x"), Request("GET", "/2")]
    pipeline = conn.pipeline(requests)
    assert (await anext(pipeline)).path == "/0"
    server.budget = 0
    conn.timeout = 0
    with pytest.raises(ConnectionTimedOut) as caught:
        await anext(pipeline)
    assert caught.value.unanswered[0] is requests[1]
    assert not caught.value.safe_to_retry
    server.budget = conn.timeout = None
    await conn.request("GET", "/else")  # which disconnects
    assert await conn.readall() == b"GET /else"
    with pytest.raises(ConnectionClosed) as failed:
        await anext(pipeline)
    assert failed.value.unanswered == tuple(requests[1:])
    assert failed.value.bytes_sent == caught.value.bytes_sent > 0
    assert not failed.value.safe_to_retry
    assert [response.path async for response in pipeline] == ["/2"]
    assert server.times()["/1"] == 1


# --------------------------------------------------------------------------- cancellation


async def stopped(wire: StyledWire, part: Coroutine[Any, Any, T]) -> Outcome[T] | None:
    """Do this, and stop it if it waits for what is not going to happen. How did it end?"""
    ended: list[Outcome[T]] = []

    async def record() -> None:
        ended.append(await outcome_of(part))

    try:
        await wire.stop(record())
    except AssertionError:
        if not ended:
            raise
    return ended[0] if ended else None


async def at_every_wait(
    wire: StyledWire, server: Server, steps: int, operation: Any, stops: list[int]
) -> Any:
    """Begin *operation* again and again, and stop it each time the server has done *steps*."""
    for _ in range(MOST_ATTEMPTS):
        server.budget = steps
        ended = await stopped(wire, operation())
        if ended is not None:
            return ended.get()
        stops[0] += 1
    raise AssertionError("stuck")


async def next_of(pipeline: Any) -> HTTPResponse | None:
    response: HTTPResponse | None = await anext(pipeline, None)
    return response


@pytest.mark.styles("generator", "asyncio", "trio")  # a blocking call cannot be cancelled
@in_turn("steps", [1, 2, 3])
async def test_cancelled_at_every_wait(wire: StyledWire, steps: int) -> None:
    """Connecting and the handshake included."""
    server = Server(wire, answer=large_answer, listener=small_listener(wire))
    conn = wire.dial(server.listener)
    requests = some_requests()
    pipeline = conn.pipeline(requests, depth=4)
    got = []
    stops = [0]
    while True:
        response = await at_every_wait(wire, server, steps, lambda: next_of(pipeline), stops)
        if response is None:
            break
        body = await at_every_wait(wire, server, steps, conn.readall, stops)
        got.append((response, body))
    check(server, requests, got)
    assert stops[0] > 10


@pytest.mark.styles("asyncio", "trio")
async def test_cancelled_with_an_asynchronous_iterable(wire: StyledWire) -> None:
    """Nothing that it gave is lost, and it is not cancelled itself."""
    server = Server(wire)
    conn = wire.dial(server.listener)

    async def source() -> Any:
        for path in paths(20):
            yield path

    pipeline = conn.pipeline(source(), depth=3)
    got = []
    stops = [0]
    while True:
        response = await at_every_wait(wire, server, 1, lambda: next_of(pipeline), stops)
        if response is None:
            break
        got.append(response.path)
    assert got == paths(20)
    assert set(server.times().values()) == {1}
    assert stops[0] > 10


@pytest.mark.styles("generator", "asyncio", "trio")
@in_turn("how", ["announced", "close", "reset"])
async def test_cancelled_while_the_server_closes(wire: StyledWire, how: Any) -> None:
    """Every two responses. What was on its way is asked for again, as ever."""
    server = Server(wire, Ending(2, how))
    conn = wire.dial(server.listener)
    pipeline = conn.pipeline(paths(9), depth=4)
    got = []
    stops = [0]
    while True:
        response = await at_every_wait(wire, server, 1, lambda: next_of(pipeline), stops)
        if response is None:
            break
        body = await at_every_wait(wire, server, 1, conn.readall, stops)
        got.append((response.path, body))
    assert got == [(path, f"GET {path}".encode()) for path in paths(9)]


# ------------------------------------------------------------------------------- begun


async def test_a_response_that_has_begun(plain: StyledWire) -> None:
    """What has come of a head is kept for the next step."""
    conn, peer = plain.pair()
    peer.expect_request(b"GET /0 ")
    peer.reply(OK)
    peer.expect_request(b"GET /1 ")
    peer.reply(OK[:20])
    pipeline = conn.pipeline(paths(2))
    assert (await anext(pipeline)).path == "/0"
    await plain.stop(next_of(pipeline))
    peer.reply(OK[20:])
    assert (await anext(pipeline)).path == "/1"
    assert await conn.readall() == b"hi"
    peer.check()
