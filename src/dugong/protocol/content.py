"""Request bodies that are given whole: `Flat` bytes, a `PlainFile`, or `Pieces` one by one.

Each knows its length, if anybody does, and whether it can be sent again. What is *replayable*
(bytes, a file that can seek) can; what is *one-shot* (any other iterable or file) is gone once a
part of it was taken, and is refused when it is given again.

A sender calls `Content.take` until that returns nothing, and notes in `sent` how much of it went
out; then it calls `settle`. A body that is not as long as announced is found out before its last
byte is given away, so that no server takes a part of it for the whole.

Files
=====

Only of a plain file is it certain that the descriptor gives what `read` would give: that of a
`GzipFile` is the compressed file's, and a spooled file may have none yet. So what is read by
descriptor (and may be sent by ``sendfile``) is an `io.FileIO`, alone or right under an
`io.BufferedReader` or `io.BufferedRandom`, over a regular file. Everything else is read in
blocks.

The length of a plain file is what the system says. Other files that can seek are measured by
seeking, except those that would have to decompress everything to find their end. Where no length
is known and none is given, the body goes in chunks.
"""

from __future__ import annotations

import io
import os
import stat
import sys
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakValueDictionary

from ..errors import BodyChanged, ExcessBodyData, InvalidRequest, StateError
from .limits import BLOCK_SIZE

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

_NOTHING: Final = memoryview(b"")  # not to be released


class Content:
    """A request body that is given whole.

    Attributes:
        length: its bytes, ``None`` if it has to go in chunks.
        replayable: whether the same body can be sent again, after `rewind`.
        taken: whether any of it was taken.
        sent: how many bytes of it were given to the system.
    """

    __slots__ = ("length", "sent", "taken")

    replayable: bool = True

    def __init__(self, length: int | None) -> None:
        self.length = length
        self.taken = False
        self.sent = 0

    @property
    def repeatable(self) -> bool:
        """Whether all of it can be sent yet, or again."""
        return self.replayable or not self.taken

    def take(self) -> memoryview:
        """Return the next bytes, an empty view at the end.

        Raises:
            BodyChanged: it is longer or shorter than announced.
            ExcessBodyData: an iterable gives more than announced.
            TypeError: it gives something other than bytes.
        """
        raise NotImplementedError

    def settle(self) -> None:
        """Nothing more will be taken for now: a file's position is moved behind what was sent."""

    def rewind(self) -> None:
        """Put a replayable body, or one of which nothing was taken, back to where it was."""


class Flat(Content):
    """Bytes that are there already."""

    __slots__ = ("_view",)

    def __init__(self, body: ReadableBuffer) -> None:
        self._view = as_bytes(body)
        super().__init__(len(self._view))

    def take(self) -> memoryview:
        view, self._view = self._view, _NOTHING
        self.taken = True
        return view

    def settle(self) -> None:
        view, self._view = self._view, _NOTHING
        if view:
            view.release()  # the caller may change or resize the buffer again


class PlainFile(Content):
    """A regular file, read from its position on by its descriptor."""

    __slots__ = ("_file", "_size", "_start", "offset")

    def __init__(self, file: io.FileIO | io.BufferedReader | io.BufferedRandom) -> None:
        self._file = file
        self._start = self.offset = file.tell()
        self._size = os.fstat(file.fileno()).st_size
        super().__init__(max(0, self._size - self._start))

    @property
    def fd(self) -> int:
        """The file's descriptor.

        Raises:
            ValueError: somebody has closed it.
        """
        return self._file.fileno()

    @property
    def left(self) -> int:
        """How many bytes are to be taken yet."""
        return max(0, self._size - self.offset)

    def check(self) -> None:
        """Make sure that the file has the size that was announced.

        Raises:
            BodyChanged: it has not.
        """
        size = os.fstat(self.fd).st_size
        if size != self._size:
            raise BodyChanged(
                f"the file was {self._size} bytes long when its length was announced, "
                f"and is {size} bytes long now"
            )

    def take(self) -> memoryview:
        self.taken = True
        data = os.pread(self.fd, min(BLOCK_SIZE, self.left), self.offset) if self.left else b""
        self.check()  # after the reading, and so before the last byte is given away
        if self.left and not data:
            raise BodyChanged(f"the file ends {self.left} bytes before its size says")
        self.offset += len(data)
        return memoryview(data)

    def settle(self) -> None:
        _seek_if_possible(self._file, self._start + self.sent)

    def rewind(self) -> None:
        self._file.seek(self._start)


