"""pyreqwest: its blocking and its async client."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

from pyreqwest.client import ClientBuilder, SyncClientBuilder

from bench.clients import AsyncClosing, Closing, Target
from bench.content import BUFFER_SIZE, FIELD


def configured(builder: Any, target: Target) -> Any:
    builder = builder.no_proxy().http1_only().follow_redirects(False)
    builder = builder.default_headers({"Accept-Encoding": "identity"})
    if target.cafile is not None:
        builder = builder.add_root_certificate_pem(Path(target.cafile).read_bytes())
    return builder.build()


class Client(Closing):
    takes_framing = False

    def __init__(self, target: Target) -> None:
        self.target = target
        self.client = configured(SyncClientBuilder(), target)

    def close(self) -> None:
        self.client.close()

    def get(self, path: str) -> tuple[int, str | None, bytes]:
        response = self.client.get(self.target.url(path)).build().send()
        return response.status, response.get_header(FIELD), response.bytes()

    def get_anew(self, path: str) -> tuple[int, str | None, bytes]:
        request = self.client.get(self.target.url(path)).header("Connection", "close").build()
        response = request.send()
        return response.status, response.get_header(FIELD), response.bytes()

    def read(self, path: str, take: Callable[[bytes], None]) -> None:
        request = self.client.get(self.target.url(path)).streamed_read_buffer_limit(BUFFER_SIZE)
        with request.build_streamed() as response:
            while (piece := response.body_reader.read_chunk()) is not None:
                take(piece)

    def upload_file(self, path: str, file: BinaryIO, size: int) -> tuple[int, bytes]:
        request = self.client.put(self.target.url(path)).header("Content-Length", str(size))
        request = request.body_stream(iter(lambda: file.read(BUFFER_SIZE), b""))
        response = request.build().send()
        return response.status, response.bytes()

    def upload_memory(self, path: str, data: bytes) -> tuple[int, bytes]:
        response = self.client.put(self.target.url(path)).body_bytes(data).build().send()
        return response.status, response.bytes()


class AsyncioClient(AsyncClosing):
    def __init__(self, target: Target, connections: int) -> None:
        self.target = target
        self.client = configured(ClientBuilder().max_connections(connections), target)

    async def get(self, worker: int, path: str) -> tuple[int, str | None, bytes]:
        response = await self.client.get(self.target.url(path)).build().send()
        return response.status, response.get_header(FIELD), await response.bytes()

    async def aclose(self) -> None:
        await self.client.close()
