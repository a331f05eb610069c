"""httpcore: its blocking and its async pool."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import BinaryIO

import httpcore

from bench.clients import AsyncClosing, Closing, Target
from bench.content import BUFFER_SIZE, FIELD

NAME = FIELD.encode()


def fields(target: Target, **more: object) -> list[tuple[bytes, bytes]]:
    given = {"Host": f"{target.host}:{target.port}", "Accept-Encoding": "identity", **more}
    return [(name.replace("_", "-").encode(), str(value).encode()) for name, value in given.items()]


def field(response: httpcore.Response) -> str | None:
    for name, value in response.headers:
        if name.lower() == NAME:
            return value.decode("latin-1")
    return None


class Client(Closing):
    takes_framing = False

    def __init__(self, target: Target) -> None:
        self.target = target
        self.fields = fields(target)
        self.closing = fields(target, Connection="close")
        self.pool = httpcore.ConnectionPool(ssl_context=target.context(), max_connections=1)

    def close(self) -> None:
        self.pool.close()

    def get(self, path: str) -> tuple[int, str | None, bytes]:
        response = self.pool.request("GET", self.target.url(path), headers=self.fields)
        return response.status, field(response), response.content

    def get_anew(self, path: str) -> tuple[int, str | None, bytes]:
        response = self.pool.request("GET", self.target.url(path), headers=self.closing)
        return response.status, field(response), response.content

    def read(self, path: str, take: Callable[[bytes], None]) -> None:
        with self.pool.stream("GET", self.target.url(path), headers=self.fields) as response:
            for piece in response.iter_stream():
                take(piece)

    def _put(self, path: str, content: Iterable[bytes] | bytes, size: int) -> tuple[int, bytes]:
        headers = fields(self.target, Content_Length=size)
        url = self.target.url(path)
        response = self.pool.request("PUT", url, headers=headers, content=content)
        return response.status, response.content

    def upload_file(self, path: str, file: BinaryIO, size: int) -> tuple[int, bytes]:
        return self._put(path, iter(lambda: file.read(BUFFER_SIZE), b""), size)

    def upload_memory(self, path: str, data: bytes) -> tuple[int, bytes]:
        return self._put(path, data, len(data))


class AsyncioClient(AsyncClosing):
    def __init__(self, target: Target, connections: int) -> None:
        self.target = target
        self.fields = fields(target)
        self.pool = httpcore.AsyncConnectionPool(
            max_connections=connections, max_keepalive_connections=connections
        )

    async def get(self, worker: int, path: str) -> tuple[int, str | None, bytes]:
        response = await self.pool.request("GET", self.target.url(path), headers=self.fields)
        return response.status, field(response), response.content

    async def aclose(self) -> None:
        await self.pool.aclose()


TrioClient = AsyncioClient
