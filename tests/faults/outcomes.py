"""What may come of an exchange that is broken at one byte: the right bytes or the right error.

An exchange is run once undisturbed. Where its requests and responses lie in the bytes of that run
(`Layout`) is what later outcomes are judged by: a response is delivered if and only if all of it
was passed on, and what the errors say of the exchange is worked out from what came through.
"""

from __future__ import annotations

import http.client
import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from dugong import (
    ConnectionClosed,
    ConnectionTimedOut,
    DigestMismatch,
    HTTPConnection,
    HTTPResponse,
    InvalidResponse,
    PollNeeded,
    UnsupportedResponse,
)
from tests.faults.proxy import Client, Direction, Fault, Kind, Line
from tests.support.uploads import Taken

DOCUMENTED = (
    ConnectionClosed, ConnectionTimedOut, DigestMismatch, InvalidResponse, UnsupportedResponse,
)  # fmt: skip


@dataclass(frozen=True)
class Failure:
    """An error, and how far things had come.

    Attributes:
        index: which request has failed.
        unanswered: the paths of the requests that had no complete response.
    """

    error: Exception
    index: int
    unanswered: list[str]
    reading: bool


@dataclass
class Story:
    """What a client has asked for, what it was given, and what went wrong.

    Attributes:
        asked: the paths of the requests made.
        got: the responses that came whole, with their bodies.
        secured_at: how many bytes had come of each direction when the TLS handshake was done.
        one_shot: the body to be sent, if it can be sent only once.
    """

    conn: HTTPConnection
    asked: list[str] = field(default_factory=list)
    got: list[tuple[HTTPResponse, bytes]] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    secured_at: dict[Direction, int] = field(default_factory=dict)
    one_shot: Taken | None = None

    def co_read(self) -> Client[None]:
        """Read one response."""
        yield from self.co_read_body((yield from self.conn.co_read_response()))

    def co_read_body(self, response: HTTPResponse, *, check: bool = False) -> Client[None]:
        if check:
            try:
                self.conn.hash_body(check=True)
            except DigestMismatch:
                return  # there is no digest: nothing was read, and nothing is broken
        body = yield from self.conn.co_readall()
        self.got.append((response, body))

    def failed(self, error: Exception, *, reading: bool) -> None:
        done = len(self.got)
        index = done if reading else len(self.asked) - 1
        self.failures.append(Failure(error, index, self.asked[done:], reading))

    def co_tell(self, steps: Callable[[Story], Client[None]]) -> Client[None]:
        try:
            yield from steps(self)
        except Exception as exc:
            self.failed(exc, reading=True)


@dataclass(frozen=True)
class Layout:
    """Where the messages of an undisturbed run lie in its bytes.

    Attributes:
        up, down: all the bytes of that direction, without TLS.
        requests: where each begins, and the end of the last.
        responses: where what answers each request begins, interim responses included, and the
            end of the last.
        finals: where each final response begins.
        bodies: where the body of each begins.
        payloads: what the client made of each body.
    """

    up: bytes
    down: bytes
    requests: list[int]
    responses: list[int]
    finals: list[int]
    bodies: list[int]
    payloads: list[bytes]

    @classmethod
    def of(cls, line: Line, story: Story) -> Layout:
        up, down = (bytes(line.arrived[direction]) for direction in Direction)
        requests = [m.start() for m in re.finditer(rb"(GET|HEAD|PUT|POST) /\S* HTTP/1.1\r\n", up)]
        heads = [*re.finditer(rb"HTTP/1.1 (\d)\d\d [^\r]*\r\n(.+\r\n)*\r\n", down)]
        finals = [head.start() for head in heads if head[1] != b"1"]
        bodies = [head.end() for head in heads if head[1] != b"1"]
        assert len(requests) == len(finals) == len(story.asked) == len(story.got)
        return cls(
            up,
            down,
            [*requests, len(up)],
            [0, *finals[1:], len(down)],
            finals,
            bodies,
            [body for _, body in story.got],
        )


def spread(count: int, start: int, size: int) -> int:
    """How many of *count* bytes lie in the *size* bytes from *start* on."""
    return min(max(count - start, 0), size)


