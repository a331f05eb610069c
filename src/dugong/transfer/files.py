"""Where downloads go: files that get their name when they are complete, and open binary files.

Partial downloads
=================

While NAME is being downloaded, its data is in the *part* NAME.part, and the *note* NAME.part.json
describes what that is: the URL, the version, and which bytes are there. These rules hold at any
time, even if the process is killed:

1. A file with the final name is complete. It is flushed to the disk before it is renamed.
2. The note describes the part correctly. The part is emptied before the note changes, and filled
   after that. Bytes are noted after they were written. Without a list of ranges, the part is the
   beginning of the resource.
3. Only dugong writes to a part, and only one process at a time: a process first locks a note that
   dugong has made. Other programs may have files with such names, too.
4. A part is only continued for the same URL. Part and note must be regular files that belong to
   this user and have no other names, and they are never symlinks.
5. A small resource of known length needs neither. Its data stays in memory until it is complete:
   the thread that flushes the file also creates it, because that takes as long. The file has no
   name before it is flushed, where the system supports that (``O_TMPFILE``).

Replacing a file
================

A new file has the usual permissions. One that replaces another keeps its owner and permissions,
without the bits for setuid and setgid. If the owner cannot be kept, or the directory cannot be
written, the existing file is overwritten in place instead, from a temporary copy that is complete.
"""

from __future__ import annotations

import json
import os
import stat
import tempfile
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from ..errors import StateError
from .digests import new_hash
from .received import Received
from .versions import Version

_fcntl: Any
try:
    import fcntl as _fcntl
except ImportError:  # Windows has no such locks
    _fcntl = None

if TYPE_CHECKING:
    from collections.abc import Iterable

    from _typeshed import ReadableBuffer

#: The signature of a note: its creator, and the version of its format.
_SIGNATURE = {"dugong": 2}

#: The most bytes that are read from a note. Ours are much shorter.
_MAX_NOTE = 1 << 20

#: The most attempts to lock a note that its owner deletes in the same moment.
_MAX_LOCKS = 100

#: Up to this many bytes, a resource is small: losing it costs less than a part and a note.
_SMALL = 1 << 20

#: Bytes read at a time, to hash a file or to copy it.
_BLOCK = 1 << 20


class Target:
    """Where a download goes.

    Attributes:
        received: the bytes that are there.
        version: the version of the resource that they belong to, ``None`` if the download cannot
            be resumed.
        path: the path of the file, ``None`` for an open file.
        seekable: whether bytes can be written in any order.
    """

    path: Path | None = None
    seekable = False

    def __init__(self) -> None:
        self.received = Received()
        self.version: Version | None = None

    def begin(self, version: Version | None, length: int | None, *, in_parts: bool) -> None:
        """Start from the first byte, and drop all that has been received.

        Args:
            version: the version, ``None`` if the download cannot be resumed.
            length: the number of bytes to come, ``None`` if it is unknown.
            in_parts: whether they come in any order.

        Raises:
            OSError: the file cannot be written.
            StateError: written data cannot be taken back, or another process is at work.
        """
        raise NotImplementedError

    def write(self, offset: int, data: memoryview) -> None:
        """Write a part of the resource."""
        raise NotImplementedError

    def hash(self, names: Iterable[str]) -> dict[str, bytes]:
        """Return the digests of the whole resource. Blocks."""
        raise NotImplementedError

    def finish(self, modified: float | None) -> None:
        """Complete the download. Blocks.

        Args:
            modified: when the resource was modified, in seconds since 1970, or ``None``.
        """

    def leave(self) -> None:
        """End the download incomplete."""


class OpenFile(Target):
    """A binary file of the caller's, written from its position.

    Args:
        file: the file.
        names: the algorithms of digests that may be needed.
    """

    def __init__(self, file: BinaryIO, names: Iterable[str]) -> None:
        super().__init__()
        self._file = file
        self._names = tuple(names)
        self._start: int | None = None
        with suppress(OSError, ValueError, AttributeError):
            if file.seekable():
                self._start = file.tell()
        self._hashes: dict[str, Any] = {}

    def begin(self, version: Version | None, length: int | None, *, in_parts: bool) -> None:
        if self.received.size:
            if self._start is None:
                raise StateError(
                    "the download has to start again, but target cannot seek: pass a path, or a "
                    "file that can"
                )
            self._file.seek(self._start)
            self._file.truncate()
        self.received = Received()
        self.version = version
        self._hashes = {name: new_hash(name) for name in self._names}

    def write(self, offset: int, data: memoryview) -> None:
        end = offset + len(data)
        for each in self._hashes.values():
            each.update(data)
        while len(data):
            count: int | None = self._file.write(data)
            data = data[len(data) if count is None else count :]
        self.received.add(offset, end)

    def hash(self, names: Iterable[str]) -> dict[str, bytes]:
        return {name: self._hashes[name].digest() for name in names}

    def finish(self, modified: float | None) -> None:
        with suppress(AttributeError):
            self._file.flush()


