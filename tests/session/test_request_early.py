"""`request` and what comes while the body is still being sent: responses, resets, the end."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from dugong import ConnectionClosed, InvalidResponse, StateError
from tests.session.hooked import SENDING, Hook, hook_sendfile
from tests.support.drive import drive
from tests.support.exchanges import OK, works
from tests.support.in_turn import in_turn
from tests.support.peer import Peer
from tests.support.styles import StyledWire
from tests.support.uploads import (
    DATA,
    HINTS,
    HUGE,
    OK_CLOSE,
    TOO_LARGE,
    TOO_LARGE_CLOSE,
    Taken,
    at_once,
    complete,
    head_size,
    requested,
    small_listener,
)
from tests.support.wire import Wire

BLOCK = 10_000
CHUNKED = b"".join(
    b"%x\r\n%b\r\n" % (BLOCK, DATA[i : i + BLOCK]) for i in range(0, len(DATA), BLOCK)
)


def bodies() -> dict[str, Any]:
    """Of every kind, each of them `DATA`."""
    return {
        "bytes": DATA,
        "file": io.BytesIO(DATA),
        "iterable": Taken(*(DATA[i : i + BLOCK] for i in range(0, len(DATA), BLOCK))),
    }


KINDS = list(bodies())


def on_the_wire(kind: str) -> bytes:
    return CHUNKED + b"0\r\n\r\n" if kind == "iterable" else DATA


# ------------------------------------------------------------------------------ refusals


@in_turn("kind", KINDS)
@in_turn("refusal", [TOO_LARGE, TOO_LARGE_CLOSE, OK_CLOSE])
async def test_a_refusal_stops_the_upload(wire: StyledWire, kind: str, refusal: bytes) -> None:
    conn, peer = wire.pair(small=True)
    peer.expect_head()
    peer.reply(HINTS + refusal)
    response, content = await requested(conn, "PUT", body=bodies()[kind], expect100=False)
    assert response.status == (200 if refusal is OK_CLOSE else 413)
    assert response.will_close
    assert [early.status for early in response.informational] == [103]
    assert content in (b"nope", b"hi")
    assert not complete(peer)
    assert not conn.response_pending()
    assert not conn.body_pending


async def test_how_much_was_sent(wire: StyledWire) -> None:
    """A file stands after the last byte sent, and a generator is not asked for more."""
    for kind in ("file", "iterable"):
        conn, peer = wire.pair(small=True)
        peer.expect_head()
        peer.expect(on_the_wire(kind)[:50_000])
        peer.reply(TOO_LARGE)
        body = bodies()[kind]
        await requested(conn, "PUT", body=body, expect100=False)
        sent = conn.bytes_sent - head_size(peer)
        assert 0 < sent < len(DATA)
        if kind == "file":
            assert body.tell() == sent
        else:
            assert body.count * BLOCK <= sent + BLOCK


async def test_the_body_of_a_refusal_takes_its_time(wire: StyledWire) -> None:
    conn, peer = wire.pair(small=True)
    peer.expect_head()
    peer.reply(b"HTTP/1.1 403 Forbidden\r\nTransfer-Encoding: chunked\r\n\r\n", chunk=5)
    peer.reply(b"3\r\nabc\r\n2\r\nde\r\n0\r\nX-Sum: 7\r\n\r\n", chunk=1)
    response = await conn.request("PUT", "/", body=DATA, expect100=False)
    assert (response.status, response.will_close) == (403, True)
    assert await conn.readall() == b"abcde"
    assert response.trailers["X-Sum"] == "7"


async def test_a_refusal_before_the_head_was_sent(wire: StyledWire) -> None:
    conn, peer = wire.pair(small=True)
    peer.expect(b"PUT / HTTP/1.1\r\n")
    peer.reply(TOO_LARGE_CLOSE)
    headers = {f"X-{n}": "sea" * 1000 for n in range(100)}
    response, content = await requested(conn, "PUT", headers=headers, body=b"hello")
    assert (response.status, response.will_close, content) == (413, True, b"nope")
    assert b"hello" not in peer.received


@pytest.mark.parametrize("next_call", ["request", "send_request"])
async def test_whatever_follows_goes_elsewhere(wire: StyledWire, next_call: str) -> None:
    listener = small_listener(wire)
    conn, first, second = wire.dial(listener), listener.peer(), listener.peer()
    first.expect_head()
    first.reply(TOO_LARGE)
    second.expect_request(b"GET /again")
    second.reply(OK)
    await requested(conn, "PUT", body=bytes(HUGE), expect100=False)
    if next_call == "request":
        await conn.request("GET", "/again")
    else:
        await conn.send_request("GET", "/again")
        await conn.read_response()
    second.check()
    assert b"/again" not in first.received


@pytest.mark.parametrize("kind", ["bytes", "BytesIO", "file", "list", "iterator"])
@pytest.mark.parametrize("status", [b"404 Not Found", b"500 No", b"302 Found", b"200 OK"])
def test_the_response_to_a_whole_body_is_no_refusal(
    wire: Wire, monkeypatch: pytest.MonkeyPatch, kind: str, status: bytes
) -> None:
    """However fast it comes: the peer is always ahead of the next line of the client."""
    hook = Hook()
    hook_sendfile(monkeypatch, hook)
    conn, peer = wire.pair(tap=hook)
    drive(conn.co_connect(), peer)
    stepping = False

    def step(name: str) -> None:
        nonlocal stepping
        if name in SENDING and not stepping:
            stepping = True
            while peer.step():
                pass
            stepping = False

    hook.call = step
    with tempfile.TemporaryFile() as file:
        for _ in range(3):
            file.seek(0)
            file.write(b"hello")
            file.seek(0)
            whole: dict[str, Any] = {
                "bytes": b"hello",
                "BytesIO": io.BytesIO(b"hello"),
                "file": file,
                "list": [b"he", b"llo"],
                "iterator": iter([b"he", b"llo"]),
            }
            peer.expect_request(b"PUT /whole", body=b"hello")
            peer.reply(b"HTTP/1.1 %b\r\nContent-Length: 4\r\n\r\nnope" % status)
            headers = {"Content-Length": 5}
            response, content = drive(
                requested(conn, "PUT", "/whole", headers=headers, body=whole[kind]), peer
            )
            assert (response.status, content) == (int(status[:3]), b"nope")
            assert not response.will_close
    hook.call = lambda name: None
    works(conn, peer)


# ------------------------------------------------------------------- the peer goes at once


@in_turn("kind", KINDS)
@in_turn("reply", [TOO_LARGE, TOO_LARGE_CLOSE, OK_CLOSE, HINTS + TOO_LARGE])
@in_turn("after", [0, 3 * BLOCK])
async def test_the_peer_resets_right_after(
    wire: StyledWire, kind: str, reply: bytes, after: int
) -> None:
    """The response is delivered all the same, every time."""
    for _ in range(3):
        conn, peer = wire.pair(small=True)
        peer.expect_head()
        peer.expect(on_the_wire(kind)[:after])
        peer.reply(reply)
        peer.reset()
        at_once(peer, 2)
        response, content = await requested(conn, "PUT", body=bodies()[kind], expect100=False)
        assert response.status in (200, 413)
        assert content in (b"nope", b"hi")
        assert response.will_close


@in_turn("kind", KINDS)
async def test_the_peer_closes_right_after(wire: StyledWire, kind: str) -> None:
    """What it has not read makes a reset of that."""
    conn, peer = wire.pair(small=True)
    peer.expect_head()
    peer.reply(TOO_LARGE_CLOSE)
    peer.call(peer._socket.close)
    at_once(peer, 2)
    response, content = await requested(conn, "PUT", body=bodies()[kind], expect100=False)
    assert (response.status, content) == (413, b"nope")


def test_the_response_comes_to_a_sender_that_does_not_wait(wire: Wire) -> None:
    """It is there already when sending fails, and no poll has told of it."""
    for size in (1, 1000):
        conn, peer = wire.pair()
        drive(conn.co_connect(), peer)
        peer.expect_head()
        peer.reply(TOO_LARGE_CLOSE)
        peer.reset()
        at_once(peer, 2)

        def blocks(peer: Peer = peer, size: int = size) -> Iterator[bytes]:
            yield b"first"  # by now the head is out
            peer.run()
            for _ in range(50):
                yield bytes(size)

        response, content = drive(requested(conn, "PUT", body=blocks(), expect100=False), peer)
        assert (response.status, content) == (413, b"nope")


@in_turn("kind", KINDS)
@in_turn("end", [Peer.close, Peer.reset, Peer.close_without_notify])
async def test_the_end_without_a_response(
    wire: StyledWire, kind: str, end: Callable[[Peer], None]
) -> None:
    conn, peer = wire.pair(small=True)
    peer.expect_head()
    peer.expect(on_the_wire(kind)[:50_000])
    end(peer)
    body = bodies()[kind]
    with pytest.raises(ConnectionClosed) as caught:
        await conn.request("PUT", "/", body=body, expect100=False)
    error = caught.value
    assert error.bytes_sent == conn.bytes_sent > head_size(peer)
    assert not error.response_started
    assert error.safe_to_retry is (kind != "iterable")
    assert [request.method for request in error.unanswered] == ["PUT"]


async def test_the_server_ends_its_half(wire: StyledWire) -> None:
    """No response can come any more; waiting for the server to take the body makes no sense."""
    conn, peer = wire.pair(small=True)
    peer.expect_head()
    peer.call(lambda: peer._socket.shutdown(1))
    with pytest.raises(ConnectionClosed) as caught:
        await conn.request("PUT", "/", body=DATA, expect100=False)
    assert not caught.value.response_started


# ----------------------------------------------------------------------- other early bytes


@in_turn("chunk", [None, 1])
@in_turn("kind", KINDS)
async def test_an_early_2xx_does_not_stop_it(
    wire: StyledWire, kind: str, chunk: int | None
) -> None:
    conn, peer = wire.pair(small=True, chunk=chunk)
    peer.expect_head()
    peer.reply(HINTS + OK)
    peer.expect(on_the_wire(kind))
    response, content = await requested(conn, "PUT", body=bodies()[kind], expect100=False)
    assert (response.status, response.will_close, content) == (200, False, b"hi")
    assert [early.status for early in response.informational] == [103]
    await works(conn, peer)


async def test_an_early_2xx_and_then_the_end(wire: StyledWire) -> None:
    """The response is there; that the connection is gone, the next request finds."""
    conn, peer = wire.pair(small=True)
    peer.expect_head()
    peer.reply(OK)
    peer.reset()
    at_once(peer, 2)
    response, content = await requested(conn, "PUT", body=DATA, expect100=False)
    assert (response.status, response.will_close, content) == (200, True, b"hi")


@in_turn("kind", KINDS)
async def test_interim_responses_on_the_way(wire: StyledWire, kind: str) -> None:
    conn, peer = wire.pair(small=True)
    data = on_the_wire(kind)
    peer.expect_head()
    peer.reply(HINTS, chunk=1)
    peer.expect(data[:100_000])
    peer.reply(HINTS)
    peer.reply(b"HTTP/1.1 200 OK\r\n")  # the head is not complete before the upload is
    peer.expect(data[100_000:])
    peer.reply(b"Content-Length: 2\r\n\r\nhi")
    response, content = await requested(conn, "PUT", body=bodies()[kind], expect100=False)
    assert (response.status, content) == (200, b"hi")
    assert [early.status for early in response.informational] == [103, 103]
    await works(conn, peer)


@pytest.mark.parametrize("early", [b"HTTP/1.1 103 Early Hints\r\nLink: a", HINTS + HINTS[:-3]])
async def test_the_end_in_an_interim_response(wire: StyledWire, early: bytes) -> None:
    """It is not the response, of which no byte came."""
    for body in (None, b"hello"):
        conn, peer = wire.pair()
        peer.expect_request()
        peer.reply(early)
        peer.close()
        with pytest.raises(ConnectionClosed) as caught:
            await conn.request("PUT", "/", body=body)
        assert not caught.value.response_started
        assert caught.value.safe_to_retry


@in_turn(
    "garbage",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1, 2\r\n\r\n",
        HINTS * 50,
    ],
)
async def test_garbage_stops_it(wire: StyledWire, garbage: bytes) -> None:
    conn, peer = wire.pair(small=True)
    peer.expect_head()
    peer.reply(garbage)
    with pytest.raises(InvalidResponse) as caught:
        await conn.request("PUT", "/", body=DATA, expect100=False)
    assert caught.value.bytes_sent == conn.bytes_sent
    assert caught.value.safe_to_retry
    assert not complete(peer)
    with pytest.raises((ConnectionClosed, StateError)):
        await conn.send_request("GET", "/again")
    assert b"/again" not in peer.received


async def test_a_response_before_the_request(wire: StyledWire) -> None:
    """Whatever a server says before it was asked is no answer."""
    conn, peer = wire.pair()
    await conn.connect()
    peer.reply(OK)
    peer.run()
    with pytest.raises(ConnectionClosed) as caught:
        await conn.send_request("PUT", "/", body=b"hello")
    assert caught.value.bytes_sent == 0


def test_a_generator_is_not_asked_after_a_refusal(wire: Wire) -> None:
    """Also where sending never has to wait."""
    conn, peer = wire.pair()
    drive(conn.co_connect(), peer)
    taken = 0

    def blocks() -> Iterator[bytes]:
        nonlocal taken
        for _ in range(1000):
            taken += 1
            if taken == 5:
                peer.run()
            yield b"block"

    peer.expect_head()
    peer.reply(TOO_LARGE)
    response, _ = drive(requested(conn, "PUT", body=blocks(), expect100=False), peer)
    assert response.status == 413
    assert taken < 100
