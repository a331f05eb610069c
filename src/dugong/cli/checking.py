"""Checking many URLs on many servers, in constant memory.

Theory of operation
===================

1. Everything runs in one asyncio loop. So there are no locks, and no data passes between threads.
2. Each server has a queue and one connection. A worker takes a server with a non-empty queue, and
   requests URLs until the queue is empty. It uses one pipeline after another: a pipeline ends when
   the queue is empty for a moment. So no result waits for the next line of the input.
3. The number of workers is the number of servers that are asked at the same time. If other servers
   wait for a worker, each server has a turn of `TURN` seconds.
4. At most `MOST_WAITING` URLs are known and have no result. At that limit, no more input is read.
   Fairness ends there: if a server answers slowly and has that many URLs in its queue, the other
   servers wait for it.
5. A server that cannot be reached, or that has stopped answering, is not asked for a while
   (`asking`). Its URLs then fail immediately. If it fills the queues, it delays the other servers
   by two to five timeouts at most, as long as not every worker has such a server.
6. The constants below limit how many servers are remembered and how many connections are kept.
"""

from __future__ import annotations

import argparse
import asyncio
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Callable
from functools import partial
from time import monotonic

from .arguments import url as parse_url
from .asking import Address, Item, Server, address
from .judging import Outcome, Result

#: The maximum number of URLs that have been read and have no result yet.
MOST_WAITING = 4096

#: The maximum number of known servers: those with a non-empty queue, and a thousand others.
MOST_KNOWN = MOST_WAITING + 1000

#: The maximum length of a URL in characters. RFC 9110 section 4.1 recommends that all recipients
#: support at least 8000.
LONGEST_URL = 8192

#: The length of a turn in seconds, if other servers wait.
TURN = 10.0


async def check(
    urls: AsyncIterator[str], args: argparse.Namespace, report: Callable[[Result], None]
) -> None:
    """Check all of *urls*.

    Args:
        urls: the URLs. The iterable may be slow.
        args: the arguments of the command.
        report: called with each result as soon as it is known. An exception that it raises ends
            the check.
    """
    checker = None
    try:
        async with asyncio.TaskGroup() as tasks:
            checker = Checker(args, report, tasks)
            async for url in urls:
                await checker.add(url)
    except BaseExceptionGroup as group:
        raise group.exceptions[0]  # noqa: B904 - it has a cause of its own
    finally:
        if checker is not None:
            checker.close()


class Checker:
    """Distributes URLs to servers, and servers to workers.

    Args:
        args: the arguments of the command.
        report: called with each result.
        tasks: the group for the tasks of the workers.
    """

    def __init__(
        self, args: argparse.Namespace, report: Callable[[Result], None], tasks: asyncio.TaskGroup
    ) -> None:
        self._args = args
        self._report = report
        self._tasks = tasks
        #: The most recently used server is last.
        self._servers: OrderedDict[Address, Server] = OrderedDict()
        self._idle: OrderedDict[Server, None] = OrderedDict()  # idle servers with a connection
        self._ready: deque[Server] = deque()
        self._workers = 0
        self._waiting = 0
        self._room = asyncio.Event()

    async def add(self, url: str) -> None:
        """Queue *url* for a check. Waits if too many URLs are queued already."""
        try:
            if len(url) > LONGEST_URL:
                raise argparse.ArgumentTypeError(f"it is longer than {LONGEST_URL} characters")
            document = parse_url(url)
        except argparse.ArgumentTypeError as exc:
            message = str(exc).removeprefix(f"{url!r}: ")
            self._report(Result(url, Outcome.INVALID, message=message))
            return
        while self._waiting >= MOST_WAITING:
            self._room.clear()
            await self._room.wait()
        self._waiting += 1
        server = self._server(address(document))
        server.waiting.append(Item(url, document.target, self._args.headers))
        if not server.has_turn:
            server.has_turn = True
            self._ready.append(server)
            if self._workers < self._args.servers:
                self._workers += 1
                self._tasks.create_task(self._work())

    def close(self) -> None:
        """Close all connections."""
        for server in self._servers.values():
            server.disconnect()

    def _server(self, address: Address) -> Server:
        server = self._servers.get(address)
        if server is not None:
            self._servers.move_to_end(address)
            return server
        server = self._servers[address] = Server(address, self._args, self._finish)
        while len(self._servers) > MOST_KNOWN:
            oldest, other = self._servers.popitem(last=False)
            if other.has_turn:
                self._servers[oldest] = other
            else:
                self._idle.pop(other, None)
                other.disconnect()
        return server

    async def _work(self) -> None:
        while self._ready:
            server = self._ready.popleft()
            self._idle.pop(server, None)
            await server.ask(partial(self._is_over, monotonic() + TURN))
            if server.waiting:
                self._ready.append(server)
            else:
                server.has_turn = False
                self._keep(server)
        self._workers -= 1

    def _is_over(self, end: float) -> bool:
        return bool(self._ready) and monotonic() > end

    def _keep(self, server: Server) -> None:
        """Keep the connection of an idle server. Closes the oldest one if there are too many."""
        self._idle[server] = None
        if len(self._idle) > self._args.servers:
            self._idle.popitem(last=False)[0].disconnect()

    def _finish(self, result: Result) -> None:
        self._waiting -= 1
        self._room.set()
        self._report(result)
