"""A pipeline's async iterable and the end of its loop, of the program, or of its references."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
import trio

from dugong import AsyncHTTPConnection, StateError
from tests.connection.pipeline.echoing import Source, echoing, run
from tests.support.concurrency import LIBRARIES, Asyncio, Library, every_loop

ASYNCIO, TRIO = LIBRARIES


@every_loop
@pytest.mark.parametrize("count", [1, 1000])
def test_the_loop_ends_first(library: Library, count: int) -> None:
    """It is closed in its task; the pipeline says what has become of it."""
    source = Source(library, count)
    pipelines: list[Any] = []

    async def leave(conn: AsyncHTTPConnection) -> None:
        pipelines.append(conn.pipeline(source(), depth=1 if count > 1 else 2))
        assert (await anext(pipelines[0])).path == "/0"
        assert await conn.readall() == b"/0"

    async def go_on() -> None:
        with pytest.raises(StateError, match="event loop"):
            while True:
                await anext(pipelines[0])
        assert await anext(pipelines[0], None) is None
        await pipelines[0].aclose()

    with echoing() as address:
        conn = AsyncHTTPConnection(*address)
        run_leaving_tasks(library, partial(leave, conn))
        assert source.events[-1:] == ["finally"]
        assert source.one_task
        library.run(go_on)
        conn.disconnect()


def run_leaving_tasks(library: Library, main: Any) -> None:
    """As `Library.run`, but what runs still is the loop's to end."""
    if library is TRIO:
        trio.run(main)
        return
    with asyncio.Runner() as runner:
        assert isinstance(library, Asyncio)
        library.prepare(runner.get_loop())
        runner.run(main())


def test_going_on_in_another_loop() -> None:
    """While the first one is still there, and could go on, too."""

    async def first(conn: AsyncHTTPConnection, source: Source) -> Any:
        pipeline = conn.pipeline(source(), depth=1)
        assert (await anext(pipeline)).path == "/0"
        assert await conn.readall() == b"/0"
        return pipeline

    async def second(pipeline: Any) -> None:
        with pytest.raises(StateError, match="another event loop"):
            await anext(pipeline)

    with echoing() as address, asyncio.Runner() as one, asyncio.Runner() as other:
        conn = AsyncHTTPConnection(*address)
        source = Source(ASYNCIO)
        pipeline = one.run(first(conn, source))
        other.run(second(pipeline))
        one.run(pipeline.aclose())
        assert source.events == ["GeneratorExit", "finally"]
        conn.disconnect()


EXITING = """
import asyncio, sys
from dugong import AsyncHTTPConnection

async def source():
    yield "/0"
    await asyncio.sleep(0)
    sys.exit(3)

async def main():
    async with AsyncHTTPConnection("127.0.0.1", {port}) as conn:
        async for response in conn.pipeline(source()):
            pass

asyncio.run(main())
"""


def program(text: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-c", text],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip


def test_the_program_exits() -> None:
    """And asyncio has nothing to say of our task."""
    with echoing() as (_, port):
        done = program(EXITING.format(port=port))
    assert (done.returncode, done.stderr) == (3, "")


LEAVING = """
import asyncio, gc, sys
from dugong import AsyncHTTPConnection

async def source():
    try:
        for i in range({count}):
            yield f"/{{i}}"
        await asyncio.Event().wait()
    finally:
        print("closed")

async def main():
    conn = AsyncHTTPConnection("127.0.0.1", {port})
    pipeline = conn.pipeline(source(), depth=2)
    await anext(pipeline)
    conn.disconnect()
    if {kept}:
        kept.append(pipeline)

kept = []
loop = asyncio.new_event_loop()
loop.run_until_complete(main())
loop.close()
del loop
asyncio.set_event_loop(None)
gc.collect()
kept.clear()
gc.collect()
print("end")
"""


@pytest.mark.parametrize("kept", [True, False])
@pytest.mark.parametrize("count", [1, 1000])
def test_the_loop_is_closed_over_it(count: int, kept: bool) -> None:
    """A program that does not end its tasks: asyncio has nothing to say of ours."""
    with echoing() as (_, port):
        done = program(LEAVING.format(count=count, port=port, kept=kept))
    assert (done.stdout.split()[-1], done.stderr) == ("end", "")


# ------------------------------------------------------------------------ garbage everywhere


@pytest.fixture
def eager_collector() -> Iterator[None]:
    threshold = gc.get_threshold()
    gc.set_threshold(1)
    try:
        yield
    finally:
        gc.set_threshold(*threshold)


@every_loop
@pytest.mark.usefixtures("eager_collector")
def test_let_go_of_in_every_state(library: Library) -> None:
    """With a collection at every allocation: no complaint, and every source is closed."""

    async def main(conn: AsyncHTTPConnection) -> None:
        for turns in range(12):
            source = Source(library, 3)
            pipeline = conn.pipeline(source(), depth=2)
            cycle: list[Any] = [pipeline]
            cycle.append(cycle)
            await library.cut_short(partial(all_of_them, pipeline), turns)
            del pipeline, cycle
            gc.collect()
            if source.begun:
                await source.ended()

    run(library, main)


async def all_of_them(pipeline: Any) -> list[Any]:
    return [response async for response in pipeline]
