"""A law of `pipeline` (hypothesis): whatever is asked for and whatever the server does, each
response is its own request's, in order, and what is not idempotent comes to the server once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from dugong import ConnectionClosed, Request
from tests.support.drive import drive
from tests.support.pipeline_server import Ending, Last, Server
from tests.support.pipeline_walk import Step, walk
from tests.support.received import ReceivedRequest
from tests.support.wire import Certificates, Wire

pytestmark = pytest.mark.slow

IDEMPOTENT = ("GET", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE")

#: Of bodies, in both directions: nothing, little, and more than fits into one piece.
SIZES = (0, 1, 100, 9000, 200_000)


@dataclass(frozen=True)
class Asked:
    """One request.

    Attributes:
        size: of its body, ``None`` for none.
        once: whether the body can be sent once only.
    """

    method: str
    size: int | None
    once: bool
    closes: bool

    def request(self, number: int) -> Request:
        data = payload(number, self.size or 0)
        body: Any = None if self.size is None else data
        if body is not None and self.once:
            body = blocks(data)
        fields = {"Connection": "close"} if self.closes else None
        return Request(self.method, f"/{number}", fields, body)

    @property
    def repeatable(self) -> bool:
        return self.method in IDEMPOTENT and not self.once


def payload(number: int, size: int) -> bytes:
    unit = b"[%d]" % number
    return (unit * (size // len(unit) + 1))[:size]


def blocks(data: bytes) -> Iterator[bytes]:
    for i in range(0, len(data), 70_000):
        yield data[i : i + 70_000]


asked = st.builds(
    Asked,
    method=st.sampled_from([*["GET"] * 6, "HEAD", "PUT", "PUT", "DELETE", "POST", "PATCH"]),
    size=st.none(),
    once=st.just(False),
    closes=st.sampled_from([False] * 9 + [True]),
) | st.builds(
    Asked,
    method=st.sampled_from(["PUT", "PUT", "POST", "DELETE"]),
    size=st.sampled_from(SIZES),
    once=st.booleans(),
    closes=st.just(False),
)


@dataclass(frozen=True)
class Answered:
    """How one request is answered.

    Attributes:
        framing: length, chunked, or until-close.
        says_so: whether the connection is announced to end after it.
    """

    status: int
    size: int
    framing: str
    says_so: bool

    def answer(self, request: ReceivedRequest, body: bytes) -> bytes:
        fields = [b"Connection: close"] if self.says_so else []
        bodyless = request.method == "HEAD" or self.status in (204, 304)
        wire = body
        if bodyless:
            wire = b""
        elif self.framing == "chunked":
            fields.append(b"Transfer-Encoding: chunked")
            half = len(body) // 2
            parts = [part for part in (body[:half], body[half:]) if part]
            wire = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"
        elif self.framing == "length":
            fields.append(b"Content-Length: %d" % len(body))
        head = b"".join(field + b"\r\n" for field in [b"HTTP/1.1 %d X" % self.status, *fields, b""])
        ends = self.framing == "until-close" and not bodyless
        return Last(head + wire) if ends else head + wire


answered = st.builds(
    Answered,
    status=st.sampled_from([200, 200, 200, 204, 304, 404, 503]),
    size=st.sampled_from(SIZES),
    framing=st.sampled_from(["length", "length", "chunked", "until-close"]),
    says_so=st.sampled_from([False] * 9 + [True]),
)

endings = st.none() | st.builds(
    Ending,
    after=st.integers(1, 6),
    how=st.sampled_from(["announced", "close", "reset"]),
    cut=st.sampled_from([0, 0, 0, 5, 20, -1]),
)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    questions=st.lists(asked, min_size=1, max_size=14),
    answers=st.lists(answered, min_size=1, max_size=5),
    ends=st.lists(endings, min_size=1, max_size=3),
    depth=st.integers(1, 7),
    burst=st.booleans(),
    data=st.data(),
)
def test_right_in_order_and_once(
    certificates: Certificates,
    questions: list[Asked],
    answers: list[Answered],
    ends: list[Ending | None],
    depth: int,
    burst: bool,
    data: st.DataObject,
) -> None:
    wire = Wire(certificates, tls=data.draw(st.sampled_from([False, False, True]), "tls"))
    try:
        kinds = {f"/{i}": answers[i % len(answers)] for i in range(len(questions))}

        def answer(request: ReceivedRequest) -> bytes:
            return kinds[request.target].answer(request, body_of(request.target))

        def body_of(target: str) -> bytes:
            return payload(int(target[1:]), kinds[target].size)

        server = Server(wire, *ends, None, answer=answer, burst=burst, again=False)
        conn = wire.dial(server.listener)
        requests = [question.request(i) for i, question in enumerate(questions)]
        steps = drive(walk(conn, requests, depth=depth), server)
        check(questions, requests, steps, server, body_of, kinds)
        event(f"{sum(step.error is not None for step in steps)} failures")
        event(f"{len(server.connections)} connections")
    finally:
        wire.close()


def check(
    questions: list[Asked],
    requests: list[Request],
    steps: list[Step],
    server: Server,
    body_of: Any,
    kinds: dict[str, Answered],
) -> None:
    assert [id(step.request) for step in steps] == [id(request) for request in requests]
    for question, step in zip(questions, steps, strict=True):
        target = step.request.path
        if step.error is None:
            assert step.response is not None
            bodyless = question.method == "HEAD" or kinds[target].status in (204, 304)
            assert step.response.status == kinds[target].status
            whole_body = b"" if bodyless else body_of(target)
            assert step.body is not None
            if kinds[target].framing == "until-close" and server.cuts:
                assert whole_body.startswith(step.body)  # nobody can tell
            else:
                assert step.body == whole_body
        elif not step.reading:
            assert isinstance(step.error, ConnectionClosed)
            assert not question.repeatable
            assert not step.error.safe_to_retry
        whole = server.whole(target)
        if question.method not in IDEMPOTENT:
            assert server.times()[target] <= 1
        if not question.repeatable:
            assert len(whole) <= 1
        for received in whole:
            assert received.body == payload(int(target[1:]), question.size or 0)
    for seen in server.log:
        question = questions[int(seen.target[1:])]
        if question.method not in IDEMPOTENT or question.closes:
            assert seen.alone
