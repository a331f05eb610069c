"""Connection setup: resolve the name, connect, open a tunnel, perform the TLS handshake.

Nothing here blocks; every wait is a `PollNeeded`. A coroutine that fails or is closed before the
end closes every socket that it has opened. `Dialer.co_dial` goes through these phases, which
`ConnectionTimedOut.phase` reports:

1. ``resolve``: the addresses of the host to connect to (`resolve.Lookup`), which is that of the
   proxy if there is one. Skipped for numeric addresses, Unix sockets and sockets that the caller
   passes. Before that, the addresses of the server, if a proxy is to be given an address
   (``socks5``).
2. ``connect``: the first address that answers (`race.Race`).
3. ``tls``: the handshake with an https proxy (`tls.co_secure_proxy`).
4. ``connect``: the proxy's tunnel.
5. ``tls``: the handshake with the server (`tls.co_secure`), if the route has a TLS context.

If a SOCKS proxy is given addresses and cannot connect to the first, phases 2 to 4 are repeated for
the next: a server has several addresses so that a client can use any of them, and the proxy may
have only one of IPv4 and IPv6.

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

from ..errors import AddressRefused, ConnectionClosed, ConnectionTimedOut, TunnelRefused
from ..protocol.authority import authority, tls_name
from ..protocol.proxy import Proxy
from ..protocol.request import NO_DEFAULTS, Defaults
from .fork import BY_FORK
from .monitor import Monitor
from .poll import POLLIN, Co, PollNeeded
from .race import Race, SocketOption, address_text, alternate, configure
from .resolve import AddressInfo, Lookup, numeric
from .stream import Attempt, Stream, shut_down

if TYPE_CHECKING:
    import ssl
    from ipaddress import IPv4Address, IPv6Address

    #: Waits for a `PollNeeded`. The sockets are those that end the wait when they are shut down.
    Wait: TypeAlias = Callable[[Iterable[socket.socket], PollNeeded], Co[None]]
    Allow: TypeAlias = Callable[[IPv4Address | IPv6Address], object]
    Resolve: TypeAlias = Callable[[str, int], list[AddressInfo]]
    CoSecure: TypeAlias = Callable[
        [socket.socket, ssl.SSLContext, str, Monitor, Wait, "Resumption | None"], Co[Stream]
    ]
    CoSecureProxy: TypeAlias = Callable[
        [socket.socket, ssl.SSLContext, str, Monitor, Wait], Co[Stream]
    ]
    #: Opens a tunnel to a host and port.
    CoTunnel: TypeAlias = Callable[[Stream, tuple[str, int]], Co[None]]


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
        proxy_context: the context for TLS with the proxy, ``None`` unless that is an https proxy.
        tunnel: host and port to which the proxy opens a tunnel, or ``None``.
        tunnel_fields: the caller's own fields for the CONNECT request.
        ssl_context: the context of a TLS connection, or ``None``.
        server_hostname: the server's name for TLS.
        authority: the server's name as in ``Host``.
        socket_options: arguments of `socket.socket.setsockopt`, for each socket.
        defaults: fields that every request has unless the caller sets them.
        resumption: the TLS session of earlier connections, ``None`` if none is resumed.
        allow: called with each `ipaddress` address of the server before anything connects to it.
            Only those for which it returns a true value are used. ``None`` for no such guard.
        resolve: called with host name and port in a helper thread, instead of asking the system.
            Returns addresses in the form of `socket.getaddrinfo`. ``None`` to ask the system.
    """

    __slots__ = (
        "_key", "address", "allow", "authority", "defaults", "proxy", "proxy_context", "resolve",
        "resumption", "server_hostname", "sock", "socket_options", "source_address", "ssl_context",
        "tunnel", "tunnel_fields", "unix_socket",
    )  # fmt: skip

    def __init__(
        self,
        address: tuple[str, int],
        *,
        unix_socket: str | bytes | None = None,
        sock: socket.socket | None = None,
        source_address: tuple[str, int] | None = None,
        proxy: Proxy | None = None,
        proxy_context: ssl.SSLContext | None = None,
        tunnel: tuple[str, int] | None = None,
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
        self.proxy_context = proxy_context
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
            self._key = (
                self.address,
                self.unix_socket,
                id(self.sock),
                self.source_address,
                None if self.proxy is None else self.proxy.key,
                id(self.proxy_context),
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

    @property
    def resolves_target(self) -> bool:
        """Whether the proxy is given an address of the server, instead of its name."""
        return self.tunnel is not None and self.proxy is not None and self.proxy.scheme == "socks5"


#: What a message says of an error that is not about the server.
IN_PROXY_TLS = ", in the TLS handshake with the proxy"


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
        self._secures_proxy = False

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
        if self._secures_proxy:  # the certificate, for example, is not the server's
            dialled += IN_PROXY_TLS
        return prefix + dialled

    @property
    def at_proxy(self) -> bool:
        """Whether there is a proxy that has not been passed yet."""
        return self._route.proxy is not None and (self._phase != "tls" or self._secures_proxy)

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
        try:
            self._check()  # a lookup that fails immediately must not hide the cancellation
            targets = yield from self._co_targets(route)
            addresses = [] if route.sock is not None else (yield from self._co_addresses(route))
            for target in targets:
                try:
                    return (yield from self._co_dial_once(route, addresses, target))
                except TunnelRefused as exc:
                    # Another address does not help if the credentials are wrong, and there is no
                    # other connection if the caller has passed the socket.
                    if target is targets[-1] or exc.status == 407 or route.sock is not None:
                        raise
            raise AssertionError("there is at least one target")
        except BaseException:
            if route.sock is not None:
                route.sock.close()
            raise

    def _co_targets(self, route: Route) -> Co[Sequence[tuple[str, int] | None]]:
        """Return the hosts and ports to request from a proxy, one after the other."""
        if route.tunnel is None or not route.resolves_target:
            return [route.tunnel]
        host, port = route.tunnel
        found = yield from self._co_resolve(host, port)
        if route.allow is not None:
            found = approved(found, host, route.allow)
        return [each[4][:2] for each in alternate(found)]

    def _co_addresses(self, route: Route) -> Co[list[AddressInfo]]:
        """Return the addresses to connect to."""
        if route.unix_socket is not None:
            return [(socket.AF_UNIX, socket.SOCK_STREAM, 0, "", route.unix_socket)]
        found = yield from self._co_resolve(*route.address)
        if route.allow is not None and route.proxy is None:
            found = approved(found, route.address[0], route.allow)
        self._monitor.event("resolved")
        return found

    def _co_dial_once(
        self, route: Route, addresses: list[AddressInfo], target: tuple[str, int] | None
    ) -> Co[Stream]:
        self._phase = "connect"
        sock = route.sock or (yield from self._co_connect_any(addresses))
        try:
            if sock is route.sock:
                sock.setblocking(False)
                configure(sock, route.socket_options)
            self._monitor.event("connected")
            stream = None
            if route.proxy is not None and route.proxy_context is not None:
                stream = yield from self._co_secure_proxy(sock, route.proxy, route.proxy_context)
                sock = stream.sock
            if target is not None and self._tunnel is not None:
                stream = stream or Stream(sock, self._monitor)
                yield from self._co_open_tunnel(stream, self._tunnel(stream, target))
                sock, stream = stream.detach(), None
            if route.ssl_context is not None:
                self._phase = "tls"
                return (yield from self._co_secure(sock, route.ssl_context))
            return stream or Stream(sock, self._monitor)
        except BaseException:
            sock.close()
            raise

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

    def _co_connect_any(self, addresses: list[AddressInfo]) -> Co[socket.socket]:
        self._monitor.event("connecting")
        options, clock = self._route.socket_options, self._monitor.clock
        unix_socket = self._route.unix_socket
        source_address = self._route.source_address if unix_socket is None else None
        race = self._race = Race(addresses, source_address, clock, options)
        try:
            while (sock := race.step()) is None:
                need = race.need()
                yield from self._wait(race.awaited, need)
            return sock
        finally:
            race.close()

    def _co_open_tunnel(self, stream: Stream, tunnel: Co[None]) -> Co[None]:
        try:
            need = next(tunnel)
            while True:
                try:
                    yield from self._wait([stream.sock], need)
                except ConnectionTimedOut as exc:
                    # A timeout may end only the body of a refusal. Then the tunnel goes on.
                    need = tunnel.throw(exc)
                else:
                    need = next(tunnel)
        except StopIteration:
            pass
        finally:
            tunnel.close()

    def _co_secure_proxy(
        self, plain: socket.socket, proxy: Proxy, context: ssl.SSLContext
    ) -> Co[Stream]:
        self._phase, self._secures_proxy = "tls", True
        host = tls_name(proxy.host)
        _, co_secure_proxy = load_tls()
        stream = yield from co_secure_proxy(plain, context, host, self._monitor, self._wait)
        self._phase, self._secures_proxy = "connect", False
        return stream

    def _co_secure(self, plain: socket.socket, context: ssl.SSLContext) -> Co[Stream]:
        co_secure, _ = load_tls()
        stream = yield from co_secure(
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
def load_tls() -> tuple[CoSecure, CoSecureProxy]:
    """Return the functions of `tls`. Imports it and ssl, which ``import dugong`` does not.

    A connection with an ssl_context calls this when it is created. It may be used while the
    interpreter shuts down, and imports fail then.
    """
    from .tls import co_secure, co_secure_proxy

    return co_secure, co_secure_proxy


@cache
def default_proxy_context() -> ssl.SSLContext:
    """Return the context for https proxies that is used unless the caller passes one.

    One for all, so that connections can be shared. It verifies the proxy and has no certificate.
    """
    import ssl

    return ssl.create_default_context()
