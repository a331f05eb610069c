"""A server for the tests of `pipeline`: it answers what it is asked and ends when it is told to.

It takes the place of a scripted peer and moves as one does: a step at a time, and only while the
client waits. Before it answers anything it takes all that has arrived, so what it notes of each
request shows what else was in flight. Any number of connections come one after the other.
"""

from __future__ import annotations

import os
import select
import socket
import struct
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from tests.support.farend import ClientGone, FarEnd
from tests.support.peer import Peer
from tests.support.received import ReceivedRequest, parse_request
from tests.support.wire import AnyWire, Listener

#: How a connection ends: with the last response saying so, in an orderly way without a word, or
#: with a reset.
How: TypeAlias = Literal["announced", "close", "reset"]
HOWS: list[How] = ["announced", "close", "reset"]


@dataclass(frozen=True)
class Ending:
    """How and when a connection ends.

    Attributes:
        after: so many responses are given in full.
        how: see `How`.
        cut: so many bytes of the next response are given too, if it is asked for: the first
            ones, or if negative all but the last ones.
    """

    after: int
    how: How = "close"
    cut: int = 0

    def __str__(self) -> str:
        return f"{self.how}-after-{self.after}" + (f"-cut{self.cut}" if self.cut else "")


@dataclass(frozen=True)
class Seen:
    """A request as it came.

    Attributes:
        connection: number of the connection, from 0.
        before: how many requests before it were unanswered when it had come.
        behind: how many bytes had come behind it when it was about to be answered.
    """

    connection: int
    request: ReceivedRequest
    before: int
    behind: int

    @property
    def target(self) -> str:
        return self.request.target

    @property
    def alone(self) -> bool:
        return not self.before and not self.behind


Answer: TypeAlias = Callable[[ReceivedRequest], bytes]


def name(request: ReceivedRequest) -> bytes:
    """What the body of a response says."""
    return f"{request.method} {request.target}".encode()


def answer(request: ReceivedRequest, *fields: bytes, body: bytes | None = None) -> bytes:
    """A response that names the request."""
    body = name(request) if body is None else body
    head = b"".join(field + b"\r\n" for field in (b"Content-Length: %d" % len(body), *fields))
    return b"HTTP/1.1 200 OK\r\n" + head + b"\r\n" + (b"" if request.method == "HEAD" else body)


def closing(response: bytes) -> bytes:
    """The same response, by which the server announces to close."""
    return response.replace(b"\r\n", b"\r\nConnection: close\r\n", 1)


class Last(bytes):
    """A response after which the connection ends, whether it says so or not."""


class Served(FarEnd):
    """One connection of a `Server`."""

    def __init__(self, server: Server, sock: socket.socket, number: int, client: int | None):
        context = server.wire.certificates.server if server.wire.tls else None
        super().__init__(sock, None, None, client, context)
        self._server = server
        self._number = number
        self._ending = server.ending_of(number)
        self._waiting: deque[tuple[ReceivedRequest, int]] = deque()
        self._answered = 0
        self._over = False  # what is to be said is said, but for what is in `_out`

    @property
    def is_open(self) -> bool:
        return self._socket_fd >= 0

    @property
    def _socket_fd(self) -> int:
        assert self._sock is not None
        return self._sock.fileno()

    def step(self) -> bool:
        self._mask = select.POLLIN
        if not self.is_open:
            return False
        if not self._shaken:
            return self._shake()
        try:
            return self._step()
        except ClientGone:
            self._sock_close()
            return True

    def _step(self) -> bool:
        if self._out:
            return self._flush()
        if self._over:
            self._end()
            return True
        if self._receive():
            self._parse()
            return True
        if self.saw_eof:
            self._sock_close()
            return True
        ending = self._ending
        if ending is not None and self._answered == ending.after and not ending.cut:
            self._over = True
            return True
        if not self._waiting:
            return False
        self._answer_one()
        while self._server.burst and self._waiting and not self._over:
            self._answer_one()
        self._flush()
        return True

    def _parse(self) -> None:
        while (parsed := parse_request(bytes(self._unread))) is not None:
            request, size = parsed
            del self._unread[:size]
            self._waiting.append((request, len(self._waiting)))

    def _answer_one(self) -> None:
        request, before = self._waiting.popleft()
        if self._server.drops and (self._waiting or self._unread):
            self._server.dropped += len(self._waiting)
            self._waiting.clear()
            self._unread.clear()
        behind = len(self._unread) + sum(len(other.head) for other, _ in self._waiting)
        self._server.log.append(Seen(self._number, request, before, behind))
        response = self._server.answer(request)
        ending = self._ending
        if ending is not None:
            if self._answered == ending.after:
                response = response[: ending.cut]
                self._over = True
            elif self._answered + 1 == ending.after and ending.how == "announced":
                response = closing(response)
        self._answered += 1
        self._encode(response)
        self._over |= isinstance(response, Last) or b"\r\nConnection: close\r\n" in response

    def _end(self) -> None:
        assert self._sock is not None
        if self._ending is not None and self._ending.how == "reset":
            linger = struct.pack("ii", 1, 0)
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        else:
            if self._tls is not None and not self.saw_eof:
                self._say_goodbye()
                while self._out and self._flush():
                    pass
            self._drain()
        self._hang_up()

    def end_now(self, how: How) -> None:
        """End at once, whatever was to be done."""
        self._parse_rest()
        self._ending = Ending(0, how)
        if self.is_open:
            self._end()

    def _parse_rest(self) -> None:
        while self.is_open and self._shaken and self._receive():
            self._parse()

    def _sock_close(self) -> None:
        assert self._sock is not None
        self._parse_rest()
        self._sock.close()

    def __str__(self) -> str:
        state = "open" if self.is_open else "closed"
        return f"connection {self._number} ({state}, {self._answered} answered)"


