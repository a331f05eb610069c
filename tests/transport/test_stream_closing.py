"""`Stream.close` while other threads are in a call: it never waits, and the last one closes."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator

import pytest

from dugong import ConnectionClosed
from dugong.transport import stream as stream_module
from dugong.transport.monitor import Monitor
from dugong.transport.stream import Stream
from dugong.transport.tls import TLSStream
from tests.support.peer import Peer
from tests.support.tapped import Tap, tap_tls, tapped
from tests.support.wire import HOST, Certificates, tcp_pair
from tests.transport.tools import before_line

GUARD = 20


class Call:
    """A call of the system that takes until `leave`."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self._left = threading.Event()
        self.thread = threading.Thread()
        self.error: BaseException | None = None

    def __call__(self) -> None:
        """What the socket does first."""
        self.entered.set()
        assert self._left.wait(GUARD)

    def begin(self, run: Callable[[], object]) -> None:
        def target() -> None:
            try:
                run()
            except BaseException as exc:
                self.error = exc

        self.thread = threading.Thread(target=target)
        self.thread.start()
        assert self.entered.wait(GUARD)

    def leave(self) -> None:
        self._left.set()
        self.thread.join()


class Slow(Tap):
    """Makes the calls of a socket take their time."""

    receiving: Call | None = None
    sending: Call | None = None

    def before(self, name: str, wanted: int) -> int:
        call = self.sending if name == "send" else self.receiving
        if call is not None:
            call()
        return wanted


class Ends:
    """A stream whose calls take as long as the test wants, and its peer."""

    def __init__(self, certificates: Certificates | None) -> None:
        self.slow = Slow()
        near, far = tcp_pair(small=False)
        fd = near.fileno()
        if certificates is None:
            self.peer = Peer(far, client_fd=fd)
            near = tapped(near, self.slow)
            near.setblocking(False)
            self.stream = Stream(near, Monitor())
        else:
            self.peer = Peer(far, client_fd=fd, context=certificates.server)
            context = certificates.new_client()
            tap_tls(context, self.slow)
            tls = context.wrap_socket(near, server_hostname=HOST, do_handshake_on_connect=False)
            with self.peer.in_thread():
                tls.do_handshake()
            tls.setblocking(False)
            self.stream = TLSStream(tls, Monitor())

    def receive(self) -> Call:
        """Have a thread enter a call that receives."""
        call = self.slow.receiving = Call()
        call.begin(lambda: self.stream.recv_into(memoryview(bytearray(10))))
        return call

    def send(self) -> Call:
        """Have a thread enter a call that sends."""
        call = self.slow.sending = Call()
        call.begin(lambda: self.stream.send([memoryview(b"data")]))
        return call

    @property
    def is_open(self) -> bool:
        return self.stream.sock.fileno() >= 0

    def has_ended(self) -> None:
        assert not self.is_open
        if self.slow.sending:
            self.peer.expect(b"data")
        self.peer.expect_eof()
        self.peer.run()


@pytest.fixture(params=["plain", "tls"])
def ends(request: pytest.FixtureRequest, certificates: Certificates) -> Iterator[Ends]:
    ends = Ends(certificates if request.param == "tls" else None)
    yield ends
    ends.stream.close()
    ends.peer.abandon()


@pytest.fixture
def plain() -> Iterator[Ends]:
    ends = Ends(None)
    yield ends
    ends.stream.close()
    ends.peer.abandon()


@pytest.mark.parametrize("begin", [Ends.receive, Ends.send])
def test_the_call_closes_when_it_ends(ends: Ends, begin: Callable[[Ends], Call]) -> None:
    call = begin(ends)
    ends.stream.close()  # does not wait for it
    assert ends.is_open
    with pytest.raises(ConnectionClosed):
        ends.stream.hold(object())
    call.leave()
    ends.has_ended()


def test_tls_says_goodbye(certificates: Certificates) -> None:
    ends = Ends(certificates)
    call = ends.receive()
    ends.stream.close()
    call.leave()
    ends.has_ended()
    assert ends.peer.saw_close_notify
    ends.peer.abandon()


@pytest.mark.parametrize("order", ["receiver first", "sender first"])
def test_the_last_of_two_calls_closes(plain: Ends, order: str) -> None:
    calls = [plain.receive(), plain.send()]
    if order == "sender first":
        calls.reverse()
    plain.stream.close()
    calls[0].leave()
    assert plain.is_open
    calls[1].leave()
    plain.has_ended()


@pytest.mark.parametrize("begin", [Ends.receive, Ends.send])
def test_a_call_that_ends_at_any_moment(begin: Callable[[Ends], Call]) -> None:
    """Whatever `close` is at: one of both threads closes the descriptor."""
    count = 0
    while True:
        ends = Ends(None)
        call = begin(ends)
        more = before_line(stream_module.__file__, count, call.leave, ends.stream.close)
        call.leave()
        ends.has_ended()
        ends.peer.abandon()
        if not more:
            break
        count += 1
    assert count > 5


@pytest.mark.parametrize("begin", [Ends.receive, Ends.send])
def test_closed_at_any_moment_of_a_call(begin: Callable[[Ends], Call]) -> None:
    """The same from the other side: another thread closes, whatever the call is at."""
    count = 0
    more = True
    while more:
        ends = Ends(None)
        ends.slow.receiving = ends.slow.sending = None

        def close(ends: Ends = ends) -> None:
            thread = threading.Thread(target=ends.stream.close)
            thread.start()
            thread.join()

        def run(ends: Ends = ends) -> None:
            try:
                if begin is Ends.receive:
                    ends.stream.recv_into(memoryview(bytearray(10)))
                else:
                    ends.stream.send([memoryview(b"data")])
            except ConnectionClosed:
                pass

        more = before_line(stream_module.__file__, count, close, run)
        if more:
            assert not ends.is_open
        ends.stream.close()
        ends.peer.abandon()
        count += 1
    assert count > 5


# A daemon thread ends when the interpreter does, in the middle of whatever it is doing.
DAEMON = """
import socket, threading, time
from dugong import HTTPConnection

entered = threading.Event()
names = {"entered": entered, "time": time}  # the thread keeps these alive, and not this module's
exec("def recv_into(sock, *args): entered.set(); time.sleep(1000)", names)

class Slow(socket.socket):
    recv_into = names["recv_into"]

class Session:
    def __init__(self, conn):
        self.conn = conn
    def __del__(self):
        self.conn.disconnect()
        print("disconnected", flush=True)

near, far = socket.socketpair()
session = Session(HTTPConnection("localhost", sock=Slow(fileno=near.detach())))
session.conn.send_request("GET", "/")
far.sendall(b"HTTP/1.1 200 OK\\r\\n")
threading.Thread(target=session.conn.read_response, daemon=True).start()
entered.wait()
far.close()
"""


def test_a_daemon_thread_ended_in_a_call() -> None:
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-c", DAEMON],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "disconnected\n", "")
