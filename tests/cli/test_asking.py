"""The engine of `check`: how it asks one server. (By which method: see `test_head_and_get`.)"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator

import pytest

from dugong.cli import asking, checking
from dugong.cli.judging import Outcome, Result
from tests.cli.engine import checked, ok, outcomes, response, run, serving
from tests.support.servers import HOST

# --------------------------------------------------------------------- troubles


def test_flaky() -> None:
    """A connection that is reset once does not make a document a broken one."""
    resets = {"/3": 1, "/200": 1, "/499": 1}

    async def answer(method: str, path: str) -> bytes | None:
        if resets.get(path):
            resets[path] -= 1
            return None
        return response(200)

    async def main() -> None:
        async with serving(answer) as url:
            results = await checked(f"{url}/{i}" for i in range(500))
        assert len(results) == 500
        assert {result.result for result in results} == {Outcome.OK}

    run(main())
    assert not any(resets.values())


@pytest.mark.parametrize(("retries", "attempts"), [(0, 1), (1, 2), (3, 4)])
def test_broken(retries: int, attempts: int) -> None:
    asked = 0

    async def answer(method: str, path: str) -> bytes | None:
        nonlocal asked
        asked += path == "/broken"
        return None if path == "/broken" else response(200)

    async def main() -> None:
        async with serving(answer) as url:
            results = await checked([f"{url}/broken", f"{url}/a"], "--retries", str(retries))
        assert outcomes(results) == {"broken": "broken", "a": "ok"}

    run(main())
    assert asked == attempts


def test_many_broken_in_a_row() -> None:
    """A server that answers at all is asked for everything."""
    asked: Counter[str] = Counter()

    async def answer(method: str, path: str) -> bytes | None:
        asked[path] += 1
        return None if path.startswith("/broken") else response(404)

    async def main() -> None:
        async with serving(answer) as url:
            results = await checked([*(f"{url}/broken{i}" for i in range(10)), f"{url}/a"])
        assert Counter(outcomes(results).values()) == {"broken": 10, "missing": 1}

    run(main())
    assert asked["/"] == 5  # each time that two in a row had failed, and more was to come


def test_server_that_stops_answering() -> None:
    """It is given up, long before everything has been tried."""
    asked: Counter[str] = Counter()

    async def answer(method: str, path: str) -> bytes | None:
        asked[path] += 1
        return response(200) if path in ("/0", "/1") else None

    async def main() -> None:
        async with serving(answer) as url:
            results = await checked(f"{url}/{i}" for i in range(1000))
        assert Counter(outcomes(results).values()) == {"ok": 2, "broken": 998}
        assert "has stopped responding" in results[-1].message

    run(main())
    assert asked["/"] == 1
    assert max(asked.values()) <= 3
    assert asked["/999"] == 0


def test_silent_server_holds_nobody_up_for_long() -> None:
    """It accepts connections and says nothing, and the queues are full of what it is to say."""

    async def main() -> None:
        over = asyncio.Event()

        async def silent(method: str, path: str) -> None:
            await over.wait()

        async with serving(silent) as bad, serving(ok) as good:
            urls = [f"{bad}/{i}" for i in range(2 * checking.MOST_WAITING)]
            results = await checked([*urls, f"{good}/good"], "--timeout", "0.2")
            over.set()
        assert len(results) == len(urls) + 1
        assert outcomes(results[-1:]) == {"good": "ok"}
        assert {result.result for result in results[:-1]} == {Outcome.BROKEN}

    run(main())


def test_unreachable_server_is_asked_once_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is remembered, but not for ever."""
    now = 0.0
    monkeypatch.setattr(asking, "monotonic", lambda: now)
    up: asyncio.Server | None = None

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(response(200, "Connection: close"))
        writer.close()

    async def main() -> None:
        server = await asyncio.start_server(serve, HOST, 0)
        port = server.sockets[0].getsockname()[1]
        server.close()
        told = asyncio.Event()

        async def urls() -> AsyncIterator[str]:
            nonlocal now, up
            for i in range(10):
                yield f"http://{HOST}:{port}/{i}"
            await told.wait()
            told.clear()
            up = await asyncio.start_server(serve, HOST, port)
            yield f"http://{HOST}:{port}/soon"
            await told.wait()
            now += asking.VERDICT_HOLDS + 1
            yield f"http://{HOST}:{port}/later"

        def report(result: Result) -> None:
            if result.url.endswith(("/9", "/soon")):
                told.set()

        results = await checked(urls(), report=report)
        assert outcomes(results[-2:]) == {"soon": "broken", "later": "ok"}
        assert {result.message for result in results[:-1]} == {
            f"cannot connect to {HOST}:{port}: Connection refused"
        }
        assert up is not None
        up.close()

    run(main())


