"""dugong below aiobotocore, in asyncio.

::

    config = AioConfig(http_session_cls=AsyncDugongSession)
    async with get_session().create_client("s3", config=config) as client:
        ...

`AsyncDugongSession` takes the place of `aiobotocore.httpsession.AIOHTTPSession`, with the arguments
of its constructor. aiobotocore reads responses as it reads those of aiohttp, so `RawResponse` and
`Content` have those methods of `aiohttp.ClientResponse` and `aiohttp.StreamReader` that read a
body, and raise aiohttp's exceptions.

In trio, use `dugong.adapters.httpx2.AsyncDugongTransport` below aiobotocore's `HttpxSession`
(docs/adapters/botocore.md shows how).
"""

from __future__ import annotations

import asyncio
import ssl
from typing import TYPE_CHECKING, Any, Self

try:
    import aiohttp
    from aiobotocore.awsrequest import AioAWSResponse
    from botocore import exceptions as theirs
    from botocore.httpsession import (
        DEFAULT_TIMEOUT,
        MAX_POOL_CONNECTIONS,
        ProxyConfiguration,
        get_cert_path,
        mask_proxy_url,
    )
except ImportError as exc:
    raise ImportError(
        "AsyncDugongSession needs aiobotocore: pip install 'dugong[aiobotocore]'"
    ) from exc

from ..client.retries import must_resend
from ..drivers.loops import run_in_loop
from ..errors import (
    ConnectionClosed,
    ConnectionTimedOut,
    DNSUnavailable,
    HostnameNotResolvable,
    InvalidResponse,
    UnsupportedResponse,
    is_callers,
)
from ..pool.aio import AsyncPool
from ..pool.origin import split_origin
from ..pool.place import ConnectionSettings
from ..protocol.content import AsyncIterableContent
from ..transport.timeouts import Timeouts

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from ..connection.leased_aio import LeasedAsyncHTTPConnection
    from ..protocol.messages import HTTPResponse as Head

__all__ = ["AsyncDugongSession"]

#: Seconds that an idle connection is kept, as in aiobotocore.
_KEEPALIVE_TIMEOUT = 12

#: Bytes of one piece of a body.
_PIECE_SIZE = 128 * 1024

#: What is supported of `proxies_config`.
_FOR_PROXY = frozenset({"proxy_ca_bundle", "proxy_client_cert"})

#: Arguments of aiohttp's connector that concern its cache of addresses, which dugong has not.
_IGNORED = frozenset({"use_dns_cache", "ttl_dns_cache"})


