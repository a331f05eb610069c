"""`pipeline` and the iterable it takes its requests from: endless, slow, failing, asynchronous."""

from __future__ import annotations

import gc
from collections import deque
from collections.abc import AsyncIterator, Iterable, Iterator
from itertools import count
from typing import Any

import pytest

from dugong import ConnectionClosed
from tests.connection.async_bodies import a_turn
from tests.connection.pipeline.echoing import new_event
from tests.support.exchanges import OK
from tests.support.in_turn import in_turn
from tests.support.pipeline_server import Server
from tests.support.pipeline_walk import Lazy, LazyAsync, bodies, expected, paths, walk
from tests.support.styles import StyledWire
from tests.support.styles_in_loops import AsyncioWire, TrioWire


def kinds(wire: StyledWire) -> list[type[Lazy | LazyAsync]]:
    """Of iterators that this style has; an asynchronous one is for the libraries alone."""
    return [Lazy, LazyAsync] if isinstance(wire, AsyncioWire | TrioWire) else [Lazy]


async def as_async(items: Iterable[Any]) -> AsyncIterator[Any]:
    for item in items:
        yield item


# -------------------------------------------------------------------------------- lazily


@in_turn("depth", [1, 2, 7])
async def test_never_further_ahead_than_the_depth(plain: StyledWire, depth: int) -> None:
    """Of an endless iterable too; what is taken is what is asked for next."""
    for kind in kinds(plain):
        server = Server(plain)
        conn = plain.dial(server.listener)
        source = kind(f"/{i}" for i in count())
        assert source.taken == 0
        pipeline = conn.pipeline(source, depth=depth)
        assert source.taken == 0
        for i in range(25):
            response = await anext(pipeline)
            assert response.path == f"/{i}"
            assert source.taken <= i + 1 + depth
            assert await conn.readall() == f"GET /{i}".encode()
            assert source.taken <= i + 1 + depth
        conn.disconnect()


async def test_none_is_taken_before_the_first_step(plain: StyledWire) -> None:
    for kind in kinds(plain):
        source = kind(["/"])
        plain.connection("localhost").pipeline(source)
        assert source.taken == 0


async def test_the_first_ones_to_an_unknown_server(plain: StyledWire) -> None:
    """While the first request is under way alone, no more than the depth is taken either."""
    for kind in kinds(plain):
        server = Server(plain)
        source = kind(paths(20))
        pipeline = plain.dial(server.listener).pipeline(source, depth=3)
        assert (await anext(pipeline)).path == "/0"
        assert source.taken <= 4


@pytest.mark.styles("asyncio", "trio")
@in_turn("depth", [1, 3, 64])
async def test_an_asynchronous_iterable(wire: StyledWire, depth: int) -> None:
    for source in (LazyAsync(paths(30)), as_async(paths(30))):
        server = Server(wire)
        steps = await walk(wire.dial(server.listener), source, depth=depth)
        assert bodies(steps) == expected(paths(30))
        assert server.targets == paths(30)


@pytest.mark.styles("asyncio", "trio")
async def test_an_asynchronous_generator_is_finished(plain: StyledWire) -> None:
    finished = []

    async def source() -> AsyncIterator[str]:
        try:
            for path in paths(5):
                yield path
        finally:
            finished.append(True)

    server = Server(plain)
    await walk(plain.dial(server.listener), source())
    assert finished == [True]


# ----------------------------------------------------------------------------------- slow


def until_seen(wire: StyledWire, server: Server, items: Iterable[str]) -> Iterator[str]:
    """Gives one after the other, each when the server has seen the one before."""
    before = None
    for item in items:
        while before is not None and not server.whole(before):
            assert wire.step(), f"{before} was not sent, and the next one asked for"
        yield item
        before = item


@pytest.mark.styles("generator")  # here nobody else plays while the producer does
async def test_a_slow_producer_keeps_nothing_back(plain: StyledWire) -> None:
    """Each request goes out before the next one is asked for, which may be long in coming."""
    server = Server(plain)
    conn = plain.dial(server.listener)
    steps = await walk(conn, until_seen(plain, server, paths(12)))
    assert bodies(steps) == expected(paths(12))


@pytest.mark.styles("generator")
async def test_a_slow_producer_keeps_no_response_back(plain: StyledWire) -> None:
    """It is not asked for more while a response is there."""
    server = Server(plain)
    conn = plain.dial(server.listener)
    source = Lazy(paths(12))

    def slowly() -> Iterator[str]:
        for path in source:
            yield path
            while plain.step():
                pass

    answered = 0
    async for _ in conn.pipeline(slowly()):
        answered += 1
        assert source.taken <= answered + 2
    assert answered == 12


@pytest.mark.styles("asyncio", "trio")
async def test_a_slow_asynchronous_producer(plain: StyledWire) -> None:
    """What it has given goes out while it is waited for."""
    server = Server(plain)
    conn = plain.dial(server.listener)

    async def until_answered() -> AsyncIterator[str]:
        for i, path in enumerate(paths(12)):
            for _ in range(1000):
                if len(server.log) == i:
                    break
                await a_turn()
                plain.step()
            else:
                raise AssertionError(f"what is before {path} was not sent")
            yield path

    steps = await walk(conn, until_answered())
    assert bodies(steps) == expected(paths(12))


