"""From a name to a connected stream: resolve, connect, open a tunnel, shake hands.

Nothing here blocks; every wait is a `PollNeeded`. A coroutine that is closed or fails half way
closes what it had opened.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable
from threading import RLock
from typing import TYPE_CHECKING

from ..errors import ConnectionClosed
from ..protocol.request import NO_DEFAULTS, Defaults
from .activity import Activity
from .poll import POLLIN, POLLOUT, Co, PollNeeded
from .proxy import Proxy, co_open_tunnel
from .race import Race
from .resolve import AddressInfo, Lookup, numeric
from .stream import Stream, shut_down

if TYPE_CHECKING:
    import ssl


class Route:
    """How a connection to a server is made.

    Attributes:
        address: host and port to dial, a proxy's included; unused with the next two.
        unix_socket: path of a unix socket to dial instead, or ``None``.
        sock: a connected socket to take over instead, or ``None``.
        source_address: host and port to dial from, or ``None``.
        proxy: the proxy that `address` is, or ``None``.
        tunnel: ``host:port`` to have the proxy open a tunnel to, or ``None``.
        ssl_context: for a TLS connection, or ``None``.
        server_hostname: the server's name for TLS.
        authority: the server's name as it is in ``Host``.
        defaults: fields that every request to it has unless the caller gives others.
    """

    __slots__ = (
        "address", "authority", "defaults", "proxy", "server_hostname", "sock", "source_address",
        "ssl_context", "tunnel", "unix_socket",
    )  # fmt: skip

    def __init__(
        self,
        address: tuple[str, int],
        *,
        unix_socket: str | bytes | None = None,
        sock: socket.socket | None = None,
        source_address: tuple[str, int] | None = None,
        proxy: Proxy | None = None,
        tunnel: str | None = None,
        ssl_context: ssl.SSLContext | None = None,
        server_hostname: str = "",
        authority: str = "",
        defaults: Defaults = NO_DEFAULTS,
    ) -> None:
        self.address = address
        self.unix_socket = unix_socket
        self.sock = sock
        self.source_address = source_address
        self.proxy = proxy
        self.tunnel = tunnel
        self.ssl_context = ssl_context
        self.server_hostname = server_hostname
        self.authority = authority
        self.defaults = defaults


class Dialer:
    """Makes one connection, and can be told from another thread to give up.

    Args:
        route: how to get there.
        activity: told ``resolved``, ``connected`` and ``secured`` when that is done.
    """

    def __init__(self, route: Route, activity: Activity) -> None:
        self._route = route
        self._activity = activity
        self._cancelled = False
        self._waiting_for: tuple[socket.socket, ...] = ()
        self._lock = RLock()

    def cancel(self) -> None:
        """Give up: `co_dial` raises `ConnectionClosed`. Callable from any thread, at any time."""
        self._cancelled = True
        with self._lock:
            for sock in self._waiting_for:
                shut_down(sock)  # wakes whoever waits; it closes what is to be closed

    def _wait(self, socks: Iterable[socket.socket], need: PollNeeded) -> Co[None]:
        """Wait for *need*, which any of *socks* brings about when it is shut down."""
        self._waiting_for = tuple(socks)
        try:
            self._check()
            yield need
        finally:
            with self._lock:  # what is closed from here on is not shut down any more
                self._waiting_for = ()
        self._check()

    def _check(self) -> None:
        if self._cancelled:
            raise ConnectionClosed("the connection was closed by disconnect()")

    def co_dial(self) -> Co[Stream]:
        """Connect.

        Raises:
            HostnameNotResolvable, DNSUnavailable: there is no address to connect to.
            TunnelRefused, InvalidResponse, ConnectionClosed: the proxy is not willing.
            UnsupportedResponse: the server chose another protocol than HTTP/1.1 by ALPN.
            OSError: the system's or the TLS library's reason.
        """
        route = self._route
        sock = route.sock
        if sock is not None:
            sock.setblocking(False)
        elif route.unix_socket is not None:
            sock = self._connect_unix(route.unix_socket)
        else:
            addresses = yield from self._co_resolve(*route.address)
            self._activity.event("resolved")
            sock = yield from self._co_connect_any(addresses)
        try:
            if sock.family != getattr(socket, "AF_UNIX", None):
                # Without it, pipelined requests wait for each other's acknowledgement.
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._activity.event("connected")
            if route.tunnel is not None and route.proxy is not None:
                yield from self._co_tunnel(sock, route.tunnel, route.proxy)
            if route.ssl_context is None:
                return Stream(sock, self._activity)
            return (yield from self._co_secure(sock, route.ssl_context))
        except BaseException:
            sock.close()
            raise

    def _co_resolve(self, host: str, port: int) -> Co[list[AddressInfo]]:
        addresses = numeric(host, port)
        if addresses is not None:
            return addresses
        lookup = Lookup(host, port)
        try:
            while (addresses := lookup.result()) is None:
                yield from self._wait([lookup.sock], PollNeeded(lookup.sock.fileno(), POLLIN))
        finally:
            lookup.close()
        return addresses

    def _co_connect_any(self, addresses: list[AddressInfo]) -> Co[socket.socket]:
        race = Race(addresses, self._route.source_address, self._activity.clock)
        try:
            while (sock := race.step()) is None:
                yield from self._wait(race.running, race.need())
            return sock
        finally:
            race.close()

    def _connect_unix(self, path: str | bytes) -> socket.socket:
        """Connect to a unix socket, which never takes time: a full backlog is an error."""
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.setblocking(False)
            sock.connect(path)
        except BaseException:
            sock.close()
            raise
        return sock

    def _co_tunnel(self, sock: socket.socket, authority: str, proxy: Proxy) -> Co[None]:
        stream = Stream(sock, self._activity)
        tunnel = co_open_tunnel(stream, authority, proxy.fields)
        try:
            for need in tunnel:
                yield from self._wait([sock], need)
        finally:
            tunnel.close()
            stream.detach()

    def _co_secure(self, plain: socket.socket, context: ssl.SSLContext) -> Co[Stream]:
        import ssl

        from . import tls

        sock = tls.wrap(plain, context, self._route.server_hostname)
        try:
            while True:
                try:
                    sock.do_handshake()
                    break
                except (ssl.SSLWantReadError, ssl.SSLWantWriteError) as exc:
                    mask = POLLIN if isinstance(exc, ssl.SSLWantReadError) else POLLOUT
                yield from self._wait([sock], PollNeeded(sock.fileno(), mask))
            tls.check_protocol(sock)
        except BaseException:
            sock.close()
            raise
        self._activity.event("secured")
        return tls.TLSStream(sock, self._activity)
