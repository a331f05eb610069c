"""Bodies whose framing the caller decides: in chunks, or a file with a length."""

from __future__ import annotations

import io
import mmap
import os
import socket
import tempfile
from collections.abc import Callable
from typing import Any

import pytest

from dugong import BodyChanged, BodyFollowing, ConnectionClosed, ExcessBodyData, Request, StateError
from tests.support.drive import drive
from tests.support.exchanges import EMPTY, OK, works
from tests.support.in_turn import in_turn
from tests.support.styles import StyledWire
from tests.support.tapped import Pace
from tests.support.uploads import (
    CONTINUE,
    DATA,
    MIB,
    WAYS,
    Taken,
    complete,
    drain,
    head_size,
    swallow,
)
from tests.support.wire import Wire

CHUNKED = {"Transfer-Encoding": "chunked"}


def mapped(data: bytes) -> mmap.mmap:
    area = mmap.mmap(-1, len(data))
    area[:] = data
    return area


def on_disk(data: bytes, buffering: int = -1) -> Any:
    file: Any = tempfile.TemporaryFile(buffering=buffering)  # noqa: SIM115 - for the test to close
    file.write(b"not this" + data)
    file.seek(len(b"not this"))
    return file


def piped(data: bytes) -> Any:
    near, far = os.pipe()
    os.write(far, data)
    os.close(far)
    return os.fdopen(near, "rb")


class OnlyReads:
    """A file that is good for nothing but ``read(n)``, and notes each *n*."""

    def __init__(self, data: bytes) -> None:
        self.sizes: list[int] = []
        self._file = io.BytesIO(data)

    def read(self, size: int) -> bytes:
        self.sizes.append(size)
        return self._file.read(size)


# ------------------------------------------------------------------------------------ chunked

KINDS: dict[str, Callable[[bytes], Any]] = {
    "bytes": lambda data: data,
    "bytearray": bytearray,
    "memoryview": memoryview,
    "file": on_disk,
    "unbuffered": lambda data: on_disk(data, 0),
    "BytesIO": io.BytesIO,
    "pipe": piped,
    "only reads": OnlyReads,
    "list": lambda data: [data],
    "empty items": lambda data: [b"", data, b""],
    "iterator": Taken,
    "generator": lambda data: (data for _ in range(1)),
}


@in_turn("kind", KINDS)
@in_turn("data", [b"", b"abc", DATA[:40_000]])
async def test_chunked(wire: StyledWire, kind: str, data: bytes) -> None:
    for ask in WAYS.values():
        conn, peer = wire.pair()
        peer.expect_request(body=data)
        peer.reply(OK)
        body = KINDS[kind](data)
        await ask(conn, "PUT", headers=CHUNKED, body=body, expect100=False)
        received = peer.requests[0]
        assert received.get("Transfer-Encoding") == "chunked"
        assert received.get("Content-Length") is None
        assert received.chunks == ((data,) if data else ())
        if hasattr(body, "close"):
            body.close()
        await works(conn, peer)


async def test_a_chunked_mmap(wire: StyledWire) -> None:
    for ask in WAYS.values():
        conn, peer = wire.pair()
        peer.expect_request(body=b"abc")
        peer.reply(OK)
        with mapped(b"abc") as area:
            await ask(conn, "PUT", headers=CHUNKED, body=area)
        assert peer.requests[0].chunks == (b"abc",)
        await works(conn, peer)


@pytest.mark.parametrize(
    "spelled", [{"transfer-encoding": "Chunked"}, [("TRANSFER-ENCODING", " chunked\t")]]
)
def test_however_it_is_spelled(plain: Wire, spelled: Any) -> None:
    conn, peer = plain.pair()
    for ask in WAYS.values():
        peer.expect_request(body=b"abc")
        peer.reply(OK)
        drive(ask(conn, "PUT", headers=spelled, body=b"abc"), peer)
        assert peer.requests[-1].chunks == (b"abc",)
    works(conn, peer)


async def test_chunked_bytes_when_the_server_wants_them(wire: StyledWire) -> None:
    """Their length is known, so only large ones are asked for first."""
    conn, peer = wire.pair()
    peer.expect_head()
    peer.reply(CONTINUE)
    peer.expect(b"%x\r\n" % MIB + bytes(MIB) + b"\r\n0\r\n\r\n")
    peer.reply(OK)
    response = await conn.request("PUT", "/", CHUNKED, bytes(MIB))
    assert [interim.status for interim in response.informational] == [100]
    assert peer.requests[0].get("Expect") == "100-continue"
    await conn.discard()
    peer.expect_request(body=b"abc")
    peer.reply(OK)
    await conn.request("PUT", "/", CHUNKED, b"abc")
    assert peer.requests[1].get("Expect") is None
    await conn.discard()
    await works(conn, peer)


