"""Response heads as they arrive: what is taken, what is refused, and how soon."""

from __future__ import annotations

import pytest

from dugong import ConnectionClosed, HTTPResponse, InvalidResponse, UnsupportedResponse
from tests.support.drive import drive
from tests.support.exchanges import OK, ask, fetch, works
from tests.support.in_turn import in_turn
from tests.support.styles import StyledWire
from tests.support.ways import in_every_way, ways
from tests.support.wire import Wire


async def head_of(plain: StyledWire, *pieces: bytes) -> HTTPResponse:
    """What read_response makes of a response that comes in these pieces."""
    conn, peer = plain.pair()
    peer.expect_request()
    peer.reply_pieces(list(pieces))
    return await ask(conn)


def one_of_many(wire: Wire, *pieces: bytes) -> HTTPResponse:
    """The same by a generator, for a sweep: whatever it needed is closed at once."""
    conn, peer = wire.pair()
    peer.expect_request()
    peer.reply_pieces(list(pieces))
    try:
        return drive(ask(conn), peer)
    finally:
        conn.disconnect()
        peer.abandon()


# ------------------------------------------------------------------------------- taken

STATUS_LINES = [
    (b"HTTP/1.1 200 OK", (1, 1), 200, "OK"),
    (b"HTTP/1.1 200 ", (1, 1), 200, ""),
    (b"HTTP/1.1 200", (1, 1), 200, ""),
    (b"HTTP/1.1 404 Not  here, sorry", (1, 1), 404, "Not  here, sorry"),
    (b"HTTP/1.1 599 caf\xe9\ttab", (1, 1), 599, "caf\xe9\ttab"),
    (b"HTTP/1.0 200 OK", (1, 0), 200, "OK"),
]


@pytest.mark.parametrize(("line", "version", "status", "reason"), STATUS_LINES)
def test_status_line(
    plain: Wire, line: bytes, version: tuple[int, int], status: int, reason: str
) -> None:
    def read(pieces: list[bytes]) -> tuple[int, str, list[tuple[str, str]], int | None]:
        response = one_of_many(plain, *pieces)
        assert isinstance(response.headers.get("A"), str)
        return response.status, response.reason, response.headers.items(), response.length

    head = line + b"\r\nA: b\r\nContent-Length: 3\r\n\r\n"
    expected = (status, reason, [("A", "b"), ("Content-Length", "3")], 3)
    assert in_every_way(head, read, trailing=b"abc") == expected


FIELDS = [
    (b"A: b", [("A", "b")]),
    (b"A:b", [("A", "b")]),
    (b"A: \t b \t", [("A", "b")]),
    (b"A:", [("A", "")]),
    (b"A: \r\nB: c", [("A", ""), ("B", "c")]),
    (b"A: 1\r\nB: 2\r\na: 3", [("A", "1"), ("B", "2"), ("a", "3")]),
    (b'A: "x, y"; z=\xe9', [("A", '"x, y"; z=\xe9')]),
    (b"A: b\tc", [("A", "b\tc")]),
    (b"A: b:c: d", [("A", "b:c: d")]),
    (b"!#$%&'*+-.^_`|~09azAZ: x", [("!#$%&'*+-.^_`|~09azAZ", "x")]),
    (b"A: b\r\n c", [("A", "b c")]),
    (b"A: b\r\n\t \tc", [("A", "b c")]),
    (b"A: b  \r\n   c\r\n d", [("A", "b c d")]),
    (b"Date: not a date\r\nAge: x\r\nContent-Type: ;;", None),
    (b"Set-Cookie: a=1\r\nSet-Cookie: b=2\r\nExpires: 0", None),
    (b"Connection: keep-alive\r\nUpgrade: h2c\r\nTrailer: \r\nKeep-Alive: ,", None),
]