class Pieces(Content):
    """A body that comes piece by piece: from an iterable, or in blocks from a file.

    Args:
        body: where the pieces come from.
        length: how many bytes they are to have together, ``None`` if that is not known.
    """

    __slots__ = ("_body", "_given", "_iterator", "_start", "replayable")

    def __init__(self, body: Any, length: int | None, replayable: bool) -> None:
        super().__init__(length)
        self.replayable = replayable
        self._body = body
        self._start = body.tell() if replayable else 0
        self._iterator: Iterator[Any] | None = None
        self._given = 0

    @property
    def _is_file(self) -> bool:
        return hasattr(self._body, "read")

    def take(self) -> memoryview:
        if self._iterator is None:
            self._begin()
        piece = self._next()
        if self.length is None:
            return piece
        self._given += len(piece)
        if self._given == self.length:
            piece = memoryview(bytes(piece))  # whoever gave it may use it again for the next one
        if self._given > self.length or (self._given == self.length and self._next()):
            if self._is_file:
                raise BodyChanged(f"the file has more than the {self.length} bytes announced")
            raise ExcessBodyData(f"the iterable has more than the {self.length} bytes announced")
        if not piece and self._given < self.length:
            missing = self.length - self._given
            raise BodyChanged(f"the body ended {missing} bytes before the {self.length} announced")
        return piece

    def _begin(self) -> None:
        self.taken = True
        if not self.replayable:
            _note_spent(self._body)
        self._iterator = _blocks(self._body) if self._is_file else iter(self._body)

    def _next(self) -> memoryview:
        assert self._iterator is not None
        for item in self._iterator:
            piece = as_bytes(item)
            if piece:
                return piece
        return _NOTHING

    def settle(self) -> None:
        if self.replayable and self.taken:
            _seek_if_possible(self._body, self._start + self.sent)

    def rewind(self) -> None:
        if self.replayable:
            self._body.seek(self._start)


def content_of(body: Any) -> Content:
    """Return what there is to send of a body that is given whole.

    Raises:
        TypeError: it is not bytes-like, a binary file or an iterable.
        InvalidRequest: it is a file that is closed, or not open for reading.
        StateError: it is one-shot, and was taken before.
    """
    if _is_text_file(body):
        raise TypeError("a body is made of bytes, and this file gives text: open it in binary mode")
    if isinstance(body, str):
        raise TypeError("a body is made of bytes, not str: encode it first")
    if isinstance(body, Mapping):
        raise TypeError(
            f"a body is made of bytes, not {type(body).__name__}: encode it, or pass it as headers="
        )
    try:
        memoryview(body)
    except TypeError:
        pass
    else:
        return Flat(body)
    if _was_spent(body):
        raise StateError(f"this {type(body).__name__} was used up by an earlier request")
    if hasattr(body, "read"):
        return _file(body)
    if isinstance(body, (list, tuple)):
        for item in body:
            as_bytes(item)  # while nothing is sent
    if isinstance(body, Iterable):
        return Pieces(body, None, replayable=False)
    raise TypeError(
        "a body is a bytes-like object, a binary file, an iterable of bytes or a BodyFollowing, "
        f"not {type(body).__name__}"
    )


def is_replayable(body: Any) -> bool:
    """Whether a body that is given whole can be sent more than once."""
    if body is None:
        return True
    try:
        memoryview(body)
    except TypeError:
        pass
    else:
        return True
    try:
        return hasattr(body, "read") and _can_seek(body)
    except (OSError, ValueError):
        return False  # it is closed


