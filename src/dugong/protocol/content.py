"""Request bodies that are passed with the request: bytes, iterables, files, several of these.

Theory of operation
===================

`content_of` chooses the class for a body. Each class reports the body's length, or ``None`` if it
is unknown, and whether the body can be sent again. A *replayable* body (bytes, a file that can
seek) can. A *one-shot* body (any other iterable or file) cannot, once any of it was taken.

A sender uses a `Content` like this:

1. It calls `Content.take` until that returns an empty view, and adds to `sent` how many of those
   bytes were sent.
2. Then it calls `finish`, or `restore` if the request failed and is safe to retry.
3. A body that is longer or shorter than announced raises before its last byte is handed out.
   Otherwise a server would accept a truncated body, because its length matches.

Files
=====

Reading a file by its descriptor is only correct for a plain file. The descriptor of a `GzipFile`
is that of the compressed file, and a spooled file may not have one yet. So a `FileContent` is an
`io.FileIO`, alone or directly below an `io.BufferedReader` or `io.BufferedRandom`, over a regular
file. It is read by descriptor, and may be sent by ``sendfile``. Every other file is read in blocks
(`ReadFileContent`).

The system reports the length of a `FileContent`. Other files that can seek are measured by
seeking, except those that would decompress everything to find their end. A body of unknown length
is sent in chunks. If the caller asks for chunks, the length of a file is not needed, and the file
is not measured.

If the caller announces a length, the file may be part of something else: a pipe, a socket, or a
section of a file that has other readers. Such a `FileSectionContent` is not measured, and its
position is not changed except by reading. No more than the announced length is read. It is
one-shot.

Composite bodies
================

A `CompositeBody` consists of several bodies, one after the other, such as the parts of a form. Its
length is known and it is replayable if that holds for all of them. A section of it is read like the
same body alone, but not sent by ``sendfile``.

Async iterables
===============

Our coroutines are generators and cannot await. Instead, their driver fetches the items
(`AsyncIterableContent.fetch`), and `take` returns them. An exception raised by the iterable is
kept, so that `take` raises it, as for any other iterable. `take` also raises after an interrupted
fetch: an async generator has ended then, and that must not be taken for the end of the body.

Used-up bodies
==============

A one-shot body that was taken once would be empty the second time, so `content_of` refuses it.
Taken bodies are remembered by weak reference, because a body may hold any amount of memory. The
built-in iterators (``map``, ``iter([...])``) do not support weak references. For these, the
`Request` is remembered instead. It refers to the body, and lives as long as the exchange, its
response or its exception. Once all of these are gone, such an iterator is no longer recognised.
"""

from __future__ import annotations

import io
import os
import stat
import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakValueDictionary

from ..errors import BodyChanged, ExcessBodyData, InvalidRequest, StateError, mark_as_callers
from .limits import BLOCK_SIZE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from _typeshed import ReadableBuffer

    from .messages import Request

_NOTHING: Final = memoryview(b"")  # shared: never release it
_END: Final = object()


