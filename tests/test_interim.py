"""Interim responses: 1xx collected on the way, 100-continue, and 101."""

from __future__ import annotations

import pytest

from dugong import (
    BodyFollowing,
    ConnectionClosed,
    InvalidResponse,
    StateError,
    UnsupportedResponse,
)
from tests.drive import drive
from tests.exchanges import EMPTY, OK, ask, fetch, works
from tests.wire import Wire

HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n"
PROCESSING = b"HTTP/1.1 102 Processing\r\n\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
SWITCHING = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: sea\r\nConnection: Upgrade\r\n\r\n"
REFUSED = b"HTTP/1.1 417 Expectation Failed\r\nContent-Length: 4\r\n\r\nnope"
UPGRADE = {"Upgrade": "sea", "Connection": "Upgrade"}


# ---------------------------------------------------------------------- collected on the way


@pytest.mark.parametrize("chunk", [None, 1])
def test_interim_responses_are_collected(wire: Wire, chunk: int | None) -> None:
    conn, peer = wire.pair(chunk=chunk)
    peer.expect_request()
    peer.expect_request()
    peer.reply(HINTS + CONTINUE + PROCESSING + HINTS + OK + PROCESSING + EMPTY)
    drive(conn.co_send_request("GET", "/one"), peer)
    drive(conn.co_send_request("GET", "/two"), peer)
    response = drive(conn.co_read_response(), peer)
    assert response.status == 200
    assert [early.status for early in response.informational] == [103, 100, 102, 103]
    assert response.informational[0].headers["Link"] == "</style.css>; rel=preload"
    assert drive(conn.co_readall(), peer) == b"hi"
    second = drive(conn.co_read_response(), peer)
    assert [early.status for early in second.informational] == [102]
    works(conn, peer)


def test_no_interim_responses(wire: Wire) -> None:
    conn, peer = wire.pair()
    peer.expect_request()
    peer.reply(OK)
    assert len(drive(ask(conn), peer).informational) == 0


def test_unknown_interim_status(wire: Wire) -> None:
    conn, peer = wire.pair()
    peer.expect_request()
    peer.reply(b"HTTP/1.1 142 Thinking\r\nX-Thought: 7\r\n\r\n" + OK)
    response = drive(ask(conn), peer)
    assert [early.status for early in response.informational] == [142]
    assert drive(conn.co_readall(), peer) == b"hi"


def test_twenty_interim_responses_are_fine(wire: Wire) -> None:
    conn, peer = wire.pair()
    peer.expect_request()
    peer.reply(HINTS * 20 + OK)
    assert len(drive(ask(conn), peer).informational) == 20


def test_interim_responses_are_limited(wire: Wire) -> None:
    conn, peer = wire.pair()
    peer.expect_request()
    peer.reply(PROCESSING * 5000)
    with pytest.raises(InvalidResponse):
        drive(ask(conn), peer)


# ----------------------------------------------------------------------------- 100-continue


@pytest.mark.parametrize("chunk", [None, 1])
@pytest.mark.parametrize("length", [5, None])
def test_continue(wire: Wire, chunk: int | None, length: int | None) -> None:
    conn, peer = wire.pair(chunk=chunk)
    peer.expect_head(b"PUT /up HTTP/1.1\r\n")
    peer.reply(CONTINUE)
    peer.expect(b"hello" if length else b"5\r\nhello\r\n0\r\n\r\n")
    peer.reply(OK)
    options = {"body": BodyFollowing(length), "expect100": True}
    drive(conn.co_send_request("PUT", "/up", **options), peer)  # type: ignore[arg-type]
    assert conn.body_pending
    assert drive(conn.co_read_response(), peer).status == 100
    assert conn.body_pending
    drive(conn.co_write(b"hello"), peer)
    if length is None:
        drive(conn.co_end_body(), peer)
    response = drive(conn.co_read_response(), peer)
    assert (response.status, response.path) == (200, "/up")
    assert drive(conn.co_readall(), peer) == b"hi"
    assert peer.requests[0].get("Expect") == "100-continue"
    works(conn, peer)


