"""A relay in front of a server, which cuts connections, or holds them up, after so many bytes."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Self

from tests.cli.command import PATIENCE
from tests.support.servers import HOST


class Relay:
    """Passes everything between clients and a server.

    Args:
        port: of the server.
        limits: for each connection in turn, after how many bytes of responses it is over;
            ``None`` is never. So it is for all connections behind the last of these.
        hold: whether what is over is neither closed nor goes on.

    Attributes:
        requests: what clients have sent, one item for each connection.
        at_limit: is set when a connection is over.
    """

    def __init__(self, port: int, limits: Sequence[int | None] = (), hold: bool = False) -> None:
        self.requests: list[bytes] = []
        self.at_limit = threading.Event()
        self._upstream = port
        self._limits = [*limits]
        self._hold = hold
        self._listener = socket.create_server((HOST, 0))
        self.port = self._listener.getsockname()[1]
        self._open: list[socket.socket] = [self._listener]
        self._threads = [threading.Thread(target=self._serve)]

    def url(self, path: str) -> str:
        return f"http://{HOST}:{self.port}{path}"

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        for sock in self._open:
            try:
                sock.shutdown(socket.SHUT_RDWR)  # wakes who waits for it
            except OSError:
                pass  # it is not connected any more
        for thread in self._threads:
            thread.join(PATIENCE)
        for sock in self._open:
            sock.close()

    def _serve(self) -> None:
        while True:
            try:
                client = self._listener.accept()[0]
            except OSError:
                return
            server = socket.create_connection((HOST, self._upstream))
            self._open += [client, server]
            limit = self._limits.pop(0) if self._limits else None
            self.requests.append(b"")
            number = len(self.requests) - 1
            for target, args in (
                (self._pass_requests, (client, server, number)),
                (self._pass_responses, (server, client, limit)),
            ):
                self._threads.append(threading.Thread(target=target, args=args))
                self._threads[-1].start()

    def _pass_requests(self, client: socket.socket, server: socket.socket, number: int) -> None:
        with _until_closed():
            while data := client.recv(65536):
                self.requests[number] += data
                server.sendall(data)
        _end(server)

    def _pass_responses(
        self, server: socket.socket, client: socket.socket, limit: int | None
    ) -> None:
        with _until_closed():
            while limit != 0 and (data := server.recv(min(65536, limit or 65536))):
                client.sendall(data)
                limit = None if limit is None else limit - len(data)
        if limit == 0:
            self.at_limit.set()
            if self._hold:
                return
        _end(client)


@contextmanager
def _until_closed() -> Iterator[None]:
    try:
        yield
    except OSError:
        pass


def _end(sock: socket.socket) -> None:
    with _until_closed():
        sock.shutdown(socket.SHUT_RDWR)
