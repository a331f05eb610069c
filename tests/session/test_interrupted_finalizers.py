"""`KeyboardInterrupt` in finalizers and weak-reference callbacks: see `tests.support.interrupts`.

Objects are dropped in the middle of what they do. Each call that this sets off is interrupted,
whether in ``__del__``, in a coroutine that is closed with its last reference, or in the callback of
a weak dictionary. The exception cannot leave any of these, and Python reports it as unraisable.
Afterwards nothing hangs, everything works, and no descriptor is left open.
"""

from __future__ import annotations

import gc
import socket
import sys
import threading
from collections.abc import AsyncIterator, Callable, Generator
from contextlib import suppress
from itertools import count
from typing import Any

import pytest

from dugong import AsyncHTTPConnection, DugongError, HTTPConnection, PollNeeded
from tests.session.test_interrupted_calls import descriptors
from tests.support.drive import drive
from tests.support.interrupts import Interrupt
from tests.support.pipeline_server import Server, answer
from tests.support.received import ReceivedRequest
from tests.support.styles import StyledWire
from tests.support.wire import HOST, SMALL, AnyWire, Listener, Wire

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    # Python warns if the finalizer of a socket was interrupted, and closes it itself.
    pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"),
]

Crt = Generator[PollNeeded, None, Any]

#: More than lies between two sockets, of which one has a small buffer.
LARGE = bytes(1 << 20)

#: Seconds after which a thread that has not ended counts as hanging.
GUARD = 60.0


def answer_some(request: ReceivedRequest) -> bytes:
    """Never answer `/never`, and of the answer to `/half` send only the first half."""
    if request.target == "/never":
        return b""
    response = answer(request)
    return response[: len(response) - 5] if request.target == "/half" else response


def serve(wire: AnyWire[Any], listener: Listener) -> Server:
    return Server(wire, listener=listener, answer=answer_some)


def stall(crt: Crt, server: Server) -> Crt:
    """Resume the coroutine, and have the server act, until neither can go on."""
    while True:
        need = next(crt)
        while not need.poll(0):
            if not server.step():
                return crt


# ------------------------------------------------------- what is dropped: generator coroutines


def an_idle_connection(conn: HTTPConnection, server: Server) -> list[Any]:
    drive(conn.co_request("GET", "/"), server)
    assert drive(conn.co_readall(), server) == b"GET /"
    return []


def an_unread_response(conn: HTTPConnection, server: Server) -> list[Any]:
    drive(conn.co_request("GET", "/"), server)
    return []


def connecting(conn: HTTPConnection, server: Server) -> list[Any]:
    crt = conn.co_connect()
    next(crt)
    if conn.ssl_context is not None:  # in the middle of the handshake
        assert server.step()
        while next(crt).poll(0):
            pass
    return [crt]


def sending(conn: HTTPConnection, server: Server) -> list[Any]:
    drive(conn.co_connect(), server)
    crt = conn.co_send_request("PUT", "/", body=LARGE)
    while next(crt).poll(0):
        pass
    return [crt]


def awaiting_a_response(conn: HTTPConnection, server: Server) -> list[Any]:
    drive(conn.co_send_request("GET", "/never"), server)
    return [stall(conn.co_read_response(), server)]


def requesting(conn: HTTPConnection, server: Server) -> list[Any]:
    return [stall(conn.co_request("GET", "/never"), server)]


def reading(conn: HTTPConnection, server: Server) -> list[Any]:
    drive(conn.co_request("GET", "/half"), server)
    return [stall(conn.co_readall(), server)]


def a_pipeline(conn: HTTPConnection, server: Server) -> list[Any]:
    pipeline = conn.pipeline(["/0", "/1", "/2"])
    drive(pipeline.co_next(), server)
    return [pipeline]


def a_step_of_a_pipeline(conn: HTTPConnection, server: Server) -> list[Any]:
    pipeline = conn.pipeline(["/0", "/never"])
    drive(pipeline.co_next(), server)
    return [stall(pipeline.co_next(), server), pipeline]


Make = Callable[[HTTPConnection, Server], list[Any]]

WITH_CONNECTION: list[Make] = [
    an_idle_connection,
    an_unread_response,
    connecting,
    sending,
    awaiting_a_response,
    requesting,
    reading,
    a_pipeline,
    a_step_of_a_pipeline,
]
ALONE = WITH_CONNECTION[2:]


def make(wire: Wire, listener: Listener) -> HTTPConnection:
    """Return a connection to which nothing else refers."""
    small = [(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL)]
    options = {"socket_options": small, **listener.options}
    return HTTPConnection(HOST, ssl_context=wire.client_context, **options)


def works(conn: HTTPConnection, server: Server) -> None:
    response = drive(conn.co_request("GET", "/next"), server)
    assert response.path == "/next"
    assert drive(conn.co_readall(), server) == b"GET /next"
    conn.disconnect()


@pytest.mark.parametrize("build", WITH_CONNECTION)
def test_with_the_connection(wire: Wire, build: Make) -> None:
    places = dropping(wire, build, with_connection=True)
    assert any("WeakValueDictionary" in place for place in places)


