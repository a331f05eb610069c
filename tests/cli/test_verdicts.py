"""The engine of `check`: how it asks servers. (By which method: see `test_head_and_get`.)"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator

import pytest

from dugong.cli import verdicts
from dugong.cli.judging import Outcome, Result
from tests.cli.engine import checked, ok, outcomes, response, run, serving
from tests.support.in_turn import in_turn

# Failing connections.


def test_flaky() -> None:
    """A connection that is reset once does not make a URL a broken one."""
    resets = {"/3": 1, "/70": 1, "/99": 1}

    async def answer(method: str, path: str) -> bytes | None:
        if resets.get(path):
            resets[path] -= 1
            return None
        return response(200)

    async def main() -> None:
        async with serving(answer) as url:
            results = await checked(f"{url}/{i}" for i in range(100))
        assert len(results) == 100
        assert {result.result for result in results} == {Outcome.OK}

    run(main())
    assert not any(resets.values())


@pytest.mark.parametrize("retries", [0, 1])
def test_broken(retries: int) -> None:
    asked: Counter[str] = Counter()

    async def answer(method: str, path: str) -> bytes | None:
        asked[method] += path == "/broken"
        return None if path == "/broken" else response(200)

    async def main() -> None:
        async with serving(answer) as url:
            results = await checked([f"{url}/broken", f"{url}/a"], "--retries", str(retries))
        assert outcomes(results) == {"broken": "broken", "a": "ok"}

    run(main())
    for method in ("HEAD", "GET"):  # one may have been on a used connection
        assert retries + 1 <= asked[method] <= retries + 2


def test_silent_server_delays_no_other() -> None:
    """It accepts connections and says nothing, and the window is full of its URLs."""

    async def main() -> None:
        over = asyncio.Event()

        async def silent(method: str, path: str) -> None:
            await over.wait()

        async with serving(silent) as bad, serving(ok) as good:
            urls = [f"{bad}/{i}" for i in range(2 * verdicts.WINDOW)]
            results = await checked([*urls, f"{good}/good"], "--timeout", "0.1")
            over.set()
        assert Counter(outcomes(results).values()) == {"broken": len(urls), "ok": 1}

    run(main())


def test_no_http() -> None:
    async def answer(method: str, path: str) -> bytes:
        return b"220 smtp.example.org\r\n\r\n" if path != "/http" else response(200)

    async def main() -> None:
        async with serving(answer) as url:
            paths = ["a", "b", "c", "d", "http"]
            results = await checked(f"{url}/{path}" for path in paths)
        assert outcomes(results) == dict.fromkeys(paths, "broken") | {"http": "ok"}

    run(main())


def test_bodies_after_head() -> None:
    """What such a server does to the next URL is no fault of that one."""

    async def answer(method: str, path: str) -> bytes:
        return response(404 if path.endswith("9") else 200, body=b"<p>hello</p>")

    async def main() -> None:
        async with serving(answer) as url:
            results = await checked(f"{url}/{i}" for i in range(30))
        assert Counter(outcomes(results).values()) == {"ok": 27, "missing": 3}

    run(main())


# Redirects.


@in_turn(
    ("given", "location"),
    [
        ("/b", "{}/b"),
        ("?c#d", "{}/a?c#d"),
        ("//other", "http://other/"),
        ("ftp://x", "ftp://x/"),
        ("http://[", "http://["),
        ("b;?", "{}/b;?"),
        ("http:///b", "http://b/"),
        ("/caf\xc3\xa9", "{}/caf%C3%A9"),
        ("", "{}/a"),
        (None, None),
    ],
)
def test_location(given: str | None, location: str | None) -> None:
    async def answer(method: str, path: str) -> bytes:
        return response(301, *([] if given is None else [f"Location: {given}"]))

    async def main() -> None:
        async with serving(answer) as url:
            [result] = await checked([f"{url}/a"])
            expected = location and location.format(url)
        assert result.location == expected
        assert result.result == (Outcome.FAILED if given is None else Outcome.REDIRECTED)

    run(main())


def test_follow() -> None:
    answers = {
        "/moved": response(301, "Location: /there"),
        "/there": response(200),
        "/dead": response(302, "Location: /gone"),
        "/gone": response(404),
        "/loop": response(302, "Location: /loop"),
        "/wrong": response(302, "Location: ftp://x"),
    }

    async def answer(method: str, path: str) -> bytes:
        return answers[path]

    async def main() -> None:
        async with serving(answer) as url:
            urls = [f"{url}{path}" for path in ("/moved", "/dead", "/loop", "/wrong", "/there")]
            results = {result.url: result for result in await checked(urls, "--follow")}
            moved, dead, loop, wrong, there = (results[each] for each in urls)
            assert moved == Result(urls[0], Outcome.REDIRECTED, 301, f"{url}/there", "So")
            assert dead == Result(urls[1], Outcome.MISSING, 404, f"{url}/gone", "So")
            assert (loop.result, loop.status) == (Outcome.FAILED, 302)
            assert (wrong.result, wrong.status) == (Outcome.FAILED, 302)
            assert there == Result(urls[4], Outcome.OK, 200, None, "So")

    run(main())


# Busy servers.


@in_turn("status", [429, 503])
def test_busy_for_a_moment(status: int) -> None:
    asked: Counter[str] = Counter()

    async def answer(method: str, path: str) -> bytes:
        asked[path] += 1
        return response(status, "Retry-After: 0") if asked[path] == 1 else response(200)

    async def main() -> None:
        async with serving(answer) as url:
            results = await checked([f"{url}/a"])
        assert outcomes(results) == {"a": "ok"}

    run(main())


def test_busy_for_a_day() -> None:
    """It is not asked again."""
    asked: list[str] = []

    async def answer(method: str, path: str) -> bytes:
        asked.append(path)
        return response(503, "Retry-After: 86400")

    async def main() -> None:
        async with serving(answer) as url:
            results = await checked(f"{url}/{i}" for i in range(100))
        assert Counter(outcomes(results).values()) == {"failed": 100}
        assert {result.status for result in results} == {503}

    run(main())
    assert len(asked) <= 2


# Input and output.


def test_reading_waits() -> None:
    """No more is read than there is room for, and everything is read in the end."""
    count = 3 * verdicts.WINDOW
    read = done = most = 0

    async def main() -> None:
        async def urls(url: str) -> AsyncIterator[str]:
            nonlocal read
            for i in range(count):
                read += 1
                yield f"{url}/{i}"

        def report(result: Result) -> None:
            nonlocal done, most
            most = max(most, read - done)
            done += 1

        async with serving(ok) as url:
            await checked(urls(url), report=report)

    run(main())
    assert (read, done) == (count, count)
    assert most <= verdicts.WINDOW + 1


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


def test_so_many_requests_at_a_time() -> None:
    asked = asking_now = most = 0
    together = asyncio.Event()

    async def answer(method: str, path: str) -> bytes:
        nonlocal asked, asking_now, most
        asked += 1
        asking_now += 1
        most = max(most, asking_now)
        if asking_now == 3:
            together.set()
        if asked > 10:  # the first answers show that the server can take more
            await together.wait()
        for _ in range(10):  # so that a fourth one could come
            await asyncio.sleep(0)
        asking_now -= 1
        return response(200)

    async def main() -> None:
        async with serving(answer) as url:
            results = await checked((f"{url}/{n}" for n in range(30)), "--per-host", "3")
        assert len(results) == 30

    run(main())
    assert most == 3


def test_a_report_that_fails_ends_it() -> None:
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