@pytest.mark.styles("asyncio", "trio")
async def test_what_it_gives_while_a_response_is_awaited(wire: StyledWire) -> None:
    """It goes out at once. Here, the response does not come before."""
    conn, peer = wire.pair()

    async def slowly() -> AsyncIterator[str]:
        for path in paths(6):
            for _ in range(50):
                await a_turn()
            yield path

    peer.expect_request(b"GET /0 ")
    peer.reply(OK)
    for first in (1, 3):
        peer.expect_request(f"GET /{first} ".encode())
        peer.expect_request(f"GET /{first + 1} ".encode())
        peer.reply(OK + OK)
    peer.expect_request(b"GET /5 ")
    peer.reply(OK)
    assert bodies(await walk(conn, slowly())) == [b"hi"] * 6
    peer.check()


@pytest.mark.styles("asyncio", "trio")
@pytest.mark.parametrize("depth", [1, 4])
async def test_it_may_wait_for_responses(wire: StyledWire, depth: int) -> None:
    """A crawler: what is asked for next is found in what has come."""
    server = Server(wire)
    conn = wire.dial(server.listener)
    found = deque(["/"])
    got: list[str] = []

    class Crawler:
        def __aiter__(self) -> Crawler:
            return self

        async def __anext__(self) -> str:
            while not found:
                if len(got) == 1 + 3 + 9 + 27:
                    raise StopAsyncIteration
                await changed.wait()
            return found.popleft()

    changed = Changed()
    async for response in conn.pipeline(Crawler(), depth=depth):
        assert await conn.readall() == f"GET {response.path}".encode()
        got.append(response.path)
        if len(response.path) < 4:
            found.extend(response.path + letter for letter in "abc")
        changed.set()
    assert got == sorted(got, key=lambda path: (len(path), path))
    assert len(set(got)) == 40


class Changed:
    """Wakes whoever waits, in asyncio or trio."""

    def __init__(self) -> None:
        self._event: Any = None

    def set(self) -> None:
        event, self._event = self._event, None
        if event is not None:
            event.set()

    async def wait(self) -> None:
        if self._event is None:
            self._event = new_event()
        await self._event.wait()


# ------------------------------------------------------------------------------- failing


class Broken(Exception):
    """What a producer raises."""


async def test_a_producer_that_fails(plain: StyledWire) -> None:
    """It is raised behind the responses to what it gave before, and that is the end."""

    def failing(given: int) -> Iterator[str]:
        yield from paths(given)
        raise Broken

    for kind in kinds(plain):
        for given in (0, 1, 5, 70):
            server = Server(plain)
            conn = plain.dial(server.listener)
            pipeline = conn.pipeline(kind(failing(given)))
            for path in paths(given):
                assert (await anext(pipeline)).path == path
            with pytest.raises(Broken):
                await anext(pipeline)
            assert await anext(pipeline, None) is None
            assert await anext(pipeline, None) is None
            assert server.targets == paths(given)


async def test_a_producer_that_cannot_even_begin(plain: StyledWire) -> None:
    class Unwilling:
        def __iter__(self) -> Iterator[str]:
            raise Broken

    with pytest.raises(Broken):
        plain.connection("localhost").pipeline(Unwilling())


async def test_a_producer_that_uses_the_connection(plain: StyledWire) -> None:
    """It cannot, without harm to what is in flight; but nobody gets another's response."""
    server = Server(plain)
    conn = plain.dial(server.listener)

    def meddling() -> Iterator[str]:
        for path in paths(9):
            if path == "/5":
                conn.disconnect()
            yield path

    steps = await walk(conn, meddling())
    for step in steps:
        if step.error is None:
            assert step.body == f"GET {step.request.path}".encode()
        else:
            assert isinstance(step.error, ConnectionClosed)
    answered = [step.request.path for step in steps if step.body is not None]
    assert answered == paths(9)


# ------------------------------------------------------------------------------ let go of


@pytest.mark.styles("asyncio", "trio")
async def test_a_pipeline_let_go_of_takes_no_more(plain: StyledWire) -> None:
    """Nothing complains, and the next user of the connection gets its own response."""
    server = Server(plain)
    conn = plain.dial(server.listener)
    started: list[int] = []

    async def endless() -> AsyncIterator[str]:
        for i in count():
            started.append(i)
            if i == 5:
                await Changed().wait()  # for ever
            yield f"/{i}"

    pipeline = conn.pipeline(endless())
    assert (await anext(pipeline)).path == "/0"
    assert (await anext(pipeline)).path == "/1"
    del pipeline
    gc.collect()
    response = await conn.request("GET", "/else")
    assert (response.path, await conn.readall()) == ("/else", b"GET /else")
    assert len(started) <= 6


async def test_what_is_behind_a_slow_iterable_is_not_lost(plain: StyledWire) -> None:
    """The pipeline is left, and gone on with."""
    server = Server(plain)
    conn = plain.dial(server.listener)
    pipeline: Any = conn.pipeline(Lazy(paths(10)))
    got = []
    for _ in range(5):
        async for response in pipeline:
            got.append((response.path, await conn.readall()))
            if len(got) % 2 == 0:
                break
    assert [path for path, _ in got] == paths(10)
    assert [body for _, body in got] == expected(paths(10))
