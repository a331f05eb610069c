"""`request` and 100-continue: when it asks, for how long it waits, and what a refusal does."""

from __future__ import annotations

import gzip
import io
from pathlib import Path
from typing import Any

import pytest

from dugong import HTTPConnection
from tests.support.drive import advance, drive
from tests.support.exchanges import EMPTY, OK, works
from tests.support.in_turn import in_turn
from tests.support.styles import StyledWire
from tests.support.uploads import (
    CONTINUE,
    FAILED,
    HINTS,
    MIB,
    OK_CLOSE,
    TOO_LARGE,
    Taken,
    Turning,
    requested,
)
from tests.support.wire import Wire

BODY = b"hello"


def bodies() -> dict[str, Any]:
    """Of every kind, each of them `BODY`."""
    file = io.BytesIO(b"-" + BODY)
    file.seek(1)
    return {"bytes": BODY, "file": file, "iterable": Taken(b"he", b"llo")}


KINDS = list(bodies())
REPLAYABLE = ["bytes", "file"]


def on_the_wire(kind: str) -> bytes:
    return b"2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n" if kind == "iterable" else BODY


def untouched(body: Any) -> bool:
    if isinstance(body, Taken):
        return body.count == 0
    return body.tell() == 1 if isinstance(body, io.BytesIO) else True


# -------------------------------------------------------------------------- asking for it


@in_turn("chunk", [None, 1])
@in_turn("kind", KINDS)
async def test_continue(wire: StyledWire, kind: str, chunk: int | None) -> None:
    conn, peer = wire.pair(chunk=chunk, continue_timeout=None)
    for n in range(2):
        body = bodies()[kind]
        peer.expect_head(b"PUT /up HTTP/1.1\r\n")
        peer.call(lambda body=body: untouched(body) or pytest.fail("taken too early"))  # type: ignore[misc]
        peer.reply(CONTINUE)
        peer.expect(on_the_wire(kind))
        peer.reply(HINTS + OK)
        response, content = await requested(conn, "PUT", "/up", body=body, expect100=True)
        assert (response.status, content) == (200, b"hi")
        assert [early.status for early in response.informational] == [100, 103]
        assert peer.requests[n].get("Expect") == "100-continue"
    await works(conn, peer)


def expects(conn: HTTPConnection, peer: Any, **options: Any) -> bool:
    """Whether a request like this one waits for a 100, and says so."""
    crt = conn.co_request("PUT", "/", **options)
    peer.expect_head()
    need = advance(crt, peer)
    crt.close()
    asked: bool = peer.requests[0].get("Expect") == "100-continue"
    assert asked == (need.timeout is not None), "it asks and does not wait, or the other way round"
    return asked


ASKED: list[tuple[bool, dict[str, Any]]] = [
    (False, {}),
    (False, {"body": b""}),
    (False, {"body": bytes(MIB - 1)}),
    (True, {"body": bytes(MIB)}),
    (True, {"body": memoryview(bytes(MIB)).cast("I")}),
    (False, {"body": bytes(MIB), "expect100": False}),
    (True, {"body": b"a", "expect100": True}),
    (False, {"body": None, "expect100": True}),
    (False, {"body": b"", "expect100": True}),
    (False, {"body": io.BytesIO(), "expect100": True}),
    (False, {"body": io.BytesIO(bytes(MIB - 1))}),
    (True, {"body": io.BytesIO(bytes(MIB))}),
    (True, {"body": [b"a"]}),
    (False, {"body": [b"a"], "expect100": False}),
    (False, {"body": [b"a"], "headers": {"Content-Length": "1"}}),
    (True, {"body": [b"a"], "headers": {"Content-Length": MIB}}),
    (True, {"body": b"a", "headers": {"expect": "100-continue"}}),
]


@in_turn(("asked", "options"), ASKED)
def test_when_it_is_asked_for(plain: Wire, asked: bool, options: dict[str, Any]) -> None:
    conn, peer = plain.pair()
    assert expects(conn, peer, **options) is asked


# -------------------------------------------------------------------------- the time passes


