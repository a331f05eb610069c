"""Bodies that are bytes of any format, iterables, or follow in chunks; by `request` and otherwise.

How a body looks on the wire has nothing to do with the style, so most of this is driven as
generators over TCP alone.
"""

from __future__ import annotations

import array
import collections
import ctypes
import mmap
import pickle
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from dugong import BodyChanged, ConnectionClosed, ExcessBodyData, StateError
from tests.support.drive import advance, drive, drive_all
from tests.support.exchanges import OK, works
from tests.support.in_turn import in_turn
from tests.support.styles import StyledWire
from tests.support.uploads import WAYS, Taken, complete, requested
from tests.support.wire import Wire

# ------------------------------------------------------------------------------ bytes-like


def mapped() -> mmap.mmap:
    area = mmap.mmap(-1, 5000)
    area[:3] = b"sea"
    return area


FORMATS: dict[str, Callable[[], Any]] = {
    "bytes": lambda: b"walrus",
    "bytearray": lambda: bytearray(b"walrus"),
    "memoryview": lambda: memoryview(b"walrus")[1:-1],
    "signed": lambda: memoryview(b"walrus").cast("b"),
    "characters": lambda: memoryview(b"walrus").cast("c"),
    "integers": lambda: memoryview(bytes(range(32))).cast("I"),
    "array of doubles": lambda: array.array("d", [0.5, -2.0]),
    "two dimensions": lambda: memoryview(bytes(range(24))).cast("B", (4, 6)),
    "three dimensions": lambda: memoryview(bytes(range(24))).cast("B").cast("H", (2, 3, 2)),
    "no dimension": lambda: ctypes.c_uint32(0x01020304),
    "structure": lambda: (ctypes.c_uint16 * 3)(1, 2, 3),
    "every other byte": lambda: memoryview(b"wxaylzrxuysz")[::2],
    "backwards": lambda: memoryview(b"walrus")[::-1],
    "mmap": mapped,
    "PickleBuffer": lambda: pickle.PickleBuffer(b"walrus"),
    "empty": bytearray,
    "empty array": lambda: array.array("d"),
    "empty in two dimensions": ctypes.c_char * 0 * 3,
}


@in_turn("kind", FORMATS)
def test_bytes_like(plain: Wire, ask: Any, kind: str) -> None:
    """Its length is one in bytes, not in items; it is not iterated over."""
    conn, peer = plain.pair()
    body = FORMATS[kind]()
    expected = memoryview(body).tobytes()
    peer.expect_request(body=expected)
    peer.reply(OK)
    drive(ask(conn, "PUT", body=body), peer)
    received = peer.requests[0]
    assert received.get("Content-Length") == str(len(expected))
    assert received.get("Transfer-Encoding") is None
    works(conn, peer)


@in_turn("end", ["reply", "close", "refusal"])
async def test_a_buffer_is_let_go(wire: StyledWire, end: str) -> None:
    """Whatever came of it, it can be resized and closed as soon as the call has returned."""
    for name in WAYS:
        for body in (bytearray(b"hello"), mapped(), array.array("d", [1.0])):
            conn, peer = wire.pair()
            if end == "reply":
                peer.expect_request()
                peer.reply(OK)
            else:
                peer.expect_head()
                peer.reply(
                    OK if end == "close" else b"HTTP/1.1 413 No\r\nConnection: close\r\n\r\n"
                )
                peer.close()
            (outcome,) = await wire.together(WAYS[name](conn, "PUT", body=body))
            assert isinstance(outcome.error, ConnectionClosed | None)
            if isinstance(body, mmap.mmap):
                body.close()
            else:
                body.extend(b"\0")


