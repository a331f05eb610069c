"""What sending does: bodies on the wire, in one piece and in parts, and when it is allowed."""

from __future__ import annotations

import array
from typing import Any

import pytest

from dugong import (
    POLLOUT,
    BodyFollowing,
    ConnectionClosed,
    ExcessBodyData,
    StateError,
)
from tests.drive import advance, drive, drive_both
from tests.exchanges import EMPTY, OK, ask, fetch, sent, works
from tests.wire import Pace, Wire

# ------------------------------------------------------------------- bodies in one piece


@pytest.mark.parametrize(
    ("method", "length"),
    [
        *((method, "0") for method in ("POST", "PUT", "PATCH")),
        *((method, None) for method in ("GET", "HEAD", "DELETE", "OPTIONS")),
    ],
)
def test_bodyless(wire: Wire, method: str, length: str | None) -> None:
    conn, peer = wire.pair()
    request = sent(conn, peer, method)
    assert request.get("Content-Length") == length
    assert request.get("Transfer-Encoding") is None


@pytest.mark.parametrize(
    "body",
    [
        b"some bytes",
        bytearray(b"some bytes"),
        memoryview(b"some bytes"),
        memoryview(b"xsome bytesx")[1:-1],
        array.array("B", b"some bytes"),
        array.array("H", b"some bytes"),
    ],
    ids=lambda body: type(body).__name__,
)
@pytest.mark.parametrize("method", ["POST", "GET", "DELETE"])
def test_body_in_one_piece(wire: Wire, method: str, body: Any) -> None:
    conn, peer = wire.pair()
    request = sent(conn, peer, method, "/form", body=body)
    assert (request.get("Content-Length"), request.body) == ("10", b"some bytes")


@pytest.mark.parametrize("body", ["text", 5, 1.5, object()], ids=repr)
def test_bodies_of_the_wrong_type(wire: Wire, body: Any) -> None:
    conn, peer = wire.pair()
    with pytest.raises(TypeError):
        drive(conn.co_send_request("POST", "/", body=body), peer)
    works(conn, peer)


@pytest.mark.parametrize("stall", [False, True])
@pytest.mark.parametrize("limit", [1, 7, None])
def test_short_writes(wire: Wire, limit: int | None, stall: bool) -> None:
    conn, peer = wire.pair(pace=Pace(limit, stall))
    body = bytes(range(256)) * 2
    peer.expect_request(body=body)
    peer.expect_request(body=body[:100])
    peer.reply(EMPTY * 2)
    drive(conn.co_send_request("PUT", "/x", body=body), peer)
    drive(conn.co_send_request("PUT", "/y", body=BodyFollowing(100)), peer)
    drive(conn.co_write(body[:50]), peer)
    drive(conn.co_write(body[50:100]), peer)
    assert [drive(conn.co_read_response(), peer).path for _ in range(2)] == ["/x", "/y"]
    peer.check()


def test_everything_was_given_to_the_system_on_return(wire: Wire) -> None:
    conn, peer = wire.pair()
    drive(conn.co_connect(), peer)
    drive(conn.co_send_request("PUT", "/", body=bytes(10_000)), peer)
    peer.expect_request(body=bytes(10_000))
    peer.run()


def test_full_buffers_are_waited_for(wire: Wire) -> None:
    conn, peer = wire.pair(small=True)
    body = bytes(range(256)) * 4096
    drive(conn.co_connect(), peer)
    crt = conn.co_send_request("PUT", "/", body=body)
    need = advance(crt, peer)
    assert need.mask == POLLOUT
    assert 0 < conn.bytes_sent < len(body)
    peer.expect_request(body=body)
    drive(crt, peer)
    peer.reply(OK)
    assert drive(conn.co_read_response(), peer).status == 200
    assert drive(conn.co_readall(), peer) == b"hi"
    peer.check()


# ----------------------------------------------------------------------- bodies in parts