class Server(Peer):
    """The server.

    Args:
        wire: whose connections come.
        endings: how the first connections end; those after them as the last of these, if *again*,
            or else not at all.
        answer: what is answered.
        again: see above.
        burst: whether all that have come are answered in one step, in one piece.
        drops: whether it answers the first of those that have come, and drops the others.

    Attributes:
        log: the requests that were answered, in that order.
        dropped: how many were dropped.
        budget: so many steps are done, and no more; ``None`` for no limit.
    """

    def __init__(
        self,
        wire: AnyWire[Any],
        *endings: Ending | None,
        answer: Answer = answer,
        again: bool = True,
        burst: bool = False,
        drops: bool = False,
        listener: Listener | None = None,
    ) -> None:
        self.listener = listener or wire.listen()
        super().__init__(listener=self.listener._sock)
        self.wire = wire
        self.answer = answer
        self.log: list[Seen] = []
        self.budget: int | None = None
        self.connections: list[Served] = []
        self._endings = endings
        self._again = again
        self.burst = burst
        self.drops = drops
        self.dropped = 0
        self._closed = False
        self._epoll = select.epoll()
        self._epoll.register(self.listener._sock, select.EPOLLIN)
        wire.adopt_peer(self)

    def ending_of(self, number: int) -> Ending | None:
        if number < len(self._endings):
            return self._endings[number]
        return self._endings[-1] if self._endings and self._again else None

    @property
    def cuts(self) -> bool:
        """Whether any response may be cut."""
        return any(ending is not None and ending.cut for ending in self._endings)

    # What it saw.

    @property
    def targets(self) -> list[str]:
        return [seen.target for seen in self.log]

    def times(self, method: str = "") -> Counter[str]:
        """How often each target was asked for, in full or in part."""
        count: Counter[str] = Counter()
        for connection in self.connections:
            for line in bytes(connection.received).split(b"\r\n"):
                words = line.decode("latin-1").split(" ")
                if len(words) == 3 and words[2] == "HTTP/1.1" and words[0].startswith(method):
                    count[words[1]] += 1
        return count

    def whole(self, target: str) -> list[ReceivedRequest]:
        """The requests for this target that came in full, answered or not."""
        return [
            request
            for connection in self.connections
            for request in received(bytes(connection.received))
            if request.target == target
        ]

    def most_in_flight(self, connection: int | None = None) -> int:
        return max(seen.before + 1 for seen in self.log if connection in (None, seen.connection))

    def end_now(self, how: How) -> None:
        """End the newest connection at once, or the one that is coming."""
        self._accept_one()
        self.connections[-1].end_now(how)

    # What a peer does.

    @property
    def silent(self) -> bool:
        return self._closed or self.budget == 0

    @property
    def done(self) -> bool:
        return self.silent

    @property
    def idle(self) -> bool:
        return self.silent

    @property
    def fd(self) -> int | None:
        if self.silent:
            return None
        for connection in self.connections:
            if connection.is_open:
                self._epoll.modify(connection._socket_fd, connection.mask)
        return self._epoll.fileno()

    @property
    def mask(self) -> int:
        return select.POLLIN

    def step(self) -> bool:
        if self.silent:
            return False
        moved = self._accept_one() or any(served.step() for served in self.connections[-3:])
        if moved and self.budget is not None:
            self.budget -= 1
        return moved

    def _accept_one(self) -> bool:
        try:
            sock, address = self.listener._sock.accept()
        except BlockingIOError:
            return False
        served = Served(self, sock, len(self.connections), client_socket(address))
        served._alone = self._alone
        self.connections.append(served)
        self._epoll.register(sock, select.EPOLLIN)
        return True

    @contextmanager
    def in_company(self) -> Iterator[None]:
        self._set_alone(False)
        try:
            yield
        finally:
            self._set_alone(True)

    def _set_alone(self, alone: bool) -> None:
        self._alone = alone
        for connection in self.connections:
            connection._alone = alone

    def abandon(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._epoll.close()
        for connection in self.connections:
            if connection.is_open:
                connection._socket.close()

    def __str__(self) -> str:
        return f"server({', '.join(map(str, self.connections[-3:]))}; budget {self.budget})"


def received(data: bytes) -> Iterator[ReceivedRequest]:
    while (parsed := parse_request(data)) is not None:
        yield parsed[0]
        data = data[parsed[1] :]


def client_socket(address: object) -> int | None:
    """The descriptor of this process that is bound to *address*; the newest are tried first."""
    for fd in sorted(map(int, os.listdir("/dev/fd")), reverse=True):  # noqa: PTH208
        try:
            sock = socket.socket(fileno=fd)
        except OSError:
            continue
        try:
            if sock.getsockname() == address:
                return fd
        except OSError:
            pass
        finally:
            sock.detach()
    return None