class Content:
    """A request body that is passed with its request.

    Args:
        length: the number of bytes, ``None`` if it is unknown.
        file: the file that the body is read from, if it can seek. The body starts at its current
            position.

    Attributes:
        length: the number of bytes, ``None`` if it is unknown.
        taken: whether any of it was taken.
        sent: the number of its bytes that were given to the system.
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
        """Whether all of it can be sent from now on: it is replayable, or untouched."""
        return self.replayable or not self.taken

    def take(self) -> memoryview:
        """Return the next bytes; an empty view at the end.

        Raises:
            BodyChanged: the body is shorter than announced, or a file is longer.
            ExcessBodyData: an iterable yields more than announced.
            TypeError: the iterable or file returns something other than bytes.
            Exception: any exception that the caller's own iterable or file raises.
        """
        raise NotImplementedError

    def finish(self) -> None:
        """Release the body. A replayable file is positioned behind the last byte that was sent."""
        if self.taken and not self._given_back:
            self._seek(self._start + self.sent)

    def restore(self) -> bool:
        """Release the body in its original state, so that the caller can send it again.

        A second call does nothing, because the caller may be sending the file again by then.

        Returns:
            Whether the body is in its original state. Also true for a file that the caller has
            closed: sending that again raises an exception, and never sends wrong data.
        """
        if self.taken and not self._given_back:
            self._given_back = self._seek(self._start)
        return self._given_back or not self.taken

    def _seek(self, position: int) -> bool:
        if self._file is None:
            return False
        try:
            self._file.seek(position)
        except Exception:  # the exception that ended the exchange matters more
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
    """A regular file, read by its descriptor, from its current position."""

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
        """The number of bytes not yet taken."""
        return max(0, self._size - self.offset)

    def check(self) -> None:
        """Check that the file still has the announced size. Call this when bytes are taken.

        Raises:
            BodyChanged: it has another size.
        """
        self.taken = True
        self._given_back = False
        size = os.fstat(self.fd).st_size
        if size != self._size:
            raise BodyChanged(
                f"the file was {self._size} bytes long when its length was announced, "
                f"but is now {size} bytes long"
            )

    def take(self) -> memoryview:
        data = os.pread(self.fd, min(BLOCK_SIZE, self.left), self.offset) if self.left else b""
        self.check()  # after reading, so before the last byte is handed out
        if self.left and not data:
            raise BodyChanged(f"the file ended {self.left} bytes before its announced length")
        self.offset += len(data)
        return memoryview(data)


class IterableContent(Content):
    """The items of an iterable.

    Args:
        body: an iterable of bytes-like objects.
        length: the total number of bytes, ``None`` if it is unknown.
        request: the request whose body this is.
        file: *body*, if it is a file that can seek.
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
        """Return the caller's next item, or `_END`."""
        try:
            if self._iterator is None:
                self._begin()
                self._iterator = iter(self._body)
            return next(self._iterator, _END)
        except BaseException as exc:
            self.failed = True
            mark_as_callers(exc)
            raise

    def _begin(self) -> None:
        self.taken = True
        if self._file is None:
            _note_spent(self._body, self._request)

    def _accept(self, item: Any) -> memoryview:
        """Return the bytes that may be sent after *item*; an empty view if none may be sent yet.

        The piece that completes the announced length is held back until the iterable has ended.
        If it yields more instead, the server has not received a complete body.
        """
        if item is _END:
            return self._accept_end()
        piece = as_bytes(item)
        self._received += len(piece)
        if self.length is None or not piece or self._received < self.length:
            return piece
        if self._received > self.length:
            raise self._too_long()
        self._held = memoryview(bytes(piece))  # a copy: the iterable may reuse its buffer
        return _NOTHING

    def _accept_end(self) -> memoryview:
        self._ended = True
        if self.length is not None and self._received < self.length:
            missing = self.length - self._received
            raise BodyChanged(
                f"the body ended {missing} bytes short of the announced {self.length}"
            )
        held, self._held = self._held, _NOTHING
        return held

    def _too_long(self) -> Exception:
        return ExcessBodyData(f"the iterable has more than the announced {self.length} bytes")


class AsyncIterableContent(IterableContent):
    """The items of an async iterable.

    A driver that can await calls `fetch` before each `take` (see `PollNeeded.body`). Other drivers
    cannot do that. So the async methods wrap an async iterable in this class, and the coroutines
    accept it only in this form.

    Args:
        body: an async iterable of bytes-like objects. `belongs_to` checks it when the request is
            prepared.
    """

    __slots__ = ("_async_iterator", "_failure", "_fetching", "_piece")

    def __init__(self, body: Any) -> None:
        super().__init__(body, None, None)
        self._async_iterator: AsyncIterator[Any] | None = None
        self._piece = _NOTHING
        self._fetching = False
        self._failure: Exception | None = None  # `take` raises it instead of the next piece

    def belongs_to(self, request: Request, length: int | None) -> None:
        """Become the body of *request*. Its attribute `body` becomes the caller's own object.

        Args:
            request: the request.
            length: the length that it announces, or ``None``.

        Raises:
            TypeError: the iterable is a text file.
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
        """Whether the next piece is not available yet: `fetch` must be called, or is running."""
        return self._fetching or not (self._piece or self._failure or self._ended)

    async def fetch(self) -> None:
        """Fetch items until one is not empty. If that fails, `take` raises the exception.

        Raises:
            BaseException: an exception that is not an `Exception`, such as a cancellation.
        """
        self._fetching = True
        try:
            while not (self._piece or self._ended):
                self._piece = self._accept(await self._next_item())
        except Exception as exc:
            self._failure = exc
        except BaseException:
            # An async generator has ended now. Its end must not count as the end of the body.
            self._failure = _incomplete()
            raise
        finally:
            self._fetching = False

    async def _next_item(self) -> Any:
        try:
            if self._async_iterator is None:
                if _was_spent(self._body):  # by another request, after this one was prepared
                    raise _used_up(self._body)
                self._begin()
                self._async_iterator = aiter(self._body)
            return await anext(self._async_iterator)
        except StopAsyncIteration:
            return _END
        except BaseException as exc:
            self.failed = True
            mark_as_callers(exc)
            raise

    def take(self) -> memoryview:
        failure = self._failure
        if failure is not None:
            self._failure = _incomplete()
            try:
                raise failure
            finally:
                # Its traceback refers to this frame. The cycle would keep the body alive.
                del failure
        piece, self._piece = self._piece, _NOTHING
        return piece

    async def aclose(self) -> None:
        """Close the iterable, whether it was started or not. After this, `take` raises.

        Raises:
            BaseException: any exception from closing the iterable.
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
    return StateError("the async iterable was closed before the body was complete")


