"""Pools of urllib3 that use dugong. See the package's page."""

from __future__ import annotations

import io
import logging
import os
import ssl
import sys
import time
import warnings
from contextlib import suppress
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, PoolManager
from urllib3.exceptions import (
    EmptyPoolError,
    HostChangedError,
    InsecureRequestWarning,
    InvalidHeader,
    LocationParseError,
    MaxRetryError,
)
from urllib3.util import SKIP_HEADER, Retry, Timeout, parse_url
from urllib3.util.proxy import connection_requires_http_tunnel
from urllib3.util.request import set_file_position

from ...client.retries import must_resend
from ...errors import ConnectionClosed, InvalidRequest, is_callers
from ...pool.origin import Origin
from ...pool.place import ConnectionSettings, Place
from ...pool.pool import Pool
from ...protocol.content import is_replayable
from ...transport.poll import run
from ...transport.timeouts import Timeouts
from ...transport.within import UNSET, ExchangeLimits
from .bodies import sendable
from .errors import translate
from .response import Response
from .tls import context_for, context_for_proxy, given_settings, settings_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ...connection.leased import LeasedHTTPConnection
    from ...protocol.messages import HTTPResponse as Head
    from ...protocol.request import Defaults

#: Applications that configure the logging of urllib3 expect its messages there.
_log = logging.getLogger("urllib3.connectionpool")

#: Ends a request with the exception that an exhausted `Retry` raises.
_NO_MORE = Retry(0, read=False)

#: Fields that are added unless they are left out.
_ADDED = frozenset({"accept-encoding", "expect"})

#: Characters that may be in a request target: visible ASCII. All others are quoted.
_VISIBLE = "".join(map(chr, range(0x21, 0x7F)))