def test_for_how_long(plain: Wire) -> None:
    """One second after the head was sent, by the clock, however often it is looked at."""
    conn, peer = plain.pair()
    clock = Turning(conn)
    assert conn.continue_timeout == 1.0
    crt = conn.co_request("PUT", "/", body=BODY, expect100=True)
    peer.expect_head()
    assert advance(crt, peer).timeout == pytest.approx(1.0)
    clock.now += 0.75
    assert advance(crt, peer).timeout == pytest.approx(0.25)
    peer.reply(HINTS)  # is no answer
    assert advance(crt, peer).timeout == pytest.approx(0.25)
    clock.now += 0.25
    peer.expect(BODY)
    peer.reply(OK)
    assert drive(crt, peer).status == 200
    drive(conn.co_discard(), peer)
    works(conn, peer)


@pytest.mark.parametrize("seconds", [0, 5, None])
def test_another_time(plain: Wire, seconds: float | None) -> None:
    conn, peer = plain.pair(continue_timeout=3)
    Turning(conn)
    assert conn.continue_timeout == 3
    conn.continue_timeout = seconds
    crt = conn.co_request("PUT", "/", body=BODY, expect100=True)
    peer.expect_head()
    if seconds == 0:
        peer.expect(BODY)
    assert advance(crt, peer).timeout == (seconds or None)
    peer.check()
    if seconds != 0:
        peer.reply(CONTINUE)
        peer.expect(BODY)
    peer.reply(OK)
    drive(crt, peer)


@in_turn("late", [b"", CONTINUE])
@in_turn("kind", KINDS)
async def test_it_never_comes(wire: StyledWire, kind: str, late: bytes) -> None:
    """The body goes anyway, and the object does not ask again by itself."""
    listener = wire.listen()
    conn = wire.dial(listener, continue_timeout=0.01)
    first, second = listener.peer(), listener.peer()
    first.expect_head()
    first.expect(on_the_wire(kind))
    first.reply(late + OK_CLOSE)
    response, content = await requested(conn, "PUT", body=bodies()[kind], expect100=True)
    assert content == b"hi"
    assert [early.status for early in response.informational] == [100] * bool(late)
    first.check()
    second.expect_request(body=b"ab")
    second.reply(OK)
    await requested(conn, "PUT", body=[b"a", b"b"])
    assert second.requests[0].get("Expect") is None
    second.expect_head()
    second.reply(CONTINUE)
    second.expect(BODY)
    second.reply(OK)
    await requested(conn, "PUT", body=BODY, expect100=True)
    assert second.requests[1].get("Expect") == "100-continue"
    second.check()


async def test_what_was_learnt_is_kept_by_the_object(plain: StyledWire) -> None:
    """Another one knows nothing of it; a 100 that came teaches nothing."""
    for _ in range(2):
        conn, peer = plain.pair(continue_timeout=None)
        for _ in range(2):
            peer.expect_head()
            peer.reply(CONTINUE)
            peer.expect(b"1\r\na\r\n0\r\n\r\n")
            peer.reply(OK)
            await requested(conn, "PUT", body=[b"a"])
        assert [r.get("Expect") for r in peer.requests] == ["100-continue"] * 2
        peer.check()


def test_the_callers_own_expect_is_awaited_every_time(plain: Wire) -> None:
    """Also by an object that has learnt not to ask by itself."""
    conn, peer = plain.pair()
    clock = Turning(conn)
    for n in range(3):
        crt = conn.co_request("PUT", "/", headers={"Expect": "100-continue"}, body=BODY)
        peer.expect_head()
        assert advance(crt, peer).timeout == pytest.approx(1.0)
        assert peer.requests[n].get("Expect") == "100-continue"
        clock.now += 1
        peer.expect(BODY)
        peer.reply(OK)
        assert drive(crt, peer).status == 200
        drive(conn.co_discard(), peer)
    works(conn, peer)


