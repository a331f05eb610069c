"""geventhttpclient, with gevent's loop for this one connection."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, BinaryIO

from geventhttpclient import HTTPClient

from bench.clients import Closing, Target
from bench.content import BUFFER_SIZE, FIELD

CLOSE = {"Connection": "close"}


class Client(Closing):
    takes_framing = False

    def __init__(self, target: Target) -> None:
        options: dict[str, Any] = {}
        if target.cafile is not None:
            options = {"ssl": True, "ssl_options": {"ca_certs": target.cafile}}
        self.client = HTTPClient(
            target.host,
            target.port,
            block_size=BUFFER_SIZE,
            connection_timeout=60,
            network_timeout=60,
            headers={"Accept-Encoding": "identity"},
            **options,
        )

    def close(self) -> None:
        self.client.close()

    def get(self, path: str) -> tuple[int, str | None, bytes]:
        response = self.client.get(path)
        return response.status_code, response.get(FIELD), response.read()

    def get_anew(self, path: str) -> tuple[int, str | None, bytes]:
        response = self.client.get(path, headers=CLOSE)
        return response.status_code, response.get(FIELD), response.read()

    def read(self, path: str, take: Callable[[bytes], None]) -> None:
        response = self.client.get(path)
        while piece := response.read(BUFFER_SIZE):
            take(piece)
        response.release()

    def upload_file(self, path: str, file: BinaryIO, size: int) -> tuple[int, bytes]:
        response = self.client.put(path, body=file)
        return response.status_code, response.read()

    def upload_memory(self, path: str, data: bytes) -> tuple[int, bytes]:
        response = self.client.put(path, body=data)
        return response.status_code, response.read()
