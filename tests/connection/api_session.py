"""The model of both ends in `tests.connection.test_api_model`: messages, and the state.

`Session` is the model of one connection: what is under way from either end, and where both are.
It knows nothing of how `dugong` is built, only what the API promises.
"""

from __future__ import annotations

import io
import socket
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from dugong import BodyFollowing, DugongError, InvalidResponse, UnsupportedResponse

THREE = b"Content-Length: 3\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"

#: What is asked: method, what follows the fields that all have, arguments.
REQUESTS: dict[str, tuple[str, bytes, Callable[[], dict[str, Any]]]] = {
    "get": ("GET", b"\r\n", dict),
    "head": ("HEAD", b"\r\n", dict),
    "bytes": ("PUT", THREE + b"\r\nabc", lambda: {"body": b"abc"}),
    "file": ("PUT", THREE + b"\r\nabc", lambda: {"body": io.BytesIO(b"abc")}),
    "iterable": (
        "PUT",
        CHUNKED + b"\r\n1\r\na\r\n2\r\nbc\r\n0\r\n\r\n",
        lambda: {"body": iter([b"a", b"", b"bc"])},
    ),
    "last": ("GET", b"\r\n", lambda: {"headers": {"Connection": "close"}}),
    "upgrade": ("GET", b"\r\n", lambda: {"headers": {"Upgrade": "x"}}),
    "connect": ("CONNECT", b"\r\n", dict),
    "length": ("PUT", THREE + b"\r\n", lambda: {"body": BodyFollowing(3)}),
    "chunks": ("PUT", CHUNKED + b"\r\n", lambda: {"body": BodyFollowing()}),
    "expect": (
        "PUT",
        THREE + b"Expect: 100-continue\r\n\r\n",
        lambda: {"body": BodyFollowing(3), "expect100": True},
    ),
}
#: Those that `request` takes, and one that it asks for a 100 (Continue).
WHOLE = ["get", "head", "bytes", "file", "iterable", "last", "upgrade", "connect", "expect"]
#: What is due after each of them.
PHASES = {"length": "body", "chunks": "body", "expect": "continue"}
LENGTHS = {"length": 3, "expect": 3}


@dataclass(frozen=True)
class Shape:
    """A response: its head, and what follows: bytes and the payload in them, ``None`` for an end.

    Attributes:
        length: the number of bytes in the body, ``None`` if only its end tells.
        closes: whether the connection ends with it.
        by_close: whether it ends with the connection.
        error: what it is refused with.
    """

    status: int
    fields: bytes = b""
    rest: tuple[tuple[bytes, bytes | None], ...] = ()
    length: int | None = 0
    closes: bool = False
    by_close: bool = False
    error: type[DugongError] | None = None

    @property
    def head(self) -> bytes:
        return b"HTTP/1.1 %d X\r\n%s\r\n" % (self.status, self.fields)


CHUNKS = ((b"2\r\nhi\r\n", b"hi"), (b"3;a=b\r\nsea\r\n", b"sea"), (b"0\r\nA: b\r\n\r\n", None))

SHAPES = {
    "empty": Shape(200, b"Content-Length: 0\r\n"),
    "no content": Shape(204),
    "length": Shape(200, b"Content-Length: 5\r\n", ((b"he", b"he"), (b"llo", b"llo")), 5),
    "refusal": Shape(417, b"Content-Length: 2\r\n", ((b"no", b"no"),), 2),
    "last": Shape(
        200, b"Connection: close\r\nContent-Length: 2\r\n", ((b"hi", b"hi"),), 2, closes=True
    ),
    "chunks": Shape(200, CHUNKED, CHUNKS, None),
    "no chunk": Shape(404, CHUNKED, ((b"0\r\n\r\n", None),), None),
    "until close": Shape(
        200, b"", ((b"wa", b"wa"), (b"ter", b"ter")), None, closes=True, by_close=True
    ),
    "switch": Shape(101, b"Upgrade: x\r\n"),
    "invalid": Shape(200, b"A : b\r\n", error=InvalidResponse),
    "ambiguous": Shape(200, b"Content-Length: 1, 2\r\n", error=InvalidResponse),
}
INTERIM = {status: Shape(status) for status in (100, 103)}