class NamedFile(Target):
    """A file that gets its name when it is complete.

    Args:
        path: the path.
        url: the URL of the resource, without user information.
    """

    seekable = True

    def __init__(self, path: str | os.PathLike[str], url: str) -> None:
        super().__init__()
        self.path = Path(path)
        self._url = url
        self._path = Path(os.path.realpath(path))
        stem = self._path.name
        if len(os.fsencode(f"{stem}.part.json")) > _longest_name(self._path.parent):
            stem = f"dugong-{sha256(os.fsencode(stem)).hexdigest()[:32]}"
        self._part = self._path.with_name(f"{stem}.part")
        self._note = self._path.with_name(f"{stem}.part.json")
        self._fd = -1
        self._note_fd = -1
        self._in_parts = False
        self._in_place = False
        self._memory: bytearray | None = None  # see rule 5

    def existing(self) -> os.stat_result | None:
        """Return what is known of the file that the download replaces, ``None`` without one.

        Raises:
            StateError: it is not a regular file.
        """
        try:
            found = self._path.stat()
        except FileNotFoundError:
            return None
        if not stat.S_ISREG(found.st_mode):
            raise StateError(f"target is not a regular file: {self._path}")
        return found

    def hash_existing(self, names: Iterable[str]) -> dict[str, bytes]:
        """Return the digests of the file that the download would replace. Blocks."""
        with self._path.open("rb") as file:
            return _hash(file.fileno(), names)

    def resume(self) -> bool:
        """Continue the partial download of an earlier process, if there is one.

        Raises:
            OSError: a file cannot be opened.
            StateError: another process is downloading the file, or a file is not ours.
        """
        if not (os.path.lexists(self._note) and os.path.lexists(self._part)):
            return False
        self._own()
        note = self._read_note()
        self._fd = _open(self._part)
        size = os.fstat(self._fd).st_size
        if note is None or not (_is_ours(self._fd) and _is_ours(self._note_fd)):
            return False
        found = _parse(note, self._url)
        if found is None:
            return False
        version, ranges = found
        received = Received([(0, size)] if ranges is None else ranges)
        most = size if version.length is None else version.length
        if not received.size or received.ranges[-1][1] > min(most, size):
            return False
        self._in_parts = ranges is not None
        self.version, self.received = version, received
        return True

    def begin(self, version: Version | None, length: int | None, *, in_parts: bool) -> None:
        self._in_parts = in_parts
        self.received = Received()
        self.version = version
        if self._fd < 0 and self._note_fd < 0:
            self._choose_kind(length)
        if self._memory is not None:
            return
        if self._in_place:
            os.ftruncate(self._fd, 0)
            return
        self._own()
        self._open_part()
        self._write_note()

    def _open_part(self) -> None:
        if self._fd < 0:
            self._fd = _open(self._part)
            self._check_ours(self._fd, self._part)
        os.ftruncate(self._fd, 0)

    def _choose_kind(self, length: int | None) -> None:
        """Decide where the data goes if it does not go into a part."""
        before = self.existing()
        directory = self._path.parent
        if before is not None:
            os.close(os.open(self._path, os.O_WRONLY | os.O_CLOEXEC))  # raises if it is read-only
            if not os.access(directory, os.W_OK) or not _can_keep_owner(before):
                fd, name = tempfile.mkstemp(prefix="dugong-")
                Path(name).unlink()
                self._fd, self._in_place = fd, True
                return
        self._memory = bytearray() if length is not None and length <= _SMALL else None

    def write(self, offset: int, data: memoryview) -> None:
        end = offset + len(data)
        if self._memory is None:
            _write_all(self._fd, data, offset)
        else:
            self._memory[offset:end] = data
        self.received.add(offset, end)

    def save(self) -> None:
        """Note which bytes are there, if they came in any order."""
        if self._in_parts and self._note_fd >= 0:
            self._write_note()

    def split(self) -> None:
        """Prepare for bytes in any order."""
        self._in_parts = True
        self.save()

    def hash(self, names: Iterable[str]) -> dict[str, bytes]:
        if self._memory is None:
            return _hash(self._fd, names)
        hashes = {name: new_hash(name) for name in names}
        for each in hashes.values():
            each.update(self._memory)
        return {name: each.digest() for name, each in hashes.items()}

    def finish(self, modified: float | None) -> None:
        before = self.existing()
        if self._in_place:
            self._overwrite(modified)
        else:
            is_anonymous = self._memory is not None and self._store(self._memory)
            if before is not None and hasattr(os, "fchown"):
                if (before.st_uid, before.st_gid) != _owner(self._fd):
                    os.fchown(self._fd, before.st_uid, before.st_gid)
                os.fchmod(self._fd, stat.S_IMODE(before.st_mode) & 0o1777)
            _set_time(self._fd, modified)
            try:
                os.fsync(self._fd)
            except OSError:
                self.version = None  # it is unknown which data has reached the disk
                raise
            self._give_name(is_anonymous, replaces=before is not None)
        self._close()

    def _store(self, data: bytearray) -> bool:
        """Write *data* to a new file. Returns whether that has no name."""
        is_anonymous = False
        if hasattr(os, "O_TMPFILE"):
            with suppress(OSError):  # some file systems do not support it
                flags = os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC
                self._fd = os.open(self._path.parent, flags, 0o666)
                is_anonymous = Path(f"/proc/self/fd/{self._fd}").exists()
                if not is_anonymous:
                    os.close(self._fd)
                    self._fd = -1
        if not is_anonymous:
            self._own()
            self._open_part()
        _write_all(self._fd, memoryview(data), 0)
        return is_anonymous

    def _give_name(self, is_anonymous: bool, *, replaces: bool) -> None:
        if not is_anonymous:
            if not hasattr(os, "fchown"):  # Windows does not rename open files
                os.close(self._fd)
                self._fd = -1
            self._part.replace(self._path)
            self._note.unlink()
            return
        # With a directory, Python calls linkat, which follows this link to the file. The path is
        # absolute, so it does not matter which.
        source, any_fd = f"/proc/self/fd/{self._fd}", self._fd
        if not replaces:
            with suppress(FileExistsError):  # it has just come into being
                os.link(source, self._path, src_dir_fd=any_fd)
                return
        # A link does not replace a file, so it needs another name for a moment.
        temporary = self._path.with_name(f".{os.urandom(8).hex()}.part")
        os.link(source, temporary, src_dir_fd=any_fd)
        temporary.replace(self._path)

    def _overwrite(self, modified: float | None) -> None:
        fd = os.open(self._path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            at = 0
            while block := _read_at(self._fd, _BLOCK, at):
                _write_all(fd, memoryview(block), at)
                at += len(block)
            os.ftruncate(fd, at)
            _set_time(fd, modified)
            os.fsync(fd)
        finally:
            os.close(fd)

    def leave(self) -> None:
        keep = self.version is not None and bool(self.received.size)
        if self._note_fd >= 0:
            if keep:
                self.save()
            else:
                self._part.unlink(missing_ok=True)
                self._note.unlink(missing_ok=True)
        self._close()

    # The two files.

    def _own(self) -> None:
        """Lock the note. Creates it if necessary.

        Raises:
            StateError: another process has locked it, or dugong has not made one of the files.
        """
        if self._note_fd >= 0:
            return
        self._note_fd = self._locked_note()
        try:
            if self._read_note() is None:
                if os.fstat(self._note_fd).st_size:
                    raise _not_ours(self._note)
                if os.path.lexists(self._part):
                    self._note.unlink()
                    raise _not_ours(self._part)
                self._write_note()
            self._check_ours(self._note_fd, self._note)
        except BaseException:
            os.close(self._note_fd)
            self._note_fd = -1
            raise

    def _check_ours(self, fd: int, path: Path) -> None:
        if not _is_ours(fd):
            raise _not_ours(path)

    def _locked_note(self) -> int:
        for _ in range(_MAX_LOCKS):
            fd = _open(self._note)
            try:
                _lock(fd)
                if os.path.samestat(os.fstat(fd), os.lstat(self._note)):
                    return fd
            except BlockingIOError:
                os.close(fd)
                raise StateError(
                    f"another process is downloading {self._path}: wait until it has finished"
                ) from None
            except FileNotFoundError:
                pass
            except BaseException:
                os.close(fd)
                raise
            os.close(fd)
        raise StateError(
            f"other processes keep downloading {self._path}: wait until they have finished"
        )

    def _read_note(self) -> dict[str, Any] | None:
        """Return the content of the note, ``None`` if dugong has not written it."""
        try:
            note = json.loads(_read_at(self._note_fd, _MAX_NOTE, 0).partition(b"\n")[0])
        except ValueError:
            return None
        if not isinstance(note, dict) or note.get("dugong") not in (1, 2):
            return None
        return note

    def _write_note(self) -> None:
        note: dict[str, Any] = {**_SIGNATURE, "url": self._url}
        if self.version is not None:
            version = self.version
            note["version"] = [version.field, version.validator, version.length]
            note["ranges"] = self.received.ranges if self._in_parts else None
        data = json.dumps(note).encode() + b"\n"
        # Only the first line of a note counts. So the note is valid at any moment, even before
        # the rest of an older, longer one is cut off.
        _write_at(self._note_fd, data, 0)
        os.ftruncate(self._note_fd, len(data))

    def _close(self) -> None:
        for fd in (self._fd, self._note_fd):
            if fd >= 0:
                os.close(fd)
        self._fd = self._note_fd = -1


def _write_at(fd: int, data: ReadableBuffer, offset: int) -> int:
    """Write to a position. Windows has no `os.pwrite`."""
    if hasattr(os, "pwrite"):
        return os.pwrite(fd, data, offset)
    os.lseek(fd, offset, os.SEEK_SET)
    return os.write(fd, data)


def _write_all(fd: int, data: memoryview, offset: int) -> None:
    while data:
        count = _write_at(fd, data, offset)
        offset += count
        data = data[count:]


def _read_at(fd: int, size: int, offset: int) -> bytes:
    if hasattr(os, "pread"):
        return os.pread(fd, size, offset)
    os.lseek(fd, offset, os.SEEK_SET)
    return os.read(fd, size)


def _not_ours(path: Path) -> StateError:
    return StateError(f"{path} was not made by dugong: move it out of the way")


def _open(path: Path) -> int:
    """Open a file for reading and writing. Creates it if necessary. Does not follow symlinks."""
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
    return os.open(path, flags | getattr(os, "O_BINARY", 0), 0o666)


def _is_ours(fd: int) -> bool:
    found = os.fstat(fd)
    is_own = not hasattr(os, "geteuid") or found.st_uid == os.geteuid()
    return stat.S_ISREG(found.st_mode) and found.st_nlink == 1 and is_own


def _owner(fd: int) -> tuple[int, int]:
    found = os.fstat(fd)
    return found.st_uid, found.st_gid


def _can_keep_owner(before: os.stat_result) -> bool:
    if not hasattr(os, "geteuid") or os.geteuid() == 0:
        return True
    return before.st_uid == os.geteuid() and before.st_gid in {os.getegid(), *os.getgroups()}


def _set_time(fd: int, modified: float | None) -> None:
    if modified is not None and os.utime in os.supports_fd:
        os.utime(fd, (modified, modified))


def _hash(fd: int, names: Iterable[str]) -> dict[str, bytes]:
    hashes = {name: new_hash(name) for name in names}
    at = 0
    while block := _read_at(fd, _BLOCK, at):
        for each in hashes.values():
            each.update(block)
        at += len(block)
    return {name: each.digest() for name, each in hashes.items()}


def _longest_name(directory: Path) -> int:
    try:
        return os.pathconf(directory, "PC_NAME_MAX")
    except (OSError, AttributeError):  # opening the file reports the error
        return 255


def _lock(fd: int) -> None:
    if _fcntl is None:
        return
    try:
        _fcntl.flock(fd, _fcntl.LOCK_EX | _fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError:  # some file systems do not support locks: continue without one
        pass


def _parse(note: dict[str, Any], url: str) -> tuple[Version, list[tuple[int, int]] | None] | None:
    """Return the version and the ranges in a note, ``None`` if it is for another URL."""
    match note:
        case {
            "url": noted,
            "version": [str(field), str(validator), (int() | None) as length],
            "ranges": None,
        } if noted == url:
            return Version(field, validator, length), None
        case {
            "url": noted,
            "version": [str(field), str(validator), int(length)],
            "ranges": [*ranges],
        } if noted == url:
            try:
                pairs = [(int(first), int(end)) for first, end in ranges]
            except (TypeError, ValueError):
                return None
            if any(not 0 <= first < end <= length for first, end in pairs):
                return None
            return Version(field, validator, length), pairs
    return None
