"""Async iterables as bodies: what is sent of them, where they run, how far, and their end."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import socket
import weakref
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import trio

from dugong import (
    AsyncHTTPConnection,
    BodyChanged,
    ConnectionClosed,
    ConnectionTimedOut,
    ExcessBodyData,
    HTTPConnection,
    Request,
    StateError,
    Timeouts,
)
from dugong.protocol.content import AsyncIterableContent
from tests.connection.async_bodies import KINDS, Blocks, Generated, Reusable, a_turn, forever
from tests.support.drive import drive
from tests.support.exchanges import OK, works
from tests.support.in_turn import in_turn
from tests.support.peer import Peer
from tests.support.styles import StyledWire
from tests.support.styles_in_loops import TrioWire
from tests.support.tapped import Pace
from tests.support.uploads import (
    CONTINUE,
    DATA,
    TOO_LARGE,
    WAYS,
    complete,
    drain,
    requested,
    swallow,
)
from tests.support.wire import Wire

pytestmark = pytest.mark.styles("asyncio", "trio")  # for which alone there are async iterables


# ------------------------------------------------------------------------------ what is sent


@in_turn("kind", KINDS)
async def test_each_item_is_a_chunk(wire: StyledWire, kind: str) -> None:
    items = (b"abc", b"", bytearray(b"de"), memoryview(b"xfgx")[1:3], b"")
    for ask in WAYS.values():
        conn, peer = wire.pair()
        peer.expect_request()
        peer.reply(OK)
        await ask(conn, "PUT", body=KINDS[kind](*items), expect100=False)
        (received,) = peer.requests
        assert received.chunks == (b"abc", b"de", b"fg")
        assert received.get("Transfer-Encoding") == "chunked"
        await works(conn, peer)


@in_turn("kind", KINDS)
@in_turn("blocks", [(), (b"",), (b"", b"")])
async def test_nothing_in_it(wire: StyledWire, kind: str, blocks: tuple[bytes, ...]) -> None:
    for ask in WAYS.values():
        for headers in ({}, {"Content-Length": 0}):
            conn, peer = wire.pair()
            peer.expect_request(body=b"")
            peer.reply(OK)
            await ask(conn, "PUT", headers=headers, body=KINDS[kind](*blocks), expect100=False)
            await works(conn, peer)


@in_turn("kind", KINDS)
async def test_a_given_length(wire: StyledWire, kind: str) -> None:
    for ask in WAYS.values():
        conn, peer = wire.pair()
        peer.expect_request(body=b"abcde")
        peer.reply(OK)
        await ask(conn, "PUT", headers={"Content-Length": 5}, body=KINDS[kind](b"abc", b"", b"de"))
        assert peer.requests[0].get("Transfer-Encoding") is None
        await works(conn, peer)


@in_turn(
    ("blocks", "error"),
    [
        ((b"abc", b"d"), BodyChanged),
        ((), BodyChanged),
        ((b"abc", b"def"), ExcessBodyData),
        ((b"abcde", b"f"), ExcessBodyData),
        ((b"abcde", b"", b"f"), ExcessBodyData),
    ],
)
async def test_a_length_is_enforced(
    wire: StyledWire, blocks: tuple[bytes, ...], error: type[Exception]
) -> None:
    for ask in WAYS.values():
        conn, peer = wire.pair()
        body = Blocks(*blocks)
        with pytest.raises(error) as caught:
            await ask(conn, "PUT", headers={"Content-Length": 5}, body=body)
        assert not complete(peer)
        assert vars(caught.value)["bytes_sent"] == conn.bytes_sent
        assert body.closed == 1
        with pytest.raises(ConnectionClosed):
            await conn.send_request("GET", "/again")


async def test_one_buffer_for_all_items(wire: StyledWire) -> None:
    """An item is its giver's again when the next one is asked for."""

    async def overwriting() -> AsyncIterator[Any]:
        buf = bytearray()
        for block in (b"ssss", b"eeee", b"aaaa"):
            buf += block
            yield buf
            buf.clear()

    for ask in WAYS.values():
        for headers in ({}, {"Content-Length": 12}):
            conn, peer = wire.pair()
            peer.expect_request(body=b"sssseeeeaaaa")
            peer.reply(OK)
            await ask(conn, "PUT", headers=headers, body=overwriting(), expect100=False)
            await works(conn, peer)


