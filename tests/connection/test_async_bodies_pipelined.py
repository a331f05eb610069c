"""Async iterables as bodies of requests in a pipeline."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from typing import Any

import pytest
import trio

from dugong import (
    BodyChanged,
    ConnectionClosed,
    ConnectionTimedOut,
    Request,
    StateError,
)
from tests.connection.async_bodies import KINDS, Blocks, Gate, Generated, current_task, forever
from tests.connection.test_async_bodies import Own, scoped_in_asyncio, scoped_in_trio
from tests.support.exchanges import EMPTY, OK
from tests.support.in_turn import in_turn
from tests.support.styles import StyledWire
from tests.support.styles_in_loops import TrioWire
from tests.support.uploads import TOO_LARGE, complete

pytestmark = pytest.mark.styles("asyncio", "trio")


def put(body: Any, **headers: Any) -> Request:
    return Request("PUT", "/", {name.replace("_", "-"): headers[name] for name in headers}, body)


@in_turn("kind", KINDS)
@in_turn("depth", [1, 4])
async def test_among_other_requests(wire: StyledWire, depth: int, kind: str) -> None:
    conn, peer = wire.pair()
    requests: list[Any] = [
        "/0",
        put(KINDS[kind](b"abc", b"", b"de")),
        put(KINDS[kind](b"abc", b"de"), Content_Length=5),
        put(b"abcde"),
        "/1",
        put(KINDS[kind]()),
        put(KINDS[kind](), Content_Length=0),
        "/2",
    ]
    bodies = [b"", b"abcde", b"abcde", b"abcde", b"", b"", b"", b""]
    for body in bodies:
        peer.expect_request(body=body)
        peer.reply(OK)
    got = []
    async for response in conn.pipeline(requests, depth=depth):
        got.append(response.request)
        assert await conn.readall() == b"hi"
    assert len(got) == len(requests)
    for request, given in zip(got, requests, strict=True):
        assert request is given or request.path == given
    assert peer.requests[1].chunks == (b"abc", b"de")


async def test_from_an_async_iterable(wire: StyledWire) -> None:
    """The body runs in the task that takes the step, the iterable of requests in its own."""
    conn, peer = wire.pair()
    bodies = [Blocks(b"abc") for _ in range(3)]
    tasks = set()

    async def requests() -> AsyncIterator[Request]:
        for body in bodies:
            tasks.add(current_task())
            yield put(body)

    for _ in bodies:
        peer.expect_request(body=b"abc")
        peer.reply(EMPTY)
    async for response in conn.pipeline(requests()):
        assert response.status == 200
    for body in bodies:
        assert body.closed == 1
        assert body.tasks == {current_task()}
    assert len(tasks) == 1
    assert tasks.isdisjoint({current_task()})


@pytest.mark.parametrize("deadline", [None, 60])
async def test_scopes_may_stay_open(wire: StyledWire, deadline: float | None) -> None:
    conn, peer = wire.pair(small=True)
    make = scoped_in_trio if isinstance(wire, TrioWire) else scoped_in_asyncio
    for _ in range(2):
        peer.expect_request(body=b"firstabclast")
        peer.reply(EMPTY)
    async for response in conn.pipeline([put(make()), put(make())], deadline=deadline):
        assert response.status == 200
    peer.check()


async def test_an_early_response_waits_for_the_rest(wire: StyledWire) -> None:
    """All of the body is sent, and it is closed, when the caller gets the response."""
    conn, peer = wire.pair()
    go_on = Gate()
    body = Blocks(b"abc", go_on.wait, b"de")
    peer.expect_head()
    peer.expect(b"3\r\nabc\r\n")
    peer.reply(b"HTTP/1.1 200 OK\r\nContent-Length: 300000\r\n\r\n" + bytes(100_000))
    peer.call(go_on.open)
    peer.expect(b"2\r\nde\r\n0\r\n\r\n")
    peer.reply(bytes(200_000))
    peer.expect_request()
    peer.reply(OK)
    sizes = []
    async for _ in conn.pipeline([put(body), "/"]):
        assert (body.taken, body.closed) == (2, 1)
        sizes.append(len(await conn.readall()))
    assert sizes == [300_000, 2]


async def test_refused_before_it_began(wire: StyledWire) -> None:
    """The server answers the head. Nothing is taken, and the body is closed."""
    conn, peer = wire.pair(small=True)
    body = Blocks(b"abc")
    large = put(body, X_Padding="x" * 7000)
    peer.expect_head()
    peer.reply(TOO_LARGE)
    async for response in conn.pipeline([large]):
        assert response.status == 413
        assert body.closed == 1


@pytest.mark.parametrize("bad", [0, 1])
async def test_its_failure_is_raised_in_its_place(wire: StyledWire, bad: int) -> None:
    """The pipeline goes on behind it."""
    listener = wire.listen()
    conn = wire.dial(listener)
    first, second = listener.peer(), listener.peer()
    failing = Blocks(*[b"abc"] * bad, Own())
    fine = Blocks(b"abc")
    first.expect_request()
    first.reply(EMPTY)
    second.expect_request(body=b"abc")
    second.reply(EMPTY)
    pipeline = conn.pipeline(["/0", put(failing), put(fine)])
    assert (await anext(pipeline)).path == "/0"
    with pytest.raises(Own) as caught:
        await anext(pipeline)
    assert failing.closed == 1
    assert [r.body for r in vars(caught.value)["unanswered"]][:1] == [failing]
    assert (await anext(pipeline)).status == 200
    assert fine.closed == 1
    with pytest.raises(StopAsyncIteration):
        await anext(pipeline)


WRONG: dict[str, tuple[type[Exception], Callable[[Any], Request]]] = {
    "field": (ValueError, lambda body: put(body, X_Y="a\nb")),
    "target": (ValueError, lambda body: Request("PUT", "no target", None, body)),
    "item": (TypeError, put),
    "length": (BodyChanged, lambda body: put(body, Content_Length=10)),
}


@in_turn("what", WRONG)
async def test_wrong_ones_are_closed(wire: StyledWire, what: str) -> None:
    error, make = WRONG[what]
    conn, peer = wire.pair()
    peer.expect_request()
    peer.reply(EMPTY)
    body = Blocks(b"abc", *[3] * (what == "item"))
    pipeline = conn.pipeline(["/", make(body)])
    assert (await anext(pipeline)).status == 200
    with pytest.raises(error):
        await anext(pipeline)
    assert body.closed == 1


async def test_lost_in_the_middle(wire: StyledWire) -> None:
    """What was taken of it is gone, so it is not sent again. What is behind it is."""
    listener = wire.listen()
    conn = wire.dial(listener)
    first, second = listener.peer(), listener.peer()
    body = Blocks(b"abc", forever)
    first.expect_request()
    first.reply(EMPTY)
    first.expect_head()
    first.expect(b"3\r\nabc\r\n")
    first.close()
    second.expect_request()
    second.reply(EMPTY)
    request = put(body)
    pipeline = conn.pipeline(["/0", request, "/1"])
    assert (await anext(pipeline)).path == "/0"
    with pytest.raises(ConnectionClosed) as caught:
        await anext(pipeline)
    assert caught.value.unanswered[0] is request
    assert not caught.value.safe_to_retry
    assert body.closed == 1
    assert (await anext(pipeline)).path == "/1"


async def test_not_begun_when_its_connection_was_lost(wire: StyledWire) -> None:
    """Then it is sent on another one."""
    listener = wire.listen()
    conn = wire.dial(listener)
    first, second = listener.peer(), listener.peer()
    body = Blocks(b"abc")
    first.expect_request()
    first.reply(EMPTY)
    first.close()
    second.expect_request(body=b"abc")
    second.reply(EMPTY)
    pipeline = conn.pipeline(["/0", put(body)], depth=1)
    assert (await anext(pipeline)).path == "/0"
    while first.step():
        pass
    assert (await anext(pipeline)).status == 200
    assert body.closed == 1


@pytest.mark.parametrize("make", [Blocks, Generated])
async def test_a_step_that_is_cut_short(wire: StyledWire, make: Any) -> None:
    """Its body is closed. The next step raises that it is incomplete, and goes on behind it."""
    listener = wire.listen()
    conn = wire.dial(listener)
    first, second = listener.peer(), listener.peer()
    cancel: Callable[[], object]

    async def cut_short() -> None:
        cancel()
        await forever()

    source = make(b"abc", cut_short, b"de")
    first.expect_request()
    first.reply(EMPTY)
    second.expect_request()
    second.reply(EMPTY)
    pipeline = conn.pipeline(["/0", put(getattr(source, "body", source)), "/1"])
    assert (await anext(pipeline)).path == "/0"
    if isinstance(wire, TrioWire):
        with trio.CancelScope() as scope:
            cancel = scope.cancel
            await anext(pipeline)
    else:
        task = asyncio.create_task(pipeline.__anext__())
        cancel = task.cancel
        with pytest.raises(asyncio.CancelledError):
            await task
    assert source.closed == 1
    with pytest.raises((StateError, ConnectionClosed)):
        await anext(pipeline)
    assert (await anext(pipeline)).path == "/1"
    complete(first)
    assert first.received.endswith(b"3\r\nabc\r\n")


async def test_a_deadline(wire: StyledWire) -> None:
    conn, peer = wire.pair()
    await conn.connect()
    body = Blocks(b"abc", forever)
    with pytest.raises(ConnectionTimedOut, match="not done within") as caught:
        await anext(conn.pipeline([put(body)], deadline=0.1))
    assert caught.value.unanswered[0].body is body
    assert body.closed == 1
    assert not complete(peer)


async def test_a_deadline_of_each_step(wire: StyledWire) -> None:
    conn, _ = wire.pair()
    await conn.connect()
    conn.deadline = 0.1
    body = Blocks(b"abc", forever)
    with pytest.raises(ConnectionTimedOut, match="not done within"):
        await anext(conn.pipeline([put(body)]))
    assert body.closed == 1


async def test_left_early(wire: StyledWire) -> None:
    """Bodies that were not begun are closed with the pipeline, if they were to be sent next."""
    conn, peer = wire.pair()
    peer.expect_request()
    peer.reply(EMPTY)
    peer.expect_request()
    body = Blocks(b"abc")
    pipeline = conn.pipeline(["/0", "/1", put(body)])
    async with aclosing(pipeline):
        assert (await anext(pipeline)).path == "/0"
        await wire.stop(pipeline.__anext__())
        assert (body.taken, body.closed) == (0, 0)  # the next step may send it
    assert (body.taken, body.closed) == (0, 1)
    with pytest.raises(StopAsyncIteration):
        await anext(pipeline)


async def test_the_same_body_twice(wire: StyledWire) -> None:
    conn, peer = wire.pair()
    body = Blocks(b"abc")
    peer.expect_request(body=b"abc")
    peer.reply(EMPTY)
    pipeline = conn.pipeline([put(body), put(body)])
    assert (await anext(pipeline)).status == 200
    with pytest.raises(StateError, match="used up"):
        await anext(pipeline)
    assert body.closed == 1


async def test_the_body_of_another_pipeline_is_not_closed(wire: StyledWire) -> None:
    """While one request sends it, another one cannot."""
    (conn, peer), (other, _) = wire.pair(), wire.pair()
    begun, refused = Gate(), Gate()
    body = Blocks(b"abc", begun.pass_by, refused.wait, b"de")
    peer.expect_request(body=b"abcde")
    peer.reply(EMPTY)

    async def second() -> None:
        await begun.wait()
        with pytest.raises(StateError, match="used up"):
            await anext(other.pipeline([put(body)]))
        assert body.closed == 0
        refused.open()

    outcomes = await wire.together(conn.pipeline([put(body)]).__anext__(), second())
    assert [outcome.error for outcome in outcomes] == [None, None]
    assert body.closed == 1
