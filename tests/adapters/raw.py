"""A server whose connections are functions, for what `tests.support.site.Site` does not do."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

#: Serves one connection. The socket is closed when it returns.
Handler = Callable[[socket.socket], None]


@contextmanager
def serving(handler: Handler, *, port: int = 0, path: str | None = None) -> Iterator[int]:
    """Serve connections in threads, on a port or at the path of a Unix socket; yield the port."""
    if path is None:
        listener = socket.create_server(("127.0.0.1", port))
        port = listener.getsockname()[1]
    else:
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(path)
        listener.listen()
    socks: list[socket.socket] = [listener]
    threads: list[threading.Thread] = []

    def serve(sock: socket.socket) -> None:
        with suppress(OSError), sock:
            handler(sock)

    def accept() -> None:
        with suppress(OSError):
            while True:
                sock, _ = listener.accept()
                socks.append(sock)
                threads.append(threading.Thread(target=serve, args=(sock,), daemon=True))
                threads[-1].start()

    accepting = threading.Thread(target=accept, daemon=True)
    accepting.start()
    try:
        yield port
    finally:
        for sock in socks:
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()
        for thread in [accepting, *threads]:
            thread.join(5)


def read_head(sock: socket.socket) -> bytes:
    """Read a request without a body, byte by byte, so that nothing after it is lost."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        byte = sock.recv(1)
        if not byte:
            raise ConnectionError("no request")
        head += byte
    return head
