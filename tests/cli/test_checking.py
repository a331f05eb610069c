"""The engine of `check`: how it shares itself out among servers."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator

import pytest

from dugong.cli import checking
from dugong.cli.asking import Server
from dugong.cli.judging import Result
from tests.cli.engine import checked, ok, outcomes, response, run, serving


def test_reading_waits() -> None:
    """No more is read than there is room for, and everything is read in the end."""
    count = 3 * checking.MOST_WAITING
    read = done = most = 0
    first: list[int] = []

    async def answer(method: str, path: str) -> bytes:
        first.append(read)
        return response(200)

    async def main() -> None:
        nonlocal done, most

        async def urls(url: str) -> AsyncIterator[str]:
            nonlocal read
            for i in range(count):
                read += 1
                yield f"{url}/{i}"

        def report(result: Result) -> None:
            nonlocal done, most
            most = max(most, read - done)
            done += 1

        async with serving(answer) as url:
            await checked(urls(url), report=report)

    run(main())
    assert first[0] == checking.MOST_WAITING + 1
    assert (read, done) == (count, count)
    assert most == checking.MOST_WAITING + 1


def test_slow_input() -> None:
    """A result does not wait for the next line."""
    told = asyncio.Event()

    async def main() -> None:
        async with serving(ok) as one, serving(ok) as two:

            async def urls() -> AsyncIterator[str]:
                for i, url in enumerate([one, one, two, one, two, two]):
                    yield f"{url}/{i}"
                    await told.wait()
                    told.clear()

            results = await checked(urls(), report=lambda result: told.set())
        assert list(outcomes(results)) == ["0", "1", "2", "3", "4", "5"]

    run(main())


def test_so_many_servers_at_a_time() -> None:
    asking_now = most = 0
    together = asyncio.Event()

    async def answer(method: str, path: str) -> bytes:
        nonlocal asking_now, most
        asking_now += 1
        most = max(most, asking_now)
        if asking_now == 3:
            together.set()
        await together.wait()
        for _ in range(10):  # so that a fourth one could come
            await asyncio.sleep(0)
        asking_now -= 1
        return response(200)

    async def main() -> None:
        async with (
            serving(answer) as a, serving(answer) as b, serving(answer) as c,
            serving(answer) as d, serving(answer) as e, serving(answer) as f,
        ):  # fmt: skip
            results = await checked([f"{url}/" for url in (a, b, c, d, e, f)], "--servers", "3")
        assert len(results) == 6

    run(main())
    assert most == 3


def test_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server with a long queue does not keep others from theirs."""
    monkeypatch.setattr(checking, "TURN", 0)
    asked: list[str] = []

    async def answer(method: str, path: str) -> bytes:
        asked.append(path)
        return response(200)

    async def main() -> None:
        async with serving(answer) as a, serving(answer) as b:
            urls = [f"{a}/{i}" for i in range(4)] + [f"{b}/{i}" for i in range(4)]
            assert len(await checked(urls, "--servers", "1")) == 8

    run(main())
    assert asked == ["/0", "/0", "/1", "/1", "/2", "/2", "/3", "/3"]


def test_what_is_known_of_servers_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checking, "MOST_WAITING", 2)
    monkeypatch.setattr(checking, "MOST_KNOWN", 4)
    most = 0

    def report(result: Result) -> None:
        nonlocal most
        gc.collect()  # exceptions and the frames they came through refer to each other
        most = max(most, sum(isinstance(thing, Server) for thing in gc.get_objects()))

    async def main() -> None:
        urls = [f"http://127.0.0.1:{port}/" for port in range(1, 16)]
        assert len(await checked(urls, "--retries", "0", report=report)) == len(urls)

    run(main())
    assert most <= 5  # those known, and one that is being asked


def test_connections_kept_are_bounded() -> None:
    """Those kept for later, and those in use, are as many as servers are asked at a time."""
    connected: list[int] = []

    async def main() -> None:
        async with serving(ok) as a, serving(ok) as b, serving(ok) as c, serving(ok) as d:
            told = asyncio.Event()

            def report(result: Result) -> None:
                conns = [t for t in gc.get_objects() if isinstance(t, Server) and t._conn]
                connected.append(len(conns))
                told.set()

            async def urls() -> AsyncIterator[str]:
                for url in [a, b, c, d] * 3:
                    yield f"{url}/"
                    await told.wait()
                    told.clear()

            await checked(urls(), "--servers", "2", report=report)

    run(main())
    assert max(connected) == 3


def test_report_that_fails_ends_it() -> None:
    class Enough(Exception):
        pass

    def report(result: Result) -> None:
        raise Enough from OSError("cause")

    async def endless(url: str) -> AsyncIterator[str]:
        while True:
            yield url

    async def main() -> None:
        async with serving(ok) as url:
            for given_url in (f"{url}/", "invalid"):
                with pytest.raises(Enough) as info:
                    await checked(endless(given_url), report=report)
                assert isinstance(info.value.__cause__, OSError)

    run(main())
