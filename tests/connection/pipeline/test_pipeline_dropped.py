"""`pipeline` and servers that drop requests which come together with the one that they answer.

The oldest one is sent again, alone, on another connection, and so are all others after it. That
takes a few seconds, by the clock; here the clock is turned, or the time is short.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from dugong import ConnectionTimedOut, PollNeeded, Request
from dugong.connection.pipeline import session
from tests.support.drive import advance, drive
from tests.support.exchanges import EMPTY, OK
from tests.support.peer import Peer
from tests.support.pipeline_server import Server
from tests.support.pipeline_walk import Lazy, LazyAsync, bodies, expected, paths, walk
from tests.support.styles import StyledWire
from tests.support.styles_in_loops import AsyncioWire, TrioWire
from tests.support.uploads import Turning
from tests.support.wire import Wire

SECONDS = session.PATIENCE


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "PATIENCE", 0.05)


def kinds(wire: StyledWire) -> list[Callable[[list[str]], Any]]:
    found: list[Callable[[list[str]], Any]] = [list, Lazy]
    return [*found, LazyAsync] if isinstance(wire, AsyncioWire | TrioWire) else found


# ---------------------------------------------------------------------------- in every style


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("count", [3, 6, 150])
async def test_all_are_answered(wire: StyledWire, count: int) -> None:
    """Each by its own response: nothing is sent to take the place of what was dropped."""
    for kind in kinds(wire):
        server = Server(wire, drops=True)
        conn = wire.dial(server.listener)
        steps = await walk(conn, kind(paths(count)))
        assert bodies(steps) == expected(paths(count))
        # Few that are sent separately may all be received separately.
        assert server.dropped or (kind is Lazy and count < 100)
        assert len(server.connections) == (2 if server.dropped else 1)
        assert all(seen.alone for seen in server.log if seen.connection == 1)


@pytest.mark.usefixtures("impatient")
async def test_it_is_remembered(wire: StyledWire) -> None:
    """Further pipelines of the same object, and further connections, do not lose time again."""
    server = Server(wire, drops=True)
    conn = wire.dial(server.listener)
    await walk(conn, paths(4))
    dropped = server.dropped
    for _ in range(3):
        assert bodies(await walk(conn, paths(9))) == expected(paths(9))
        conn.disconnect()
    assert server.dropped == dropped


@pytest.mark.usefixtures("impatient")
@pytest.mark.styles("generator", "asyncio", "trio")  # a thread may receive each by itself
async def test_bodies_that_can_be_sent_again(wire: StyledWire) -> None:
    server = Server(wire, drops=True)
    requests = [Request("PUT", f"/{i}", body=b"%d" % i) for i in range(7)]
    steps = await walk(wire.dial(server.listener), requests)
    assert bodies(steps) == [f"PUT /{i}".encode() for i in range(7)]
    assert server.dropped
    assert all(received.body == b"%d" % i for i in range(7) for received in server.whole(f"/{i}"))


@pytest.mark.styles("blocking", "asyncio", "trio")  # for generators it is their driver's to do
async def test_a_shorter_time_limit(wire: StyledWire, monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps that it ends do not begin to wait from the start: a later one succeeds."""
    monkeypatch.setattr(session, "PATIENCE", 0.3)
    server = Server(wire, drops=True)
    conn = wire.dial(server.listener)
    pipeline = conn.pipeline(paths(6))
    assert [(await anext(pipeline)).path for _ in range(2)] == paths(2)
    conn.timeout = 0.05
    with pytest.raises(ConnectionTimedOut):
        await anext(pipeline)
    got: list[tuple[str, bytes]] = []
    while len(got) < 4:
        try:
            response = await anext(pipeline)
        except ConnectionTimedOut:
            continue
        conn.timeout = None
        got.append((response.path, await conn.readall()))
    assert got == list(zip(paths(6)[2:], expected(paths(6)[2:]), strict=True))


# ------------------------------------------------------------------------- by a turned clock


