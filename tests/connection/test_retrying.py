"""After a failure that is safe to retry, the caller's own objects can be sent again as they are."""

from __future__ import annotations

import gzip
import io
import mmap
import socket
import tempfile
from collections.abc import Callable
from typing import Any

import pytest

from dugong import (
    ConnectionClosed,
    ConnectionTimedOut,
    DigestMismatch,
    DugongError,
    InvalidResponse,
    Request,
)
from tests.support.exchanges import OK
from tests.support.in_turn import in_turn
from tests.support.peer import Peer
from tests.support.styles import StyledWire
from tests.support.tapped import Pace
from tests.support.uploads import DATA, WAYS, Taken, drain, small_listener, swallow

START = 1000
SENT = DATA[START:]


def on_disk() -> Any:
    file = tempfile.TemporaryFile()  # noqa: SIM115 - for the test to close
    file.write(DATA)
    return file


#: Sent by the system, measured by seeking, and not measured.
KINDS: dict[str, Callable[[], Any]] = {
    "file": on_disk,
    "BytesIO": lambda: io.BytesIO(DATA),
    "gzip": lambda: gzip.GzipFile(fileobj=io.BytesIO(gzip.compress(DATA))),
}


def opened(kind: str) -> Any:
    file = KINDS[kind]()
    file.seek(START)
    return file


every_kind = in_turn("kind", KINDS)
every_way = in_turn("way", WAYS)


async def can_be_sent_again(wire: StyledWire, body: Any, whole: bytes = SENT) -> None:
    """Each way, without any preparation."""
    for ask in WAYS.values():
        conn, peer = wire.pair()
        peer.expect_request(body=whole)
        peer.reply(OK)
        await ask(conn, "PUT", body=body, expect100=False)
        peer.check()
        if hasattr(body, "seek") and not isinstance(body, mmap.mmap):
            assert not body.read(1), "a body that was sent stays behind what was sent"
            body.seek(START)


# ------------------------------------------------------------------------- where it may fail


def in_the_body(peer: Peer) -> None:
    peer.expect_head()
    swallow(peer, 50_000)
    peer.reset()


def before_the_response(peer: Peer) -> None:
    peer.expect_request()
    peer.close()


def in_the_response_head(peer: Peer) -> None:
    peer.expect_request()
    peer.reply(b"HTTP/1.1 200 OK\r\nContent-Le")
    peer.close()


def in_the_response_body(peer: Peer) -> None:
    peer.expect_request()
    peer.reply(OK[:-1])
    peer.close()


def by_garbage(peer: Peer) -> None:
    peer.expect_request()
    peer.reply(b"SSH-2.0-OpenSSH_9.2\r\n\r\n")


