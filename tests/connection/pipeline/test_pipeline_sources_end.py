"""How a pipeline's async iterable ends: by itself, closed early, let go of, or with its loop."""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import AsyncIterator
from contextlib import aclosing
from functools import partial
from typing import Any

import pytest
import trio

from dugong import AsyncHTTPConnection, StateError
from tests.connection.pipeline.echoing import Source, all_of, new_event, run
from tests.support.concurrency import LIBRARIES, Library, both, every_loop
from tests.support.pipeline_walk import paths

ASYNCIO, TRIO = LIBRARIES


class Broken(Exception):
    """What an iterable raises."""


# ------------------------------------------------------------------------------ closed early


@every_loop
def test_between_two_steps(library: Library) -> None:
    """It is closed as a generator is, in its task, and that may take its time."""

    async def main(conn: AsyncHTTPConnection) -> None:
        source = Source(library)
        async with aclosing(conn.pipeline(source(), depth=1)) as pipeline:
            assert (await anext(pipeline)).path == "/0"
        assert source.events == ["GeneratorExit", "finally"]
        assert source.one_task
        assert await anext(pipeline, None) is None
        await pipeline.aclose()

    run(library, main)


@every_loop
def test_in_the_middle_of_a_step(library: Library) -> None:
    """That is cancelled."""

    async def main(conn: AsyncHTTPConnection) -> None:
        source = Source(library, 2)
        pipeline = conn.pipeline(source())
        assert [(await anext(pipeline)).path for _ in range(2)] == paths(2)
        await pipeline.aclose()
        assert source.events == [
            "Cancelled" if library is TRIO else "CancelledError",
            "finally",
        ]
        assert source.one_task

    run(library, main)


@every_loop
def test_before_the_first_step(library: Library) -> None:
    async def main(conn: AsyncHTTPConnection) -> None:
        source = Source(library)
        pipeline = conn.pipeline(source())
        await pipeline.aclose()
        assert await anext(pipeline, None) is None
        assert source.events == []

    run(library, main)


@every_loop
def test_without_an_async_iterable(library: Library) -> None:
    async def main(conn: AsyncHTTPConnection) -> None:
        async with aclosing(conn.pipeline(paths(3))) as pipeline:
            assert (await anext(pipeline)).path == "/0"
        assert await anext(pipeline, None) is None
        response = await conn.request("GET", "/else")
        assert (response.path, await conn.readall()) == ("/else", b"/else")

    run(library, main)


@every_loop
@pytest.mark.parametrize("count", [1, 1000])
def test_closing_it_fails(library: Library, count: int) -> None:
    async def main(conn: AsyncHTTPConnection) -> None:
        error = Broken()
        source = Source(library, count, error)
        pipeline = conn.pipeline(source(), depth=1 if count > 1 else 2)
        assert (await anext(pipeline)).path == "/0"
        with pytest.raises(Broken) as caught:
            await pipeline.aclose()
        assert caught.value is error
        await pipeline.aclose()

    run(library, main)


@every_loop
def test_it_takes_no_notice_of_being_cancelled(library: Library) -> None:
    """Once: in trio it could not wait again."""
    cancelled = []

    async def source() -> AsyncIterator[str]:
        yield "/0"
        try:
            await new_event().wait()
        except BaseException:
            cancelled.append(True)
        yield "/1"

    async def main(conn: AsyncHTTPConnection) -> None:
        pipeline = conn.pipeline(source())
        assert (await anext(pipeline)).path == "/0"
        await pipeline.aclose()
        assert cancelled == [True]

    run(library, main)


@every_loop
def test_by_itself(library: Library) -> None:
    """It would wait for its own end."""

    async def source() -> AsyncIterator[str]:
        yield "/0"
        with pytest.raises(StateError):
            await pipeline.aclose()
        yield "/1"

    pipeline: Any = None

    async def main(conn: AsyncHTTPConnection) -> None:
        nonlocal pipeline
        pipeline = conn.pipeline(source())
        assert (await anext(pipeline)).path == "/0"
        await pipeline.aclose()
        pipeline = None

    run(library, main)


@both
def test_while_another_task_waits_for_it(library: Library) -> None:
    """That one finds the end."""

    async def main(conn: AsyncHTTPConnection) -> None:
        source = Source(library, 1)
        pipeline = conn.pipeline(source())
        assert (await anext(pipeline)).path == "/0"
        ended = []

        async def step() -> None:
            ended.append(await anext(pipeline, None))

        async with library.background(step):
            for _ in range(20):
                await library.checkpoint()
            await pipeline.aclose()
            while not ended:
                await library.checkpoint()
        assert ended == [None]

    run(library, main)


def test_a_channel() -> None:
    """Whoever sends into it learns that nobody receives any more."""

    async def main(conn: AsyncHTTPConnection) -> None:
        send, receive = trio.open_memory_channel[str](10)
        await send.send("/0")
        async with aclosing(conn.pipeline(receive)) as pipeline:
            assert (await anext(pipeline)).path == "/0"
        with pytest.raises(trio.BrokenResourceError):
            await send.send("/1")

    run(TRIO, main)


