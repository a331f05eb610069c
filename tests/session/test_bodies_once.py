"""Bodies that can be taken only once, and those that follow the head in chunks."""

from __future__ import annotations

import io
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dugong import BodyFollowing, Request, StateError
from tests.support.drive import Outcome, drive, drive_all
from tests.support.exchanges import EMPTY, OK, works
from tests.support.in_turn import in_turn
from tests.support.styles import StyledWire
from tests.support.uploads import WAYS, Taken, raising, sent_and_read
from tests.support.wire import Wire

# ----------------------------------------------------------------------- once and not again


async def test_an_iterator_is_taken_once(wire: StyledWire) -> None:
    """It is not sent a second time as an empty one."""
    for ask in WAYS.values():
        for make in (Taken.of, lambda items: (item for item in items)):
            conn, peer = wire.pair()
            body = make([b"abc", b"de"])
            peer.expect_request(body=b"abcde")
            peer.reply(OK)
            await ask(conn, "PUT", body=body, expect100=False)
            before = conn.bytes_sent
            for again in WAYS.values():
                for headers in ({}, {"Content-Length": "5"}, {"Content-Length": "0"}):
                    with pytest.raises(StateError):
                        await again(conn, "PUT", headers=headers, body=body)
            assert conn.bytes_sent == before
            await works(conn, peer)


BUILT_IN: dict[str, Callable[[list[bytes]], Iterator[bytes]]] = {
    "list_iterator": iter,
    "map": lambda items: map(bytes.lower, items),
    "filter": lambda items: filter(None, items),
    "chain": itertools.chain,
    "islice": lambda items: itertools.islice(items, 5),
    "dict": lambda items: iter(dict.fromkeys(items)),
}


@in_turn("kind", BUILT_IN)
@in_turn("end", ["answered", "failed"])
async def test_a_built_in_iterator_is_taken_once(wire: StyledWire, kind: str, end: str) -> None:
    """These have no weak references. They are known as long as their request is."""
    for ask in WAYS.values():
        conn, peer = wire.pair()
        body = BUILT_IN[kind]([b"abc", b"de"])
        peer.expect_request(body=b"abcde")
        if end == "answered":
            peer.reply(OK)
        else:
            peer.close()
        (outcome,) = await wire.together(ask(conn, "PUT", body=body, expect100=False))
        assert (outcome.error is None) == (end == "answered")
        for again in WAYS.values():
            other, _ = wire.pair()
            with pytest.raises(StateError, match="used up"):
                await again(other, "PUT", body=body, expect100=False)
            assert other.bytes_sent == 0


@in_turn("kind", BUILT_IN)
async def test_a_built_in_iterator_in_a_pipeline(plain: StyledWire, kind: str) -> None:
    """Also when it is given again as part of the same request."""
    conn, peer = plain.pair()
    request = Request("PUT", "/", body=BUILT_IN[kind]([b"abc", b"de"]))
    peer.expect_request(body=b"abcde")
    peer.reply(OK)
    async for _ in conn.pipeline([request]):
        pass
    with pytest.raises(StateError, match="used up"):
        await anext(conn.pipeline([request]))
    with pytest.raises(StateError, match="used up"):
        await conn.request("PUT", "/", body=request.body)


def test_a_built_in_iterator_in_two_requests_at_once(plain: Wire) -> None:
    body = iter([bytes(10_000)] * 100)
    pairs = [plain.pair(small=True) for _ in range(2)]
    for _, peer in pairs:
        peer.expect_request()
        peer.reply(OK)
    sends = [sent_and_read(conn, "PUT", body=body) for conn, _ in pairs]
    outcomes: list[Outcome[Any]] = drive_all(sends, *(peer for _, peer in pairs))
    assert [type(o.error) for o in outcomes if o.error is not None] == [StateError]


def test_another_iterator_in_the_same_place(plain: Wire, ask: Any) -> None:
    """It is not mistaken for the one that was used up, whose identity it may have."""
    conn, peer = plain.pair()
    for _ in range(200):
        peer.expect_request(body=b"abc")
        peer.reply(OK)
        response, _ = drive(ask(conn, "PUT", body=map(bytes, [b"abc"]), expect100=False), peer)
        response.request.body = None


async def test_a_list_is_no_iterator(wire: StyledWire) -> None:
    """Every request may take it anew."""
    conn, peer = wire.pair()
    body = [b"abc", b"de"]
    for ask in (*WAYS.values(), *WAYS.values()):
        peer.expect_request(body=b"abcde")
        peer.reply(OK)
        await ask(conn, "PUT", body=body, expect100=False)
    await works(conn, peer)


async def test_an_iterator_whose_request_failed(wire: StyledWire) -> None:
    for ask in WAYS.values():
        conn, peer = wire.pair()
        body = raising([b"abc"], ZeroDivisionError())
        with pytest.raises(ZeroDivisionError):
            await ask(conn, "PUT", body=body, expect100=False)
        other, peer = wire.pair()
        with pytest.raises(StateError):
            await ask(other, "PUT", body=body, expect100=False)
        assert other.bytes_sent == 0
        await works(other, peer)