class AsyncDugongSession:
    """An HTTP session for aiobotocore that uses dugong.

    Args:
        verify: ``True``, ``False``, or the path of a file of authorities.
        proxies: URLs of proxies by scheme.
        timeout: seconds, or a pair for connecting and reading.
        max_pool_connections: the limit for connections, in use and idle. A request waits until one
            is free.
        socket_options: for each socket.
        client_cert: the path of a certificate with its key, or a pair of paths.
        proxies_config: ``proxy_ca_bundle`` and ``proxy_client_cert`` for TLS with the proxy, as for
            botocore.
        connector_args: of aiohttp's connector: ``keepalive_timeout``, ``force_close`` and
            ``ssl_context``. Those about its cache of addresses are ignored.

    Raises:
        ValueError: *connector_args* or *proxies_config* has something else.
    """

    def __init__(
        self,
        verify: bool | str = True,
        proxies: Mapping[str, str] | None = None,
        timeout: Any = None,
        max_pool_connections: int = MAX_POOL_CONNECTIONS,
        socket_options: Any = None,
        client_cert: Any = None,
        proxies_config: Any = None,
        connector_args: Mapping[str, Any] | None = None,
    ) -> None:
        self._verify = verify
        self._proxies = ProxyConfiguration(proxies=proxies, proxies_settings=proxies_config)
        self._for_proxy = {name: value for name, value in (proxies_config or {}).items() if value}
        if unknown := self._for_proxy.keys() - _FOR_PROXY:
            raise ValueError(f"proxies_config is not supported here: {', '.join(sorted(unknown))}")
        if timeout is None:
            timeout = DEFAULT_TIMEOUT
        self._connect, self._read = (
            timeout if isinstance(timeout, (list, tuple)) else (timeout, timeout)
        )
        self._socket_options = socket_options or ()
        self._cert = (client_cert,) if isinstance(client_cert, str) else client_cert
        options = dict(connector_args or {})
        keeps = not options.pop("force_close", False)
        self._context: ssl.SSLContext | None = options.pop("ssl_context", None)
        self._pool = AsyncPool(
            max_connections=max_pool_connections or None,
            per_host=None,
            max_idle=None if keeps else 0,
            idle_timeout=options.pop("keepalive_timeout", _KEEPALIVE_TIMEOUT),
        )
        if unknown := options.keys() - _IGNORED:
            raise ValueError(f"connector_args are not supported here: {', '.join(sorted(unknown))}")
        self._settings: dict[Any, ConnectionSettings] = {}
        self._proxy_context: ssl.SSLContext | None = None
        self._making_contexts = asyncio.Lock()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close all connections. May be called again."""
        self._pool.close()

    async def send(self, request: Any) -> AioAWSResponse:
        """Send a request of botocore.

        Args:
            request: a `botocore.awsrequest.AWSPreparedRequest`.

        Raises:
            botocore.exceptions.HTTPClientError: a subclass for what has failed.
        """
        proxy = self._proxies.proxy_url_for(request.url)
        try:
            response = await self._send(request, proxy)
            if not request.stream_output:
                await response.content  # which keeps it
        except Exception as exc:
            raise _translated(exc, request, proxy) from exc
        return response

    async def _send(self, request: Any, proxy: str | None) -> AioAWSResponse:
        origin, _, _ = split_origin(request.url, "url")
        settings = await self._settings_for(proxy, is_secure=origin.scheme == "https")
        pool = self._pool
        pool.enter_loop()
        place = pool.place_of(origin, settings)
        conn = pool.take_again(place)
        if conn is None:
            no_limit = Timeouts(pool=None, connect=None, send=None, receive=None)
            conn = await run_in_loop(pool.co_lease(place), no_limit)
        try:
            read = (getattr(request, "context", None) or {}).get("read_timeout", self._read)
            conn.timeout = Timeouts(pool=None, connect=self._connect, send=read, receive=read)
            head = await _exchange(conn, request)
        except BaseException:
            pool.release(conn)
            raise
        headers = {
            name.decode("latin-1").lower(): value.decode("utf-8", "surrogateescape")
            for name, value in head.headers.raw()
        }
        raw = RawResponse(pool, conn, request.url, head.status, headers)
        return AioAWSResponse(request.url, head.status, headers, raw)

    async def _settings_for(self, proxy: str | None, *, is_secure: bool) -> ConnectionSettings:
        key = proxy, is_secure
        if key not in self._settings:
            secures_proxy = proxy is not None and proxy.lower().startswith("https:")
            async with self._making_contexts:  # they read files, which takes a while
                if is_secure and self._context is None:
                    self._context = await asyncio.to_thread(self._make_context)
                if secures_proxy and self._proxy_context is None:
                    self._proxy_context = await asyncio.to_thread(self._make_proxy_context)
            settings = ConnectionSettings(
                ssl_context=self._context if is_secure else None,
                proxy=proxy,
                proxy_ssl_context=self._proxy_context if secures_proxy else None,
                socket_options=self._socket_options,
            )
            self._settings.setdefault(key, settings)
        return self._settings[key]

    def _make_context(self) -> ssl.SSLContext:
        context = self._make_verifying_context()
        if self._cert:
            context.load_cert_chain(*self._cert)
        return context

    def _make_proxy_context(self) -> ssl.SSLContext:
        """Make the context for TLS with a proxy, which never has the client's certificate."""
        context = self._make_verifying_context()
        authorities, cert = map(self._for_proxy.get, ("proxy_ca_bundle", "proxy_client_cert"))
        try:
            if authorities:
                context.load_verify_locations(authorities)
            if cert:
                context.load_cert_chain(*([cert] if isinstance(cert, str) else cert))
        except OSError as exc:  # ssl.SSLError is one
            raise theirs.InvalidProxiesConfigError(error=exc) from exc
        return context

    def _make_verifying_context(self) -> ssl.SSLContext:
        context = ssl.create_default_context(
            cafile=get_cert_path(self._verify) if self._verify else None
        )
        if not self._verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        context.set_alpn_protocols(["http/1.1"])
        return context


async def _exchange(conn: LeasedAsyncHTTPConnection, request: Any) -> Head:
    """Perform the exchange up to the head of the response."""
    body, fields = request.body, dict(request.headers.items())
    lower = {name.lower(): name for name in fields}
    if "expect" in lower and not _has_body(body, fields.get(lower.get("content-length", ""))):
        del fields[lower["expect"]]  # with nothing to ask for (RFC 9110 section 10.1.1)
    if isinstance(body, str):
        body = body.encode()
    pieces: Any = AsyncIterableContent(body) if hasattr(type(body), "__aiter__") else None
    _, _, target = split_origin(request.url, "url")
    target = target.partition("#")[0]
    if not target.startswith("/"):
        target = f"/{target}"
    reused = conn.connected
    while True:
        exchange = conn.co_exchange(
            False, request.method, target, list(fields.items()), pieces or body, None, None, None
        )
        try:
            return await conn.run(exchange, pieces)
        except ConnectionClosed as exc:
            if pieces is not None or is_callers(exc) or not must_resend(exc, reused=reused):
                raise
        reused = False


