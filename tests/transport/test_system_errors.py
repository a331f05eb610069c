"""However an established connection ends, the caller gets `ConnectionClosed` and the cause."""

from __future__ import annotations

import errno
import os
import ssl

import pytest

from dugong import BodyFollowing, ConnectionClosed, ConnectionTimedOut, is_temp_network_error
from tests.support.drive import drive
from tests.support.exchanges import LENGTH, OK, PAYLOAD, READERS, ask, works
from tests.support.in_turn import in_turn
from tests.support.tapped import Pace
from tests.support.wire import Wire

ENDINGS = [
    errno.ECONNRESET,
    errno.ECONNABORTED,
    errno.EPIPE,
    errno.ENOTCONN,
    errno.EHOSTUNREACH,
    errno.ENETDOWN,
    errno.EIO,
]


def failure(code: int) -> OSError:
    return OSError(code, os.strerror(code))


@pytest.mark.parametrize("code", ENDINGS, ids=lambda code: errno.errorcode[code])
def test_receiving_fails(wire: Wire, code: int) -> None:
    pace = Pace()
    conn, peer = wire.pair(tap=pace)
    peer.expect_request()
    peer.reply(OK)  # so that the socket is readable, as one that failed is
    drive(conn.co_send_request("GET", "/"), peer)
    pace.recv_fails = failure(code)
    with pytest.raises(ConnectionClosed) as info:
        drive(conn.co_read_response(), peer)
    assert info.value.__cause__ is pace.recv_fails
    assert is_temp_network_error(info.value)


@in_turn("code", ENDINGS, ids=lambda code: errno.errorcode[code])
@in_turn("name", ["read(5)", "readinto(3)", "readall"])
def test_receiving_fails_in_a_body(wire: Wire, code: int, name: str) -> None:
    pace = Pace()
    conn, peer = wire.pair(tap=pace)
    peer.expect_request()
    peer.reply(LENGTH.head)
    drive(ask(conn), peer)
    pace.recv_fails = failure(code)
    with pytest.raises(ConnectionClosed) as info:
        drive(READERS[name](conn), peer)
    assert info.value.__cause__ is pace.recv_fails


@pytest.mark.parametrize("code", ENDINGS, ids=lambda code: errno.errorcode[code])
def test_sending_fails(wire: Wire, code: int) -> None:
    pace = Pace()
    conn, peer = wire.pair(tap=pace)
    drive(conn.co_connect(), peer)
    pace.send_fails = failure(code)
    with pytest.raises(ConnectionClosed) as info:
        drive(conn.co_send_request("POST", "/", body=b"abc"), peer)
    assert info.value.__cause__ is pace.send_fails
    assert (info.value.bytes_sent, info.value.safe_to_retry) == (0, True)


def test_sending_a_body_fails_and_earlier_responses_are_delivered(wire: Wire) -> None:
    pace = Pace()
    conn, peer = wire.pair(tap=pace)
    peer.expect_request(b"GET /one")
    peer.expect_head(b"PUT /two")
    drive(conn.co_send_request("GET", "/one"), peer)
    drive(conn.co_send_request("PUT", "/two", body=BodyFollowing(10)), peer)
    peer.reply(LENGTH.wire + b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno")
    peer.run()
    pace.send_fails = failure(errno.EPIPE)
    with pytest.raises(ConnectionClosed):
        drive(conn.co_write(b"0123456789"), peer)
    assert drive(conn.co_read_response(), peer).path == "/one"
    assert drive(conn.co_readall(), peer) == PAYLOAD
    assert drive(conn.co_read_response(), peer).status == 413
    assert drive(conn.co_readall(), peer) == b"no"
    with pytest.raises(ConnectionClosed):
        drive(conn.co_send_request("GET", "/"), peer)


def test_nothing_is_waited_for_where_the_request_was_not_sent_whole(wire: Wire) -> None:
    pace = Pace()
    conn, peer = wire.pair(tap=pace)
    peer.expect_request(b"GET /one")
    drive(conn.co_send_request("GET", "/one"), peer)
    pace.send_fails = failure(errno.EPIPE)
    with pytest.raises(ConnectionClosed):
        drive(conn.co_send_request("PUT", "/two", body=b"abc"), peer)
    peer.reply(OK)
    assert drive(conn.co_read_response(), peer).path == "/one"
    assert drive(conn.co_readall(), peer) == b"hi"
    with pytest.raises(ConnectionClosed) as info:  # although the peer is still there
        drive(conn.co_read_response(), peer)
    assert [request.path for request in info.value.unanswered] == ["/two"]


@pytest.mark.parametrize("direction", ["recv_fails", "send_fails"])
def test_etimedout_is_a_time_out(wire: Wire, direction: str) -> None:
    pace = Pace()
    conn, peer = wire.pair(tap=pace)
    works(conn, peer)
    peer.expect_request()
    peer.reply(OK)
    if direction == "recv_fails":
        drive(conn.co_send_request("GET", "/"), peer)
    setattr(pace, direction, failure(errno.ETIMEDOUT))
    with pytest.raises(ConnectionTimedOut) as info:
        drive(ask(conn) if direction == "send_fails" else conn.co_read_response(), peer)
    assert info.value.__cause__ is getattr(pace, direction)


def test_bytes_that_are_no_tls(tls: Wire) -> None:
    conn, peer = tls.pair()
    peer.expect_request()
    peer.reply(OK[:10])
    peer.garble(b"\x17\x03\x03\x00\x20" + bytes(32))  # a record that does not decrypt
    drive(conn.co_send_request("GET", "/"), peer)
    with pytest.raises(ConnectionClosed) as info:
        drive(conn.co_read_response(), peer)
    assert isinstance(info.value.__cause__, ssl.SSLError)
