"""Request bodies that are passed with the request: bytes, iterables, and three kinds of files.

Each knows its length, if that is known, and whether it can be sent again. A *replayable* body
(bytes, a file that can seek) can. A *one-shot* body (any other iterable or file) is gone once a
part of it was taken.

A sender calls `Content.take` until that returns nothing, and counts in `sent` how much of it went
out. Then it calls `finish`, or `restore` if the request failed and is safe to retry. A body
that is longer or shorter than announced raises before its last byte is handed out, so that no
server mistakes a part of it for the whole.

Files
=====

Only for a plain file is it certain that its descriptor gives what `read` would give. The
descriptor of a `GzipFile` is that of the compressed file, and a spooled file may have none yet. So
only an `io.FileIO`, alone or directly under an `io.BufferedReader` or `io.BufferedRandom`, over a
regular file, is read by descriptor (and may be sent by ``sendfile``). Everything else is read in
blocks.

The system reports the length of a `FileContent`. Other files that can seek are measured by seeking,
except those that would have to decompress everything to find their end. If no length is known, the
body goes in chunks. If the caller asks for chunks, a `ReadFileContent` is not measured.

If the caller announces a length, a file may be part of something else: a pipe, a socket, a slice of
a file with other readers. Such a `FileSectionContent` is neither measured nor moved. No more of it
is read than was announced, and it is one-shot.

Async iterables
===============

A coroutine cannot await, so its driver fetches the items (`AsyncIterableContent.fetch`), and `take`
returns what was fetched. An exception of the iterable is kept until then, so `take` raises it, as
it does that of any other iterable. After a step that was interrupted, `take` raises too: the
iterable has probably ended, and its end must not be taken for the end of the body.

Used-up bodies
==============

A one-shot body that was taken would be sent as an empty one the second time, so it is refused.
What was taken is remembered by weak reference, because a body may hold any amount of memory. The
built-in iterators (``map``, ``iter([...])``) have no weak references. Of these, the `Request` is
remembered instead: it refers to the body, and lives as long as the exchange, its response or its
exception. When all of these are gone, such an iterator is not recognised any more.
"""

from __future__ import annotations

import io
import os
import stat
import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakValueDictionary

from ..errors import BodyChanged, ExcessBodyData, InvalidRequest, StateError
from .limits import BLOCK_SIZE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from _typeshed import ReadableBuffer

    from .messages import Request

_NOTHING: Final = memoryview(b"")  # not to be released
_END: Final = object()


class Content:
    """A request body that is given whole.

    Args:
        length: its bytes, ``None`` if that is not known.
        file: the file that it is read from, if that can seek; it starts at its position.

    Attributes:
        length: as given.
        taken: whether any of it was taken.
        sent: how many bytes of it were given to the system.
        failed: whether the caller's own iterable or file has raised an exception.
    """

    __slots__ = ("_file", "_given_back", "_start", "failed", "length", "sent", "taken")

    def __init__(self, length: int | None, file: Any = None) -> None:
        self.length = length
        self.taken = False
        self.sent = 0
        self.failed = False
        self._file = file
        self._start = 0 if file is None else file.tell()
        self._given_back = False

    @property
    def replayable(self) -> bool:
        """Whether the same body can be sent more than once."""
        return self._file is not None

    @property
    def repeatable(self) -> bool:
        """Whether all of it can be sent, or sent again."""
        return self.replayable or not self.taken

    def take(self) -> memoryview:
        """Return the next bytes, an empty view at the end.

        Raises:
            BodyChanged: it is longer or shorter than announced.
            ExcessBodyData: an iterable gives more than announced.
            TypeError: it gives something other than bytes.
            Exception: whatever the caller's own iterable or file raises.
        """
        raise NotImplementedError

    def finish(self) -> None:
        """Let go of it. A file is positioned behind what was sent."""
        if self.taken and not self._given_back:
            self._seek(self._start + self.sent)

    def restore(self) -> bool:
        """Let go of it as it was given, for the caller to send it again.

        A second call does nothing: the caller may be sending it by then.

        Returns:
            Whether it is as it was given, or closed by the caller, and so never sent by mistake.
        """
        if self.taken and not self._given_back:
            self._given_back = self._seek(self._start)
        return self._given_back or not self.taken

    def _seek(self, position: int) -> bool:
        if self._file is None:
            return False
        try:
            self._file.seek(position)
        except Exception:  # what ended the exchange matters more
            return getattr(self._file, "closed", False) is True
        return True


