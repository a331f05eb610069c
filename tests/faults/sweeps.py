"""The exchanges that `tests.test_faults` breaks, and what goes through them with a fault."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from dugong import BodyFollowing, ConnectionClosed, HTTPConnection
from tests.faults.outcomes import Judge, Layout, Story, pause
from tests.faults.proxy import Client, Direction, Fault, FaultyProxy, Kind, Upstream
from tests.support.apps import document
from tests.support.servers import NginxEndpoints
from tests.support.uploads import Taken

HOST = "127.0.0.1"

BODY = b"swim like a sea cow, slowly, and come up to breathe"
SOUND = b"as sound as a sea cow\n"  # what has a digest
PIECES = [BODY[:1], BODY[1:20], BODY[20:]]

Steps = Callable[[Story], Client[None]]


@dataclass(frozen=True)
class Exchange:
    """What a client does, and what must come of it.

    Attributes:
        payloads: the bodies, or for an upload what of it the server must report.
    """

    name: str
    steps: Steps
    payloads: list[bytes]
    until_close: bool = False
    replayable: bool = True
    checked: bool = False

    def __str__(self) -> str:
        return self.name

    def verify(self, bodies: list[bytes]) -> None:
        for body, payload in zip(bodies, self.payloads, strict=True):
            if payload == BODY:
                assert json.loads(body)["sha256"] == hashlib.sha256(BODY).hexdigest()
            else:
                assert body == payload


def getting(*paths: str, method: str = "GET") -> Steps:
    """Send all requests, then read all responses."""

    def steps(story: Story) -> Client[None]:
        for path in paths:
            story.asked.append(path)
            try:
                yield from story.conn.co_send_request(method, path)
                yield from pause()
            except ConnectionClosed as exc:
                if len(story.asked) == 1:
                    raise
                story.failed(exc, reading=False)  # what was sent before may have been answered
                break
        for _ in story.asked:
            yield from story.co_read()

    return steps


def uploading(method: str = "POST") -> Steps:
    def steps(story: Story) -> Client[None]:
        story.asked.append("/upload")
        yield from story.conn.co_send_request(method, "/upload", body=BODY)
        yield from story.co_read()

    return steps


def writing(length: int | None, *, expect100: bool) -> Steps:
    """Upload the body in pieces."""

    def steps(story: Story) -> Client[None]:
        conn = story.conn
        story.asked.append("/upload")
        body = BodyFollowing(length)
        yield from conn.co_send_request("POST", "/upload", body=body, expect100=expect100)
        if expect100:
            response = yield from conn.co_read_response()
            if response.status != 100:
                story.got.append((response, (yield from conn.co_readall())))
                return
        try:
            for piece in PIECES:
                yield from pause()
                yield from conn.co_write(piece)
            if length is None:
                yield from pause()
                yield from conn.co_end_body({"X-Sum": "7"})
        except ConnectionClosed as exc:
            story.failed(exc, reading=False)  # a response may have come nevertheless
        yield from story.co_read()

    return steps


Body = Callable[[Story], AbstractContextManager[Any]]


def in_memory(_: Story) -> AbstractContextManager[bytes]:
    return nullcontext(BODY)


@contextmanager
def in_file(_: Story) -> Iterator[IO[bytes]]:
    """A file from whose middle the body is to be taken."""
    before = b"not this"
    with tempfile.TemporaryFile() as file:
        file.write(before + BODY)
        file.seek(len(before))
        yield file


@contextmanager
def one_shot(story: Story) -> Iterator[Taken]:
    """An iterator, which can be taken once."""
    story.one_shot = Taken.of(PIECES)
    yield story.one_shot


def nothing(_: Story) -> AbstractContextManager[None]:
    return nullcontext()


def requesting(
    method: str,
    path: str = "/upload",
    body: Body = in_memory,
    *,
    check: bool = False,
    expect100: bool | None = None,
) -> Steps:
    """Make one whole exchange by `request`."""

    def steps(story: Story) -> Client[None]:
        conn = story.conn
        story.asked.append(path)
        with body(story) as content:
            response = yield from conn.co_request(method, path, body=content, expect100=expect100)
        yield from story.co_read_body(response, check=check)

    return steps


A, B = 600, 660  # small documents

EXCHANGES = [
    Exchange("length", getting(f"/doc/{A}.txt"), [document(A)]),
    Exchange("chunked", getting(f"/chunked/{A}.txt"), [document(A)]),
    Exchange("trailers", getting(f"/trailers/{A}.txt"), [document(A)]),
    Exchange("until-close", getting(f"/until-close/{A}.txt"), [document(A)], until_close=True),
    Exchange("head", getting(f"/doc/{A}.txt", method="HEAD"), [b""]),
    Exchange("pipelined", getting(f"/doc/{A}.txt", f"/doc/{B}.txt"), [document(A), document(B)]),
    Exchange("upload", uploading(), [BODY], replayable=False),
    Exchange("upload-again", uploading("PUT"), [BODY]),
    Exchange("write", writing(None, expect100=False), [BODY], replayable=False),
    Exchange("expect", writing(len(BODY), expect100=True), [BODY], replayable=False),
    Exchange("request", requesting("POST"), [BODY], replayable=False),
    Exchange("request-expect", requesting("PUT", expect100=True), [BODY]),
    Exchange("request-file", requesting("PUT", body=in_file), [BODY]),
    Exchange("request-iterable", requesting("PUT", body=one_shot, expect100=False), [BODY]),
    Exchange("request-iterable-expect", requesting("PUT", body=one_shot), [BODY]),
    Exchange("digest", requesting("GET", "/digest", nothing, check=True), [SOUND], checked=True),
]

AGAIN = Exchange("again", getting(f"/doc/{B}.txt"), [document(B)])


class Bench:
    """A client, the proxy and the server behind it."""

    def __init__(self, nginx: NginxEndpoints, *, tls: bool) -> None:
        path = nginx.unix_socket
        plain, secure = ((HOST, endpoint.port) for endpoint in (nginx.plain, nginx.tls))
        self.proxy = FaultyProxy(Upstream(secure, plain) if tls else Upstream(path, path))
        self._context = nginx.tls.context if tls else None

    def connection(self) -> HTTPConnection:
        conn = HTTPConnection(HOST, 8080, self._context, address=self.proxy.address)
        conn._monitor.clock = lambda: self.proxy.clock
        return conn

    def tell(self, exchange: Exchange, conn: HTTPConnection) -> Story:
        """Go through the exchange; the connection stays as it is then."""
        story = Story(conn)

        def note(event: str) -> None:
            if event == "secured" and not story.secured_at:
                arrived = self.proxy.lines[0].arrived
                story.secured_at = {direction: len(arrived[direction]) for direction in Direction}

        conn.on_event = note
        self.proxy.drive(story.co_tell(exchange.steps))
        return story

    def whole(self, exchange: Exchange, conn: HTTPConnection) -> Story:
        """The same, undisturbed."""
        self.proxy.begin(None)
        story = self.tell(exchange, conn)
        assert not story.failures, story.failures
        exchange.verify([body for _, body in story.got])
        assert [response.path for response, _ in story.got] == story.asked
        return story

    def layout(self, exchange: Exchange) -> Layout:
        with self.connection() as conn:
            story = self.whole(exchange, conn)
            return Layout.of(self.proxy.lines[0], story)

    def stream(self, exchange: Exchange, direction: Direction) -> tuple[bytes, int]:
        """The bytes of an undisturbed run over TLS, and where the handshake ends."""
        with self.connection() as conn:
            story = self.whole(exchange, conn)
            return bytes(self.proxy.lines[0].arrived[direction]), story.secured_at[direction]

    def close(self) -> None:
        self.proxy.close()


def descriptors() -> int:
    """How many this process has open."""
    return len([*Path("/dev/fd").iterdir()])


def judge_of(exchange: Exchange, layout: Layout, *, tls: bool) -> Judge:
    return Judge(
        layout,
        tls=tls,
        until_close=exchange.until_close,
        replayable=exchange.replayable,
        checked=exchange.checked,
    )


def sweep(bench: Bench, exchange: Exchange, judge: Judge, faults: Iterable[Fault]) -> None:
    """Go through the exchange with each fault, one after another."""
    bench.proxy.begin(None)
    before = descriptors()
    for count, fault in enumerate(faults):
        try:
            bench.proxy.begin(fault)
            with bench.connection() as conn:
                story = bench.tell(exchange, conn)
                judge.judge(fault, bench.proxy.lines, story)
                if count % 16 == 0:
                    conn.disconnect()
                    bench.whole(AGAIN, conn)
        except BaseException as exc:
            exc.add_note(f"with a {fault}")
            raise
    bench.proxy.begin(None)
    assert descriptors() == before, "descriptors are left open"


def masks(kind: Kind, offset: int) -> set[int]:
    """Which bits to change: the lowest, which makes other digits, and each of them in turn."""
    return {1, 1 << offset % 8} if kind is Kind.FLIP else {0}
