"""aiohttp: a session. Its downloads and uploads run in an asyncio loop of their own."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable
from typing import Any, BinaryIO

import aiohttp

from bench.clients import AsyncClosing, Closing, Target
from bench.content import BUFFER_SIZE, FIELD

NO_LIMIT = aiohttp.ClientTimeout(total=None)


def new_session(target: Target, connections: int) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=connections, ssl=target.context() or True),
        timeout=NO_LIMIT,
        headers={"Accept-Encoding": "identity"},
        auto_decompress=False,
        read_bufsize=BUFFER_SIZE,
    )


class AsyncioClient(AsyncClosing):
    def __init__(self, target: Target, connections: int) -> None:
        self.target = target
        self.session = new_session(target, connections)

    async def get(self, worker: int, path: str) -> tuple[int, str | None, bytes]:
        async with self.session.get(self.target.url(path)) as response:
            return response.status, response.headers[FIELD], await response.read()

    async def aclose(self) -> None:
        await self.session.close()


class Client(Closing):
    takes_framing = False

    def __init__(self, target: Target) -> None:
        self.target = target
        self.runner = asyncio.Runner()
        self.session = self.runner.run(self._new_session())

    async def _new_session(self) -> aiohttp.ClientSession:
        return new_session(self.target, 1)

    def close(self) -> None:
        self.runner.run(self.session.close())
        self.runner.close()

    def read(self, path: str, take: Callable[[bytes], None]) -> None:
        self.runner.run(self._read(path, take))

    async def _read(self, path: str, take: Callable[[bytes], None]) -> None:
        async with self.session.get(self.target.url(path)) as response:
            async for piece in response.content.iter_any():
                take(piece)

    def upload_file(self, path: str, file: BinaryIO, size: int) -> tuple[int, bytes]:
        return self.runner.run(self._put(path, file))

    def upload_memory(self, path: str, data: bytes) -> tuple[int, bytes]:
        # It warns of large `bytes`, and recommends this.
        return self.runner.run(self._put(path, io.BytesIO(data)))

    async def _put(self, path: str, data: Any) -> tuple[int, bytes]:
        async with self.session.put(self.target.url(path), data=data) as response:
            return response.status, await response.read()
