"""Interrupts between a call of the system and the accounting for it: Ctrl-C, mostly.

A signal handler may raise at any point. What was sent then counts as sent, although nobody knows
how much it was, and what was received is lost: no response is ever taken for another's.
"""

from __future__ import annotations

import gc
import io
import sys
import tempfile
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

import dugong
from dugong import BodyFollowing, ConnectionClosed, HTTPConnection, StateError
from tests.session.hooked import RECEIVING, SENDING, Hook, hook_sendfile
from tests.support.drive import drive
from tests.support.exchanges import (
    CHUNKED,
    CUT_READERS,
    LENGTH,
    PAYLOAD,
    READERS,
    Reader,
    fetch,
    works,
)
from tests.support.peer import Peer
from tests.support.received import parse_request
from tests.support.styles import StyledWire
from tests.support.uploads import WAYS, requested
from tests.support.wire import Wire

pytestmark = pytest.mark.slow


def a_file() -> Any:
    file = tempfile.TemporaryFile()  # noqa: SIM115 - for the test to close
    file.write(b"hello")
    file.seek(0)
    return file


BODIES: dict[str, Callable[[], Any]] = {
    "none": lambda: None,
    "bytes": lambda: b"hello",
    "BytesIO": lambda: io.BytesIO(b"hello"),
    "file": a_file,
    "iterable": lambda: iter([b"hel", b"lo"]),
}

#: How many calls of the system send such a request, when they are made one by one.
CALLS = {"none": 1, "bytes": 1, "BytesIO": 2, "file": 2, "iterable": 4}


def answer(path: bytes) -> bytes:
    """A response that says which request it is the answer to."""
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(path), path)


def has_ended(conn: HTTPConnection, peer: Peer) -> None:
    """Nothing more is sent or read on this connection; what comes from the server is nobody's."""
    with pytest.raises(ConnectionClosed):
        drive(conn.co_send_request("GET", "/again"), peer)
    if not peer.saw_eof:
        peer._receive()
    assert b"/again" not in peer.received


# ------------------------------------------------------------------------------- sending


@pytest.mark.parametrize("kind", BODIES)
@pytest.mark.parametrize("method", ["PUT", "POST"])
@pytest.mark.parametrize("way", WAYS)
def test_while_sending(
    wire: Wire, monkeypatch: pytest.MonkeyPatch, way: str, method: str, kind: str
) -> None:
    """The server may have the whole request, whatever was counted of it."""
    for after in range(CALLS[kind]):
        hook = Hook()
        hook_sendfile(monkeypatch, hook)
        conn, peer = wire.pair(tap=hook)
        drive(conn.co_connect(), peer)
        body = BODIES[kind]()
        hook.interrupt(SENDING, after)
        with pytest.raises(KeyboardInterrupt) as caught:
            drive(WAYS[way](conn, method, "/secret", body=body, expect100=False), peer)
        peer._receive()
        assert peer.received.startswith(method.encode() + b" /secret HTTP/1.1\r\n")
        found = vars(caught.value)
        taken = kind == "iterable" and after > 0
        assert found["safe_to_retry"] is (method == "PUT" and not taken)
        assert [request.path for request in found["unanswered"]] == ["/secret"]
        assert found["bytes_sent"] <= len(peer.received)
        has_ended(conn, peer)
        if hasattr(body, "close"):
            body.close()


def test_while_writing_a_body(wire: Wire) -> None:
    for length in (5, None):
        for after in range(2):
            hook = Hook()
            conn, peer = wire.pair(tap=hook)
            drive(conn.co_send_request("PUT", "/", body=BodyFollowing(length)), peer)
            hook.interrupt(SENDING)
            with pytest.raises(KeyboardInterrupt) as caught:
                if after:
                    hook.interrupt(SENDING, 1)
                    drive(conn.co_write(b"he"), peer)
                drive(conn.co_write(b"llo"), peer)
            assert vars(caught.value)["safe_to_retry"] is False
            with pytest.raises(ConnectionClosed):
                drive(conn.co_write(b"llo"), peer)
            has_ended(conn, peer)


def test_while_ending_a_body(wire: Wire) -> None:
    hook = Hook()
    conn, peer = wire.pair(tap=hook)
    drive(conn.co_send_request("PUT", "/", body=BodyFollowing()), peer)
    drive(conn.co_write(b"hello"), peer)
    hook.interrupt(SENDING)
    with pytest.raises(KeyboardInterrupt):
        drive(conn.co_end_body(), peer)
    with pytest.raises(ConnectionClosed):
        drive(conn.co_end_body(), peer)
    has_ended(conn, peer)