async def test_asked_first(wire: StyledWire) -> None:
    """Nothing is taken before the server wants it."""
    conn, peer = wire.pair()
    body = Blocks(b"abc", b"de")
    peer.expect_head()
    peer.call(lambda: body.taken and pytest.fail("taken too early"))
    peer.reply(CONTINUE)
    peer.expect(b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")
    peer.reply(OK)
    response, _ = await requested(conn, "PUT", body=body)
    assert [interim.status for interim in response.informational] == [100]
    assert response.request.body is body
    await works(conn, peer)


async def test_a_stale_connection_is_replaced(wire: StyledWire) -> None:
    """The body goes out on the new one, of which nothing was taken before."""
    listener = wire.listen()
    conn, first = wire.dial(listener), listener.peer()
    first.expect_request()
    first.reply(OK)
    first.close()
    await conn.request("GET", "/")
    await conn.readall()
    while first.step():
        pass
    second = listener.peer()
    second.expect_request(body=b"abc")
    second.reply(OK)
    body = Blocks(b"abc")
    response, _ = await requested(conn, "PUT", body=body, expect100=False)
    assert response.request.body is body
    assert body.closed == 1


async def test_lost_at_the_first_byte(wire: StyledWire) -> None:
    """Then `request` tries again on another connection, with the same body."""
    listener = wire.listen()
    conn, first, second = wire.dial(listener), listener.peer(), listener.peer()
    first.expect_request()
    first.reply(OK)
    await conn.request("GET", "/")
    await conn.readall()
    stream = conn._session.stream  # type: ignore[union-attr]
    assert stream is not None

    def fails(pieces: Any) -> int:
        raise ConnectionResetError

    stream._send = fails  # type: ignore[method-assign]
    second.expect_request(body=b"abc")
    second.reply(OK)
    body = Blocks(b"abc")
    await requested(conn, "PUT", body=body, expect100=False)
    assert body.closed == 1


# ------------------------------------------------------------------------ where and how far


async def test_it_runs_in_the_callers_task(wire: StyledWire) -> None:
    variable = contextvars.ContextVar("variable", default=0)
    found: list[int] = []

    async def body() -> AsyncIterator[bytes]:
        for i in range(3):
            found.append(variable.get())
            yield b"abc"
            variable.set(i + 10)

    for ask in WAYS.values():
        conn, peer = wire.pair()
        peer.expect_request()
        peer.reply(OK)
        variable.set(1)
        found.clear()
        blocks = Blocks(b"abc")
        await ask(conn, "PUT", body=body(), expect100=False)
        assert found == [1, 10, 11]
        assert variable.get() == 12
        peer.expect_request()
        peer.reply(OK)
        await ask(conn, "PUT", body=blocks, expect100=False)
        assert blocks.tasks == {asyncio.current_task() if not isinstance(wire, TrioWire)
                                else trio.lowlevel.current_task()}  # fmt: skip


async def scoped_in_asyncio() -> AsyncIterator[bytes]:
    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        task = group.create_task(asyncio.sleep(0, b"abc"))
        yield b"first"
        yield await task
        async with asyncio.timeout(60):
            yield b"last"


async def scoped_in_trio() -> AsyncIterator[bytes]:
    with trio.move_on_after(60):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.lowlevel.checkpoint)
            yield b"first"
            await trio.lowlevel.checkpoint()
            yield b"abc"
            with trio.CancelScope():
                yield b"last"


@in_turn("limit", [None, "deadline", "attribute"])
async def test_scopes_may_stay_open_from_one_item_to_the_next(
    wire: StyledWire, limit: str | None
) -> None:
    for ask in WAYS.values():
        conn, peer = wire.pair(small=True)
        peer.expect_request(body=b"firstabclast")
        peer.reply(OK)
        body = scoped_in_trio() if isinstance(wire, TrioWire) else scoped_in_asyncio()
        options: dict[str, Any] = {"deadline": 60} if limit == "deadline" else {}
        if limit == "attribute":
            conn.deadline = 60
        await ask(conn, "PUT", body=body, expect100=False, **options)
        peer.check()


