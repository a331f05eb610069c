"""The destinations of downloads: streams, and files that get their name when they are complete.

Partial downloads
=================

While NAME is being downloaded, its data is in the *part* NAME.part. The *note* NAME.part.json
describes the document of which that is the beginning. These rules hold at any time, even if the
process is killed:

1. A file with the final name is complete. It is flushed to the disk before it is renamed.
2. The note describes the part correctly. The part is emptied before the note changes, and filled
   after that.
3. Only dugong writes to a part, and only one process at a time: a process first locks a note that
   dugong has made. Other programs may have files with such names, too.
"""

from __future__ import annotations

import fcntl
import json
import os
import stat
from contextlib import contextmanager
from dataclasses import asdict
from io import FileIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from .output import Failure, print_bytes, size, write
from .ranges import Beginning, fingerprint

if TYPE_CHECKING:
    from collections.abc import Iterator

#: The signature of a note: its creator, and the version of its format.
_SIGNATURE = {"dugong": 1}

#: The maximum number of bytes that are read from a note. Our notes are much shorter.
_MAX_NOTE = 1 << 16

#: The maximum number of attempts to lock a note that its owner deletes in the same moment.
_MAX_LOCKS = 100


class Destination(Protocol):
    """The destination of a download. Ends with `finish` or `leave`.

    Attributes:
        received: how many bytes of the body have been stored.
        beginning: describes the document that they are the beginning of, ``None`` if the download
            cannot be resumed.
    """

    received: int
    beginning: Beginning | None

    def is_begun(self) -> bool:
        """Return whether there seems to be a partial download to `resume`."""

    def can_go_on(self) -> bool:
        """Return whether an interrupted download can still be completed."""

    def resume(self) -> None:
        """Continue the partial download of an earlier process, if possible. Raises as `begin`."""

    def begin(self, beginning: Beginning | None, head: bytes) -> None:
        """Start the download from the first byte, and drop any partial one.

        Args:
            beginning: describes the document, ``None`` if the download cannot be resumed.
            head: written before the body. Does not count as received.

        Raises:
            Failure: data has been written and cannot be taken back, or the file cannot be written.
        """

    def write(self, data: bytes | memoryview) -> None:
        """Write a part of the body. Raises as `begin`."""

    def finish(self) -> None:
        """Complete the download. Raises as `begin`."""

    def leave(self) -> str:
        """End the download incomplete. Returns how to continue it, ``""`` if that is impossible."""


@contextmanager
def _in_words(name: str) -> Iterator[None]:
    """Turn errors of the file system into a `Failure`, so that they do not pass as network errors.

    Args:
        name: the name of the file, for the message.
    """
    try:
        yield
    except OSError as exc:
        raise Failure(f"cannot write {name}: {exc.strerror}") from None


class Stream:
    """Standard output. Written data cannot be taken back."""

    def __init__(self) -> None:
        self.received = 0
        self.beginning: Beginning | None = None
        self._begun = False

    def is_begun(self) -> bool:
        return False

    def can_go_on(self) -> bool:
        return not self.received or self.beginning is not None

    def resume(self) -> None:
        pass

    def begin(self, beginning: Beginning | None, head: bytes) -> None:
        if self.received:
            raise Failure("the transfer was interrupted, and the server cannot resume it")
        self.beginning = beginning
        if not self._begun:
            self._begun = True
            self._write(head)

    def write(self, data: bytes | memoryview) -> None:
        self._write(data)
        self.received += len(data)

    def finish(self) -> None:
        pass

    def leave(self) -> str:
        return ""

    def _write(self, data: bytes | memoryview) -> None:
        print_bytes(data)


