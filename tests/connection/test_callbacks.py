"""What an `on_event` callback may do: raise, and call the connection that calls it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from dugong import ConnectionClosed, StateError
from tests.support.drive import drive
from tests.support.exchanges import EMPTY, OK, fetch, works
from tests.support.in_turn import in_turn
from tests.support.styles import StyledWire
from tests.support.uploads import DATA, TOO_LARGE, requested
from tests.support.wire import Wire


class Mine(Exception):
    pass


def raising_at(name: str) -> Callable[[str], None]:
    def callback(event: str) -> None:
        if event == name:
            raise Mine(name)

    return callback


@in_turn("expect100", [True, False])
@in_turn("refusal", [TOO_LARGE, EMPTY.replace(b"200 OK", b"413 Too Large")])
@in_turn("event", ["first_byte", "done"])
async def test_raising_at_a_refusal(
    wire: StyledWire, event: str, refusal: bytes, expect100: bool
) -> None:
    """What it raises comes out, and the connection is of no use any more."""
    if event == "done" and refusal is TOO_LARGE:
        return  # that is met by whoever reads the body
    conn, peer = wire.pair(small=True)
    await conn.connect()
    conn.on_event = raising_at(event)
    peer.expect_head()
    peer.reply(refusal)
    with pytest.raises(Mine):
        await conn.request("PUT", "/", body=DATA, expect100=expect100)
    conn.on_event = None
    with pytest.raises((ConnectionClosed, StateError)):
        await conn.send_request("GET", "/again")
    assert b"/again" not in peer.received


@in_turn("event", ["sent", "first_byte", "done"])
async def test_raising_in_an_exchange(wire: StyledWire, event: str) -> None:
    """No later request gets this one's answer."""
    conn, peer = wire.pair()
    await conn.connect()
    conn.on_event = raising_at(event)
    peer.expect_request(b"GET /one")
    peer.reply(OK)
    with pytest.raises(Mine):
        await fetch(conn, path="/one")
    conn.on_event = None
    try:
        await conn.send_request("GET", "/two")
    except ConnectionClosed:
        return
    peer.expect_request(b"GET /two")
    peer.reply(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\ntwo")
    try:
        while conn.response_pending():
            response = await conn.read_response()
            expected = b"two" if response.path == "/two" else b"hi"
            assert await conn.readall() == expected
    except ConnectionClosed:
        pass


CALLS: dict[str, Callable[[Any], Any]] = {
    "read": lambda conn: conn.read(1),
    "readinto": lambda conn: conn.readinto(bytearray(1)),
    "readall": lambda conn: conn.readall(),
    "discard": lambda conn: conn.discard(),
    "read_response": lambda conn: conn.read_response(),
}


@in_turn("call", CALLS)
@in_turn("way", ["send_request", "request"])
def test_reading_from_done(wire: Wire, way: str, call: str) -> None:
    """The end of a body may be met by a call that sends: that is told, and nobody waits for it."""
    conn, peer = wire.pair()
    peer.expect_request()
    peer.reply(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n")
    drive(conn.co_request("GET", "/"), peer)
    assert drive(conn.co_read(2), peer) == b"hi"
    peer.reply(b"0\r\n\r\n")
    peer.run()
    errors: list[BaseException] = []

    def callback(event: str) -> None:
        if event == "done":
            conn.on_event = None
            try:
                CALLS[call](conn)
            except StateError as exc:
                errors.append(exc)

    conn.on_event = callback
    peer.expect_request(b"GET /second")
    peer.reply(OK)
    if way == "request":
        assert drive(requested(conn, path="/second"), peer)[1] == b"hi"
    else:
        assert drive(fetch(conn, path="/second"), peer)[1] == b"hi"
    assert len(errors) == 1
    works(conn, peer)
