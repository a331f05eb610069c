"""Connections and sockets for the tests of this package."""

from __future__ import annotations

import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from dugong import POLLIN, PollNeeded
from dugong.protocol.proxy import Proxy
from dugong.transport.connect import Dialer, Route
from dugong.transport.monitor import Monitor
from dugong.transport.poll import Co
from dugong.transport.resolve import AddressInfo, Lookup
from dugong.transport.stream import Stream
from tests.support.drive import drive
from tests.support.peer import Peer
from tests.support.wire import HOST, Certificates, tcp_pair

DESCRIPTORS = Path("/proc/self/fd")


class Ends:
    """A stream of ours, connected to a scripted peer.

    Args:
        certificates: for TLS, ``None`` for a plain stream.
        small: whether the buffers of the sockets are small.
        nested: whether the TLS is inside that of a proxy.
    """

    def __init__(
        self, certificates: Certificates | None, *, small: bool = False, nested: bool = False
    ) -> None:
        near, far = tcp_pair(small)
        client = None if certificates is None else certificates.client
        server = None if certificates is None else certificates.server
        self.activity = Monitor()
        self.peer = Peer(far, client_fd=near.fileno(), context=server)
        route = Route(("", 0), sock=near, ssl_context=client, server_hostname=HOST)
        if nested:
            assert server is not None
            route.proxy, route.proxy_context = Proxy(HOST, 1, scheme="https"), client
            route.tunnel = (HOST, 443)
            self.peer.start_tls(server)
        dialer = Dialer(route, self.activity, tunnel_without_a_word)
        self.stream: Stream = drive(dialer.co_dial(), self.peer)
        self.peer.run()  # its part of a handshake ends after ours

    def receive(self, count: int = 1 << 16) -> Co[bytes]:
        while isinstance(got := self.stream.recv(count), PollNeeded):
            yield from self.stream.wait(got)
        return got

    def close(self) -> None:
        self.stream.close()
        self.peer.abandon()


def tunnel_without_a_word(stream: Stream, target: tuple[str, int]) -> Co[None]:
    """Take a connection to a proxy for a tunnel."""
    return
    yield


def open_descriptors() -> set[str]:
    """All open descriptors and what they are of."""
    found = set()
    for path in DESCRIPTORS.iterdir():
        try:
            found.add(f"{path.name} {path.readlink()}")
        except FileNotFoundError:
            pass  # that with which the directory itself was listed
    return found


def resolver_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "dugong-resolver"]


def end_resolver_threads() -> None:
    """Wait until those have ended that have nothing left to do."""
    for thread in resolver_threads():
        thread.join(10)
        assert not thread.is_alive()


def wait_for(lookup: Lookup) -> list[AddressInfo]:
    """What a driver does until the result is there."""
    with lookup.sock:
        while (addresses := lookup.result()) is None:
            assert PollNeeded(lookup.sock.fileno(), POLLIN).poll(10), "never told"
        return addresses


def refusing_address() -> tuple[str, int]:
    """An address of this machine where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        host, port = sock.getsockname()
    return host, port


@contextmanager
def busy_server() -> Iterator[socket.socket]:
    """A server whose queue of connections is full: connecting goes on until it accepts some."""
    with ExitStack() as stack:
        server = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        server.setblocking(False)
        for _ in range(20):
            sock = stack.enter_context(socket.socket())
            sock.setblocking(False)
            sock.connect_ex(server.getsockname())
            try:
                sock.getpeername()
            except OSError:
                break  # this one has not got through
        yield server


def tunnelled(near: socket.socket, certificates: Certificates) -> Route:
    return Route(
        ("", 0),
        sock=near,
        proxy=Proxy("h", 1),
        tunnel=("h", 443),
        ssl_context=certificates.client,
        server_hostname=HOST,
    )


def tunnelling_peer(far: socket.socket, near: socket.socket, certificates: Certificates) -> Peer:
    peer = Peer(far, client_fd=near.fileno())
    peer.expect_request(b"CONNECT h:443")
    peer.reply(b"HTTP/1.1 200 OK\r\n\r\n", chunk=7)
    peer.start_tls(certificates.server)
    return peer


def before_line(
    file: str, count: int, act: Callable[[], object], call: Callable[[], object]
) -> bool:
    """Make *call*; do *act* before it runs the line of this number in *file*, counted from 0.

    Signal handlers run there, and so does the collector, with any finalizer there is.

    Returns:
        Whether it has as many lines.
    """
    left = count

    def trace(frame: FrameType, event: str, arg: Any) -> Any:
        nonlocal left
        if frame.f_code.co_filename != file:
            return None
        if event == "line":
            left -= 1
            if left < 0:
                sys.settrace(None)
                act()
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        call()
    finally:
        sys.settrace(before)
    return left < 0
