"""``DUGONG_TRACEFILE``: a file with all traffic of each connection.

A trace contains credentials, and its path is often in a directory that others can write to, such as
``/tmp``. So it is written only to a regular file that belongs to this user, has one name, and is
not accessible to any other user; or to a character device, such as ``/dev/tty``, which stores
nothing. Any other existing file is refused. Changing its mode would not be enough: a process that
opened it earlier could read everything written later.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Sequence
from itertools import count
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

#: The environment variable: a path, in which ``%d`` stands for a number.
VARIABLE = "DUGONG_TRACEFILE"


class Trace:
    """A file that records the traffic of one connection.

    It contains the bytes sent, before encryption, and received, after decryption, including
    credentials. A line before each piece gives its direction and size.

    Attributes:
        fd: the descriptor, -1 once it is closed.
    """

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def sent(self, pieces: Sequence[memoryview], count: int) -> None:
        """Record that the first *count* bytes of *pieces* were sent."""
        sent = bytearray()
        for piece in pieces:
            sent += piece[: count - len(sent)]
        self._write(b"sent", bytes(sent))

    def received(self, data: ReadableBuffer) -> None:
        """Record that *data* was received."""
        self._write(b"received", bytes(data))

    def _write(self, direction: bytes, data: bytes) -> None:
        try:
            os.write(self.fd, b"\n--- %s %d bytes ---\n%s" % (direction, len(data), data))
        except OSError:
            pass  # a full or missing disk must not make an exchange fail

    # A default argument, because the names of the module may be cleared while the interpreter
    # shuts down.
    def close(self, close: Callable[[int], None] = os.close) -> None:
        fd, self.fd = self.fd, -1
        if fd >= 0:
            close(fd)

    __del__ = close


def open_trace() -> Trace | None:
    """Open the trace file for a new connection, if the environment variable is set.

    If its value contains ``%d``, this creates a file with the first number that is free.
    Otherwise, it appends to an existing file.

    Returns:
        ``None`` if the variable is not set.

    Raises:
        OSError: the file cannot be opened, or is refused.
    """
    template = os.environ.get(VARIABLE)
    if not template:
        return None
    if "%d" not in template:
        return _open(template, os.O_APPEND)
    for number in count(1):
        try:
            return _open(template.replace("%d", str(number)), os.O_EXCL)
        except FileExistsError:
            continue
    raise AssertionError("there is always another number")


#: O_NONBLOCK: opening a pipe without a reader must not block. O_NOCTTY: a terminal must not become
#: the controlling terminal of this process.
_FLAGS = os.O_WRONLY | os.O_CREAT
for _name in ("O_NOFOLLOW", "O_NONBLOCK", "O_NOCTTY", "O_BINARY"):  # not every system has all
    _FLAGS |= getattr(os, _name, 0)


def _open(path: str, flags: int) -> Trace:
    try:
        trace = Trace(os.open(path, _FLAGS | flags, 0o600))
    except OSError as exc:
        if exc.errno in (errno.ELOOP, errno.EMLINK):  # O_NOFOLLOW found a symbolic link
            raise _refused("is a symbolic link", path) from None
        raise
    try:
        fault = _fault(os.fstat(trace.fd))
        if fault is not None:
            raise _refused(fault, path)
    except BaseException:
        trace.close()
        raise
    return trace


def _refused(fault: str, path: str) -> PermissionError:
    return PermissionError(errno.EPERM, f"{VARIABLE} is refused, because it {fault}", path)


def _fault(status: os.stat_result) -> str | None:
    """Return why a file must not receive a trace; ``None`` if it may."""
    if stat.S_ISCHR(status.st_mode):
        return None  # only an administrator can create one
    if not stat.S_ISREG(status.st_mode):
        return "is not a regular file"
    if status.st_nlink != 1:
        return "has several names (hard links)"
    if not hasattr(os, "geteuid"):  # Windows: the directory decides who can read its files
        return None
    if status.st_uid != os.geteuid():
        return "belongs to another user"
    if status.st_mode & 0o077:
        return f"is accessible to others: its mode is {stat.S_IMODE(status.st_mode):o}, not 600"
    return None