def test_what_was_sent_before_is_answered(wire: Wire) -> None:
    """An interrupted request ends the sending. Responses to earlier ones are still read."""
    hook = Hook()
    conn, peer = wire.pair(tap=hook)
    peer.expect_request(b"GET /one")
    drive(conn.co_send_request("GET", "/one"), peer)
    hook.interrupt(SENDING)
    with pytest.raises(KeyboardInterrupt):
        drive(conn.co_send_request("POST", "/two", body=b"hello"), peer)
    peer.reply(answer(b"/one"))
    assert drive(conn.co_read_response(), peer).path == "/one"
    assert drive(conn.co_readall(), peer) == b"/one"
    has_ended(conn, peer)


async def test_what_follows_goes_elsewhere(wire: StyledWire) -> None:
    """`request` connects anew, and gets its own answer."""

    def blocks() -> Iterator[bytes]:
        yield b"hello"
        raise KeyboardInterrupt

    listener = wire.listen()
    conn, first, second = wire.dial(listener), listener.peer(), listener.peer()
    first.expect_head(b"PUT /first")
    first.expect(b"5\r\nhello\r\n")
    caught = None
    try:
        await conn.request("PUT", "/first", body=blocks(), expect100=False)
    except KeyboardInterrupt as exc:
        caught = exc
    assert vars(caught)["safe_to_retry"] is False
    second.expect_request(b"GET /again")
    second.reply(answer(b"/again"))
    assert (await requested(conn, path="/again"))[1] == b"/again"
    second.check()
    assert b"/again" not in first.received


# ------------------------------------------------------------------------------ receiving


def two_answered(wire: Wire, hook: Hook, first: bytes) -> tuple[HTTPConnection, Peer]:
    """Two requests are under way, and both responses have arrived."""
    conn, peer = wire.pair(tap=hook)
    for path in ("/one", "/two"):
        drive(conn.co_send_request("GET", path), peer)
        peer.expect_request()
    peer.reply(first)
    return conn, peer


def nothing_more_is_read(conn: HTTPConnection, peer: Peer, payload: bytes = b"") -> None:
    """Except what an interrupted readall had gathered: that is the beginning of the payload."""
    with pytest.raises(ConnectionClosed):
        drive(conn.co_read_response(), peer)
    got = b""
    with pytest.raises(ConnectionClosed):
        while piece := drive(conn.co_read(5), peer):
            got += piece
    assert payload.startswith(got)
    for _ in range(2):
        for part in (conn.co_read_response(), conn.co_readall(), conn.co_discard()):
            with pytest.raises(ConnectionClosed):
                drive(part, peer)
    with pytest.raises(ConnectionClosed):
        drive(conn.co_readinto(bytearray(5)), peer)
    has_ended(conn, peer)


@pytest.mark.parametrize("after", [0, 1])
def test_while_reading_a_head(wire: Wire, after: int) -> None:
    hook = Hook()
    conn, peer = two_answered(wire, hook, b"HTTP/1.1 200")
    hook.interrupt(RECEIVING, after)
    peer.reply(b" OK\r\nContent-Length: 4\r\n\r\n/one" + answer(b"/two"))
    with pytest.raises(KeyboardInterrupt) as caught:
        drive(conn.co_read_response(), peer)
    assert vars(caught.value).get("bytes_sent", 0) <= conn.bytes_sent
    nothing_more_is_read(conn, peer)


INTERRUPTED: dict[str, Reader] = {
    name: {**READERS, **CUT_READERS}[name]
    for name in ("read(5)", "read(big)", "read()", "readinto(3)", "readinto(big)", "discard")
}


@pytest.mark.parametrize("name", INTERRUPTED)
@pytest.mark.parametrize("sample", [LENGTH, CHUNKED], ids=str)
@pytest.mark.parametrize("after", [0, 1])
def test_while_reading_a_body(wire: Wire, sample: Any, name: str, after: int) -> None:
    """Nobody knows how much of it is gone: none of the rest is given out as what comes next."""
    hook = Hook()
    conn, peer = two_answered(wire, hook, sample.head)
    drive(conn.co_read_response(), peer)
    peer.reply(sample.body[:12])
    peer.reply(sample.body[12:] + answer(b"/two"))
    hook.interrupt(RECEIVING, after)
    with pytest.raises(KeyboardInterrupt):
        drive(INTERRUPTED[name](conn), peer)
    nothing_more_is_read(conn, peer, PAYLOAD)


def test_while_awaiting_the_100(wire: Wire) -> None:
    hook = Hook()
    conn, peer = wire.pair(tap=hook, continue_timeout=None)
    drive(conn.co_connect(), peer)
    peer.expect_head()
    peer.reply(b"HTTP/1.1 100 Continue\r\n\r\n")
    hook.interrupt(RECEIVING)
    with pytest.raises(KeyboardInterrupt) as caught:
        drive(conn.co_request("POST", "/", body=b"hello", expect100=True), peer)
    assert vars(caught.value)["safe_to_retry"] is False
    has_ended(conn, peer)