@pytest.mark.parametrize("end", ["refused", "closed", "cancelled"])
def test_a_buffer_is_let_go_that_was_not_sent(plain: Wire, end: str) -> None:
    """While a 100 was awaited, or a connection."""
    body = bytearray(b"hello")
    conn, peer = plain.pair()
    peer.expect_head()
    if end == "refused":
        peer.reply(b"HTTP/1.1 413 No\r\nContent-Length: 4\r\n\r\nnope")
    elif end == "closed":
        peer.close()
    crt = conn.co_request("PUT", "/", body=body, expect100=True)
    if end == "cancelled":
        advance(crt, peer)
        crt.close()
    else:
        (outcome,) = drive_all([crt], peer)
        assert isinstance(outcome.error, ConnectionClosed | None)
        del outcome  # and the error's traceback with it
    body.extend(b"!")


def test_a_buffer_is_let_go_when_nobody_listens(plain: Wire, ask: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        address = unused.getsockname()
    conn = plain.connection("localhost", address=address)
    body = bytearray(b"hello")
    with pytest.raises(ConnectionRefusedError):
        drive(ask(conn, "PUT", body=body))
    body.extend(b"!")


def test_a_buffer_is_let_go_while_the_response_is_awaited(wire: Wire) -> None:
    conn, peer = wire.pair()
    body = bytearray(b"hello")
    peer.expect_request(body=b"hello")
    peer.call(lambda: body.extend(b"!"))
    peer.reply(OK)
    drive(requested(conn, "PUT", body=body), peer)
    peer.check()


# ------------------------------------------------------------------------------- iterables

Blocks = collections.namedtuple("Blocks", "first second")  # noqa: PYI024

ITERABLES: dict[str, Callable[[], Any]] = {
    "list": lambda: [b"abc", b"de"],
    "tuple": lambda: (b"abc", b"de"),
    "namedtuple": lambda: Blocks(b"abc", b"de"),
    "iterator": lambda: iter([b"abc", b"de"]),
    "generator": lambda: (block for block in (b"abc", b"de")),
    "deque": lambda: collections.deque([b"abc", b"de"]),
    "keys": {b"abc": 1, b"de": 2}.keys,
    "map": lambda: map(bytes.lower, [b"ABC", b"DE"]),
    "bytearrays": lambda: [bytearray(b"abc"), bytearray(b"de")],
    "memoryviews": lambda: [memoryview(b"abc"), memoryview(b"xdey")[1:3]],
    "shapes": lambda: [memoryview(b"abc").cast("b"), memoryview(b"de").cast("H")],
    "empty items": lambda: [b"", b"abc", b"", bytearray(), b"de", array.array("d"), b""],
    "taken": lambda: Taken(b"abc", b"de"),
}


@in_turn("kind", ITERABLES)
def test_iterable(plain: Wire, ask: Any, kind: str) -> None:
    """Each item that is not empty is one chunk."""
    conn, peer = plain.pair()
    peer.expect_request()
    peer.reply(OK)
    drive(ask(conn, "PUT", body=ITERABLES[kind](), expect100=False), peer)
    received = peer.requests[0]
    assert received.chunks == (b"abc", b"de")
    assert received.trailers == b""
    assert received.get("Transfer-Encoding") == "chunked"
    assert received.get("Content-Length") is None
    works(conn, peer)


@in_turn("kind", ITERABLES)
def test_iterable_of_given_length(plain: Wire, ask: Any, kind: str) -> None:
    conn, peer = plain.pair()
    for length in ("5", 5):
        peer.expect_request(body=b"abcde")
        peer.reply(OK)
        drive(ask(conn, "PUT", body=ITERABLES[kind](), headers={"content-length": length}), peer)
        received = peer.requests[-1]
        assert received.get("Content-Length") == "5"
        assert received.get("Transfer-Encoding") is None
    works(conn, peer)


@pytest.mark.parametrize("body", [[], [b""], [b"", b"", b""]])
def test_nothing_in_it(plain: Wire, ask: Any, body: list[bytes]) -> None:
    conn, peer = plain.pair()
    peer.expect_request(body=b"")
    peer.reply(OK)
    drive(ask(conn, "PUT", body=iter(body), expect100=False), peer)
    assert peer.requests[0].get("Transfer-Encoding") == "chunked"
    peer.expect_request(body=b"")
    peer.reply(OK)
    drive(ask(conn, "PUT", body=iter(body), headers={"Content-Length": 0}), peer)
    assert peer.requests[1].get("Content-Length") == "0"
    works(conn, peer)


def test_chunk_sizes(plain: Wire, ask: Any) -> None:
    """In lower-case hexadecimal, counted in bytes."""
    conn, peer = plain.pair()
    sizes = [1, 9, 10, 15, 16, 171, 255, 256, 4095, 43981]
    peer.expect_head()
    peer.expect(b"".join(b"%x\r\n%b\r\n" % (size, bytes(size)) for size in sizes) + b"0\r\n\r\n")
    peer.reply(OK)
    drive(ask(conn, "PUT", body=map(bytes, sizes), expect100=False), peer)
    peer.expect_head()
    peer.expect(b"20\r\n" + bytes(32) + b"\r\n0\r\n\r\n")
    peer.reply(OK)
    drive(ask(conn, "PUT", body=[array.array("d", [0, 0, 0, 0])], expect100=False), peer)
    works(conn, peer)


def test_a_callers_own_transfer_encoding(plain: Wire, ask: Any) -> None:
    conn, peer = plain.pair()
    peer.expect_request(body=b"abc")
    peer.reply(OK)
    headers = {"Transfer-Encoding": "chunked"}
    drive(ask(conn, "PUT", headers=headers, body=[b"abc"], expect100=False), peer)
    assert peer.requests[0].get("Transfer-Encoding") == "chunked"
    with pytest.raises(ValueError, match=r"(?i)content-length|transfer"):
        headers["Content-Length"] = "3"
        drive(ask(conn, "PUT", headers=headers, body=[b"abc"], expect100=False), peer)
    works(conn, peer)


@pytest.mark.parametrize("length", ["-1", "x", "1, 2", "+5", ""])
def test_no_length(plain: Wire, ask: Any, length: str) -> None:
    conn, peer = plain.pair()
    body = Taken(b"abc")
    with pytest.raises(ValueError):
        drive(ask(conn, "PUT", headers={"Content-Length": length}, body=body), peer)
    assert (conn.bytes_sent, body.count) == (0, 0)
    works(conn, peer)


@pytest.mark.parametrize("bad", ["text", None, 3, [b"nested"]])
def test_an_item_that_is_no_bytes(plain: Wire, ask: Any, bad: object) -> None:
    for items in ((bad,), (b"abc", bad), (b"abc", bad, b"de")):
        for headers in ({}, {"Content-Length": "5"}):
            conn, peer = plain.pair()
            body = Taken(*items)
            with pytest.raises(TypeError):
                drive(ask(conn, "PUT", headers=headers, body=body, expect100=False), peer)
            assert not complete(peer)
            is_broken(conn, peer)


def is_broken(conn: Any, peer: Any) -> None:
    """Whatever is tried next, the server never gets another request on this connection."""
    with pytest.raises((ConnectionClosed, StateError)):
        drive(conn.co_send_request("GET", "/again"), peer)
    complete(peer)
    assert b"/again" not in peer.received


def overwriting() -> Iterator[Any]:
    buf = bytearray(4)
    for char in b"sea":
        buf[:] = bytes([char]) * 4
        yield buf
    buf[:] = bytes(4)


def clearing() -> Iterator[Any]:
    buf = bytearray()
    for block in (b"ssss", b"eeee", b"aaaa"):
        buf += block
        yield buf
        buf.clear()  # which its being looked at would forbid


def viewing() -> Iterator[Any]:
    buf = bytearray(12)
    for n, char in enumerate(b"sea"):
        with memoryview(buf)[4 * n : 4 * n + 4] as view:
            view[:] = bytes([char]) * 4
            yield view
    buf.clear()


@in_turn("headers", [{}, {"Content-Length": 12}])
@in_turn("blocks", [overwriting, clearing, viewing])
async def test_one_buffer_for_all_items(
    wire: StyledWire, blocks: Callable[[], Iterator[Any]], headers: dict[str, int]
) -> None:
    """An item is its giver's again when the next one is asked for, or the end."""
    for ask in WAYS.values():
        conn, peer = wire.pair()
        peer.expect_request(body=b"sssseeeeaaaa")
        peer.reply(OK)
        await ask(conn, "PUT", headers=headers, body=blocks(), expect100=False)
        await works(conn, peer)


def test_items_are_taken_as_they_are_sent(plain: Wire) -> None:
    """An endless iterable does not fill the memory: nothing is taken while sending waits."""
    conn, peer = plain.pair(small=True)
    body = Taken(*[bytes(10_000)] * 1000)
    peer.expect_head()
    crt = conn.co_request("PUT", "/", body=body, expect100=False)
    for _ in range(100):
        next(crt)
        if peer.done:
            break
        peer.step()
    assert 0 < body.count < 100
    crt.close()


# --------------------------------------------------------------------- a length is enforced

EXCESS: list[tuple[int, list[bytes], bytes]] = [  # length, items, what may be sent of the body
    (2, [b"abc"], b""),
    (4, [b"abc", b"de"], b"abc"),
    (0, [b"a"], b""),
    (0, [b"", b"a"], b""),
    (3, [b"abc", b"d"], b""),
    (3, [b"abc", b"", b"d"], b""),
    (5, [b"abc", b"de", b"f"], b"abc"),
    (5, [b"abc", b"de", b"", b"f", b"g"], b"abc"),
]


@in_turn(("length", "items", "sent"), EXCESS)
def test_too_many_bytes(
    plain: Wire, ask: Any, length: int, items: list[bytes], sent: bytes
) -> None:
    """The server never gets what would pass for a whole request."""
    conn, peer = plain.pair()
    body = Taken(*items)
    with pytest.raises(ExcessBodyData) as caught:
        drive(ask(conn, "PUT", headers={"Content-Length": length}, body=body), peer)
    assert not complete(peer)
    content = bytes(peer.received).partition(b"\r\n\r\n")[2]
    assert content == sent
    assert caught.value.bytes_sent == len(peer.received) == conn.bytes_sent
    assert caught.value.safe_to_retry is (conn.bytes_sent == 0)
    assert [request.method for request in caught.value.unanswered] == ["PUT"]
    if length:
        is_broken(conn, peer)
    else:  # found out before the head, which would have been a whole request
        assert conn.bytes_sent == 0
        works(conn, peer)


@pytest.mark.parametrize("items", [[], [b""], [b"abc"], [b"abc", b"d"], [b"a", b"", b"b", b""]])
def test_too_few_bytes(plain: Wire, ask: Any, items: list[bytes]) -> None:
    conn, peer = plain.pair()
    with pytest.raises(BodyChanged) as caught:
        drive(ask(conn, "PUT", headers={"Content-Length": 5}, body=iter(items)), peer)
    assert isinstance(caught.value, ValueError)
    assert not complete(peer)
    assert caught.value.bytes_sent == len(peer.received) == conn.bytes_sent
    assert [request.method for request in caught.value.unanswered] == ["PUT"]
    is_broken(conn, peer)


async def test_an_endless_iterable_of_given_length(wire: StyledWire) -> None:
    def endless() -> Iterator[bytes]:
        while True:
            yield bytes(1000)

    for ask in WAYS.values():
        conn, peer = wire.pair()
        peer.expect_head()
        with pytest.raises(ExcessBodyData):
            await ask(conn, "PUT", headers={"Content-Length": 10_500}, body=endless())
        assert conn.bytes_sent < 11_000
        assert not complete(peer)
