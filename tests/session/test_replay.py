"""What a failed exchange says of itself: at every stage, for every kind of body and of method."""

from __future__ import annotations

import io
import os
import socket
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from dugong import ConnectionClosed, ConnectionTimedOut, InvalidResponse, Request, StateError
from tests.support.drive import drive
from tests.support.exchanges import OK
from tests.support.in_turn import in_turn
from tests.support.styles import StyledWire
from tests.support.tapped import Pace
from tests.support.uploads import DATA, WAYS, Taken, at_once, head_size, requested, swallow
from tests.support.wire import Wire

IDEMPOTENT = ["GET", "PUT"]
METHODS = [*IDEMPOTENT, "POST"]

BLOCK = 40_000


def in_a_pipe() -> Any:
    """A file that cannot be sent again."""
    near, far = os.pipe()
    os.write(far, DATA[:BLOCK])
    os.close(far)
    return os.fdopen(near, "rb")


class Flowing(io.BytesIO):
    """The same, and more in it than a pipe holds."""

    def seekable(self) -> bool:
        return False

    def seek(self, *args: Any) -> int:
        raise io.UnsupportedOperation("seek")

    def tell(self) -> int:
        raise io.UnsupportedOperation("tell")


def a_file() -> Any:
    file = tempfile.TemporaryFile()  # noqa: SIM115 - for the test to close
    file.write(DATA)
    file.seek(0)
    return file


@dataclass(frozen=True)
class Kind:
    """A kind of body: all of it `DATA`, or nothing."""

    make: Callable[[], Any]

    def taken(self, body: Any) -> bool:
        """Whether any of a one-shot body was taken."""
        if isinstance(body, Taken):
            return body.count > 0
        return isinstance(body, Flowing) and io.BytesIO.tell(body) > 0


KINDS = {
    "none": Kind(lambda: None),
    "bytes": Kind(lambda: DATA),
    "BytesIO": Kind(lambda: io.BytesIO(DATA)),
    "file": Kind(a_file),
    "iterable": Kind(lambda: Taken(*(DATA[i : i + BLOCK] for i in range(0, len(DATA), BLOCK)))),
    "one-shot file": Kind(lambda: Flowing(DATA)),
}
WITH_BODY = [name for name in KINDS if name != "none"]

every_method = in_turn("method", METHODS)
every_kind = in_turn("kind", KINDS)
every_body = in_turn("kind", WITH_BODY)
every_way = in_turn("way", WAYS)


def check(
    error: BaseException, method: str, kind: str, body: Any, *, sent: int, started: bool = False
) -> None:
    """Compare the four attributes with what they have to be."""
    found = vars(error)
    taken = KINDS[kind].taken(body)
    if hasattr(body, "close"):
        body.close()
    assert found["bytes_sent"] == sent
    assert found["response_started"] is started
    assert found["safe_to_retry"] is (sent == 0 or (method in IDEMPOTENT and not taken))
    (request,) = found["unanswered"]
    assert isinstance(request, Request)
    assert (request.method, request.path, request.body) == (method, "/there", body)
    headers: Any = request.headers
    assert dict(headers) == {"X-A": "b"}


def options(body: Any) -> dict[str, Any]:
    return {"path": "/there", "headers": {"X-A": "b"}, "body": body, "expect100": False}


# ------------------------------------------------------------------------- nothing was sent