@pytest.mark.parametrize("build", ALONE)
def test_without_the_connection(wire: Wire, build: Make) -> None:
    """The next call answers or raises, and after `disconnect` the connection works."""
    dropping(wire, build, with_connection=False)


def dropping(wire: Wire, build: Make, *, with_connection: bool) -> list[str]:
    """Interrupt every call that dropping sets off. Returns where these were."""
    listener = wire.listen()
    before: dict[str, str] = {}
    places: list[str] = []
    for place in count(-1):
        server = serve(wire, listener)
        conn = make(wire, listener)
        held = build(conn, server)
        if with_connection:
            held.append(conn)
            conn = make(wire, listener)
        with Interrupt(place if place >= 0 else sys.maxsize, finalizers=True) as interrupt:
            held.clear()
        interrupt.forget()
        try:
            assert not interrupt.caught
            with server.in_company():  # what was dropped takes nothing any more
                if not with_connection:
                    goes_on(conn, server)
                    conn.disconnect()
                works(conn, server)
        except BaseException as exc:
            exc.add_note(f"interrupted in {interrupt}")
            raise
        server.abandon()
        wire.peers.remove(server)
        del conn
        if place < 0:  # the first one was only to see what is open by itself
            before = descriptors()
            continue
        if len(descriptors()) > len(before):
            gc.collect()
        left = descriptors()
        assert len(left) <= len(before), f"left open by {interrupt}: {left}, not {before}"
        if interrupt.raised is None:
            return places
        assert interrupt.in_finalizer, interrupt
        places.append(str(interrupt))
    raise AssertionError("endless")


def goes_on(conn: HTTPConnection, server: Server) -> None:
    """Whatever was dropped, sending and receiving end one way or another."""
    for crt in (conn.co_send_request("GET", "/next"), conn.co_read_response(), conn.co_readall()):
        with suppress(DugongError, StopIteration):
            stall(crt, server)  # a response that is still outstanding may never come
        crt.close()


# ------------------------------------------------------------------------- what is dropped: loops


async def idle(conn: AsyncHTTPConnection) -> list[Any]:
    """An asyncio loop still watches its descriptor."""
    await conn.request("GET", "/")
    await conn.readall()
    return []


async def pipeline_of_an_async_iterable(conn: AsyncHTTPConnection) -> list[Any]:
    async def paths() -> AsyncIterator[str]:
        for i in range(100):
            yield f"/{i}"

    pipeline = conn.pipeline(paths(), depth=4)
    async for _ in pipeline:
        break
    return [pipeline]


@pytest.mark.styles("asyncio", "trio")  # the others keep nothing in a loop
@pytest.mark.parametrize("build", [idle, pipeline_of_an_async_iterable])
async def test_in_a_loop(wire: StyledWire, build: Any) -> None:
    listener = wire.listen()
    before: dict[str, str] = {}
    for place in count(-1):
        server = serve(wire, listener)
        options = {"ssl_context": wire.client_context, **listener.options}
        conn = AsyncHTTPConnection(HOST, **options)
        with server.in_company():
            held = [*await build(conn), conn]
            del conn
            with Interrupt(
                place if place >= 0 else sys.maxsize, inner=True, finalizers=True
            ) as interrupt:
                held.clear()
            interrupt.forget()
            assert not interrupt.caught
            conn = AsyncHTTPConnection(HOST, **options)
            await conn.request("GET", "/next")
            assert await conn.readall() == b"GET /next"
            conn.disconnect()
            del conn
        server.abandon()
        wire.peers.remove(server)
        if place < 0:
            before = descriptors()
            continue
        if len(descriptors()) > len(before):
            gc.collect()
        left = descriptors()
        assert len(left) <= len(before), f"left open by {interrupt}: {left}, not {before}"
        if interrupt.raised is None:
            assert place > 2
            return
        assert interrupt.in_finalizer, interrupt


# ------------------------------------------------------------------------- beside another thread


@pytest.mark.parametrize("build", [connecting, sending, awaiting_a_response, reading])
def test_disconnecting_beside_another_thread(wire: Wire, build: Make) -> None:
    """A `disconnect` that is interrupted leaves no lock behind on which another thread waits."""
    listener = wire.listen()
    for place in count():
        server = serve(wire, listener)
        conn = make(wire, listener)
        [crt] = build(conn, server)
        with Interrupt(place) as interrupt:
            conn.disconnect()
        interrupt.forget()
        end_in_thread(conn, crt)
        conn.disconnect()
        with server.in_company():
            works(conn, server)
        server.abandon()
        wire.peers.remove(server)
        if interrupt.raised is None:
            return


def end_in_thread(conn: HTTPConnection, crt: Crt) -> None:
    """Resume the coroutine, and disconnect whenever it still waits."""

    def run() -> None:
        with suppress(DugongError, StopIteration):
            while True:
                if not next(crt).poll(0):
                    conn.disconnect()

    thread = threading.Thread(target=run, daemon=True)  # a hanging one does not delay the exit
    thread.start()
    thread.join(GUARD)
    assert not thread.is_alive()