def test_no_http() -> None:
    """What answers otherwise is broken, and asked once more at most."""
    asked: list[str] = []

    async def answer(method: str, path: str) -> bytes:
        asked.append(path)
        return b"220 smtp.example.org\r\n\r\n" if path != "/http" else response(200)

    async def main() -> None:
        async with serving(answer) as url:
            paths = ["a", "b", "c", "d", "http"]
            results = await checked(f"{url}/{path}" for path in paths)
        assert outcomes(results) == dict.fromkeys(paths, "broken") | {"http": "ok"}

    run(main())
    assert asked == ["/a", "/a", "/b", "/b", "/c", "/c", "/d", "/d", "/http"]


def test_bodies_upon_head() -> None:
    """What such a server does to the next document is no fault of that one."""
    asked: Counter[str] = Counter()

    async def answer(method: str, path: str) -> bytes:
        asked[path] += 1
        return response(404 if path.endswith("9") else 200, body=b"<p>hello</p>")

    async def main() -> None:
        async with serving(answer) as url:
            results = await checked(f"{url}/{i}" for i in range(100))
        assert Counter(outcomes(results).values()) == {"ok": 90, "missing": 10}

    run(main())
    assert max(asked.values()) <= 3


@pytest.mark.parametrize(
    ("given", "location"),
    [
        ("/b", "{}/b"),
        ("?c#d", "{}/a?c#d"),
        ("//other", "http://other"),
        ("ftp://x", "ftp://x"),
        ("http://[", "http://["),
        ("b;?", "{}/b;?"),
        ("http:///b", "http:///b"),
        ("/caf\xc3\xa9", "{}/café"),
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


# --------------------------------------------------------------------- busy servers


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize(
    ("field", "pause"),
    [
        ((), 0.001),
        (("Retry-After: 5",), 5),
        (("Retry-After: 0",), 0.001),
        (("Retry-After: 86400",), 60),
        (("Retry-After: Wed, 21 Oct 2020 07:28:00 GMT",), 0.001),
        (("Retry-After: -1",), 0.001),
        (
            (
                "Date: Wed, 21 Oct 2026 07:28:00 GMT",
                "Retry-After: Wed, 21 Oct 2026 07:28:07 GMT",
            ),
            7,
        ),
    ],
)
def test_too_busy(
    monkeypatch: pytest.MonkeyPatch, status: int, field: tuple[str, ...], pause: float
) -> None:
    """It is left in peace for a while, once for all that it refused."""
    slept: list[float] = []
    sleep = asyncio.sleep

    async def recorded(seconds: float) -> None:
        slept.append(seconds)
        await sleep(0)

    async def answer(method: str, path: str) -> bytes:
        return response(200) if slept else response(status, *field)

    async def main() -> None:
        async with serving(answer) as url:
            results = await checked(f"{url}/{i}" for i in range(200))
        assert Counter(outcomes(results).values()) == {"ok": 200}

    monkeypatch.setattr(asyncio, "sleep", recorded)
    run(main())
    assert slept == [pause]


def test_busy_all_the_time() -> None:
    """Patience has an end, for all documents at once."""
    asked = 0

    async def answer(method: str, path: str) -> bytes:
        nonlocal asked
        asked += 1
        return response(503)

    async def main() -> None:
        async with serving(answer) as url:
            results = await checked((f"{url}/{i}" for i in range(1000)), "--retries", "2")
        assert Counter(outcomes(results).values()) == {"failed": 1000}

    run(main())
    assert asked <= 1000 + 2 * 64
