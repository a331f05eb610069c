"""Download the URLs on standard input with dugong; the argument is the number of connections."""

from __future__ import annotations

import asyncio
import sys

from dugong import AsyncClient, Client


def name_of(url: str) -> str:
    return url.rpartition("/")[2]


async def download_all(urls: list[str], connections: int) -> None:
    left = iter(urls)

    async def download_some() -> None:
        for url in left:
            await client.download(url, name_of(url))

    async with AsyncClient(proxy=None) as client, asyncio.TaskGroup() as tasks:
        for _ in range(connections):
            tasks.create_task(download_some())


urls, connections = sys.stdin.read().split(), int(sys.argv[1])
if len(urls) > 1:
    asyncio.run(download_all(urls, connections))
else:
    with Client(proxy=None) as client:
        client.download(urls[0], name_of(urls[0]), parts=connections)
