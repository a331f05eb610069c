"""One server, and whether it has what it is asked for.

It is asked by HEAD requests in a pipeline. Some servers refuse HEAD with any status, or do not
answer it. So a HEAD that fails is followed by a GET, whose result counts. GET requests have a
pipeline of their own, which is shorter, because bodies follow. If HEAD and GET differ, this server
is asked by GET from then on, unless one of the statuses may be temporary.

When a connection fails, only the oldest request is to blame. It is repeated alone and by GET, as
often as `--retries` says; then the others have their turn again. If this works for two documents in
a row that HEAD failed for, the server is asked by GET as well. If it fails for good, there is more
to find out: a server that could not even be connected to is given up, and so is one that, after two
documents in a row have failed, does not answer for ``/`` either.

What is not HTTP may belong to the previous response, if a server sends bodies in response to HEAD.
So that request is repeated once, and such a server is asked for one document at a time.

A server that says it is too busy (429, 503) is left in peace for as long as it says, or for
`--retry-delay`; unless that has not helped before. The last attempt is a GET.
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

#: Requests in flight. By GET there are bodies behind the answers, which may have to be cut off.
_DEPTHS = {"HEAD": 64, "GET": 8}

#: Fewer than that is no pipeline.
_LEAST_DEPTH = 4

#: Bytes of a body that are read to keep the connection; a longer one is cut off.
_MOST_SKIPPED = 256 * 1024

#: Seconds for which a server that has been given up is not asked again.
VERDICT_HOLDS = 300.0

#: Seconds for which a busy server is left in peace, at most.
_LONGEST_PAUSE = 60.0

#: Statuses that mean: not now.
_BUSY = frozenset({429, 503})

#: Results that need no confirmation by GET.
_BELIEVED = frozenset({Outcome.OK, Outcome.REDIRECTED})

#: Documents in a row that fail before there is doubt whether the server answers at all.
_DOUBTFUL = 2

#: By what a request can fail.
_TROUBLES = (DugongError, OSError)

#: Troubles of a server that does answer.
_ANSWERED = (InvalidResponse, UnsupportedResponse)


class Address(NamedTuple):
    """What documents share that can be asked for on one connection."""

    tls: bool
    host: str
    port: int


def address(document: Document) -> Address:
    """Return where a document is asked for."""
    return Address(document.tls, document.host, document.port or (443 if document.tls else 80))


def connection(address: Address, args: argparse.Namespace) -> AsyncHTTPConnection:
    """Return a connection, by the route that *args* say (`add_route`)."""
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
    """Return the context of all connections: to load the authorities takes its time."""
    return tls_context()


class Item(Request):
    """A document to be asked for.

    Attributes:
        url: its URL, as given.
        tries: how often the server was too busy for it.
        refused: the status by which HEAD failed, ``None`` as long as it has not.
    """

    __slots__ = ("refused", "tries", "url")

    def __init__(self, url: str, target: str, fields: list[tuple[str, str]]) -> None:
        super().__init__("HEAD", target, fields)
        self.url = url
        self.tries = 0
        self.refused: int | None = None


class Verdict(NamedTuple):
    """What holds for all documents of a server that has been given up, until that time."""

    result: Outcome
    message: str
    until: float


class Server:
    """A server, and the documents it is to be asked for.

    Args:
        address: where it is.
        args: the command's.
        finish: told each result.

    Attributes:
        waiting: what it is to be asked for.
        has_turn: for the use of who shares the turns out.
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
        self._asked: deque[Item] = deque()  # what is in the pipeline
        self._again: deque[Item] = deque()  # what was answered, but has to be asked for again
        self._method = "HEAD"
        self._mended = 0  # documents in a row that had no answer by HEAD, but one by GET
        self._depth = _DEPTHS["HEAD"]
        self._pause = 0.0
        self._stays_busy = False
        self._failures = 0  # documents in a row
        self._verdict: Verdict | None = None

    async def ask(self, is_over: Callable[[], bool]) -> None:
        """Ask until nothing is waiting, or the turn is over; for one document in any case."""
        while self.waiting:
            if self._verdict is not None:
                self._condemn(self._verdict)
                continue
            if self._pause:
                pause, self._pause = self._pause, 0.0
                await asyncio.sleep(pause)
            try:
                await self._ask_together(is_over)
            except _TROUBLES as exc:
                await self._ask_alone(exc)
            if is_over():
                return

    def disconnect(self) -> None:
        """Close the connection, if there is one, and forget what it has learnt of the server."""
        if self._conn is not None:
            self._conn.disconnect()
            self._conn = None

    # Asking.

    def _connection(self) -> AsyncHTTPConnection:
        if self._conn is None:
            self._conn = connection(self._address, self._args)
        return self._conn

    async def _ask_together(self, is_over: Callable[[], bool]) -> None:
        """Ask for what is waiting, as far as it is asked for by the same method, in a pipeline."""
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
        """Return what has to be asked for again to the queue, in its order."""
        for items in (self._asked, self._again):
            self.waiting.extendleft(reversed(items))
            items.clear()

    async def _skip_body(self, response: HTTPResponse) -> bool:
        """Read the body, or hang up if it is long. Returns whether the connection is kept."""
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

    # Troubles.

    async def _ask_alone(self, trouble: Exception) -> None:
        """Ask once more for the document that *trouble* is about."""
        self._connection().disconnect()
        oldest = self._asked.popleft() if self._asked else None
        self._take_back()
        if oldest is None and not self.waiting:
            return
        item = oldest or self.waiting.popleft()
        by_head = item.method == "HEAD"
        item.method = "GET"
        try:
            if isinstance(trouble, InvalidResponse):
                self._depth = 1  # it may have come from what was asked for before
            if isinstance(trouble, _ANSWERED if by_head else InvalidResponse):
                response = await self._request(item)
            else:
                response = await self._insist(item, trouble)
        except _TROUBLES as exc:
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

    async def _insist(self, item: Item, trouble: Exception) -> HTTPResponse:
        timeouts = 0
        first: Exception | None = trouble

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
        raise AssertionError  # either of these has happened

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
            message = f"{name} does not answer any more: {message}"
            self._verdict = Verdict(result, message, monotonic() + VERDICT_HOLDS)

    async def _is_alive(self) -> bool:
        """Tell whether the server answers at all."""
        self._failures = 0
        conn = self._connection()
        try:
            await conn.request("GET", "/", self._args.headers)
        except _ANSWERED:
            pass
        except _TROUBLES:
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
    """Tell whether a status will be the same a moment later."""
    return (status < 500 and status != 429) or status == 501
