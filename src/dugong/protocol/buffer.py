"""The receive buffer: heads, chunk lines, and what arrives together with them."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING

from .limits import FIRST_BUFFER_SIZE, RECEIVE_SIZE

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer


class ReceiveBuffer:
    """Bytes that were received and not yet consumed.

    It is small at first, because many connections never need more, and grows while what is
    received fills it: up to `RECEIVE_SIZE` to save system calls, beyond that for long heads only.

    Attributes:
        data: the storage; what it holds lies between `start` and `end`, both 0 if that is nothing.
        view: all of `data` as a view.
        scanned: how far `data` was searched in vain for the end of a head or line.
    """

    __slots__ = ("_filled", "data", "end", "scanned", "start", "view")

    def __init__(self) -> None:
        self.data = bytearray(FIRST_BUFFER_SIZE)
        self.view = memoryview(self.data)
        self.start = 0
        self.end = 0
        self.scanned = 0
        self._filled = False  # by what was received last

    def __len__(self) -> int:
        return self.end - self.start

    def room(self) -> memoryview:
        """Return a writable view of the free space behind the bytes; never an empty one."""
        if self._filled or self.end == len(self.data):
            self._make_room()
        return self.view[self.end :] if self.end else self.view

    def _make_room(self) -> None:
        held = bytes(self.view[self.start : self.end])
        if (self._filled and len(self.data) < RECEIVE_SIZE) or self.end - self.start == len(
            self.data
        ):
            self.data = bytearray(2 * len(self.data))
            self.view = memoryview(self.data)
        self.view[: len(held)] = held
        self.scanned -= self.start
        self.start, self.end = 0, len(held)
        self._filled = False

    def received(self, count: int) -> None:
        """*count* bytes were put into `room`."""
        self.end += count
        self._filled = self.end == len(self.data)

    def consume(self, count: int) -> None:
        """Drop *count* bytes from the front."""
        self.start += count
        if self.start == self.end:
            self.start = self.end = 0
        self.scanned = self.start

    def skip_to(self, start: int) -> None:
        """Drop all bytes before index *start*."""
        self.consume(start - self.start)

    def take(self, count: int) -> bytes:
        """Return and drop at most *count* bytes."""
        end = self.start + count
        if end < self.end:
            data = bytes(self.view[self.start : end])
            self.start = self.scanned = end
        else:
            data = bytes(self.view[self.start : self.end])
            self.start = self.end = self.scanned = 0
        return data

    def find_line(self, limit: int) -> int:
        """Return the length of the first line, line end included; -1 if its end has not arrived.

        No more than *limit* bytes are searched.
        """
        stop = min(self.end, self.start + limit)
        found = self.data.find(b"\n", self.scanned, stop)
        if found >= 0:
            return found + 1 - self.start
        self.scanned = stop
        return -1


def writable_view(buf: WriteableBuffer) -> memoryview:
    """View a buffer of any format and shape as flat bytes.

    Raises:
        TypeError: it is not a buffer, or not to be written to, or not in one piece.
    """
    try:
        view = memoryview(buf)
    except TypeError:
        raise TypeError(f"buf is a writable buffer, not {type(buf).__name__}") from None
    if view.readonly:
        raise TypeError(f"buf is a writable buffer, not a read-only {type(buf).__name__}")
    if view.format == "B" and view.ndim == 1 and view.c_contiguous:
        return view
    if not view.c_contiguous:
        raise TypeError("buf is a writable buffer in one piece, not a slice with gaps")
    return view.cast("B") if view.nbytes else memoryview(b"")


class Gathered:
    """What a `readall` has gathered when it is interrupted, for the reads that come after it.

    Attributes:
        left: how many bytes are not yet taken.
    """

    __slots__ = ("_data", "_read", "left")

    def __init__(self) -> None:
        self._data = BytesIO()  # gives its bytes without a second copy
        self._read = 0
        self.left = 0

    def add(self, data: memoryview) -> None:
        self._data.seek(self._read + self.left)
        self.left += self._data.write(data)

    def take(self, count: int) -> bytes:
        """Return and drop at most *count* bytes."""
        self._data.seek(self._read)
        data = self._data.read(count)
        self._read += len(data)
        self.left -= len(data)
        return data

    def take_all(self) -> bytes:
        data = self._data.getvalue()
        return data[self._read :] if self._read else data
