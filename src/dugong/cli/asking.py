"""Checking whether one server has the documents behind a list of URLs.

Theory of operation
===================

1. *HEAD, then GET.* URLs are requested by HEAD in a pipeline. Some servers refuse HEAD with an
   arbitrary status, or do not answer it. So a HEAD that fails is followed by a GET, whose result
   counts. GET requests have their own pipeline, which is shorter because bodies follow. If the
   results of HEAD and GET differ, all later requests to this server are GET requests, unless one
   of the statuses may be temporary.
2. *Failing connections.* If a connection fails, the cause is assumed to be the oldest request. It
   is repeated alone and by GET, up to `--retries` times. Then the other requests continue. If that
   helps for two consecutive URLs for which HEAD failed, later requests are GET requests, too.
3. *Verdicts.* A server is not asked again for a while if connecting to it fails for good. The same
   holds if two consecutive URLs have failed, and the server does not answer a request for ``/``
   either.
4. *Surplus bodies.* Some servers send a body in response to HEAD. The next response then seems to
   be invalid. So that request is repeated once, and such a server gets one request at a time.
5. *Busy servers.* After a 429 or 503, the server gets no requests for the time in Retry-After, or
   for `--retry-delay`, unless such a pause has not helped before. The last attempt is a GET.
"""

from __future__ import annotations

import argparse
import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from functools import cache
from time import monotonic
from typing import TYPE_CHECKING, NamedTuple

from ..connection.aio import AsyncHTTPConnection
from ..errors import DugongError, InvalidRequest, InvalidResponse, UnsupportedResponse
from ..protocol.messages import HTTPResponse, Request
from .arguments import Document
from .judging import Outcome, Result, judged, kind_of_trouble
from .refusals import retry_after
from .servers import authority, is_temporary, retry_context, tls_context, why

if TYPE_CHECKING:
    import ssl

#: The maximum number of requests in flight. GET has fewer, because a long body ends the connection.
_DEPTHS = {"HEAD": 64, "GET": 8}

#: The lower limit to which pauses reduce the number of requests in flight.
_LEAST_DEPTH = 4

#: Bytes of a body that are read to keep the connection. If a body is longer, the connection is
#: closed.
_MOST_SKIPPED = 256 * 1024

#: Seconds for which a server that does not answer is not asked again.
VERDICT_HOLDS = 300.0

#: The longest pause for a busy server, in seconds.
_LONGEST_PAUSE = 60.0

#: Statuses of busy servers.
_BUSY = frozenset({429, 503})

#: Results that need no confirmation by GET.
_BELIEVED = frozenset({Outcome.OK, Outcome.REDIRECTED})

#: The number of consecutive failures after which we test whether the server answers at all.
_DOUBTFUL = 2

#: The exceptions by which a request can fail.
_ERRORS = (DugongError, OSError)

#: The exceptions after which the server has answered, though not properly.
_ANSWERED = (InvalidResponse, UnsupportedResponse)


class Address(NamedTuple):
    """A server. One connection can serve all documents with the same address."""

    tls: bool
    host: str
    port: int


def address(document: Document) -> Address:
    """Return the address of the server of a document."""
    return Address(document.tls, document.host, document.port or (443 if document.tls else 80))


def connection(address: Address, args: argparse.Namespace) -> AsyncHTTPConnection:
    """Return a connection by the route in *args* (`add_route`)."""
    return AsyncHTTPConnection(
        address.host,
        address.port,
        _tls_context() if address.tls else None,
        args.proxy,
        timeout=args.timeout,
        unix_socket=args.unix_socket,
    )


@cache
def _tls_context() -> ssl.SSLContext:
    """Return the TLS context for all connections. Cached, because loading authorities is slow."""
    return tls_context()


class Item(Request):
    """A URL to be checked.

    Attributes:
        url: the URL as given.
        tries: how many times the server was too busy for it.
        refused: the status with which HEAD failed, ``None`` if it has not failed.
    """

    __slots__ = ("refused", "tries", "url")

    def __init__(self, url: str, target: str, fields: list[tuple[str, str]]) -> None:
        super().__init__("HEAD", target, fields)
        self.url = url
        self.tries = 0
        self.refused: int | None = None


