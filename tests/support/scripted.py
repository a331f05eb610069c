"""A socket whose other end is a list of bytes, for tests that make connections by the thousand.

What arrives, in which pieces, and how the connection ends are the test's to say; whatever the
client sends is kept. Nothing happens behind the test's back: a piece arrives when `step` is
called, which `run` does whenever a coroutine waits.
"""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Literal, TypeVar

from dugong import POLLIN, ConnectionTimedOut, HTTPConnection, PollNeeded

T = TypeVar("T")
Co = Generator[PollNeeded, Any, T]

#: How a connection ends. "silence": nothing more comes, and the connection does not end.
End = Literal["silence", "close", "reset"]

#: Waits of one call. The tests' longest responses have fewer bytes.
GUARD = 1_000_000


class ScriptedSocket(socket.socket):
    """The near end of a connection.

    Its descriptor is always ready: that of a socket pair whose far end is closed. Only the calls
    tell what there is.

    Attributes:
        coming: the pieces that have not arrived.
        end: what follows the last piece.
        sent: what the client has sent.
        limit: how many bytes one call takes or gives at most, ``None`` for no limit.
        refuses: whether sending fails.
    """

    def __init__(self, pieces: Iterable[bytes] = (), end: End = "silence") -> None:
        near, far = socket.socketpair()
        far.close()
        super().__init__(fileno=near.detach())
        self.script(pieces, end)

    def script(self, pieces: Iterable[bytes], end: End) -> None:
        """Begin anew."""
        self.coming = deque(piece for piece in pieces if piece)
        self.end: End = end
        self.sent = b""
        self.limit: int | None = None
        self.refuses = False
        self._arrived = bytearray()
        self._ended: End = "silence"

    def step(self) -> bool:
        """Let the next piece, or the end, arrive. Returns whether there was any."""
        if self.coming:
            self._arrived += self.coming.popleft()
            return True
        ended, self._ended = self._ended, self.end
        return ended != self.end

    @property
    def is_readable(self) -> bool:
        """Whether a receiving call would not block."""
        return bool(self._arrived) or self._ended != "silence"

    def arrive(self, data: bytes = b"", end: End = "silence") -> None:
        """Let *data* arrive, and what else was to come before it."""
        self.coming.append(data)
        if self.end == "silence":
            self.end = end
        while self.step():
            pass

    def _take(self, count: int, flags: int) -> bytes:
        if self.limit is not None:
            count = min(count, self.limit)
        data = bytes(self._arrived[:count])
        if not flags & socket.MSG_PEEK:
            del self._arrived[: len(data)]
        if not data and self._ended == "silence":
            raise BlockingIOError
        if not data and self._ended == "reset":
            raise ConnectionResetError("reset by the script")
        return data

    def recv(self, bufsize: int, flags: int = 0) -> bytes:
        return self._take(bufsize, flags)

    def recv_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> int:
        data = self._take(nbytes or len(buffer), flags)
        buffer[: len(data)] = data
        return len(data)

    def send(self, data: Any, flags: int = 0) -> int:
        if self.refuses:
            raise BrokenPipeError("refused by the script")
        piece = bytes(data)[: self.limit]
        self.sent += piece
        return len(piece)

    def sendmsg(self, buffers: Iterable[Any], *args: Any) -> int:
        return self.send(b"".join(buffers))


@contextmanager
def scripted(
    pieces: Iterable[bytes] = (), end: End = "silence", host: str = "h", **options: Any
) -> Iterator[tuple[HTTPConnection, ScriptedSocket]]:
    """A connection, and the socket it is given; both are closed in the end."""
    with ScriptedSocket(pieces, end) as sock, HTTPConnection(host, sock=sock, **options) as conn:
        yield conn, sock


def run(crt: Co[T], sock: ScriptedSocket) -> T:
    """Resume *crt* to its end. Where it would wait for ever it gets a `ConnectionTimedOut`."""
    try:
        need = next(crt)
        for _ in range(GUARD):
            if need.mask != POLLIN or sock.is_readable or sock.step():
                need = next(crt)
            else:
                need = crt.throw(ConnectionTimedOut("nothing more comes"))
    except StopIteration as stop:
        result: T = stop.value
        return result
    raise AssertionError("it goes on and on, although nothing more comes")