async def test_a_time_limit_in_it(wire: StyledWire) -> None:
    """Its own exceptions are its own, and so is what it catches."""

    async def patient() -> AsyncIterator[bytes]:
        for _ in range(2):
            if isinstance(wire, TrioWire):
                with trio.move_on_after(0.001):
                    await forever()
            else:
                try:
                    async with asyncio.timeout(0.001):
                        await forever()
                except TimeoutError:
                    pass
            yield b"abc"

    async def impatient() -> AsyncIterator[bytes]:
        yield b"abc"
        if isinstance(wire, TrioWire):
            with trio.fail_after(0.001):
                await forever()
        else:
            async with asyncio.timeout(0.001):
                await forever()

    for ask in WAYS.values():
        conn, peer = wire.pair()
        peer.expect_request(body=b"abcabc")
        peer.reply(OK)
        await ask(conn, "PUT", body=patient(), expect100=False)
        conn, peer = wire.pair()
        with pytest.raises((TimeoutError, trio.TooSlowError)) as caught:
            await ask(conn, "PUT", body=impatient(), expect100=False)
        assert not isinstance(caught.value, ConnectionTimedOut)
        assert not complete(peer)


async def test_no_further_than_can_be_sent(wire: StyledWire) -> None:
    for way in WAYS:
        conn, peer = wire.pair(small=True)
        await conn.connect()
        body = Blocks(*[bytes(10_000)] * 1000)
        peer.expect_head()
        send = conn.request if way == "request" else conn.send_request
        await wire.stop(send("PUT", "/", None, body, False))
        assert 0 < body.taken < 100
        assert body.closed == 1


@pytest.mark.parametrize("make", [Blocks, Generated])
async def test_no_further_than_the_server_wants(wire: StyledWire, make: Any) -> None:
    """A refusal ends `request` although the iterable waits, which is then cut short."""
    conn, peer = wire.pair()
    source = make(b"abc", forever, b"de")
    peer.expect_head()
    peer.expect(b"3\r\nabc\r\n")
    peer.reply(TOO_LARGE)
    body = getattr(source, "body", source)
    response, content = await requested(conn, "PUT", body=body, expect100=False)
    assert (response.status, content) == (413, b"nope")
    assert (source.taken, source.closed) == (1, 1)
    assert not complete(peer)
    await a_turn()  # and no cancellation is left over


# ------------------------------------------------------------------------------------ closed


def cut_in_the_body(peer: Peer) -> None:
    peer.expect_head()
    swallow(peer, 50_000)
    peer.reset()


def cut_behind_the_head(peer: Peer) -> None:
    peer.expect_head()
    peer.close()


def cut_before_the_response(peer: Peer) -> None:
    peer.expect_request()
    peer.close()


CLOSING = [cut_in_the_body, cut_behind_the_head, cut_before_the_response]


@in_turn("make", [Blocks, Generated])
@in_turn("end", CLOSING)
async def test_closed_when_the_connection_ends(
    wire: StyledWire, end: Callable[[Peer], None], make: Any
) -> None:
    for ask in WAYS.values():
        conn, peer = wire.pair(small=True)
        end(peer)
        source = make(*[DATA[i : i + 10_000] for i in range(0, len(DATA), 10_000)])
        body = getattr(source, "body", source)
        with pytest.raises(ConnectionClosed) as caught:
            await ask(conn, "PUT", body=body, expect100=False)
        assert source.closed == 1
        assert not caught.value.safe_to_retry
        assert caught.value.unanswered[0].body is body


async def test_closed_when_there_is_no_connection(wire: StyledWire) -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        address = unused.getsockname()
    for ask in WAYS.values():
        body = Blocks(b"abc")
        conn = wire.connection("localhost", address=address)
        with pytest.raises(ConnectionRefusedError) as caught:
            await ask(conn, "PUT", body=body, expect100=False)
        assert (body.taken, body.closed) == (0, 1)
        assert vars(caught.value)["unanswered"][0].body is body
        body = Blocks(b"abc")
        conn, _ = wire.pair(tap=Pace(send_fails=ConnectionResetError()))
        with pytest.raises(ConnectionClosed):
            await ask(conn, "PUT", body=body, expect100=False)
        assert (body.taken, body.closed) == (0, 1)


