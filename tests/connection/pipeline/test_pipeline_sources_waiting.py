"""Waiting for a pipeline's async iterable, for its responses, and for both."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import pytest

from dugong import AsyncHTTPConnection, ConnectionTimedOut, StateError
from tests.connection.pipeline.echoing import new_event, run, task
from tests.support.concurrency import Library, every_loop
from tests.support.pipeline_walk import paths


@every_loop
def test_responses_come_while_it_waits(library: Library) -> None:
    """For ever; the time limits and scopes of the caller end that."""

    async def source() -> AsyncIterator[str]:
        for path in paths(3):
            yield path
        await new_event().wait()

    async def main(conn: AsyncHTTPConnection) -> None:
        pipeline = conn.pipeline(source())
        for path in paths(3):
            assert (await anext(pipeline)).path == path
        with pytest.raises(TimeoutError):
            async with library.limit(0.01):
                await anext(pipeline)
        conn.deadline = 0.01
        with pytest.raises(ConnectionTimedOut):
            await anext(pipeline)
        await pipeline.aclose()

    run(library, main)


@every_loop
def test_no_byte_is_expected_while_it_alone_is_waited_for(library: Library) -> None:
    """So `timeout` does not apply, not even one of no time at all."""

    async def source() -> AsyncIterator[str]:
        yield "/0"
        for _ in range(50):
            await library.checkpoint()

    async def main(conn: AsyncHTTPConnection) -> None:
        pipeline = conn.pipeline(source())
        assert (await anext(pipeline)).path == "/0"
        assert await conn.readall() == b"/0"
        conn.timeout = 0
        assert await anext(pipeline, None) is None

    run(library, main)


@every_loop
def test_disconnected_while_it_alone_is_waited_for(library: Library) -> None:
    """Nothing is lost by that: the next request connects."""

    async def source() -> AsyncIterator[str]:
        yield "/0"
        await more.wait()
        yield "/1"

    more: Any = None

    async def main(conn: AsyncHTTPConnection) -> None:
        nonlocal more
        more = new_event()
        pipeline = conn.pipeline(source())
        assert (await anext(pipeline)).path == "/0"
        assert await conn.readall() == b"/0"

        async def disconnect() -> None:
            for _ in range(20):
                await library.checkpoint()
            conn.disconnect()
            for _ in range(20):
                await library.checkpoint()
            more.set()

        async with library.background(disconnect):
            assert (await anext(pipeline)).path == "/1"
        assert await anext(pipeline, None) is None

    run(library, main)


@every_loop
def test_another_task_goes_on(library: Library) -> None:
    """The iterable stays where it is."""
    tasks = set()

    async def source() -> AsyncIterator[str]:
        for path in paths(6):
            tasks.add(task())
            yield path

    async def main(conn: AsyncHTTPConnection) -> None:
        pipeline = conn.pipeline(source(), depth=1)

        async def one(path: str) -> None:
            assert (await anext(pipeline)).path == path

        for path in paths(6):
            await library.together(partial(one, path))
        assert await anext(pipeline, None) is None
        assert len(tasks) == 1
        tasks.clear()

    run(library, main)


@every_loop
def test_two_tasks_step_at_once(library: Library) -> None:
    """The second is refused, as by an async generator; the first is not disturbed."""

    async def source() -> AsyncIterator[str]:
        yield "/0"
        yield "/1"
        await more.wait()
        yield "/2"

    more: Any = None

    async def main(conn: AsyncHTTPConnection) -> None:
        nonlocal more
        more = new_event()
        pipeline = conn.pipeline(source())
        got = [(await anext(pipeline)).path for _ in range(2)]

        async def step_on() -> None:
            got.append((await anext(pipeline)).path)

        async with library.background(step_on):
            for _ in range(20):
                await library.checkpoint()
            with pytest.raises(StateError):
                await anext(pipeline)
            more.set()
            while len(got) < 3:
                await library.checkpoint()
        assert got == paths(3)
        assert await anext(pipeline, None) is None

    run(library, main)