def test_expect_field_only_when_asked_for(wire: Wire) -> None:
    conn, peer = wire.pair()
    peer.expect_request(body=b"hello")
    peer.reply(EMPTY)
    drive(conn.co_send_request("PUT", "/", body=BodyFollowing(5)), peer)
    drive(conn.co_write(b"hello"), peer)
    drive(conn.co_read_response(), peer)
    assert peer.requests[0].get("Expect") is None


def test_hints_before_the_continue(wire: Wire) -> None:
    conn, peer = wire.pair()
    peer.expect_head()
    peer.reply(HINTS)
    peer.reply(CONTINUE + HINTS)
    peer.expect(b"hello")
    peer.reply(EMPTY)
    drive(conn.co_send_request("PUT", "/", body=BodyFollowing(5), expect100=True), peer)
    assert drive(conn.co_read_response(), peer).status == 100
    drive(conn.co_write(b"hello"), peer)
    response = drive(conn.co_read_response(), peer)
    assert response.status == 200
    assert [early.status for early in response.informational].count(103) >= 1
    works(conn, peer)


def test_no_writing_before_the_continue(wire: Wire) -> None:
    conn, peer = wire.pair()
    peer.expect_head()
    drive(conn.co_send_request("PUT", "/", body=BodyFollowing(5), expect100=True), peer)
    peer.reply(CONTINUE)
    for _ in range(2):
        with pytest.raises(StateError):
            drive(conn.co_write(b"hello"), peer)
        with pytest.raises(StateError):
            drive(conn.co_send_request("GET", "/"), peer)
    drive(conn.co_read_response(), peer)
    with pytest.raises(StateError):
        drive(conn.co_read_response(), peer)  # now the body is due
    peer.expect(b"hello")
    peer.reply(EMPTY)
    drive(conn.co_write(b"hello"), peer)
    drive(conn.co_read_response(), peer)
    works(conn, peer)


@pytest.mark.parametrize("body", [None, b"bytes", b""], ids=repr)
def test_expect_needs_a_body_that_follows(wire: Wire, body: bytes | None) -> None:
    conn, peer = wire.pair()
    with pytest.raises(ValueError):
        drive(conn.co_send_request("PUT", "/", body=body, expect100=True), peer)
    works(conn, peer)


@pytest.mark.parametrize("length", [5, None])
@pytest.mark.parametrize("head", [b"", HINTS], ids=["alone", "after hints"])
def test_refused_expectation(wire: Wire, length: int | None, head: bytes) -> None:
    """The refusal is returned and can be read; then the connection is replaced by itself."""
    listener = wire.listen()
    conn, first, second = wire.dial(listener), listener.peer(), listener.peer()
    first.expect_head(b"PUT")
    first.reply(head + REFUSED)
    first.expect_eof()
    options = {"body": BodyFollowing(length), "expect100": True}
    drive(conn.co_send_request("PUT", "/", **options), first)  # type: ignore[arg-type]
    response = drive(conn.co_read_response(), first)
    assert (response.status, response.reason) == (417, "Expectation Failed")
    assert not conn.body_pending
    with pytest.raises(StateError):
        drive(conn.co_write(b"hello"), first)
    assert drive(conn.co_readall(), first) == b"nope"
    assert not conn.response_pending()
    second.expect_request(b"GET /again")
    second.reply(OK)
    again, body = drive(fetch(conn, path="/again"), first, second)
    assert (again.status, body) == (200, b"hi")
    first.run()
    first.check()


def test_expectation_answered_at_once_with_success(wire: Wire) -> None:
    """A final 2xx instead of the 100 is a refusal of the body all the same."""
    listener = wire.listen()
    conn, first, second = wire.dial(listener), listener.peer(), listener.peer()
    first.expect_head(b"PUT")
    first.reply(OK)
    drive(conn.co_send_request("PUT", "/", body=BodyFollowing(5), expect100=True), first)
    assert drive(conn.co_read_response(), first).status == 200
    assert drive(conn.co_readall(), first) == b"hi"
    second.expect_request(b"GET /again")
    second.reply(EMPTY)
    assert drive(fetch(conn, path="/again"), second)[0].status == 200


