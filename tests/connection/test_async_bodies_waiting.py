"""What happens on the connection while an async iterable that is a body waits."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest
import trio

from dugong import ConnectionClosed, HTTPResponse, Request
from tests.connection.async_bodies import Blocks, Gate, Generated, a_turn, forever
from tests.support.exchanges import OK, works
from tests.support.in_turn import in_turn
from tests.support.peer import Peer
from tests.support.styles import StyledWire
from tests.support.styles_in_loops import TrioWire
from tests.support.uploads import (
    CONTINUE,
    HINTS,
    OK_CLOSE,
    TOO_LARGE,
    TOO_LARGE_CLOSE,
    complete,
    requested,
)

pytestmark = pytest.mark.styles("asyncio", "trio")


async def pipelined(conn: Any, method: str, path: str = "/", **options: Any) -> Any:
    """One whole exchange by way of `pipeline`, to which *expect100* means nothing."""
    headers, body = options.get("headers"), options["body"]
    pipeline = conn.pipeline([Request(method, path, headers, body)])
    response = await anext(pipeline)
    content = await conn.readall()
    assert await anext(pipeline, None) is None
    return response, content


async def sent(conn: Any, method: str, path: str = "/", **options: Any) -> None:
    await conn.send_request(method, path, options.get("headers"), options["body"])


#: The ways of sending that look for the response meanwhile.
LOOKING: dict[str, Callable[..., Any]] = {"request": requested, "pipeline": pipelined}
ALL: dict[str, Callable[..., Any]] = {**LOOKING, "send_request": sent}


def first_block(peer: Peer) -> None:
    peer.expect_head()
    peer.expect(b"3\r\nabc\r\n")


@in_turn("way", LOOKING)
@in_turn("make", [Blocks, Generated])
@in_turn("reply", [TOO_LARGE, TOO_LARGE_CLOSE, OK_CLOSE, HINTS + TOO_LARGE])
async def test_a_response_that_ends_sending(
    wire: StyledWire, reply: bytes, make: Any, way: str
) -> None:
    conn, peer = wire.pair()
    source = make(b"abc", forever, b"de")
    first_block(peer)
    peer.reply(reply, chunk=20)
    body = getattr(source, "body", source)
    response, content = await LOOKING[way](conn, "PUT", body=body, expect100=False)
    assert (response.status, content) == ((200, b"hi") if reply is OK_CLOSE else (413, b"nope"))
    assert response.request.body is body
    assert (source.taken, source.closed) == (1, 1)
    assert not complete(peer)
    await a_turn()  # and no cancellation is left over


@in_turn("way", LOOKING)
@in_turn("stubborn", [False, True])
async def test_a_step_that_is_not_to_be_cancelled(
    wire: StyledWire, way: str, stubborn: bool
) -> None:
    """It ends as it likes, and what it gives is not sent."""

    async def ignoring() -> None:
        try:
            await forever()
        except BaseException:
            if not stubborn:
                raise RuntimeError from None

    conn, peer = wire.pair()
    body = Blocks(b"abc", ignoring, b"de")
    first_block(peer)
    peer.reply(TOO_LARGE)
    response, _ = await LOOKING[way](conn, "PUT", body=body, expect100=False)
    assert (response.status, body.closed) == (413, 1)
    assert b"de" not in peer.received.partition(b"abc")[2]
    await a_turn()


@pytest.mark.parametrize("way", LOOKING)
async def test_a_response_that_does_not(wire: StyledWire, way: str) -> None:
    """Interim responses, and a success: the step goes on, and then the rest is sent."""
    conn, peer = wire.pair()
    go_on = Gate()
    body = Blocks(b"abc", go_on.wait, b"de", go_on.wait)
    first_block(peer)
    for part in (HINTS, CONTINUE, OK):
        peer.reply(part)
    peer.call(go_on.open)
    peer.expect(b"2\r\nde\r\n0\r\n\r\n")
    response, content = await LOOKING[way](conn, "PUT", body=body, expect100=False)
    assert (response.status, content) == (200, b"hi")
    assert [interim.status for interim in response.informational] == [103, 100]
    assert (body.taken, body.closed) == (2, 1)
    await works(conn, peer)


@in_turn("way", LOOKING)
@in_turn("make", [Blocks, Generated])
async def test_the_server_closes(wire: StyledWire, make: Any, way: str) -> None:
    for reset in (False, True):
        conn, peer = wire.pair()
        source = make(b"abc", forever, b"de")
        first_block(peer)
        if reset:
            peer.reset()
        else:
            peer.close()
        body = getattr(source, "body", source)
        with pytest.raises(ConnectionClosed) as caught:
            await LOOKING[way](conn, "PUT", body=body, expect100=False)
        assert source.closed == 1
        assert not caught.value.safe_to_retry
        assert caught.value.unanswered[0].body is body
        await a_turn()


@in_turn("way", ALL)
@in_turn("by", ["task", "thread", "itself"])
async def test_disconnected(wire: StyledWire, by: str, way: str) -> None:
    conn, peer = wire.pair()
    waiting = Gate()

    async def wait() -> None:
        waiting.open()
        if by == "itself":
            conn.disconnect()
        await forever()

    async def disconnect() -> None:
        await waiting.wait()
        if by == "task":
            conn.disconnect()
        elif by == "thread":
            thread = threading.Thread(target=conn.disconnect)
            thread.start()
            thread.join()

    body = Blocks(b"abc", wait, b"de")
    outcome, _ = await wire.together(
        ALL[way](conn, "PUT", body=body, expect100=False), disconnect()
    )
    assert isinstance(outcome.error, ConnectionClosed)
    assert "disconnect()" in str(outcome.error)
    assert not outcome.error.safe_to_retry
    assert body.closed == 1
    assert not complete(peer)
    await a_turn()


@in_turn("way", ALL)
async def test_disconnected_between_items(wire: StyledWire, way: str) -> None:
    conn, peer = wire.pair()

    async def disconnect() -> None:
        conn.disconnect()

    body = Blocks(b"abc", disconnect, b"de")
    with pytest.raises(ConnectionClosed):
        await ALL[way](conn, "PUT", body=body, expect100=False)
    assert body.closed == 1
    assert not complete(peer)


@pytest.mark.parametrize("way", LOOKING)
async def test_cancelled_and_refused_at_once(wire: StyledWire, way: str) -> None:
    """The cancellation counts. The response is lost, and not left for the next reader."""
    conn, peer = wire.pair()
    cancel: Any = None

    async def refused() -> None:
        try:
            await forever()
        except BaseException:
            cancel()
            raise

    first_block(peer)
    peer.reply(TOO_LARGE)
    body = Blocks(b"abc", refused)
    send = LOOKING[way](conn, "PUT", body=body, expect100=False)
    if isinstance(wire, TrioWire):
        with trio.CancelScope() as scope:
            cancel = scope.cancel
            response, _ = await send
            assert response.status == 413  # as after any operation that was complete
    else:
        task = asyncio.create_task(send)
        cancel = task.cancel
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not conn.connected
    assert body.closed == 1


@in_turn("way", ALL)
async def test_an_outer_time_limit(wire: StyledWire, way: str) -> None:
    """Other than ours: it passes through as what it is."""
    for source in (Blocks(b"abc", forever), Generated(b"abc", forever)):
        conn, peer = wire.pair()
        await conn.connect()
        send = ALL[way](conn, "PUT", body=getattr(source, "body", source), expect100=False)
        if isinstance(wire, TrioWire):
            with pytest.raises(trio.TooSlowError), trio.fail_after(0.1):
                await send
        else:
            with pytest.raises(TimeoutError) as caught:
                async with asyncio.timeout(0.1):
                    await send
            assert type(caught.value) is TimeoutError
        assert source.closed == 1
        assert not complete(peer)


async def test_other_tasks_may_read_meanwhile(wire: StyledWire) -> None:
    """One task sends, another one reads, as for any other body."""
    conn, peer = wire.pair()
    begun, read_first = Gate(), Gate()
    peer.expect_request()
    peer.expect_head()
    peer.reply(OK)
    peer.expect(b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")
    peer.reply(OK)
    body = Blocks(begun.pass_by, b"abc", read_first.wait, b"de")

    async def send() -> None:
        await conn.send_request("GET", "/")
        await conn.send_request("PUT", "/", body=body)

    async def read() -> list[HTTPResponse]:
        responses = []
        await begun.wait()
        for _ in range(2):
            responses.append(await conn.read_response())
            assert await conn.readall() == b"hi"
            read_first.open()
        return responses

    sending, reading = await wire.together(send(), read())
    assert sending.error is None
    assert [response.method for response in reading.value or ()] == ["GET", "PUT"]
    assert body.closed == 1


async def test_no_task_is_left(wire: StyledWire) -> None:
    """What watches the connection during a step does not outlive the step."""
    conn, peer = wire.pair()
    go_on, counts = Gate(), []
    peer.expect_head()
    peer.expect(b"3\r\nabc\r\n")
    peer.call(go_on.open)
    peer.expect(b"0\r\n\r\n")
    peer.call(lambda: counts.append(count()))
    peer.reply(OK)
    await conn.connect()

    def count() -> int:
        if isinstance(wire, TrioWire):
            return trio.lowlevel.current_statistics().tasks_living
        return len(asyncio.all_tasks())

    counts.append(count())
    await conn.request("PUT", "/", body=Blocks(b"abc", go_on.wait), expect100=False)
    await a_turn()
    counts.append(count())
    assert len(counts) == 3
    assert len(set(counts)) == 1