class Verdict(NamedTuple):
    """The result for all URLs of a server that does not answer, valid until a point in time."""

    result: Outcome
    message: str
    until: float


class Server:
    """A server, and its URLs to be checked.

    Args:
        address: the address of the server.
        args: the arguments of the command.
        finish: called with each result.

    Attributes:
        waiting: the URLs to be checked.
        has_turn: whether the server is queued for a turn or has one. Only used by `Checker`.
    """

    def __init__(
        self, address: Address, args: argparse.Namespace, finish: Callable[[Result], None]
    ) -> None:
        self.waiting: deque[Item] = deque()
        self.has_turn = False
        self._address = address
        self._args = args
        self._finish = finish
        self._conn: AsyncHTTPConnection | None = None
        self._asked: deque[Item] = deque()  # URLs in the pipeline
        self._again: deque[Item] = deque()  # URLs that have been answered and need another request
        self._method = "HEAD"
        self._mended = 0  # consecutive URLs without an answer to HEAD, but with one to GET
        self._depth = _DEPTHS["HEAD"]
        self._pause = 0.0
        self._stays_busy = False
        self._failures = 0  # consecutive URLs that failed
        self._verdict: Verdict | None = None

    async def ask(self, is_over: Callable[[], bool]) -> None:
        """Check URLs until none is waiting or the turn is over, but at least one."""
        while self.waiting:
            if self._verdict is not None:
                self._condemn(self._verdict)
                continue
            if self._pause:
                pause, self._pause = self._pause, 0.0
                await asyncio.sleep(pause)
            try:
                await self._ask_together(is_over)
            except _ERRORS as exc:
                await self._ask_alone(exc)
            if is_over():
                return

    def disconnect(self) -> None:
        """Close and forget the connection, with what it has learned about the server."""
        if self._conn is not None:
            self._conn.disconnect()
            self._conn = None

    # Asking.

    def _connection(self) -> AsyncHTTPConnection:
        if self._conn is None:
            self._conn = connection(self._address, self._args)
        return self._conn

    async def _ask_together(self, is_over: Callable[[], bool]) -> None:
        """Request the first waiting URLs that have the same method, in a pipeline."""
        method = self._method_for(self.waiting[0])
        depth = min(self._depth, _DEPTHS[method])
        pipeline = self._connection().pipeline(self._take(method, is_over), depth)
        async for response in pipeline:
            if method == "HEAD":
                self._mended = 0
            self._answered(self._asked.popleft(), response)
            if not await self._skip_body(response):
                break
        self._take_back()

    def _method_for(self, item: Item) -> str:
        return self._method if item.method == "HEAD" else item.method

    def _take(self, method: str, is_over: Callable[[], bool]) -> Iterator[Item]:
        while self.waiting and not self._again and self._method_for(self.waiting[0]) == method:
            item = self.waiting.popleft()
            item.method = method
            self._asked.append(item)
            yield item
            if is_over():
                return

    def _take_back(self) -> None:
        """Return URLs that need another request to the queue, in their order."""
        for items in (self._asked, self._again):
            self.waiting.extendleft(reversed(items))
            items.clear()

    async def _skip_body(self, response: HTTPResponse) -> bool:
        """Read the body, or disconnect if it is long. Returns whether the connection is kept."""
        if response.length == 0:
            return True
        conn = self._connection()
        try:
            await conn.readall(_MOST_SKIPPED)
        except DugongError:
            conn.disconnect()
            return False
        return True

    def _answered(self, item: Item, response: HTTPResponse) -> None:
        self._failures = 0
        status = response.status
        by_head = item.method == "HEAD"
        is_busy = status in _BUSY
        if is_busy and not self._stays_busy and (by_head or item.tries < self._args.retries):
            item.tries += 1
            if item.tries >= self._args.retries:
                item.method = "GET"
            self._again.append(item)
            self._slow_down(item, response)
            return
        result = judged(item.url, response)
        if by_head and not is_busy and result.result not in _BELIEVED:
            item.method = "GET"
            item.refused = status
            self._again.append(item)
            return
        self._stays_busy = is_busy
        if item.refused not in (None, status) and _lasts(item.refused) and _lasts(status):
            self._method = "GET"
        self._finish(result)

    def _slow_down(self, item: Item, response: HTTPResponse) -> None:
        if not self._pause:
            self._depth = min(self._depth, max(_LEAST_DEPTH, self._depth // 2))
        pause = self._args.retry_delay * 2 ** (item.tries - 1)
        pause = max(pause, retry_after(response) or 0)
        self._pause = max(self._pause, min(pause, _LONGEST_PAUSE))

    # Failures.

    async def _ask_alone(self, error: Exception) -> None:
        """Repeat the request that *error* is about, alone and by GET."""
        self._connection().disconnect()
        oldest = self._asked.popleft() if self._asked else None
        self._take_back()
        if oldest is None and not self.waiting:
            return
        item = oldest or self.waiting.popleft()
        by_head = item.method == "HEAD"
        item.method = "GET"
        try:
            if isinstance(error, InvalidResponse):
                self._depth = 1  # the data may belong to the previous response (rule 4)
            if isinstance(error, _ANSWERED if by_head else InvalidResponse):
                response = await self._request(item)
            else:
                response = await self._insist(item, error)
        except _ERRORS as exc:
            await self._failed(item, exc)
        else:
            if by_head:
                self._mended += 1
                if self._mended >= _DOUBTFUL:
                    self._method = "GET"
            self._answered(item, response)
            self._take_back()
            await self._skip_body(response)

    async def _request(self, item: Item) -> HTTPResponse:
        return await self._connection().request(item.method, item.path, item.headers)

    async def _insist(self, item: Item, error: Exception) -> HTTPResponse:
        timeouts = 0
        first: Exception | None = error

        def may_retry(exc: Exception) -> bool:
            nonlocal timeouts
            timeouts += isinstance(exc, TimeoutError)
            return is_temporary(exc) and timeouts < _DOUBTFUL

        async for attempt in retry_context(self._args, None, may_retry):
            with attempt:
                if first is not None:
                    exc, first = first, None
                    raise exc
                self._connection().disconnect()
                return await self._request(item)
        raise AssertionError  # the last attempt returns or raises

    async def _failed(self, item: Item, exc: Exception) -> None:
        conn = self._connection()
        conn.disconnect()
        message = why(exc, conn, self._args)
        result = kind_of_trouble(exc)
        self._finish(Result(item.url, result, message=message))
        if isinstance(exc, (*_ANSWERED, InvalidRequest)):
            return
        self._failures += 1
        if not getattr(exc, "bytes_sent", 0):
            self._verdict = Verdict(result, message, monotonic() + VERDICT_HOLDS)
        elif self._failures >= _DOUBTFUL and self.waiting and not await self._is_alive():
            name = authority(self._address.host, self._address.port)
            message = f"{name} has stopped responding: {message}"
            self._verdict = Verdict(result, message, monotonic() + VERDICT_HOLDS)

    async def _is_alive(self) -> bool:
        """Return whether the server answers at all."""
        self._failures = 0
        conn = self._connection()
        try:
            await conn.request("GET", "/", self._args.headers)
        except _ANSWERED:
            pass
        except _ERRORS:
            return False
        finally:
            conn.disconnect()
        return True

    def _condemn(self, verdict: Verdict) -> None:
        if monotonic() > verdict.until:
            self._verdict = None
            return
        for item in self.waiting:
            self._finish(Result(item.url, verdict.result, message=verdict.message))
        self.waiting.clear()


def _lasts(status: int) -> bool:
    """Return whether a status is probably permanent."""
    return (status < 500 and status != 429) or status == 501