class Device(Stream):
    """A file that is not a regular file, such as a FIFO: a stream with a name."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self._name = name
        self._file: FileIO | None = None

    def _write(self, data: bytes | memoryview) -> None:
        with _in_words(self._name):
            if self._file is None:
                self._file = FileIO(self._name, "wb")
            write(self._file, data)

    def finish(self) -> None:
        if self._file is not None:
            with _in_words(self._name):
                self._file.close()

    def leave(self) -> str:
        if self._file is not None:
            self._file.close()
        return ""


class PartFile:
    """A regular file that is downloaded as a part.

    Args:
        name: the name of the file.
        request: a fingerprint of the request. A partial download of another request is not resumed.
    """

    def __init__(self, name: str, request: str) -> None:
        self.received = 0
        self.beginning: Beginning | None = None
        self._name = name
        self._request = request
        self._path = Path(os.path.realpath(name))
        stem = self._path.name
        if len(os.fsencode(f"{stem}.part.json")) > _longest_name(self._path.parent):
            stem = f"dugong-{fingerprint(stem)[:32]}"
        self._part = self._path.with_name(f"{stem}.part")
        self._note = self._path.with_name(f"{stem}.part.json")
        self._file: FileIO | None = None
        self._lock: FileIO | None = None
        self._said = name if self._path == Path(name).absolute() else str(self._path)

    # The methods of a `Destination`.

    def is_begun(self) -> bool:
        try:
            return self._note.exists() and self._part.exists()
        except OSError:
            return False

    def can_go_on(self) -> bool:
        return True

    def resume(self) -> None:
        with _in_words(self._name):
            if not self.is_begun():
                return
            self._own()
            assert self._lock is not None
            note, file = self._signed(self._lock), self._open_part()
            there = file.seek(0, os.SEEK_END)
            owners = {os.fstat(one.fileno()).st_uid for one in (file, self._lock)}
        if note is None or owners != {os.geteuid()}:  # another user may have changed the files
            return
        beginning = _parse(note, self._request)
        if beginning is not None and 0 < there <= (beginning.length or there):
            self.received = there
            self.beginning = beginning

    def begin(self, beginning: Beginning | None, head: bytes) -> None:
        with _in_words(self._name):
            self._own()
            file = self._open_part()
            file.truncate(0)
            file.seek(0)
            self.received = 0
            self.beginning = None if head else beginning
            self._write_note()
            write(file, head)

    def write(self, data: bytes | memoryview) -> None:
        assert self._file is not None
        try:
            write(self._file, data)
        except OSError as exc:
            raise Failure(f"cannot write {self._name}: {exc.strerror}") from None
        self.received += len(data)

    def finish(self) -> None:
        assert self._file is not None
        with _in_words(self._name):
            try:
                os.fsync(self._file.fileno())
            except OSError:
                self.beginning = None  # it is unknown which data has reached the disk
                raise
            self._part.replace(self._path)
            self._note.unlink()
        self._close()

    def leave(self) -> str:
        if self._lock is None:
            return ""
        there = self._file is not None and self._file.seek(0, os.SEEK_END)
        keep = self.beginning is not None and bool(there)
        if not keep:
            if self._file is not None:
                self._part.unlink(missing_ok=True)
            self._note.unlink(missing_ok=True)
        self._close()
        return f"--continue resumes {self._said_of(self._part)} ({size(there)})" if keep else ""

    # The two files.

    def _said_of(self, path: Path) -> str:
        return str(Path(self._said).with_name(path.name))

    def _own(self) -> None:
        """Lock the note. Creates it if necessary.

        Raises:
            Failure: another process has locked it, or dugong has not created one of the files.
        """
        if self._lock is not None:
            return
        if self._mode() is not None:
            self._path.open("r+b").close()  # raises if it may not be written
        lock = self._locked_note()
        try:
            if self._signed(lock):
                self._lock = lock
                return
            if os.fstat(lock.fileno()).st_size:
                self._not_ours(self._note)
            if os.path.lexists(self._part):
                self._note.unlink()
                self._not_ours(self._part)
            self._lock = lock
            self._write_note()
        except BaseException:
            lock.close()
            raise

    def _not_ours(self, path: Path) -> None:
        raise Failure(f"{self._said_of(path)} was not created by dugong: move it out of the way")

    def _locked_note(self) -> FileIO:
        for _ in range(_MAX_LOCKS):
            lock = _open(self._note)
            try:
                _flock(lock)
                if os.path.samestat(os.fstat(lock.fileno()), os.lstat(self._note)):
                    return lock
            except BlockingIOError:
                lock.close()
                raise Failure(
                    f"another dugong is writing {self._said}: wait until it has finished"
                ) from None
            except FileNotFoundError:
                pass
            except BaseException:
                lock.close()
                raise
            lock.close()
        raise Failure(f"other processes keep writing {self._said}: wait until they have finished")

    def _signed(self, lock: FileIO) -> dict[str, Any] | None:
        """Return the content of a note, ``None`` if dugong has not written it."""
        try:
            note = json.loads(os.pread(lock.fileno(), _MAX_NOTE, 0).partition(b"\n")[0])
        except ValueError:
            return None
        if not isinstance(note, dict) or note.items() & _SIGNATURE.items() != _SIGNATURE.items():
            return None
        return note

    def _write_note(self) -> None:
        assert self._lock is not None
        note: dict[str, Any] = {**_SIGNATURE, "request": self._request}
        if self.beginning is not None:
            note["beginning"] = asdict(self.beginning)
        data = json.dumps(note).encode() + b"\n"
        # Only the first line of a note counts. So the note is valid at any moment, even before
        # the rest of an older, longer one is cut off.
        os.pwrite(self._lock.fileno(), data, 0)
        self._lock.truncate(len(data))

    def _open_part(self) -> FileIO:
        if self._file is None:
            self._file = _open(self._part)
            mode = self._mode()
            if mode is not None:
                os.fchmod(self._file.fileno(), mode)
        return self._file

    def _mode(self) -> int | None:
        """Return the permissions of an existing file with the final name, ``None`` without one."""
        try:
            return stat.S_IMODE(self._path.stat().st_mode)
        except FileNotFoundError:
            return None

    def _close(self) -> None:
        for file in (self._file, self._lock):
            if file is not None:
                file.close()
        self._file = self._lock = None


def _longest_name(directory: Path) -> int:
    try:
        return os.pathconf(directory, "PC_NAME_MAX")
    except OSError:  # opening the file reports the error
        return 255


def _open(path: Path) -> FileIO:
    """Open a file for reading and writing. Creates it if necessary. Does not follow symlinks."""
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    return FileIO(os.open(path, flags, 0o666), "r+b")


def _flock(file: FileIO) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError:  # some file systems do not support locks: continue without one
        pass


def _parse(note: dict[str, Any], request: str) -> Beginning | None:
    """Return the description of the document in a note, ``None`` if it is for another request."""
    match note:
        case {
            "request": noted,
            "beginning": {
                "source": str(source),
                "field": str(field),
                "validator": str(validator),
                "length": int() | None as length,
            },
        } if noted == request:
            return Beginning(source, field, validator, length)
    return None


def destination(name: str | None, request: str) -> Destination:
    """Return the destination of a download.

    Args:
        name: the name of a file, ``None`` for standard output.
        request: see `PartFile`.
    """
    if name is None:
        return Stream()
    try:
        is_regular = stat.S_ISREG(Path(name).stat().st_mode)
    except OSError:  # it does not exist, or is not accessible: opening it reports the error
        is_regular = True
    return PartFile(name, request) if is_regular else Device(name)