def by_bad_chunks(peer: Peer) -> None:
    peer.expect_request()
    peer.reply(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n")


FAILURES: dict[str, tuple[Callable[[Peer], None], type[DugongError]]] = {
    "body": (in_the_body, ConnectionClosed),
    "response": (before_the_response, ConnectionClosed),
    "head": (in_the_response_head, ConnectionClosed),
    "payload": (in_the_response_body, ConnectionClosed),
    "garbage": (by_garbage, InvalidResponse),
    "chunks": (by_bad_chunks, InvalidResponse),
}


@every_kind
@in_turn("failure", FAILURES)
async def test_the_exchange_fails(wire: StyledWire, failure: str, kind: str) -> None:
    script, error = FAILURES[failure]
    for ask in WAYS.values():
        conn, peer = wire.pair(small=True)
        script(peer)
        with opened(kind) as file:
            with pytest.raises(error) as caught:
                await ask(conn, "PUT", body=file, expect100=False)
            assert caught.value.safe_to_retry
            await can_be_sent_again(wire, file)


@every_kind
@every_way
async def test_nobody_listens(plain: StyledWire, way: str, kind: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        address = unused.getsockname()
    conn = plain.connection("localhost", address=address)
    with opened(kind) as file:
        with pytest.raises(ConnectionRefusedError) as caught:
            await WAYS[way](conn, "POST", body=file)
        assert vars(caught.value)["safe_to_retry"]
        await can_be_sent_again(plain, file)


@every_kind
@every_way
async def test_nothing_can_be_sent(wire: StyledWire, way: str, kind: str) -> None:
    conn, _ = wire.pair(tap=Pace(send_fails=ConnectionResetError()))
    with opened(kind) as file:
        with pytest.raises(ConnectionClosed) as caught:
            await WAYS[way](conn, "POST", body=file, expect100=False)
        assert caught.value.safe_to_retry
        await can_be_sent_again(wire, file)


@every_kind
async def test_the_connection_ends_while_the_100_is_awaited(wire: StyledWire, kind: str) -> None:
    conn, peer = wire.pair()
    peer.expect_head()
    peer.close()
    with opened(kind) as file:
        with pytest.raises(ConnectionClosed) as caught:
            await conn.request("PUT", "/", body=file, expect100=True)
        assert caught.value.safe_to_retry
        await can_be_sent_again(wire, file)


@every_kind
async def test_the_digest_does_not_match(wire: StyledWire, kind: str) -> None:
    conn, peer = wire.pair()
    peer.expect_request()
    peer.reply(
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n"
        b"Content-Digest: sha-256=:" + b"A" * 43 + b"=:\r\n\r\nhi"
    )
    with opened(kind) as file:
        await conn.request("PUT", "/", body=file, expect100=False)
        conn.hash_body(check=True)
        with pytest.raises(DigestMismatch) as caught:
            await conn.readall()
        assert caught.value.safe_to_retry
        await can_be_sent_again(wire, file)


@every_kind
@in_turn("method", ["PUT", "POST"])
async def test_disconnected_with_the_response_outstanding(
    wire: StyledWire, kind: str, method: str
) -> None:
    conn, peer = wire.pair()
    drain(peer)
    with opened(kind) as file:
        await conn.send_request(method, "/", body=file)
        conn.disconnect()
        assert file.tell() == len(DATA)
        with pytest.raises(ConnectionClosed) as caught:
            await conn.read_response()
        assert caught.value.safe_to_retry is (method == "PUT")
        assert file.tell() == (START if method == "PUT" else len(DATA))


@pytest.mark.styles("blocking", "asyncio", "trio")  # a generator has no time limits
@in_turn("limit", ["timeout", "deadline"])
@in_turn("small", [True, False])  # in the body, and when it is sent
@every_kind
async def test_time_passes(wire: StyledWire, kind: str, small: bool, limit: str) -> None:
    for ask in WAYS.values():
        conn, peer = wire.pair(small=small)
        await conn.connect()
        if not small:
            peer.expect_request()
        setattr(conn, limit, 0.01)
        with opened(kind) as file:
            with pytest.raises(ConnectionTimedOut) as caught:
                await ask(conn, "PUT", body=file, expect100=False)
            assert caught.value.safe_to_retry
            await can_be_sent_again(wire, file)


@every_kind
async def test_cancelled(wire: StyledWire, kind: str) -> None:
    """In the body, and while the response is awaited."""
    for small in (True, False):
        conn, peer = wire.pair(small=small)
        if small:
            peer.expect_head()
            swallow(peer, 50_000)
        else:
            peer.expect_request()
        await conn.connect()
        with opened(kind) as file:
            await wire.stop(conn.request("PUT", "/", body=file, expect100=False))
            await can_be_sent_again(wire, file)


@pytest.mark.styles("blocking")  # where the handler runs in the middle of the call
@every_kind
async def test_interrupted(plain: StyledWire, kind: str) -> None:
    class Interrupt(BaseException):
        pass

    def interrupt(name: str) -> None:
        raise Interrupt

    conn, peer = plain.pair()
    peer.expect_request()
    with opened(kind) as file:
        conn.on_event = lambda name: interrupt(name) if name == "sent" else None
        with pytest.raises(Interrupt):
            await conn.request("PUT", "/", body=file, expect100=False)
        await can_be_sent_again(plain, file)


# ------------------------------------------------------------------------------- other bodies


async def test_bytes(wire: StyledWire) -> None:
    area = mmap.mmap(-1, len(SENT))
    area[:] = SENT
    for body in (SENT, bytearray(SENT), memoryview(SENT), area):
        for failure in ("body", "response"):
            conn, peer = wire.pair(small=True)
            FAILURES[failure][0](peer)
            with pytest.raises(ConnectionClosed) as caught:
                await conn.request("PUT", "/", body=body, expect100=False)
            assert caught.value.safe_to_retry
            await can_be_sent_again(wire, body)


def closable(kind: str) -> tuple[Any, Callable[[], None]]:
    """A body, and how its owner closes it."""
    if kind == "memoryview":
        view = memoryview(SENT)
        return view, view.release
    body: Any = opened(kind) if kind in KINDS else mmap.mmap(-1, len(SENT))
    return body, body.close


#: A peer in a thread may close the body before it is sent.
STEPWISE = pytest.mark.styles("generator", "asyncio", "trio")


@STEPWISE
@in_turn("kind", [*KINDS, "memoryview", "mmap"])
async def test_a_body_that_was_closed(wire: StyledWire, kind: str) -> None:
    """By its owner, who may open the file again; nothing else is sent in its place."""
    for ask in WAYS.values():
        body, close = closable(kind)
        conn, peer = wire.pair()
        peer.expect_request()
        peer.call(close)
        peer.close()
        with pytest.raises(ConnectionClosed) as caught:
            await ask(conn, "PUT", body=body, expect100=False)
        assert caught.value.safe_to_retry
        (request,) = caught.value.unanswered
        assert not request.replayable
        other, _ = wire.pair()
        with pytest.raises(ValueError):
            await ask(other, "PUT", body=body, expect100=False)
        assert other.bytes_sent == 0


class Stuck(io.BytesIO):
    """A file that seeks until it is read."""

    was_read = False

    def read(self, size: int | None = -1) -> bytes:
        self.was_read = True
        return super().read(size)

    def seek(self, *args: Any) -> int:
        if self.was_read:
            raise OSError("stuck")
        return super().seek(*args)


async def test_a_file_that_does_not_seek_any_more(wire: StyledWire) -> None:
    """What is left of it would pass for the whole."""
    for ask in WAYS.values():
        conn, peer = wire.pair()
        before_the_response(peer)
        body = Stuck(DATA)
        with pytest.raises(ConnectionClosed) as caught:
            await ask(conn, "PUT", body=body, expect100=False)
        assert not caught.value.safe_to_retry


async def test_a_one_shot_body_of_which_nothing_was_taken(wire: StyledWire) -> None:
    for ask in WAYS.values():
        for headers in ({}, {"Content-Length": len(DATA)}):
            body = Taken(DATA)
            conn, _ = wire.pair(tap=Pace(send_fails=ConnectionResetError()))
            with pytest.raises(ConnectionClosed) as caught:
                await ask(conn, "POST", headers=headers, body=body, expect100=False)
            assert caught.value.safe_to_retry
            assert body.count == 0
            conn, peer = wire.pair()
            peer.expect_request(body=DATA)
            peer.reply(OK)
            await ask(conn, "POST", headers=headers, body=body, expect100=False)
            peer.check()


async def test_an_empty_one_shot_body_and_no_server(plain: StyledWire) -> None:
    """Whether it is empty is not found out before there is a connection."""
    with socket.create_server(("127.0.0.1", 0)) as unused:
        address = unused.getsockname()
    for ask in WAYS.values():
        body = Taken()
        conn = plain.connection("localhost", address=address)
        with pytest.raises(ConnectionRefusedError) as caught:
            await ask(conn, "POST", headers={"Content-Length": 0}, body=body)
        assert vars(caught.value)["safe_to_retry"]
        conn, peer = plain.pair()
        peer.expect_request(body=b"")
        peer.reply(OK)
        await ask(conn, "POST", headers={"Content-Length": 0}, body=body)
        peer.check()


@in_turn("given", ["iterator", "generator", "items", "mapping", "list"])
async def test_headers_that_are_used_up(wire: StyledWire, given: str) -> None:
    """The caller has only an empty iterator left, and would send a request without its fields."""
    fields = {"If-None-Match": "*"}
    kinds: dict[str, Callable[[], Any]] = {
        "iterator": lambda: iter(fields.items()),
        "generator": lambda: (pair for pair in fields.items()),
        "items": fields.items,
        "mapping": lambda: fields,
        "list": lambda: [*fields.items()],
    }
    for ask in WAYS.values():
        for sent in (True, False):
            pace = None if sent else Pace(send_fails=ConnectionResetError())
            conn, peer = wire.pair(tap=pace)
            if sent:
                peer.expect_request()
                peer.close()
            headers = kinds[given]()
            with pytest.raises(ConnectionClosed) as caught:
                await ask(conn, "PUT", headers=headers, body=b"abc")
            assert caught.value.safe_to_retry is (given in ("items", "mapping", "list"))
            (request,) = caught.value.unanswered
            kept: Any = request.headers
            assert dict(kept or {}) == fields


# -------------------------------------------------------------------------------- pipelines


def uploads(kind: str, count: int) -> list[Request]:
    return [Request("PUT", f"/{i}", body=opened(kind)) for i in range(count)]


def check_positions(requests: list[Request], start: int) -> None:
    assert [request.body.tell() for request in requests] == [start] * len(requests)


@every_kind
async def test_a_pipeline_gives_up(wire: StyledWire, kind: str) -> None:
    """Whatever it had sent, and of whichever request, can be sent in another pipeline."""
    listener = small_listener(wire)
    conn = wire.dial(listener)
    requests = uploads(kind, 5)
    peer = listener.peer()
    peer.expect_request()
    peer.reply(OK)
    peer.expect_request()
    peer.expect_head()
    peer.close()
    for _ in range(2):  # each of which goes on asking, until one brings nothing
        failing = listener.peer()
        failing.expect_head()
        failing.reset()
    pipeline = conn.pipeline(requests)
    assert (await anext(pipeline)).path == "/0"
    with pytest.raises(ConnectionClosed) as caught:
        await anext(pipeline)
    assert caught.value.unanswered[0] is requests[1]
    assert set(caught.value.unanswered) <= set(requests[1:])
    check_positions(requests[1:], START)
    check_positions(requests[:1], len(DATA))
    requests[0].body.close()
    conn.disconnect()
    await all_are_stored(wire, requests[1:])


async def all_are_stored(wire: StyledWire, requests: list[Request]) -> None:
    conn, peer = wire.pair()
    for request in requests:
        peer.expect_request(b"PUT " + request.path.encode(), body=SENT)
        peer.reply(OK)
    got = [response.path async for response in conn.pipeline(requests)]
    assert got == [request.path for request in requests]
    check_positions(requests, len(DATA))
    for request in requests:
        request.body.close()


@every_kind
async def test_a_pipeline_meets_garbage(wire: StyledWire, kind: str) -> None:
    listener = wire.listen()
    conn, peer = wire.dial(listener), listener.peer()
    requests = uploads(kind, 4)
    peer.expect_request()
    peer.reply(OK)
    for _ in range(2):
        peer.expect_request()
    peer.reply(b"garbage\r\n\r\n")
    pipeline = conn.pipeline(requests)
    assert (await anext(pipeline)).path == "/0"
    with pytest.raises(InvalidResponse) as caught:
        await anext(pipeline)
    assert caught.value.safe_to_retry
    assert caught.value.unanswered[0] is requests[1]
    check_positions(requests[1:], START)
    requests[0].body.close()
    conn.disconnect()
    await all_are_stored(wire, requests[1:])


@pytest.mark.styles("blocking", "asyncio", "trio")
@every_kind
async def test_a_pipeline_waits_too_long(wire: StyledWire, kind: str) -> None:
    """The body is back where it was, and the step after that goes on in the middle all the same."""
    listener = small_listener(wire)
    conn, peer = wire.dial(listener), listener.peer()
    requests = uploads(kind, 3)
    pipeline = conn.pipeline(requests)
    peer.expect_request()
    peer.reply(OK)
    assert (await anext(pipeline)).path == "/0"
    conn.timeout = 0.01
    with pytest.raises(ConnectionTimedOut) as caught:
        await anext(pipeline)
    assert caught.value.safe_to_retry
    check_positions(requests[1:], START)
    conn.timeout = None
    for request in requests[1:]:
        peer.expect_request(b"PUT " + request.path.encode(), body=SENT)
        peer.reply(OK)
    assert [response.path async for response in pipeline] == ["/1", "/2"]
    peer.check()
    for request in requests:
        request.body.close()