class ReadFileContent(IterableContent):
    """A file that is read in blocks.

    Args:
        file: any object with a method ``read``.
        length: the measured number of bytes; ``None`` if it is unknown.
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
            # `restore` has moved the file to its start, but the same exchange goes on: a step of
            # a pipeline timed out and is repeated.
            if self._given_back:
                self._file.seek(self._start + self._received)
                self._given_back = False
            block = self._body.read(size)
        except BaseException as exc:
            self.failed = True
            mark_as_callers(exc)
            raise
        if block is None:
            raise InvalidRequest(
                "body is a non-blocking file without data: open it in blocking mode"
            )
        return block if as_bytes(block) else _END

    def _block_size(self) -> int:
        return BLOCK_SIZE

    def _too_long(self) -> Exception:
        return BodyChanged(f"the file has more than the announced {self.length} bytes")


class FileSectionContent(ReadFileContent):
    """A given number of bytes of a file, from its current position. The file never seeks.

    Args:
        file: any object with a method ``read``.
        length: the number of bytes, as announced by the caller.
        request: the request whose body this is.
    """

    __slots__ = ()

    length: int

    def __init__(self, file: Any, length: int, request: Request | None) -> None:
        super().__init__(file, length, request, replayable=False)
        self._ended = length == 0

    def _begin(self) -> None:
        self.taken = True  # not noted as used up: the next request may send the next section

    def _block_size(self) -> int:
        return min(BLOCK_SIZE, self.length - self._received)

    def _accept(self, item: Any) -> memoryview:
        if item is _END:
            return self._accept_end()
        piece = as_bytes(item)
        self._received += len(piece)
        if self._received > self.length:
            raise BodyChanged(
                f"read() returned more bytes than requested: {self._received} in total, "
                f"but the announced length is {self.length}"
            )
        self._ended = self._received == self.length
        return piece


class CompositeBody:
    """A body that consists of several. A base class of bodies that are passed with a request."""

    __slots__ = ()

    @property
    def replayable(self) -> bool:
        """Whether the same body can be sent more than once."""
        raise NotImplementedError

    def contents(self, *, measure: bool = True) -> list[Content]:
        """Return the bodies, in order, each from `content_of`, which gets *measure*.

        Raises:
            Exception: as for `content_of`.
        """
        raise NotImplementedError


class CompositeContent(Content):
    """Several bodies, one after the other.

    Args:
        contents: the bodies.
    """

    __slots__ = ("_contents", "_index", "_taken")

    def __init__(self, contents: list[Content]) -> None:
        lengths = [content.length for content in contents]
        known = [length for length in lengths if length is not None]
        super().__init__(sum(known) if len(known) == len(lengths) else None)
        self._contents = contents
        self._taken = [0] * len(contents)  # the number of bytes taken from each
        self._index = 0

    @property
    def replayable(self) -> bool:
        return all(content.replayable for content in self._contents)

    def take(self) -> memoryview:
        self.taken = True
        while self._index < len(self._contents):
            content = self._contents[self._index]
            try:
                piece = content.take()
            except BaseException:
                self.failed = content.failed
                raise
            if piece:
                self._taken[self._index] += len(piece)
                return piece
            self._index += 1
        return _NOTHING

    def finish(self) -> None:
        left = self.sent
        for content, taken in zip(self._contents, self._taken, strict=True):
            content.sent = min(left, taken)
            left -= content.sent
            content.finish()

    def restore(self) -> bool:
        # Bytes need no restoring, and releasing them would lose those that are not taken yet, if
        # the same exchange goes on (see `ReadFileContent`).
        restored = True
        for content in self._contents:
            if not isinstance(content, BytesContent) and not content.restore():
                restored = False
        return restored


def content_of(
    body: Any, request: Request | None = None, length: int | None = None, *, measure: bool = True
) -> Content:
    """Return the `Content` for a body that is passed with its request.

    Args:
        body: the body.
        request: the request that it belongs to.
        length: the number of bytes that the caller announces, or ``None``.
        measure: whether to measure a file if *length* is ``None``.

    Raises:
        TypeError: *body* is not bytes-like, a binary file or an iterable.
        InvalidRequest: it is a file that is closed, or not open for reading.
        StateError: it is one-shot, and was taken before.
    """
    if isinstance(body, CompositeBody):
        return CompositeContent(body.contents(measure=measure))
    if _is_text_file(body):
        raise _gives_text()
    if isinstance(body, str):
        raise TypeError("a body must be bytes, not str: encode it first")
    if isinstance(body, Mapping):
        raise TypeError(
            f"a body must be bytes, not {type(body).__name__}: encode it, or pass it as headers="
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
            "AsyncHTTPConnection can send: use that class, or pass an iterable of bytes"
        )
    if hasattr(body, "read") and not isinstance(body, type):
        _check_readable(body)
        if length is not None:
            return FileSectionContent(body, length, request)
        return _whole_file(body, request, measure)
    if isinstance(body, (list, tuple)):
        for item in body:
            as_bytes(item)  # check all items before anything is sent
    if isinstance(body, Iterable):
        return IterableContent(body, length, request)
    raise TypeError(
        "a body must be a bytes-like object, a binary file, an iterable of bytes or a "
        f"BodyFollowing, not {type(body).__name__}"
    )


def is_replayable(body: Any) -> bool:
    """Return whether a body that is passed with its request can be sent more than once."""
    if body is None:
        return True
    if isinstance(body, CompositeBody):
        return body.replayable
    if hasattr(type(body), "__aiter__"):  # it may be a file with async methods
        return False
    try:
        memoryview(body)
    except TypeError:
        pass
    except (ValueError, BufferError):
        return False  # a released view, or a closed mmap
    else:
        return True
    if not hasattr(body, "read") or getattr(body, "closed", False) is True:
        return False
    try:
        return _can_seek(body)
    except (OSError, ValueError):
        return False  # it is closed, and has no attribute `closed`


def as_bytes(data: Any) -> memoryview:
    """Return a flat view of the bytes of any bytes-like object, of any format and shape.

    Data that is not contiguous is copied.

    Raises:
        TypeError: *data* is not bytes-like.
    """
    try:
        view = memoryview(data)
    except TypeError:
        hint = ": encode it first" if isinstance(data, str) else ""
        raise TypeError(f"a body must be bytes, not {type(data).__name__}{hint}") from None
    if view.format == "B" and view.ndim == 1 and view.c_contiguous:
        return view
    if view.nbytes == 0 or not view.c_contiguous:
        return memoryview(view.tobytes())
    return view.cast("B")


# Files.

_PLAIN_TYPES = (io.FileIO, io.BufferedReader, io.BufferedRandom)

#: File classes that find their end only by decompressing everything before it.
_DECOMPRESSING = (
    ("gzip", "GzipFile"), ("bz2", "BZ2File"), ("lzma", "LZMAFile"), ("zipfile", "ZipExtFile"),
)  # fmt: skip


def _check_readable(file: Any) -> None:
    if getattr(file, "closed", False) is True:
        raise InvalidRequest("body is a closed file")
    if not getattr(file, "readable", lambda: True)():
        raise InvalidRequest("body is a file that is not open for reading")


def _whole_file(file: Any, request: Request | None, measure: bool) -> Content:
    if not _can_seek(file):
        return ReadFileContent(file, None, request, replayable=False)
    if not measure or _decompresses(file):
        return ReadFileContent(file, None, request, replayable=True)
    if getattr(file, "writable", lambda: False)():
        file.flush()  # buffered writes are part of the body
    if _is_plain(file) and stat.S_ISREG(os.fstat(file.fileno()).st_mode) and hasattr(os, "pread"):
        plain = FileContent(file)
        # The system reports size 0 for files that it generates on reading, such as in /proc.
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
    return TypeError("a body must be bytes, but this file returns text: open it in binary mode")


def _can_seek(file: Any) -> bool:
    seekable = getattr(file, "seekable", None)
    if seekable is None:
        return hasattr(file, "seek") and hasattr(file, "tell")
    if not seekable():
        return False
    if _is_plain(file):  # terminals and other devices accept a seek but ignore it
        mode = os.fstat(file.fileno()).st_mode
        return stat.S_ISREG(mode) or stat.S_ISBLK(mode)
    return True


def _decompresses(file: Any) -> bool:
    file = getattr(file, "raw", file)
    for module, name in _DECOMPRESSING:
        if module in sys.modules and isinstance(file, getattr(sys.modules[module], name)):
            return True
    return False


# Used-up one-shot bodies.

#: From the `id` of a body to that body, or to the request that refers to it. The key is not the
#: body itself, because an iterator may be unhashable or equal to another.
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
    # A generator or async generator that has ended has no frame.
    return getattr(body, "gi_frame", body) is None or getattr(body, "ag_frame", body) is None


def _used_up(body: Any) -> StateError:
    return StateError(f"this {type(body).__name__} was used up by an earlier request")
