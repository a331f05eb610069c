"""`pipeline` and interrupts at any line, as Ctrl-C comes, and callbacks that raise.

One response may be lost with the step that was interrupted, as with any function that does not
come to return. No other is, and none is ever taken for another's; what must not be sent twice is
not.
"""

from __future__ import annotations

import gc

import pytest

from dugong import ConnectionClosed, HTTPConnection, Request, StateError
from tests.session.test_interrupted import interrupted_at
from tests.support.drive import drive
from tests.support.pipeline_server import Server
from tests.support.pipeline_walk import walk
from tests.support.styles import StyledWire
from tests.support.wire import HOST, Wire

pytestmark = pytest.mark.slow


def requests() -> list[Request]:
    return [
        Request("GET", "/0"),
        Request("GET", "/1"),
        Request("HEAD", "/2"),
        Request("POST", "/3", body=b"form"),
        Request("PUT", "/4", body=b"body"),
        Request("PUT", "/5", body=iter([b"bo", b"dy"])),
        Request("GET", "/6"),
        Request("GET", "/7"),
    ]


class Walk:
    """Goes through a pipeline step by step, and notes what came."""

    def __init__(self, conn: HTTPConnection, server: Server) -> None:
        self.conn = conn
        self.server = server
        self.pipeline = conn.pipeline(requests(), depth=4)
        self.got: list[str] = []
        self.failed: list[tuple[str, bool]] = []
        self.disconnected = False

    def go_on(self) -> None:
        """To the end."""
        while self.step():
            pass

    def step(self) -> bool:
        try:
            response = drive(self.pipeline.co_next(), self.server)
        except ConnectionClosed as exc:
            if "disconnect()" in str(exc) and self.disconnected:
                self.disconnected = False
                return True
            self.failed.append((exc.unanswered[0].path, exc.safe_to_retry))
            return True
        except StateError:
            # A call of reading that was interrupted looks as if it went on in another thread.
            assert not self.disconnected
            self.disconnected = True
            self.conn.disconnect()
            return True
        if response is None:
            return False
        body = drive(self.conn.co_readall(), self.server)
        name = f"{response.method} {response.path}".encode()
        assert body == (b"" if response.method == "HEAD" else name)
        self.got.append(response.path)
        return True


#: Of the lines of one walk, so many are left out between two that are interrupted.
STRIDE = 17


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")  # closing may be interrupted too
def test_at_any_line(plain: Wire) -> None:
    count = 0
    listener = plain.listen()
    while interrupted_walk(plain, Server(plain, listener=listener), count):
        count += STRIDE
    assert count > 300
    gc.collect()


def interrupted_walk(plain: Wire, server: Server, count: int) -> bool:
    with server.in_company():  # an interrupted client does not take all that it is sent
        walk = Walk(HTTPConnection(HOST, address=server.listener.address), server)
        assert walk.step()
        interrupted = interrupted_at(count, walk.go_on)
        went_on(walk, interrupted)
    walk.conn.disconnect()
    server.abandon()
    plain.peers.remove(server)
    return interrupted


def went_on(walk: Walk, interrupted: bool) -> None:
    before = list(walk.got)
    for _ in range(20):
        try:
            if not walk.step():
                break
        except ConnectionClosed:
            # It was reading that was interrupted: this body, and no other, cannot be read.
            assert interrupted
    else:
        raise AssertionError("it fails again and again")
    asked = [request.path for request in requests()]
    came = walk.got
    assert came == sorted(came)
    assert came[: len(before)] == before
    assert {*walk.failed} <= {("/3", False), ("/5", False)}
    missing = [path for path in asked if path not in (*came, *(path for path, _ in walk.failed))]
    assert len(missing) <= interrupted
    times = walk.server.times()
    assert times["/3"] <= 1
    assert len(walk.server.whole("/5")) <= 1
    for seen in walk.server.log:
        if seen.request.method == "PUT":
            assert seen.request.body == b"body"


class Mine(Exception):
    """What a callback raises."""


@pytest.mark.parametrize("event", ["resolved", "connected", "sent", "first_byte", "done"])
async def test_a_callback_that_raises(plain: StyledWire, event: str) -> None:
    """It comes out of the step in which it was called, or of reading; then it goes on as above."""
    for place in range(8):
        server = Server(plain)
        conn = plain.dial(server.listener)
        left = [place]

        def callback(name: str, left: list[int] = left) -> None:
            if name == event and left:
                left[0] -= 1
                if left[0] < 0:
                    left.clear()
                    raise Mine(event)

        conn.on_event = callback
        with server.in_company():
            steps = await walk(conn, requests(), (Mine, ConnectionClosed), depth=4)
        assert len([step for step in steps if isinstance(step.error, Mine)]) == (not left)
        came = [step.request.path for step in steps if step.body is not None]
        assert came == sorted(set(came))
        failed = [step for step in steps if isinstance(step.error, ConnectionClosed)]
        assert {step.request.path for step in failed} <= {"/3", "/5"}
        asked = {request.path for request in requests()}
        assert len(asked - {*came} - {step.request.path for step in failed}) <= 1
        for step in steps:
            if step.body is not None and step.request.method != "HEAD":
                assert step.body == f"{step.request.method} {step.request.path}".encode()
        assert server.times()["/3"] <= 1
        assert len(server.whole("/5")) <= 1
        conn.disconnect()
