"""One request of a transport, up to the head of its response."""

from __future__ import annotations

import time
from collections.abc import Generator
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, TypeVar

from ...client.delay import co_delay
from ...client.retries import must_resend
from ...connection.leased import Leased
from ...errors import is_callers
from ...protocol.content import AsyncIterableContent
from .errors import is_retried
from .tracing import Stepwise, Tracing, retry

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ...pool.pool import BasePool
    from ...protocol.messages import HTTPResponse
    from ...transport.poll import Co
    from ...transport.timeouts import Timeouts
    from .library import Library
    from .settings import Destination
    from .tracing import Reports

C = TypeVar("C", bound=Leased)

#: The steps of a call. The result of a coroutine is sent back.
Steps: TypeAlias = Generator["Co[Any] | Reports", Any, "HTTPResponse"]

#: Seconds, from which the delays between attempts to connect grow, as in httpx.
_BACKOFF = 0.5


class TransportCall(Generic[C]):
    """One call of a transport.

    Args:
        library: the host library.
        pool: the pool.
        destination: where the request goes.
        request: the request of the host library.
        limits: the time limits.
        retries: how many times connecting is tried again.
        is_async: whether the driver can fetch an async iterable.

    Attributes:
        conn: the connection that is leased, on which the current step runs; ``None`` if there is
            none.
        pieces: the body, if it is an async iterable.
        trace: the callback for reports, ``None`` if there is none.
    """

    def __init__(
        self,
        library: Library,
        pool: BasePool[C],
        destination: Destination[C],
        request: Any,
        limits: float | Timeouts | None,
        retries: int,
        is_async: bool,
    ) -> None:
        self.library = library
        self.pool = pool
        self.request = request
        self.limits = limits
        self.conn: C | None = None
        self.pieces: AsyncIterableContent | None = None
        self.trace = request.extensions.get("trace")
        self._destination = destination
        self._delays = _delays(retries)
        self._is_async = is_async

    def steps(self) -> Steps:
        """Return the steps of the call. Their result is the head of the response."""
        pool, place = self.pool, self._destination.place
        self.conn = conn = pool.take_again(place)
        try:
            if conn is None:
                self.conn = conn = yield pool.co_lease(place)
                assert conn is not None
            conn.timeout = self.limits
            reused = conn.reused
            while True:
                try:
                    return (yield from self._exchange(conn))
                except Exception as exc:
                    if is_callers(exc):
                        raise
                    if must_resend(exc, reused=reused):
                        reused = False
                        continue
                    delay = next(self._delays, None) if is_retried(exc) else None
                    if delay is None:
                        raise
                if self.trace is not None:
                    yield retry()
                yield co_delay(delay, time.monotonic)
        except BaseException:
            self.release()
            raise

    def _exchange(self, conn: C) -> Steps:
        request = self.request
        fields, target = request.headers.raw, request.extensions.get("target")
        if target is None:
            target = request.url.raw_path
        elif not target.startswith((b"/", b"*")):
            # Host must be that of such a target (RFC 9112 section 3.2), but httpx takes it from the
            # URL. Without the field, it is taken from the target.
            fields = _without(fields, b"host")
        body = self._new_body()
        if not body or request.headers.get("content-length") == "0":
            fields = _without(fields, b"expect")  # nothing to ask for (RFC 9110 section 10.1.1)
        crt = conn.co_exchange(
            not self._is_async,
            request.method,
            target.decode("latin-1"),
            fields,
            body,
            None,
            None,
            self._destination.defaults,
        )
        if self.trace is None:
            head: HTTPResponse = yield crt
            return head
        return (yield from self._traced(conn, Stepwise(crt)))

    def _traced(self, conn: C, exchange: Stepwise[HTTPResponse]) -> Steps:
        timeout = self.request.extensions.get("timeout", {}).get("connect")
        tls = self._destination.tls
        tracing = Tracing(
            self.core_request(),
            {**self._destination.connecting, "timeout": timeout},
            None if tls is None else {**tls, "timeout": timeout},
        )
        conn.on_event = exchange.note
        try:
            yield tracing.begin(conn.connected)
            ended = False
            while not ended:
                try:
                    ended = yield exchange.co_next()
                except Exception:
                    yield self._reports(tracing, exchange.events())
                    raise
                yield self._reports(tracing, exchange.events())
            head = exchange.result
            reason = head.reason.encode("latin-1")
            yield tracing.response(version_of(head), head.status, reason, head.headers.raw())
            conn.on_event = None
        except Exception as exc:
            if not is_callers(exc):
                yield tracing.failure(exc)
            raise
        finally:
            exchange.close()
        return exchange.result

    def _reports(self, tracing: Tracing, events: list[str]) -> Reports:
        network_stream = self.library.network_stream(self, False)
        return [each for event in events for each in tracing.event(event, network_stream)]

    def core_request(self) -> Any:
        """Return the request in the form that traces get."""
        request, core = self.request, self.library.core
        url = request.url
        return core.Request(
            request.method,
            core.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
            headers=request.headers.raw,
            content=request.stream,
            extensions=request.extensions,
        )

    def _new_body(self) -> Any:
        """Return the body for one attempt."""
        stream, request = self.request.stream, self.request
        if isinstance(stream, self.library.body_of_bytes):
            data = b"".join(stream)
            # A request without a body has an empty one in httpx.
            return data if data or "transfer-encoding" in request.headers else None
        # An iterator, because the stream itself may be one that can be sent again, such as a file.
        # The stream knows that.
        if not self._is_async:
            return iter(stream)
        self.pieces = AsyncIterableContent(aiter(stream))
        return self.pieces

    def release(self) -> None:
        """End the lease."""
        conn, self.conn = self.conn, None
        if conn is not None:
            self.pool.release(conn)


def _delays(retries: int) -> Iterator[float]:
    """Yield the seconds to wait before each attempt to connect: 0, 0.5, 1, 2, …"""
    for number in range(retries):
        yield 0 if number == 0 else _BACKOFF * 2 ** (number - 1)


def _without(fields: list[tuple[bytes, bytes]], name: bytes) -> list[tuple[bytes, bytes]]:
    return [field for field in fields if field[0].lower() != name]


def version_of(head: HTTPResponse) -> bytes:
    """Return the protocol version of a response, in the form of httpx."""
    return b"HTTP/1.1" if head.version == "1.1" else b"HTTP/" + head.version.encode("ascii")