class BytesContent(Content):
    """Bytes in memory."""

    __slots__ = ("_view",)

    replayable = True

    def __init__(self, body: ReadableBuffer) -> None:
        self._view = as_bytes(body)
        super().__init__(len(self._view))

    def take(self) -> memoryview:
        view, self._view = self._view, _NOTHING
        self.taken = True
        return view

    def finish(self) -> None:
        view, self._view = self._view, _NOTHING
        if view:
            view.release()  # the caller may change or resize the buffer again

    def restore(self) -> bool:
        self.finish()
        return True


class FileContent(Content):
    """A regular file, read from its position on by its descriptor."""

    __slots__ = ("_size", "offset")

    def __init__(self, file: io.FileIO | io.BufferedReader | io.BufferedRandom) -> None:
        super().__init__(None, file)
        self.offset = self._start
        self._size = os.fstat(file.fileno()).st_size
        self.length = max(0, self._size - self._start)

    @property
    def fd(self) -> int:
        """The file's descriptor.

        Raises:
            ValueError: the file is closed.
        """
        descriptor: int = self._file.fileno()
        return descriptor

    @property
    def left(self) -> int:
        """How many bytes are still to be taken."""
        return max(0, self._size - self.offset)

    def check(self) -> None:
        """Make sure that the file has the size that was announced, where bytes of it are taken.

        Raises:
            BodyChanged: it has not.
        """
        self.taken = True
        self._given_back = False
        size = os.fstat(self.fd).st_size
        if size != self._size:
            raise BodyChanged(
                f"the file was {self._size} bytes long when its length was announced, "
                f"and is {size} bytes long now"
            )

    def take(self) -> memoryview:
        data = os.pread(self.fd, min(BLOCK_SIZE, self.left), self.offset) if self.left else b""
        self.check()  # after the reading, and so before the last byte is handed out
        if self.left and not data:
            raise BodyChanged(f"the file ends {self.left} bytes before its size says")
        self.offset += len(data)
        return memoryview(data)


class IterableContent(Content):
    """A body that comes in pieces: the items of an iterable.

    Args:
        body: an iterable of bytes-like objects.
        length: how many bytes they have together, ``None`` if that is not known.
        request: the request whose body this is.
        file: *body*, if that is a file that can seek.
    """

    __slots__ = ("_body", "_ended", "_held", "_iterator", "_received", "_request")

    def __init__(
        self, body: Any, length: int | None, request: Request | None, file: Any = None
    ) -> None:
        super().__init__(length, file)
        self._body = body
        self._request = request
        self._iterator: Iterator[Any] | None = None
        self._received = 0
        self._held = _NOTHING
        self._ended = False

    def take(self) -> memoryview:
        piece = _NOTHING
        while not (piece or self._ended):
            piece = self._accept(self._next())
        return piece

    def _next(self) -> Any:
        """Return the next item of the caller's, `_END` if there is none."""
        try:
            if self._iterator is None:
                self._begin()
                self._iterator = iter(self._body)
            return next(self._iterator, _END)
        except BaseException:
            self.failed = True
            raise

    def _begin(self) -> None:
        self.taken = True
        if self._file is None:
            _note_spent(self._body, self._request)

    def _accept(self, item: Any) -> memoryview:
        """Return what may be sent now that *item* has come: nothing if more has to come first.

        The piece that completes the length is held until the end has come behind it.
        """
        if item is _END:
            return self._accept_end()
        piece = as_bytes(item)
        self._received += len(piece)
        if self.length is None or not piece or self._received < self.length:
            return piece
        if self._received > self.length:
            raise self._too_long()
        self._held = memoryview(bytes(piece))  # its giver may use it again for the next one
        return _NOTHING

    def _accept_end(self) -> memoryview:
        self._ended = True
        if self.length is not None and self._received < self.length:
            missing = self.length - self._received
            raise BodyChanged(f"the body ended {missing} bytes before the {self.length} announced")
        held, self._held = self._held, _NOTHING
        return held

    def _too_long(self) -> Exception:
        return ExcessBodyData(f"the iterable has more than the {self.length} bytes announced")