@dataclass
class Asked:
    """A request without a complete response."""

    kind: str
    path: str
    interim: int = 0

    @property
    def method(self) -> str:
        return REQUESTS[self.kind][0]

    def switches(self, shape: Shape) -> bool:
        """Whether the connection leaves HTTP with this response to it."""
        tunnel = self.kind == "connect" and 200 <= shape.status < 300
        return tunnel or (self.kind == "upgrade" and shape.status == 101)

    def refuses(self, shape: Shape) -> type[DugongError] | None:
        """What this response to it is refused with."""
        if shape.status == 101 and self.kind != "upgrade":
            return UnsupportedResponse
        if shape.error and self.switches(shape) and shape is SHAPES["ambiguous"]:
            return None  # a tunnel has no framing
        return shape.error

    def has_body(self, shape: Shape) -> bool:
        return bool(shape.rest) and self.kind != "head" and not self.switches(shape)


@dataclass
class Session:
    """The model of one connection, from both ends.

    Attributes:
        arrived: heads, payload, ends of bodies (``None``) that were sent and not yet consumed.
        ending: how the server ended the connection.
        phase: of the last request: idle, continue, body; refused and cut are for good.
        gathered: what a readall had when it was interrupted.
        reported: whether a call has reported the end of the last response's body.
    """

    far: socket.socket
    arrived: deque[Shape | bytes | None] = field(default_factory=deque)
    ending: str = ""
    sent: bytes = b""
    queue: list[Asked] = field(default_factory=list)
    phase: str = "idle"
    left: int | None = None
    last: Asked | None = None
    reading: Shape | None = None
    body_left: int | None = None
    gathered: bytes = b""
    reported: bool = True
    failed: bool = False
    switched: bool = False
    closing: bool = False
    closed: bool = False
    gone: bool = False  # closed by us
    # The server's side.
    unanswered: deque[Asked] = field(default_factory=deque)
    serving: deque[tuple[bytes, bytes | None]] = field(default_factory=deque)
    silent: bool = False  # nothing more can come but the end
    to_the_end: bool = False  # all that comes is body

    @property
    def unfinished(self) -> bool:
        return bool(self.queue) or self.phase in ("continue", "body")

    @property
    def available(self) -> bytes:
        """Payload of the current body that has arrived."""
        data = b""
        for item in self.arrived:
            if not isinstance(item, bytes):
                break
            data += item
        return data

    def take(self, count: int) -> None:
        """Payload is delivered, from the front; an end that has arrived is taken along."""
        while count:
            item = self.arrived.popleft()
            assert isinstance(item, bytes)
            if len(item) > count:
                self.arrived.appendleft(item[count:])
            taken = min(len(item), count)
            count -= taken
            if self.body_left is not None:
                self.body_left -= taken
        self.take_end()

    @property
    def at_end(self) -> bool:
        """Whether the current body has no more payload, and its end has arrived."""
        assert self.reading is not None
        if self.body_left is not None:
            return self.body_left == 0
        if self.reading.by_close:
            return not self.arrived and self.ending == "close"
        return bool(self.arrived) and self.arrived[0] is None

    def take_end(self) -> None:
        if self.reading is None or not self.at_end:
            return
        if self.body_left is None and not self.reading.by_close:
            self.arrived.popleft()
        self.complete()

    def complete(self) -> None:
        assert self.reading is not None
        self.closed = self.reading.closes or self.queue[0].kind == "last" or self.phase == "refused"
        self.reading = self.body_left = None
        self.answered()

    def answered(self) -> None:
        """The oldest request has its whole response."""
        self.queue.pop(0)
        if self.phase == "refused" and not self.queue:
            self.gone = True