class Dialled:
    """A pipeline on a connection to scripted peers; it has sent what can go out together.

    Attributes:
        clock: what it goes by.
        first: the peer of its first connection, which has answered ``/0``.
        second: that of the next one.
    """

    def __init__(self, wire: Wire, *others: str | Request) -> None:
        listener = wire.listen()
        self.conn = wire.dial(listener)
        self.clock = Turning(self.conn)
        self.first, self.second = listener.peer(), listener.peer()
        self._peers = (self.first, self.second)
        self.pipeline = self.conn.pipeline(["/0", *others])
        self.first.expect_request(b"GET /0 ")
        self.first.reply(OK)
        self.next("/0")
        self._crt: Any = None

    def next(self, path: str) -> None:
        """Drive the step that was begun, or another one, to the end."""
        crt, self._crt = getattr(self, "_crt", None) or self.pipeline.co_next(), None
        response = drive(crt, *self._peers)
        assert response is not None
        assert response.path == path
        assert drive(self.conn.co_readall(), *self._peers) in (b"hi", b"")

    def waits(self) -> float | None:
        """Play the first script to its end, and see for how long the step waits from then on."""
        if self._crt is None:
            self._crt = self.pipeline.co_next()
        need = advance(self._crt, self.first)
        assert isinstance(need, PollNeeded)
        return need.timeout

    def cut_short(self) -> None:
        """End the step that was begun."""
        self._crt.close()
        self._crt = None

    def starts_over(self, *others: str) -> None:
        """Assert that the first of *others* is sent alone, on the next connection, and so on."""
        second = self.second
        for path in others:
            second.expect_request(f"GET {path} ".encode())
            second.call(lambda: nothing_more(second))
            second.reply(OK)
        for path in others:
            self.next(path)
        second.check()
        while self.first._receive():
            pass
        assert self.first.saw_eof


def nothing_more(peer: Peer) -> None:
    while peer._receive():
        pass
    assert not peer._unread


def test_for_how_long(wire: Wire) -> None:
    """By the clock, however often the coroutine is resumed."""
    at = Dialled(wire, "/1", "/2", "/3")
    assert at.waits() == SECONDS
    at.clock.now += 2
    assert at.waits() == pytest.approx(SECONDS - 2)
    at.clock.now += SECONDS
    at.starts_over("/1", "/2", "/3")


def test_the_last_of_those_sent_together(wire: Wire) -> None:
    """It is the only one in flight by now, but was not when it was sent."""
    at = Dialled(wire, "/1", "/2")
    at.first.expect_request(b"GET /1 ")
    at.first.expect_request(b"GET /2 ")
    at.first.reply(OK)
    at.next("/1")
    assert at.waits() == SECONDS
    at.clock.now += SECONDS + 1
    at.starts_over("/2")


def test_it_goes_on_from_step_to_step(wire: Wire) -> None:
    """Also while there is none, because what comes meanwhile would be found."""
    at = Dialled(wire, "/1", "/2")
    assert at.waits() == SECONDS
    at.cut_short()
    at.clock.now += SECONDS - 1
    assert at.waits() == pytest.approx(1)
    at.cut_short()
    at.clock.now += 1000
    at.starts_over("/1", "/2")


def test_a_slow_server_is_asked_twice_at_most(wire: Wire) -> None:
    """A long poll: the second time it has all the time that the limits allow."""
    at = Dialled(wire, "/1", "/2")
    assert at.waits() == SECONDS
    at.clock.now += SECONDS + 1
    at.second.expect_request(b"GET /1 ")
    need = advance(at._crt, at.second)
    for _ in range(3):
        assert need.timeout is None
        at.clock.now += 1000
        need = advance(at._crt, at.second)
    at.second.reply(OK)
    at.next("/1")


@pytest.mark.parametrize("sign", [b"HTTP/1.1 2", b"HTTP/1.1 102 Processing\r\n\r\n"])
def test_signs_of_work(wire: Wire, sign: bytes) -> None:
    """The beginning of a response, or an interim one: the request was not dropped."""
    at = Dialled(wire, "/1", "/2")
    at.first.expect_request(b"GET /1 ")
    at.first.expect_request(b"GET /2 ")
    at.first.reply(sign)
    assert at.waits() is None
    at.clock.now += 1000
    assert at.waits() is None
    at.first.reply(OK.removeprefix(sign) + EMPTY)
    at.next("/1")
    at.next("/2")
    at.first.check()


