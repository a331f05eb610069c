"""Fifty connections in trio, with two tasks each: one sends requests, one reads the responses.

    python examples/trio_many.py HOST PORT PATH [PATH ...]

Each connection fetches all paths, and does not wait for a response before it sends the next request
(pipelining). asyncio programs use the same class, which detects the library that runs it. The
program prints each kind of response, and how often it arrived.

It needs trio (`pip install trio`).
The server must keep connections open, as `python -m http.server -p HTTP/1.1` on port 8000 does.
"""

from __future__ import annotations

import sys
from collections import Counter
from hashlib import sha256

import trio

from dugong import AsyncHTTPConnection

CONNECTIONS = 50

Seen = Counter[tuple[str, int, int, str]]


async def fetch_all(host: str, port: int, paths: list[str], seen: Seen) -> None:
    """Fetch all of *paths* over one connection."""
    async with AsyncHTTPConnection(host, port) as conn, trio.open_nursery() as nursery:
        asked, to_read = trio.open_memory_channel[str](len(paths))
        nursery.start_soon(ask, conn, paths, asked)
        async for path in to_read:
            response = await conn.read_response()
            body = await conn.readall()
            seen[path, response.status, len(body), sha256(body).hexdigest()] += 1


async def ask(
    conn: AsyncHTTPConnection, paths: list[str], asked: trio.MemorySendChannel[str]
) -> None:
    """Send a request for each of *paths*, and notify the reader."""
    async with asked:
        for path in paths:
            await conn.send_request("GET", path)
            await asked.send(path)


async def main(host: str, port: int, paths: list[str]) -> None:
    seen: Seen = Counter()
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            for _ in range(CONNECTIONS):
                nursery.start_soon(fetch_all, host, port, paths, seen)
    for (path, status, size, digest), count in sorted(seen.items()):
        print(f"{count} times {path}: {status}, {size} bytes, {digest[:16]}")


if __name__ == "__main__":
    if len(sys.argv) < 4:
        sys.exit("usage: trio_many.py HOST PORT PATH [PATH ...]")
    trio.run(main, sys.argv[1], int(sys.argv[2]), sys.argv[3:])
