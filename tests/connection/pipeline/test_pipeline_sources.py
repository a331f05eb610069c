"""What code in a pipeline's async iterable may rely on: one task, the caller's context, its end.

Everything that works in a plain ``async for`` over the same iterable has to work here: scopes,
nurseries and time limits that stay open from one item to the next, and context variables.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from contextvars import ContextVar, copy_context
from functools import partial
from typing import Any

import anyio
import pytest
import trio

from dugong import AsyncHTTPConnection
from tests.connection.pipeline.echoing import aclose, all_of, new_event, outcome_of, run, task
from tests.support.concurrency import LIBRARIES, Library, both, every_loop
from tests.support.in_turn import in_turn
from tests.support.pipeline_walk import paths

ASYNCIO, TRIO = LIBRARIES

var: ContextVar[str] = ContextVar("var", default="unset")


# ------------------------------------------------------------------------------- one task


@every_loop
@pytest.mark.parametrize("depth", [1, 2, 64])
def test_one_ordinary_task(library: Library, depth: int) -> None:
    seen: list[Any] = []

    async def source() -> AsyncIterator[str]:
        try:
            for path in paths(20):
                seen.append(task())
                await library.checkpoint()
                seen.append(task())
                yield path
        finally:
            seen.append(task())
            await library.checkpoint()
            seen.append(task())

    async def main(conn: AsyncHTTPConnection) -> None:
        assert await all_of(conn, source(), depth=depth) == paths(20)
        assert len(seen) == 42
        assert set(seen) == {seen[0]}
        if library is TRIO:
            assert seen[0].parent_nursery.parent_task is not trio.lowlevel.current_root_task()
        seen.clear()

    run(library, main)


def test_trio_may_interrupt_it() -> None:
    """As other code of the user's, and unlike a system task."""

    async def source() -> AsyncIterator[str]:
        assert not trio.lowlevel.currently_ki_protected()
        yield "/"

    async def main(conn: AsyncHTTPConnection) -> None:
        assert await all_of(conn, source()) == ["/"]

    run(TRIO, main)


def test_a_task_factory_of_another_kind() -> None:
    """One that knows no context, and one that counts."""
    made: list[Any] = []

    def factory(loop: asyncio.AbstractEventLoop, coro: Any) -> Any:
        made.append(coro)
        return asyncio.Task(coro, loop=loop)

    async def source() -> AsyncIterator[str]:
        await asyncio.gather(asyncio.sleep(0), asyncio.sleep(0))
        for path in paths(5):
            yield path

    async def main(conn: AsyncHTTPConnection) -> None:
        asyncio.get_running_loop().set_task_factory(factory)
        assert await all_of(conn, source()) == paths(5)
        assert len(made) == 2
        asyncio.get_running_loop().set_task_factory(None)

    run(ASYNCIO, main)


# ------------------------------------------------------------- what stays open between items


@asynccontextmanager
async def asyncio_timeout() -> AsyncIterator[None]:
    async with asyncio.timeout(60):
        yield


@asynccontextmanager
async def asyncio_group() -> AsyncIterator[None]:
    async with asyncio.TaskGroup() as group:
        child = group.create_task(asyncio.sleep(3600))
        yield
        child.cancel()


@asynccontextmanager
async def trio_scope() -> AsyncIterator[None]:
    with trio.move_on_after(60):
        yield


@asynccontextmanager
async def trio_nursery() -> AsyncIterator[None]:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.sleep_forever)
        yield
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def anyio_scope() -> AsyncIterator[None]:
    with anyio.fail_after(60):
        yield


@asynccontextmanager
async def anyio_group() -> AsyncIterator[None]:
    async with anyio.create_task_group() as group:
        group.start_soon(anyio.sleep, 3600)
        yield
        group.cancel_scope.cancel()


OPEN = [
    *((library, block) for library in (ASYNCIO, TRIO) for block in (anyio_scope, anyio_group)),
    *((ASYNCIO, block) for block in (asyncio_timeout, asyncio_group)),
    *((TRIO, block) for block in (trio_scope, trio_nursery)),
]

opened = in_turn(("library", "block"), OPEN, ids=lambda it: getattr(it, "name", None))


@opened
@in_turn("depth", [1, 3, 64])
def test_open_from_item_to_item(library: Library, block: Any, depth: int) -> None:
    async def source() -> AsyncIterator[str]:
        async with block(), block():
            for path in paths(10):
                await library.checkpoint()
                yield path

    async def main(conn: AsyncHTTPConnection) -> None:
        async with block():
            assert await all_of(conn, source(), depth=depth) == paths(10)

    run(library, main)


@opened
def test_a_step_within_scopes_of_the_caller(library: Library, block: Any) -> None:
    """They are left while those of the iterable are open, and the other way round."""

    async def source() -> AsyncIterator[str]:
        for path in paths(10):
            async with block():
                await library.checkpoint()
                yield path

    async def main(conn: AsyncHTTPConnection) -> None:
        pipeline = conn.pipeline(source(), depth=2)
        for path in paths(10):
            async with block():
                assert (await anext(pipeline)).path == path
        async with block():
            assert await anext(pipeline, None) is None

    run(library, main)