async def test_closed_when_the_request_is_not_even_made(plain: StyledWire) -> None:
    """Its arguments are wrong, or it is not its turn."""
    for ask in WAYS.values():
        for options in (
            {"path": "no target"},
            {"headers": {"X": "a\nb"}},
            {"headers": {"Content-Length": "x"}},
            {"headers": {"Transfer-Encoding": "gzip"}},
            {"headers": "X: y"},
            {"deadline": -1},
        ):
            conn, peer = plain.pair()
            body = Blocks(b"abc")
            with pytest.raises((ValueError, TypeError)):
                await ask(conn, "PUT", body=body, **options)
            assert (conn.bytes_sent, body.taken, body.closed) == (0, 0, 1)
            await works(conn, peer)
        conn, peer = plain.pair()
        peer.expect_request()
        peer.reply(OK)
        await conn.request("GET", "/")
        body = Blocks(b"abc")
        if ask is WAYS["request"]:
            with pytest.raises(StateError, match="has not been read"):
                await ask(conn, "PUT", body=body)
            assert (body.taken, body.closed) == (0, 1)
    conn, peer = plain.pair()
    body = Blocks(b"abc")
    with pytest.raises(ValueError, match="expect100"):
        await conn.send_request("PUT", "/", body=body, expect100=True)
    assert body.closed == 1


@pytest.mark.parametrize(
    "reply", [TOO_LARGE, TOO_LARGE.replace(b"413 Content Too Large", b"417 No")]
)
async def test_closed_when_it_is_refused(wire: StyledWire, reply: bytes) -> None:
    """Nothing is taken. It is not sent again without asking either: it may be used up."""
    conn, peer = wire.pair()
    body = Blocks(b"abc")
    peer.expect_head()
    peer.reply(reply)
    response, _ = await requested(conn, "PUT", body=body)
    assert response.status in (413, 417)
    assert (body.taken, body.closed) == (0, 1)


async def test_closed_when_it_is_sent(wire: StyledWire) -> None:
    for ask in WAYS.values():
        for make in (Blocks, Generated, Reusable):
            conn, peer = wire.pair()
            peer.expect_request()
            peer.reply(OK)
            source = make(b"abc")
            await ask(conn, "PUT", body=getattr(source, "body", source), expect100=False)
            assert source.closed == 1


@pytest.mark.parametrize("limit", ["timeout", "deadline"])
async def test_closed_when_time_passes(wire: StyledWire, limit: str) -> None:
    for way, ask in WAYS.items():
        for each in (True, False):
            if each and (way, limit) == ("send_request", "timeout"):
                continue
            conn, _ = wire.pair(small=True)
            await conn.connect()
            body = Blocks(*[bytes(10_000)] * 1000)
            options: dict[str, Any] = {}
            if each:
                options[limit] = 0.01
            else:
                setattr(conn, limit, 0.01)
            with pytest.raises(ConnectionTimedOut):
                await ask(conn, "PUT", body=body, expect100=False, **options)
            assert body.closed == 1


@pytest.mark.parametrize("stubborn", [False, True])
async def test_a_deadline_while_the_body_waits(wire: StyledWire, stubborn: bool) -> None:
    """Also for one that goes on when it is cancelled."""

    async def ignoring() -> None:
        try:
            await forever()
        except BaseException:
            if not stubborn:
                raise

    for ask in WAYS.values():
        for options in ({"deadline": 0.1}, {}):
            conn, peer = wire.pair()
            await conn.connect()
            if not options:
                conn.deadline = 0.1
            body = Blocks(b"abc", ignoring, b"de")
            with pytest.raises(ConnectionTimedOut, match="not done within") as caught:
                await ask(conn, "PUT", body=body, expect100=False, **options)
            assert caught.value.phase == "send"
            assert caught.value.bytes_sent == conn.bytes_sent > 0
            assert not caught.value.safe_to_retry
            assert body.closed == 1
            assert not complete(peer)
            with pytest.raises(ConnectionClosed):
                await conn.send_request("GET", "/")
            await a_turn()  # and no cancellation is left over


@pytest.mark.parametrize("limit", [0.01, Timeouts(send=0.01, receive=0.01)], ids=["all", "each"])
async def test_no_timeout_while_the_body_waits(wire: StyledWire, limit: float | Timeouts) -> None:
    """A byte would move at once if there were one. The limit holds again for the response."""

    async def a_while() -> None:
        if isinstance(wire, TrioWire):
            await trio.sleep(0.02)
        else:
            await asyncio.sleep(0.02)

    for way, ask in WAYS.items():
        for options in ({"timeout": limit}, {}):
            if options and way == "send_request":
                continue
            conn, peer = wire.pair()
            await conn.connect()
            if not options:
                conn.timeout = limit
            body = Blocks(a_while, b"abc", a_while, b"de", a_while)
            drain(peer)
            with pytest.raises(ConnectionTimedOut, match="phase 'response'"):
                await ask(conn, "PUT", body=body, expect100=False, **options)
            assert (body.taken, body.closed) == (2, 1)
            assert complete(peer)


