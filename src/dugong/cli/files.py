"""Files that get their name when they are complete, for what cannot be resumed.

`Client.download` stores what can. Here are the other bodies (of a POST, with their heads, with a
name from the response), archives and pictures. A file is written under a temporary name beside its
own, synced and renamed. A file that it replaces keeps its owner and permissions, without the bits
for setuid and setgid. What is no regular file, such as a device or a FIFO, is written directly.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path
from typing import Protocol

from .output import Failure, print_bytes, write


class Sink(Protocol):
    """Something to write to."""

    def write(self, data: bytes | memoryview) -> None: ...


class _StandardOutput:
    def write(self, data: bytes | memoryview) -> None:
        print_bytes(data)


class _File:
    """A file to write to.

    Raises:
        Failure: it cannot be written. Its name is in the message.
    """

    def __init__(self, file: FileIO, name: str) -> None:
        self.file = file
        self._name = name

    def write(self, data: bytes | memoryview) -> None:
        try:
            write(self.file, data)
        except OSError as exc:
            raise cannot_write(self._name, exc) from exc


def cannot_write(name: str | Path, exc: OSError) -> Failure:
    """Return the failure to raise for an error of a file."""
    return Failure(f"cannot write {name}: {exc.strerror or exc}")


def is_special(path: Path) -> bool:
    """Return whether something exists that is no regular file, and no directory."""
    try:
        mode = path.stat().st_mode
    except OSError:
        return False
    return not stat.S_ISREG(mode) and not stat.S_ISDIR(mode)


@contextmanager
def writing(path: Path | None, *, replace: bool = True) -> Iterator[Sink]:
    """Provide a sink. A file gets its name at the end of the context, unless that raises.

    Args:
        path: the path of the file, ``None`` for standard output.
        replace: whether an existing file is replaced.

    Raises:
        Failure: the file cannot be written, or exists.
        OutputFailure: standard output cannot be written to.
    """
    if path is None:
        yield _StandardOutput()
        return
    if replace and is_special(path):
        try:
            file = FileIO(path, "w")
        except OSError as exc:
            raise cannot_write(path, exc) from exc
        with file:
            yield _File(file, str(path))
        return
    target = Path(os.path.realpath(path)) if replace else path
    temporary = target.with_name(f".{os.urandom(8).hex()}.part")
    try:
        if target.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if target.exists():
            os.close(os.open(target, os.O_WRONLY))  # raises if it is read-only
        file = FileIO(os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666), "w")
    except OSError as exc:
        raise cannot_write(path, exc) from exc
    try:
        with file:
            yield _File(file, str(path))
            _finish(file.fileno(), temporary, target, replace)
    except OSError as exc:
        raise cannot_write(path, exc) from exc
    finally:
        with suppress(FileNotFoundError):
            temporary.unlink()


def _finish(fd: int, temporary: Path, target: Path, replace: bool) -> None:
    if replace and target.exists():
        before = target.stat()
        now = os.fstat(fd)
        if (before.st_uid, before.st_gid) != (now.st_uid, now.st_gid):
            os.fchown(fd, before.st_uid, before.st_gid)
        os.fchmod(fd, stat.S_IMODE(before.st_mode) & 0o1777)
    os.fsync(fd)
    if replace:
        temporary.replace(target)
        return
    try:
        os.link(temporary, target)  # unlike a rename, this never replaces a file
    except FileExistsError:
        raise
    except OSError:  # the file system has no links
        os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL))
        temporary.replace(target)


def store(name: str, data: bytes) -> None:
    """Write a file, or standard output if *name* is ``-``.

    Raises:
        Failure: the file cannot be written.
    """
    with writing(None if name == "-" else Path(name)) as sink:
        sink.write(data)