def test_body_of_known_length_in_parts(wire: Wire) -> None:
    conn, peer = wire.pair()
    peer.expect_head(b"PUT /big HTTP/1.1\r\n")
    peer.expect(b"0123456789")
    peer.reply(OK)
    assert not conn.body_pending
    drive(conn.co_send_request("PUT", "/big", body=BodyFollowing(10)), peer)
    for part in (b"012", bytearray(b"3456"), b"", memoryview(b"789")):
        assert conn.body_pending
        drive(conn.co_write(part), peer)
    assert not conn.body_pending
    assert drive(conn.co_read_response(), peer).status == 200
    assert peer.requests[0].get("Content-Length") == "10"
    assert drive(conn.co_readall(), peer) == b"hi"
    works(conn, peer)


def test_write_of_wide_items_counts_bytes(plain: Wire) -> None:
    conn, peer = plain.pair()
    peer.expect_request(body=b"\x01\x00\x02\x00" * 2)
    peer.reply(EMPTY)
    drive(conn.co_send_request("PUT", "/", body=BodyFollowing(8)), peer)
    items = array.array("H", [1, 2])
    drive(conn.co_write(items), peer)
    with pytest.raises(ExcessBodyData):
        drive(conn.co_write(array.array("H", [1, 2, 3])), peer)
    drive(conn.co_write(items), peer)
    drive(conn.co_read_response(), peer)


def test_out_remaining_is_an_alias_of_body_pending(plain: Wire) -> None:
    conn, peer = plain.pair()
    states = []

    def note() -> None:
        states.append((bool(conn._out_remaining), conn.body_pending))  # a name users know

    note()
    drive(conn.co_send_request("PUT", "/", body=BodyFollowing(2)), peer)
    note()
    drive(conn.co_write(b"ab"), peer)
    note()
    assert states == [(False, False), (True, True), (False, False)]


def test_excess_body_data(wire: Wire) -> None:
    conn, peer = wire.pair()
    peer.expect_request(b"PUT", body=b"abcde")
    peer.reply(EMPTY)
    drive(conn.co_send_request("PUT", "/", body=BodyFollowing(5)), peer)
    with pytest.raises(ExcessBodyData):
        drive(conn.co_write(b"xxxxxx"), peer)
    drive(conn.co_write(b"abc"), peer)
    with pytest.raises(ExcessBodyData):
        drive(conn.co_write(b"xxx"), peer)
    assert conn.body_pending
    drive(conn.co_write(b"de"), peer)
    assert drive(conn.co_read_response(), peer).status == 200
    works(conn, peer)


def test_chunked_body(wire: Wire) -> None:
    conn, peer = wire.pair()
    peer.expect_head(b"PUT / HTTP/1.1\r\n")
    peer.expect(b"3\r\nabc\r\n")
    peer.expect(b"1a\r\n" + bytes(26) + b"\r\n")
    peer.expect(b"0\r\n\r\n")
    peer.reply(EMPTY)
    drive(conn.co_send_request("PUT", "/", body=BodyFollowing()), peer)
    drive(conn.co_write(b"abc"), peer)
    drive(conn.co_write(b""), peer)
    drive(conn.co_write(bytes(26)), peer)
    assert conn.body_pending
    drive(conn.co_end_body(), peer)
    assert not conn.body_pending
    assert drive(conn.co_read_response(), peer).status == 200
    (request,) = peer.requests
    assert (request.get("Transfer-Encoding"), request.get("Content-Length")) == ("chunked", None)
    works(conn, peer)


def test_empty_chunked_body(wire: Wire) -> None:
    conn, peer = wire.pair()
    peer.expect_head()
    peer.expect(b"0\r\n\r\n")
    peer.reply(EMPTY)
    drive(conn.co_send_request("PUT", "/", body=BodyFollowing()), peer)
    drive(conn.co_end_body(), peer)
    drive(conn.co_read_response(), peer)
    works(conn, peer)


@pytest.mark.parametrize("trailers", [{"X-Sum": "7", "X-N": 3}, [("X-Sum", "7"), ("X-N", 3)]])
def test_chunked_body_with_trailers(wire: Wire, trailers: Any) -> None:
    conn, peer = wire.pair()
    peer.expect_request(body=b"abc")
    peer.reply(EMPTY)
    drive(conn.co_send_request("PUT", "/", body=BodyFollowing()), peer)
    drive(conn.co_write(b"abc"), peer)
    drive(conn.co_end_body(trailers=trailers), peer)
    drive(conn.co_read_response(), peer)
    assert peer.requests[0].trailers == b"X-Sum: 7\r\nX-N: 3\r\n"
    works(conn, peer)


