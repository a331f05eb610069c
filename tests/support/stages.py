"""Connections that have come to a halt: resolving, connecting, shaking hands, sending, reading.

`stages` makes a server, or none, with which a connection gets just so far.
"""

from __future__ import annotations

import re
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any, Self

import pytest

from dugong.transport.resolve import AddressInfo
from tests.support.wire import HOST, SMALL, Certificates
from tests.transport.tools import busy_server

GUARD = 20.0

BODY = bytes(8 << 20)  # more than lies between two sockets

_RECORD = re.compile(rb"[\x14-\x17]\x03[\x00-\x04](..)", re.DOTALL)


class Silent:
    """A server that shakes hands and says nothing; in the end it reads what it was told.

    Attributes:
        address: where it listens.
        received: the bytes on the wire, complete when the block is left.
    """

    def __init__(self, context: ssl.SSLContext | None) -> None:
        self._context = context
        self._listener = socket.socket()
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL)
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen(1)
        self._listener.settimeout(GUARD)
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.address: tuple[str, int] = self._listener.getsockname()
        self.received = bytearray()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._closed.set()
        self._thread.join()
        self._listener.close()

    def _run(self) -> None:
        sock, _ = self._listener.accept()
        with sock:
            sock.settimeout(GUARD)
            try:
                if self._context is not None:
                    self._shake(sock, self._context)
                self._closed.wait(GUARD)
                while self._receive(sock):
                    pass
            except ConnectionError:  # the client closed early, or with our tickets unread
                pass

    def _receive(self, sock: socket.socket) -> bytes:
        data = sock.recv(1 << 16)
        self.received += data
        return data

    def _shake(self, sock: socket.socket, context: ssl.SSLContext) -> None:
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = context.wrap_bio(incoming, outgoing, server_side=True)
        while True:
            try:
                tls.do_handshake()
            except ssl.SSLWantReadError:
                sock.sendall(outgoing.read())
                data = self._receive(sock)
                if not data:
                    return  # the client has left in the middle of the handshake
                incoming.write(data)
            else:
                sock.sendall(outgoing.read())
                return

    def check_records(self) -> None:
        """Assert that nothing but TLS records came in; the last one may be cut off."""
        at = 0
        while at + 5 <= len(self.received):
            match = _RECORD.match(self.received, at)
            assert match, f"no TLS record: {bytes(self.received[at : at + 20])!r}"
            at += 5 + int.from_bytes(match[1], "big")


class Stage:
    """How a connection is made that comes to a halt at a certain point.

    Attributes:
        options: arguments for the connection.
        before: names and arguments of the calls that lead there, and come to their end.
        calls: those of the calls that wait there, all at once, in the order in which they begin.
        reached: whether the first of them has come that far.
    """

    def __init__(self) -> None:
        self.options: dict[str, Any] = {"hostname": HOST}
        self.before: list[tuple[Any, ...]] = []
        self.calls: list[tuple[Any, ...]] = [("send_request", "GET", "/")]
        self.reached: Callable[[Any], bool] = lambda conn: True


@contextmanager
def stages(
    name: str, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Stage]:
    stage = Stage()
    with ExitStack() as stack:
        if name == "resolving":
            entered, gate = threading.Event(), threading.Event()
            system: Any = socket.getaddrinfo

            def getaddrinfo(*args: Any, flags: int = 0, **options: Any) -> list[AddressInfo]:
                if not flags:
                    entered.set()
                    gate.wait(GUARD)
                return list(system(*args, flags=flags, **options))

            monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
            stack.callback(gate.set)
            stage.reached = lambda conn: entered.is_set()
        elif name in ("connecting", "racing", "reading ahead"):
            address = stack.enter_context(busy_server()).getsockname()
            stage.options["address"] = address
            if name == "racing":
                found: list[AddressInfo] = [
                    (socket.AF_INET, socket.SOCK_STREAM, 6, "", address)
                ] * 3

                def several(*_: Any, flags: int = 0, **__: Any) -> list[AddressInfo]:
                    if flags:
                        raise socket.gaierror(socket.EAI_NONAME, "not numeric")
                    return list(found)

                monkeypatch.setattr(socket, "getaddrinfo", several)
                stage.options["address"] = (HOST, 80)
            if name == "reading ahead":
                stage.calls.append(("read_response",))
        elif name in ("tunnel", "handshake"):
            listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            stage.options["ssl_context"] = certificates.client
            key = "proxy" if name == "tunnel" else "address"
            stage.options[key] = listener.getsockname()
        else:
            what, _, scheme = name.partition(" ")
            tls = scheme == "tls"
            silent = stack.enter_context(Silent(certificates.server if tls else None))
            if tls:
                stack.callback(silent.check_records)
            stage.options |= {
                "address": silent.address,
                "ssl_context": certificates.client if tls else None,
            }
            stage.reached = lambda conn: conn.bytes_sent > 0
            if what == "reading":
                stage.before = stage.calls
                stage.calls = []
                stage.reached = lambda conn: bool(conn.response_pending())
            else:
                stage.calls = [("send_request", "PUT", "/", None, BODY)]
            if what != "sending":
                stage.calls.append(("read_response",))
        yield stage
        monkeypatch.undo()


STAGES = [
    "resolving", "connecting", "racing", "reading ahead", "tunnel", "handshake",
    "sending plain", "sending tls", "reading plain", "reading tls", "both plain", "both tls",
]  # fmt: skip

at_every_stage = pytest.mark.parametrize("name", STAGES)


def enter(conn: Any, calls: list[tuple[Any, ...]], prefix: str = "") -> list[Callable[[], Any]]:
    """Return the operations of a connection for some calls of a `Stage`.

    Args:
        conn: the connection.
        calls: the calls.
        prefix: what the names of its methods begin with, such as ``co_``.
    """
    return [partial(getattr(conn, prefix + call), *args) for call, *args in calls]
