"""Bytes that arrive in exactly the pieces a test wants, without anybody sending them in time.

The far end of a socket pair holds all bytes, and the end, from the beginning. The near end, which
the client is given, never receives across a boundary, and says once at each that nothing is there
yet. So a client waits as often as the bytes arrive, and never for long; what it then finds is
decided by nothing but the boundaries.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable, Iterator
from itertools import chain, count
from typing import Any

#: Bytes of a flood. It ends then, for a client that does not.
ENOUGH = 4 << 20


class SplitSocket(socket.socket):
    """Receives up to the next boundary, and there raises `BlockingIOError` once.

    Attributes:
        source: where the bytes come from.
        boundaries: the offsets where an arrival ends, in order.
    """

    source: Source
    boundaries: Iterator[int] = iter(())
    _received = 0
    _boundary: int | None = None

    def release(self) -> None:
        """From now on everything has arrived."""
        self._boundary = None

    def split(self, boundaries: Iterable[int]) -> None:
        self.boundaries = iter(boundaries)
        self._boundary = next(self.boundaries, None)

    def _room(self, wanted: int, flags: int) -> int:
        self.source.supply()
        if self._boundary is None:
            return wanted
        room = self._boundary - self._received
        if room == 0:
            if not flags & socket.MSG_PEEK:
                self._boundary = next(self.boundaries, None)
            raise BlockingIOError
        return min(room, wanted)

    def recv(self, bufsize: int, flags: int = 0) -> bytes:
        data = super().recv(self._room(bufsize, flags), flags)
        if not flags & socket.MSG_PEEK:
            self._received += len(data)
        return data

    def recv_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> int:
        size = self._room(nbytes or memoryview(buffer).nbytes, flags)
        received = super().recv_into(buffer, size, flags)
        if not flags & socket.MSG_PEEK:
            self._received += received
        return received


class Source:
    """Both ends of a connection on which a server's bytes lie ready.

    Args:
        data: the bytes.
        boundaries: where to split them.
        end: ``"close"`` to end the connection after them, ``"open"`` to leave it open.
        unit: what follows *data* again and again, until any client should have had `ENOUGH`.

    Attributes:
        near: the client's end.
        received: what the client has sent, as far as `look` has seen it.
        ended: whether `look` has seen the client end the connection.
    """

    def __init__(
        self, data: bytes, boundaries: Iterable[int] = (), end: str = "open", unit: bytes = b""
    ) -> None:
        near, self._far = socket.socketpair()
        self._far.setblocking(False)
        self.near = SplitSocket(fileno=near.detach())
        self.near.source = self
        self.near.split(boundaries)
        self.received = b""
        self.ended = False
        self._waiting = memoryview(data)
        self._unit = unit * (1 + 16384 // len(unit)) if unit else b""
        self._left = ENOUGH if unit else 0
        self._closes = end == "close"
        self.supply()

    def supply(self) -> None:
        """Give the system what it takes, so that what is to arrive does not depend on time."""
        while self._waiting or self._left > 0:
            if not self._waiting:
                self._waiting = memoryview(self._unit)
                self._left -= len(self._unit)
                self._closes = self._left <= 0
            try:
                sent = self._far.send(self._waiting)
            except BlockingIOError:
                return
            self._waiting = self._waiting[sent:]
        if self._closes:
            self._closes = False
            self._far.shutdown(socket.SHUT_WR)

    def look(self) -> None:
        """Take what the client has sent."""
        while not self.ended:
            try:
                data = self._far.recv(65536)
            except BlockingIOError:
                return
            except ConnectionResetError:  # it did not read all that was there
                data = b""
            self.received += data
            self.ended = not data

    def reply(self, data: bytes) -> None:
        """Send more, which arrives at once."""
        self._far.sendall(data)

    def close(self) -> None:
        self._far.close()
        self.near.close()


def splits(size: int, end: str) -> Iterator[Iterable[int]]:
    """Whole, byte by byte, and split in two at every offset; the end arrives with the last byte
    and after it."""
    offsets = range(1, size + (end == "close"))
    yield ()
    yield offsets
    for offset in offsets:
        yield (offset,)


def some_splits(size: int, end: str) -> Iterator[Iterable[int]]:
    """Whole, byte by byte, and split in two at a few offsets."""
    offsets = range(1, size + (end == "close"))
    yield ()
    yield offsets
    for offset in offsets[size % 16 :: 16]:
        yield (offset,)


def every(size: int) -> Iterator[int]:
    """Boundaries so many bytes apart, without end."""
    return chain(count(size, size))
