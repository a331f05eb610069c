"""Sending that has to wait: what may happen meanwhile, and being cut off."""

from __future__ import annotations

import pytest

from dugong import POLLOUT, ConnectionClosed, StateError
from tests.support.drive import advance, drive, drive_both
from tests.support.exchanges import EMPTY, OK, ask, works
from tests.support.styles import StyledWire
from tests.support.wire import Wire


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


async def test_blocked_sender_goes_on_when_the_peer_reads(wire: StyledWire) -> None:
    conn, peer = wire.pair(small=True)
    body = bytes(range(256)) * 4000
    peer.expect_request(body=body)
    peer.reply(EMPTY)
    assert (await ask(conn, "PUT", body=body)).status == 200


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


async def test_sending_cut_off_by_the_caller_ends_sending(wire: StyledWire) -> None:
    conn, peer = wire.pair(small=True)
    peer.expect_request(b"GET /whole")
    await conn.send_request("GET", "/whole")
    await wire.stop(conn.send_request("PUT", "/cut", body=bytes(1_000_000)))
    for _ in range(2):
        with pytest.raises(ConnectionClosed):
            await conn.send_request("GET", "/")
    peer.reply(OK)
    assert (await conn.read_response()).path == "/whole"
    assert await conn.readall() == b"hi"


async def test_one_sender_and_one_reader(wire: StyledWire) -> None:
    conn, peer = wire.pair(small=True)
    await conn.connect()
    up, down = bytes(range(256)) * 2000, bytes(range(255, -1, -1)) * 2000
    peer.expect_request(b"GET /down")
    peer.reply(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(down) + down)
    peer.expect_request(b"PUT /up", body=up)
    peer.reply(EMPTY)
    await conn.send_request("GET", "/down")
    response = await conn.read_response()
    assert response.length == len(down)
    sending, reading = await wire.together(conn.send_request("PUT", "/up", body=up), conn.readall())
    sending.get()
    assert reading.get() == down
    assert (await conn.read_response()).path == "/up"
    await works(conn, peer)


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


async def test_ask_is_pipelining_when_asked_twice(wire: StyledWire) -> None:
    conn, peer = wire.pair()
    peer.expect_request(b"GET /0")
    peer.reply(OK)
    assert (await ask(conn, path="/0")).status == 200
    await conn.send_request("GET", "/1")  # before the body of /0 is read
    peer.expect_request(b"GET /1")
    peer.reply(EMPTY)
    with pytest.raises(StateError):
        await conn.read_response()
    assert await conn.readall() == b"hi"
    assert (await conn.read_response()).path == "/1"
    await works(conn, peer)
