"""The arguments of a transport, and what follows from them for each server."""

from __future__ import annotations

import ssl
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, TypeVar
from urllib.parse import quote

from ...connection.leased import Leased
from ...errors import InvalidRequest
from ...pool.origin import Origin
from ...pool.place import ConnectionSettings
from ...protocol.arguments import check_size
from ...transport.timeouts import Timeouts

if TYPE_CHECKING:
    from ...pool.place import Place
    from ...pool.pool import BasePool
    from ...protocol.request import Defaults
    from .library import Library

    SocketOption: TypeAlias = tuple[int, int, int | bytes]

C = TypeVar("C", bound=Leased)

#: Servers for which a transport keeps what it has computed.
_REMEMBERED = 256

#: httpx's own default limits.
_MAX_CONNECTIONS = 100
_MAX_KEEPALIVE = 20

#: The schemes of URLs. Those of WebSocket connections begin with a request of HTTP.
_SCHEMES = {b"http": "http", b"https": "https", b"ws": "http", b"wss": "https"}

_PORTS = range(1, 65536)

#: Fields that our connections add to a request. httpx decides whether a request has them.
_NOT_OURS = ("accept-encoding", "connection")


class Destination(Generic[C]):
    """A server, and what all requests to it have in common.

    Attributes:
        place: the pool's place.
        defaults: the fields to add to a request that does not have them.
        connecting, tls: what the ``trace`` extension reports (see `tracing`), but for the timeout.
    """

    __slots__ = ("connecting", "defaults", "place", "tls")

    def __init__(
        self,
        place: Place[C],
        defaults: Defaults,
        connecting: dict[str, Any],
        tls: dict[str, Any] | None,
    ) -> None:
        self.place = place
        self.defaults = defaults
        self.connecting = connecting
        self.tls = tls


