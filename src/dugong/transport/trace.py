"""``DUGONG_TRACEFILE``: all traffic of each connection, in a file of its own."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from itertools import count
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

#: The environment variable: a path, in which ``%d`` stands for a number.
VARIABLE = "DUGONG_TRACEFILE"


class Trace:
    """A file to which the traffic of one connection is written.

    It shows what was sent and received, before encryption and after decryption, credentials
    included, so only its owner can read it. A line above each piece tells direction and size.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def sent(self, pieces: Sequence[memoryview], count: int) -> None:
        """The first *count* bytes of *pieces* were sent."""
        sent = bytearray()
        for piece in pieces:
            sent += piece[: count - len(sent)]
        self._write(b"sent", bytes(sent))

    def received(self, data: ReadableBuffer) -> None:
        self._write(b"received", bytes(data))

    def _write(self, direction: bytes, data: bytes) -> None:
        try:
            os.write(self._fd, b"\n--- %s %d bytes ---\n%s" % (direction, len(data), data))
        except OSError:
            pass  # the disk is full, or no longer there: no reason for an exchange to fail

    # As an argument, because the names of a module may be gone when the interpreter shuts down.
    def close(self, close: Callable[[int], None] = os.close) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            close(fd)

    __del__ = close


def open_trace() -> Trace | None:
    """Open a new file for a connection's traffic, if the environment asks for one.

    No existing file is overwritten: a free number is looked for.

    Raises:
        OSError: it cannot be opened.
    """
    template = os.environ.get(VARIABLE)
    if not template:
        return None
    flags = os.O_WRONLY | os.O_CREAT | getattr(os, "O_BINARY", 0)
    if "%d" not in template:
        return Trace(os.open(template, flags | os.O_APPEND, 0o600))
    for number in count(1):
        try:
            return Trace(os.open(template.replace("%d", str(number)), flags | os.O_EXCL, 0o600))
        except FileExistsError:
            continue
    raise AssertionError("there is always another number")
