"""Several requests in flight, and how sending and receiving fail separately."""

from __future__ import annotations

from collections.abc import Generator

import pytest

from dugong import BodyFollowing, ConnectionClosed, InvalidResponse, PollNeeded, StateError
from tests.drive import advance, drive, drive_both
from tests.exchanges import (
    CHUNKED,
    EMPTY,
    LENGTH,
    OK,
    PAYLOAD,
    SELF_DELIMITED,
    Sample,
    ask,
    fetch,
    works,
)
from tests.wire import Wire

LAST = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi"


def paths(error: ConnectionClosed) -> list[str]:
    return [request.path for request in error.unanswered]


@pytest.mark.parametrize("chunk", [None, 1])
def test_responses_come_in_order(wire: Wire, chunk: int | None) -> None:
    conn, peer = wire.pair(chunk=chunk)
    bodies = [b"first", b"", b"third" * 5]
    for i in range(3):
        drive(conn.co_send_request("GET", f"/{i}"), peer)
        peer.expect_request(b"GET /%d " % i)
    peer.reply(
        b"".join(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(b), b) for b in bodies)
    )
    for i, body in enumerate(bodies):
        response = drive(conn.co_read_response(), peer)
        assert (response.path, response.method) == (f"/{i}", "GET")
        assert drive(conn.co_readall(), peer) == body
    works(conn, peer)


def test_each_response_is_framed_for_its_own_request(wire: Wire) -> None:
    conn, peer = wire.pair()
    for method in ("HEAD", "GET", "HEAD", "PUT"):
        drive(conn.co_send_request(method, "/"), peer)
        peer.expect_request(method.encode())
    peer.reply(LENGTH.head + CHUNKED.wire + CHUNKED.head + LENGTH.wire)
    bodies = []
    for _ in range(4):
        response = drive(conn.co_read_response(), peer)
        bodies.append((response.method, drive(conn.co_readall(), peer)))
    assert bodies == [("HEAD", b""), ("GET", PAYLOAD), ("HEAD", b""), ("PUT", PAYLOAD)]
    works(conn, peer)