@every_loop
def test_an_iterator_that_cannot_be_closed(library: Library) -> None:
    class Endless:
        def __aiter__(self) -> AsyncIterator[str]:
            return self

        async def __anext__(self) -> str:
            return "/"

    async def main(conn: AsyncHTTPConnection) -> None:
        async with aclosing(conn.pipeline(Endless(), depth=3)) as pipeline:
            for _ in range(10):
                assert (await anext(pipeline)).path == "/"

    run(library, main)


# --------------------------------------------------------------------------------- let go of


@every_loop
@pytest.mark.parametrize("count", [1, 1000])
def test_let_go_of(library: Library, count: int) -> None:
    async def main(conn: AsyncHTTPConnection) -> None:
        source = Source(library, count)
        async for response in conn.pipeline(source(), depth=1 if count > 1 else 2):
            assert response.path == "/0"
            break
        await source.ended()
        assert source.one_task
        response = await conn.request("GET", "/else")
        assert (response.path, await conn.readall()) == ("/else", b"/else")

    run(library, main)


@every_loop
def test_as_part_of_garbage(library: Library) -> None:
    """The task, too, is known to nothing but the garbage: the loop knows it weakly."""

    class Owner:
        def __init__(self, pipeline: Any) -> None:
            self.me = self
            self.pipeline = pipeline

    async def main(conn: AsyncHTTPConnection) -> None:
        for count, depth in ((1, 2), (1000, 1)):
            source = Source(library, count)
            owner = Owner(conn.pipeline(source(), depth=depth))
            assert (await anext(owner.pipeline)).path == "/0"
            assert await conn.readall() == b"/0"
            await library.checkpoint()
            del owner
            gc.collect()
            await source.ended()
            assert source.one_task

    run(library, main)


@every_loop
def test_before_it_has_begun(library: Library) -> None:
    """In the very step in which the task was made."""

    async def main(conn: AsyncHTTPConnection) -> None:
        for turns in range(6):
            source = Source(library)
            pipeline = conn.pipeline(source())
            assert await library.cut_short(partial(anext, pipeline), turns) is None or turns > 3
            del pipeline
            gc.collect()
            if source.begun:
                await source.ended()

    run(library, main)


@both
def test_what_nobody_can_be_told(library: Library, caplog: pytest.LogCaptureFixture) -> None:
    """An error while it is closed, when the pipeline has gone: the library's way is to log it."""
    reported: list[Any] = []

    async def main(conn: AsyncHTTPConnection) -> None:
        if library is ASYNCIO:
            asyncio.get_running_loop().set_exception_handler(lambda _, it: reported.append(it))
        source = Source(library, error=Broken("told"))
        pipeline = conn.pipeline(source(), depth=1)
        assert (await anext(pipeline)).path == "/0"
        del pipeline
        gc.collect()
        await source.ended()
        await library.checkpoint()

    with caplog.at_level(logging.ERROR, "dugong"):
        run(library, main)
    if library is ASYNCIO:
        assert isinstance(reported[0]["exception"], Broken)
    else:
        ((name, _, message),) = caplog.record_tuples
        assert (name, message) == (
            "dugong", "an async iterable of requests failed while it was being closed",
        )  # fmt: skip


# ----------------------------------------------------------------------------------- failing


@every_loop
@pytest.mark.parametrize("error", [Broken(), TimeoutError("mine"), StateError("mine")], ids=repr)
def test_an_error(library: Library, error: Exception) -> None:
    """It is raised in its place, unchanged, and that is the end."""

    async def source() -> AsyncIterator[str]:
        for path in paths(5):
            yield path
        await library.checkpoint()
        raise error

    async def main(conn: AsyncHTTPConnection) -> None:
        pipeline = conn.pipeline(source())
        assert [(await anext(pipeline)).path for _ in range(5)] == paths(5)
        with pytest.raises(type(error)) as caught:
            await anext(pipeline)
        assert caught.value is error
        assert await anext(pipeline, None) is None

    run(library, main)


def test_something_that_it_awaits_was_cancelled() -> None:
    """As in a plain loop: that is raised, and cancels nobody."""

    async def source() -> AsyncIterator[str]:
        yield "/0"
        future = asyncio.get_running_loop().create_future()
        future.cancel()
        await future

    async def main(conn: AsyncHTTPConnection) -> None:
        pipeline = conn.pipeline(source())
        assert (await anext(pipeline)).path == "/0"
        with pytest.raises(asyncio.CancelledError):
            await anext(pipeline)
        assert await anext(pipeline, None) is None

    run(ASYNCIO, main)


@both
@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_an_end_of_the_program(library: Library, kind: type[BaseException]) -> None:
    async def source() -> AsyncIterator[str]:
        yield "/0"
        raise kind("mine")

    async def main(conn: AsyncHTTPConnection) -> None:
        await all_of(conn, source())

    with pytest.raises(kind, match="mine"):
        run(library, main)