# ---------------------------------------------------------------- at any line, as signals come

PACKAGE = str(Path(dugong.__file__).parent)


def interrupted_at(count: int, call: Callable[[], object]) -> bool:
    """Make *call*; raise `KeyboardInterrupt` before it runs the package's line of this number.

    Returns:
        Whether it has as many lines.
    """
    left = count

    def trace(frame: FrameType, event: str, arg: Any) -> Any:
        nonlocal left
        code = frame.f_code
        if not code.co_filename.startswith(PACKAGE) or code.co_name == "__del__":
            return None  # the latter runs at any time, and for another test's connection
        if event == "line":
            left -= 1
            if left < 0:
                sys.settrace(None)
                raise KeyboardInterrupt
        return trace

    before = sys.gettrace()
    gc.disable()  # what __del__ calls would count, and belong to another test's connection
    sys.settrace(trace)
    try:
        call()
    except KeyboardInterrupt:
        return True
    finally:
        sys.settrace(before)
        gc.enable()
    return False


def never_another_ones(conn: HTTPConnection, peer: Peer, due: bytes = b"") -> None:
    """Whatever can be read from here on is the answer to the request that it is said to be.

    Args:
        due: an answer that comes as soon as another request was sent, or was not.
    """
    try:
        drive(conn.co_send_request("GET", "/again"), peer)
    except StateError:
        return  # it takes the interrupted request for one that is still being sent
    except ConnectionClosed:
        assert b"/again" not in peer.received
        peer.reply(due)
        peer.run()
    else:
        peer.reply(due)
        peer.expect_request(b"GET /again")
        peer.reply(answer(b"/again"))
    try:
        while conn.response_pending():
            response = drive(conn.co_read_response(), peer)
            assert drive(conn.co_readall(), peer) == response.path.encode()
    except (ConnectionClosed, StateError):
        pass


@pytest.mark.parametrize("kind", ["none", "bytes", "iterable"])
@pytest.mark.parametrize("way", WAYS)
def test_at_any_line_of_sending(plain: Wire, way: str, kind: str) -> None:
    """Not withdrawn as if it had never been, once a byte of it may be out."""
    count = 0
    interrupted = True
    while interrupted:
        conn, peer = plain.pair()
        drive(conn.co_connect(), peer)
        options = {"expect100": False} if way == "request" else {}
        crt = getattr(conn, f"co_{way}")("POST", "/secret", body=BODIES[kind](), **options)
        interrupted = interrupted_at(count, lambda crt=crt: next(crt, None))  # type: ignore[misc]
        crt.close()
        peer._receive()
        if parse_request(bytes(peer.received)) is not None:  # the server answers all that it got
            peer.expect_request()
            never_another_ones(conn, peer, answer(b"/secret"))
        else:
            never_another_ones(conn, peer)
        conn.disconnect()
        peer.abandon()
        count += 1
    assert count > 100


def fetch_one(conn: HTTPConnection) -> Generator[Any, None, bytes]:
    yield from conn.co_read_response()
    return (yield from conn.co_read(2)) + (yield from conn.co_readall())


READING: dict[str, Callable[[HTTPConnection], Generator[Any, None, Any]]] = {
    "read_response": lambda conn: conn.co_read_response(),
    "all of it": fetch_one,
}


@pytest.mark.parametrize("name", READING)
def test_at_any_line_of_reading(plain: Wire, name: str) -> None:
    count = 0
    interrupted = True
    while interrupted:
        conn, peer = plain.pair()
        for path in ("/one", "/two"):
            drive(conn.co_send_request("GET", path), peer)
            peer.expect_request()
        peer.reply(answer(b"/one") + answer(b"/two"))
        peer.run()
        crt = READING[name](conn)

        def go(crt: Any = crt) -> None:
            for _ in crt:
                pass

        interrupted = interrupted_at(count, go)
        rest = b""
        try:
            rest = drive(conn.co_readall(), peer)
        except (ConnectionClosed, StateError):
            pass
        assert b"/one".endswith(rest)
        never_another_ones(conn, peer)
        conn.disconnect()
        peer.abandon()
        count += 1
    assert count > 100


# -------------------------------------------------------------------------------- tracing


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
async def test_no_room_for_the_trace(wire: StyledWire, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is no reason for an exchange to fail, least of all between sending and counting."""
    monkeypatch.setenv("DUGONG_TRACEFILE", "/dev/full")
    conn, peer = wire.pair()
    peer.expect_request()
    peer.reply(LENGTH.wire)
    _, body = await fetch(conn)
    assert body == PAYLOAD
    await works(conn, peer)