@pytest.mark.parametrize("make", [Blocks, Generated])
async def test_cancelled_while_the_body_waits(wire: StyledWire, make: Any) -> None:
    """It is cancelled in the middle, and so what it has given does not pass for the whole."""
    for way in WAYS:
        conn, peer = wire.pair()
        await conn.connect()
        peer.expect_head()
        peer.expect(b"3\r\nabc\r\n")
        source = make(b"abc", forever, b"de")
        body = getattr(source, "body", source)
        send = conn.request if way == "request" else conn.send_request
        await wire.stop(send("PUT", "/", None, body, False))
        assert source.closed == 1
        with pytest.raises(ConnectionClosed):
            await conn.send_request("GET", "/")
        assert not complete(peer)
        with pytest.raises(StateError, match="used up"):
            await wire.connection("localhost").request("PUT", "/", body=body)


# --------------------------------------------------------------------------------- exceptions


class Own(Exception):
    pass


class OwnCancelled(asyncio.CancelledError):
    pass


@in_turn("blocks", [(), (b"abc",)], ids=["at once", "later"])
@in_turn(
    "error",
    [
        Own(),
        ConnectionClosed("mine"),
        ConnectionTimedOut("mine"),
        TimeoutError("mine"),
        RuntimeError("mine"),
        StateError("mine"),
    ],
    ids=repr,
)
async def test_its_exceptions_pass_through(
    wire: StyledWire, error: Exception, blocks: tuple[bytes, ...]
) -> None:
    for ask in WAYS.values():
        for make in (Blocks, Generated):
            conn, peer = wire.pair()
            source = make(*blocks, error)
            with pytest.raises(type(error)) as caught:
                await ask(conn, "PUT", body=getattr(source, "body", source), expect100=False)
            assert caught.value is error
            assert error.__cause__ is None
            assert vars(error)["bytes_sent"] == conn.bytes_sent > 0
            assert not vars(error)["safe_to_retry"]
            assert source.closed == 1
            assert not complete(peer)
            assert not conn.body_pending


@in_turn("blocks", [(), (b"abc",)], ids=["at once", "later"])
@in_turn("kind", [OwnCancelled, KeyboardInterrupt, GeneratorExit])
async def test_its_base_exceptions_pass_through(
    wire: StyledWire, kind: type[BaseException], blocks: tuple[bytes, ...]
) -> None:
    for ask in WAYS.values():
        conn, peer = wire.pair()
        error = kind()
        body = Blocks(*blocks, error)
        with pytest.raises(kind) as caught:
            await ask(conn, "PUT", body=body, expect100=False)
        assert caught.value is error
        assert body.closed == (0 if kind is GeneratorExit else 1)
        assert not complete(peer)
        with pytest.raises(ConnectionClosed):
            await conn.send_request("GET", "/")


async def test_any_stop_is_its_end(wire: StyledWire) -> None:
    """As in ``async for``."""

    class Stop(StopAsyncIteration):
        pass

    for ask in WAYS.values():
        conn, peer = wire.pair()
        peer.expect_request(body=b"abc")
        peer.reply(OK)
        await ask(conn, "PUT", body=Blocks(b"abc", Stop()), expect100=False)
        await works(conn, peer)


async def test_an_exception_while_it_is_closed(wire: StyledWire) -> None:
    """The caller never sees the response, so it is not left for the next reader."""

    class Sticky(Blocks):
        async def aclose(self) -> None:
            await super().aclose()
            raise Own

    for ask in WAYS.values():
        for refused in (False, True):
            if refused and ask is not WAYS["request"]:
                continue
            conn, peer = wire.pair()
            peer.expect_head()
            if not refused:
                peer.expect(b"3\r\nabc\r\n0\r\n\r\n")
            peer.reply(TOO_LARGE if refused else OK)
            with pytest.raises(Own):
                await ask(conn, "PUT", body=Sticky(b"abc"), expect100=refused)
            assert not conn.connected
            with pytest.raises(ConnectionClosed):
                await conn.readall() if ask is WAYS["request"] else await conn.read_response()


@in_turn("bad", ["text", None, 3])
async def test_items_that_are_no_bytes(wire: StyledWire, bad: object) -> None:
    for ask in WAYS.values():
        for kind in KINDS:
            conn, peer = wire.pair()
            with pytest.raises(TypeError, match="bytes"):
                await ask(conn, "PUT", body=KINDS[kind](b"abc", bad), expect100=False)
            assert not complete(peer)


