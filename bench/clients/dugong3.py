"""dugong 3.8, which has an environment of its own."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator
from select import POLLIN, select
from typing import Any, BinaryIO

from bench.clients import Closing, Target
from bench.content import BUFFER_SIZE, FIELD
from dugong import BodyFollowing, HTTPConnection


class Client(Closing):
    takes_framing = False

    def __init__(self, target: Target) -> None:
        self.target = target
        self.context = target.context()
        self.conn = HTTPConnection(target.host, target.port, self.context)

    def close(self) -> None:
        self.conn.disconnect()

    def get(self, path: str) -> tuple[int, str | None, bytes]:
        return self._get(self.conn, path)

    def _get(self, conn: HTTPConnection, path: str) -> tuple[int, str | None, bytes]:
        conn.send_request("GET", path)
        response = conn.read_response()
        return response.status, response.headers[FIELD], conn.readall()

    def get_anew(self, path: str) -> tuple[int, str | None, bytes]:
        with HTTPConnection(self.target.host, self.target.port, self.context) as conn:
            found = self._get(conn, path)
            if self.target.resume:
                self.context.keep_session()
            return found

    def read(self, path: str, take: Callable[[bytes], None]) -> None:
        self.conn.send_request("GET", path)
        self.conn.read_response()
        while piece := self.conn.read(BUFFER_SIZE):
            take(piece)

    def readinto(self, path: str, buffer: bytearray, take: Callable[[memoryview], None]) -> None:
        view = memoryview(buffer)
        self.conn.send_request("GET", path)
        self.conn.read_response()
        while count := self.conn.readinto(buffer):
            take(view[:count])

    def upload_file(self, path: str, file: BinaryIO, size: int) -> tuple[int, bytes]:
        size = os.fstat(file.fileno()).st_size
        self.conn.send_request("PUT", path, body=BodyFollowing(size))
        while piece := file.read(BUFFER_SIZE):
            self.conn.write(piece)
        return self.conn.read_response().status, self.conn.readall()

    def upload_memory(self, path: str, data: bytes) -> tuple[int, bytes]:
        # A body given at once it would hash first, for a Content-MD5.
        self.conn.send_request("PUT", path, body=BodyFollowing(len(data)))
        self.conn.write(data)
        return self.conn.read_response().status, self.conn.readall()


def pipeline(
    target: Target,
    path: str,
    count: int,
    depth: int,
    check: Callable[[tuple[int, str, bytes]], None],
) -> None:
    with HTTPConnection(target.host, target.port) as conn:
        _side_by_side(conn, path, count, depth, check)


def _side_by_side(
    conn: Any, path: str, count: int, depth: int, check: Callable[[tuple[int, str, bytes]], None]
) -> None:
    """Make *count* requests, with at most *depth* in flight: sending and reading in one thread.

    Both generators yield what they wait for: ``None`` if that is the other one.
    """
    sent = received = 0

    def send() -> Generator[Any, None, None]:
        nonlocal sent
        while sent < count:
            while sent - received >= depth:
                yield None
            yield from conn.co_send_request("GET", path)
            sent += 1

    def read() -> Generator[Any, None, None]:
        nonlocal received
        while received < count:
            while received == sent:
                yield None
            response = yield from conn.co_read_response()
            body = yield from conn.co_readall()
            check((response.status, response.headers[FIELD], body))
            received += 1

    sender, reader = send(), read()
    while received < count:
        send_need = next(sender, None)
        read_need = next(reader, None)
        if send_need is None and sent < count and sent - received < depth:
            continue  # responses have come since the sender stopped
        needs = [need for need in (send_need, read_need) if need is not None]
        if needs:
            select(
                [fd for fd, mask in needs if mask & POLLIN],
                [fd for fd, mask in needs if mask & ~POLLIN],
                [],
            )
