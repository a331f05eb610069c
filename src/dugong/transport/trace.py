"""``DUGONG_TRACEFILE``: all traffic of each connection, in a file of its own.

A trace shows credentials, and its path is often in a directory that others can write to, such as
``/tmp``. So it only goes to a regular file that belongs to this user, has one name, and is
accessible to nobody else; or to a character device, such as ``/dev/tty``, which stores nothing. A
file that exists and is not like that is refused. Changing its mode would not be enough: a process
that has opened it before can read everything that is written later.
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
    """A file to which the traffic of one connection is written.

    It shows what was sent and received, before encryption and after decryption, credentials
    included. A line above each piece gives direction and size.

    Attributes:
        fd: its descriptor, -1 once it is closed.
    """

    def __init__(self, fd: int) -> None:
        self.fd = fd

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
            os.write(self.fd, b"\n--- %s %d bytes ---\n%s" % (direction, len(data), data))
        except OSError:
            pass  # the disk is full, or no longer there: no reason for an exchange to fail

    # As an argument, because the names of a module may be gone when the interpreter shuts down.
    def close(self, close: Callable[[int], None] = os.close) -> None:
        fd, self.fd = self.fd, -1
        if fd >= 0:
            close(fd)

    __del__ = close


def open_trace() -> Trace | None:
    """Open a new file for a connection's traffic, if the environment asks for one.

    With a ``%d``, this is a new file, with the first number that is free. Without, an existing
    file is continued.

    Raises:
        OSError: it cannot be opened, or is refused.
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


#: A pipe without a reader must not make this wait, nor a terminal become that of this process.
_FLAGS = os.O_WRONLY | os.O_CREAT
for _name in ("O_NOFOLLOW", "O_NONBLOCK", "O_NOCTTY", "O_BINARY"):  # some systems lack some
    _FLAGS |= getattr(os, _name, 0)


def _open(path: str, flags: int) -> Trace:
    try:
        trace = Trace(os.open(path, _FLAGS | flags, 0o600))
    except OSError as exc:
        if exc.errno in (errno.ELOOP, errno.EMLINK):  # what O_NOFOLLOW fails with
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
    """Return why a file must not receive a trace, ``None`` if it may."""
    if stat.S_ISCHR(status.st_mode):
        return None  # only the administrator can make one
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