@in_turn("kind", ["file", "unbuffered", "BytesIO"])
async def test_a_chunked_file_that_grows(wire: StyledWire, kind: str) -> None:
    """Its length was not announced, so what it has when it is read is sent."""
    body = KINDS[kind](b"abc")

    def grow() -> None:
        position = body.tell()
        body.seek(0, os.SEEK_END)
        body.write(b"de")
        body.seek(position)
        body.flush()

    conn, peer = wire.pair()
    peer.expect_head()
    peer.call(grow)
    peer.reply(CONTINUE)
    peer.expect(b"5\r\nabcde\r\n0\r\n\r\n")
    peer.reply(OK)
    await conn.request("PUT", "/", CHUNKED, body, expect100=True)
    await conn.discard()
    body.close()
    await works(conn, peer)


@in_turn("kind", ["file", "unbuffered", "BytesIO"])
@in_turn("method", ["PUT", "POST"])
async def test_the_position_of_a_chunked_file(wire: StyledWire, kind: str, method: str) -> None:
    """What goes around the chunks does not count."""
    for ask in WAYS.values():
        conn, peer = wire.pair(small=True)
        body = KINDS[kind](DATA)
        start = body.tell()
        peer.expect_head()
        swallow(peer, 50_000)
        peer.reset()
        with pytest.raises(ConnectionClosed) as caught:
            await ask(conn, method, headers=CHUNKED, body=body, expect100=False)
        assert caught.value.safe_to_retry is (method == "PUT")
        sent = 0 if method == "PUT" else conn.bytes_sent - head_size(peer) - len("445c0\r\n")
        assert body.tell() == start + sent
        body.close()


