"""`hash_body`: digests made while a body is read, and compared with what the server says."""

from __future__ import annotations

import hashlib
import zlib
from typing import Any

import pytest

from dugong import ConnectionClosed, StateError
from tests.session.digests import EVERY_WAY, SHA256, announcing
from tests.support.drive import drive
from tests.support.exchanges import (
    CHUNKED,
    LENGTH,
    OK,
    PAYLOAD,
    SAMPLES,
    SELF_DELIMITED,
    Reader,
    Sample,
    works,
)
from tests.support.in_turn import in_turn
from tests.support.styles import StyledWire
from tests.support.wire import Wire


class Checksum:
    """All that is asked of a hash object is `update`."""

    def __init__(self) -> None:
        self.value = 0
        self.parts: list[Any] = []

    def update(self, data: Any) -> None:
        self.value = zlib.crc32(data, self.value)
        self.parts.append(data)


# -------------------------------------------------------------------------------- hashing


@in_turn("sample", SAMPLES, ids=str)
@in_turn("reader", EVERY_WAY.values(), ids=EVERY_WAY)
@in_turn("chunk", [None, 1, 7])
def test_every_way_of_reading(
    plain: Wire, sample: Sample, reader: Reader, chunk: int | None
) -> None:
    """What came with the head, what comes straight into a buffer, and what is thrown away."""
    conn, peer = plain.pair(chunk=chunk)
    peer.expect_request()
    peer.reply(sample.wire)
    if sample.closes:
        peer.close()
    drive(conn.co_request("GET", "/"), peer)
    first, second, third = hashlib.sha256(), hashlib.md5(usedforsecurity=False), Checksum()
    conn.hash_body(first, second, third)
    drive(reader(conn), peer)
    assert first.digest() == hashlib.sha256(PAYLOAD).digest()
    assert second.digest() == hashlib.md5(PAYLOAD, usedforsecurity=False).digest()
    assert third.value == zlib.crc32(PAYLOAD)
    if not sample.closes:
        works(conn, peer)


@pytest.mark.parametrize("way", ["request", "read_response"])
async def test_in_every_style(wire: StyledWire, way: str) -> None:
    conn, peer = wire.pair(chunk=9)
    for check in (False, True):
        peer.expect_request()
        peer.reply(announcing(CHUNKED, "Content-Digest", SHA256).wire)
        if way == "request":
            await conn.request("GET", "/")
        else:
            await conn.send_request("GET", "/")
            await conn.read_response()
        digest = hashlib.sha256()
        conn.hash_body(digest, check=check)
        buf = bytearray(5)
        assert await conn.readinto(buf) > 0
        assert PAYLOAD.endswith(await conn.readall())
        assert digest.digest() == hashlib.sha256(PAYLOAD).digest()
    await works(conn, peer)


def test_as_it_is_received(plain: Wire) -> None:
    """Each byte once, no later than the call that returns it."""
    conn, peer = plain.pair()
    peer.expect_request()
    peer.reply(LENGTH.head + LENGTH.body[:5])
    drive(conn.co_request("GET", "/"), peer)
    checksum = Checksum()
    conn.hash_body(checksum)
    got = b""
    peer.reply(LENGTH.body[5:], chunk=1)
    while piece := drive(conn.co_read(3), peer):
        got += piece
        assert checksum.value == zlib.crc32(got)
    assert got == PAYLOAD


def test_only_the_body_at_hand(plain: Wire) -> None:
    conn, peer = plain.pair()
    checksum = Checksum()
    for path in ("/one", "/two"):
        peer.expect_request()
        peer.reply(OK)
        drive(conn.co_request("GET", path), peer)
        if path == "/one":
            conn.hash_body(checksum)
        drive(conn.co_readall(), peer)
    assert checksum.value == zlib.crc32(b"hi")


def test_with_pipelining(plain: Wire) -> None:
    conn, peer = plain.pair()
    for _ in range(3):
        peer.expect_request()
        drive(conn.co_send_request("GET", "/"), peer)
    peer.reply(
        b"".join(announcing(sample, "Content-Digest", SHA256).wire for sample in SELF_DELIMITED)
    )
    for _ in SELF_DELIMITED:
        drive(conn.co_read_response(), peer)
        digest = hashlib.sha256()
        conn.hash_body(digest, check=True)
        assert drive(conn.co_readall(), peer) == PAYLOAD
        assert digest.digest() == hashlib.sha256(PAYLOAD).digest()
    works(conn, peer)


class Failing(Checksum):
    """Takes some parts, and raises at the next one, once."""

    def __init__(self, parts: int) -> None:
        super().__init__()
        self.left = parts

    def update(self, data: Any) -> None:
        self.left -= 1
        if self.left == -1:
            raise ZeroDivisionError
        super().update(data)


@in_turn("sample", SELF_DELIMITED, ids=str)
@in_turn("reader", EVERY_WAY.values(), ids=EVERY_WAY)
@in_turn("parts", [0, 1])
def test_an_update_that_raises(plain: Wire, sample: Sample, reader: Reader, parts: int) -> None:
    """Bytes are missing from then on: what follows is neither body nor another response."""
    conn, peer = plain.pair()
    for path in ("/one", "/two"):
        drive(conn.co_send_request("GET", path), peer)
        peer.expect_request()
    peer.reply(sample.head)
    drive(conn.co_read_response(), peer)
    middle = len(sample.body) // 2
    peer.reply(sample.body[:middle])
    peer.reply(sample.body[middle:] + OK)
    conn.hash_body(Failing(parts))
    with pytest.raises(ZeroDivisionError):
        drive(reader(conn), peer)
    got = b""
    with pytest.raises(ConnectionClosed):
        while piece := drive(conn.co_read(1000), peer):
            got += piece  # what an interrupted readall had gathered
    assert PAYLOAD.startswith(got)
    for again in EVERY_WAY.values():
        with pytest.raises(ConnectionClosed):
            drive(again(conn), peer)
    with pytest.raises(ConnectionClosed):
        drive(conn.co_read_response(), peer)
    with pytest.raises(ConnectionClosed):
        drive(conn.co_send_request("GET", "/again"), peer)
    assert b"/again" not in peer.received


# --------------------------------------------------------------------------------- when


async def test_when_it_makes_no_sense(wire: StyledWire) -> None:
    conn, peer = wire.pair()
    with pytest.raises(StateError):
        conn.hash_body(Checksum())
    for check in (False, True):
        peer.expect_request()
        peer.reply(announcing(LENGTH, "Content-Digest", SHA256).wire)
        await conn.send_request("GET", "/")
        with pytest.raises(StateError):
            conn.hash_body(Checksum(), check=check)
        await conn.read_response()
        await conn.read(1)
        with pytest.raises(StateError):
            conn.hash_body(Checksum(), check=check)
        assert await conn.readall() == PAYLOAD[1:]
        with pytest.raises(StateError):
            conn.hash_body(Checksum(), check=check)
    await works(conn, peer)
    conn.disconnect()
    with pytest.raises((StateError, ConnectionClosed)):
        conn.hash_body(Checksum())


async def test_reading_nothing_is_no_reading(wire: StyledWire) -> None:
    conn, peer = wire.pair()
    peer.expect_request()
    peer.reply(OK)
    await conn.request("GET", "/")
    assert await conn.read(0) == b""
    checksum = Checksum()
    conn.hash_body(checksum)
    assert await conn.readall() == b"hi"
    assert checksum.value == zlib.crc32(b"hi")
