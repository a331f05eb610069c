"""The four styles in which a program can use dugong, for tests that run in each from one text.

Such a test is an ``async def`` that awaits the operations of a connection by the names they have
in `AsyncHTTPConnection`::

    async def test_reading(wire: StyledWire) -> None:
        conn, peer = wire.pair()
        peer.expect_request()
        peer.reply(b"HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\nhi")
        await conn.send_request("GET", "/")
        assert (await conn.read_response()).status == 200
        assert await conn.read(5) == b"hi"

In the styles ``asyncio`` and ``trio`` the connection *is* an `AsyncHTTPConnection`, and the
library of that name runs the test. In the other two it is an `HTTPConnection` in disguise, and
awaiting ``conn.x()`` means ``yield from conn.co_x()``, or a call of the blocking ``conn.x()``.
A pipeline is gone through by ``async for`` in each.

What the peers do is the same everywhere: the scripts move on while the client waits. In asyncio
that is where the loop would sleep, in trio where all tasks are blocked, so that as with
generators each packet comes when the one before was not enough. Blocking calls have the scripts
played by a thread, and may find more than one packet at a time.
"""

from __future__ import annotations

import select
import socket
import threading
import time
from abc import abstractmethod
from collections.abc import Awaitable, Coroutine, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from types import coroutine
from typing import Any, Protocol, TypeVar, cast

from dugong import AsyncHTTPConnection, ConnectionTimedOut, HTTPConnection, HTTPResponse
from tests.support.drive import Crt, Outcome, advance, describe, drive_among, poller_for
from tests.support.farend import GUARD
from tests.support.peer import Peer
from tests.support.wire import AnyWire

T = TypeVar("T")

#: The operations that can wait.
WAITING = frozenset((
    "connect", "send_request", "write", "end_body", "read_response", "read", "readinto", "readall",
    "discard", "get_ssl_peercert", "get_ssl_cipher", "request",
))  # fmt: skip


@coroutine
def waiting(crt: Any) -> Any:
    """Make a generator awaitable, and anything awaitable a generator."""
    return (yield from crt)


class Operate(Protocol):
    """Carries out the operation of this name."""

    def __call__(self, conn: Any, name: str, *args: Any, **kwargs: Any) -> Awaitable[Any]: ...


class Disguise:
    """An `HTTPConnection` whose operations are awaited; everything else it does by itself."""

    def __init__(self, conn: HTTPConnection, operate: Operate) -> None:
        vars(self).update(_conn=conn, _operate=operate)

    def __getattr__(self, name: str) -> Any:
        if name in WAITING:
            return partial(self._operate, self._conn, name)
        if name == "pipeline":
            return self._pipeline
        return getattr(self._conn, name)

    def _pipeline(self, *args: Any, **kwargs: Any) -> Steps:
        return Steps(self._conn.pipeline(*args, **kwargs), self._operate)

    def __setattr__(self, name: str, value: object) -> None:
        setattr(self._conn, name, value)

    async def __aenter__(self) -> Any:
        assert self._conn.__enter__() is self._conn
        return self

    async def __aexit__(self, *args: object) -> None:
        self._conn.__exit__(*args)


class Steps:
    """A pipeline of an `HTTPConnection`, to be gone through by ``async for``."""

    def __init__(self, pipeline: Any, operate: Operate) -> None:
        self._pipeline = pipeline
        self._operate = operate
        self.co_next = pipeline.co_next

    def next(self) -> HTTPResponse | None:
        return next(self._pipeline, None)

    def __aiter__(self) -> Steps:
        return self

    async def __anext__(self) -> HTTPResponse:
        response: HTTPResponse | None = await self._operate(self, "next")
        if response is None:
            raise StopAsyncIteration
        return response


async def _by_generator(conn: Any, name: str, *args: Any, **kwargs: Any) -> Any:
    return await waiting(getattr(conn, f"co_{name}")(*args, **kwargs))


def awaitable(conn: HTTPConnection) -> AsyncHTTPConnection:
    """This connection for texts that await its operations, to be driven as generators."""
    return cast(AsyncHTTPConnection, Disguise(conn, _by_generator))


async def outcome_of(part: Awaitable[T]) -> Outcome[T]:
    try:
        return Outcome(value=await part)
    except Exception as exc:
        return Outcome(error=exc)


class StyledWire(AnyWire[AsyncHTTPConnection]):
    """The wire of a test that runs in every style."""

    @abstractmethod
    def run(self, test: Coroutine[Any, Any, None]) -> None:
        """Run the whole test."""

    @abstractmethod
    async def together(self, *parts: Coroutine[Any, Any, Any]) -> list[Outcome[Any]]:
        """Do these side by side, say sending and reading, and tell how each ended."""

    @abstractmethod
    async def stop(self, part: Coroutine[Any, Any, Any]) -> None:
        """Do this until it waits for something that no peer is going to do; stop it there.

        A generator is closed, a task cancelled, a blocking call made with no time to wait.
        """

    def step(self) -> bool:
        """Have the first peer that can take its next step; False if none can."""
        return any(peer.step() for peer in self.peers)

    @property
    def played(self) -> bool:
        return all(peer.idle for peer in self.peers)

    def offsets(self, start: int, end: int) -> Iterable[int]:
        """The places to stop at in a sweep: all of them by generators, a few in other styles."""
        return range(start, end, 11)