def _has_body(body: Any, length: Any) -> bool:
    return body is not None and body != b"" and length not in ("0", b"0")


def _translated(exc: Exception, request: Any, proxy: str | None) -> Exception:
    """Return botocore's exception for *exc*."""
    where: dict[str, Any] = {"endpoint_url": request.url, "error": exc}
    connecting = getattr(exc, "while_connecting", False)
    kind: type[Exception] = theirs.HTTPClientError
    match exc:
        case _ if is_callers(exc):
            where = {"error": exc}
        case _ if connecting and getattr(exc, "at_proxy", False):
            kind = theirs.ProxyConnectionError
        case ssl.SSLError():
            kind = theirs.SSLError
        case ConnectionTimedOut():
            kind = theirs.ConnectTimeoutError if connecting else theirs.ReadTimeoutError
        case HostnameNotResolvable() | DNSUnavailable():
            kind = theirs.EndpointConnectionError
        case (ConnectionClosed() | InvalidResponse() | UnsupportedResponse()
              | aiohttp.ClientPayloadError()):  # fmt: skip
            where["request"] = request
            kind = theirs.ConnectionClosedError
        case OSError() if connecting:
            kind = theirs.EndpointConnectionError
        case _:
            where = {"error": exc}
    if kind is theirs.ProxyConnectionError:
        where = {"proxy_url": mask_proxy_url(proxy), "error": exc}
    return kind(**where)


class RawResponse:
    """The part of `aiohttp.ClientResponse` that aiobotocore uses.

    Attributes:
        url: the URL of the request, a `str`.
        status: the status code.
        headers: the fields, with names in lower case.
        content: the body.
    """

    def __init__(
        self,
        pool: AsyncPool,
        conn: LeasedAsyncHTTPConnection,
        url: str,
        status: int,
        headers: dict[str, str],
    ) -> None:
        self.url = url
        self.status = status
        self.headers = headers
        self.content = Content(pool, conn)
        self._data: bytes | None = None

    async def read(self) -> bytes:
        """Return the whole body, and keep it."""
        if self._data is None:
            self._data = await self.content.read()
        return self._data

    def close(self) -> None:
        """End the response. Its connection is closed unless the body was read to its end."""
        self.content.end()

    def release(self) -> None:
        """Do the same as `close`."""
        self.close()


class Content:
    """The part of `aiohttp.StreamReader` that reads bodies.

    All reading methods raise `TimeoutError` if no data have arrived in time, and
    `aiohttp.ClientPayloadError` if the body is incomplete.
    """

    def __init__(self, pool: AsyncPool, conn: LeasedAsyncHTTPConnection) -> None:
        self._pool = pool
        self._conn: LeasedAsyncHTTPConnection | None = conn
        self._failed = False
        self._after_reading(conn)

    def at_eof(self) -> bool:
        """Return whether the body has been read to its end, or closed."""
        return self._conn is None

    async def read(self, n: int = -1) -> bytes:
        """Return at most *n* bytes, as they arrive; all that follow if *n* is negative."""
        conn = self._conn
        if self._failed:
            raise aiohttp.ClientPayloadError("an earlier read has failed")
        if conn is None:
            return b""
        try:
            data = await (conn.readall() if n < 0 else conn.read(n))
        except BaseException as exc:
            self._failed = True
            self.end()
            if isinstance(exc, (ConnectionClosed, InvalidResponse)):
                message = f"Response payload is not completed: {exc}"
                raise aiohttp.ClientPayloadError(message) from exc
            raise
        self._after_reading(conn)
        return data

    async def readany(self) -> bytes:
        """Return what has arrived."""
        return await self.read(_PIECE_SIZE)

    async def iter_chunked(self, n: int) -> AsyncIterator[bytes]:
        """Yield pieces of at most *n* bytes."""
        while data := await self.read(n):
            yield data

    async def iter_any(self) -> AsyncIterator[bytes]:
        """Yield pieces as they arrive."""
        while data := await self.read(_PIECE_SIZE):
            yield data

    async def iter_chunks(self) -> AsyncIterator[tuple[bytes, bool]]:
        """Yield pieces as they arrive, and whether each ends a chunk, which is not known here."""
        async for data in self.iter_any():
            yield data, True

    def _after_reading(self, conn: LeasedAsyncHTTPConnection) -> None:
        if not conn.response_pending():
            self.end()

    def end(self) -> None:
        """End the lease of the connection. May be called again."""
        conn, self._conn = self._conn, None
        if conn is not None:
            self._pool.release(conn)