def test_an_iterator_taken_by_another_object(plain: Wire, ask: Any) -> None:
    body = Taken(b"abc")
    conn, peer = plain.pair()
    peer.expect_request(body=b"abc")
    peer.reply(OK)
    drive(ask(conn, "PUT", body=body, expect100=False), peer)
    other, peer = plain.pair()
    with pytest.raises(StateError):
        drive(ask(other, "PUT", body=body, expect100=False), peer)
    assert other.bytes_sent == 0


def test_an_iterator_in_two_requests_at_once(plain: Wire) -> None:
    body = Taken(*[bytes(10_000)] * 100)
    pairs = [plain.pair(small=True) for _ in range(2)]
    for _, peer in pairs:
        peer.expect_request()
        peer.reply(OK)
    sends = [sent_and_read(conn, "PUT", body=body) for conn, _ in pairs]
    outcomes: list[Outcome[Any]] = drive_all(sends, *(peer for _, peer in pairs))
    errors = [type(o.error) for o in outcomes if o.error is not None]
    assert errors == [StateError]
    assert max(len(peer.received) for _, peer in pairs) > 1_000_000


# -------------------------------------------------------------------- what says so of itself


@pytest.mark.parametrize("body", ["text", {b"a": b"b"}, 3, [b"abc"], iter([b"abc"]), object()])
def test_what_is_no_file_and_no_bytes_is_not_replayable(body: Any) -> None:
    assert Request("PUT", "/", None, body).replayable is False


@pytest.mark.parametrize("body", [None, b"", b"abc", bytearray(b"abc"), memoryview(b"abcd")[::2]])
def test_bytes_are_replayable(body: Any) -> None:
    assert Request("PUT", "/", None, body).replayable is True


@pytest.mark.parametrize("mode", ["rb", "r+b", "rb+0"])
def test_a_closed_file_is_not_replayable(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"abc")
    file: Any = path.open(mode[:3].rstrip("+"), buffering=0 if mode.endswith("0") else -1)
    request = Request("PUT", "/", None, file)
    assert request.replayable is True
    file.close()
    assert request.replayable is False
    memory = io.BytesIO(b"abc")
    memory.close()
    assert Request("PUT", "/", None, memory).replayable is False


@pytest.mark.parametrize("device", ["/dev/null", "/dev/zero"])
def test_a_character_device_is_not_replayable(device: str) -> None:
    """It says that it can seek, and goes on all the same."""
    for buffering in (0, -1):
        with Path(device).open("rb", buffering) as file:
            assert file.seekable()
            assert Request("PUT", "/", None, file).replayable is False


class Observed(io.BytesIO):
    """Notes what is done with it."""

    def __init__(self) -> None:
        super().__init__(b"abc")
        self.calls: list[str] = []

    def flush(self) -> None:
        self.calls.append("flush")

    def seek(self, *args: Any) -> int:
        self.calls.append("seek")
        return super().seek(*args)

    def read(self, *args: Any) -> bytes:
        self.calls.append("read")
        return super().read(*args)


def test_asking_changes_nothing(tmp_path: Path) -> None:
    observed = Observed()
    assert Request("PUT", "/", None, observed).replayable is True
    assert observed.calls == []
    path = tmp_path / "file"
    with path.open("w+b") as file:
        file.write(b"abc")
        assert Request("PUT", "/", None, file).replayable is True
        assert path.stat().st_size == 0, "flushed"
        assert file.tell() == 3


# --------------------------------------------------------------------------- BodyFollowing


async def test_chunks_that_follow_and_trailers(wire: StyledWire) -> None:
    conn, peer = wire.pair()
    peer.expect_request()
    peer.reply(EMPTY)
    await conn.send_request("PUT", "/", body=BodyFollowing())
    for block in (b"abc", b"", memoryview(b"abcdefgh").cast("I"), bytearray(171)):
        await conn.write(block)
    await conn.end_body([("X-Sum", 7), ("X-Two", "b")])
    await conn.read_response()
    received = peer.requests[0]
    assert received.chunks == (b"abc", b"abcdefgh", bytes(171))
    assert received.trailers == b"X-Sum: 7\r\nX-Two: b\r\n"
    await works(conn, peer)


async def test_nothing_is_written_to_a_body_given_whole(wire: StyledWire) -> None:
    conn, peer = wire.pair()
    peer.expect_request(body=b"abc")
    await conn.send_request("PUT", "/", body=[b"abc"])
    assert not conn.body_pending
    for part in (conn.write(b"d"), conn.end_body()):
        with pytest.raises(StateError):
            await part
    peer.reply(OK)
    await conn.read_response()
    peer.check()


async def test_several_in_flight(wire: StyledWire) -> None:
    """`send_request` does not wait for a response, whatever the kind of the body."""
    conn, peer = wire.pair()
    for body in (b"abc", [b"a", b"bc"], Taken(b"abc")):
        await conn.send_request("PUT", "/", body=body)
        peer.expect_request(body=b"abc")
    peer.reply(OK * 3)
    for _ in range(3):
        assert (await conn.read_response()).status == 200
        assert await conn.readall() == b"hi"
    await works(conn, peer)


async def test_expect_needs_a_body_that_follows(plain: StyledWire) -> None:
    conn, peer = plain.pair()
    body = Taken(b"abc")
    for given in (b"abc", [b"abc"], body):
        with pytest.raises(ValueError):
            await conn.send_request("PUT", "/", body=given, expect100=True)
    assert (conn.bytes_sent, body.count) == (0, 0)
    await works(conn, peer)