@in_turn("length", [0, 1, 5, 300])
async def test_a_chunked_body_that_follows_with_a_length(wire: StyledWire, length: int) -> None:
    """It ends with its last byte, as without chunks, and the length is enforced."""
    for ends in (False, True):
        conn, peer = wire.pair()
        peer.expect_request(body=bytes(length))
        peer.reply(EMPTY)
        await conn.send_request("PUT", "/", CHUNKED, BodyFollowing(length))
        assert conn.body_pending is (length > 0)
        for part in (length // 2, 0, length - length // 2):
            with pytest.raises(ExcessBodyData) if length else pytest.raises(StateError):
                await conn.write(bytes(length + 1))
            if length:
                await conn.write(bytes(part))
            if conn.body_pending:
                with pytest.raises(StateError):
                    await conn.end_body()
        assert not conn.body_pending
        if ends:
            with pytest.raises(ValueError):
                await conn.end_body({"X-Sum": "1"})
            await conn.end_body()
        await conn.read_response()
        received = peer.requests[0]
        assert received.get("Transfer-Encoding") == "chunked"
        assert received.get("Content-Length") is None
        assert received.trailers == b""
        await works(conn, peer)


async def test_chunks_and_a_server_that_does_not_know_them(plain: StyledWire) -> None:
    for body in (b"abc", b"", io.BytesIO(b"abc"), [b"abc"], BodyFollowing(3), BodyFollowing()):
        listener = plain.listen()
        conn, peer = plain.dial(listener), listener.peer()
        peer.expect_request()
        peer.reply(b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n")
        await conn.request("GET", "/")
        before = conn.bytes_sent
        with pytest.raises(ValueError, match=r"HTTP/1\.0"):
            await conn.send_request("PUT", "/", CHUNKED, body)
        assert conn.bytes_sent == before


async def test_chunks_in_a_pipeline(wire: StyledWire) -> None:
    conn, peer = wire.pair()
    requests = [
        Request("PUT", f"/{i}", CHUNKED, make(b"abc")) for i, make in enumerate(KINDS.values())
    ]
    for request in requests:
        peer.expect_request(b"PUT " + request.path.encode() + b" ", body=b"abc")
        peer.reply(OK)
    got = [response.path async for response in conn.pipeline(requests)]
    assert got == [request.path for request in requests]
    assert {received.chunks for received in peer.requests} == {(b"abc",)}
    for request in requests:
        if hasattr(request.body, "close"):
            request.body.close()


# ------------------------------------------------------------------------ a length for a file


@in_turn("size", [0, 1, 5000, MIB, 2 * MIB + 7])
async def test_a_file_is_only_read(plain: StyledWire, size: int) -> None:
    """Never more than what is left, and never at its end."""
    for ask in WAYS.values():
        conn, peer = plain.pair()
        peer.expect_request(body=bytes(size))
        peer.reply(OK)
        body = OnlyReads(bytes(size) + b"more")
        await ask(conn, "PUT", headers={"Content-Length": size}, body=body, expect100=False)
        whole, rest = divmod(size, MIB)
        assert body.sizes == [MIB] * whole + [rest] * (rest > 0)
        await works(conn, peer)


class Guarded(io.BytesIO):
    """It can be measured and moved, and should not be."""

    def seek(self, *args: Any) -> int:
        raise AssertionError("seek")

    def tell(self) -> int:
        raise AssertionError("tell")

    def flush(self) -> None:
        raise AssertionError("flush")

    def fileno(self) -> int:
        raise AssertionError("fileno")


@in_turn("end", ["answered", "refused", "reset", "short", "not connected"])
async def test_a_file_is_neither_measured_nor_moved(wire: StyledWire, end: str) -> None:
    for way, ask in WAYS.items():
        if (way, end) == ("send_request", "refused"):
            continue  # it does not look for the response
        pace = Pace(send_fails=ConnectionResetError()) if end == "not connected" else None
        conn, peer = wire.pair(small=True, tap=pace)
        body = Guarded(DATA)
        length = len(DATA) + (end == "short")
        if end == "answered":
            peer.expect_request(body=DATA)
            peer.reply(OK)
        elif end != "not connected":
            peer.expect_head()
            swallow(peer, 50_000)
            if end == "refused":
                peer.reply(b"HTTP/1.1 413 No\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
            elif end == "reset":
                peer.reset()
            else:
                drain(peer)
        headers = {"Content-Length": length}
        (outcome,) = await wire.together(
            ask(conn, "PUT", headers=headers, body=body, expect100=False)
        )
        error = outcome.error
        if end == "short":
            assert isinstance(error, BodyChanged)
        elif end in ("reset", "not connected"):
            assert isinstance(error, ConnectionClosed)
            assert error.safe_to_retry is (end == "not connected")
        conn.disconnect()


@pytest.mark.parametrize("kind", ["pipe", "socket"])
async def test_a_part_of_a_stream(wire: StyledWire, kind: str) -> None:
    """What follows is left to the caller, and is not waited for."""
    ends: list[Any]
    if kind == "pipe":
        near, far = os.pipe()
        stream = os.fdopen(near, "rb")
        ends = [stream, os.fdopen(far, "wb", buffering=0)]
        ends[1].write(b"abcdefghij")
    else:
        left, right = socket.socketpair()
        stream = left.makefile("rb")
        ends = [stream, left, right]
        right.sendall(b"abcdefghij")
    for ask, part in zip(WAYS.values(), (b"abc", b"def"), strict=True):
        conn, peer = wire.pair()
        peer.expect_request(body=part)
        peer.reply(OK)
        await ask(conn, "PUT", headers={"Content-Length": 3}, body=stream)
        await works(conn, peer)
    assert stream.read(4) == b"ghij"
    for end in ends:
        end.close()


class Chunk:
    """A part of a file, as programs that upload in parts have it: it seeks within its bounds."""

    def __init__(self, file: Any, start: int, size: int) -> None:
        self._file, self._start, self._size = file, start, size
        self.seek(0)

    def read(self, amount: int | None = None) -> bytes:
        left = max(self._size - self._at, 0)
        data: bytes = self._file.read(left if amount is None else min(amount, left))
        self._at += len(data)
        return data

    def seek(self, where: int, whence: int = 0) -> None:
        self._at = where
        self._file.seek(self._start + where)

    def tell(self) -> int:
        return self._at

    def seekable(self) -> bool:
        return True

    def close(self) -> None:
        self._file.close()


async def test_a_part_of_a_file_is_sent_again_by_its_owner(wire: StyledWire) -> None:
    body = Chunk(on_disk(DATA), 8 + 1000, 100_000)
    for ask in WAYS.values():
        body.seek(0)
        conn, peer = wire.pair(small=True)
        peer.expect_head()
        swallow(peer, 20_000)
        peer.reset()
        headers = {"Content-Length": 100_000}
        with pytest.raises(ConnectionClosed) as caught:
            await ask(conn, "PUT", headers=headers, body=body, expect100=False)
        assert not caught.value.safe_to_retry, "it was read, and its owner alone can seek"
        for _ in range(2):
            body.seek(0)
            conn, peer = wire.pair()
            peer.expect_request(body=DATA[1000:101_000])
            peer.reply(OK)
            await ask(conn, "PUT", headers=headers, body=body, expect100=False)
            await works(conn, peer)
    body.close()


class Excessive(OnlyReads):
    def read(self, size: int) -> bytes:
        return super().read(size + 1)


@pytest.mark.parametrize("size", [1, 5, MIB, MIB + 2])
def test_read_returns_too_much(plain: Wire, size: int) -> None:
    """No server takes that for a whole body."""
    for ask in WAYS.values():
        conn, peer = plain.pair()
        headers = {"Content-Length": size}
        with pytest.raises(BodyChanged, match="more bytes than requested"):
            drive(ask(conn, "PUT", headers=headers, body=Excessive(bytes(2 * size))), peer)
        assert not complete(peer)