def as_bytes(data: Any) -> memoryview:
    """View any bytes-like object, whatever its format and shape, as flat bytes.

    Raises:
        TypeError: *data* is not bytes-like.
    """
    try:
        view = memoryview(data)
    except TypeError:
        hint = ": encode it first" if isinstance(data, str) else ""
        raise TypeError(f"a body is made of bytes, not {type(data).__name__}{hint}") from None
    if view.format == "B" and view.ndim == 1 and view.c_contiguous:
        return view
    if view.nbytes == 0 or not view.c_contiguous:
        return memoryview(view.tobytes())
    return view.cast("B")


# Files.

_PLAIN_TYPES = (io.FileIO, io.BufferedReader, io.BufferedRandom)

#: Files that find their end only by decompressing everything before it.
_DECOMPRESSING = (
    ("gzip", "GzipFile"), ("bz2", "BZ2File"), ("lzma", "LZMAFile"), ("zipfile", "ZipExtFile"),
)  # fmt: skip


def _file(file: Any) -> Content:
    if getattr(file, "closed", False) is True:
        raise InvalidRequest("body is a file that is closed")
    if not getattr(file, "readable", lambda: True)():
        raise InvalidRequest("body is a file that is not open for reading")
    if not _can_seek(file):
        return Pieces(file, None, replayable=False)
    if getattr(file, "writable", lambda: False)():
        file.flush()  # so that what was written before is sent too
    if _is_plain(file) and stat.S_ISREG(os.fstat(file.fileno()).st_mode) and hasattr(os, "pread"):
        plain = PlainFile(file)
        # The system says 0 of files that it makes up as they are read, such as in /proc.
        if plain.length or not os.pread(plain.fd, 1, plain.offset):
            return plain
        return Pieces(file, None, replayable=True)
    if _decompresses(file):
        return Pieces(file, None, replayable=True)
    position = file.tell()
    file.seek(0, os.SEEK_END)
    length = max(0, file.tell() - position)
    file.seek(position)
    return Pieces(file, length, replayable=True)


def _is_plain(file: Any) -> bool:
    return type(file) in _PLAIN_TYPES and type(getattr(file, "raw", file)) is io.FileIO


def _is_text_file(body: Any) -> bool:
    if isinstance(body, io.TextIOBase):
        return True
    return hasattr(body, "read") and isinstance(getattr(body, "encoding", None), str)


def _can_seek(file: Any) -> bool:
    seekable = getattr(file, "seekable", None)
    if seekable is None:
        return hasattr(file, "seek") and hasattr(file, "tell")
    if not seekable():
        return False
    if _is_plain(file):  # terminals and other devices say that they can, and go on all the same
        mode = os.fstat(file.fileno()).st_mode
        return stat.S_ISREG(mode) or stat.S_ISBLK(mode)
    return True


def _decompresses(file: Any) -> bool:
    file = getattr(file, "raw", file)
    for module, name in _DECOMPRESSING:
        if module in sys.modules and isinstance(file, getattr(sys.modules[module], name)):
            return True
    return False


def _blocks(file: Any) -> Iterator[Any]:
    while True:
        block = file.read(BLOCK_SIZE)
        if block is None:
            raise InvalidRequest("body is a file that has nothing yet: open it in blocking mode")
        view = as_bytes(block)
        if not view:
            return
        yield view


def _seek_if_possible(file: Any, position: int) -> None:
    try:
        file.seek(position)
    except (OSError, ValueError):
        pass  # somebody has closed it


# Bodies that can be taken only once.

#: Those that were, by `id`: an iterator may compare equal to another, or not be hashable.
_spent: WeakValueDictionary[int, Any] = WeakValueDictionary()

#: The last of those that cannot be referred to weakly, such as ``map(…)`` and ``iter([…])``.
_last_spent: deque[Any] = deque(maxlen=16)


def _note_spent(body: Any) -> None:
    if hasattr(body, "read") or hasattr(body, "__next__"):
        try:
            _spent[id(body)] = body
        except TypeError:
            _last_spent.append(body)


def _was_spent(body: Any) -> bool:
    if _spent.get(id(body)) is body or any(one is body for one in tuple(_last_spent)):
        return True
    return hasattr(body, "gi_frame") and body.gi_frame is None  # a generator that has ended
