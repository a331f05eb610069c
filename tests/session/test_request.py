"""`request`: one whole exchange, and on which connection."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import pytest

from dugong import BodyFollowing, ConnectionClosed, InvalidResponse, StateError
from tests.support.drive import drive
from tests.support.exchanges import EMPTY, OK, PAYLOAD, SELF_DELIMITED, Sample, works
from tests.support.in_turn import in_turn
from tests.support.styles import StyledWire
from tests.support.tapped import Tap, tap_tls
from tests.support.uploads import (
    DATA,
    HUGE,
    OK_CLOSE,
    TOO_LARGE_CLOSE,
    Taken,
    Turning,
    complete,
    raising,
    requested,
    small_listener,
)
from tests.support.wire import Wire

# --------------------------------------------------------------------------- one exchange


async def test_get(wire: StyledWire) -> None:
    conn, peer = wire.pair(chunk=7)
    peer.expect_request(b"GET /a HTTP/1.1\r\n")
    peer.reply(OK)
    response = await conn.request("GET", "/a", {"X-A": 1})
    assert (response.method, response.path, response.status) == ("GET", "/a", 200)
    assert response.length == 2
    assert response.informational == []
    assert not response.will_close
    assert await conn.readall() == b"hi"
    received = peer.requests[0]
    assert (received.get("X-A"), received.get("Expect")) == ("1", None)
    assert received.get("Content-Length") is None
    await works(conn, peer)


async def test_put(wire: StyledWire) -> None:
    conn, peer = wire.pair()
    peer.expect_request(b"PUT /b HTTP/1.1\r\n", body=b"hello")
    peer.reply(EMPTY)
    response = await conn.request("PUT", "/b", body=b"hello")
    assert (response.status, response.length) == (200, 0)
    assert peer.requests[0].get("Content-Length") == "5"
    assert not conn.response_pending()
    await works(conn, peer)


@in_turn("sample", SELF_DELIMITED, ids=str)
async def test_many(plain: StyledWire, sample: Sample) -> None:
    conn, peer = plain.pair()
    for n in range(3):
        peer.expect_request(b"POST /%d" % n, body=b"ab")
        peer.reply(sample.wire)
    for n in range(3):
        response, body = await requested(conn, "POST", f"/{n}", body=[b"a", b"b"], expect100=False)
        assert (response.path, body) == (f"/{n}", PAYLOAD)
    await works(conn, peer)


async def test_head_and_no_content(plain: StyledWire) -> None:
    conn, peer = plain.pair()
    peer.expect_request(b"HEAD")
    peer.reply(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n")
    peer.expect_request(b"DELETE")
    peer.reply(b"HTTP/1.1 204 No Content\r\n\r\n")
    assert (await conn.request("HEAD", "/")).length == 0
    assert (await conn.request("DELETE", "/")).status == 204
    await works(conn, peer)


async def test_a_large_body_in_small_pieces(wire: StyledWire) -> None:
    conn, peer = wire.pair(small=True)
    peer.expect_request(body=DATA)
    peer.reply(OK)
    assert (await requested(conn, "PUT", body=DATA))[1] == b"hi"
    assert conn.bytes_sent == len(peer.requests[0].head) + 4 + len(DATA)
    await works(conn, peer)


async def test_events(plain: StyledWire) -> None:
    conn, peer = plain.pair()
    peer.expect_request()
    peer.reply(OK)
    events: list[str] = []
    conn.on_event = events.append
    await requested(conn, "PUT", body=[b"hello"], expect100=False)
    assert [e for e in events if e in ("sent", "first_byte", "done")] == [
        "sent", "first_byte", "done",
    ]  # fmt: skip


async def test_the_callers_headers_are_left_alone(plain: StyledWire) -> None:
    conn, peer = plain.pair()
    peer.expect_request(body=b"a")
    peer.reply(OK)
    headers = {"X-A": "b"}
    await requested(conn, "PUT", headers=headers, body=[b"a"], expect100=False)
    assert headers == {"X-A": "b"}


# ------------------------------------------------------------------------ what is refused

NO_BODIES: dict[str, Callable[[], Any]] = {
    "BodyFollowing": lambda: BodyFollowing(3),
    "str": lambda: "text",
    "dict": lambda: {b"a": b"b"},
    "int": lambda: 3,
    "StringIO": lambda: io.StringIO("text"),
    "TextIOWrapper": lambda: io.TextIOWrapper(io.BytesIO(b"text")),
    "object": object,
}


@pytest.mark.parametrize("kind", NO_BODIES)
def test_no_body(plain: Wire, kind: str) -> None:
    conn, peer = plain.pair()
    for body in (NO_BODIES[kind](), NO_BODIES[kind]()):
        with pytest.raises(TypeError):
            drive(conn.co_request("PUT", "/", body=body), peer)
        if not isinstance(body, BodyFollowing):
            with pytest.raises(TypeError):
                drive(conn.co_send_request("PUT", "/", body=body), peer)
    assert conn.bytes_sent == 0
    works(conn, peer)


async def outstanding_response(conn: Any) -> None:
    await conn.send_request("GET", "/first")


async def unread_body(conn: Any) -> None:
    await conn.request("GET", "/first")


async def half_read_body(conn: Any) -> None:
    await conn.request("GET", "/first")
    assert await conn.read(1) == b"h"


@in_turn("state", [outstanding_response, unread_body, half_read_body])
async def test_something_is_outstanding(wire: StyledWire, state: Callable[[Any], Any]) -> None:
    """It is said at once, nothing is sent, and what is outstanding comes to its end."""
    conn, peer = wire.pair()
    peer.expect_request(b"GET /first")
    peer.reply(OK)
    await state(conn)
    before = conn.bytes_sent
    taken = Taken(b"a")
    with pytest.raises(StateError):
        await conn.request("PUT", "/second", body=taken)
    assert (conn.bytes_sent, taken.count) == (before, 0)
    if state is outstanding_response:
        await conn.read_response()
    assert (await conn.readall()).endswith(b"i")
    peer.expect_request(b"PUT /second", body=b"a")
    peer.reply(OK)
    await requested(conn, "PUT", "/second", body=taken, expect100=False)
    await works(conn, peer)


@pytest.mark.parametrize("expect100", [False, True])
async def test_a_body_is_outstanding(wire: StyledWire, expect100: bool) -> None:
    conn, peer = wire.pair()
    await conn.send_request("PUT", "/", body=BodyFollowing(2), expect100=expect100)
    before = conn.bytes_sent
    with pytest.raises(StateError):
        await conn.request("GET", "/second")
    assert conn.bytes_sent == before
    assert conn.body_pending
    peer.expect_head(b"PUT /")


async def test_only_the_end_of_the_last_body_is_missing(wire: StyledWire) -> None:
    """Nobody has to read once more to see it."""
    conn, peer = wire.pair()
    peer.expect_request()
    peer.reply(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n")
    peer.expect_request(b"GET /second")
    peer.reply(OK)
    await conn.request("GET", "/")
    assert await conn.read(2) == b"hi"
    assert (await requested(conn, path="/second"))[1] == b"hi"
    peer.check()


HTTP_10 = b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\nConnection: keep-alive\r\n\r\nhi"


async def test_no_chunks_for_http_10(plain: StyledWire) -> None:
    conn, peer = plain.pair()
    peer.expect_request()
    peer.reply(HTTP_10)
    await requested(conn)
    body = Taken(b"ab", b"c")
    before = conn.bytes_sent
    for ask in (conn.request, conn.send_request):
        with pytest.raises(ValueError, match=r"1\.0"):
            await ask("PUT", "/", body=body)
    assert (body.count, conn.bytes_sent) == (0, before)
    peer.expect_request(body=b"abc")
    peer.reply(HTTP_10)
    await requested(conn, "PUT", headers={"Content-Length": 3}, body=body)
    assert peer.requests[-1].get("Transfer-Encoding") is None
    peer.check()


# -------------------------------------------------------------------------- reconnecting

KEEP_ALIVE = OK.replace(b"\r\n\r\n", b"\r\nKeep-Alive: timeout=5\r\n\r\n")
ENDS: dict[str, tuple[bytes, str]] = {
    "closed": (OK, "close"),
    "reset": (OK, "reset"),
    "announced": (OK_CLOSE, ""),
    "announced and closed": (OK_CLOSE, "close"),
    "stray bytes": (OK + b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\n\r\n", ""),
    "stray bytes and closed": (OK + b"HTTP/1.1 408 Request Timeout\r\n\r\n", "close"),
    "HTTP/1.0": (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi", ""),
    "until close": (b"HTTP/1.1 200 OK\r\n\r\nhi", "close"),
    "keep-alive passed": (KEEP_ALIVE, ""),
}


def bodies() -> list[Any]:
    return [b"hello", io.BytesIO(b"hello"), Taken(b"he", b"llo")]


@in_turn("end", ENDS)
async def test_an_idle_connection_is_made_anew(wire: StyledWire, end: str) -> None:
    """Without a word, and with every byte of the body."""
    reply, last = ENDS[end]
    listener = wire.listen()
    conn = wire.dial(listener)
    clock = Turning(conn)
    for body in [b"hello"] if end == "HTTP/1.0" else bodies():
        first, second = listener.peer(), listener.peer()
        first.expect_request(b"GET /first")
        first.reply(reply)
        if last:
            getattr(first, last)()
        second.expect_request(b"POST /second", body=b"hello")
        second.reply(OK_CLOSE)
        assert (await requested(conn, path="/first"))[1] == b"hi"
        while last and first.step():
            pass
        clock.now += 5
        response, content = await requested(conn, "POST", "/second", body=body, expect100=False)
        assert (response.path, content) == ("/second", b"hi")
        second.check()
        assert b"/second" not in first.received


async def test_keep_alive_not_yet_passed(plain: StyledWire) -> None:
    conn, peer = plain.pair()
    clock = Turning(conn)
    peer.expect_request()
    peer.reply(KEEP_ALIVE)
    await requested(conn)
    clock.now += 4.9
    peer.expect_request()
    peer.reply(OK)
    await requested(conn)
    peer.check()


class Losing(Tap):
    """Loses the connection at the next send, as often as `lose` says."""

    lose = 0

    def before(self, name: str, wanted: int) -> int:
        if name == "send" and self.lose:
            self.lose -= 1
            raise BrokenPipeError
        return wanted


async def test_lost_at_the_first_byte(tls: StyledWire) -> None:
    """A connection that has served before, and looked well a moment ago."""
    listener = tls.listen()
    context = tls.certificates.new_client()
    losing = Losing()
    tap_tls(context, losing)
    conn = tls.dial(listener, ssl_context=context)
    for body in bodies():
        first, second = listener.peer(), listener.peer()
        first.expect_request()
        first.reply(OK)
        await requested(conn)
        losing.lose = 1
        second.expect_request(body=b"hello")
        second.reply(OK_CLOSE)
        await requested(conn, "POST", body=body, expect100=False)
        second.check()


async def test_a_new_connection_lost_at_the_first_byte(tls: StyledWire) -> None:
    """There is no reason to believe that another would do better."""
    listener = tls.listen()
    context = tls.certificates.new_client()
    losing = Losing()
    tap_tls(context, losing)
    conn = tls.dial(listener, ssl_context=context)
    listener.peer()
    losing.lose = 1
    with pytest.raises(ConnectionClosed) as caught:
        await conn.request("POST", "/", body=b"hello")
    assert (caught.value.bytes_sent, caught.value.safe_to_retry) == (0, True)


async def test_not_sent_twice(wire: StyledWire) -> None:
    """Lost after the first byte, so the server may have seen it: that is for the caller."""
    listener = wire.listen()
    conn, peer = wire.dial(listener), listener.peer()
    peer.expect_request()
    peer.reply(OK)
    peer.expect_request()
    peer.close()
    await requested(conn)
    with pytest.raises(ConnectionClosed) as caught:
        await conn.request("GET", "/")
    assert caught.value.safe_to_retry
    peer.check()
    again = listener.peer()
    again.expect_request()
    again.reply(OK)
    await requested(conn)
    again.check()


# --------------------------------------------------------- afterwards, on a new connection


async def test_stopped_in_mid_upload(wire: StyledWire) -> None:
    listener = small_listener(wire)
    conn, first = wire.dial(listener), listener.peer()
    first.expect_head()
    await conn.connect()
    await wire.stop(conn.request("PUT", "/", body=bytes(HUGE), expect100=False))
    assert not complete(first)
    await works_anew(conn, listener, first)


async def works_anew(conn: Any, listener: Any, first: Any) -> None:
    """A further request goes over a connection of its own."""
    second = listener.peer()
    second.expect_request(b"GET /again")
    second.reply(OK)
    assert (await requested(conn, path="/again"))[1] == b"hi"
    second.check()
    assert b"/again" not in first.received


async def test_stopped_while_the_response_is_awaited(wire: StyledWire) -> None:
    listener = wire.listen()
    conn, first = wire.dial(listener), listener.peer()
    first.expect_request(body=b"hello")
    await conn.connect()
    await wire.stop(conn.request("PUT", "/", body=b"hello"))
    conn.disconnect()
    await works_anew(conn, listener, first)


@in_turn("error", [ZeroDivisionError("mine"), KeyError("mine"), OSError("mine")])
async def test_a_generator_raises(wire: StyledWire, error: Exception) -> None:
    listener = wire.listen()
    conn, first = wire.dial(listener), listener.peer()
    with pytest.raises(type(error)) as caught:
        await conn.request("PUT", "/", body=raising([b"abc"], error), expect100=False)
    assert caught.value is error
    assert vars(error)["bytes_sent"] == conn.bytes_sent > 0
    assert vars(error)["safe_to_retry"] is False
    assert vars(error)["response_started"] is False
    assert [r.method for r in vars(error)["unanswered"]] == ["PUT"]
    assert not complete(first)
    await works_anew(conn, listener, first)


async def test_garbage_instead_of_a_response(wire: StyledWire) -> None:
    listener = wire.listen()
    conn, first = wire.dial(listener), listener.peer()
    first.expect_request()
    first.reply(b"SSH-2.0-OpenSSH_9.2\r\n\r\n")
    with pytest.raises(InvalidResponse) as caught:
        await conn.request("POST", "/", body=b"hello")
    assert (caught.value.response_started, caught.value.safe_to_retry) == (True, False)
    conn.disconnect()
    await works_anew(conn, listener, first)


async def test_after_a_refusal(wire: StyledWire) -> None:
    """The body of the response is read from the old connection, then comes a new one."""
    listener = small_listener(wire)
    conn, first = wire.dial(listener), listener.peer()
    first.expect_head()
    first.reply(TOO_LARGE_CLOSE)
    response, body = await requested(conn, "PUT", body=bytes(HUGE), expect100=False)
    assert (response.status, response.will_close, body) == (413, True, b"nope")
    await works_anew(conn, listener, first)
