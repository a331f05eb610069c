"""A plain socket that is tried and never waits. What TLS adds is in `test_tls`."""

from __future__ import annotations

import gc
import select
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dugong import POLLIN, POLLOUT, ConnectionClosed, ConnectionTimedOut, PollNeeded, eval_coroutine
from dugong.transport.monitor import Monitor
from dugong.transport.poll import Co
from dugong.transport.stream import Stream, after
from tests.support.tapped import Pace, Tap, tapped
from tests.support.wire import tcp_pair


class Plain:
    """A stream of ours and the socket at its other end, which blocks."""

    def __init__(self, *, small: bool = False, tap: Tap | None = None) -> None:
        near, self.far = tcp_pair(small)
        near.setblocking(False)
        self.near = near if tap is None else tapped(near, tap)
        self.activity = Monitor()
        self.stream = Stream(self.near, self.activity)

    def arrived(self) -> None:
        """Wait until something has come from the other end, its end included."""
        assert self.stream.want_read.poll(10)

    def deliver(self, data: bytes) -> None:
        self.far.sendall(data)
        self.arrived()

    def reset(self) -> None:
        self.far.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.far.close()
        poller = select.poll()
        poller.register(self.near, 0)
        assert poller.poll(10_000)  # POLLERR or POLLHUP

    def close(self) -> None:
        self.stream.close()
        self.far.close()


@pytest.fixture
def plain() -> Iterator[Plain]:
    plain = Plain()
    yield plain
    plain.close()


def views(*pieces: bytes) -> list[memoryview]:
    return [memoryview(piece) for piece in pieces]


def read(plain: Plain, how: str) -> Any:
    """Receive at most ten bytes in one of the two ways."""
    if how == "recv":
        return plain.stream.recv(10)
    target = bytearray(10)
    got = plain.stream.recv_into(memoryview(target))
    return got if isinstance(got, PollNeeded) else bytes(target[:got])


both_ways = pytest.mark.parametrize("how", ["recv", "recv_into"])

# ------------------------------------------------------------------------------ receiving


@both_ways
def test_receiving(plain: Plain, how: str) -> None:
    need = read(plain, how)
    assert (need, need.timeout) == ((plain.near.fileno(), POLLIN), None)
    plain.deliver(b"0123456789abc")
    assert read(plain, how) == b"0123456789"
    assert read(plain, how) == b"abc"
    assert read(plain, how) == need
    assert plain.activity.bytes_received == 13


@both_ways
def test_end(plain: Plain, how: str) -> None:
    plain.deliver(b"abc")
    plain.far.shutdown(socket.SHUT_WR)
    assert [read(plain, how) for _ in range(3)] == [b"abc", b"", b""]
    assert plain.stream.send(views(b"still open this way")) == 19
    assert plain.far.recv(100) == b"still open this way"


@both_ways
def test_data_before_a_reset_and_the_reset_for_ever_after(plain: Plain, how: str) -> None:
    """The system tells the error once and says "end" from then on."""
    plain.deliver(b"abc")
    plain.reset()
    assert read(plain, how) == b"abc"
    for _ in range(3):
        with pytest.raises(ConnectionClosed) as info:
            read(plain, how)
        assert isinstance(info.value.__cause__, ConnectionResetError)


@both_ways
def test_reset_that_the_sender_was_told_of(plain: Plain, how: str) -> None:
    """The system tells it once, to whoever comes first; a reader must not take it for the end."""
    plain.deliver(b"abc")
    plain.reset()
    with pytest.raises(ConnectionClosed):
        plain.stream.send(views(b"x"))
    assert read(plain, how) == b"abc"
    with pytest.raises(ConnectionClosed):
        read(plain, how)