class AsyncIterableContent(IterableContent):
    """The items of an async iterable.

    A driver that can await calls `fetch` before each `take` (see `PollNeeded.body`). The coroutines
    accept such an iterable only in this form, because other drivers cannot do that.

    Args:
        body: an async iterable of bytes-like objects. It is checked when its request is prepared.
    """

    __slots__ = ("_async_iterator", "_failure", "_fetching", "_piece")

    def __init__(self, body: Any) -> None:
        super().__init__(body, None, None)
        self._async_iterator: AsyncIterator[Any] | None = None
        self._piece = _NOTHING
        self._fetching = False
        self._failure: Exception | None = None  # to be raised in place of the next piece

    def belongs_to(self, request: Request, length: int | None) -> None:
        """Become the body of *request*, which gets the caller's own object in place of this one.

        Args:
            request: the request.
            length: the length that it announces, if any.

        Raises:
            TypeError: the iterable is a file that gives text.
            StateError: it was taken before.
        """
        request.body = self._body
        self._request = request
        self.length = length
        if _is_text_file(self._body):
            raise _gives_text()
        if _was_spent(self._body):
            raise _used_up(self._body)

    @property
    def must_fetch(self) -> bool:
        """Whether the next piece is not there yet: `fetch` is to be called, or under way."""
        return self._fetching or not (self._piece or self._failure or self._ended)

    async def fetch(self) -> None:
        """Take items until one is not empty. If that fails, `take` raises the exception.

        Raises:
            BaseException: one that is not an `Exception`, such as a cancellation.
        """
        self._fetching = True
        try:
            while not (self._piece or self._ended):
                self._piece = self._accept(await self._next_item())
        except Exception as exc:
            self._failure = exc
        except BaseException:
            # A generator has ended now, and its end would be taken for the end of the body.
            self._failure = _incomplete()
            raise
        finally:
            self._fetching = False

    async def _next_item(self) -> Any:
        try:
            if self._async_iterator is None:
                if _was_spent(self._body):  # by another request, since this one was prepared
                    raise _used_up(self._body)
                self._begin()
                self._async_iterator = aiter(self._body)
            return await anext(self._async_iterator)
        except StopAsyncIteration:
            return _END
        except BaseException:
            self.failed = True
            raise

    def take(self) -> memoryview:
        failure = self._failure
        if failure is not None:
            self._failure = _incomplete()
            try:
                raise failure
            finally:
                del failure  # whose traceback would keep it, and the body, alive
        piece, self._piece = self._piece, _NOTHING
        return piece

    async def aclose(self) -> None:
        """Close the iterable, begun or not. Nothing more can be taken.

        Raises:
            BaseException: closing the iterable raised it.
        """
        self._failure = self._failure or _incomplete()
        piece, self._piece = self._piece, _NOTHING
        if piece:
            piece.release()
        iterator: Any = self._async_iterator
        if iterator is None and hasattr(self._body, "__anext__") and not _was_spent(self._body):
            self._begin()
            iterator = self._body
        self._async_iterator = None
        close = getattr(iterator, "aclose", None)
        if close is not None:
            await close()


def _incomplete() -> StateError:
    return StateError("the async iterable was closed, and the body is incomplete")


class ReadFileContent(IterableContent):
    """A file that is read in blocks.

    Args:
        file: any object with a method ``read``.
        length: as measured; ``None`` if that is not known.
        request: the request whose body this is.
        replayable: whether the file can seek.
    """

    __slots__ = ()

    def __init__(
        self, file: Any, length: int | None, request: Request | None, *, replayable: bool
    ) -> None:
        super().__init__(file, length, request, file if replayable else None)

    def _next(self) -> Any:
        size = self._block_size()
        try:
            if not self.taken:
                self._begin()
            if self._given_back:  # after a step of a pipeline that timed out
                self._file.seek(self._start + self._received)
                self._given_back = False
            block = self._body.read(size)
        except BaseException:
            self.failed = True
            raise
        if block is None:
            raise InvalidRequest("body is a file that has nothing yet: open it in blocking mode")
        return block if as_bytes(block) else _END

    def _block_size(self) -> int:
        return BLOCK_SIZE

    def _too_long(self) -> Exception:
        return BodyChanged(f"the file has more than the {self.length} bytes announced")


class FileSectionContent(ReadFileContent):
    """So many bytes of a file from its position on, which is only read.

    Args:
        file: any object with a method ``read``.
        length: how many bytes, as the caller announces it.
        request: the request whose body this is.
    """

    __slots__ = ()

    length: int

    def __init__(self, file: Any, length: int, request: Request | None) -> None:
        super().__init__(file, length, request, replayable=False)
        self._ended = length == 0

    def _begin(self) -> None:
        self.taken = True  # but not used up: there may be more of the file, or it may seek

    def _block_size(self) -> int:
        return min(BLOCK_SIZE, self.length - self._received)

    def _accept(self, item: Any) -> memoryview:
        if item is _END:
            return self._accept_end()
        piece = as_bytes(item)
        self._received += len(piece)
        if self._received > self.length:
            raise BodyChanged(
                f"read() returned more than it was asked for, {self._received} bytes in total, "
                f"and the length announced is {self.length}"
            )
        self._ended = self._received == self.length
        return piece


