"""Both ends of a connection for a test: a connection object and the `Peer` it talks to.

A wire is plain or TLS; the tests that take the `wire` fixture run over both, with one script.
On a `Wire` the near end is an `HTTPConnection`; `tests.support.styles` has those for other styles.
"""

from __future__ import annotations

import socket
import ssl
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import trustme

from dugong import AsyncHTTPConnection, HTTPConnection
from tests.support.peer import Peer
from tests.support.tapped import Tap, tap_tls, tapped

C = TypeVar("C", HTTPConnection, AsyncHTTPConnection)

HOST = "localhost"

#: What "small" buffers are asked to hold: more than one TLS record of 16 KiB, and not many.
SMALL = 20_000


@dataclass(frozen=True)
class Certificates:
    """What both sides of a TLS connection to `HOST` need."""

    authority: trustme.CA
    server: ssl.SSLContext
    client: ssl.SSLContext

    @classmethod
    def make(cls) -> Certificates:
        authority = trustme.CA()
        server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert(HOST, "127.0.0.1").configure_cert(server)
        return cls(authority, server, cls._trusting(authority))

    @staticmethod
    def _trusting(authority: trustme.CA) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        authority.configure_trust(context)
        return context

    def new_client(self) -> ssl.SSLContext:
        """A client context of the test's own, to change as it likes."""
        return self._trusting(self.authority)

    def new_server(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.authority.issue_cert(HOST, "127.0.0.1").configure_cert(context)
        return context


# ------------------------------------------------------------------------------- the wire


class Listener:
    """A listening socket; each peer made here is one connection to come, in order.

    Attributes:
        options: the argument of `HTTPConnection` that leads here.
    """

    def __init__(self, wire: AnyWire[Any], unix: str | None) -> None:
        self._wire = wire
        self.options: dict[str, Any]
        if unix is None:
            self._sock = socket.create_server(("127.0.0.1", 0))
            self.options = {"address": self.address}
        else:
            self._sock = socket.socket(socket.AF_UNIX)
            self._sock.bind(unix)
            self._sock.listen()
            self.options = {"unix_socket": unix}
        self._sock.setblocking(False)
        self._last: Peer | None = None

    @property
    def address(self) -> tuple[str, int]:
        host, port = self._sock.getsockname()
        return host, port

    def peer(self, *, chunk: int | None = None, handshake: bool = True) -> Peer:
        """The script of the next connection. Its turn comes when the one before has accepted."""
        context = self._wire.certificates.server if self._wire.tls and handshake else None
        previous = self._last
        peer = Peer(
            listener=self._sock,
            context=context,
            chunk=chunk,
            after=None if previous is None else previous.accept,
        )
        self._last = peer
        self._wire.adopt_peer(peer)
        return peer

    def close(self) -> None:
        self._sock.close()


class AnyWire(ABC, Generic[C]):
    """Makes connections, plain or TLS, and closes everything at the end of the test.

    Attributes:
        peers: every peer made so far.
    """

    def __init__(self, certificates: Certificates, *, tls: bool) -> None:
        self.certificates = certificates
        self.tls = tls
        self.peers: list[Peer] = []
        self._closers: list[Callable[[], object]] = []

    @abstractmethod
    def connection(self, host: str, **options: Any) -> C:
        """Make a connection object; it is disconnected at the end of the test."""

    def adopt(self, closer: Callable[[], object]) -> None:
        """Have this called at the end of the test."""
        self._closers.append(closer)

    def adopt_peer(self, peer: Peer) -> None:
        self.peers.append(peer)
        self.adopt(peer.abandon)

    def close(self) -> None:
        for closer in reversed(self._closers):
            closer()

    def renew(self) -> None:
        """Close everything, to be used for something else in the same test."""
        self.close()
        self._closers.clear()
        self.peers.clear()

    @property
    def client_context(self) -> ssl.SSLContext | None:
        return self.certificates.client if self.tls else None

    def pair(
        self,
        *,
        chunk: int | None = None,
        tap: Tap | None = None,
        small: bool = False,
        handshake: bool = True,
        host: str = HOST,
        **options: Any,
    ) -> tuple[C, Peer]:
        """A connection that was handed its socket, and the peer at the other end.

        Args:
            chunk: the peer's bytes come so many at a time.
            tap: what happens around the calls of the client's socket.
            small: let all socket buffers be so small that sending soon blocks.
            handshake: False for a peer that meets a TLS client with plain bytes.
            host: the host name given to the client.
            options: further arguments of `HTTPConnection`.
        """
        near, far = tcp_pair(small)
        context = self.client_context
        if tap is not None:
            if context is not None:
                context = self.certificates.new_client()
                tap_tls(context, tap)
            else:
                near = tapped(near, tap)
        peer = Peer(
            far,
            client_fd=near.fileno(),
            context=self.certificates.server if self.tls and handshake else None,
            chunk=chunk,
        )
        options.setdefault("ssl_context", context)
        self.adopt_peer(peer)
        self.adopt(near.close)
        return self.connection(host, sock=near, **options), peer

    def listen(self, unix: str | None = None) -> Listener:
        """Listen on a port, or on a unix socket with this path."""
        listener = Listener(self, unix)
        self.adopt(listener.close)
        return listener

    def dial(self, listener: Listener, **options: Any) -> C:
        """A connection that connects by itself, again and again."""
        options.setdefault("ssl_context", self.client_context)
        return self.connection(HOST, **{**listener.options, **options})


class Wire(AnyWire[HTTPConnection]):
    """The wire of a test that drives generators, or calls what blocks, by itself."""

    def connection(self, host: str, **options: Any) -> HTTPConnection:
        conn = HTTPConnection(host, **options)
        self.adopt(conn.disconnect)
        return conn


def tcp_pair(small: bool) -> tuple[socket.socket, socket.socket]:
    with socket.socket() as listening:
        if small:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL)
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL)
        listening.bind(("127.0.0.1", 0))
        listening.listen(1)
        near = socket.socket()
        if small:
            near.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL)
            near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL)
        near.connect(listening.getsockname())
        far, _ = listening.accept()
    near.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return near, far