@in_turn(("lines", "fields"), FIELDS)
async def test_fields(
    plain: StyledWire, lines: bytes, fields: list[tuple[str, str]] | None
) -> None:
    response = await head_of(plain, b"HTTP/1.1 204 No Content\r\n" + lines + b"\r\n\r\n")
    if fields is None:  # whatever it says
        fields = [
            (name, value.strip()) for name, _, value in
            (line.partition(':') for line in lines.decode().split('\r\n'))
        ]  # fmt: skip
    assert [*response.headers.items()] == fields


async def test_headers_read_like_a_message(plain: StyledWire) -> None:
    headers = (
        await head_of(
            plain,
            b'HTTP/1.1 204 X\r\nContent-Type: Text/HTML; charset="UTF-8"; x=y\r\n'
            b"Set-Cookie: a\r\nset-cookie: b\r\n\r\n",
        )
    ).headers
    assert headers["content-type"] == 'Text/HTML; charset="UTF-8"; x=y'
    assert headers["X-Absent"] is None
    assert headers.get("X-Absent", "default") == "default"
    assert headers.get_all("SET-COOKIE") == ["a", "b"]
    assert "set-Cookie" in headers
    assert "X-Absent" not in headers
    assert [*headers.keys()] == ["Content-Type", "Set-Cookie", "set-cookie"]
    assert [*headers.values()][1:] == ["a", "b"]
    assert headers.get_content_type() == "text/html"
    assert headers.get_content_charset() == "utf-8"
    assert headers.get_param("x") == "y"


LENGTHS = [
    (b"Content-Length: 0", 0),
    (b"Content-Length: 12", 12),
    (b"Content-Length: 0012", 12),
    (b"Content-Length: 12\r\nContent-Length: 12", 12),
    (b"Content-Length: 12, 12", 12),
    (b"Transfer-Encoding: chunked", None),
    (b"Transfer-Encoding: CHUNKED", None),
    (b"A: b", None),
]


@in_turn(("field", "length"), LENGTHS)
async def test_length(plain: StyledWire, field: bytes, length: int | None) -> None:
    assert (await head_of(plain, b"HTTP/1.1 200 OK\r\n" + field + b"\r\n\r\n")).length == length


async def test_head_within_every_limit(plain: StyledWire) -> None:
    """Of each size that must be taken, the largest."""
    reason = b"r" * 4096
    line = b"A: " + b"x" * (8192 - 3)
    fields = [line] * 6 + [b"B%d: c" % i for i in range(93)] + [b"Content-Length: 0"]
    head = b"HTTP/1.1 200 " + reason + b"\r\n" + b"\r\n".join(fields) + b"\r\n\r\n"
    assert len(fields) == 100
    assert len(head) < 65536
    response = await head_of(plain, head)
    assert len(response.reason) == 4096
    assert len([*response.headers.items()]) == 100


async def test_head_in_tiny_pieces(plain: StyledWire) -> None:
    conn, peer = plain.pair(chunk=1)
    peer.expect_request()
    peer.reply(b"HTTP/1.1 200 OK\r\nA: " + b"x" * 500 + b"\r\nContent-Length: 2\r\n\r\nhi")
    response, body = await fetch(conn)
    assert (response.headers["A"], body) == ("x" * 500, b"hi")


# ----------------------------------------------------------------------------- refused

