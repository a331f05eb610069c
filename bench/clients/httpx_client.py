"""httpx: its blocking and its async client. httpx2 has the same interface and runs this code."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, BinaryIO

import httpx

from bench.clients import AsyncClosing, Closing, Target
from bench.content import FIELD

IDENTITY = {"Accept-Encoding": "identity"}
CLOSE = {"Connection": "close"}


class Client(Closing):
    takes_framing = False
    library: Any = httpx

    def __init__(self, target: Target) -> None:
        self.target = target
        self.client = self.library.Client(
            trust_env=False,
            headers=IDENTITY,
            timeout=None,
            transport=self.transport(
                verify=target.context() or True, limits=self.library.Limits(max_connections=1)
            ),
        )

    def transport(self, **options: Any) -> Any:
        return self.library.HTTPTransport(**options)

    def close(self) -> None:
        self.client.close()

    def get(self, path: str) -> tuple[int, str | None, bytes]:
        response = self.client.get(self.target.url(path))
        return response.status_code, response.headers[FIELD], response.content

    def get_anew(self, path: str) -> tuple[int, str | None, bytes]:
        response = self.client.get(self.target.url(path), headers=CLOSE)
        return response.status_code, response.headers[FIELD], response.content

    def read(self, path: str, take: Callable[[bytes], None]) -> None:
        with self.client.stream("GET", self.target.url(path)) as response:
            for piece in response.iter_raw():
                take(piece)

    def upload_file(self, path: str, file: BinaryIO, size: int) -> tuple[int, bytes]:
        response = self.client.put(self.target.url(path), content=file)
        return response.status_code, response.content

    def upload_memory(self, path: str, data: bytes) -> tuple[int, bytes]:
        response = self.client.put(self.target.url(path), content=data)
        return response.status_code, response.content


class AsyncioClient(AsyncClosing):
    library: Any = httpx

    def __init__(self, target: Target, connections: int) -> None:
        self.target = target
        self.client = self.library.AsyncClient(
            trust_env=False,
            headers=IDENTITY,
            timeout=None,
            transport=self.transport(
                limits=self.library.Limits(
                    max_connections=connections, max_keepalive_connections=connections
                )
            ),
        )

    def transport(self, **options: Any) -> Any:
        return self.library.AsyncHTTPTransport(**options)

    async def get(self, worker: int, path: str) -> tuple[int, str | None, bytes]:
        response = await self.client.get(self.target.url(path))
        return response.status_code, response.headers[FIELD], response.content

    async def aclose(self) -> None:
        await self.client.aclose()


TrioClient = AsyncioClient