@dataclass(frozen=True)
class Judge:
    """Knows the right outcomes of one exchange.

    Attributes:
        layout: of the exchange without TLS.
        tls: whether it goes over TLS.
        until_close: whether its body ends with the connection.
        replayable: whether its requests may be sent again after they were sent.
        checked: whether a digest is checked.
    """

    layout: Layout
    tls: bool = False
    until_close: bool = False
    replayable: bool = True
    checked: bool = False

    def judge(self, fault: Fault, lines: Sequence[Line], story: Story) -> None:
        line = lines[0]
        for failure in story.failures:
            self._check_class(fault, failure.error, story)
            if len(lines) == 1:
                self._check_attributes(fault, line, failure, story)
        if not line.tripped:
            assert self.tls, "the fault did not happen"
            assert self._is_whole(story)
        elif fault.kind is Kind.FLIP:
            self._check_flipped(fault, line, story)
        else:
            self._check_broken(fault, line, story)

    def _is_whole(self, story: Story) -> bool:
        return not story.failures and [body for _, body in story.got] == self.layout.payloads

    # Errors.

    def _check_class(self, fault: Fault, error: Exception, story: Story) -> None:
        right: tuple[type[Exception], ...] = {
            Kind.CLOSE: (ConnectionClosed,),
            Kind.RESET: (ConnectionClosed,),
            Kind.STALL: (ConnectionTimedOut,),
            Kind.FLIP: DOCUMENTED,
        }[fault.kind]
        if self.tls and not story.secured_at and fault.kind is not Kind.STALL:
            assert isinstance(error, (OSError, *right)), repr(error)
            if fault.kind is not Kind.FLIP:
                assert not isinstance(error, ConnectionTimedOut)
            return
        assert isinstance(error, right), repr(error)
        if fault.kind is Kind.RESET and not self.tls:
            assert isinstance(root(error), (ConnectionResetError, BrokenPipeError)), "no cause"

    def _check_attributes(self, fault: Fault, line: Line, failure: Failure, story: Story) -> None:
        layout, index, error = self.layout, failure.index, cast(Any, failure.error)
        start, end = layout.requests[index : index + 2]
        sent, received = story.conn.bytes_sent, story.conn.bytes_received
        assert [request.path for request in error.unanswered] == failure.unanswered
        assert error.bytes_sent == spread(sent, start, end - start)
        assert sent <= len(layout.up)
        consumed = story.one_shot is not None and story.one_shot.count > 0
        replayable = self.replayable and not consumed
        assert error.safe_to_retry is (replayable or error.bytes_sent == 0)
        if not self.tls:
            assert len(line.arrived[Direction.UP]) <= sent
        if received <= layout.responses[index]:
            assert not error.response_started, "the response has not begun"
        if fault.kind is Kind.FLIP:
            return
        if received == layout.finals[index]:
            assert not error.response_started, "only the interim response has come"
        if failure.reading:
            if received > layout.finals[index]:
                assert error.response_started, "the response has begun"
            if not self.tls:
                assert received == line.passed[Direction.DOWN], "not all that came was received"

    # Outcomes.

    def _check_broken(self, fault: Fault, line: Line, story: Story) -> None:
        layout = self.layout
        bodies = [body for _, body in story.got]
        cut_body = line.passed[Direction.DOWN] - layout.bodies[-1]
        if self.until_close and not self.tls and fault.kind is Kind.CLOSE and cut_body >= 0:
            assert not story.failures
            assert bodies == [layout.payloads[0][:cut_body]]
            return
        assert story.failures, "passes for a whole response"
        whole = sum(story.conn.bytes_received >= end for end in layout.responses[1:])
        if self.until_close:
            whole = 0  # what ends it has not come
        assert bodies == layout.payloads[:whole]
        assert [response.path for response, _ in story.got] == story.asked[:whole]
        assert all(response.status == 200 for response, _ in story.got)

    def _check_flipped(self, fault: Fault, line: Line, story: Story) -> None:
        if self.tls:
            if not is_unprotected(line.arrived[fault.direction], fault.offset):
                assert story.failures, "not noticed"
            bodies = [body for _, body in story.got]
            assert bodies == self.layout.payloads[: len(bodies)]
        elif fault.direction is Direction.UP:
            self._check_answers(line, story)
        else:
            for index, (response, body) in enumerate(story.got):
                self._check_flipped_response(fault, index, response, body)

    def _check_answers(self, line: Line, story: Story) -> None:
        """Whatever the server made of a changed request, what it said was understood."""
        stream = Replayed(bytes(line.arrived[Direction.DOWN]))
        for response, body in story.got:
            reference = http.client.HTTPResponse(cast(Any, stream), method=response.method)
            reference.begin()
            assert (response.status, body) == (reference.status, reference.read())

    def _check_flipped_response(
        self, fault: Fault, index: int, response: HTTPResponse, body: bytes
    ) -> None:
        layout, offset = self.layout, fault.offset
        right, start = layout.payloads[index], layout.bodies[index]
        if not layout.responses[index] <= offset < layout.responses[index + 1]:
            assert body == right, "another response was changed"
            return
        payload = layout.down.index(right, start)  # the server sends it in one piece
        in_payload = payload <= offset < payload + len(right)
        assert in_payload or layout.down[offset] not in b"\r\n", "a broken line passes"
        if self.checked:
            assert not in_payload, "the digest was not checked"
            assert body == right or response.status in (204, 304)  # which have none
        elif offset < layout.finals[index]:
            assert body == right, "an interim response was changed"
        elif offset < start:  # it may say something else of what comes now
            assert right.startswith(body) or layout.down[start:].startswith(body)
        elif in_payload:
            changed = bytearray(right)
            changed[offset - payload] ^= fault.mask
            assert body == changed
        else:
            assert body == right
            assert offset >= payload + len(right) + len(b"\r\n0\r\n"), "broken framing passes"


def root(error: BaseException) -> BaseException:
    """The error at the beginning of a chain of causes."""
    while error.__cause__ is not None:
        error = error.__cause__
    return error


class Replayed(io.BytesIO):
    """A socket, for `http.client`, from which these bytes come."""

    def makefile(self, *_: object) -> Replayed:
        return self

    def close(self) -> None:
        """Stay open for the next response."""


def records(stream: bytes | bytearray) -> list[tuple[int, int, int]]:
    """The TLS records in the stream: their type, start and end."""
    found, at = [], 0
    while at + 5 <= len(stream):
        end = at + 5 + int.from_bytes(stream[at + 3 : at + 5])
        found.append((stream[at], at, end))
        at = end
    return found


def is_unprotected(stream: bytes | bytearray, offset: int) -> bool:
    """Whether TLS does not notice a change of this byte, and does not have to.

    That is the version in the head of a record that is not encrypted: it is to be ignored
    (RFC 8446 section 5.1), and so are the records of type 20 (appendix D.4).
    """
    for kind, start, end in records(stream):
        if start <= offset < end:
            return kind in (20, 22) and offset - start in (1, 2)
    return False


def pause() -> Client[None]:
    """Let the other end have its turn."""
    yield cast(PollNeeded, None)