@opened
def test_left_early(library: Library, block: Any) -> None:
    """What comes of closing it is what comes of it without a pipeline. (A nursery complains.)"""
    ended: list[bool] = []

    async def source() -> AsyncIterator[str]:
        async with block():
            try:
                for path in paths(10):
                    yield path
            finally:
                ended.append(True)

    async def main(conn: AsyncHTTPConnection) -> None:
        plain = source()
        await anext(plain)
        outcome = await outcome_of(aclose(plain))
        pipeline = conn.pipeline(source(), depth=2)
        assert (await anext(pipeline)).path == "/0"
        assert repr((await outcome_of(pipeline.aclose())).error) == repr(outcome.error)
        assert ended == [True, True]
        assert await anext(pipeline, None) is None

    run(library, main)


@both
def test_a_limit_strikes_the_step_alone(library: Library) -> None:
    """Not what the caller does meanwhile: its response was there before the step was over."""
    done: list[Any] = []
    passed: Any = None

    async def source() -> AsyncIterator[str]:
        yield "/0"
        yield "/1"
        try:
            async with library.limit(0.01):
                await new_event().wait()
        except TimeoutError:
            done.append(task())
            passed.set()
        yield "/2"

    async def main(conn: AsyncHTTPConnection) -> None:
        nonlocal passed
        passed = new_event()
        pipeline = conn.pipeline(source())
        assert (await anext(pipeline)).path == "/0"
        assert (await anext(pipeline)).path == "/1"
        await passed.wait()
        assert (await anext(pipeline)).path == "/2"
        assert done
        assert done[0] is not task()
        done.clear()

    run(library, main)


# ------------------------------------------------------------------------ context variables


async def seen_by_both(items: AsyncIterator[str]) -> list[str]:
    return [f"{path} {var.get()}" async for path in items]


async def targets(conn: AsyncHTTPConnection, source: Any) -> AsyncIterator[str]:
    async for response in conn.pipeline(source, depth=1):
        await conn.readall()
        yield response.path


@every_loop
def test_context_variables_as_in_a_plain_loop(library: Library) -> None:
    """What either sets, the other sees. With depth 1, in the same order too."""

    async def source(seen: list[str]) -> AsyncIterator[str]:
        token = None
        for path in paths(4):
            seen.append(var.get())
            if token is not None:
                var.reset(token)
            token = var.set(f"source {path}")
            await library.checkpoint()
            seen.append(var.get())
            yield path

    async def loop(items: Callable[[Any], AsyncIterator[str]]) -> tuple[list[str], list[str]]:
        inside: list[str] = []
        outside: list[str] = []
        token = var.set("caller")
        try:
            async for path in items(source(inside)):
                outside.append(f"{path} {var.get()}")
                var.set(f"caller {path}")
        finally:
            var.reset(token)
        return inside, outside

    async def main(conn: AsyncHTTPConnection) -> None:
        plain = await loop(lambda items: items)
        assert await loop(partial(targets, conn)) == plain
        assert "caller /0" in plain[0]
        assert "/0 source /0" in plain[1]
        assert var.get() == "unset"

    run(library, main)


@every_loop
def test_context_variables_of_another_context(library: Library) -> None:
    """A caller whose task was given a context of its own: that is the iterable's, too."""

    async def source() -> AsyncIterator[str]:
        var.set("source")
        yield "/"

    async def called(conn: AsyncHTTPConnection) -> None:
        assert await all_of(conn, source()) == ["/"]

    async def main(conn: AsyncHTTPConnection) -> None:
        context = copy_context()
        if library is TRIO:
            done = trio.Event()

            async def called_within() -> None:
                await called(conn)
                done.set()

            trio.lowlevel.spawn_system_task(called_within, context=context)
            await done.wait()
        else:
            await asyncio.Task(called(conn), context=context)
        assert context[var] == "source"
        assert var.get() == "unset"

    run(library, main)


@every_loop
def test_a_pipeline_in_the_iterable_of_another(library: Library) -> None:
    async def inner() -> AsyncIterator[str]:
        for path in paths(3):
            var.set(f"inner {path}")
            yield path

    async def outer(other: AsyncHTTPConnection) -> AsyncIterator[str]:
        async for response in other.pipeline(inner(), depth=1):
            assert var.get() == f"inner {response.path}"
            yield f"/outer{response.path}"

    async def main(conn: AsyncHTTPConnection) -> None:
        async with AsyncHTTPConnection(conn.hostname, conn.port) as other:
            async for response in conn.pipeline(outer(other), depth=1):
                assert await conn.readall() == response.path.encode()
                assert var.get() == f"inner{response.path.removeprefix('/outer')}".replace(
                    "/", " /"
                )
        assert var.get() == "inner /2"
        var.set("unset")

    run(library, main)
