"""Checking URLs: requests by `AsyncClient.many`, and what follows from their results.

Theory of operation
===================

1. A URL is requested by HEAD. Some servers refuse HEAD with an arbitrary status, or do not answer
   it. So a HEAD that fails is followed by a GET, whose result counts, unless no request reached the
   server at all.
2. If the results of HEAD and GET differ, and neither status may be temporary, later URLs of the
   server are requested by GET only. Until it is known whether a server supports HEAD, only `_FIRST`
   of its URLs are requested at a time: with the others, every HEAD would be to no effect.
3. New URLs and those that need a GET reach `many` through one async iterable (`_Feed`), so that its
   limits hold for both. GETs are first.
4. `many` retries, and finds out how many requests a server allows. See `Client.many`.
5. Only the beginning of a body is read (`_MAX_BODY`). If it is longer, the connection is closed.
"""

from __future__ import annotations

import argparse
import asyncio
import re
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from typing import Any

from .. import AsyncClient, ConnectionTimedOut, InvalidRequest, Redirects, Retry, StatusError
from . import environment
from .judging import Outcome, Result, judged
from .output import EnvironmentFailure

#: The maximum length of a URL in characters. RFC 9110 section 4.1 recommends that all recipients
#: support at least 8000.
LONGEST_URL = 8192

#: The most redirects that are followed for one URL. As curl --max-redirs is 50, browsers' 20.
_MAX_REDIRECTS = 20

#: Bytes of a body that are read to keep the connection.
_MAX_BODY = 256 * 1024

#: URLs that have been read and have no result yet.
WINDOW = 2000

#: Results that need no confirmation by GET.
_BELIEVED = frozenset({Outcome.OK, Outcome.REDIRECTED, Outcome.INVALID, Outcome.UNRESOLVABLE})

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")

#: URLs that a server is asked for at a time until it is known whether it supports HEAD.
_FIRST = 6

#: Servers that are remembered.
_REMEMBERED = 10_000


class _Server:
    """What is known of a server.

    Attributes:
        is_known: whether it is known if HEAD works.
        by_get: whether it does not.
        asked: how many of its URLs are with `many`.
        held: those that are not yet.
    """

    __slots__ = ("asked", "by_get", "held", "is_known")

    def __init__(self) -> None:
        self.is_known = self.by_get = False
        self.asked = 0
        self.held: deque[str] = deque()


class Item(dict[str, Any]):
    """A request for `many`.

    Attributes:
        given: the URL as given.
        server: its server.
        refused: the result by HEAD, if that has failed.
    """

    given: str
    server: _Server
    refused: Result | None = None


class _Feed:
    """The requests: an async iterable that ends when every URL has its result.

    Args:
        urls: the URLs. The iterable may be slow.
    """

    def __init__(self, urls: AsyncIterator[str]) -> None:
        self._urls = urls
        self._read: deque[str] = deque()
        self._again: deque[Item] = deque()
        self._servers: OrderedDict[str, _Server] = OrderedDict()
        self._ended = False
        self._failure: BaseException | None = None
        self._pending = 0  # URLs that have been read and have no result
        self._changed = asyncio.Event()
        self._room = asyncio.Event()

    async def read(self) -> None:
        """Read the URLs. Runs in a separate task."""
        try:
            async with aclosing(self._urls) as urls:  # type: ignore[type-var]
                async for url in urls:
                    self._pending += 1
                    self._read.append(url)
                    self._changed.set()
                    while self._pending >= WINDOW:
                        self._room.clear()
                        await self._room.wait()
        except Exception as exc:
            self._failure = exc
        finally:
            self._ended = True
            self._changed.set()

    async def items(self, item_for: Callable[[str, _Server], Item]) -> AsyncIterator[Item]:
        """Yield the requests."""
        while True:
            if self._again:
                yield self._again.popleft()
            elif self._read:
                url = self._read.popleft()
                server = self._server(url)
                if server.is_known or server.asked < _FIRST:
                    server.asked += 1
                    yield item_for(url, server)
                else:
                    server.held.append(url)
            elif self._failure is not None:
                raise self._failure
            elif self._ended and not self._pending:
                return
            else:
                self._changed.clear()
                await self._changed.wait()

    def again(self, item: Item) -> None:
        """Request an item again."""
        self._again.append(item)
        self._changed.set()

    def done(self, item: Item) -> None:
        """Note that there is a result for an item."""
        server = item.server
        server.asked -= 1
        while server.held and (server.is_known or server.asked < _FIRST):
            self._read.appendleft(server.held.pop() if server.is_known else server.held.popleft())
            if not server.is_known:
                break
        self._pending -= 1
        self._room.set()
        self._changed.set()

    def _server(self, url: str) -> _Server:
        name = "/".join(url.split("/", 3)[:3]).lower()
        server = self._servers.get(name)
        if server is None:
            server = self._servers[name] = _Server()
            if len(self._servers) > _REMEMBERED:
                self._servers.popitem(last=False)  # its items still have it
        else:
            self._servers.move_to_end(name)
        return server


