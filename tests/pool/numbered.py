"""A server that shows in ``X-Connection`` which connection a response came on.

That is the number of the connection, the port that it leads to, and the address that it comes from.
The server runs in threads of the test's process. The path decides how it answers:

============ =====================================================================================
``/close``   announces that it closes the connection
``/upgrade`` switches protocols
any other    a response with a body
============ =====================================================================================
"""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from itertools import count

#: Seconds after which a wait has failed.
GUARD = 10.0

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-Connection: %b\r\n%b\r\nhello"
SWITCHING = (
    b"HTTP/1.1 101 Switching Protocols\r\nX-Connection: %b\r\n"
    b"Upgrade: x\r\nConnection: Upgrade\r\n\r\n"
)


class NumberedServer:
    """The server: several ports, and a thread for each connection.

    Attributes:
        ports: where it listens.
    """

    def __init__(self, ports: int) -> None:
        self._numbers = count(1)
        self._socks: dict[int, socket.socket] = {}
        self._threads: dict[int, threading.Thread] = {}
        self._listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(ports)]
        self.ports = [listener.getsockname()[1] for listener in self._listeners]
        self._accepting = [
            threading.Thread(target=self._accept, args=(listener,), daemon=True)
            for listener in self._listeners
        ]
        for thread in self._accepting:
            thread.start()

    def _accept(self, listener: socket.socket) -> None:
        with listener, suppress(OSError):  # `close` shuts it down
            while True:
                sock, (peer, _) = listener.accept()
                number = next(self._numbers)
                port = listener.getsockname()[1]
                self._socks[number] = sock
                name = f"{number} {port} {peer}"
                thread = threading.Thread(target=self._serve, args=(sock, name), daemon=True)
                self._threads[number] = thread
                thread.start()

    def _serve(self, sock: socket.socket, name: str) -> None:
        with suppress(OSError), sock, sock.makefile("rb") as file:  # the client may have gone
            while head := file.readline():
                while file.readline().strip():
                    pass
                path = head.split()[1]
                if path == b"/upgrade":
                    sock.sendall(SWITCHING % name.encode())
                elif path == b"/close":
                    sock.sendall(OK % (name.encode(), b"Connection: close\r\n"))
                    return
                else:
                    sock.sendall(OK % (name.encode(), b""))

    def hang_up(self, number: int) -> tuple[str, int]:
        """Close a connection without an announcement. Returns the address of the client's end."""
        sock = self._socks[number]
        address: tuple[str, int] = sock.getpeername()
        sock.shutdown(socket.SHUT_RDWR)
        return address

    def await_end(self, number: int) -> None:
        """Wait until a connection has ended, which the client has closed."""
        self._threads[number].join(GUARD)
        assert not self._threads[number].is_alive(), f"connection {number} is still open"

    def close(self) -> None:
        """Stop listening, and wait until all connections have ended."""
        for listener in self._listeners:
            listener.shutdown(socket.SHUT_RDWR)
        for thread in self._accepting:
            thread.join()
        for number in self._threads:
            self.await_end(number)
