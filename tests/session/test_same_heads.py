"""Heads that are the same as the one before, byte for byte, and so are not parsed again."""

from __future__ import annotations

import itertools

import pytest

from dugong import ConnectionClosed, Headers, InvalidResponse, UnsupportedResponse
from tests.support.drive import drive
from tests.support.exchanges import OK, SAMPLES, Sample, fetch, works
from tests.support.in_turn import in_turn
from tests.support.styles import StyledWire
from tests.support.wire import Wire

KEPT = [sample for sample in SAMPLES if not sample.closes]
LENGTH = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"


@in_turn("sample", KEPT, ids=str)
async def test_each_has_its_own_body(wire: StyledWire, sample: Sample) -> None:
    """In turn, and pipelined."""
    conn, peer = wire.pair()
    for path in ("/1", "/2"):
        peer.expect_request()
        peer.reply(sample.wire)
        response, body = await fetch(conn, path=path)
        assert (response.path, response.request.path) == (path, path)
        assert (response.length, body) == (sample.length, sample.payload)
    for path in ("/3", "/4", "/5"):
        peer.expect_request()
        await conn.send_request("GET", path)
    peer.reply(3 * sample.wire)
    for path in ("/3", "/4", "/5"):
        response = await conn.read_response()
        assert (response.status, response.path) == (200, path)
        assert await conn.readall() == sample.payload
    await works(conn, peer)


async def test_method_decides_whether_there_is_a_body(wire: StyledWire) -> None:
    conn, peer = wire.pair()
    for method in ("GET", "HEAD", "HEAD", "GET", "HEAD", "GET"):
        peer.expect_request()
        peer.reply(OK if method == "GET" else LENGTH)
        response, body = await fetch(conn, method)
        assert (response.method, body) == (method, b"hi" if method == "GET" else b"")
        assert response.length == (2 if method == "GET" else 0)
    await works(conn, peer)


async def test_what_a_caller_changes(wire: StyledWire) -> None:
    """It is one response that changes, not those to come."""
    conn, peer = wire.pair()
    for _ in range(3):
        peer.expect_request()
        peer.reply(b"HTTP/1.1 103 Hints\r\n\r\n" + OK)
        response, body = await fetch(conn)
        assert (response.status, response.reason, response.length) == (200, "OK", 2)
        assert response.headers.items() == [("Content-Length", "2")]
        assert response.headers.combined() == {"content-length": "2"}
        assert (response.trailers.items(), response.trailers.combined()) == ([], {})
        assert (response.version, body) == ("1.1", b"hi")
        assert [interim.status for interim in response.informational] == [103]
        for fields in (response.headers, response.trailers):
            fields.combined()["x-user"] = "admin"
            fields.__init__([("X-User", "admin")])  # type: ignore[misc]
            fields.items().append(("X-User", "admin"))
            for attribute in ("_fields", "_index", "x"):
                with pytest.raises(AttributeError):
                    setattr(fields, attribute, {"x-user": "admin"})
            assert "X-User" not in fields
            assert "x-user" not in fields.combined()
        response.status, response.reason, response.length = 500, "changed", 77
        response.method, response.version, response.headers = "HEAD", "1.0", Headers()
        response.informational.clear()
    await works(conn, peer)


HEAD = b"HTTP/1.1 200 OK\r\nA: b\r\nContent-Length: 2\r\n\r\n"


def outcome(wire: Wire, *heads: bytes) -> tuple[object, ...]:
    """What comes of the last of these, one after the other on one connection."""
    conn, peer = wire.pair()
    try:
        for head in heads[:-1]:
            peer.expect_request()
            peer.reply(head + b"hi")
            drive(fetch(conn), peer)
        peer.expect_request()
        peer.reply(heads[-1] + b"hi")
        peer.close()
        response, body = drive(fetch(conn), peer)
        return response.status, response.reason, response.headers, response.version, body
    except (ConnectionClosed, InvalidResponse, UnsupportedResponse) as exc:
        return type(exc), str(exc)
    finally:
        conn.disconnect()
        peer.abandon()


@pytest.mark.parametrize("byte", [b"0", b"1", b" ", b"\r", b"\n", b"\0"])
def test_one_byte_is_different(plain: Wire, byte: bytes) -> None:
    """Whichever: nothing of the head before shows."""
    for index in range(len(HEAD)):
        other = HEAD[:index] + byte + HEAD[index + 1 :]
        assert outcome(plain, HEAD, other) == outcome(plain, other)


def test_longer_and_shorter(plain: Wire) -> None:
    """A head that goes on where the last one ended, and one that ends before."""
    longer = HEAD[:-2] + b"B: c\r\n\r\n"
    for first, second in itertools.permutations([HEAD, longer, HEAD[:-2] + longer[-8:]], 2):
        assert outcome(plain, first, second) == outcome(plain, second)
