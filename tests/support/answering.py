"""A server for programs in processes of their own: over TCP, TLS and a unix socket, in threads.

The body of each response says which connection it came on, counted from the server's start, and
which request of that connection it answers: a program shows by it whether it has kept one.

``/half/TOKEN`` is answered with a first half, and with a second one when ``/go/TOKEN`` was asked
for on another connection.
"""

from __future__ import annotations

import json
import socket
import ssl
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from tests.support.wire import Certificates

HALVES = b"01234", b"56789"


class Answering:
    """The server.

    Attributes:
        hows: for each way of reaching it, the arguments of a connection that JSON can hold.
    """

    def __init__(self, directory: Path, certificates: Certificates) -> None:
        self._numbers = count(1)
        self._go: defaultdict[str, threading.Event] = defaultdict(threading.Event)
        self._socks: list[socket.socket] = []
        plain = self._listen(socket.create_server(("127.0.0.1", 0)), None)
        tls = self._listen(socket.create_server(("127.0.0.1", 0)), certificates.server)
        authority = directory / "authority.pem"
        certificates.authority.cert_pem.write_to_path(authority)
        unix = socket.socket(socket.AF_UNIX)
        unix.bind(str(directory / "socket"))
        unix.listen()
        self._listen(unix, None)
        self.hows: dict[str, dict[str, Any]] = {
            "name": {"hostname": "localhost", "port": plain},
            "address": {"hostname": "127.0.0.1", "port": plain},
            "tls": {"hostname": "localhost", "port": tls, "ssl_context": str(authority)},
            "unix": {"hostname": "localhost", "unix_socket": unix.getsockname()},
        }

    @property
    def argument(self) -> str:
        """How to reach it, for a command line."""
        return json.dumps(self.hows)

    def _listen(self, listener: socket.socket, context: ssl.SSLContext | None) -> Any:
        self._socks.append(listener)
        self._start(self._accept, listener, context)
        address = listener.getsockname()
        return address[1] if listener.family == socket.AF_INET else address

    def _start(self, target: Callable[..., None], *args: Any) -> None:
        threading.Thread(target=target, args=args, daemon=True).start()

    def _accept(self, listener: socket.socket, context: ssl.SSLContext | None) -> None:
        with suppress(OSError):
            while True:
                sock, _ = listener.accept()
                self._socks.append(sock)
                self._start(self._serve, sock, context)

    def _serve(self, sock: socket.socket, context: ssl.SSLContext | None) -> None:
        number = next(self._numbers)
        # OSError: the client has gone, in the middle of something or not.
        with suppress(OSError), sock:
            if context is not None:
                sock = context.wrap_socket(sock, server_side=True)
            with sock, sock.makefile("rb") as file:
                for request in count(1):
                    head = file.readline()
                    while head and file.readline().strip():
                        pass
                    if not head:
                        break
                    path = head.split(b" ")[1].decode()
                    self._answer(sock, path, b"connection %d, request %d" % (number, request))

    def _answer(self, sock: socket.socket, path: str, body: bytes) -> None:
        what, _, token = path[1:].partition("/")
        if what == "half":
            _send(sock, HALVES[0], sum(map(len, HALVES)))
            self._go[token].wait(60)
            sock.sendall(HALVES[1])
        else:
            if what == "go":
                self._go[token].set()
            _send(sock, body, len(body))

    def close(self) -> None:
        for sock in self._socks:
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()


def _send(sock: socket.socket, body: bytes, length: int) -> None:
    sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (length, body))


@pytest.fixture(scope="session")
def answering(
    certificates: Certificates, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Answering]:
    server = Answering(tmp_path_factory.mktemp("answering"), certificates)
    yield server
    server.close()
