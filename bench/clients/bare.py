"""The limit: the same bytes through loops around a bare socket, which parse nothing."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections.abc import Callable
from typing import Any, BinaryIO

from bench.clients import AsyncClosing, Closing, Target
from bench.content import BUFFER_SIZE, DOCUMENT, VALUE, WIRE_LENGTH

GET = "GET {} HTTP/1.1\r\nHost: {}:{}\r\nAccept-Encoding: identity\r\n\r\n"
PUT = "PUT {} HTTP/1.1\r\nHost: {}:{}\r\nContent-Length: {}\r\n\r\n"
HEAD_END = b"\r\n\r\n"
CHUNKED_LENGTH = f"{WIRE_LENGTH}:".encode()

#: How much to receive at once of a chunked body, and to wait for. From the server that sends them,
#: that is faster than receiving what has arrived, up to `BUFFER_SIZE`. From nginx it is slower.
CHUNKED_SIZE = BUFFER_SIZE // 2


def get_request(target: Target, path: str) -> bytes:
    return GET.format(path, target.host, target.port).encode()


class ThroughMemory:
    """A TLS connection with as few system calls as possible.

    An `ssl.SSLSocket` makes two for each record of 16 KiB that it receives, and one for each that
    it sends. This one receives and sends many records at once.
    """

    def __init__(self, sock: socket.socket, context: ssl.SSLContext, host: str) -> None:
        self.sock = sock
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_hostname=host)
        self.buffer = bytearray(BUFFER_SIZE)
        self.view = memoryview(self.buffer)
        while True:
            try:
                self.tls.do_handshake()
            except ssl.SSLWantReadError:
                sock.sendall(self.outgoing.read())
                self._receive()
            else:
                sock.sendall(self.outgoing.read())
                break

    def _receive(self) -> None:
        count = self.sock.recv_into(self.buffer)
        if not count:
            raise ConnectionError
        self.incoming.write(self.view[:count])

    def recv(self, size: int, flags: int = 0) -> bytes:
        while True:
            try:
                return self.tls.read(size)
            except ssl.SSLWantReadError:
                self._receive()

    def recv_into(self, buffer: bytearray | memoryview, size: int = 0, flags: int = 0) -> int:
        while True:
            try:
                return self.tls.read(size or len(buffer), buffer)
            except ssl.SSLWantReadError:
                self._receive()

    def sendall(self, data: bytes | memoryview) -> None:
        self.tls.write(data)
        self.sock.sendall(self.outgoing.read())

    def close(self) -> None:
        self.sock.close()


class Client(Closing):
    takes_framing = True  # what it gives to `take` includes the chunks' lines

    def __init__(self, target: Target) -> None:
        self.target = target
        self.context = target.context()
        self.buffer = bytearray(BUFFER_SIZE)
        self.view = memoryview(self.buffer)
        self.sizes: dict[str, tuple[int, int]] = {}  # of the whole response, and of its head
        self.requests: dict[str, bytes] = {}
        self.sock: Any = self._connect()
        if self.context is not None:
            self.sock = ThroughMemory(self.sock, self.context, target.host)

    def _connect(self) -> socket.socket:
        sock = socket.create_connection((self.target.host, self.target.port))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)
        return sock

    def close(self) -> None:
        self.sock.close()

    def _measure(self, sock: socket.socket, path: str) -> bytes:
        """Make the request once with looking, and note the sizes of the response."""
        self.requests[path] = request = get_request(self.target, path)
        sock.sendall(request)
        response = b""
        while HEAD_END not in response:
            response += sock.recv(BUFFER_SIZE)
        head, _, body = response.partition(HEAD_END)
        length = int(head.lower().split(b"content-length:")[1].split()[0])
        while len(body) < length:
            body += sock.recv(BUFFER_SIZE)
        begin = len(head) + len(HEAD_END)
        self.sizes[path] = begin + length, begin
        return body

    def get(self, path: str) -> tuple[int, str, bytes]:
        return self._get(self.sock, path)

    def _get(self, sock: socket.socket, path: str) -> tuple[int, str, bytes]:
        if path not in self.sizes:
            return 200, VALUE, self._measure(sock, path)
        size, begin = self.sizes[path]
        sock.sendall(self.requests[path])
        buffer, view = self.buffer, self.view
        if size > BUFFER_SIZE:
            buffer = bytearray(size)
            view = memoryview(buffer)
        got = sock.recv_into(buffer)
        while got < size:
            got += sock.recv_into(view[got:size], 0, 0 if self.context else socket.MSG_WAITALL)
        return 200, VALUE, bytes(view[begin:size])

    def get_anew(self, path: str) -> tuple[int, str, bytes]:
        sock = self._connect()
        if self.context is not None:
            sock = self.context.wrap_socket(sock, server_hostname=self.target.host)
        found = self._get(sock, path)
        if self.target.resume:
            self.context.keep_session()
        sock.close()
        return found

    def _start(self, path: str) -> tuple[bytes, int, int, int]:
        """Send a request.

        Returns:
            What has come of the body, how many bytes are to come, and how to receive them: how many
            at once, and with which flags.
        """
        self.sock.sendall(get_request(self.target, path))
        data = b""
        while HEAD_END not in data:
            data += self.sock.recv(BUFFER_SIZE)
        head, _, body = data.partition(HEAD_END)
        if not head.startswith(b"HTTP/1.1 200"):
            raise AssertionError(head)
        _, chunked, length = head.lower().partition(CHUNKED_LENGTH)
        if chunked:
            return body, int(length.split()[0]) - len(body), CHUNKED_SIZE, socket.MSG_WAITALL
        _, _, length = head.lower().partition(b"content-length:")
        return body, int(length.split()[0]) - len(body), BUFFER_SIZE, 0

    def read(self, path: str, take: Callable[[bytes], None]) -> None:
        recv = self.sock.recv
        body, left, size, flags = self._start(path)
        take(body)
        while left:
            body = recv(min(left, size), flags)
            left -= len(body)
            take(body)

    def readinto(
        self, path: str, buffer: bytearray, take: Callable[[bytes | memoryview], None]
    ) -> None:
        recv_into = self.sock.recv_into
        view = memoryview(buffer)
        body, left, size, flags = self._start(path)
        take(body)
        while left:
            count = recv_into(buffer, min(left, size), flags)
            left -= count
            take(view[:count])

    def _put(self, path: str, size: int) -> None:
        self.sock.sendall(PUT.format(path, self.target.host, self.target.port, size).encode())

    def _answer(self) -> tuple[int, bytes]:
        head, _, body = self.sock.recv(BUFFER_SIZE).partition(HEAD_END)
        return int(head.split()[1]), body

    def upload_file(self, path: str, file: BinaryIO, size: int) -> tuple[int, bytes]:
        self._put(path, size)
        if self.context is None:
            sent = 0
            while sent < size:
                sent += os.sendfile(self.sock.fileno(), file.fileno(), sent, size - sent)
        else:
            while count := file.readinto(self.buffer):  # type: ignore[attr-defined]
                self.sock.sendall(self.view[:count])
        return self._answer()

    def upload_memory(self, path: str, data: bytes) -> tuple[int, bytes]:
        self._put(path, len(data))
        if self.context is None:
            self.sock.sendall(data)
        else:
            view = memoryview(data)
            for start in range(0, len(data), BUFFER_SIZE):
                self.sock.sendall(view[start : start + BUFFER_SIZE])
        return self._answer()


def pipeline(
    target: Target,
    path: str,
    count: int,
    depth: int,
    check: Callable[[tuple[int, str, bytes]], None],
) -> None:
    """Keep *depth* requests in flight: for each response that has come, send another request."""
    with Client(target) as client:
        client.get(path)
        size, begin = client.sizes[path]
        request = client.requests[path]
        sock, buffer, view = client.sock, client.buffer, client.view
        sock.sendall(request * min(depth, count))
        unsent = count - min(depth, count)
        came = 0
        while count:
            got = sock.recv_into(buffer)
            done = (came + got) // size - came // size
            came += got
            if came % size == 0 and got >= size:  # a whole response is at hand to be looked at
                check((200, VALUE, bytes(view[got - size + begin : got])))
            count -= done
            if done and unsent:
                more = min(done, unsent)
                sock.sendall(request * more)
                unsent -= more


class AsyncioClient(AsyncClosing):
    """asyncio's streams."""

    def __init__(self, target: Target, connections: int) -> None:
        self.target = target
        self.streams: dict[int, tuple[asyncio.StreamReader, asyncio.StreamWriter]] = {}

    async def get(self, worker: int, path: str) -> tuple[int, str, bytes]:
        if worker not in self.streams:
            self.request = get_request(self.target, path)
            self.streams[worker] = await asyncio.open_connection(
                self.target.host, self.target.port, ssl=self.target.context()
            )
        reader, writer = self.streams[worker]
        writer.write(self.request)
        await reader.readuntil(HEAD_END)
        return 200, VALUE, await reader.readexactly(len(DOCUMENT))

    async def aclose(self) -> None:
        for _, writer in self.streams.values():
            writer.close()
            await writer.wait_closed()


class TrioClient(AsyncClosing):
    """trio's streams."""

    def __init__(self, target: Target, connections: int) -> None:
        import trio

        self.open = trio.open_tcp_stream
        self.target = target
        self.streams: dict[int, trio.SocketStream] = {}

    async def get(self, worker: int, path: str) -> tuple[int, str, bytes]:
        stream = self.streams.get(worker)
        if stream is None:
            self.request = get_request(self.target, path)
            stream = self.streams[worker] = await self.open(self.target.host, self.target.port)
        await stream.send_all(self.request)
        response = await stream.receive_some(4096)
        while not response.endswith(DOCUMENT):
            response += await stream.receive_some(4096)
        return 200, VALUE, bytes(response[-len(DOCUMENT) :])

    async def aclose(self) -> None:
        for stream in self.streams.values():
            await stream.aclose()
