"""Asking many servers for many documents, in constant memory.

1. Everything happens in one asyncio loop, which takes what has come on all connections in turn.
   There is nothing to lock, and nothing to be handed from thread to thread.
2. Each server has a queue and one connection. A worker takes a server that has something in its
   queue, and asks until the queue is empty, in one pipeline after the other: a pipeline ends when
   the queue is empty for a moment. So no answer waits for the next line of the input.
3. There are so many workers as may ask at once. Where servers have to wait for one, each has a
   turn of `TURN` seconds.
4. At most `MOST_WAITING` documents are known and not answered; then nothing more is read. So the
   limit of fairness is a server that answers, but slowly: the others wait for it as soon as it has
   that many in its queue.
5. A server that cannot be reached, or has stopped answering, is given up for a while (`asking`).
   What is asked of it then fails at once. So it holds the others up, if it fills the queues, for
   two or five timeouts at most, as long as it is not all workers that have such a server.
6. So much is remembered of servers, and as many connections are kept, as is said below.
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

#: Documents that have been read and have no result yet, at most.
MOST_WAITING = 4096

#: Servers that are known, at most: those with something in their queue, and a thousand others.
MOST_KNOWN = MOST_WAITING + 1000

#: Characters. Servers have to take 8000 (RFC 9110 section 4.1).
LONGEST_URL = 8192

#: Seconds.
TURN = 10.0


async def check(
    urls: AsyncIterator[str], args: argparse.Namespace, report: Callable[[Result], None]
) -> None:
    """Check all of *urls*.

    Args:
        urls: they may come slowly.
        args: the command's.
        report: told each result as soon as there is one. If it raises, that ends everything.
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
    """Shares the documents out to servers, and the turns to ask.

    Args:
        args: the command's.
        report: told each result.
        tasks: where the workers belong.
    """

    def __init__(
        self, args: argparse.Namespace, report: Callable[[Result], None], tasks: asyncio.TaskGroup
    ) -> None:
        self._args = args
        self._report = report
        self._tasks = tasks
        #: The one that was dealt with last comes last.
        self._servers: OrderedDict[Address, Server] = OrderedDict()
        self._idle: OrderedDict[Server, None] = OrderedDict()  # the connected ones
        self._ready: deque[Server] = deque()
        self._workers = 0
        self._waiting = 0
        self._room = asyncio.Event()

    async def add(self, url: str) -> None:
        """Have *url* checked; wait if too many are waiting for that already."""
        try:
            if len(url) > LONGEST_URL:
                raise argparse.ArgumentTypeError(f"it has more than {LONGEST_URL} characters")
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
        """Keep the connection of a server, as long as not too many others are kept."""
        self._idle[server] = None
        if len(self._idle) > self._args.servers:
            self._idle.popitem(last=False)[0].disconnect()

    def _finish(self, result: Result) -> None:
        self._waiting -= 1
        self._room.set()
        self._report(result)