def test_many_requests_by_two_coroutines(wire: Wire) -> None:
    conn, peer = wire.pair(small=True)
    count = 300
    body = bytes(500)
    for i in range(count):
        peer.expect_request(b"GET /%d " % i)
        peer.reply(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n" + body)

    def send() -> Generator[PollNeeded, None, None]:
        for i in range(count):
            yield from conn.co_send_request("GET", f"/{i}", headers={"X-Pad": "x" * 100})

    def read() -> Generator[PollNeeded, None, None]:
        for i in range(count):
            response = yield from conn.co_read_response()
            assert response.path == f"/{i}"
            assert (yield from conn.co_readall()) == body

    sending, reading = drive_both(send(), read(), peer)
    sending.get()
    reading.get()
    works(conn, peer)


# --------------------------------------------------------------------------- announced close


@pytest.mark.parametrize(
    "last",
    [
        LAST,
        b"HTTP/1.1 200 OK\r\nconnection: foo , CLOSE\r\nContent-Length: 2\r\n\r\nhi",
        b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi",
    ],
    ids=["close", "close in a list", "HTTP/1.0"],
)
@pytest.mark.parametrize("closes", [True, False], ids=["and closes", "and stays"])
def test_announced_close_with_requests_in_flight(wire: Wire, last: bytes, closes: bool) -> None:
    conn, peer = wire.pair()
    for i in range(4):
        drive(conn.co_send_request("POST" if i == 3 else "GET", f"/{i}"), peer)
        peer.expect_request()
    peer.reply(OK + last)
    if closes:
        peer.close()
    assert not drive(conn.co_read_response(), peer).will_close
    drive(conn.co_readall(), peer)
    response = drive(conn.co_read_response(), peer)
    assert response.will_close
    assert drive(conn.co_readall(), peer) == b"hi"
    with pytest.raises(ConnectionClosed) as info:
        drive(conn.co_read_response(), peer)
    assert paths(info.value) == ["/2", "/3"]
    assert not info.value.response_started


def test_announced_close_before_the_next_request(wire: Wire) -> None:
    """Nothing of the next request is written, and the call after it connects afresh."""
    listener = wire.listen()
    conn, first, second = wire.dial(listener), listener.peer(), listener.peer()
    first.expect_request(b"GET /last")
    first.reply(LAST)
    response, _ = drive(fetch(conn, path="/last"), first)
    assert response.will_close
    before = conn.bytes_sent
    with pytest.raises(ConnectionClosed) as info:
        drive(conn.co_send_request("POST", "/more", body=b"abc"), first)
    assert (info.value.bytes_sent, info.value.safe_to_retry) == (0, True)
    assert conn.bytes_sent in (0, before)
    assert not conn.response_pending()
    works(conn, second)
    assert len(first.requests) == 1


def test_keep_alive_of_http_1_0(wire: Wire) -> None:
    conn, peer = wire.pair()
    peer.expect_request()
    peer.reply(b"HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\nContent-Length: 2\r\n\r\nhi")
    response, body = drive(fetch(conn), peer)
    assert (response.will_close, body) == (False, b"hi")
    works(conn, peer)


# ------------------------------------------------------------------- sending and receiving


@pytest.mark.parametrize("sample", SELF_DELIMITED, ids=str)
def test_responses_are_delivered_after_sending_broke(wire: Wire, sample: Sample) -> None:
    """The peer answers what it got and closes while a large request is being sent."""
    conn, peer = wire.pair(small=True)
    for i in range(2):
        peer.expect_request(b"GET /%d" % i)
        drive(conn.co_send_request("GET", f"/{i}"), peer)
    sender = conn.co_send_request("PUT", "/big", body=bytes(1_000_000))
    advance(sender, peer)
    sender.close()
    peer.reply(sample.wire * 2)
    for i in range(2):
        assert drive(conn.co_read_response(), peer).path == f"/{i}"
        assert drive(conn.co_readall(), peer) == sample.payload
    peer.close()
    with pytest.raises(ConnectionClosed) as info:
        drive(conn.co_read_response(), peer)
    assert paths(info.value) == ["/big"]
    assert 0 < info.value.bytes_sent < 1_000_000
    with pytest.raises(ConnectionClosed):
        drive(conn.co_send_request("GET", "/"), peer)


def test_final_response_to_the_request_that_was_cut_off(wire: Wire) -> None:
    """Say a 413 while the body is on its way; then there is nothing more."""
    conn, peer = wire.pair(small=True)
    peer.expect_head(b"PUT /big")
    sender = conn.co_send_request("PUT", "/big", body=bytes(1_000_000))
    advance(sender, peer)
    sender.close()
    peer.reply(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno")
    peer.run()
    response = drive(conn.co_read_response(), peer)
    assert (response.status, response.path) == (413, "/big")
    assert drive(conn.co_readall(), peer) == b"no"
    with pytest.raises((ConnectionClosed, StateError)):
        drive(conn.co_read_response(), peer)
    with pytest.raises(ConnectionClosed):
        drive(conn.co_send_request("GET", "/"), peer)


def test_peer_that_answers_and_hangs_up_while_a_body_is_sent(wire: Wire) -> None:
    """Sending fails; the response that arrived before can still be read."""
    conn, peer = wire.pair()
    peer.expect_head(b"PUT /big")
    drive(conn.co_send_request("PUT", "/big", body=BodyFollowing(100_000_000)), peer)
    peer.run()
    peer.reply(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno")
    peer.close()
    peer.run()

    def write_all() -> Generator[PollNeeded, None, None]:
        for _ in range(1000):
            yield from conn.co_write(bytes(100_000))

    with pytest.raises(ConnectionClosed) as info:
        drive(write_all(), peer)
    assert info.value.bytes_sent > 0
    response = drive(conn.co_read_response(), peer)
    assert response.status == 413
    assert drive(conn.co_readall(), peer) == b"no"


def test_sending_fails_while_reading_goes_on(wire: Wire) -> None:
    conn, peer = wire.pair(small=True)
    peer.expect_request(b"GET /one")
    peer.reply(LENGTH.wire)
    drive(conn.co_send_request("GET", "/one"), peer)
    drive(conn.co_read_response(), peer)
    sender = conn.co_send_request("PUT", "/two", body=bytes(1_000_000))
    advance(sender, peer)
    sender.close()
    assert drive(conn.co_readall(), peer) == PAYLOAD


def test_protocol_error_leaves_later_requests_unanswered(wire: Wire) -> None:
    conn, peer = wire.pair()
    for i in range(3):
        drive(conn.co_send_request("GET", f"/{i}"), peer)
        peer.expect_request()
    peer.reply(OK + b"what is this?\r\n\r\n" + OK)
    drive(conn.co_read_response(), peer)
    drive(conn.co_readall(), peer)
    with pytest.raises(InvalidResponse) as info:
        drive(conn.co_read_response(), peer)
    assert [request.path for request in info.value.unanswered] == ["/1", "/2"]
    with pytest.raises(ConnectionClosed):
        drive(conn.co_read_response(), peer)


def test_unanswered_requests_describe_themselves(wire: Wire) -> None:
    conn, peer = wire.pair()
    drive(conn.co_send_request("PUT", "/a", {"X-One": "1"}, body=b"abc"), peer)
    drive(conn.co_send_request("GET", "/b"), peer)
    peer.expect_request()
    peer.expect_request()
    peer.close()
    with pytest.raises(ConnectionClosed) as info:
        drive(conn.co_read_response(), peer)
    assert [(request.method, request.path) for request in info.value.unanswered] == [
        ("PUT", "/a"),
        ("GET", "/b"),
    ]


def test_close_between_two_responses(wire: Wire) -> None:
    conn, peer = wire.pair()
    for i in range(2):
        drive(conn.co_send_request("GET", f"/{i}"), peer)
        peer.expect_request()
    peer.reply(OK)
    peer.close()
    assert drive(conn.co_read_response(), peer).path == "/0"
    assert drive(conn.co_readall(), peer) == b"hi"
    with pytest.raises(ConnectionClosed) as info:
        drive(conn.co_read_response(), peer)
    assert paths(info.value) == ["/1"]
    assert not info.value.response_started


def test_response_nobody_asked_for_is_never_taken_for_the_next_one(wire: Wire) -> None:
    """Two responses to one request: what came too much must not answer what is sent later."""
    conn, peer = wire.pair()
    peer.expect_request()
    peer.reply(OK + b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
    drive(ask(conn), peer)
    assert drive(conn.co_readall(), peer) == b"hi"
    with pytest.raises(ConnectionClosed) as info:
        drive(conn.co_send_request("GET", "/next"), peer)
    assert (info.value.bytes_sent, info.value.safe_to_retry) == (0, True)
    assert EMPTY not in peer.received


def test_announced_close_while_the_body_is_still_being_read(wire: Wire) -> None:
    """The next request is refused; the response that announced it can be read to its end."""
    conn, peer = wire.pair()
    peer.expect_request()
    peer.reply(LAST)
    drive(ask(conn), peer)
    with pytest.raises(ConnectionClosed):
        drive(conn.co_send_request("GET", "/next"), peer)
    assert drive(conn.co_readall(), peer) == b"hi"
    assert len(peer.requests) == 1


@pytest.mark.parametrize("expect100", [True, False])
def test_earlier_response_while_a_later_body_is_unfinished(wire: Wire, expect100: bool) -> None:
    conn, peer = wire.pair()
    peer.expect_request(b"GET /one")
    peer.expect_head(b"PUT /two")
    peer.reply(OK)
    drive(conn.co_send_request("GET", "/one"), peer)
    body = BodyFollowing(5)
    drive(conn.co_send_request("PUT", "/two", body=body, expect100=expect100), peer)
    assert drive(conn.co_read_response(), peer).path == "/one"
    assert drive(conn.co_readall(), peer) == b"hi"
    if expect100:
        peer.reply(b"HTTP/1.1 100 Continue\r\n\r\n")
        assert drive(conn.co_read_response(), peer).status == 100
    with pytest.raises(StateError):
        drive(conn.co_read_response(), peer)
    peer.expect(b"hello")
    peer.reply(EMPTY)
    drive(conn.co_write(b"hello"), peer)
    assert drive(conn.co_read_response(), peer).path == "/two"
    works(conn, peer)
