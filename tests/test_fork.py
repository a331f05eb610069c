"""Children of a fork, and whatever they do with their parent's connections: those are unaffected.

To a child, the object is not connected, and as good as new.
"""

from __future__ import annotations

import gc
import os
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from dugong import BodyFollowing, ConnectionClosed, HTTPConnection, StateError, eval_coroutine
from dugong.connection.pipeline import session
from dugong.transport.resolve import AddressInfo
from tests.support.drive import advance, drive
from tests.support.exchanges import EMPTY, OK, works
from tests.support.forked import forks, in_child
from tests.support.styles import StyledWire
from tests.support.tapped import Tap
from tests.support.wire import HOST, Listener, Wire
from tests.transport.tools import busy_server

pytestmark = forks


# ------------------------------------------------------------------ what a child does with one


Act = Callable[[Any, Listener], object]


def lets_go_of_it(conn: Any, listener: Listener) -> None:
    conn.disconnect()
    conn.disconnect()
    gc.collect()


def goes_on_with_it(conn: Any, listener: Listener | None) -> None:
    assert not conn.response_pending()
    assert not conn.body_pending
    assert eval_coroutine(conn.co_read(10), 5) == b""
    assert eval_coroutine(conn.co_readall(), 5) == b""
    with pytest.raises(StateError):
        eval_coroutine(conn.co_read_response(), 5)
    with pytest.raises(StateError):
        eval_coroutine(conn.co_write(b"data"), 5)
    with pytest.raises(StateError):
        conn.detach()


def connects(conn: Any, listener: Listener) -> None:
    peer = listener.peer()
    for _ in range(3):
        peer.expect_request(b"GET /child")
        peer.reply(OK)
    drive(conn.co_send_request("GET", "/child"), peer)
    assert drive(conn.co_read_response(), peer).status == 200
    assert drive(conn.co_readall(), peer) == b"hi"
    assert drive(conn.co_request("GET", "/child"), peer).status == 200
    assert drive(conn.co_readall(), peer) == b"hi"
    assert drive(conn.pipeline(["/child"]).co_next(), peer).status == 200
    assert drive(conn.co_readall(), peer) == b"hi"
    conn.disconnect()


every_act = pytest.mark.parametrize("act", [lets_go_of_it, goes_on_with_it, connects])

# ------------------------------------------------------------------ what the parent is about to do


@every_act
async def test_idle(wire: StyledWire, act: Act) -> None:
    listener = wire.listen()
    conn, peer = wire.dial(listener), listener.peer()
    for _ in range(2):
        peer.expect_request()
        peer.reply(OK)
        await conn.request("GET", "/")
        assert await conn.readall() == b"hi"
        in_child(lambda: act(conn, listener))
    assert not peer.saw_eof
    await works(conn, peer)


