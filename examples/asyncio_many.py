"""Fifty connections in asyncio, each in its own task.

    python examples/asyncio_many.py HOST PORT PATH [PATH ...]

Each connection fetches all paths. The time limit is that of asyncio: it can enclose any code, and
cancels whatever waits there. `async with` then closes the connection. The program prints each kind
of response, and how often it arrived.

The server must keep connections open, as `python -m http.server -p HTTP/1.1` on port 8000 does.
"""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from hashlib import sha256

from dugong import AsyncHTTPConnection

CONNECTIONS = 50

Seen = Counter[tuple[str, int, int, str]]


async def fetch_all(host: str, port: int, paths: list[str], seen: Seen) -> None:
    """Fetch all of *paths* over one connection."""
    async with AsyncHTTPConnection(host, port) as conn:
        for path in paths:
            await conn.send_request("GET", path)
            response = await conn.read_response()
            body = await conn.readall()
            seen[path, response.status, len(body), sha256(body).hexdigest()] += 1


async def main(host: str, port: int, paths: list[str]) -> None:
    seen: Seen = Counter()
    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        for _ in range(CONNECTIONS):
            group.create_task(fetch_all(host, port, paths, seen))
    for (path, status, size, digest), count in sorted(seen.items()):
        print(f"{count} times {path}: {status}, {size} bytes, {digest[:16]}")


if __name__ == "__main__":
    if len(sys.argv) < 4:
        sys.exit("usage: asyncio_many.py HOST PORT PATH [PATH ...]")
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), sys.argv[3:]))
