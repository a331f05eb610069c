"""urllib3: a pool of one connection."""

from __future__ import annotations

from collections.abc import Callable
from typing import BinaryIO

import urllib3

from bench.clients import Closing, Target
from bench.content import BUFFER_SIZE, FIELD

# niquests installs another library under this name.
assert int(urllib3.__version__.split(".")[2]) < 900, urllib3.__version__

CLOSE = {"Accept-Encoding": "identity", "Connection": "close"}


class Client(Closing):
    takes_framing = False

    def __init__(self, target: Target) -> None:
        options = {"maxsize": 1, "blocksize": BUFFER_SIZE, "retries": False}
        options["headers"] = {"Accept-Encoding": "identity"}
        context = target.context()
        if context is None:
            self.pool = urllib3.HTTPConnectionPool(target.host, target.port, **options)
        else:
            self.pool = urllib3.HTTPSConnectionPool(
                target.host, target.port, ssl_context=context, **options
            )

    def close(self) -> None:
        self.pool.close()

    def get(self, path: str) -> tuple[int, str | None, bytes]:
        response = self.pool.request("GET", path)
        return response.status, response.headers[FIELD], response.data

    def get_anew(self, path: str) -> tuple[int, str | None, bytes]:
        response = self.pool.request("GET", path, headers=CLOSE)
        return response.status, response.headers[FIELD], response.data

    def read(self, path: str, take: Callable[[bytes], None]) -> None:
        response = self.pool.request("GET", path, preload_content=False)
        for piece in response.stream(BUFFER_SIZE, decode_content=False):
            take(piece)
        response.release_conn()

    def readinto(self, path: str, buffer: bytearray, take: Callable[[memoryview], None]) -> None:
        view = memoryview(buffer)
        response = self.pool.request("GET", path, preload_content=False, decode_content=False)
        while count := response.readinto(buffer):
            take(view[:count])
        response.release_conn()

    def _put(self, path: str, body: BinaryIO | bytes, size: int) -> tuple[int, bytes]:
        response = self.pool.request("PUT", path, body, headers={"Content-Length": str(size)})
        return response.status, response.data

    def upload_file(self, path: str, file: BinaryIO, size: int) -> tuple[int, bytes]:
        return self._put(path, file, size)

    def upload_memory(self, path: str, data: bytes) -> tuple[int, bytes]:
        return self._put(path, data, len(data))