INVALID = [
    b"HTTP/1.1 200 OK\nContent-Length: 0\n\n",
    b"HTTP/1.1 200 OK\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 0\nA: b\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\n",
    b"HTTP/1.1 200 OK\r\nA: b\rc\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nA: b\x00c\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nA: b\x01c\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nA: b\x7fc\r\n\r\n",
    b"HTTP/1.1 200 O\x00K\r\n\r\n",
    b"HTTP/1.1 200 O\rK\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nA : b\r\n\r\n",
    b"HTTP/1.1 200 OK\r\n: b\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nA\r\n\r\n",
    b"HTTP/1.1 200 OK\r\n A: b\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nA B: c\r\n\r\n",
    b"HTTP/1.1 200 OK\r\n\xc4: b\r\n\r\n",
    b"HTTP/1.1 20 OK\r\n\r\n",
    b"HTTP/1.1 2000 OK\r\n\r\n",
    b"HTTP/1.1 2x0 OK\r\n\r\n",
    b"HTTP/1.1  200 OK\r\n\r\n",
    b"HTTP/1.1 -20 OK\r\n\r\n",
    b"HTTP/1.1 \xb2\xb2\xb2 OK\r\n\r\n",
    b"HTTP/1.1\t200 OK\r\n\r\n",
    b"http/1.1 200 OK\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: +1\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 1_0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 0x10\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 1 0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: \r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: \xb2\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 1, 2\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length:\r\n 5\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: x,\r\n chunked\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n",
]


@in_turn("head", INVALID)
async def test_invalid_head(plain: StyledWire, head: bytes) -> None:
    with pytest.raises(InvalidResponse):
        await head_of(plain, head)


@pytest.mark.parametrize("head", INVALID[::4])
def test_invalid_head_however_it_arrives(plain: Wire, head: bytes) -> None:
    for pieces in ways(head):
        with pytest.raises(InvalidResponse):
            one_of_many(plain, *pieces)


UNSUPPORTED = [
    b"HTTP/2.0 200 OK\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
]


@in_turn("head", UNSUPPORTED)
async def test_unsupported_head(plain: StyledWire, head: bytes) -> None:
    with pytest.raises(UnsupportedResponse):
        await head_of(plain, head)


@in_turn("field", [b"Content-Length: x", b"Content-Length: 1, 2", b"Transfer-Encoding: rot13"])
async def test_trouble_with_the_framing_carries_the_head(plain: StyledWire, field: bytes) -> None:
    with pytest.raises((InvalidResponse, UnsupportedResponse)) as info:
        await head_of(plain, b"HTTP/1.1 203 Fine\r\nA: b\r\n" + field + b"\r\n\r\n")
    response = info.value.response
    assert response is not None
    assert (response.status, response.reason, response.headers["A"]) == (203, "Fine", "b")


# ------------------------------------------------------------------------- and how soon


@in_turn(
    "garbage",
    [b"220 ", b"SSH-2.0-Open", b"<html>", b"\x15\x03\x01\x00\x02\x02\x16", b"\n", b"HTTX", b"\x00"],
)
@in_turn("chunk", [None, 1])
async def test_garbage_is_noticed_before_its_line_ends(
    plain: StyledWire, garbage: bytes, chunk: int | None
) -> None:
    conn, peer = plain.pair(chunk=chunk)
    peer.expect_request()
    peer.reply(garbage)
    with pytest.raises(InvalidResponse):
        await ask(conn)