def not_blocked(outcome: object) -> AssertionError:
    """What `StyledWire.stop` raises of an operation that came to its end."""
    return AssertionError(f"not blocked, but finished with {outcome!r}")


# ------------------------------------------------------------------------------- generators


class GeneratorWire(StyledWire):
    """Generators, driven by hand."""

    def connection(self, host: str, **options: Any) -> AsyncHTTPConnection:
        conn = HTTPConnection(host, **options)
        self.adopt(conn.disconnect)
        return awaitable(conn)

    def run(self, test: Coroutine[Any, Any, None]) -> None:
        (outcome,) = drive_among([test], self.peers)
        outcome.get()

    async def together(self, *parts: Coroutine[Any, Any, Any]) -> list[Outcome[Any]]:
        return drive_among(parts, self.peers)

    async def stop(self, part: Crt[Any]) -> None:
        advance(part, *(peer for peer in self.peers if peer.done or not peer.idle))
        part.close()

    def offsets(self, start: int, end: int) -> Iterable[int]:
        return range(start, end)


# ---------------------------------------------------------------------------------- blocking


class BlockingWire(StyledWire):
    """Blocking calls, while a thread plays the scripts."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._conns: list[HTTPConnection] = []
        self._lock = threading.Lock()
        self._calls = 0
        self._player: Player | None = None

    def connection(self, host: str, **options: Any) -> AsyncHTTPConnection:
        conn = HTTPConnection(host, **options)
        self.adopt(conn.disconnect)
        self._conns.append(conn)
        return cast(AsyncHTTPConnection, Disguise(conn, self._call))

    async def _call(self, conn: Any, name: str, *args: Any, **kwargs: Any) -> Any:
        with self.playing():
            return getattr(conn, name)(*args, **kwargs)

    @contextmanager
    def playing(self) -> Iterator[None]:
        """The scripts are played from the first call's beginning to the last one's end."""
        with self._lock:
            self._calls += 1
            if self._player is None:
                self._player = Player(self.peers, self._conns)
            player = self._player
        try:
            yield
        finally:
            with self._lock:
                self._calls -= 1
                if not self._calls:
                    self._player = None
                    player.stop()

    def renew(self) -> None:
        super().renew()
        self._conns.clear()

    def run(self, test: Coroutine[Any, Any, None]) -> None:
        _call_through(test)

    async def together(self, *parts: Coroutine[Any, Any, Any]) -> list[Outcome[Any]]:
        outcomes: list[Outcome[Any]] = [Outcome() for _ in parts]

        def run(i: int, part: Coroutine[Any, Any, Any]) -> None:
            outcomes[i] = _call_through(outcome_of(part))

        threads = [threading.Thread(target=run, args=item) for item in enumerate(parts)]
        with self.playing():
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        return outcomes

    async def stop(self, part: Coroutine[Any, Any, Any]) -> None:
        while self.step():
            pass
        limits = [conn.timeout for conn in self._conns]
        for conn in self._conns:
            conn.timeout = 0
        try:
            raise not_blocked(await part)
        except ConnectionTimedOut:
            pass
        finally:
            for conn, limit in zip(self._conns, limits, strict=True):
                conn.timeout = limit
        while self.step():
            pass


def _call_through(part: Coroutine[Any, Any, T]) -> T:
    """Run what never waits but in blocking calls."""
    try:
        part.send(None)
    except StopIteration as exc:
        return cast(T, exc.value)
    raise AssertionError("a blocking call has yielded")


class Player:
    """Plays the peers' scripts in a thread, from its making until `stop`."""

    def __init__(self, peers: Sequence[Peer], conns: Sequence[HTTPConnection]) -> None:
        self._peers = peers
        self._conns = conns
        self._errors: list[BaseException] = []
        self._stopped, self._stopping = socket.socketpair()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def stop(self) -> None:
        self._stopping.close()
        self._thread.join()
        self._stopped.close()
        if self._errors:
            raise self._errors[0]

    def _run(self) -> None:
        try:
            self._play()
        except BaseException as exc:
            self._errors.append(exc)
            for conn in self._conns:
                conn.disconnect()

    def _play(self) -> None:
        give_up = time.monotonic() + GUARD
        while self._stopping.fileno() >= 0:
            if self._step():
                give_up = time.monotonic() + GUARD
                continue
            assert time.monotonic() < give_up, describe(self._peers)
            # Not for long: the test may add a step meanwhile, from another thread.
            poller_for(self._peers, {self._stopped.fileno(): select.POLLIN}).poll(50)

    def _step(self) -> bool:
        for peer in self._peers:
            with peer.in_company():
                if peer.step():
                    return True
        return False
