"""Connection setup: resolve the name, connect, open a tunnel, perform the TLS handshake.

Nothing here blocks; every wait is a `PollNeeded`. A coroutine that fails or is closed before the
end closes every socket that it has opened. `Dialer.co_dial` goes through these phases, which
`ConnectionTimedOut.phase` reports:

1. ``resolve``: the addresses of the host (`resolve.Lookup`). Skipped for numeric addresses, Unix
   sockets and sockets that the caller passes.
2. ``connect``: the first address that answers (`race.Race`), and the proxy's tunnel, if any.
3. ``tls``: the handshake (`tls.co_secure`), if the route has a TLS context.

Another thread may cancel a dialer at any time (`Dialer.cancel`). It cannot end the wait directly,
because that may happen in any driver. So `Dialer._wait` publishes the sockets that it waits for,
and `cancel` shuts them down. The wait ends, and `_wait` finds that the dialer was cancelled.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from threading import RLock
from typing import TYPE_CHECKING, Any, TypeAlias

from ..errors import AddressRefused, ConnectionClosed, ConnectionTimedOut
from ..protocol.authority import authority
from ..protocol.proxy import Proxy
from ..protocol.request import NO_DEFAULTS, Defaults
from .fork import BY_FORK
from .monitor import Monitor
from .poll import POLLIN, Co, PollNeeded
from .race import Race, SocketOption, address_text, configure
from .resolve import AddressInfo, Lookup, numeric
from .stream import Attempt, Stream, shut_down

if TYPE_CHECKING:
    import ssl
    from ipaddress import IPv4Address, IPv6Address

    #: Waits for a `PollNeeded`. The sockets are those that end the wait when they are shut down.
    Wait: TypeAlias = Callable[[Iterable[socket.socket], PollNeeded], Co[None]]
    Allow: TypeAlias = Callable[[IPv4Address | IPv6Address], object]
    Resolve: TypeAlias = Callable[[str, int], list[AddressInfo]]
    CoTunnel: TypeAlias = Callable[[Stream], Co[None]]
    CoSecure: TypeAlias = Callable[
        [socket.socket, ssl.SSLContext, str, Monitor, Wait, "Resumption | None"], Co[Stream]
    ]


class Resumption:
    """The TLS session that the next connection of a route resumes.

    Attributes:
        session: an `ssl.SSLSession`, ``None`` if there is none.
    """

    __slots__ = ("session",)

    def __init__(self) -> None:
        self.session: ssl.SSLSession | None = None


class Route:
    """How to connect to a server.

    Attributes:
        address: host and port to connect to, those of the proxy if there is one; unused with
            `unix_socket` or `sock`.
        unix_socket: path of a Unix socket to connect to instead, or ``None``.
        sock: a connected socket to take over instead, or ``None``.
        source_address: host and port to connect from, or ``None``.
        proxy: the proxy at `address`, or ``None``.
        tunnel: ``host:port`` to which the proxy opens a tunnel, or ``None``.
        tunnel_fields: the caller's own fields for the CONNECT request.
        ssl_context: the context of a TLS connection, or ``None``.
        server_hostname: the server's name for TLS.
        authority: the server's name as in ``Host``.
        socket_options: arguments of `socket.socket.setsockopt`, for each socket.
        defaults: fields that every request has unless the caller sets them.
        resumption: the TLS session of earlier connections, ``None`` if none is resumed.
        allow: called with each `ipaddress` address before anything connects to it. Only those for
            which it returns a true value are used. ``None`` for no such guard.
        resolve: called with host name and port in a helper thread, instead of asking the system.
            Returns addresses in the form of `socket.getaddrinfo`. ``None`` to ask the system.
    """

    __slots__ = (
        "_key", "address", "allow", "authority", "defaults", "proxy", "resolve", "resumption",
        "server_hostname", "sock", "socket_options", "source_address", "ssl_context", "tunnel",
        "tunnel_fields", "unix_socket",
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
        tunnel_fields: Sequence[tuple[str, str | int]] = (),
        ssl_context: ssl.SSLContext | None = None,
        server_hostname: str = "",
        authority: str = "",
        defaults: Defaults = NO_DEFAULTS,
        socket_options: Sequence[SocketOption] = (),
        allow: Allow | None = None,
        resolve: Resolve | None = None,
    ) -> None:
        self.address = address
        self.unix_socket = unix_socket
        self.sock = sock
        self.source_address = source_address
        self.proxy = proxy
        self.tunnel = tunnel
        self.tunnel_fields = tunnel_fields
        self.ssl_context = ssl_context
        self.server_hostname = server_hostname
        self.authority = authority
        self.defaults = defaults
        self.socket_options = socket_options
        self.allow = allow
        self.resolve = resolve
        self.resumption: Resumption | None = None
        self._key: tuple[Any, ...] | None = None

    @property
    def key(self) -> tuple[Any, ...]:
        """Equal for two routes if a connection made for one may be used for the other.

        Objects without a value of their own, such as a TLS context, are the same only if they are
        identical. Whatever has a key also refers to the route, so these objects exist as long as
        the key does, and no other object can have the same identity.
        """
        if self._key is None:
            proxy = self.proxy
            self._key = (
                self.address,
                self.unix_socket,
                id(self.sock),
                self.source_address,
                None if proxy is None else (proxy.host, proxy.port, proxy.authorization),
                self.tunnel,
                tuple(self.tunnel_fields),
                id(self.ssl_context),
                self.server_hostname,
                self.authority,
                tuple(self.socket_options),
                id(self.allow),
                id(self.resolve),
            )
        return self._key


class Dialer:
    """Makes one connection. Another thread can cancel it.

    Args:
        route: how to connect.
        monitor: receives the events `resolved`, `connecting`, `connected` and `secured`.
        tunnel: opens a tunnel on a connection to the route's proxy; unused without a tunnel.
    """

    def __init__(self, route: Route, monitor: Monitor, tunnel: CoTunnel | None = None) -> None:
        self._route = route
        self._monitor = monitor
        self._tunnel = tunnel
        self._cancelled = False
        self._cancelled_by = "by disconnect()"
        self._waiting_for: tuple[socket.socket, ...] = ()
        self._lock = RLock()
        self._race: Race | None = None
        self._phase = "resolve"

    @property
    def where(self) -> str:
        """The destination, for messages: the server, any proxy, and the address."""
        route = self._route
        dialled, prefix = route.authority, ""
        if route.proxy is not None:
            prefix = f"{route.authority} through the proxy "
            dialled = authority(route.proxy.host, route.proxy.port)
        if self._race is not None and self._race.address is not None:
            address = address_text(self._race.address)
            dialled = address if address.startswith(dialled) else f"{dialled} at {address}"
            if route.source_address is not None and route.unix_socket is None:
                dialled += " from {}:{}".format(*route.source_address)
        return prefix + dialled

    @property
    def address(self) -> Any:
        """The remote address of the latest socket, in the form that `socket` uses, or ``None``."""
        race = self._race
        return None if race is None or race.address is None else race.address[4]

    def cancel(self) -> None:
        """Cancel: `co_dial` raises `ConnectionClosed`. May be called in any thread, at any time.

        The lock keeps the dialer from closing a socket that this is about to shut down. This
        never waits for it, because it may run in a signal handler or a finalizer. If the lock is
        taken, the dialer has just stopped waiting and checks `_cancelled` next, or another thread
        is cancelling it.
        """
        # First, so that a dialer that begins to wait after this does not miss it.
        self._cancelled = True
        with Attempt(self._lock) as taken:
            if taken:
                try:
                    for sock in self._waiting_for:
                        shut_down(sock)  # ends the wait; the dialer closes the socket
                finally:
                    self._lock.release()

    def disown(self) -> None:
        """Close all descriptors, in a child made by fork. Cancels the dialer."""
        self._cancelled_by = BY_FORK
        self._cancelled = True
        self._lock = RLock()
        for sock in self._waiting_for:
            sock.close()  # ends a wait in the thread that called fork()
        self._waiting_for = ()
        if self._race is not None:
            self._race.close()

    def _wait(self, socks: Iterable[socket.socket], need: PollNeeded) -> Co[None]:
        """Wait for *need*. Shutting down any of *socks* ends the wait.

        Raises:
            ConnectionClosed: the dialer was cancelled, before the wait or during it.
            ConnectionTimedOut: thrown by the driver.
        """
        # Publish first, check second: `cancel` sets its mark first and looks at the sockets
        # second, so one of them sees the other.
        self._waiting_for = tuple(socks)
        need.phase = self._phase
        try:
            self._check()
            yield need
        except ConnectionTimedOut as exc:
            exc.phase = exc.phase or self._phase
            raise
        finally:
            # After this, `cancel` shuts none of the sockets down, so they may be closed.
            with self._lock:
                self._waiting_for = ()
        self._check()

    def _check(self) -> None:
        if self._cancelled:
            raise ConnectionClosed(f"the connection was closed {self._cancelled_by}")

    def co_dial(self) -> Co[Stream]:
        """Connect, and return the stream. If this raises, every socket is closed.

        Raises:
            HostnameNotResolvable, DNSUnavailable: the lookup found no address.
            AddressRefused: the route's guard approved none of them.
            TunnelRefused, InvalidResponse: the proxy did not open the tunnel.
            ConnectionClosed: the connection ended, or the dialer was cancelled.
            UnsupportedResponse: the server chose a protocol other than HTTP/1.1 by ALPN.
            OSError: connecting or the TLS handshake failed.
        """
        route = self._route
        sock = route.sock
        if sock is None:
            sock = yield from self._co_open(route)
        else:
            sock.setblocking(False)
            self._phase = "connect"
        try:
            if route.sock is not None:
                configure(sock, route.socket_options)
            self._monitor.event("connected")
            if route.tunnel is not None and self._tunnel is not None:
                yield from self._co_open_tunnel(sock, self._tunnel)
            if route.ssl_context is None:
                return Stream(sock, self._monitor)
            self._phase = "tls"
            return (yield from self._co_secure(sock, route.ssl_context))
        except BaseException:
            sock.close()
            raise

    def _co_open(self, route: Route) -> Co[socket.socket]:
        self._check()  # a lookup that fails immediately must not hide the cancellation
        if route.unix_socket is not None:
            address = (socket.AF_UNIX, socket.SOCK_STREAM, 0, "", route.unix_socket)
            return (yield from self._co_connect_any([address], None))
        addresses = yield from self._co_resolve(*route.address)
        if route.allow is not None:
            addresses = approved(addresses, route.address[0], route.allow)
        self._monitor.event("resolved")
        return (yield from self._co_connect_any(addresses, route.source_address))

    def _co_resolve(self, host: str, port: int) -> Co[list[AddressInfo]]:
        addresses = numeric(host, port)
        if addresses is not None:
            return addresses
        lookup = Lookup(host, port, self._route.resolve)
        try:
            while (addresses := lookup.result()) is None:
                yield from self._wait([lookup.sock], PollNeeded(lookup.sock.fileno(), POLLIN))
        finally:
            lookup.close()
        return addresses

    def _co_connect_any(
        self, addresses: list[AddressInfo], source_address: tuple[str, int] | None
    ) -> Co[socket.socket]:
        self._phase = "connect"
        self._monitor.event("connecting")
        options, clock = self._route.socket_options, self._monitor.clock
        race = self._race = Race(addresses, source_address, clock, options)
        try:
            while (sock := race.step()) is None:
                need = race.need()
                yield from self._wait(race.awaited, need)
            return sock
        finally:
            race.close()

    def _co_open_tunnel(self, sock: socket.socket, co_tunnel: CoTunnel) -> Co[None]:
        stream = Stream(sock, self._monitor)
        tunnel = co_tunnel(stream)
        try:
            need = next(tunnel)
            while True:
                try:
                    yield from self._wait([sock], need)
                except ConnectionTimedOut as exc:
                    # A timeout may end only the body of a refusal. Then the tunnel goes on.
                    need = tunnel.throw(exc)
                else:
                    need = next(tunnel)
        except StopIteration:
            pass
        finally:
            tunnel.close()
            stream.detach()

    def _co_secure(self, plain: socket.socket, context: ssl.SSLContext) -> Co[Stream]:
        stream = yield from load_tls()(
            plain,
            context,
            self._route.server_hostname,
            self._monitor,
            self._wait,
            self._route.resumption,
        )
        self._monitor.event("secured")
        return stream


def approved(addresses: list[AddressInfo], host: str, allow: Allow) -> list[AddressInfo]:
    """Return those of *addresses* that *allow* approves. Exceptions that it raises pass through.

    Raises:
        AddressRefused: there are none.
    """
    from ipaddress import ip_address  # imported only with a guard

    found = [each for each in addresses if allow(ip_address(each[4][0].partition("%")[0]))]
    if not found:
        raise AddressRefused(host, tuple(dict.fromkeys(each[4][0] for each in addresses)))
    return found


@cache
def load_tls() -> CoSecure:
    """Return `tls.co_secure`. Imports that module and ssl, which ``import dugong`` does not.

    A connection with an ssl_context calls this when it is created. It may be used while the
    interpreter shuts down, and imports fail then.
    """
    from .tls import co_secure

    return co_secure