def test_trailers_that_inject(plain: Wire) -> None:
    conn, peer = plain.pair()
    peer.expect_request(body=b"abc")
    peer.reply(EMPTY)
    drive(conn.co_send_request("PUT", "/", body=BodyFollowing()), peer)
    drive(conn.co_write(b"abc"), peer)
    with pytest.raises(ValueError):
        drive(conn.co_end_body({"X": "a\r\n\r\nGET / HTTP/1.1"}), peer)
    drive(conn.co_end_body(), peer)
    drive(conn.co_read_response(), peer)
    assert peer.requests[0].trailers == b""
    works(conn, peer)


def test_end_body_with_a_length(wire: Wire) -> None:
    conn, peer = wire.pair()
    peer.expect_request(body=b"abc")
    peer.reply(EMPTY)
    drive(conn.co_send_request("PUT", "/", body=BodyFollowing(3)), peer)
    drive(conn.co_write(b"ab"), peer)
    with pytest.raises(StateError):
        drive(conn.co_end_body(), peer)
    with pytest.raises(ValueError):
        drive(conn.co_end_body({"X-Sum": "7"}), peer)
    drive(conn.co_write(b"c"), peer)
    drive(conn.co_read_response(), peer)
    works(conn, peer)


def test_body_following_nothing(wire: Wire) -> None:
    conn, peer = wire.pair()
    peer.expect_request(b"PUT")
    peer.reply(EMPTY)
    drive(conn.co_send_request("PUT", "/", body=BodyFollowing(0), expect100=True), peer)
    assert not conn.body_pending
    assert drive(conn.co_read_response(), peer).status == 200
    assert (peer.requests[0].get("Expect"), peer.requests[0].get("Content-Length")) == (None, "0")
    works(conn, peer)


@pytest.mark.parametrize("length", [-1, -100])
def test_negative_length(length: int) -> None:
    with pytest.raises(ValueError):
        BodyFollowing(length)


@pytest.mark.parametrize("length", [5, None])
def test_nothing_else_while_a_body_is_unfinished(wire: Wire, length: int | None) -> None:
    conn, peer = wire.pair()
    peer.expect_request(b"PUT", body=b"abcde")
    peer.reply(EMPTY)
    drive(conn.co_send_request("PUT", "/", body=BodyFollowing(length)), peer)
    for _ in range(2):
        with pytest.raises(StateError):
            drive(conn.co_send_request("GET", "/"), peer)
        with pytest.raises(StateError):
            drive(conn.co_read_response(), peer)
        drive(conn.co_write(b""), peer)
    drive(conn.co_write(b"abcde"), peer)
    if length is None:
        drive(conn.co_end_body(), peer)
    drive(conn.co_read_response(), peer)
    works(conn, peer)


@pytest.mark.parametrize("case", ["fresh", "bodyless", "in one piece", "finished", "idle"])
def test_write_when_no_body_is_due(wire: Wire, case: str) -> None:
    conn, peer = wire.pair()
    if case == "finished":
        drive(conn.co_send_request("PUT", "/", body=BodyFollowing(2)), peer)
        drive(conn.co_write(b"ab"), peer)
    elif case != "fresh":
        body = b"ab" if case == "in one piece" else None
        drive(conn.co_send_request("PUT", "/", body=body), peer)
    if case != "fresh":
        peer.expect_request()
        peer.reply(EMPTY)
    if case == "idle":
        drive(conn.co_read_response(), peer)
    with pytest.raises(StateError):
        drive(conn.co_write(b"x"), peer)
    if case not in ("fresh", "idle"):
        drive(conn.co_read_response(), peer)
    works(conn, peer)