def test_connection_that_the_system_gave_up() -> None:
    failure = TimeoutError(110, "Connection timed out")
    plain = Plain(tap=Pace(recv_fails=failure, send_fails=failure))
    for act in (
        lambda: read(plain, "recv"),
        lambda: read(plain, "recv_into"),
        lambda: plain.stream.send(views(b"a", b"b")),
    ):
        with pytest.raises(ConnectionTimedOut) as info:
            act()
        assert info.value.__cause__ is failure
    plain.close()


# ---------------------------------------------------------------------------------- sending


@pytest.mark.parametrize(
    "pieces", [[b"abc"], [b"a", b"bc"], [b"%d," % i for i in range(2000)]], ids=["1", "2", "2000"]
)
def test_all_pieces_arrive_in_order(plain: Plain, pieces: list[bytes]) -> None:
    eval_coroutine(plain.stream.co_send_all(views(*pieces)), 10)
    whole = b"".join(pieces)
    assert plain.far.recv(len(whole), socket.MSG_WAITALL) == whole
    assert plain.activity.bytes_sent == len(whole)


def test_head_and_body_go_out_in_one_call(plain: Plain) -> None:
    assert plain.stream.send(views(b"head", b"body")) == 8


def test_sending_more_than_there_is_room_for() -> None:
    plain = Plain(small=True)
    data = bytes(range(256)) * 40_000
    sender = plain.stream.co_send_all(views(data[:1000], data[1000:]))
    need = next(sender)
    assert need == (plain.near.fileno(), POLLOUT)
    assert next(sender) == need, "resumed early"
    got = bytearray()
    plain.far.setblocking(False)
    done = False
    while not done:
        try:
            got += plain.far.recv(1 << 20)
        except BlockingIOError:
            done = next(sender, None) is None
    plain.far.setblocking(True)
    got += plain.far.recv(len(data) - len(got), socket.MSG_WAITALL)
    assert got == data
    assert plain.activity.bytes_sent == len(data)
    plain.close()


def test_sending_to_nobody(plain: Plain) -> None:
    plain.reset()
    for _ in range(3):
        with pytest.raises(ConnectionClosed) as info:
            plain.stream.send(views(b"x"))
        assert isinstance(info.value.__cause__, ConnectionError)


@given(pieces=st.lists(st.binary(min_size=1, max_size=4)), data=st.data())
def test_what_is_left_after_some_were_sent(pieces: list[bytes], data: st.DataObject) -> None:
    whole = b"".join(pieces)
    count = data.draw(st.integers(0, len(whole)))
    left = after(views(*pieces), count)
    assert b"".join(left) == whole[count:]
    assert all(left)


class Gated(Tap):
    """Sending stands still until it is told to go on."""

    def __init__(self) -> None:
        self.entered, self.gate = threading.Event(), threading.Event()

    def before(self, name: str, wanted: int) -> int:
        if name == "send":
            self.entered.set()
            assert self.gate.wait(10)
        return wanted


def test_one_may_receive_while_another_sends() -> None:
    gated = Gated()
    plain = Plain(tap=gated)
    sender = threading.Thread(target=plain.stream.send, args=(views(b"x"),))
    sender.start()
    assert gated.entered.wait(10)
    plain.deliver(b"abc")
    assert plain.stream.recv(10) == b"abc"
    assert sender.is_alive()
    gated.gate.set()
    sender.join()
    plain.close()


# ------------------------------------------------------------------- idle, ended, or neither


def test_has_ended(plain: Plain) -> None:
    assert not plain.stream.has_ended()
    plain.deliver(b"abc")
    assert not plain.stream.has_ended()
    plain.far.close()
    assert not plain.stream.has_ended(), "data come first"
    assert plain.stream.recv(10) == b"abc"
    assert plain.stream.has_ended()
    assert plain.stream.recv(10) == b""


def test_reset_is_not_an_end(plain: Plain) -> None:
    plain.reset()
    assert not plain.stream.has_ended()
    with pytest.raises(ConnectionClosed):
        plain.stream.recv(10)


def last_words(plain: Plain) -> None:
    plain.deliver(b"x")
    plain.far.close()


