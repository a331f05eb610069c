"""The transports, and the bodies of their responses."""

from __future__ import annotations

import inspect
import ssl
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Self, TypeVar

from ...connection.leased import Leased, LeasedHTTPConnection
from ...connection.leased_aio import LeasedAsyncHTTPConnection
from ...drivers.loops import run_in_loop
from ...errors import is_callers, mark_as_callers
from ...pool.aio import AsyncPool
from ...pool.pool import BasePool, Pool
from ...protocol.limits import RECEIVE_SIZE
from ...transport.poll import run
from . import tracing
from .call import TransportCall, version_of
from .settings import TransportSettings

if TYPE_CHECKING:
    from types import TracebackType

    from ...protocol.messages import HTTPResponse
    from ...transport.poll import Co
    from .library import Library
    from .tracing import Reports

C = TypeVar("C", bound=Leased)
P = TypeVar("P", Pool, AsyncPool)


class BaseBody(Generic[C]):
    """The body of a response, and the lease of its connection.

    Args:
        call: the call, whose lease this takes over.
        head: the head of the response.

    Attributes:
        network_stream: the network stream of the response.
    """

    def __init__(self, call: TransportCall[C], head: HTTPResponse) -> None:
        self._call = call
        self._is_traced = call.trace is not None  # and the end has not been reported yet
        status, method = head.status, head.method
        self._switched = status == 101 or (method == "CONNECT" and 200 <= status < 300)
        self.network_stream = call.library.network_stream(call, self._switched)
        if head.length == 0 and not self._switched:
            call.release()

    def _reports(self, reports: Reports) -> Reports:
        """Return the last reports, those for the end of the body; no reports the second time."""
        is_traced, self._is_traced = self._is_traced, False
        return reports if is_traced else []

    def _end(self) -> Reports:
        """End the lease. Returns what to report."""
        self._call.release()
        return self._reports(tracing.CLOSED)

    def _fail(self, exc: Exception) -> Reports:
        """End the lease because of *exc*. Returns what to report."""
        self._call.release()
        return [] if is_callers(exc) else self._reports(tracing.not_read(exc))


class BlockingBody(BaseBody[LeasedHTTPConnection]):
    """For blocking transports."""

    def __iter__(self) -> Iterator[bytes]:
        call = self._call
        try:
            if self._is_traced:
                report(call.trace, tracing.reading(call.core_request()))
            while (conn := call.conn) is not None and not self._switched:
                piece = conn.read(RECEIVE_SIZE)
                if not piece or not conn.response_pending():
                    call.release()
                if piece:
                    yield piece
            if self._is_traced:
                report(call.trace, self._reports(tracing.read()))
        except Exception as exc:
            report(call.trace, self._fail(exc))
            call.library.reraise(exc, call.request)
        except BaseException:  # the caller has closed the iterator
            self.close()
            raise

    def close(self) -> None:
        """End the lease. A connection with an unread rest is closed."""
        report(self._call.trace, self._end())


class AwaitedBody(BaseBody[LeasedAsyncHTTPConnection]):
    """For async transports."""

    async def __aiter__(self) -> AsyncIterator[bytes]:
        call = self._call
        try:
            if self._is_traced:
                await report_async(call.trace, tracing.reading(call.core_request()))
            while (conn := call.conn) is not None and not self._switched:
                piece = await conn.read(RECEIVE_SIZE)
                if not piece or not conn.response_pending():
                    call.release()
                if piece:
                    yield piece
            if self._is_traced:
                await report_async(call.trace, self._reports(tracing.read()))
        except Exception as exc:
            await report_async(call.trace, self._fail(exc))
            call.library.reraise(exc, call.request)
        except BaseException:  # cancelled, or closed by the caller: nothing can be awaited
            self._end()
            raise

    async def aclose(self) -> None:
        """End the lease. A connection with an unread rest is closed."""
        await report_async(self._call.trace, self._end())


def report(trace: Any, reports: Reports) -> None:
    """Call a callback for each of *reports*. Its exceptions pass through unchanged."""
    for name, info in reports:
        try:
            if inspect.isawaitable(result := trace(name, info)):
                if inspect.iscoroutine(result):
                    result.close()
                raise TypeError(
                    "the trace of a blocking client must be a plain function, not async"
                )
        except Exception as exc:
            mark_as_callers(exc)
            raise


async def report_async(trace: Any, reports: Reports) -> None:
    """Await a callback for each of *reports*. Its exceptions pass through unchanged."""
    for name, info in reports:
        try:
            result = trace(name, info)
            if not inspect.isawaitable(result):
                raise TypeError("the trace of an async client must be an async function")
            await result
        except Exception as exc:
            mark_as_callers(exc)
            raise


