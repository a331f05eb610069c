"""http.client, of the standard library."""

from __future__ import annotations

from collections.abc import Callable
from http.client import HTTPConnection, HTTPSConnection
from typing import BinaryIO

from bench.clients import Closing, Target
from bench.content import BUFFER_SIZE, FIELD


class Client(Closing):
    takes_framing = False

    def __init__(self, target: Target) -> None:
        self.target = target
        self.context = target.context()
        self.conn = self._connection()

    def _connection(self) -> HTTPConnection:
        host, port = self.target.host, self.target.port
        if self.context is None:
            return HTTPConnection(host, port, blocksize=BUFFER_SIZE)
        return HTTPSConnection(host, port, context=self.context, blocksize=BUFFER_SIZE)

    def close(self) -> None:
        self.conn.close()

    def get(self, path: str) -> tuple[int, str | None, bytes]:
        return self._get(self.conn, path)

    def _get(self, conn: HTTPConnection, path: str) -> tuple[int, str | None, bytes]:
        conn.request("GET", path)
        response = conn.getresponse()
        return response.status, response.headers[FIELD], response.read()

    def get_anew(self, path: str) -> tuple[int, str | None, bytes]:
        conn = self._connection()
        found = self._get(conn, path)
        if self.target.resume:
            self.context.keep_session()
        conn.close()
        return found

    def read(self, path: str, take: Callable[[bytes], None]) -> None:
        self.conn.request("GET", path)
        response = self.conn.getresponse()
        while piece := response.read(BUFFER_SIZE):
            take(piece)

    def readinto(self, path: str, buffer: bytearray, take: Callable[[memoryview], None]) -> None:
        view = memoryview(buffer)
        self.conn.request("GET", path)
        response = self.conn.getresponse()
        while count := response.readinto(buffer):
            take(view[:count])

    def _put(self, path: str, body: BinaryIO | bytes, size: int) -> tuple[int, bytes]:
        self.conn.request("PUT", path, body, {"Content-Length": str(size)})
        response = self.conn.getresponse()
        return response.status, response.read()

    def upload_file(self, path: str, file: BinaryIO, size: int) -> tuple[int, bytes]:
        return self._put(path, file, size)

    def upload_memory(self, path: str, data: bytes) -> tuple[int, bytes]:
        return self._put(path, data, len(data))
