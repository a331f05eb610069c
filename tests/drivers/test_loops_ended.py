"""Loops that end with something under way, and connections that are used in several loops.

A loop that has ended keeps no call alive, and a connection keeps nothing of a loop. What was under
way has been cut short, as if it had been cancelled.
"""

from __future__ import annotations

import asyncio
import gc
import socket
import threading
import warnings
import weakref
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest

from dugong import AioFuture, AsyncHTTPConnection, ConnectionClosed
from dugong.transport.resolve import AddressInfo
from tests.support.concurrency import nothing_left
from tests.support.drive import drive
from tests.support.exchanges import OK, works
from tests.support.peer import Peer
from tests.support.styles import GeneratorWire
from tests.support.styles_in_loops import AsyncioWire, PlayingSelector, TrioWire
from tests.support.wire import HOST, Certificates
from tests.transport.tools import end_resolver_threads

Style = type[AsyncioWire] | type[TrioWire] | type[GeneratorWire]


@pytest.fixture(params=["plain", "tls"])
def aio(request: pytest.FixtureRequest, certificates: Certificates) -> Iterator[AsyncioWire]:
    """Asynchronous connections, for tests that run their loops themselves."""
    aio = AsyncioWire(certificates, tls=request.param == "tls")
    yield aio
    aio.close()


class Loop:
    """A loop that runs until nothing in it can go on, and is then as the test wants it."""

    def __init__(self, aio: AsyncioWire) -> None:
        self._selector = PlayingSelector(aio)
        self.loop: asyncio.AbstractEventLoop = asyncio.SelectorEventLoop(self._selector)
        self.loop.set_exception_handler(lambda *_: None)  # of tasks that are destroyed

    def start(self, make: Callable[[asyncio.AbstractEventLoop], Any]) -> weakref.ref[Any]:
        """Begin something that waits for what does not come; return what does it."""
        task = make(self.loop)
        self._selector.when_blocked = self.loop.stop
        self.loop.run_forever()
        assert not task.done()
        return weakref.ref(task)

    def run(self, part: Coroutine[Any, Any, Any]) -> Any:
        self._selector.when_blocked = None
        return self.loop.run_until_complete(part)


def closed(loop: Loop) -> Any:
    loop.loop.close()


def closed_and_kept(loop: Loop) -> Any:
    loop.loop.close()
    return loop


def dropped(loop: Loop) -> Any:
    """Python warns of it."""


every_end = pytest.mark.parametrize("end", [closed, closed_and_kept, dropped])


def as_task(part: Any) -> Callable[[asyncio.AbstractEventLoop], Any]:
    return lambda loop: loop.create_task(part())


def as_future(part: Any) -> Callable[[asyncio.AbstractEventLoop], Any]:
    return lambda loop: AioFuture(part(), loop=loop)


def end_while(
    aio: AsyncioWire,
    make: Callable[[asyncio.AbstractEventLoop], Any],
    end: Callable[[Loop], Any],
) -> Any:
    """End a loop in the middle of something; returns what of the loop stays, if anything."""
    loop = Loop(aio)
    task, known = loop.start(make), weakref.ref(loop.loop)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        kept = end(loop)
        del loop, make
        gc.collect()
    assert task() is None
    assert (known() is None) is (kept is None)
    return kept