# ------------------------------------------------------------------------- once, and not again


@pytest.mark.parametrize("make", [Blocks, Generated])
async def test_one_shot(wire: StyledWire, make: Any) -> None:
    for ask in WAYS.values():
        conn, peer = wire.pair()
        peer.expect_request(body=b"abc")
        peer.reply(OK)
        source = make(b"abc")
        body = getattr(source, "body", source)
        assert not Request("PUT", "/", body=body).replayable
        await ask(conn, "PUT", body=body, expect100=False)
        before = conn.bytes_sent
        for again in WAYS.values():
            with pytest.raises(StateError, match="used up"):
                await again(conn, "PUT", body=body, expect100=False)
        assert conn.bytes_sent == before
        assert source.closed == 1


async def test_an_iterable_may_be_given_again(wire: StyledWire) -> None:
    """As a list may."""
    body = Reusable(b"abc", b"de")
    conn, peer = wire.pair()
    for ask in (*WAYS.values(), *WAYS.values()):
        peer.expect_request(body=b"abcde")
        peer.reply(OK)
        await ask(conn, "PUT", body=body, expect100=False)
    assert body.closed == 4


@pytest.mark.parametrize("make", [Blocks, Generated])
async def test_in_two_requests_at_once(wire: StyledWire, make: Any) -> None:
    """The second one is refused, and does not close what the first one sends."""
    source = make(*[bytes(10_000)] * 100)
    body = getattr(source, "body", source)
    pairs = [wire.pair(small=True) for _ in range(2)]
    for _, peer in pairs:
        peer.expect_request()
        peer.reply(OK)
    outcomes = await wire.together(
        *(requested(conn, "PUT", body=body, expect100=False) for conn, _ in pairs)
    )
    errors = [type(outcome.error) for outcome in outcomes if outcome.error is not None]
    assert errors == [StateError]
    assert source.taken == 100
    assert source.closed == 1


async def test_nothing_stays_alive(wire: StyledWire) -> None:
    refs: list[Any] = []
    conns = []
    for ask in WAYS.values():
        for make in (Blocks, Reusable):
            conn, peer = wire.pair()
            conns.append(conn)
            peer.expect_request()
            peer.reply(OK)
            body = make(b"abc")
            refs.append(weakref.ref(body))
            await ask(conn, "PUT", body=body, expect100=False)
            conn, peer = wire.pair()
            body = make(b"abc", Own())
            refs.append(weakref.ref(body))
            if make is Blocks:
                with pytest.raises(Own):
                    await ask(conn, "PUT", body=body, expect100=False)
            del body
            conn.disconnect()
            conns.append(conn)
    gc.collect()
    assert [ref() for ref in refs[::2]] == [None] * 4


async def test_an_interrupted_step_is_not_the_end(wire: StyledWire) -> None:
    """A generator that was cancelled has ended, and its body must not pass for complete."""
    pieces = AsyncIterableContent(Generated(forever).body)
    step = pieces.fetch().__await__()
    next(step)
    with pytest.raises(OwnCancelled):
        step.throw(OwnCancelled())
    assert not pieces.must_fetch
    with pytest.raises(StateError, match="before the body was complete"):
        pieces.take()


# --------------------------------------------------------------------- who cannot send them


@pytest.mark.parametrize("kind", KINDS)
def test_refused_elsewhere(plain: Wire, kind: str) -> None:
    """By blocking calls and by coroutines, of either class, while nothing is sent."""
    for make in (HTTPConnection, AsyncHTTPConnection):
        conn: Any = make("localhost")
        body = KINDS[kind](b"abc")
        for crt in (
            conn.co_request("PUT", "/", body=body),
            conn.co_send_request("PUT", "/", body=body),
            conn.pipeline([Request("PUT", "/", body=body)]).co_next(),
        ):
            with pytest.raises(TypeError, match="async"):
                drive(crt)
    blocking = HTTPConnection("localhost")
    body = KINDS[kind](b"abc")
    for call in (blocking.request, blocking.send_request):
        with pytest.raises(TypeError, match="AsyncHTTPConnection"):
            call("PUT", "/", body=body)
    with pytest.raises(TypeError, match="AsyncHTTPConnection"):
        next(blocking.pipeline([Request("PUT", "/", body=body)]))
    assert blocking.bytes_sent == 0
