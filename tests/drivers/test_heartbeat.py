"""While one task connects, all others go on, whatever part of connecting it is that takes time.

A heart beats in the same loop. The resolver, the server, the proxy and the other side of the
handshake do nothing until it has beaten `BEATS` times since they were asked. A client that blocks
the loop would stop the heart, and so wait for ever.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import pytest

from dugong import AsyncHTTPConnection
from dugong.transport.resolve import AddressInfo
from tests.support.concurrency import Library, both
from tests.support.peer import Peer
from tests.support.wire import HOST, Certificates
from tests.transport.tools import busy_server

BEATS = 40

#: Seconds after which a heart that has not beaten so often is called stopped.
PATIENCE = 20.0

#: What is told when the part before the slow one is done.
BEFORE = {"connecting": "resolved", "tunnel": "connected", "handshake": "connected"}


class Slow:
    """A way to a server of which one part takes long.

    Attributes:
        options: arguments for the connection.
        asked: set as soon as the slow part is under way.
        go_on: to be called again and again, once the part has taken long enough.
    """

    def __init__(self) -> None:
        self.options: dict[str, Any] = {"hostname": HOST}
        self.asked = threading.Event()
        self.go_on: Callable[[], object] = lambda: None

    def resolving(self, stack: ExitStack, monkeypatch: pytest.MonkeyPatch) -> None:
        server = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        gate = threading.Event()
        self.go_on = gate.set
        found: AddressInfo = (socket.AF_INET, socket.SOCK_STREAM, 6, "", server.getsockname())
        system: Any = socket.getaddrinfo

        def getaddrinfo(host: str, *args: Any, flags: int = 0, **options: Any) -> list[AddressInfo]:
            if flags or host != HOST:
                return list(system(host, *args, flags=flags, **options))
            self.asked.set()
            assert gate.wait(PATIENCE), "the heart has stopped"
            return [found]

        monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)

    def connecting(self, stack: ExitStack) -> None:
        server = stack.enter_context(busy_server())
        self.options["address"] = server.getsockname()

        def make_room() -> None:
            server.listen(100)  # for whoever made it busy tries again, too
            try:
                while True:
                    stack.enter_context(server.accept()[0])
            except BlockingIOError:
                pass

        self.go_on = make_room

    def speaking(self, stack: ExitStack, certificates: Certificates, by: str) -> None:
        """A handshake with the server, or with a server behind a proxy."""
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        listener.setblocking(False)
        tunnel = by == "proxy"
        peer = Peer(listener=listener, context=None if tunnel else certificates.server)
        stack.callback(peer.abandon)
        if tunnel:
            peer.expect_request(b"CONNECT localhost:443 ")
            peer.reply(b"HTTP/1.1 200 OK\r\n\r\n")
            peer.start_tls(certificates.server)
        self.options |= {"ssl_context": certificates.client, by: listener.getsockname()}

        def play() -> None:
            with peer.in_company():
                while peer.step():
                    pass

        self.go_on = play


@contextmanager
def slow(part: str, certificates: Certificates, monkeypatch: pytest.MonkeyPatch) -> Iterator[Slow]:
    way = Slow()
    with ExitStack() as stack:
        if part == "resolving":
            way.resolving(stack, monkeypatch)
        elif part == "connecting":
            way.connecting(stack)
        else:
            way.speaking(stack, certificates, "proxy" if part == "tunnel" else "address")
        yield way
        monkeypatch.undo()


@pytest.mark.timeout(40)  # a connect that blocks would do so for ever
@both
@pytest.mark.parametrize("part", ["resolving", "connecting", "tunnel", "handshake"])
def test_heart_beats_while_another_task_connects(
    library: Library, part: str, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    beats = 0

    async def main(way: Slow) -> None:
        conn = AsyncHTTPConnection(**way.options)

        def happened(event: str) -> None:
            if event == BEFORE.get(part):
                way.asked.set()

        async def heart() -> None:
            nonlocal beats
            while True:
                await library.checkpoint()
                beats += way.asked.is_set()
                if beats >= BEATS:
                    way.go_on()

        conn.on_event = happened
        async with library.background(heart):
            assert beats == 0
            await conn.connect()
            assert beats >= BEATS
        conn.disconnect()

    with slow(part, certificates, monkeypatch) as way:
        library.run(partial(main, way))


@both
def test_heart_beats_while_all_of_it_is_slow(
    library: Library, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One loop, four tasks that connect, each held up by another part of it."""
    beats = 0

    async def main(ways: list[Slow]) -> None:
        async def heart() -> None:
            nonlocal beats
            while True:
                await library.checkpoint()
                beats += 1
                if beats >= BEATS:
                    for way in ways:
                        way.go_on()

        async def connect(way: Slow) -> None:
            conn = AsyncHTTPConnection(**way.options)
            await conn.connect()
            assert beats >= BEATS
            conn.disconnect()

        async with library.background(heart):
            await library.together(*[partial(connect, way) for way in ways])

    with ExitStack() as stack:
        parts = ["connecting", "tunnel", "handshake", "resolving"]
        ways = [stack.enter_context(slow(part, certificates, monkeypatch)) for part in parts]
        library.run(partial(main, ways))