class Checker:
    """Checks URLs.

    Args:
        args: the arguments of the command.
        report: called with each result as soon as it is known. An exception that it raises ends the
            check.
    """

    def __init__(self, args: argparse.Namespace, report: Callable[[Result], None]) -> None:
        self._args = args
        self._report = report
        self._redirects = Redirects(_MAX_REDIRECTS, downgrade=True) if args.follow else None

    async def check(self, urls: AsyncIterator[str]) -> None:
        """Check all of *urls*. The iterable may be slow."""
        feed = _Feed(urls)
        reading = asyncio.create_task(feed.read())
        try:
            async with (
                new_client(self._args) as client,
                client.many(
                    feed.items(self._item),
                    limit=self._args.parallel_max,
                    per_host=self._args.per_host,
                    max_body=_MAX_BODY,
                    window=WINDOW,
                ) as results,
            ):
                async for found in results:
                    item: Item = found.request.given  # type: ignore[union-attr]
                    if isinstance(found, EnvironmentFailure):
                        raise found
                    if isinstance(found, Exception):
                        environment.check_error(found)
                    result = self._judged(item, found)
                    if result is None:
                        feed.again(item)
                    else:
                        feed.done(item)
                        self._report(result)
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)

    def _item(self, url: str, server: _Server) -> Item:
        item = Item(
            method="GET" if server.by_get else "HEAD",
            url="" if _fault(url) else url,
            headers=self._args.headers,
            redirects=self._redirects,
        )
        item.given, item.server = url, server
        return item

    def _judged(self, item: Item, found: Any) -> Result | None:
        """Return the result for a URL; ``None`` if it needs a GET (rule 1)."""
        if isinstance(found, InvalidRequest) and (fault := _fault(item.given)):
            return Result(item.given, Outcome.INVALID, message=fault)
        result = judged(item.given, found)
        if item["method"] == "GET":
            if item.refused is not None:
                _compare(item.server, item.refused, result)
            return result
        if result.result in (Outcome.OK, Outcome.REDIRECTED):
            item.server.is_known = True
        if result.result in _BELIEVED or not _has_reached(found):
            return result
        item["method"] = "GET"
        item.refused = result
        return None


def _compare(server: _Server, by_head: Result, by_get: Result) -> None:
    """Learn from the results by HEAD and by GET (rule 2)."""
    if _lasts(by_head) and _lasts(by_get):
        if by_head.result is not by_get.result:
            server.by_get = True
        server.is_known |= server.by_get or by_get.status is not None


def new_client(args: argparse.Namespace) -> AsyncClient:
    """Return a client for the arguments of the command.

    It asks for no content coding and has no cookies: bodies are not looked at, and one URL must not
    change the result of another.
    """
    settings: dict[str, Any] = {}
    if args.proxy is not None:
        settings["proxy"] = args.proxy
    if args.unix_socket is not None:
        settings["unix_socket"] = args.unix_socket
    return AsyncClient(
        timeout=args.timeout,
        retries=Retry(args.retries, backoff=args.retry_delay),
        cookies=None,
        decode=False,
        on_event=environment.check if environment.names_files() else None,
        **settings,
    )


def _fault(url: str) -> str | None:
    """Return why a URL is not checked although a client would send it, quoted."""
    if len(url) > LONGEST_URL:
        return f"it is longer than {LONGEST_URL} characters"
    return "a URL cannot contain control characters" if _CONTROL.search(url) else None


def _has_reached(found: Any) -> bool:
    """Whether the server has received a request, so that GET may have another result."""
    if isinstance(found, StatusError):
        return False
    if isinstance(found, ConnectionTimedOut):
        return found.bytes_sent > 0
    return not getattr(found, "while_connecting", False)


def _lasts(result: Result) -> bool:
    """Return whether a result is probably permanent."""
    status = result.status
    if status is None:
        return result.result is Outcome.BROKEN
    return (status < 500 and status != 429) or status == 501