def content_of(
    body: Any, request: Request | None = None, length: int | None = None, *, measure: bool = True
) -> Content:
    """Return what there is to send of a body that is given whole.

    Args:
        body: the body.
        request: the request that it belongs to.
        length: how many bytes the caller announces, if it does.
        measure: whether the length of a file is of any use otherwise.

    Raises:
        TypeError: it is not bytes-like, a binary file or an iterable.
        InvalidRequest: it is a file that is closed, or not open for reading.
        StateError: it is one-shot, and was taken before.
    """
    if _is_text_file(body):
        raise _gives_text()
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
        return BytesContent(body)
    if _was_spent(body):
        raise _used_up(body)
    if hasattr(type(body), "__aiter__") and not hasattr(body, "__iter__"):
        raise TypeError(
            f"body is an async iterable ({type(body).__name__}), which only the async methods of "
            "AsyncHTTPConnection send: use that class, or pass an iterable of bytes"
        )
    if hasattr(body, "read") and not isinstance(body, type):
        _check_readable(body)
        if length is not None:
            return FileSectionContent(body, length, request)
        return _whole_file(body, request, measure)
    if isinstance(body, (list, tuple)):
        for item in body:
            as_bytes(item)  # while nothing is sent
    if isinstance(body, Iterable):
        return IterableContent(body, length, request)
    raise TypeError(
        "a body is a bytes-like object, a binary file, an iterable of bytes or a BodyFollowing, "
        f"not {type(body).__name__}"
    )


def is_replayable(body: Any) -> bool:
    """Whether a body that is given whole can be sent more than once."""
    if body is None:
        return True
    if hasattr(type(body), "__aiter__"):  # perhaps a file whose methods have to be awaited
        return False
    try:
        memoryview(body)
    except TypeError:
        pass
    except (ValueError, BufferError):
        return False  # it is released, or a closed mmap
    else:
        return True
    if not hasattr(body, "read") or getattr(body, "closed", False) is True:
        return False
    try:
        return _can_seek(body)
    except (OSError, ValueError):
        return False  # it is closed, and has no attribute of that name


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


def _check_readable(file: Any) -> None:
    if getattr(file, "closed", False) is True:
        raise InvalidRequest("body is a file that is closed")
    if not getattr(file, "readable", lambda: True)():
        raise InvalidRequest("body is a file that is not open for reading")


def _whole_file(file: Any, request: Request | None, measure: bool) -> Content:
    if not _can_seek(file):
        return ReadFileContent(file, None, request, replayable=False)
    if not measure or _decompresses(file):
        return ReadFileContent(file, None, request, replayable=True)
    if getattr(file, "writable", lambda: False)():
        file.flush()  # so that what was written before is sent too
    if _is_plain(file) and stat.S_ISREG(os.fstat(file.fileno()).st_mode) and hasattr(os, "pread"):
        plain = FileContent(file)
        # The system says 0 of files that it makes up as they are read, such as in /proc.
        if plain.length or not os.pread(plain.fd, 1, plain.offset):
            return plain
        return ReadFileContent(file, None, request, replayable=True)
    position = file.tell()
    file.seek(0, os.SEEK_END)
    length = max(0, file.tell() - position)
    file.seek(position)
    return ReadFileContent(file, length, request, replayable=True)


def _is_plain(file: Any) -> bool:
    return type(file) in _PLAIN_TYPES and type(getattr(file, "raw", file)) is io.FileIO


def _is_text_file(body: Any) -> bool:
    if isinstance(body, io.TextIOBase):
        return True
    return hasattr(body, "read") and isinstance(getattr(body, "encoding", None), str)


def _gives_text() -> TypeError:
    return TypeError("a body is made of bytes, and this file gives text: open it in binary mode")


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


# One-shot bodies that were taken.

#: By the `id` of the body, because an iterator may compare equal to another, or not be hashable:
#: the body itself, or the request that refers to it.
_spent: WeakValueDictionary[int, Any] = WeakValueDictionary()


def _note_spent(body: Any, request: Request | None) -> None:
    if hasattr(body, "read") or hasattr(body, "__next__") or hasattr(body, "__anext__"):
        try:
            _spent[id(body)] = body
        except TypeError:
            if request is not None:
                _spent[id(body)] = request


def _was_spent(body: Any) -> bool:
    holder = _spent.get(id(body))
    if holder is not None and (holder is body or getattr(holder, "body", None) is body):
        return True
    # Generators and async generators that have ended.
    return getattr(body, "gi_frame", body) is None or getattr(body, "ag_frame", body) is None


def _used_up(body: Any) -> StateError:
    return StateError(f"this {type(body).__name__} was used up by an earlier request")