class HTTPPool(HTTPConnectionPool):
    """Connections to one host. See `urllib3.HTTPConnectionPool`, which has the same arguments.

    Attributes:
        deadline: seconds for each request, from waiting for a connection to the last byte of the
            body, with all retries; ``None`` for no limit.
    """

    def __init__(self, *args: Any, deadline: float | None = None, **options: Any) -> None:
        super().__init__(*args, **options)
        self.deadline = deadline
        kept = self.pool.maxsize if self.pool is not None else 0
        self._connections = Pool(
            max_connections=(kept or None) if self.block else None,
            per_host=None,
            max_idle=kept or None,
        )
        self._is_closed = False
        self._places: dict[Any, tuple[Place[LeasedHTTPConnection], Defaults, bool]] = {}
        try:
            self._origin = Origin(self.scheme, self.host.strip("[]"), self.port)
        except InvalidRequest as exc:
            raise LocationParseError(f"{self.host!r}, {exc}") from exc

    # Connections.

    def close(self) -> None:
        """Close the idle connections. Those in use are closed when they are no longer needed."""
        self._is_closed = True
        self._connections.close_idle()
        super().close()

    def give_back(self, conn: LeasedHTTPConnection) -> None:
        """End the lease of a connection. Never waits."""
        self._connections.release(conn)
        if self._is_closed:
            self._connections.close_idle()

    def _find_place(self, *, tunnel: bool) -> tuple[Place[LeasedHTTPConnection], Defaults, bool]:
        """Return where to get connections, the fields to add, and whether TLS verifies nothing."""
        key = (tunnel, self._tls_settings())
        found = self._places.get(key)
        if found is None:
            options = {"source_address": self.conn_kw.get("source_address")}
            origin = self._origin
            if tunnel:
                options |= self._proxy_settings()
            elif self.proxy is not None:
                origin = _origin_of(self.proxy)
            context = self._tls_context(origin, tunnel=tunnel)
            settings = ConnectionSettings(
                ssl_context=context,
                socket_options=self.conn_kw.get("socket_options") or (),
                **{name: value for name, value in options.items() if value is not None},
            )
            place = self._connections.place_of(origin, settings)
            # http.client adds no such field.
            defaults = place.blueprint.route.defaults.changed({}, ("connection",))
            is_open = context is not None and context.verify_mode == ssl.CERT_NONE
            found = self._places.setdefault(key, (place, defaults, is_open))
        return found

    @property
    def socks_proxy(self) -> str | None:
        """The URL of a SOCKS proxy, ``None`` without one. urllib3 passes it in parts."""
        options = dict(self.conn_kw.get("_socks_options") or {})
        return options.get("url")

    def _proxy_settings(self) -> dict[str, Any]:
        if self.socks_proxy is not None:
            return {"proxy": self.socks_proxy}
        proxy = self.proxy
        assert proxy is not None
        settings = {
            "proxy": f"{proxy.scheme}://{proxy.host}:{proxy.port}",
            "proxy_headers": dict(self.proxy_headers),
        }
        if proxy.scheme == "https":
            settings["proxy_ssl_context"] = self._proxy_context(self)
        return settings

    def _tls_settings(self) -> Any:
        return None

    def _tls_context(self, origin: Origin, *, tunnel: bool) -> Any:
        return None

    def _proxy_context(self, settings: Any) -> Any:
        given = self.proxy_config and self.proxy_config.ssl_context
        return given or context_for_proxy(settings)

    # Requests.

    def urlopen(  # type: ignore[override]
        self,
        method: str,
        url: str,
        body: Any = None,
        headers: Mapping[str, Any] | None = None,
        retries: Retry | bool | int | None = None,
        redirect: bool = True,
        assert_same_host: bool = True,
        timeout: Any = Timeout.DEFAULT_TIMEOUT,
        pool_timeout: float | None = None,
        release_conn: bool | None = None,
        chunked: bool = False,
        body_pos: Any = None,
        **options: Any,
    ) -> Response:
        """Send a request. See `urllib3.HTTPConnectionPool.urlopen`.

        Args:
            method, url, body, headers: the request.
            retries: decides about retries.
            redirect: ignored, a redirect is returned.
            assert_same_host: whether to refuse an absolute *url* of another host.
            timeout: replaces the time limits of the pool.
            pool_timeout: seconds to wait for a connection.
            release_conn: ignored, a connection is released with the last byte of the body.
            chunked: whether to send the body in chunks.
            body_pos: where a body that is a file begins.
            options: arguments of `urllib3.HTTPResponse`.
        """
        if not isinstance(retries, Retry):
            retries = Retry.from_int(retries, redirect=False, default=self.retries)
        if assert_same_host and not self.is_same_host(url):
            raise HostChangedError(self, url, retries)
        call = _Call(self, method, url, sendable(body), timeout, pool_timeout)
        call.prepare(self.headers if headers is None else headers, chunked=chunked)
        while True:
            body_pos = set_file_position(body, body_pos)
            try:
                conn, head = call.exchange()
            except Exception as exc:
                error = (
                    None if is_callers(exc) else translate(exc, self, url, forwards=call.forwards)
                )
                if error is None:
                    raise
                if isinstance(error, (EmptyPoolError, InvalidHeader)):
                    raise error from exc
                if retries.total is not False and not call.can_resend(exc):
                    retries = _NO_MORE
                stack = sys.exc_info()[2]
                retries = retries.increment(method, url, error=error, _pool=self, _stacktrace=stack)
                if not call.has_time(retries.get_backoff_time()):
                    _NO_MORE.increment(method, url, error=error, _pool=self, _stacktrace=stack)
                _log.warning(
                    "Retrying (%r) after connection broken by '%r': %s", retries, error, url
                )
                retries.sleep()
                continue
            response = Response(conn, self, head, url, retries=retries, **options)
            again = call.after(response, retries)
            if again is None:
                return response
            retries = again

    def __str__(self) -> str:
        return f"{self.scheme.upper()}ConnectionPool(host={self.host!r}, port={self.port!r})"

    def __reduce_ex__(self, protocol: object) -> Any:
        # Exceptions refer to their pool, and they have to be picklable.
        return partial(type(self), self.host, self.port), ()