def test_chunked_after_http_1_0(plain: Wire) -> None:
    conn, peer = plain.pair()
    peer.expect_request()
    peer.reply(b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n")
    drive(fetch(conn), peer)
    with pytest.raises(ValueError):
        drive(conn.co_send_request("PUT", "/", body=BodyFollowing()), peer)
    works(conn, peer)


def test_chunked_after_http_1_0_on_an_earlier_connection(plain: Wire) -> None:
    listener = plain.listen()
    conn = plain.dial(listener)
    first, second = listener.peer(), listener.peer()
    first.expect_request()
    first.reply(b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n")
    drive(fetch(conn), first)
    conn.disconnect()
    with pytest.raises(ValueError):
        drive(conn.co_send_request("PUT", "/", body=BodyFollowing()), second)
    works(conn, second)


# ---------------------------------------------------------------------- sending and time


def test_second_sender_at_the_same_time(wire: Wire) -> None:
    conn, peer = wire.pair(small=True)
    drive(conn.co_connect(), peer)
    body = bytes(1_000_000)
    crt = conn.co_send_request("PUT", "/", body=body)
    advance(crt, peer)
    with pytest.raises(StateError):
        drive(conn.co_send_request("GET", "/"), peer)
    with pytest.raises(StateError):
        drive(conn.co_write(b"x"), peer)
    peer.expect_request(body=body)
    drive(crt, peer)
    peer.reply(EMPTY)
    drive(conn.co_read_response(), peer)
    works(conn, peer)


def test_sending_cut_off_by_the_caller_ends_sending(wire: Wire) -> None:
    conn, peer = wire.pair(small=True)
    peer.expect_request(b"GET /whole")
    drive(conn.co_send_request("GET", "/whole"), peer)
    crt = conn.co_send_request("PUT", "/cut", body=bytes(1_000_000))
    advance(crt, peer)
    crt.close()
    for _ in range(2):
        with pytest.raises(ConnectionClosed):
            drive(conn.co_send_request("GET", "/"), peer)
    peer.reply(OK)
    assert drive(conn.co_read_response(), peer).path == "/whole"
    assert drive(conn.co_readall(), peer) == b"hi"


def test_one_sender_and_one_reader(wire: Wire) -> None:
    conn, peer = wire.pair(small=True)
    drive(conn.co_connect(), peer)
    up, down = bytes(range(256)) * 2000, bytes(range(255, -1, -1)) * 2000
    peer.expect_request(b"GET /down")
    peer.reply(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(down) + down)
    peer.expect_request(b"PUT /up", body=up)
    peer.reply(EMPTY)
    drive(conn.co_send_request("GET", "/down"), peer)
    response = drive(conn.co_read_response(), peer)
    assert response.length == len(down)
    sending, reading = drive_both(
        conn.co_send_request("PUT", "/up", body=up), conn.co_readall(), peer
    )
    sending.get()
    assert reading.get() == down
    assert drive(conn.co_read_response(), peer).path == "/up"
    works(conn, peer)


def test_request_is_outstanding_before_it_is_connected(wire: Wire) -> None:
    listener = wire.listen()
    conn, peer = wire.dial(listener), listener.peer()
    peer.expect_request(b"GET /late")
    peer.reply(OK)
    assert not conn.response_pending()
    sender = conn.co_send_request("GET", "/late")
    next(sender, None)
    assert conn.response_pending()
    sending, reading = drive_both(sender, conn.co_read_response(), peer)
    sending.get()
    assert reading.get().path == "/late"


def test_ask_is_pipelining_when_asked_twice(wire: Wire) -> None:
    conn, peer = wire.pair()
    peer.expect_request(b"GET /0")
    peer.reply(OK)
    assert drive(ask(conn, path="/0"), peer).status == 200
    drive(conn.co_send_request("GET", "/1"), peer)  # before the body of /0 is read
    peer.expect_request(b"GET /1")
    peer.reply(EMPTY)
    with pytest.raises(StateError):
        drive(conn.co_read_response(), peer)
    assert drive(conn.co_readall(), peer) == b"hi"
    assert drive(conn.co_read_response(), peer).path == "/1"
    works(conn, peer)


@pytest.mark.parametrize("state", ["fresh", "bodyless", "idle"])
def test_end_body_when_no_body_is_due(wire: Wire, state: str) -> None:
    conn, peer = wire.pair()
    if state == "idle":
        works(conn, peer)
    elif state == "bodyless":
        peer.expect_request(b"PUT")
        drive(conn.co_send_request("PUT", "/"), peer)
    with pytest.raises(StateError):
        drive(conn.co_end_body(), peer)
    if state == "bodyless":
        peer.reply(EMPTY)
        drive(conn.co_read_response(), peer)
    works(conn, peer)
