"""dugong as it is in this checkout."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from bench.clients import POOL_SIZE, AsyncClosing, Closing, Command, Target
from bench.content import BUFFER_SIZE, FIELD
from dugong import AsyncClient, AsyncHTTPConnection, AsyncPool, HTTPConnection, Pool
from dugong import Client as URLClient


class Client(Closing):
    takes_framing = False

    def __init__(self, target: Target) -> None:
        self.target = target
        self.context = target.context()
        self.conn = HTTPConnection(target.host, target.port, self.context)

    def close(self) -> None:
        self.conn.disconnect()

    def get(self, path: str) -> tuple[int, str | None, bytes]:
        conn = self.conn
        conn.send_request("GET", path)
        response = conn.read_response()
        return response.status, response.headers[FIELD], conn.readall()

    def get_anew(self, path: str) -> tuple[int, str | None, bytes]:
        with HTTPConnection(self.target.host, self.target.port, self.context) as conn:
            conn.send_request("GET", path)
            response = conn.read_response()
            body = conn.readall()
            if self.target.resume:
                self.context.keep_session()
            return response.status, response.headers[FIELD], body

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
        response = self.conn.request("PUT", path, body=file)
        return response.status, self.conn.readall()

    def upload_memory(self, path: str, data: bytes) -> tuple[int, bytes]:
        response = self.conn.request("PUT", path, body=data)
        return response.status, self.conn.readall()


def pipeline(
    target: Target,
    path: str,
    count: int,
    depth: int,
    check: Callable[[tuple[int, str, bytes]], None],
) -> None:
    with HTTPConnection(target.host, target.port) as conn:
        for response in conn.pipeline(itertools.repeat(path, count), depth):
            check((response.status, response.headers[FIELD], conn.readall()))


class AsyncioClient(AsyncClosing):
    def __init__(self, target: Target, connections: int) -> None:
        self.conns = [AsyncHTTPConnection(target.host, target.port) for _ in range(connections)]

    async def get(self, worker: int, path: str) -> tuple[int, str | None, bytes]:
        conn = self.conns[worker]
        await conn.send_request("GET", path)
        response = await conn.read_response()
        return response.status, response.headers[FIELD], await conn.readall()

    async def aclose(self) -> None:
        for conn in self.conns:
            conn.disconnect()


TrioClient = AsyncioClient

#: The command as it is installed.
DUGONG = str(Path(sys.executable).with_name("dugong"))


def get(urls: list[str]) -> Command:
    return Command([DUGONG, "get", *urls])


def save(urls: list[str]) -> Command:
    return Command([DUGONG, "get", "-O", *urls])


def download(urls: list[str], connections: int) -> Command:
    program = str(Path(__file__).parent.with_name("downloading.py"))
    return Command([sys.executable, program, str(connections)], "\n".join(urls))


def check(urls: list[str]) -> Command:
    return Command([DUGONG, "check", "--all", "-"], "".join(f"{url}\n" for url in urls))


class PoolClient(Closing):
    """Each request leases a connection."""

    takes_framing = False

    def __init__(self, target: Target) -> None:
        self.origin = target.url()
        self.pool = Pool(ssl_context=target.context())
        # Keeps no connection, so each lease makes one.
        self.fresh = Pool(ssl_context=target.context(), max_idle=0)

    def close(self) -> None:
        self.pool.close()
        self.fresh.close()

    def get(self, path: str) -> tuple[int, str | None, bytes]:
        with self.pool.connection(self.origin) as conn:
            conn.send_request("GET", path)
            response = conn.read_response()
            return response.status, response.headers[FIELD], conn.readall()

    def get_anew(self, path: str) -> tuple[int, str | None, bytes]:
        with self.fresh.connection(self.origin) as conn:
            conn.send_request("GET", path)
            response = conn.read_response()
            return response.status, response.headers[FIELD], conn.readall()


class AsyncioPoolClient(AsyncClosing):
    def __init__(self, target: Target, tasks: int) -> None:
        self.origin = target.url()
        self.pool = AsyncPool(max_connections=POOL_SIZE, per_host=None)

    async def get(self, worker: int, path: str) -> tuple[int, str | None, bytes]:
        async with self.pool.connection(self.origin) as conn:
            await conn.send_request("GET", path)
            response = await conn.read_response()
            return response.status, response.headers[FIELD], await conn.readall()

    async def aclose(self) -> None:
        self.pool.close()


class ByURL(Closing):
    """`dugong.Client`, which leases a connection for each request."""

    takes_framing = False

    def __init__(self, target: Target) -> None:
        self.target = target
        self.client = URLClient(
            proxy=None, verify=target.context() or True, decode=False, timeout=None
        )

    def close(self) -> None:
        self.client.close()

    def get(self, path: str) -> tuple[int, str | None, bytes]:
        response = self.client.get(self.target.url(path))
        return response.status, response.headers[FIELD], response.readall()


class AsyncioByURL(AsyncClosing):
    def __init__(self, target: Target, tasks: int) -> None:
        self.target = target
        self.pool = AsyncPool(max_connections=POOL_SIZE, per_host=None)
        self.client = AsyncClient(proxy=None, pool=self.pool, decode=False, timeout=None)

    async def get(self, worker: int, path: str) -> tuple[int, str | None, bytes]:
        response = await self.client.get(self.target.url(path))
        return response.status, response.headers[FIELD], await response.readall()

    async def aclose(self) -> None:
        await self.client.close()
        self.pool.close()
