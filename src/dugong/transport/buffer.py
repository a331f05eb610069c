"""The receive buffer: heads, chunk lines, and what arrives together with them."""

from __future__ import annotations

from io import BytesIO

from ..protocol.limits import BUFFER_SIZE


class ReceiveBuffer:
    """Bytes that were received and not yet consumed.

    Attributes:
        data: the storage; what it holds lies between `start` and `end`.
        scanned: how far `data` was searched in vain for the end of a head or line.
    """

    __slots__ = ("_view", "data", "end", "scanned", "start")

    def __init__(self) -> None:
        self.data = bytearray(BUFFER_SIZE)
        self._view = memoryview(self.data)
        self.start = 0
        self.end = 0
        self.scanned = 0

    def __len__(self) -> int:
        return self.end - self.start

    def room(self) -> memoryview:
        """Return a writable view of the free space behind the bytes; never an empty one."""
        if self.end == len(self.data):
            held = bytes(self._view[self.start : self.end])
            if self.start == 0:
                self.data = bytearray(2 * len(self.data))
                self._view = memoryview(self.data)
            self._view[: len(held)] = held
            self.scanned -= self.start
            self.start, self.end = 0, len(held)
        return self._view[self.end :]

    def received(self, count: int) -> None:
        """*count* bytes were put into `room`."""
        self.end += count

    def consume(self, count: int) -> None:
        """Drop *count* bytes from the front."""
        self.start += count
        if self.start == self.end:
            self.start = self.end = 0
        self.scanned = self.start

    def take(self, count: int) -> bytes:
        """Return and drop at most *count* bytes."""
        data = bytes(self._view[self.start : min(self.start + count, self.end)])
        self.consume(len(data))
        return data

    def take_into(self, view: memoryview) -> int:
        """Move as many bytes as there are and fit into *view*; return their number."""
        count = min(len(view), self.end - self.start)
        view[:count] = self._view[self.start : self.start + count]
        self.consume(count)
        return count

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


class Gathered:
    """What a `readall` has gathered when it is interrupted, for the reads that come after it."""

    __slots__ = ("_data", "_read", "_size")

    def __init__(self) -> None:
        self._data = BytesIO()  # gives its bytes without a second copy
        self._read = 0
        self._size = 0

    def __len__(self) -> int:
        return self._size - self._read

    def add(self, data: memoryview) -> None:
        self._data.seek(self._size)
        self._size += self._data.write(data)

    def take(self, count: int) -> bytes:
        """Return and drop at most *count* bytes."""
        self._data.seek(self._read)
        data = self._data.read(count)
        self._read += len(data)
        return data

    def take_all(self) -> bytes:
        data = self._data.getvalue()
        return data[self._read :] if self._read else data
