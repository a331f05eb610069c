"""A server for one connection, which it hands to a script."""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import threading
from collections.abc import Callable
from typing import Self

Script = Callable[[socket.socket], None]

#: Seconds. Nothing here takes that long.
PATIENCE = 10


class Server:
    """Plays *script* for the first connection, and closes any other at once.

    Attributes:
        connections: how many there were.
    """

    def __init__(self, script: Script, context: ssl.SSLContext | None = None) -> None:
        self.connections = 0
        self._script = script
        self._context = context
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._threads = [threading.Thread(target=self._accept)]

    def _accept(self) -> None:
        while True:
            try:
                sock = self._listener.accept()[0]
            except OSError:  # closed
                return
            self.connections += 1
            if self.connections > 1:
                sock.close()
                continue
            thread = threading.Thread(target=self._play, args=(sock,))
            self._threads.append(thread)
            thread.start()

    def _play(self, sock: socket.socket) -> None:
        sock.settimeout(PATIENCE)
        # Clients hang up as they like.
        with contextlib.suppress(OSError), sock:
            if self._context is not None:
                sock = self._context.wrap_socket(sock, server_side=True, suppress_ragged_eofs=False)
            with sock:
                self._script(sock)

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes the thread
        for thread in self._threads:
            thread.join()
        self._listener.close()


def head(sock: socket.socket) -> tuple[bytes, bytes]:
    """Receive the head of a request; return it, and what came of the body along with it."""
    data = b""
    while b"\r\n\r\n" not in data and (more := sock.recv(65536)):
        data += more
    before, _, after = data.partition(b"\r\n\r\n")
    return before, after


def reset(sock: socket.socket) -> None:
    """Close the connection by a reset."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def answers(*responses: bytes) -> Script:
    """Answer each request with the next of *responses*, then wait for the client to hang up."""

    def play(sock: socket.socket) -> None:
        for response in responses:
            if not head(sock)[0]:
                return
            sock.sendall(response)
        while sock.recv(65536):
            pass

    return play


def answers_and_closes(response: bytes) -> Script:
    """Answer one request and close the connection. With TLS, without a close_notify."""

    def play(sock: socket.socket) -> None:
        head(sock)
        sock.sendall(response)
        sock.close()

    return play