@every_act
async def test_between_reads(wire: StyledWire, act: Act) -> None:
    listener = wire.listen()
    conn, peer = wire.dial(listener), listener.peer()
    peer.expect_request()
    peer.reply(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n01234")
    await conn.request("GET", "/")
    assert await conn.read(10) == b"01234"
    in_child(lambda: act(conn, listener))
    peer.reply(b"56789")
    assert await conn.readall() == b"56789"
    await works(conn, peer)


@every_act
async def test_while_it_reads(wire: StyledWire, act: Act) -> None:
    """In another thread, another task, or in the same between two steps of its coroutine."""
    listener = wire.listen()
    conn, peer = wire.dial(listener), listener.peer()
    peer.expect_request()
    peer.call(lambda: in_child(lambda: act(conn, listener)))
    peer.reply(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n01234")
    peer.call(lambda: in_child(lambda: act(conn, listener)))
    peer.reply(b"56789")
    await conn.send_request("GET", "/")
    assert (await conn.read_response()).status == 200
    assert await conn.readall() == b"0123456789"
    await works(conn, peer)


@every_act
async def test_while_it_sends(wire: StyledWire, act: Act) -> None:
    conn, peer = wire.pair(small=True)
    listener = wire.listen()
    body = bytes(1 << 20)
    await conn.connect()
    if act is not connects:  # this one was given its socket
        peer.call(lambda: in_child(lambda: act(conn, listener)))
    peer.expect_request(b"PUT ", body=body)
    peer.reply(OK)
    await conn.send_request("PUT", "/", body=body)
    assert (await conn.read_response()).status == 200
    assert await conn.readall() == b"hi"
    await works(conn, peer)


@every_act
async def test_between_writes(wire: StyledWire, act: Act) -> None:
    listener = wire.listen()
    conn, peer = wire.dial(listener), listener.peer()
    peer.expect_request()
    peer.reply(EMPTY)
    await conn.request("GET", "/")
    await conn.send_request("PUT", "/", body=BodyFollowing(10))
    await conn.write(b"01234")
    in_child(lambda: act(conn, listener))
    await conn.write(b"56789")
    peer.expect_request(b"PUT ", body=b"0123456789")
    peer.reply(OK)
    assert (await conn.read_response()).status == 200
    assert await conn.readall() == b"hi"
    await works(conn, peer)


@every_act
async def test_in_a_pipeline(wire: StyledWire, act: Act, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "PATIENCE", 1000.0)  # forking takes its time on a busy machine
    listener = wire.listen()
    conn, peer = wire.dial(listener), listener.peer()
    peer.expect_request(b"GET /0")
    peer.reply(EMPTY)
    for number in range(1, 4):
        peer.expect_request(b"GET /%d" % number)
        peer.call(lambda: in_child(lambda: act(conn, listener)))
        peer.reply(OK)
    paths = []
    async for response in conn.pipeline([f"/{number}" for number in range(4)]):
        paths.append(response.path)
        in_child(lambda: act(conn, listener))
    assert paths == ["/0", "/1", "/2", "/3"]


@every_act
async def test_while_it_connects(wire: StyledWire, act: Act) -> None:
    listener = wire.listen()
    conn, peer = wire.dial(listener), listener.peer()
    peer.call(lambda: in_child(lambda: act(conn, listener)))
    peer.expect_request()
    peer.reply(OK)
    await conn.request("GET", "/")
    assert await conn.readall() == b"hi"
    await works(conn, peer)


# -------------------------------------------------------------- what a child does with coroutines


def closes(crt: Any) -> None:
    crt.close()


def goes_on(crt: Any) -> None:
    with pytest.raises(ConnectionClosed, match=r"closed by fork\(\)"):
        eval_coroutine(crt, 5)


def lets_go(crt: Any) -> None:
    del crt
    gc.collect()


of_coroutines = pytest.mark.parametrize("act", [closes, goes_on, lets_go])


@of_coroutines
def test_a_coroutine_that_reads(wire: Wire, act: Callable[[Any], object]) -> None:
    conn, peer = wire.pair()
    peer.expect_request()
    drive(conn.co_send_request("GET", "/"), peer)
    crt = conn.co_read_response()
    advance(crt, peer)
    in_child(lambda: act(crt))
    peer.reply(OK)
    assert drive(crt, peer).status == 200
    assert drive(conn.co_readall(), peer) == b"hi"
    works(conn, peer)


@of_coroutines
def test_a_coroutine_that_sends(wire: Wire, act: Callable[[Any], object]) -> None:
    conn, peer = wire.pair(small=True)
    body = bytes(1 << 20)
    drive(conn.co_connect(), peer)
    crt = conn.co_send_request("PUT", "/", body=body)
    advance(crt)
    in_child(lambda: act(crt))
    peer.expect_request(body=body)
    peer.reply(OK)
    drive(crt, peer)
    assert drive(conn.co_read_response(), peer).status == 200
    assert drive(conn.co_readall(), peer) == b"hi"
    works(conn, peer)


@of_coroutines
def test_a_coroutine_that_shakes_hands(tls: Wire, act: Callable[[Any], object]) -> None:
    conn, peer = tls.pair()
    crt = conn.co_connect()
    next(crt)
    in_child(lambda: act(crt))
    drive(crt, peer)
    works(conn, peer)


def test_coroutines_that_race(plain: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    """The set of descriptors that stands for all attempts is one for both processes."""
    with busy_server() as one, busy_server() as two:
        found: list[AddressInfo] = [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", server.getsockname())
            for server in (one, two)
        ]

        def getaddrinfo(*_: Any, flags: int = 0, **__: Any) -> list[AddressInfo]:
            if flags:
                raise socket.gaierror(socket.EAI_NONAME, "not numeric")
            return list(found)

        monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
        conn = plain.connection(HOST)
        crt = conn.co_connect()
        need = next(crt)
        while need.timeout is not None or need.fd < 0:  # until both attempts have begun
            need.poll(need.timeout)
            need = next(crt)
        for act in (closes, goes_on, lets_go):
            in_child(partial(act, crt))
        assert not need.poll(0)
        for _ in range(20):  # the system tries again once a second or so
            with suppress(BlockingIOError):
                two.accept()[0].close()
            if need.poll(1):
                break
        with pytest.raises(StopIteration):
            next(crt)
    conn.disconnect()


@of_coroutines
def test_a_reader_that_is_ahead(plain: Wire, act: Callable[[Any], object]) -> None:
    """It waits for the sender by a socket pair. The child wakes nobody."""
    with busy_server() as server:
        conn = plain.connection(HOST, address=server.getsockname())
        sender = conn.co_send_request("GET", "/")
        next(sender)
        reader = conn.co_read_response()
        need = next(reader)

        def do() -> None:
            act(reader)
            act(sender)
            conn.disconnect()

        in_child(do)
        assert not need.poll(0)
        sender.close()
        assert need.poll(5), "the parent's sender wakes it"
        reader.close()


# ------------------------------------------------------------------------------ what else there is


def test_locks_of_a_thread_that_the_child_does_not_have(wire: Wire) -> None:
    entered, gate = threading.Event(), threading.Event()

    class Slow(Tap):
        """A call takes its time, and with it the stream's lock."""

        def before(self, name: str, wanted: int) -> int:
            if armed and name in ("recv_into", "read"):
                entered.set()
                gate.wait(20)
            return wanted

    armed = False
    conn, peer = wire.pair(tap=Slow())
    peer.expect_request()
    drive(conn.co_send_request("GET", "/"), peer)
    peer.run()
    armed = True
    got: list[bytes] = []

    def read() -> None:
        conn.read_response()
        got.append(conn.readall())

    reading = threading.Thread(target=read)
    reading.start()
    peer.reply(OK)
    peer.run()
    assert entered.wait(20)

    def act() -> None:
        goes_on_with_it(conn, None)
        conn.disconnect()
        gc.collect()

    in_child(act)
    gate.set()
    reading.join()
    assert got == [b"hi"]


def test_a_socket_that_was_given_and_not_used() -> None:
    near, far = socket.socketpair()
    with far:
        conn = HTTPConnection(HOST, sock=near)

        def use() -> None:
            with pytest.raises(StateError):
                conn.send_request("GET", "/child")

        in_child(use)
        conn.send_request("GET", "/parent")
        assert far.recv(1000).startswith(b"GET /parent ")
        conn.disconnect()


def test_a_socket_that_was_given_away(plain: Wire) -> None:
    """It is not ours any more: the child may use it."""
    conn, peer = plain.pair()
    peer.expect_request()
    peer.reply(b"HTTP/1.1 101 Switching Protocols\r\n\r\nhello")
    drive(conn.co_send_request("GET", "/", {"Upgrade": "x", "Connection": "upgrade"}), peer)
    assert drive(conn.co_read_response(), peer).status == 101
    sock, rest = conn.detach()
    assert rest == b"hello"
    with sock:
        in_child(lambda: sock.sendall(b"from the child"))
        peer.expect(b"from the child")
        peer.run()


def test_the_child_in_the_middle_of_a_call(wire: Wire) -> None:
    """A callback has forked, and returns in both processes."""
    conn, peer = wire.pair()
    peer.expect_request(b"GET /")
    peer.reply(OK)
    drive(conn.co_connect(), peer)
    parent = os.getpid()
    child = 0

    def fork(event: str) -> None:
        nonlocal child
        if event == "sent":
            child = os.fork()

    conn.on_event = fork
    try:
        drive(conn.co_request("GET", "/"), peer)
    except ConnectionClosed:
        os._exit(0 if os.getpid() != parent else 1)
    finally:
        if os.getpid() != parent:
            os._exit(1)
    conn.on_event = None
    assert os.waitpid(child, 0)[1] == 0
    assert drive(conn.co_readall(), peer) == b"hi"
    works(conn, peer)


async def test_the_trace_is_the_parents(
    plain: StyledWire, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DUGONG_TRACEFILE", str(tmp_path / "%d"))
    listener = plain.listen()
    conn, peer = plain.dial(listener), listener.peer()
    peer.expect_request()
    peer.reply(OK)
    await conn.request("GET", "/")
    assert await conn.readall() == b"hi"
    before = (tmp_path / "1").read_bytes()
    in_child(lambda: connects(conn, listener))
    assert (tmp_path / "1").read_bytes() == before
    await works(conn, peer)
    assert (tmp_path / "1").read_bytes() != before