@in_turn("kind", KINDS)
async def test_continue_before_the_head_was_sent_whole(wire: StyledWire, kind: str) -> None:
    """Some servers say so to everybody, at the first byte. It is the one that was awaited."""
    conn, peer = wire.pair(small=True, continue_timeout=None)
    fields = {f"X-{n}": "sea" * 1000 for n in range(200)}
    peer.expect(b"PUT / HTTP/1.1\r\n")
    peer.reply(CONTINUE)
    peer.expect_head()
    peer.expect(on_the_wire(kind))
    peer.reply(OK)
    response, content = await requested(
        conn, "PUT", headers=fields, body=bodies()[kind], expect100=True
    )
    assert (response.status, content) == (200, b"hi")
    assert [early.status for early in response.informational] == [100]
    await works(conn, peer)


# -------------------------------------------------------------------------------- 417


@in_turn("failed", [FAILED, FAILED.partition(b"nope")[0]])
@in_turn("kind", REPLAYABLE)
async def test_417_is_answered_by_one_retry(wire: StyledWire, kind: str, failed: bytes) -> None:
    """On a new connection. Whether the body of the 417 has come by then is all the same."""
    listener = wire.listen()
    conn = wire.dial(listener)
    first, second = listener.peer(), listener.peer()
    first.expect_head(b"POST /up HTTP/1.1\r\n")
    first.reply(failed)
    first.expect_eof()
    second.expect_request(b"POST /up HTTP/1.1\r\n", body=BODY)
    second.reply(OK)
    body = bodies()[kind]
    response, content = await requested(
        conn, "POST", "/up", headers={"X-A": "b"}, body=body, expect100=True
    )
    assert (response.status, response.path, content) == (200, "/up", b"hi")
    assert first.requests[0].get("Expect") == "100-continue"
    assert second.requests[0].get("Expect") is None
    assert second.requests[0].get("X-A") == "b"
    assert not response.will_close
    second.expect_request(b"PUT /next", body=b"ab")
    second.reply(EMPTY)
    await requested(conn, "PUT", "/next", body=[b"a", b"b"])
    assert second.requests[1].get("Expect") is None, "asked for again by itself"
    second.check()


@pytest.mark.parametrize("kind", REPLAYABLE)
async def test_417_twice(wire: StyledWire, kind: str) -> None:
    listener = wire.listen()
    conn = wire.dial(listener)
    first, second = listener.peer(), listener.peer()
    first.expect_head()
    first.reply(FAILED)
    second.expect_request(body=BODY)
    second.reply(FAILED)
    response, content = await requested(conn, "PUT", body=bodies()[kind], expect100=True)
    assert (response.status, content) == (417, b"nope")
    second.check()


async def test_417_to_a_one_shot_body(wire: StyledWire) -> None:
    """It is delivered. Nothing was taken, so the caller may send the body again."""
    listener = wire.listen()
    conn = wire.dial(listener)
    first, second = listener.peer(), listener.peer()
    body = Taken(b"he", b"llo")
    first.expect_head()
    first.reply(FAILED)
    response, content = await requested(conn, "PUT", body=body)
    assert (response.status, response.will_close, content) == (417, True, b"nope")
    assert body.count == 0
    second.expect_request(body=BODY)
    second.reply(OK)
    await requested(conn, "PUT", body=body)
    assert second.requests[0].get("Expect") is None
    second.check()
    assert bytes(first.received).endswith(b"\r\n\r\n")


@in_turn("kind", KINDS)
async def test_417_to_the_callers_own_expect(wire: StyledWire, kind: str) -> None:
    conn, peer = wire.pair()
    body = bodies()[kind]
    peer.expect_head()
    peer.reply(FAILED)
    headers = {"Expect": "100-continue"}
    response, content = await requested(conn, "PUT", headers=headers, body=body)
    assert (response.status, content) == (417, b"nope")
    assert peer.requests[0].get("Expect") == "100-continue"
    assert untouched(body)
    assert headers == {"Expect": "100-continue"}


@in_turn("kind", KINDS)
async def test_417_on_a_socket_that_was_given(wire: StyledWire, kind: str) -> None:
    """There is no other connection to try again on: it is delivered."""
    conn, peer = wire.pair()
    body = bodies()[kind]
    peer.expect_head()
    peer.reply(FAILED)
    response, content = await requested(conn, "PUT", body=body, expect100=True)
    assert (response.status, response.will_close, content) == (417, True, b"nope")
    assert untouched(body)