@every_way
@every_method
@every_kind
def test_not_connected(plain: Wire, way: str, method: str, kind: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        address = unused.getsockname()
    conn = plain.connection("localhost", address=address)
    body = KINDS[kind].make()
    with pytest.raises(ConnectionRefusedError) as caught:
        drive(WAYS[way](conn, method, **options(body)))
    assert not KINDS[kind].taken(body)
    check(caught.value, method, kind, body, sent=0)


@every_way
@every_method
@every_kind
def test_lost_at_the_first_byte(wire: Wire, way: str, method: str, kind: str) -> None:
    conn, peer = wire.pair(tap=Pace(send_fails=ConnectionResetError()))
    body = KINDS[kind].make()
    with pytest.raises(ConnectionClosed) as caught:
        drive(WAYS[way](conn, method, **options(body)), peer)
    check(caught.value, method, kind, body, sent=0)


@every_way
@every_kind
def test_nothing_was_taken_when_nothing_was_sent(plain: Wire, way: str, kind: str) -> None:
    """So the same body can be given again."""
    body = KINDS[kind].make()
    conn, peer = plain.pair(tap=Pace(send_fails=ConnectionResetError()))
    with pytest.raises(ConnectionClosed):
        drive(WAYS[way](conn, "PUT", **options(body)), peer)
    conn, peer = plain.pair()
    peer.expect_request(body=b"" if body is None else DATA)
    peer.reply(OK)
    drive(WAYS[way](conn, "PUT", **options(body)), peer)
    peer.check()
    if hasattr(body, "close"):
        body.close()


# ----------------------------------------------------------------- the peer goes in the middle


@every_way
@every_method
@every_kind
def test_lost_in_the_head(wire: Wire, way: str, method: str, kind: str) -> None:
    conn, peer = wire.pair(small=True)
    body = KINDS[kind].make()
    peer.expect(method.encode() + b" /there HTTP/1.1\r\n")
    peer.reset()
    fields = {f"X-{n}": "sea" * 1000 for n in range(200)}
    with pytest.raises(ConnectionClosed) as caught:
        drive(WAYS[way](conn, method, **options(body) | {"headers": fields}), peer)
    caught.value.unanswered[0].headers = {"X-A": "b"}
    check(caught.value, method, kind, body, sent=conn.bytes_sent)
    assert conn.bytes_sent > 0


@every_way
@every_method
@every_body
def test_lost_in_the_body(wire: Wire, way: str, method: str, kind: str) -> None:
    conn, peer = wire.pair(small=True)
    body = KINDS[kind].make()
    peer.expect_head()
    swallow(peer, 50_000)
    peer.reset()
    with pytest.raises(ConnectionClosed) as caught:
        drive(WAYS[way](conn, method, **options(body)), peer)
    assert conn.bytes_sent > head_size(peer)
    check(caught.value, method, kind, body, sent=conn.bytes_sent)


REPLIES = [b"", b"H", b"HTTP/1.1 200 O", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n"]
INTERIM = b"HTTP/1.1 103 Early Hints\r\n\r\n"


@every_way
@every_method
@every_kind
def test_lost_before_and_in_the_response_head(
    plain: Wire, way: str, method: str, kind: str
) -> None:
    for reply in (*REPLIES, INTERIM):
        conn, peer = plain.pair()
        body = KINDS[kind].make()
        peer.expect_request()
        peer.reply(reply)
        peer.close()
        with pytest.raises(ConnectionClosed) as caught:
            drive(WAYS[way](conn, method, **options(body)), peer)
        assert conn.bytes_sent == len(peer.received)
        started = reply not in (b"", INTERIM)
        check(caught.value, method, kind, body, sent=conn.bytes_sent, started=started)


@every_way
@every_method
@every_kind
def test_lost_in_the_response_body(plain: Wire, way: str, method: str, kind: str) -> None:
    conn, peer = plain.pair()
    body = KINDS[kind].make()
    peer.expect_request()
    peer.reply(OK[:-1])
    peer.close()
    with pytest.raises(ConnectionClosed) as caught:
        drive(WAYS[way](conn, method, **options(body)), peer)
    check(caught.value, method, kind, body, sent=conn.bytes_sent, started=True)


@every_way
@every_method
@every_kind
def test_no_valid_response(plain: Wire, way: str, method: str, kind: str) -> None:
    conn, peer = plain.pair()
    body = KINDS[kind].make()
    peer.expect_request()
    peer.reply(b"SSH-2.0-OpenSSH_9.2\r\n\r\n")
    with pytest.raises(InvalidResponse) as caught:
        drive(WAYS[way](conn, method, **options(body)), peer)
    check(caught.value, method, kind, body, sent=conn.bytes_sent, started=True)


@every_method
@every_body
def test_lost_while_the_100_is_awaited(plain: Wire, method: str, kind: str) -> None:
    """Nothing of the body was taken, so it can be sent yet."""
    conn, peer = plain.pair()
    body = KINDS[kind].make()
    peer.expect_head()
    peer.close()
    with pytest.raises(ConnectionClosed) as caught:
        drive(requested(conn, method, **options(body) | {"expect100": True}), peer)
    assert conn.bytes_sent == head_size(peer)
    assert not KINDS[kind].taken(body)
    check(caught.value, method, kind, body, sent=conn.bytes_sent)


@in_turn("kind", ["bytes", "iterable"])
@in_turn("method", ["PUT", "POST"])
async def test_in_every_style(wire: StyledWire, method: str, kind: str) -> None:
    """The stages after the connection was made, one after the other."""
    for stage in ("body", "response", "head", "payload"):
        conn, peer = wire.pair(small=True)
        body = KINDS[kind].make()
        if stage == "body":
            peer.expect_head()
            peer.reset()
        else:
            peer.expect_request()
            peer.reply({"response": b"", "head": b"HTTP/1.1", "payload": OK[:-1]}[stage])
            peer.close()
        with pytest.raises(ConnectionClosed) as caught:
            await requested(conn, method, **options(body))
        started = stage in ("head", "payload")
        check(caught.value, method, kind, body, sent=conn.bytes_sent, started=started)


# ---------------------------------------------------------------------------- time passes


def timed_out(plain: Wire, way: str, method: str, kind: str, reply: bytes, small: bool) -> None:
    conn, peer = plain.pair(small=small, timeout=0.002)
    body = KINDS[kind].make()
    peer.reply(reply)
    conn.on_event = lambda name: peer.run() if name == "sent" else None
    with pytest.raises(ConnectionTimedOut) as caught:
        blocking(conn, way)(method, **options(body))
    check(caught.value, method, kind, body, sent=conn.bytes_sent, started=bool(reply))


def blocking(conn: Any, way: str) -> Callable[..., None]:
    def ask(method: str, **options: Any) -> None:
        if way == "send_request":
            options.pop("expect100")
            conn.send_request(method, **options)
            conn.read_response()
        else:
            conn.request(method, **options)
        conn.readall()

    return ask


@every_way
@every_method
@every_body
def test_timed_out_in_the_body(plain: Wire, way: str, method: str, kind: str) -> None:
    timed_out(plain, way, method, kind, b"", small=True)


@every_way
@every_method
@every_kind
@in_turn("reply", [b"", b"HTTP/1.1 200", OK[:-1]])
def test_timed_out_in_the_response(
    plain: Wire, way: str, method: str, kind: str, reply: bytes
) -> None:
    timed_out(plain, way, method, kind, reply, small=False)


@every_way
@every_method
@every_kind
def test_timed_out_while_connecting(tls: Wire, way: str, method: str, kind: str) -> None:
    """The peer never says a word of its handshake."""
    conn, _ = tls.pair(handshake=False, timeout=0.002)
    body = KINDS[kind].make()
    with pytest.raises(ConnectionTimedOut) as caught:
        blocking(conn, way)(method, **options(body))
    assert not KINDS[kind].taken(body)
    check(caught.value, method, kind, body, sent=0)


# -------------------------------------------------------------------------- one-shot bodies


@every_way
async def test_one_shot_bodies_are_not_sent_twice(wire: StyledWire, way: str) -> None:
    """The caller who does not look meets an error, and the server no empty body."""
    listener = wire.listen()
    conn = wire.dial(listener)
    for body in (Taken(DATA), Flowing(DATA), in_a_pipe()):
        peer = listener.peer()
        peer.expect_head()
        swallow(peer, 1000)
        peer.close()
        with pytest.raises(ConnectionClosed) as caught:
            await WAYS[way](conn, "PUT", **options(body))
        assert not caught.value.safe_to_retry
        before = conn.bytes_sent
        conn.disconnect()
        with pytest.raises(StateError):
            await WAYS[way](conn, "PUT", **options(body))
        assert conn.bytes_sent == before
        if hasattr(body, "close"):
            body.close()


def test_a_response_that_was_delivered_is_no_failure(plain: Wire) -> None:
    conn, peer = plain.pair(small=True)
    peer.expect_head()
    peer.reply(b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n")
    peer.reset()
    at_once(peer, 2)
    body = KINDS["iterable"].make()
    assert drive(requested(conn, "POST", **options(body)), peer)[0].status == 503
    assert not conn.response_pending()
