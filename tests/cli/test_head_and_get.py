"""The engine of `check`: by which method it asks. HEAD is believed only as far as it succeeds."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from dugong.cli.judging import Outcome
from tests.cli.engine import checked, outcomes, response, run, serving
from tests.support.servers import HOST


def test_head_refused() -> None:
    """It asks by GET, and asks only by GET as soon as that has worked."""
    asked: Counter[tuple[str, str]] = Counter()

    async def answer(method: str, path: str) -> bytes:
        asked[method, path] += 1
        return response(405) if method == "HEAD" else response(200, body=b"x" * 1000)

    async def main() -> None:
        async with serving(answer) as url:
            results = await checked(f"{url}/{i}" for i in range(1000))
        assert len(results) == 1000
        assert {result.result for result in results} == {Outcome.OK}

    run(main())
    methods = Counter(method for method, _ in asked)
    assert methods["GET"] == 1000
    assert methods["HEAD"] <= 6
    assert set(asked.values()) == {1}


@pytest.mark.parametrize(
    "status", [302, 400, 401, 403, 404, 405, 410, 451, 500, 501, 502, 503, 429]
)
@pytest.mark.parametrize("retries", ["0", "1", "2"])
def test_head_fails_and_get_does_not(status: int, retries: str) -> None:
    """Whatever the status: GET decides. A 302 without Location is no redirect."""
    asked: list[str] = []

    async def answer(method: str, path: str) -> bytes:
        asked.append(method)
        return response(200 if method == "GET" else status)

    async def main() -> None:
        async with serving(answer) as url:
            assert outcomes(await checked([f"{url}/a"], "--retries", retries)) == {"a": "ok"}

    run(main())
    heads = 1 + int(retries) if status in (429, 502, 503) else 1
    assert asked == ["HEAD"] * heads + ["GET"]


@pytest.mark.parametrize(("status", "result"), [(404, "missing"), (403, "denied"), (500, "failed")])
def test_get_confirms_head(status: int, result: str) -> None:
    """Then HEAD is still trusted: each document that failed is asked for by GET, and no other."""
    asked: Counter[str] = Counter()

    async def answer(method: str, path: str) -> bytes:
        asked[method] += 1
        return response(
            status if path.endswith("7") else 200, body=b"" if method == "HEAD" else b"x"
        )

    async def main() -> None:
        async with serving(answer) as url:
            results = await checked(f"{url}/{i}" for i in range(1000))
        assert outcomes(results) == {str(i): result if i % 10 == 7 else "ok" for i in range(1000)}

    run(main())
    assert asked == {"HEAD": 1000, "GET": 100}


def test_get_decides() -> None:
    """What it finds is the result, also if it is another failure."""

    async def answer(method: str, path: str) -> bytes:
        return response(403 if method == "HEAD" else 404)

    async def main() -> None:
        async with serving(answer) as url:
            [result] = await checked([f"{url}/a"])
        assert (result.result, result.status) == ("missing", 404)

    run(main())


@pytest.mark.parametrize("status", [404, 403, 501, 500])
def test_server_whose_head_always_fails(status: int) -> None:
    """It is asked by GET from then on, unless the status may have been one that passes."""
    asked: Counter[str] = Counter()

    async def answer(method: str, path: str) -> bytes:
        asked[method] += 1
        return response(200 if method == "GET" else status)

    async def main() -> None:
        async with serving(answer) as url:
            results = await checked(f"{url}/{i}" for i in range(1000))
        assert outcomes(results) == {str(i): "ok" for i in range(1000)}

    run(main())
    assert asked["GET"] == 1000
    assert asked["HEAD"] == 1000 if status == 500 else asked["HEAD"] <= 6


@pytest.mark.parametrize("said", [None, b"SSH-2.0-x\r\n\r\n", b"HTTP/2.0 200 OK\r\n\r\n"])
def test_head_without_an_answer(said: bytes | None) -> None:
    """The connection breaks, or what comes is no HTTP: that is asked again by GET."""
    asked: list[str] = []

    async def answer(method: str, path: str) -> bytes | None:
        asked.append(method)
        return response(200, body=b"hello") if method == "GET" else said

    async def main() -> None:
        async with serving(answer) as url:
            results = await checked([f"{url}/a"], "--retries", "0")
            assert outcomes(results) == {"a": "ok"}

    run(main())
    assert asked == ["HEAD", "GET"]


def test_server_that_never_answers_head() -> None:
    """It is asked by GET as soon as that has worked."""
    asked: list[str] = []

    async def answer(method: str, path: str) -> bytes | None:
        asked.append(method)
        return response(200) if method == "GET" else None

    async def main() -> None:
        async with serving(answer) as url:
            results = await checked((f"{url}/{i}" for i in range(50)), "--retries", "0")
        assert outcomes(results) == {str(i): "ok" for i in range(50)}

    run(main())
    assert asked.count("GET") == 50
    assert asked.count("HEAD") <= 6


def test_neither_head_nor_get() -> None:
    """A document that takes neither says nothing of the others."""
    asked: Counter[str] = Counter()

    async def answer(method: str, path: str) -> bytes:
        asked[f"{method} {path}"] += 1
        return response(501 if path == "/post-only" else 200)

    paths = ["post-only", *map(str, range(500))]

    async def main() -> None:
        async with serving(answer) as url:
            results = await checked(f"{url}/{path}" for path in paths)
        assert outcomes(results) == dict.fromkeys(paths, "ok") | {"post-only": "failed"}
        assert {result.status for result in results} == {501, 200}

    run(main())
    assert asked == dict.fromkeys(["GET /post-only", *(f"HEAD /{path}" for path in paths)], 1)


@pytest.mark.parametrize("framing", ["length", "chunked", "close"])
def test_long_body_is_cut_off(framing: str) -> None:
    """What is asked for by GET for want of HEAD is not fetched."""
    size = 1 << 26
    block = b"x" * 65536
    head = {
        "length": f"HTTP/1.1 200 So\r\nContent-Length: {size}\r\n\r\n",
        "chunked": "HTTP/1.1 200 So\r\nTransfer-Encoding: chunked\r\n\r\n",
        "close": "HTTP/1.1 200 So\r\n\r\n",
    }[framing].encode()
    if framing == "chunked":
        block = b"10000\r\n" + block + b"\r\n"
    ends: list[str] = []

    async def main() -> None:
        ended = asyncio.Event()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                while not (await reader.readuntil(b"\r\n\r\n")).startswith(b"GET"):
                    writer.write(response(405))
                writer.write(head)
                for _ in range(size // 65536):
                    writer.write(block)
                    await writer.drain()
                ends.append("was read")
            except ConnectionError:
                ends.append("was cut off")
            finally:
                writer.close()
                ended.set()

        async with await asyncio.start_server(serve, HOST, 0) as server:
            url = "http://{}:{}".format(*server.sockets[0].getsockname())
            assert outcomes(await checked([f"{url}/large"])) == {"large": "ok"}
            await ended.wait()

    run(main())
    assert ends == ["was cut off"]