class TransportSettings(Generic[C]):
    """The arguments of a transport, checked.

    Args:
        library: the host library.

    The other arguments are those of the transport.

    Attributes:
        for_pool: arguments of the pool.
        retries: how many times connecting is tried again.

    Raises:
        TypeError, InvalidRequest: an argument is not valid.
    """

    def __init__(
        self,
        library: Library,
        *,
        verify: Any,
        cert: Any,
        trust_env: bool,
        http1: bool,
        http2: bool,
        limits: Any,
        proxy: Any,
        uds: str | None,
        local_address: str | None,
        retries: int,
        socket_options: Iterable[Any] | None,
    ) -> None:
        if http2 or not http1:
            given = "http2=True" if http2 else "http1=False"
            raise InvalidRequest(f"{given} is not possible: this transport speaks HTTP/1.1 only")
        self.retries = check_size(retries, "retries")
        limits = limits or library.host.Limits(
            max_connections=_MAX_CONNECTIONS, max_keepalive_connections=_MAX_KEEPALIVE
        )
        self.for_pool: dict[str, Any] = {
            "max_connections": limits.max_connections,
            "per_host": None,
            "max_idle": limits.max_keepalive_connections,
            "idle_timeout": limits.keepalive_expiry,
        }
        context: ssl.SSLContext = library.host.create_ssl_context(
            verify=verify, cert=cert, trust_env=trust_env
        )
        context.set_alpn_protocols(["http/1.1"])  # as httpx does
        self._arguments: dict[str, Any] = {
            "ssl_context": context,
            "unix_socket": uds,
            "source_address": None if local_address is None else (local_address, 0),
            "socket_options": tuple(socket_options or ()),
        }
        self._proxy_lines: dict[str, str] = {}
        if proxy is not None:
            self._use_proxy(library, proxy)
        self._connecting: dict[str, Any] = {"path": uds} if uds is not None else {}
        if uds is None:
            self._connecting["local_address"] = local_address
        self._connecting["socket_options"] = socket_options
        self._usual = ConnectionSettings(**self._arguments)
        self._by_sni: dict[str, ConnectionSettings] = {}
        self._destinations: dict[tuple[Any, ...], Destination[C]] = {}
        self._last_limits: tuple[tuple[Any, ...], float | Timeouts | None] = ((), None)

    def _use_proxy(self, library: Library, proxy: Any) -> None:
        host = library.host
        if isinstance(proxy, (str, host.URL)):
            proxy = host.Proxy(url=proxy)
        url, credentials = proxy.url, ""
        if proxy.raw_auth is not None:
            credentials = ":".join(quote(part, safe="") for part in proxy.raw_auth) + "@"
        netloc = url.netloc.decode("ascii")
        # httpx has a SOCKS proxy look names up, by either scheme.
        scheme = "socks5h" if url.scheme == "socks5" else url.scheme
        self._arguments["proxy"] = f"{scheme}://{credentials}{netloc}"
        fields = [(name.decode("latin-1"), value.decode("latin-1"))
                  for name, value in proxy.headers.raw]  # fmt: skip
        if fields and scheme != "socks5h":
            self._arguments["proxy_headers"] = fields
            self._proxy_lines = {name.lower(): f"{name}: {value}" for name, value in fields}
        if proxy.ssl_context is not None:
            self._arguments["proxy_ssl_context"] = proxy.ssl_context

    def destination(self, library: Library, request: Any, pool: BasePool[C]) -> Destination[C]:
        """Return the destination of a request.

        Raises:
            UnsupportedProtocol: of the host library: the URL has another scheme.
            ConnectError: of the host library: the URL has an impossible port.
            InvalidRequest: the URL has no valid host, or the name for TLS is not valid.
        """
        url = request.url
        sni = request.extensions.get("sni_hostname")
        key = (url.raw_scheme, url.raw_host, url.port, sni)
        found = self._destinations.get(key)
        if found is None:
            scheme = _SCHEMES.get(url.raw_scheme)
            if scheme is None:
                raise _unsupported(library, request)
            if url.port is not None and url.port not in _PORTS:
                text = f"the port must be a number from 1 to 65535, not {url.port}"
                raise library.host.ConnectError(text, request=request)
            origin = Origin(scheme, url.raw_host.decode("ascii"), url.port)
            found = self._new_destination(origin, sni, pool)
            if len(self._destinations) >= _REMEMBERED:
                self._destinations.clear()
            self._destinations[key] = found
        return found

    def _new_destination(self, origin: Origin, sni: Any, pool: BasePool[C]) -> Destination[C]:
        settings = self._usual
        if sni:
            name = sni.decode("ascii") if isinstance(sni, bytes) else sni
            if len(self._by_sni) >= _REMEMBERED:
                self._by_sni.clear()
            # The same object each time, for connections to be used again.
            settings = self._by_sni.setdefault(
                name, ConnectionSettings(tls_name=name, **self._arguments)
            )
        place = pool.place_of(origin, settings)
        route = place.blueprint.route
        forwards = route.proxy is not None and route.tunnel is None
        defaults = route.defaults.changed(self._proxy_lines if forwards else {}, _NOT_OURS)
        connecting = self._connecting
        if "path" not in connecting:
            host, port = route.address
            connecting = {"host": host, "port": port, **connecting}
        tls = None
        if route.ssl_context is not None:
            tls = {"ssl_context": route.ssl_context, "server_hostname": route.server_hostname}
        return Destination(place, defaults, connecting, tls)

    def limits(self, given: Mapping[str, float | None]) -> float | Timeouts | None:
        """Return the time limits for the ``timeout`` extension *given*."""
        get = given.get
        each = (get("pool"), get("connect"), get("write"), get("read"))
        last, limits = self._last_limits
        if each != last:
            pool, connect, send, receive = each
            # One number for all is simpler to keep than four limits.
            limits = pool
            if not pool == connect == send == receive:
                limits = Timeouts(pool=pool, connect=connect, send=send, receive=receive)
            self._last_limits = each, limits
        return limits


def _unsupported(library: Library, request: Any) -> Exception:
    scheme = request.url.scheme
    text = "Request URL is missing an 'http://' or 'https://' protocol."
    if scheme:
        text = f"Request URL has an unsupported protocol '{scheme}://'."
    error: Exception = library.host.UnsupportedProtocol(text, request=request)
    return error
