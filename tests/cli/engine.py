"""The engine of `check`, and servers for it: all in one loop, where the test sees what was when."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable
from contextlib import asynccontextmanager
from typing import Any

from dugong.cli.check import parser
from dugong.cli.judging import Result
from dugong.cli.verdicts import Checker
from tests.support.servers import HOST

#: Gives the response to a method and a path, whole; ``None`` resets the connection.
Answer = Callable[[str, str], Awaitable[bytes | None]]

FAST = ("--retry-delay", "0.001")


def response(status: int, *fields: str, body: bytes = b"") -> bytes:
    lines = [f"HTTP/1.1 {status} So", f"Content-Length: {len(body)}", *fields]
    return "".join(f"{line}\r\n" for line in [*lines, ""]).encode("latin-1") + body


@asynccontextmanager
async def serving(answer: Answer) -> AsyncIterator[str]:
    """Run a server. Yields its URL, without a path."""
    tasks: set[asyncio.Task[Any]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                method, path, _ = head.decode().split(" ", 2)
                data = await answer(method, path)
                if data is None:
                    writer.transport.abort()
                    return
                writer.write(data)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, HOST, 0)
    async with server:
        yield "http://{}:{}".format(*server.sockets[0].getsockname())
    await asyncio.gather(*tasks)


def run(main: Coroutine[Any, Any, None]) -> None:
    with asyncio.Runner(debug=False) as runner:
        runner.run(main)


async def given(urls: Iterable[str]) -> AsyncIterator[str]:
    for url in urls:
        yield url


async def checked(
    urls: Iterable[str] | AsyncIterator[str],
    *options: str,
    report: Callable[[Result], None] = lambda result: None,
) -> list[Result]:
    """Return the results, in the order in which they came."""
    results: list[Result] = []

    def add(result: Result) -> None:
        results.append(result)
        report(result)

    args = parser().parse_args([*FAST, *options])
    source = urls if isinstance(urls, AsyncIterator) else given(urls)
    await Checker(args, add).check(source)
    return results


def outcomes(results: list[Result]) -> dict[str, str]:
    """Return what has become of each path."""
    return {result.url.partition("://")[2].partition("/")[2]: result.result for result in results}


async def ok(method: str, path: str) -> bytes:
    return response(200)
