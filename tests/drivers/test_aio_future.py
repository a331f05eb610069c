"""`AioFuture`: any generator that yields `PollNeeded`, as a future of asyncio."""

from __future__ import annotations

import asyncio
import inspect
from typing import Any

import pytest

from dugong import POLLIN, POLLOUT, AioFuture, HTTPConnection, PollNeeded
from tests.drivers.watched import Crt, Ends, registered, run, turns
from tests.support.concurrency import nothing_left
from tests.support.wire import HOST

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"


def nothing() -> Crt:
    """A generator that need not wait."""
    return 7
    yield


def failing(exc: BaseException) -> Crt:
    raise exc
    yield


# ---------------------------------------------------------------------- results and exceptions


def test_result(ends: Ends) -> None:
    async def main() -> None:
        assert await AioFuture(nothing()) == 7
        future = AioFuture(ends.reader())
        assert asyncio.isfuture(future)
        await turns()
        assert not future.done()
        ends.far.send(b"x")
        assert await future == b"x"
        assert not registered(ends.fd)

    run(main)


def test_exception(ends: Ends) -> None:
    async def main() -> None:
        error = KeyError("what")
        with pytest.raises(KeyError) as info:
            await AioFuture(failing(error))
        assert info.value is error
        future = AioFuture(failing(error))
        await turns()
        assert future.exception() is error

    run(main)


def test_one_exchange(ends: Ends) -> None:
    """With the coroutines of a connection, as programs for dugong 3 did it."""

    async def main() -> None:
        conn = HTTPConnection(HOST, sock=ends.near)
        await AioFuture(conn.co_send_request("GET", "/"))
        response = AioFuture(conn.co_read_response())
        await turns()
        ends.far.sendall(OK)
        assert (await response).status == 200
        assert await AioFuture(conn.co_readall()) == b"hi"
        conn.disconnect()

    run(main)


def test_loop_that_is_given(ends: Ends) -> None:
    """It need not be running yet."""
    loop = asyncio.new_event_loop()
    future = AioFuture(ends.reader(), loop=loop)
    assert future.get_loop() is loop
    ends.far.send(b"x")
    assert loop.run_until_complete(future) == b"x"
    loop.close()


def test_own_time_limit(ends: Ends) -> None:
    """What the generator wants to be resumed for anyway comes, and is no timeout of the future."""

    def patient() -> Crt:
        resumed = 0
        for timeout in (0, 0.001, 0.01):
            yield PollNeeded(ends.fd, POLLIN, timeout)
            resumed += 1
        yield PollNeeded(ends.fd, POLLOUT, 1000)
        return resumed

    async def main() -> None:
        assert await AioFuture(patient()) == 3
        assert not registered(ends.fd)

    run(main)


def test_either_direction(ends: Ends) -> None:
    """A mask of both is ready when one is."""

    def both_ways() -> Crt:
        yield PollNeeded(ends.fd, POLLIN | POLLOUT)
        return "ready"

    async def main() -> None:
        assert await AioFuture(both_ways()) == "ready"
        ends.fill()
        future = AioFuture(both_ways())
        await turns()
        assert not future.done()
        ends.far.send(b"x")
        assert await future == "ready"
        assert not registered(ends.fd)

    run(main)


# ------------------------------------------------------------------------------- cancellation


def test_cancel_before_it_began(ends: Ends) -> None:
    async def main() -> None:
        log: list[str] = []
        crt = ends.reader(log)
        future = AioFuture(crt)
        assert future.cancel()
        await turns()
        assert future.cancelled()
        assert inspect.getgeneratorstate(crt) == inspect.GEN_CLOSED
        assert not registered(ends.fd)

    run(main)


@pytest.mark.parametrize("by", ["future", "task"])
def test_cancel_while_it_waits(ends: Ends, by: str) -> None:
    """The generator is closed, and the loop knows nothing more of the descriptor."""

    async def main() -> None:
        log: list[str] = []
        future = AioFuture(ends.reader(log))

        async def wait() -> None:
            await future

        task = asyncio.create_task(wait())
        await turns()
        assert log == []
        (future if by == "future" else task).cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert future.cancelled()
        assert log == ["closed"]
        assert not registered(ends.fd)
        assert not future.cancel()

    run(main)


def test_cancel_by_time_limit(ends: Ends) -> None:
    async def main() -> None:
        log: list[str] = []
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await AioFuture(ends.reader(log))
        assert log == ["closed"]
        ends.far.send(b"x")
        assert await AioFuture(ends.reader(log)) == b"x"

    run(main)


@pytest.mark.parametrize("ready", [False, True])
def test_cancelled_by_itself(ends: Ends, ready: bool) -> None:
    """In the middle of a step, when a generator cannot be closed."""

    async def main() -> None:
        log: list[str] = []

        def step() -> Crt:
            try:
                future.cancel()
                yield PollNeeded(ends.fd, POLLOUT if ready else POLLIN)
            finally:
                log.append("closed")

        future = AioFuture(step())
        await turns()
        assert future.cancelled()
        assert log == ["closed"]
        assert not registered(ends.fd)

    run(main)


def test_cancelled_when_it_is_ready(ends: Ends) -> None:
    """The byte that has come meanwhile stays where it is."""

    async def main() -> None:
        future = AioFuture(ends.reader())
        await turns()
        ends.far.send(b"x")
        future.cancel()
        await turns()
        assert ends.near.recv(1) == b"x"

    run(main)


def test_loop_that_was_closed(ends: Ends) -> None:
    """A future left waiting in it can still be cancelled, and lets everything go."""
    log: list[str] = []

    async def main() -> AioFuture[Any]:
        future = AioFuture(ends.reader(log))
        await turns()
        return future

    with nothing_left():
        future = asyncio.run(main())
        assert not future.done()
        assert future.cancel()
        assert log == ["closed"]
        del future
