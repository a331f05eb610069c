"""The settings of a connection, and what is derived from them: routes, and heads of requests."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from ..errors import InvalidRequest, StateError
from ..protocol.arguments import check_port, check_seconds, exactly_str
from ..protocol.authority import authority, check_address, check_host, tls_name
from ..protocol.exchange import Exchange
from ..protocol.limits import CONTINUE_TIMEOUT
from ..protocol.messages import HTTPResponse, Request
from ..protocol.proxy import Proxy, parse_proxy, tunnel_fields
from ..protocol.request import Defaults, prepare
from ..transport.arguments import (
    check_context,
    check_options,
    check_sock,
    check_source_address,
    check_unix_socket,
)
from ..transport.connect import Route, default_proxy_context, load_tls
from ..transport.stream import AT_ONCE, BRIEFLY
from ..transport.timeouts import Timeouts, check_timeout

if TYPE_CHECKING:
    import os
    import ssl
    from collections.abc import Iterable

    from ..protocol.messages import HeadersArgument
    from ..transport.connect import Allow, Resolve
    from ..transport.timeouts import Timeouts


HTTP_PORT = 80
HTTPS_PORT = 443


class ServerTraits:
    """What responses have shown about a server. It holds for all connections of one object to it.

    Attributes:
        is_http10: whether it has answered in HTTP/1.0, and so does not understand chunked bodies.
        knows_expect: whether it may be asked for a 100 (Continue). False once it has ignored or
            refused `Expect`.
        keeps_connections: whether an HTTP/1.1 response has left a connection open.
        pipelines: whether it answers requests that arrive together; ``None`` while unknown.
        short_lived: how many connections in a row ended after one response of several.
    """

    __slots__ = ("is_http10", "keeps_connections", "knows_expect", "pipelines", "short_lived")

    def __init__(self) -> None:
        self.is_http10 = False
        self.knows_expect = True
        self.keeps_connections = False
        self.pipelines: bool | None = None
        self.short_lived = 0

    def learn(self, response: HTTPResponse) -> None:
        """Note what *response* shows."""
        if response.version == "1.0":
            self.is_http10 = True
            self.knows_expect = False
        elif not self.keeps_connections:
            self.keeps_connections = not response.will_close


class Settings:
    """The arguments of `HTTPConnection`. Most of them are also attributes that can be set.

    This also keeps what previous responses have shown about the server. It applies to all
    connections of one object, one after another.
    """

    #: The guard and the resolver of the route (see `Route`), for connections of a pool, and the
    #: server's name for TLS if that is not the host name.
    _allow: Allow | None = None
    _resolve: Resolve | None = None
    _tls_name: str | None = None

    def __init__(
        self,
        hostname: str,
        port: int | None = None,
        ssl_context: ssl.SSLContext | None = None,
        proxy: str | tuple[str, int] | None = None,
        *,
        timeout: float | Timeouts | None = None,
        deadline: float | None = None,
        continue_timeout: float | None = CONTINUE_TIMEOUT,
        unix_socket: str | bytes | os.PathLike[str] | os.PathLike[bytes] | None = None,
        source_address: tuple[str, int] | None = None,
        address: tuple[str, int] | None = None,
        sock: socket.socket | None = None,
        proxy_headers: HeadersArgument | None = None,
        proxy_ssl_context: ssl.SSLContext | None = None,
        socket_options: Iterable[tuple[int, int, int | bytes]] = (),
    ) -> None:
        given = [name for name, value in (
            ("unix_socket", unix_socket), ("address", address), ("sock", sock)
        ) if value is not None]  # fmt: skip
        if len(given) > 1:
            raise InvalidRequest(f"only one of {' and '.join(given)} can be passed")
        self.hostname = hostname
        self.ssl_context = ssl_context
        if port is None:
            port = HTTPS_PORT if ssl_context is not None else HTTP_PORT
        self.port = port
        self.timeout = timeout
        self.deadline = deadline
        self.continue_timeout = continue_timeout
        self._unix_socket = None if unix_socket is None else check_unix_socket(unix_socket)
        self._source_address = (
            None if source_address is None else check_source_address(source_address)
        )
        self._address = None if address is None else check_address(address, "address")
        self._sock = None if sock is None else check_sock(sock)
        self._sock_given = sock is not None
        self._proxy_context = (
            None if proxy_ssl_context is None
            else check_context(proxy_ssl_context, "proxy_ssl_context")
        )  # fmt: skip
        self.proxy = proxy
        self._proxy_headers = tunnel_fields(proxy_headers)
        self._socket_options = check_options(socket_options)
        self._traits = ServerTraits()

    @property
    def hostname(self) -> str:
        """The server's name or address, in ASCII as in ``Host``."""
        return self._hostname

    @hostname.setter
    def hostname(self, hostname: str) -> None:
        self._hostname = check_host(hostname)

    @property
    def port(self) -> int:
        """The server's port."""
        return self._port

    @port.setter
    def port(self, port: int) -> None:
        self._port = check_port(port)

    @property
    def ssl_context(self) -> ssl.SSLContext | None:
        """The context for TLS connections, ``None`` for plain TCP."""
        return self._ssl_context

    @ssl_context.setter
    def ssl_context(self, context: ssl.SSLContext | None) -> None:
        self._ssl_context = None if context is None else check_context(context)
        if context is not None:
            load_tls()

    @property
    def proxy(self) -> str | tuple[str, int] | None:
        """The proxy, in the form in which it was passed."""
        return self._proxy_given

    @proxy.setter
    def proxy(self, proxy: str | tuple[str, int] | None) -> None:
        parsed = None if proxy is None else parse_proxy(proxy)
        if parsed is not None and (self._unix_socket is not None or self._address is not None):
            other = "unix_socket" if self._address is None else "address"
            raise InvalidRequest(f"{other} and proxy cannot be combined: pass only one of them")
        if parsed is not None and parsed.scheme == "https":
            load_tls()
            self._proxy_context = self._proxy_context or default_proxy_context()
        self._proxy: Proxy | None = parsed
        self._proxy_given = proxy

    @property
    def timeout(self) -> float | Timeouts | None:
        """Seconds that one wait without progress may take, a `Timeouts`, or ``None``."""
        return self._timeout

    @timeout.setter
    def timeout(self, timeout: float | Timeouts | None) -> None:
        self._timeout = timeout = check_timeout(timeout)
        limit = timeout.receive if isinstance(timeout, Timeouts) else timeout
        #: Blocking methods may wait in the receive if this hardly extends their limit.
        self._receive_flags = BRIEFLY if limit is None or limit >= 1 else AT_ONCE

    @property
    def deadline(self) -> float | None:
        """Seconds that one call may take; ``None`` for no limit."""
        return self._deadline

    @deadline.setter
    def deadline(self, seconds: float | None) -> None:
        self._deadline = check_seconds(seconds, "deadline")

    @property
    def continue_timeout(self) -> float | None:
        """Seconds that `request` waits for a 100 (Continue); ``None`` for no limit."""
        return self._continue_timeout

    @continue_timeout.setter
    def continue_timeout(self, seconds: float | None) -> None:
        self._continue_timeout = check_seconds(seconds, "continue_timeout")

    def _authority(self) -> str:
        usual = HTTP_PORT if self._ssl_context is None else HTTPS_PORT
        return authority(self._hostname, None if self._port == usual else self._port)

    def _route(self) -> Route:
        if self._sock_given and self._sock is None:
            raise StateError(
                "sock can be used for one connection only: make a new connection object"
            )
        proxy, hostname = self._proxy, self._hostname
        address = self._address or (hostname, self._port)
        tunnel = proxy_context = None
        if proxy is not None:
            address = (proxy.host, proxy.port)
            if self._ssl_context is not None or proxy.is_socks:
                tunnel = (hostname, self._port)
            if proxy.scheme == "https":
                proxy_context = self._proxy_context
        if self._allow is not None:
            check_guarded(self)
        host = self._authority()
        defaults = {
            "host": f"Host: {host}",
            "accept-encoding": "Accept-Encoding: identity",
            "connection": "Connection: keep-alive",
        }
        if proxy is not None and tunnel is None:
            defaults |= proxy.fields
        return Route(
            address,
            unix_socket=self._unix_socket,
            sock=self._sock,
            source_address=self._source_address,
            proxy=proxy,
            proxy_context=proxy_context,
            tunnel=tunnel,
            tunnel_fields=self._proxy_headers,
            ssl_context=self._ssl_context,
            server_hostname=tls_name(self._tls_name or hostname),
            authority=host,
            defaults=Defaults(defaults),
            socket_options=self._socket_options,
            allow=self._allow,
            resolve=self._resolve,
        )

    def _prepare(
        self,
        route: Route,
        request: Request,
        expect100: bool | None,
        defaults: Defaults | None = None,
    ) -> Exchange:
        target = None
        if route.proxy is not None and route.tunnel is None:
            target = self._target_for_proxy(route, request)
        exchange = prepare(
            request, expect100, defaults or route.defaults, target, self._traits.knows_expect
        )
        if exchange.chunked and self._traits.is_http10:
            if exchange.content is not None:
                exchange.content.finish()
            raise InvalidRequest(
                "the server speaks HTTP/1.0, which has no chunked bodies: announce the length"
            )
        return exchange

    def _target_for_proxy(self, route: Route, request: Request) -> str:
        """Return the request target for a proxy without a tunnel.

        An origin-form target becomes an absolute one (RFC 9112 section 3.2.2). ``OPTIONS *``
        becomes an absolute target with an empty path (RFC 9112 section 3.2.4).
        """
        path = exactly_str(request.path, "path")
        if path.startswith("/") and request.method != "CONNECT":
            return f"http://{route.authority}{path}"
        return f"http://{route.authority}" if (request.method, path) == ("OPTIONS", "*") else path


def check_guarded(settings: Settings) -> None:
    """Check that an address guard sees each address that a connection leads to.

    Raises:
        InvalidRequest: it cannot, because of the proxy or the Unix socket.
    """
    if settings._unix_socket is not None:
        raise InvalidRequest("allow and unix_socket cannot be combined: pass only one of them")
    if settings._proxy is not None and settings._proxy.scheme != "socks5":
        raise InvalidRequest(
            "allow cannot be combined with a proxy that resolves names itself: pass a proxy with "
            "the scheme socks5, or none"
        )