async def test_417_from_a_server_that_knows_no_chunks(wire: StyledWire, tmp_path: Path) -> None:
    """Without the length, HTTP/1.0 cannot be given the body at all: it is delivered."""
    packed = tmp_path / "body.gz"
    with gzip.open(packed, "wb") as out:
        out.write(BODY)
    listener = wire.listen()
    conn, first = wire.dial(listener), listener.peer()
    with gzip.open(packed, "rb") as body:
        first.expect_head()
        first.reply(FAILED.replace(b"HTTP/1.1", b"HTTP/1.0"))
        response, content = await requested(conn, "PUT", body=body, expect100=True)
        assert (response.status, response.version, content) == (417, "1.0", b"nope")
        assert body.tell() == 0
    assert first.requests[0].get("Transfer-Encoding") == "chunked"


async def test_417_nobody_provoked(wire: StyledWire) -> None:
    conn, peer = wire.pair()
    peer.expect_request(body=BODY)
    peer.reply(FAILED)
    response, _ = await requested(conn, "PUT", body=BODY)
    assert (response.status, response.will_close) == (417, False)
    await works(conn, peer)


# --------------------------------------------------------------------------- other answers


@in_turn("kind", KINDS)
@in_turn("chunk", [None, 1])
async def test_refused(wire: StyledWire, kind: str, chunk: int | None) -> None:
    """No body is sent; the server may still discard what was announced, so that is closed."""
    listener = wire.listen()
    conn = wire.dial(listener)
    first, second = listener.peer(chunk=chunk), listener.peer()
    body = bodies()[kind]
    first.expect_head()
    first.reply(HINTS + TOO_LARGE)
    first.expect_eof()
    response, content = await requested(conn, "PUT", body=body, expect100=True)
    assert (response.status, response.will_close, content) == (413, True, b"nope")
    assert [early.status for early in response.informational] == [103]
    assert untouched(body)
    assert bytes(first.received).endswith(b"\r\n\r\n")
    second.expect_head()
    second.reply(CONTINUE)
    second.expect(on_the_wire(kind))
    second.reply(OK)
    await requested(conn, "PUT", body=body, expect100=True)
    second.check()


@pytest.mark.parametrize("next_call", ["request", "send_request"])
async def test_whatever_follows_a_refusal(wire: StyledWire, next_call: str) -> None:
    listener = wire.listen()
    conn = wire.dial(listener)
    first, second = listener.peer(), listener.peer()
    first.expect_head()
    first.reply(TOO_LARGE)
    second.expect_request(b"GET /works")
    second.reply(OK)
    await requested(conn, "PUT", body=BODY, expect100=True)
    if next_call == "request":
        await conn.request("GET", "/works")
    else:
        await conn.send_request("GET", "/works")
        await conn.read_response()
    second.check()
    assert b"/works" not in first.received


async def test_final_2xx_instead_of_the_100(wire: StyledWire) -> None:
    """It is delivered, and nothing gets out of step."""
    listener = wire.listen()
    conn = wire.dial(listener)
    first, second = listener.peer(), listener.peer()
    first.expect_head()
    first.reply(OK)
    response, content = await requested(conn, "PUT", body=BODY, expect100=True)
    assert (response.status, content) == (200, b"hi")
    if response.will_close:
        second.expect_request(b"GET /again")
        second.reply(OK)
    else:
        first.expect(BODY)
        first.expect_request(b"GET /again")
        first.reply(OK)
    await requested(conn, path="/again")


async def test_a_connection_found_stale_while_asking(wire: StyledWire) -> None:
    listener = wire.listen()
    conn = wire.dial(listener)
    first, second = listener.peer(), listener.peer()
    first.expect_request()
    first.reply(OK)
    first.close()
    await requested(conn)
    while first.step():
        pass
    second.expect_head()
    second.reply(CONTINUE)
    second.expect(b"2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n")
    second.reply(OK)
    await requested(conn, "PUT", body=Taken(b"he", b"llo"))
    second.check()
