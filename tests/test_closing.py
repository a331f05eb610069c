"""`disconnect` from another task or another thread: whoever waits is woken, nothing stays open."""

from __future__ import annotations

import gc
import io
import re
import socket
import ssl
import threading
import warnings
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any, Self

import pytest

from dugong import AsyncHTTPConnection, ConnectionClosed, HTTPConnection
from dugong.transport.resolve import AddressInfo
from tests.concurrency import Library, both, nothing_left
from tests.transport.tools import busy_server
from tests.wire import HOST, SMALL, Certificates

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
            if self._context is not None:
                self._shake(sock, self._context)
            self._closed.wait(GUARD)
            try:
                while self._receive(sock):
                    pass
            except ConnectionResetError:  # the client closed with our tickets unread
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
                incoming.write(self._receive(sock))
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
        calls: names and arguments of what waits there, all at once.
        reached: whether the first of them has come that far.
    """

    def __init__(self) -> None:
        self.options: dict[str, Any] = {"hostname": HOST}
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
            first: tuple[Any, ...] = ("send_request", "PUT", "/", None, BODY)
            if what == "reading":
                first = ("send_request", "GET", "/")
                stage.reached = lambda conn: bool(conn.response_pending())
            stage.calls = [first] if what == "sending" else [first, ("read_response",)]
        yield stage
        monkeypatch.undo()


STAGES = [
    "resolving", "connecting", "racing", "reading ahead", "tunnel", "handshake",
    "sending plain", "sending tls", "reading plain", "reading tls", "both plain", "both tls",
]  # fmt: skip

at_every_stage = pytest.mark.parametrize("name", STAGES)


def enter(conn: Any, stage: Stage) -> list[Callable[[], Any]]:
    """Return the calls that are to wait at once, in which order they are to begin."""
    return [partial(getattr(conn, call), *args) for call, *args in stage.calls]


@both
@pytest.mark.parametrize("by", ["task", "thread"])
@at_every_stage
def test_disconnect_wakes_tasks(
    library: Library,
    by: str,
    name: str,
    certificates: Certificates,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ended: list[str] = []

    async def main(stage: Stage) -> None:
        conn = AsyncHTTPConnection(**stage.options)
        calls = enter(conn, stage)
        if name in ("reading plain", "reading tls"):
            await calls.pop(0)()

        async def wait(call: Callable[[], Awaitable[object]]) -> None:
            while call is not calls[0] and not conn.response_pending():
                await library.checkpoint()  # the request's turn comes first
            with pytest.raises(ConnectionClosed):
                await call()
            ended.append("closed")

        async def close() -> None:
            while not stage.reached(conn):
                await library.checkpoint()
            for _ in range(3):
                await library.checkpoint()
            assert not ended
            if by == "task":
                conn.disconnect()
            else:
                await library.in_thread(conn.disconnect)

        await library.together(*(partial(wait, call) for call in calls), close)
        assert len(ended) == len(calls)

    with nothing_left():
        with stages(name, certificates, monkeypatch) as stage:
            library.run(partial(main, stage))


@at_every_stage
def test_disconnect_wakes_threads(
    name: str, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended: list[BaseException | None] = []

    def wait(call: Callable[[], object]) -> None:
        try:
            call()
        except BaseException as exc:
            ended.append(exc)
        else:
            ended.append(None)

    with nothing_left(), stages(name, certificates, monkeypatch) as stage:
        conn = HTTPConnection(**stage.options)
        calls = enter(conn, stage)
        if name in ("reading plain", "reading tls"):
            calls.pop(0)()
        threads = []
        for call in calls:
            threads.append(threading.Thread(target=wait, args=[call]))
            threads[-1].start()
            while not (conn.response_pending() and stage.reached(conn)):
                threads[-1].join(0.001)
        for thread in threads:
            thread.join(0.05)
            assert thread.is_alive()  # it waits
        conn.disconnect()
        for thread in threads:
            thread.join(GUARD)
            assert not thread.is_alive()
        assert [type(exc) for exc in ended] == [ConnectionClosed] * len(calls)


def test_let_go_in_a_cycle() -> None:
    """The garbage collector finds the socket together with everything that would close it."""
    with socket.create_server((HOST, 0)) as listener:
        conn = HTTPConnection(*listener.getsockname())
        conn.on_event = partial(print, conn, file=io.StringIO())  # refers to the connection
        conn.connect()
        server, _ = listener.accept()
        with server, warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            del conn
            gc.collect()
            server.settimeout(GUARD)
            assert server.recv(1) == b""
    assert caught == []