def test_a_body_that_takes_long(wire: Wire) -> None:
    """The next response cannot begin before: the time has not begun yet."""
    at = Dialled(wire, "/1", "/2")
    at.first.expect_request(b"GET /1 ")
    at.first.expect_request(b"GET /2 ")
    at.first.reply(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n")
    response = drive(at.pipeline.co_next(), at.first)
    assert response is not None
    for byte in b"slow body":
        assert at.waits() is None
        at.clock.now += 1000
        at.first.reply(bytes([byte]))
    assert at.waits() == SECONDS
    at.first.reply(OK)
    at.next("/2")


def test_a_record_that_takes_long(tls: Wire) -> None:
    """Bytes arrive, although none of the response does before the last one of the record."""
    at = Dialled(tls, "/1", "/2")
    at.first.expect_request(b"GET /1 ")
    at.first.expect_request(b"GET /2 ")
    assert at.waits() == SECONDS
    at.first._encode(OK)
    record = bytes(at.first._out)
    at.first._out.clear()
    for byte in record[:-1]:
        at.clock.now += SECONDS - 1
        at.first.garble(bytes([byte]))
        assert at.waits() == SECONDS
    at.first.garble(record[-1:])
    at.next("/1")


def test_a_large_upload(wire: Wire) -> None:
    """It may still be on its way when the system has taken all of it."""
    body = bytes(160 * 1024)
    at = Dialled(wire, "/1", Request("PUT", "/2", body=body))
    at.first.expect_request(b"GET /1 ")
    at.first.expect_request(b"PUT /2 ")
    assert at.waits() == SECONDS
    at.clock.now += SECONDS
    seconds = at.waits()
    assert seconds is not None
    assert 10 < seconds < 10.1
    at.clock.now += seconds + 1
    at.second.expect_request(b"GET /1 ")
    at.second.reply(OK)
    at.next("/1")


def one_shot() -> Iterator[bytes]:
    yield b"once"


def test_what_cannot_be_sent_again(wire: Wire) -> None:
    """It is waited for as long as the limits allow, together with what was sent before it."""
    at = Dialled(wire, "/1", Request("PUT", "/2", body=one_shot()))
    at.first.expect_request(b"GET /1 ")
    at.first.expect_request(b"PUT /2 ")
    assert at.waits() == SECONDS
    at.clock.now += SECONDS
    assert at.waits() is None
    at.first.reply(OK)
    at.next("/1")


def test_a_socket_handed_over(wire: Wire) -> None:
    """There is no other connection."""
    conn, peer = wire.pair()
    clock = Turning(conn)
    pipeline = conn.pipeline(paths(3))
    peer.expect_request(b"GET /0 ")
    peer.reply(OK)
    assert drive(pipeline.co_next(), peer)
    crt = pipeline.co_next()
    for _ in range(2):
        assert advance(crt, peer).timeout is None
        clock.now += 1000
    crt.close()


def test_one_at_a_time(wire: Wire) -> None:
    """Where nothing was sent together, nothing can have been dropped."""
    listener = wire.listen()
    conn, peer = wire.dial(listener), listener.peer()
    clock = Turning(conn)
    pipeline = conn.pipeline(paths(3), depth=1)
    for path in paths(3):
        peer.expect_request(f"GET {path} ".encode())
        crt = pipeline.co_next()
        for _ in range(2):
            assert advance(crt, peer).timeout is None
            clock.now += 1000
        peer.reply(OK)
        assert drive(crt, peer)


# -------------------------------------------------------------------------------- proof


def test_nothing_follows_before_two_of_them_are_answered(wire: Wire) -> None:
    """It might be answered in the place of one that was dropped."""
    listener = wire.listen()
    conn, peer = wire.dial(listener), listener.peer()
    pipeline = conn.pipeline(paths(9), depth=4)
    peer.expect_request(b"GET /0 ")
    peer.reply(OK)
    assert drive(pipeline.co_next(), peer)
    for path in paths(4, 1):
        peer.expect_request(f"GET {path} ".encode())
    peer.reply(OK)
    assert drive(pipeline.co_next(), peer)
    drive(conn.co_readall(), peer)
    crt = pipeline.co_next()
    advance(crt, peer)
    nothing_more(peer)
    peer.reply(OK)
    assert drive(crt, peer)
    drive(conn.co_readall(), peer)
    peer.expect_request(b"GET /5 ")
    peer.expect_request(b"GET /6 ")
    crt = pipeline.co_next()
    advance(crt, peer)
    peer.check()
    crt.close()