def go_on(aio: AsyncioWire, style: Style, text: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run this in another loop, or without one."""
    if style is not GeneratorWire:
        other = style(aio.certificates, tls=aio.tls)
        other.peers = aio.peers
        other.run(text())


every_style = pytest.mark.parametrize("style", [AsyncioWire, TrioWire])


@every_end
@every_style
@pytest.mark.parametrize("way", ["task", "future"])
def test_while_a_head_is_read(
    aio: AsyncioWire, style: Style, end: Callable[[Loop], Any], way: str
) -> None:
    conn, peer = aio.pair()
    peer.expect_request()
    aio.run(conn.send_request("GET", "/"))
    make = as_task(conn.read_response) if way == "task" else as_future(conn.co_read_response)
    peer.reply(b"HTTP/1.1 200")
    kept = end_while(aio, make, end)
    del make
    peer.reply(b" OK\r\nContent-Length: 2\r\n\r\nhi")

    async def rest() -> None:
        assert (await conn.read_response()).status == 200
        assert await conn.readall() == b"hi"
        await works(conn, peer)

    go_on(aio, style, rest)
    del kept


@every_end
@every_style
@pytest.mark.parametrize("way", ["task", "future"])
def test_while_a_body_is_read(
    aio: AsyncioWire, style: Style, end: Callable[[Loop], Any], way: str
) -> None:
    """What `readall` had gathered is not lost."""
    conn, peer = aio.pair()
    peer.expect_request()
    peer.reply(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n01")

    async def begin() -> None:
        await conn.request("GET", "/")
        assert await conn.read(2) == b"01"

    aio.run(begin())
    make = as_task(conn.readall) if way == "task" else as_future(conn.co_readall)
    peer.reply(b"234")
    kept = end_while(aio, make, end)
    del make
    peer.reply(b"56789")

    async def rest() -> None:
        assert await conn.readall() == b"23456789"
        await works(conn, peer)

    go_on(aio, style, rest)
    del kept


@every_end
@every_style
@pytest.mark.parametrize("way", ["task", "future"])
def test_while_a_body_is_sent(
    aio: AsyncioWire, style: Style, end: Callable[[Loop], Any], way: str
) -> None:
    """Sending has ended; the response to what was sent before is read."""
    conn, peer = aio.pair(small=True)
    peer.expect_request()
    aio.run(conn.send_request("GET", "/"))
    body = bytes(1 << 20)
    if way == "task":
        make = as_task(lambda: conn.send_request("PUT", "/", body=body))
    else:
        make = as_future(lambda: conn.co_send_request("PUT", "/", body=body))
    kept = end_while(aio, make, end)
    del make
    peer.reply(OK)

    async def rest() -> None:
        assert (await conn.read_response()).path == "/"
        assert await conn.readall() == b"hi"
        with pytest.raises(ConnectionClosed):
            await conn.send_request("GET", "/")

    go_on(aio, style, rest)
    del kept


@every_end
@every_style
def test_while_a_name_is_looked_up(
    aio: AsyncioWire,
    monkeypatch: pytest.MonkeyPatch,
    style: Style,
    end: Callable[[Loop], Any],
) -> None:
    """Connecting has been given up; the next call connects."""
    listener, gate = aio.listen(), threading.Event()
    system: Any = socket.getaddrinfo

    def getaddrinfo(host: str, port: int, *, flags: int, **options: Any) -> list[AddressInfo]:
        if not flags:
            assert gate.wait(20)
        found: list[AddressInfo] = system(host, port, flags=flags, **options)
        return found

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    conn = aio.connection(HOST, port=listener.address[1], ssl_context=aio.client_context)
    kept = end_while(aio, as_task(lambda: conn.request("GET", "/")), end)
    gate.set()
    peer = listener.peer()
    peer.expect_request()
    peer.reply(OK)

    async def rest() -> None:
        assert (await conn.request("GET", "/")).status == 200
        assert await conn.readall() == b"hi"
        await works(conn, peer)

    go_on(aio, style, rest)
    del kept
    end_resolver_threads()


@every_end
def test_while_it_shakes_hands(aio: AsyncioWire, end: Callable[[Loop], Any]) -> None:
    listener = aio.listen()
    silent, peer = listener.peer(handshake=False), listener.peer()
    conn = aio.dial(listener, ssl_context=aio.certificates.client)
    kept = end_while(aio, as_task(lambda: conn.request("GET", "/")), end)
    silent._receive()
    if aio.tls:
        aio.run(works(conn, peer))
    del kept


@every_end
def test_a_generator_goes_on(aio: AsyncioWire, end: Callable[[Loop], Any]) -> None:
    """The coroutines of the very same connection, without any loop."""
    conn, peer = aio.pair()
    peer.expect_request()
    aio.run(conn.send_request("GET", "/"))
    kept = end_while(aio, as_task(conn.read_response), end)
    peer.reply(OK)
    assert drive(conn.co_read_response(), peer).status == 200
    assert drive(conn.co_readall(), peer) == b"hi"
    del kept


@every_end
def test_disconnected_afterwards(aio: AsyncioWire, end: Callable[[Loop], Any]) -> None:
    with nothing_left():
        conn, peer = aio.pair()
        peer.expect_request()
        aio.run(conn.send_request("GET", "/"))
        kept = end_while(aio, as_task(conn.read_response), end)
        conn.disconnect()
        peer.expect_eof()
        peer.run()
        del kept
        peer.abandon()


@every_end
def test_a_pipeline_goes_on(aio: AsyncioWire, end: Callable[[Loop], Any]) -> None:
    listener = aio.listen()
    conn, peer = aio.dial(listener), listener.peer()
    for _ in range(3):
        peer.expect_request()
        peer.reply(OK)
    pipeline = conn.pipeline([f"/{number}" for number in range(6)])

    found: list[str] = []

    async def take(count: int) -> None:
        found.extend([(await anext(pipeline)).path for _ in range(count)])

    aio.run(take(3))
    kept = end_while(aio, as_task(lambda: take(1)), end)
    for _ in range(3):
        peer.expect_request()
        peer.reply(OK)
    aio.run(take(3))
    assert found == [f"/{number}" for number in range(6)]
    del kept


# ----------------------------------------------------------------------------------- several loops


async def exchange(conn: AsyncHTTPConnection, peer: Peer, number: int) -> None:
    """One whose response comes in pieces, so that it is waited for."""
    peer.expect_request(b"GET /%d" % number)
    peer.reply(b"HTTP/1.1 200 OK\r\n")
    peer.reply(b"Content-Length: 2\r\n\r\n")
    peer.reply(b"hi")
    await conn.send_request("GET", f"/{number}")
    assert (await conn.read_response()).path == f"/{number}"
    assert await conn.readall() == b"hi"


def test_alternately_in_several_loops(aio: AsyncioWire) -> None:
    """None of which ends: each has watched the descriptor, and lets the others do so."""
    with nothing_left():
        conn, peer = aio.pair()
        loops = [Loop(aio) for _ in range(3)]
        for number in range(9):
            loops[number % 3].run(exchange(conn, peer, number))
        conn.disconnect()
        for loop in loops:
            loop.run(asyncio.sleep(0))
        assert not peer.saw_eof
        peer.expect_eof()
        peer.run()
        for loop in loops:
            loop.loop.close()
        peer.abandon()


def test_a_read_in_one_loop_and_the_next_request_in_another(aio: AsyncioWire) -> None:
    """The first loop is stopped with a read under way, and runs again later."""
    conn, peer = aio.pair()
    one, other = Loop(aio), Loop(aio)
    peer.expect_request(b"GET /1")
    one.run(conn.send_request("GET", "/1"))
    task = one.loop.create_task(conn.read_response())
    assert one.start(lambda _: task)() is task
    peer.expect_request(b"GET /2")
    other.run(conn.send_request("GET", "/2"))
    peer.reply(OK)
    assert one.run(asyncio.wait_for(task, 20)).path == "/1"
    assert other.run(conn.readall()) == b"hi"
    peer.reply(OK)
    assert other.run(conn.read_response()).path == "/2"
    assert one.run(conn.readall()) == b"hi"
    for loop in (one, other):
        loop.loop.close()


def test_loops_in_threads(aio: AsyncioWire) -> None:
    """One sends and another reads, each in a loop in a thread of its own."""
    conn, peer = aio.pair()
    count = 50
    sent = threading.Semaphore(0)
    failures: list[BaseException] = []

    async def send() -> None:
        for number in range(count):
            await conn.send_request("GET", f"/{number}")
            sent.release()

    async def receive() -> None:
        for number in range(count):
            await asyncio.to_thread(sent.acquire)
            response = await conn.read_response()
            assert response.path == f"/{number}"
            assert await conn.readall() == b"%d" % number

    def run(part: Callable[[], Coroutine[Any, Any, None]]) -> None:
        try:
            asyncio.run(part())
        except BaseException as exc:
            failures.append(exc)
            conn.disconnect()

    for number in range(count):
        peer.expect_request(b"GET /%d " % number)
        body = b"%d" % number
        peer.reply(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
    threads = [threading.Thread(target=run, args=[part]) for part in (send, receive)]
    with peer.in_thread():
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
    assert failures == []
