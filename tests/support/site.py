"""`Site`: a small server in threads that records requests and answers by path.

For tests of the client's policies: what was sent where. It does not care about protocol details;
`peer.Peer` and the real servers are for those.
"""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, TypeAlias


@dataclass
class Seen:
    """A request that arrived.

    Attributes:
        fields: pairs of lower-case name and value.
        connection: the number of the connection, from 1.
        port: the client's port.
        has_certificate: whether the client has sent a certificate.
    """

    method: str
    target: str
    fields: list[tuple[str, str]]
    body: bytes
    connection: int
    port: int
    has_certificate: bool = False

    def __getitem__(self, name: str) -> str | None:
        """Return the only value of a field, ``None`` if there is none."""
        values = [value for key, value in self.fields if key == name]
        assert len(values) < 2, values
        return values[0] if values else None

    def __contains__(self, name: str) -> bool:
        return any(key == name for key, _ in self.fields)


@dataclass
class Reply:
    """What a site answers.

    Attributes:
        raw: the whole response, instead of the other attributes.
        close: whether the connection is closed afterwards.
    """

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] | list[tuple[str, str]] = field(default_factory=dict)
    raw: bytes | None = None
    close: bool = False

    def data(self, method: str) -> bytes:
        if self.raw is not None:
            return self.raw
        pairs = list(self.headers.items() if isinstance(self.headers, Mapping) else self.headers)
        if not any(name.lower() in ("content-length", "transfer-encoding") for name, _ in pairs):
            pairs.append(("Content-Length", str(len(self.body))))
        lines = "".join(f"{name}: {value}\r\n" for name, value in pairs)
        head = f"HTTP/1.1 {self.status} X\r\n{lines}\r\n".encode("latin-1")
        return head if method == "HEAD" else head + self.body


Answer: TypeAlias = Reply | Callable[[Seen], "Reply | None"]


def redirect(location: str, status: int = 302, body: bytes = b"moved") -> Reply:
    return Reply(status, body, {"Location": location})


class Site:
    """The server.

    Attributes:
        answers: from a path without its query to what is answered, in order; the last one is
            repeated. Other paths get a 200 with the body ``ok``.
        seen: the requests so far.
        url: its URL, without a slash at the end.
        continues: whether it answers Expect with a 100 (Continue). Otherwise it ignores the field.
    """

    continues = False

    def __init__(self, context: ssl.SSLContext | None = None, host: str = "127.0.0.1") -> None:
        self.answers: dict[str, list[Answer]] = {}
        self.seen: list[Seen] = []
        self.connections = 0
        self._context = context
        self._socks: list[socket.socket] = []
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._listener = socket.create_server((host, 0), family=family)
        self.port: int = self._listener.getsockname()[1]
        self.scheme = "http" if context is None else "https"
        self.url = self.at(f"[{host}]" if ":" in host else host)
        self._threads: list[threading.Thread] = []
        self._start(self._accept)

    def _start(self, target: Callable[..., None], *args: Any) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def at(self, host: str) -> str:
        """Return the URL with another name for the host."""
        return f"{self.scheme}://{host}:{self.port}"

    def on(self, path: str, *answers: Answer) -> None:
        self.answers[path] = list(answers)

    def paths(self) -> list[str]:
        return [seen.target for seen in self.seen]

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                sock, _ = self._listener.accept()
                self._socks.append(sock)
                self.connections += 1
                self._start(self._serve, sock, self.connections)

    def _serve(self, sock: socket.socket, number: int) -> None:
        with suppress(OSError, ssl.SSLError), sock:
            port = sock.getpeername()[1]
            if self._context is not None:
                sock = self._context.wrap_socket(sock, server_side=True)
                self._socks.append(sock)
            with sock, sock.makefile("rb") as file:
                while seen := _read(file, number, port, sock if self.continues else None):
                    if isinstance(sock, ssl.SSLSocket):
                        seen.has_certificate = bool(sock.getpeercert())
                    self.seen.append(seen)
                    reply = self._reply(seen)
                    if reply is None:
                        return
                    sock.sendall(reply.data(seen.method))
                    if reply.close:
                        return

    def _reply(self, seen: Seen) -> Reply | None:
        answers = self.answers.get(seen.target.partition("?")[0])
        if not answers:
            return Reply(body=b"ok")
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        return answer(seen) if callable(answer) else answer

    def close(self) -> None:
        for sock in [self._listener, *self._socks]:
            with suppress(OSError):
                # `SSLSocket.shutdown` would let a thread that reads go on without TLS.
                socket.socket.shutdown(sock, socket.SHUT_RDWR)
            sock.close()
        for thread in self._threads:
            thread.join(10)  # otherwise it would close a descriptor during another test


def _read(
    file: Any, connection: int, port: int, continues: socket.socket | None = None
) -> Seen | None:
    line = file.readline().decode("latin-1").rstrip("\r\n")
    if not line:
        return None
    method, target, _ = line.split(" ")
    fields = []
    while text := file.readline().decode("latin-1").rstrip("\r\n"):
        name, _, value = text.partition(": ")
        fields.append((name.lower(), value))
    known = dict(fields)
    if continues is not None and "expect" in known:
        continues.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
    body = b""
    if "content-length" in known:
        body = file.read(int(known["content-length"]))
    elif "transfer-encoding" in known:
        while line := file.readline():
            size = int(line, 16)
            if not size:
                break
            body += file.read(size)
            file.readline()
        else:
            return None  # the client has broken off
        file.readline()
    return Seen(method, target, fields, body, connection, port)


@contextmanager
def site(context: ssl.SSLContext | None = None, host: str = "127.0.0.1") -> Iterator[Site]:
    server = Site(context, host)
    try:
        yield server
    finally:
        server.close()
