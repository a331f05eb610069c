"""What a row of the table is made of: `case`, and the outcomes there are.

A row is one line: an id, where it comes from, the bytes that the server sends, what is to come of
them::

    case("cl-plus", "RFC 9110 8.6", OK + b"Content-Length: +5\r\n\r\nhello", invalid(200))

There is one outcome for each request, in order; all requests are sent before the first response
is read. What has to hold after the last of them follows from the outcome, see `tests.hostile.play`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from dugong import ConnectionClosed, InvalidResponse, UnsupportedResponse
from dugong.errors import Part

#: The status line that most rows begin with, and the head of a chunked response.
OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"


@dataclass(frozen=True, kw_only=True)
class Taken:
    """The response is delivered.

    Attributes:
        headers: of these fields, all values in order.
        interim: the status codes of the interim responses before it.
        continues: whether a 100 (Continue) comes first, for which the request waits.
        dropped: whether the connection is unusable afterwards, although nobody announced that.
        until_close: whether only the end of the connection ends the body.
        ignored: whether more bytes follow, at which nobody looks.
        switched: whether the connection leaves HTTP; *body* is then what follows.
    """

    status: int
    body: bytes
    reason: str | None = None
    headers: Mapping[str, list[str]] = field(default_factory=dict)
    trailers: list[tuple[str, str]] = field(default_factory=list)
    interim: list[int] = field(default_factory=list)
    version: str = "1.1"
    continues: bool = False
    will_close: bool = False
    dropped: bool = False
    until_close: bool = False
    ignored: bool = False
    switched: bool = False


@dataclass(frozen=True, kw_only=True)
class Refused:
    """The response is not delivered, or not to its end.

    Attributes:
        errors: what is raised, one of these.
        head: the status code of the head that the error carries; ``None`` if it carries none.
        part: what an `InvalidResponse` calls wrong.
        body: what can be read before the error; ``None`` if `read_response` raises it.
        started: whether a byte of the final response has arrived; ``None`` where that is not
            known, because what came is neither final nor a valid interim response.
        anywhere: whether it may be raised by `read_response` or after any part of the body.
    """

    errors: tuple[type[Exception], ...]
    head: int | None
    part: Part | None = None
    body: bytes | None
    started: bool | None
    anywhere: bool = False


Outcome = Taken | Refused


def ok(status: int = 200, body: bytes = b"", **expected: Any) -> Taken:
    """Delivered, and the connection can be used again unless the server closes it."""
    return Taken(status=status, body=body, **expected)


def closes(status: int = 200, body: bytes = b"", **expected: Any) -> Taken:
    """Delivered, as the last response of this connection."""
    return Taken(status=status, body=body, will_close=True, **expected)


def until_close(status: int = 200, body: bytes = b"", **expected: Any) -> Taken:
    """Delivered, with all bytes up to the end of the connection."""
    return closes(status, body, until_close=True, **expected)


def dropped(status: int = 200, body: bytes = b"", **expected: Any) -> Taken:
    """Delivered, and then something came that nobody asked for."""
    return Taken(status=status, body=body, dropped=True, **expected)


def switched(status: int, rest: bytes, **expected: Any) -> Taken:
    """Delivered, and what follows is not HTTP."""
    return Taken(status=status, body=rest, switched=True, **expected)


def invalid(head: int | None = None, part: Part | None = None) -> Refused:
    """`read_response` raises `InvalidResponse`, with the head if only its framing is wrong."""
    started = head is None or head >= 200
    part = part or ("head" if head is None else "framing")
    return Refused(errors=(InvalidResponse,), head=head, part=part, body=None, started=started)


def unsupported(head: int | None = None) -> Refused:
    """`read_response` raises `UnsupportedResponse`."""
    return Refused(errors=(UnsupportedResponse,), head=head, body=None, started=True)


def bad_body(body: bytes = b"", head: int = 200, part: Part = "chunk") -> Refused:
    """The head is delivered, then *body*, and then reading raises `InvalidResponse`."""
    return Refused(errors=(InvalidResponse,), head=head, part=part, body=body, started=True)


def closed(body: bytes | None = None, *, started: bool = True) -> Refused:
    """The connection ended too early: in the head, or after this much of the body."""
    return Refused(errors=(ConnectionClosed,), head=None, body=body, started=started)


def cut_off(*, started: bool | None) -> Refused:
    """The connection ended too early, wherever that is."""
    return Refused(errors=(ConnectionClosed,), head=None, body=None, started=started, anywhere=True)


@dataclass(frozen=True)
class Case:
    """A row. *end* is what the server does after its bytes: ``"open"`` or ``"close"``."""

    id: str
    source: str
    data: bytes
    outcomes: tuple[Outcome, ...]
    end: str
    method: str
    headers: Mapping[str, str]
    expect: bool

    @property
    def path(self) -> str:
        return "example.com:443" if self.method == "CONNECT" else "/"

    @property
    def self_delimited(self) -> bool:
        """Whether one complete response is all there is, and cutting any of it off shows."""
        outcome = self.outcomes[0]
        return (
            len(self.outcomes) == 1
            and not self.expect
            and isinstance(outcome, Taken)
            and not (outcome.dropped or outcome.until_close or outcome.ignored or outcome.switched)
        )


def case(
    id: str,  # noqa: A002 - what pytest calls it too
    source: str,
    data: bytes,
    *outcomes: Outcome,
    end: str | None = None,
    method: str = "GET",
    headers: Mapping[str, str] | None = None,
    expect: bool = False,
) -> Case:
    """Return a row of the table.

    Args:
        id: unique.
        source: the RFC section, or the public report.
        data: all bytes that the server sends.
        outcomes: one for each request.
        end: what the server does then; by default ``"close"`` where only that ends the body.
        method: of all requests.
        headers: of all requests.
        expect: send ``Expect: 100-continue``, and the body when the 100 comes.
    """
    if end is None:
        last = outcomes[-1]
        end = "close" if isinstance(last, Taken) and last.until_close else "open"
    if method == "CONNECT":
        headers = {"Host": "example.com:443"}
    return Case(id, source, data, outcomes, end, method, headers or {}, expect)


def family(
    prefix: str,
    source: str,
    rows: Mapping[str, bytes | tuple[bytes, str]],
    outcome: Outcome,
    template: bytes,
    **options: Any,
) -> Iterable[Case]:
    """Return rows that differ in one place, where *template* has ``@``; some with a source of
    their own."""
    for name, row in rows.items():
        piece, where = (row, source) if isinstance(row, bytes) else row
        yield case(f"{prefix}-{name}", where, template.replace(b"@", piece), outcome, **options)


def wrong_cases(head: bytes) -> Iterable[Case]:
    """Return rows that must fail: what each one expects differs from what its bytes mean.

    Args:
        head: the beginning of a response, up to its body.
    """
    hi = OK + b"Content-Length: 2\r\n\r\nhi"
    return (
        case("status", "", hi, ok(201, b"hi")),
        case("body", "", hi, ok(200, b"ho")),
        case("reason", "", hi, ok(200, b"hi", reason="KO")),
        case("headers", "", hi, ok(200, b"hi", headers={"Content-Length": ["3"]})),
        case("interim", "", hi, ok(200, b"hi", interim=[103])),
        case("version", "", hi, ok(200, b"hi", version="1.0")),
        case("will-close", "", hi, ok(200, b"hi", will_close=True)),
        case("trailers", "", hi, ok(200, b"hi", trailers=[("A", "b")])),
        case("dropped", "", hi, ok(200, b"hi", dropped=True)),
        case("not-dropped", "", hi + b"!", ok(200, b"hi")),
        case("invalid", "", hi, invalid()),
        case("head", "", OK + b"Content-Length: x\r\n\r\n", invalid(201)),
        case("waits", "", hi[:-1], ok(200, b"hi")),
        case("waits-in-head", "", head[:-1], ok(200, b"hi")),
    )