def _endless(start: bytes, unit: bytes) -> bytes:
    return start + unit * (1_000_000 // len(unit))


@in_turn(
    "data",
    [
        _endless(b"HTTP/1.1 200 ", b"x"),
        _endless(b"HTTP/1.1 200 OK\r\nA: ", b"x"),
        _endless(b"HTTP/1.1 200 OK\r\n", b"x"),
        _endless(b"HTTP/1.1 200 OK\r\n", b"A: b\r\n"),
        _endless(b"HTTP/1.1 200 OK\r\nA: b", b"\r\n c"),
    ],
    ids=["reason", "value", "name", "fields", "folds"],
)
async def test_endless_heads(plain: StyledWire, data: bytes) -> None:
    """A limit is met long before the megabyte ends, and the connection is not used again."""
    conn, peer = plain.pair()
    peer.expect_request()
    peer.reply(data)
    with pytest.raises(InvalidResponse):
        await ask(conn)
    assert conn.bytes_received < 500_000
    with pytest.raises(ConnectionClosed):
        await conn.read_response()


# ------------------------------------------------------------------------------- chunks

CHUNKED_HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"

BAD_CHUNKS = [
    b"2\nab\r\n0\r\n\r\n",
    b"2\r\nabc\r\n0\r\n\r\n",
    b"2\r\nab\n0\r\n\r\n",
    b"2\r\nab0\r\n\r\n",
    b"x\r\nab\r\n0\r\n\r\n",
    b"\r\nab\r\n0\r\n\r\n",
    b"+2\r\nab\r\n0\r\n\r\n",
    b"0x2\r\nab\r\n0\r\n\r\n",
    b"-2\r\nab\r\n0\r\n\r\n",
    b"1_0\r\nab\r\n0\r\n\r\n",
    b"2;a=\x00\r\nab\r\n0\r\n\r\n",
    b'2;a="\r\nab\r\n0\r\n\r\n',
    b"2;a=b\nc\r\nab\r\n0\r\n\r\n",
    b"2 a\r\nab\r\n0\r\n\r\n",
    b"2\r\nab\r\n0\r\nBad Trailer: x\r\n\r\n",
    b"2\r\nab\r\n0\r\nA: b\r\n c\r\n\r\n",
    b"2\r\nab\r\n0\r\nA: \x00\r\n\r\n",
    b"2\r\nab\r\n0\r\nA: b\n\r\n",
    b"2\r\nab\r\n0\r\n\n\r\n",
    b"f" * 40 + b"\r\n",
]


@in_turn("body", BAD_CHUNKS)
@in_turn("chunk", [None, 1])
async def test_bad_chunks(plain: StyledWire, body: bytes, chunk: int | None) -> None:
    conn, peer = plain.pair(chunk=chunk)
    peer.expect_request()
    peer.reply(CHUNKED_HEAD + body)
    with pytest.raises(InvalidResponse):
        await fetch(conn)
    with pytest.raises(ConnectionClosed):
        await conn.readall()


@in_turn(
    "body",
    [
        b"2;" + b"a" * 1000 + b"\r\nhi\r\n0\r\n\r\n",
        b'2;a;b="c\\"d";e=f\r\nhi\r\n0;last\r\n\r\n',
        b"000000002\r\nhi\r\n000\r\n\r\n",
        b"1\r\nh\r\n1\r\ni\r\n0\r\nA: b\r\nC:d\r\n\r\n",
    ],
    ids=["long extension", "extensions", "zeros", "trailers"],
)
async def test_good_chunks(plain: StyledWire, body: bytes) -> None:
    conn, peer = plain.pair()
    peer.expect_request()
    peer.reply(CHUNKED_HEAD + body)
    assert (await fetch(conn))[1] == b"hi"
    await works(conn, peer)


async def test_endless_chunk_extension(plain: StyledWire) -> None:
    conn, peer = plain.pair()
    peer.expect_request()
    peer.reply(CHUNKED_HEAD + b"2;" + b"a" * 1_000_000)
    with pytest.raises(InvalidResponse):
        await fetch(conn)


async def test_endless_trailers(plain: StyledWire) -> None:
    conn, peer = plain.pair()
    peer.expect_request()
    peer.reply(CHUNKED_HEAD + b"2\r\nhi\r\n0\r\n" + b"A: b\r\n" * 200_000)
    with pytest.raises(InvalidResponse):
        await fetch(conn)


async def test_trailers(plain: StyledWire) -> None:
    conn, peer = plain.pair(chunk=1)
    peer.expect_request()
    peer.reply(CHUNKED_HEAD + b"2\r\nhi\r\n0\r\nA: b\r\nA: c\r\nContent-Length: 7\r\n\r\n")
    response, body = await fetch(conn)
    assert body == b"hi"
    assert response.trailers.get_all("a") == ["b", "c"]
    assert "A" not in response.headers
    assert response.length is None


async def test_no_trailers(plain: StyledWire) -> None:
    conn, peer = plain.pair()
    peer.expect_request()
    peer.reply(OK)
    response, _ = await fetch(conn)
    assert len([*response.trailers.items()]) == 0
