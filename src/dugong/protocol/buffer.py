"""The receive buffer, for heads, chunk lines, and data that arrives together with them."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING

from .limits import FIRST_BUFFER_SIZE, RECEIVE_SIZE

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer


class ReceiveBuffer:
    """Bytes that were received and not yet consumed.

    The buffer is small at first, because many connections never need more. It doubles when a
    receive has filled it. Up to `RECEIVE_SIZE` that saves system calls. Beyond that, it grows only
    if a single head fills it.

    Attributes:
        data: the storage. The bytes are between `start` and `end`, which are both 0 if there are
            none.
        view: a view of all of `data`.
        scanned: the index up to which `data` was searched for the end of a head or line, without
            finding it. So no byte is searched again when more arrive.
    """

    __slots__ = ("_filled", "data", "end", "scanned", "start", "view")

    def __init__(self) -> None:
        self.data = bytearray(FIRST_BUFFER_SIZE)
        self.view = memoryview(self.data)
        self.start = 0
        self.end = 0
        self.scanned = 0
        self._filled = False  # whether the last receive filled the buffer to its end

    def __len__(self) -> int:
        return self.end - self.start

    def room(self) -> memoryview:
        """Return a writable view of the free space behind the bytes. It is never empty.

        This may move the bytes. Views and indexes from before are not valid any more.
        """
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
        """Record that *count* bytes were received into `room`."""
        self.end += count
        self._filled = self.end == len(self.data)

    def consume(self, count: int) -> None:
        """Drop the first *count* bytes."""
        self.start += count
        if self.start == self.end:
            self.start = self.end = 0
        self.scanned = self.start

    def skip_to(self, start: int) -> None:
        """Drop all bytes before index *start*."""
        self.consume(start - self.start)

    def take(self, count: int) -> bytes:
        """Return and drop the first *count* bytes, or all if there are fewer."""
        end = self.start + count
        if end < self.end:
            data = bytes(self.view[self.start : end])
            self.start = self.scanned = end
        else:
            data = bytes(self.view[self.start : self.end])
            self.start = self.end = self.scanned = 0
        return data

    def find_line(self, limit: int) -> int:
        """Return the length of the first line, including its LF; -1 if its end has not arrived.

        At most *limit* bytes are searched.
        """
        stop = min(self.end, self.start + limit)
        found = self.data.find(b"\n", self.scanned, stop)
        if found >= 0:
            return found + 1 - self.start
        self.scanned = stop
        return -1


def writable_view(buf: WriteableBuffer) -> memoryview:
    """Return a flat view of the bytes of a buffer of any format and shape.

    Raises:
        TypeError: *buf* is not a buffer, or it is read-only or not contiguous.
    """
    try:
        view = memoryview(buf)
    except TypeError:
        raise TypeError(f"buf must be a writable buffer, not {type(buf).__name__}") from None
    if view.readonly:
        raise TypeError(f"buf must be a writable buffer, not a read-only {type(buf).__name__}")
    if view.format == "B" and view.ndim == 1 and view.c_contiguous:
        return view
    if not view.c_contiguous:
        raise TypeError("buf must be a writable buffer in one piece, not a slice with gaps")
    return view.cast("B") if view.nbytes else memoryview(b"")


class Gathered:
    """The bytes gathered by an interrupted `readall`, for the reads after it.

    Attributes:
        left: the number of bytes not yet taken.
    """

    __slots__ = ("_data", "_read", "left")

    def __init__(self) -> None:
        self._data = BytesIO()  # its `getvalue` does not copy the bytes
        self._read = 0
        self.left = 0

    def add(self, data: memoryview) -> None:
        """Append a copy of *data*."""
        self._data.seek(self._read + self.left)
        self.left += self._data.write(data)

    def take(self, count: int) -> bytes:
        """Return and drop the first *count* bytes, or all if there are fewer."""
        self._data.seek(self._read)
        data = self._data.read(count)
        self._read += len(data)
        self.left -= len(data)
        return data

    def take_all(self) -> bytes:
        """Return all bytes not yet taken. The object must not be used after this."""
        data = self._data.getvalue()
        return data[self._read :] if self._read else data