class BaseTransport(Generic[P, C]):
    """The common part of the transports.

    The constructor has the arguments of ``httpx.HTTPTransport``.

    Args:
        verify: True, False, or an `ssl.SSLContext`.
        cert: the client's certificate, as in httpx.
        trust_env: whether SSL_CERT_FILE and SSL_CERT_DIR count.
        http1: True. There is no other protocol.
        http2: False.
        limits: the limits for connections, an ``httpx.Limits``. The default is that of httpx.
        proxy: a proxy, an ``httpx.Proxy`` or a URL.
        uds: the path of a Unix socket to connect to.
        local_address: the local address to connect from.
        retries: how many times connecting is tried again. Nothing else is.
        socket_options: arguments of `socket.socket.setsockopt`.

    Raises:
        TypeError, InvalidRequest: an argument is not valid. `InvalidRequest` is a `ValueError`.
    """

    _library: ClassVar[Library]
    _pool_kind: ClassVar[Callable[..., Any]]
    _is_async: ClassVar[bool]

    def __init__(
        self,
        verify: ssl.SSLContext | str | bool = True,
        cert: str | tuple[str, str] | tuple[str, str, str] | None = None,
        trust_env: bool = True,
        http1: bool = True,
        http2: bool = False,
        limits: Any = None,
        proxy: Any = None,
        uds: str | None = None,
        local_address: str | None = None,
        retries: int = 0,
        socket_options: Iterable[Any] | None = None,
    ) -> None:
        self._settings: TransportSettings[C] = TransportSettings(
            self._library,
            verify=verify,
            cert=cert,
            trust_env=trust_env,
            http1=http1,
            http2=http2,
            limits=limits,
            proxy=proxy,
            uds=uds,
            local_address=local_address,
            retries=retries,
            socket_options=socket_options,
        )
        self._pool: P = self._new_pool()

    def _new_pool(self) -> Any:
        return self._pool_kind(**self._settings.for_pool)

    def _call(self, request: Any) -> TransportCall[C]:
        settings = self._settings
        pool: BasePool[C] = self._pool  # type: ignore[assignment]
        destination = settings.destination(self._library, request, pool)
        timeouts = request.extensions.get("timeout") or {}
        return TransportCall(
            self._library,
            pool,
            destination,
            request,
            settings.limits(timeouts),
            settings.retries,
            self._is_async,
        )

    def _respond(self, call: TransportCall[C], head: HTTPResponse) -> Any:
        body = self._library.body(call, head)
        return self._library.host.Response(
            status_code=head.status,
            headers=head.headers.raw(),
            stream=body,
            extensions={
                "http_version": version_of(head),
                "reason_phrase": head.reason.encode("latin-1"),
                "network_stream": body.network_stream,
            },
        )

    def _close(self) -> None:
        """Close all connections. As in httpx, a transport can be used again after that."""
        pool, self._pool = self._pool, self._new_pool()
        pool.close()


class BlockingTransport(BaseTransport[Pool, LeasedHTTPConnection]):
    """For blocking clients. Thread-safe."""

    _pool_kind = Pool
    _is_async = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc_value: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections."""
        self._close()

    def handle_request(self, request: Any) -> Any:
        """Send a request, and return the response with its head complete."""
        try:
            call = self._call(request)
            return self._respond(call, self._perform(call))
        except Exception as exc:
            self._library.reraise(exc, request)

    def _perform(self, call: TransportCall[LeasedHTTPConnection]) -> HTTPResponse:
        steps = call.steps()
        try:
            step = next(steps)
            while True:
                result = None
                try:
                    if isinstance(step, list):
                        report(call.trace, step)
                    else:
                        result = self._run(call, step)
                except BaseException as exc:
                    step = steps.throw(exc)
                else:
                    step = steps.send(result)
        except StopIteration as stop:
            head: HTTPResponse = stop.value
            return head
        finally:
            steps.close()

    def _run(self, call: TransportCall[LeasedHTTPConnection], crt: Co[Any]) -> Any:
        conn = call.conn
        return run(crt, call.limits, None, None) if conn is None else conn.run(crt)


class AwaitedTransport(BaseTransport[AsyncPool, LeasedAsyncHTTPConnection]):
    """For async clients, in asyncio and trio."""

    _pool_kind = AsyncPool
    _is_async = True

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc_value: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        self._close()

    async def aclose(self) -> None:
        """Close all connections."""
        self._close()

    async def handle_async_request(self, request: Any) -> Any:
        """Send a request, and return the response with its head complete."""
        try:
            call = self._call(request)
            self._pool.enter_loop()
            try:
                head = await self._perform(call)
                await _close(call)
            except GeneratorExit:  # the event loop is gone
                raise
            except BaseException:
                call.release()
                await _close(call)
                raise
            return self._respond(call, head)
        except Exception as exc:
            self._library.reraise(exc, request)

    async def _perform(self, call: TransportCall[LeasedAsyncHTTPConnection]) -> HTTPResponse:
        steps = call.steps()
        try:
            step = next(steps)
            while True:
                result = None
                try:
                    if isinstance(step, list):
                        await report_async(call.trace, step)
                    else:
                        result = await self._run(call, step)
                except GeneratorExit:  # the event loop is gone
                    raise
                except BaseException as exc:
                    step = steps.throw(exc)
                else:
                    step = steps.send(result)
        except StopIteration as stop:
            head: HTTPResponse = stop.value
            return head
        finally:
            steps.close()

    async def _run(self, call: TransportCall[LeasedAsyncHTTPConnection], crt: Co[Any]) -> Any:
        conn = call.conn
        if conn is None:
            return await run_in_loop(crt, call.limits)
        return await conn.run(crt)


async def _close(call: TransportCall[Any]) -> None:
    """Close the body of a request if it is an async iterable, whether or not it was used."""
    if call.pieces is not None:
        await call.pieces.aclose()
