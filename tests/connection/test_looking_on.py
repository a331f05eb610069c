"""What a program can see of a connection: counts, events, a trace, and a file's attributes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import dugong
from tests.support.exchanges import CHUNKED, LENGTH, OK, PAYLOAD, works
from tests.support.styles import StyledWire


async def test_byte_counts(wire: StyledWire) -> None:
    conn, peer = wire.pair()
    peer.expect_request()
    peer.reply(CHUNKED.wire)
    await conn.send_request("PUT", "/", body=bytes(1000))
    sent = conn.bytes_sent
    assert sent > 1000
    assert conn.bytes_received == 0
    await conn.read_response()
    assert sent == len(peer.received)
    await conn.readall()
    assert (conn.bytes_sent, conn.bytes_received) == (sent, len(CHUNKED.wire))
    await works(conn, peer)
    assert conn.bytes_sent == len(peer.received)
    assert conn.bytes_received == len(CHUNKED.wire) + len(OK)


async def test_byte_counts_in_the_middle(wire: StyledWire) -> None:
    conn, _ = wire.pair()
    await conn.send_request("PUT", "/", body=dugong.BodyFollowing(10))
    before = conn.bytes_sent
    await conn.write(b"abcd")
    assert conn.bytes_sent == before + 4


async def test_events(wire: StyledWire) -> None:
    listener = wire.listen()
    conn, peer = wire.dial(listener), listener.peer()
    events: list[str] = []
    conn.on_event = events.append
    peer.expect_request()
    peer.reply(LENGTH.wire, chunk=9)
    await conn.send_request("GET", "/")
    if events[0] == "resolved":  # there was nothing to resolve, it may be left out
        del events[0]
    secured = ["secured"] if wire.tls else []
    assert events == ["connecting", "connected", *secured, "sent"]
    events.clear()
    response = await conn.read_response()
    assert response.status == 200
    assert events == ["first_byte"]
    assert await conn.readall() == PAYLOAD
    assert events == ["first_byte", "done"]
    events.clear()
    await works(conn, peer)
    assert events == ["sent", "first_byte", "done"]


async def test_events_when_a_name_is_resolved(wire: StyledWire) -> None:
    listener = wire.listen()
    port = listener.address[1]
    conn = wire.dial(listener, address=("localhost", port))
    listener.peer()
    events: list[str] = []
    conn.on_event = events.append
    await conn.connect()
    assert events == ["resolved", "connecting", "connected", "secured"][: 4 if wire.tls else 3]


async def test_trace_file(
    wire: StyledWire, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DUGONG_TRACEFILE", str(tmp_path / "trace-%d"))
    for _ in range(2):
        conn, peer = wire.pair()
        await works(conn, peer)
        conn.disconnect()
    check_traces(tmp_path)


def check_traces(folder: Path) -> None:
    files = sorted(folder.iterdir())
    assert len(files) == 2
    for file in files:
        assert re.fullmatch(r"trace-\d+", file.name)
        text = file.read_bytes()
        assert b"GET /works HTTP/1.1" in text
        assert b"HTTP/1.1 200 OK" in text


async def test_file_interface(wire: StyledWire) -> None:
    conn, peer = wire.pair()
    await works(conn, peer)
    conn.flush()
    conn.close()
    assert not conn.closed
    assert (conn.readable(), conn.writable(), conn.seekable()) == (True, True, False)
    await works(conn, peer)