class HTTPSPool(HTTPPool, HTTPSConnectionPool):
    """The same for https."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        # requests passes its argument *verify* in this form, and then sets the attributes. For an
        # http URL through an https proxy, it sets them to verify nothing.
        self._given = given_settings(self)

    def _tls_settings(self) -> Any:
        return settings_of(self)

    def _tls_context(self, origin: Origin, *, tunnel: bool) -> Any:
        if self.proxy is None or tunnel:
            return context_for(self)
        if origin.scheme == "http":  # a proxy that forwards https
            return None
        return self._proxy_context(self._given)


class _Call:
    """One call of `HTTPPool.urlopen`.

    Args:
        pool: the pool.
        method, url, body: the request.
        timeout, pool_timeout: those of `urlopen`.
    """

    def __init__(
        self, pool: HTTPPool, method: str, url: str, body: Any, timeout: Any, pool_timeout: Any
    ) -> None:
        self._pool = pool
        self._method = method
        self._url = url if url.isascii() and url.isprintable() else quote(url, _VISIBLE)
        self._body = body
        if timeout is Timeout.DEFAULT_TIMEOUT:
            timeout = pool.timeout
        self._timeout = timeout if isinstance(timeout, Timeout) else Timeout.from_float(timeout)
        self._pool_timeout = pool_timeout
        deadline = pool.deadline
        self._end = None if deadline is None else time.monotonic() + deadline
        self._fields: list[tuple[Any, Any]] = []
        self._tunnel = False
        #: Whether a proxy forwards the request.
        self.forwards = False

    def prepare(self, headers: Mapping[str, Any], *, chunked: bool) -> None:
        """Collect the fields of the request."""
        pool, body = self._pool, self._body
        pairs = list(headers.items())
        if pool.socks_proxy is not None:
            self._tunnel = True
        elif pool.proxy is not None:
            scheme = None if self._url.startswith("/") else parse_url(self._url).scheme
            self._tunnel = connection_requires_http_tunnel(pool.proxy, pool.proxy_config, scheme)
            self.forwards = not self._tunnel
            if self.forwards:
                for_proxy = pool.proxy_headers
                given = {name.lower() for name in for_proxy}
                pairs = [pair for pair in pairs if _low(pair[0]) not in given]
                pairs += for_proxy.items()
        values = {_low(name): value for name, value in pairs}
        left_out = {name for name, value in values.items() if value == SKIP_HEADER}
        length = values.get("content-length")
        if body is None or length in ("0", b"0") or body == b"":
            left_out.add("expect")  # there is nothing to ask for (RFC 9110 section 10.1.1)
        if length is not None and _is_whole_file(body, length):
            # A file that dugong measures is sent by sendfile, and can be sent again.
            left_out.add("content-length")
        elif length is None and chunked and "transfer-encoding" not in values and body is not None:
            pairs.append(("Transfer-Encoding", "chunked"))
        self._fields = [pair for pair in pairs if _low(pair[0]) not in left_out]
        self._fields += [(name, None) for name in left_out & _ADDED]

    def exchange(self) -> tuple[LeasedHTTPConnection, Head]:
        """Perform one exchange up to the head of the response."""
        pool = self._pool
        place, defaults, is_open = pool._find_place(tunnel=self._tunnel)
        if is_open:
            warnings.warn(
                f"Unverified HTTPS request is being made to host {pool.host!r}. Adding certificate "
                "verification is strongly advised. See: "
                "https://urllib3.readthedocs.io/en/latest/advanced-usage.html#tls-warnings",
                InsecureRequestWarning,
                stacklevel=4,
            )
        timeout = self._timeout.clone()
        timeout.start_connect()
        connect = Timeout.resolve_default_timeout(timeout.connect_timeout)
        conn = self._lease(place)
        try:
            limits = None
            if self._end is not None:
                limits = ExchangeLimits(conn.monitor, pool.deadline, UNSET, self._end)
                limits.check("connect")
            if timeout.total is not None and timeout.total is not Timeout.DEFAULT_TIMEOUT:
                conn.timeout = _timeouts(connect, connect)
                connecting = conn.co_connect()
                conn.run(connecting if limits is None else limits.co_keep(connecting))
            conn.timeout = _timeouts(connect, timeout.read_timeout)
            head = self._send(conn, limits, defaults)
        except BaseException:
            pool.give_back(conn)
            raise
        if _log.isEnabledFor(logging.DEBUG):
            _log.debug(
                '%s://%s:%s "%s %s HTTP/1.1" %s %s',
                pool.scheme, pool.host, pool.port, self._method, self._url, head.status,
                head.length,
            )  # fmt: skip
        return conn, head

    def _lease(self, place: Place[LeasedHTTPConnection]) -> LeasedHTTPConnection:
        connections = self._pool._connections
        conn = connections.take_again(place)
        if conn is None:
            left = None if self._end is None else max(0.0, self._end - time.monotonic())
            limit = Timeouts(pool=self._pool_timeout, connect=None, send=None, receive=None)
            conn = run(connections.co_lease(place), limit, left, None)
        return conn

    def _send(
        self, conn: LeasedHTTPConnection, limits: ExchangeLimits | None, defaults: Defaults
    ) -> Head:
        reused = conn.connected
        while True:
            exchange = conn.co_exchange(
                limits is None,
                self._method,
                self._url,
                self._fields,
                self._body,
                None,
                limits,
                defaults,
            )
            try:
                return conn.run(exchange)
            except ConnectionClosed as exc:
                if is_callers(exc) or not must_resend(exc, reused=reused):
                    raise
            reused = False

    def can_resend(self, exc: BaseException) -> bool:
        """Return whether the body can be sent again after an error.

        An iterable cannot if any of it was sent.
        """
        return is_replayable(self._body) or getattr(exc, "safe_to_retry", False) is True

    def after(self, response: Response, retries: Retry) -> Retry | None:
        """Prepare to send the request again after a response; ``None`` if that is the result."""
        after = response.headers.get("Retry-After")
        if not retries.is_retry(self._method, response.status, bool(after)):
            return None
        if not is_replayable(self._body):
            return None
        try:
            retries = retries.increment(
                self._method, self._url, response=response, _pool=self._pool
            )
            seconds = None
            if after is not None and retries.respect_retry_after_header:
                seconds = retries.get_retry_after(response)
        except (MaxRetryError, InvalidHeader) as exc:
            if isinstance(exc, MaxRetryError) and not retries.raise_on_status:
                return None
            response.drain_conn()
            raise
        if not self.has_time(seconds or retries.get_backoff_time()):
            return None
        response.drain_conn()
        retries.sleep(response)
        return retries

    def has_time(self, seconds: float) -> bool:
        """Return whether the deadline has not passed in *seconds*: no longer delay is begun."""
        return self._end is None or time.monotonic() + seconds < self._end


def adopt(manager: PoolManager, deadline: float | None = None) -> None:
    """Make *manager* use dugong.

    Args:
        manager: the manager, which has no pools yet.
        deadline: that of its pools.
    """
    manager.pool_classes_by_scheme = {
        "http": partial(HTTPPool, deadline=deadline),  # type: ignore[dict-item]
        "https": partial(HTTPSPool, deadline=deadline),  # type: ignore[dict-item]
    }
    # Otherwise the pools that it forgets would be closed by the garbage collector.
    manager.pools.dispose_func = _close


def _close(pool: HTTPConnectionPool) -> None:
    pool.close()


@lru_cache(maxsize=64)
def _timeouts(connect: float | None, read: float | None) -> Timeouts:
    return Timeouts(pool=None, connect=connect, send=read, receive=read)


def _origin_of(proxy: Any) -> Origin:
    return Origin(proxy.scheme, proxy.host.strip("[]"), proxy.port)


def _low(name: str | bytes) -> str:
    return name.decode("latin-1").lower() if isinstance(name, bytes) else name.lower()


def _is_whole_file(body: Any, length: Any) -> bool:
    """Return whether *body* is a file that has *length* bytes from its position to its end."""
    if not isinstance(body, (io.FileIO, io.BufferedReader, io.BufferedRandom)):
        return False
    with suppress(OSError, ValueError):
        return os.fstat(body.fileno()).st_size - body.tell() == int(length)
    return False