def test_connection_lost_while_waiting_for_the_continue(wire: Wire) -> None:
    conn, peer = wire.pair()
    peer.expect_head()
    peer.close()
    drive(conn.co_send_request("PUT", "/", body=BodyFollowing(5), expect100=True), peer)
    with pytest.raises(ConnectionClosed) as info:
        drive(conn.co_read_response(), peer)
    assert not info.value.response_started
    with pytest.raises(ConnectionClosed):
        drive(conn.co_write(b"hello"), peer)


def test_pipelined_behind_an_accepted_expectation(wire: Wire) -> None:
    conn, peer = wire.pair()
    peer.expect_head()
    peer.reply(CONTINUE)
    peer.expect(b"hello")
    peer.expect_request(b"GET /next")
    peer.reply(EMPTY + OK)
    drive(conn.co_send_request("PUT", "/", body=BodyFollowing(5), expect100=True), peer)
    drive(conn.co_read_response(), peer)
    drive(conn.co_write(b"hello"), peer)
    drive(conn.co_send_request("GET", "/next"), peer)
    assert drive(conn.co_read_response(), peer).path == "/"
    assert drive(conn.co_read_response(), peer).path == "/next"


# -------------------------------------------------------------------------------------- 101


def test_switching_protocols_that_was_asked_for(wire: Wire) -> None:
    conn, peer = wire.pair()
    peer.expect_request()
    peer.reply(HINTS + SWITCHING + b"already sea")
    response = drive(ask(conn, headers=UPGRADE), peer)
    assert (response.status, response.length) == (101, 0)
    assert response.headers["Upgrade"] == "sea"
    sock, received = conn.detach()
    with sock:
        assert bytes(received) == b"already sea"
        peer.reply(b" more")
        peer.run()
        sock.setblocking(True)
        assert sock.recv(100) == b" more"
        sock.sendall(b"whale")
        peer.expect(b"whale")
        peer.run()
        conn.disconnect()
        assert sock.fileno() >= 0, "the socket is no longer ours to close"


def test_upgrade_that_the_server_ignores(wire: Wire) -> None:
    conn, peer = wire.pair()
    peer.expect_request()
    peer.reply(OK)
    response, body = drive(fetch(conn, headers=UPGRADE), peer)
    assert (response.status, body) == (200, b"hi")
    works(conn, peer)


def test_switching_protocols_that_nobody_asked_for(wire: Wire) -> None:
    conn, peer = wire.pair()
    peer.expect_request()
    peer.reply(SWITCHING)
    with pytest.raises(UnsupportedResponse) as info:
        drive(ask(conn), peer)
    assert info.value.response.status == 101


def test_switching_protocols_to_the_next_request_only(wire: Wire) -> None:
    conn, peer = wire.pair()
    peer.expect_request()
    peer.expect_request()
    peer.reply(SWITCHING)
    drive(conn.co_send_request("GET", "/"), peer)
    drive(conn.co_send_request("GET", "/sea", headers=UPGRADE), peer)
    with pytest.raises(UnsupportedResponse):
        drive(conn.co_read_response(), peer)


def test_detach_after_connect(plain: Wire) -> None:
    conn, peer = plain.pair()
    peer.expect_request(b"CONNECT example.com:443 HTTP/1.1\r\n")
    peer.reply(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nbytes")
    headers = {"Host": "example.com:443"}
    response = drive(ask(conn, "CONNECT", "example.com:443", headers=headers), peer)
    assert response.status == 200
    sock, received = conn.detach()
    with sock:
        assert bytes(received) == b"bytes"


def test_detach_at_the_wrong_time(wire: Wire) -> None:
    conn, peer = wire.pair()
    peer.expect_request()
    peer.reply(OK)
    drive(ask(conn), peer)
    with pytest.raises(StateError):
        conn.detach()
    assert drive(conn.co_readall(), peer) == b"hi"
    works(conn, peer)