IDLE: dict[str, tuple[Callable[[Plain], None], str | None]] = {
    "quiet": (lambda plain: None, None),
    "stray": (lambda plain: plain.deliver(b"x"), "data"),
    "stray, then closed": (last_words, "data"),
    "closed": (lambda plain: plain.far.close(), "closed"),
    "reset": (Plain.reset, "reset"),
}


@pytest.mark.parametrize(("happens", "fault"), IDLE.values(), ids=IDLE)
def test_idle_connection(plain: Plain, happens: Callable[[Plain], None], fault: str | None) -> None:
    happens(plain)
    if fault is None:
        assert plain.stream.idle_fault() is None
        return
    plain.arrived()
    assert fault in str(plain.stream.idle_fault())


# ------------------------------------------------------------------------ closing and giving


def test_closing_with_nobody_waiting(plain: Plain) -> None:
    for _ in range(3):
        plain.stream.close()
        assert plain.near.fileno() == -1
    assert plain.far.recv(1) == b""
    for act in (
        lambda: plain.stream.recv(1),
        lambda: plain.stream.recv_into(memoryview(bytearray(1))),
        lambda: plain.stream.send(views(b"x")),
        plain.stream.has_ended,
        lambda: next(plain.stream.wait(plain.stream.want_read)),
    ):
        with pytest.raises(ConnectionClosed):
            act()


@pytest.mark.parametrize("leave", ["resumed", "closed"])
def test_closing_wakes_who_waits_and_keeps_the_descriptor_till_then(
    plain: Plain, leave: str
) -> None:
    """A number given up too early may be somebody else's by the time it is polled."""
    reader = plain.stream.wait(plain.stream.want_read)
    writer = plain.stream.wait(plain.stream.want_write)
    need = next(reader)
    next(writer)
    assert not need.poll(0)
    plain.stream.close()
    assert plain.far.recv(1) == b"", "the connection has ended"
    assert need.poll(10), "who waits is woken"
    for waiter in (reader, writer):
        assert plain.near.fileno() >= 0
        if leave == "closed":
            waiter.close()
        else:
            with pytest.raises(ConnectionClosed):
                next(waiter)
    assert plain.near.fileno() == -1


def test_closing_from_another_thread(plain: Plain) -> None:
    waits = threading.Event()
    raised: list[BaseException] = []

    def reading() -> Co[None]:
        waiter = plain.stream.wait(plain.stream.want_read)
        for need in waiter:
            waits.set()
            yield need

    def read_on() -> None:
        try:
            eval_coroutine(reading(), 10)
        except BaseException as exc:
            raised.append(exc)

    thread = threading.Thread(target=read_on)
    thread.start()
    assert waits.wait(10)
    plain.stream.close()
    thread.join()
    assert [type(exc) for exc in raised] == [ConnectionClosed]
    assert plain.near.fileno() == -1


def test_given_away(plain: Plain) -> None:
    sock = plain.stream.detach()
    plain.far.sendall(b"abc")
    with pytest.raises(ConnectionClosed):
        plain.stream.recv(1)
    plain.stream.close()  # has nothing to close any more
    sock.setblocking(True)
    assert sock.recv(10) == b"abc"
    sock.sendall(b"def")
    assert plain.far.recv(10) == b"def"
    sock.close()


def test_given_away_while_somebody_waits(plain: Plain) -> None:
    """Who waits is refused; the socket, which is somebody else's now, stays open."""
    waiter = plain.stream.wait(plain.stream.want_read)
    next(waiter)
    sock = plain.stream.detach()
    with pytest.raises(ConnectionClosed):
        next(waiter)
    assert sock.fileno() >= 0
    sock.close()


def test_stream_that_is_let_go_closes_its_socket() -> None:
    """Without a ResourceWarning, which would be an error here."""
    near, far = tcp_pair(small=False)
    Stream(near, Monitor())
    del near
    gc.collect()
    with far:
        assert far.recv(1) == b""
