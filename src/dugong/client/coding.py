"""Content codings: bodies are decoded as a stream, in bounded memory (RFC 9110 section 8.4).

What is decoded
===============

1. Nothing is decoded in a response to HEAD, nor with the status 1xx, 204, 206 or 304: there is no
   body, or it is a part of an encoded one.
2. ``Content-Encoding`` lists the codings in the order in which they were applied. Names are
   case-insensitive, ``x-gzip`` is gzip, and ``identity`` and empty list elements count for nothing.
3. If one of them is unknown, or its library is not installed, the body is left as received.
4. More than `MAX_CODINGS` of them are an attack on the decoder, and an error.
5. An empty body is valid in every coding, and decodes to nothing. The same holds between two
   codings.
6. A body that ends before its coding does is truncated, and anything after its end is corrupt.
   There are two exceptions. gzip has members (RFC 1952 section 2.2), which zero bytes may follow,
   as on a tape. zstd has frames (RFC 8878 section 3), some of which are skipped.
7. ``deflate`` is the zlib format (RFC 1950). Some servers send plain deflate data (RFC 1951), which
   is accepted, too. The first two bytes distinguish them: plain data that look like the other would
   begin with a stored block that has bits set in its padding.
8. zstd may use a window of at most 8 MiB (RFC 9659 section 3).

How a body is decoded
=====================

A `Decoder` does no I/O. Its caller repeats this until `Decoder.finished`::

    n = decoder.readinto(view)
    if n == 0 and decoder.needs_input:
        if received := receive():
            decoder.feed(received)
        else:
            decoder.end()

Each coding is a stage. A stage takes a piece of encoded data, and then returns decoded data, never
more than it is asked for, until it has used up that piece. Between two stages, a piece has at most
`BLOCK_SIZE` bytes. So memory is bounded, but time is not: a few bytes may decode to gigabytes that
the next stage drops (zero bytes after a gzip stream). That is why one call decodes at most
`MAX_BLOCKS` of these pieces. It then returns nothing although it needs no input, and the caller can
check its time limits before it calls again.

What the libraries need for that:

* `zlib`: ``decompress(data, max_length)`` returns at most that much, and leaves the rest of *data*
  in ``unconsumed_tail`` or, after the end, in ``unused_data``. It may have more output even if both
  are empty. That is the case only if the output was as long as allowed, and an empty input gets it.
* ``backports.zstd``, in Python 3.14 ``compression.zstd``: ``decompress(data, max_length)`` keeps
  the rest of *data* itself, and gets an empty input until ``needs_input``. It stops after one frame
  (``eof``), with what follows in ``unused_data``.
* ``brotli`` 1.2: ``process(data, output_buffer_limit=n)`` keeps the rest of *data* itself, and gets
  an empty input until it returns nothing and ``can_accept_more_data()`` is true. (That alone may be
  true while there is more output.) The output grows in steps of at least 32 KiB, until it is as
  long as the limit or longer, so the surplus is kept here. Data after the end is an error, in the
  same call or in the next one. Earlier versions have no limit, so they count as not installed.
"""

from __future__ import annotations

import zlib
from functools import lru_cache
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol

from ..errors import InvalidResponse
from ..protocol.grammar import split_list

if TYPE_CHECKING:
    from collections.abc import Callable

    from _typeshed import ReadableBuffer, WriteableBuffer

    from ..protocol.headers import Headers

#: More codings are an error. Two occur by mistake. curl: 5.
MAX_CODINGS = 5

#: Bytes between two codings.
BLOCK_SIZE = 64 * 1024

#: The fewest bytes that are decoded at once. zlib copies the rest of its input for each output, and
#: that would take quadratic time for a caller that reads byte by byte.
_MIN_SIZE = 8 * 1024

#: Blocks between two codings that one call decodes: 4 MiB take a few milliseconds.
MAX_BLOCKS = 64

#: The base-two logarithm of the largest zstd window, in bytes (RFC 9659 section 3).
_ZSTD_WINDOW_LOG = 23

#: The formats, as the window sizes by which `zlib` knows them.
_GZIP, _ZLIB, _RAW = 16 + zlib.MAX_WBITS, zlib.MAX_WBITS, -zlib.MAX_WBITS


class _Corrupt(Exception):
    """The data do not match their coding."""


class _Stage(Protocol):
    """One coding."""

    @property
    def needs_input(self) -> bool:
        """Whether there is nothing to read before the next `feed`."""

    @property
    def complete(self) -> bool:
        """Whether the data may end here."""

    def feed(self, data: bytes) -> None:
        """Take the next encoded data. Only if `needs_input`."""

    def read(self, size: int) -> bytes:
        """Return at most *size* decoded bytes; none if that needs more input.

        Raises:
            _Corrupt: the data are not valid.
        """


class _Inflate:
    """gzip and the zlib format, and plain deflate data.

    Args:
        window: the format, for `zlib.decompressobj`.
    """

    def __init__(self, window: int) -> None:
        self._window = window
        self._stream = zlib.decompressobj(window)
        self._rest = b""
        self._has_more = False  # there may be output although there is no input left

    @property
    def needs_input(self) -> bool:
        return not self._rest and not self._has_more

    @property
    def complete(self) -> bool:
        return self._stream.eof

    def feed(self, data: bytes) -> None:
        self._rest = data

    def read(self, size: int) -> bytes:
        while self._rest or self._has_more:
            if self._stream.eof and not self._begin_member():
                break
            try:
                data = self._stream.decompress(self._rest, size)
            except zlib.error as exc:
                raise _Corrupt(str(exc)) from None
            ended = self._stream.eof
            self._rest = self._stream.unused_data if ended else self._stream.unconsumed_tail
            self._has_more = len(data) == size and not ended
            if data:
                return data
        return b""

    def _begin_member(self) -> bool:
        if self._window != _GZIP:
            raise _Corrupt("there is data after its end")
        self._rest = self._rest.lstrip(b"\0")
        if self._rest:
            self._stream = zlib.decompressobj(_GZIP)
        return bool(self._rest)


class _Deflate:
    """deflate with or without the zlib format around it (rule 7)."""

    def __init__(self) -> None:
        self._inflate: _Inflate | None = None
        self._head = b""

    @property
    def needs_input(self) -> bool:
        return self._inflate is None or self._inflate.needs_input

    @property
    def complete(self) -> bool:
        return self._inflate is not None and self._inflate.complete

    def feed(self, data: bytes) -> None:
        if self._inflate is None:
            data = self._head = self._head + data
            if len(data) < 2:
                return
            # CMF and FLG (RFC 1950 section 2.2): the method is 8, and both are a multiple of 31.
            is_zlib = data[0] & 15 == 8 and int.from_bytes(data[:2], "big") % 31 == 0
            self._inflate = _Inflate(_ZLIB if is_zlib else _RAW)
        self._inflate.feed(data)

    def read(self, size: int) -> bytes:
        return b"" if self._inflate is None else self._inflate.read(size)


class _Zstd:
    """zstd: frames, one after the other (RFC 8878)."""

    def __init__(self, library: Any) -> None:
        self._library = library
        self._options = {library.DecompressionParameter.window_log_max: _ZSTD_WINDOW_LOG}
        self._rest = b""
        self._begin_frame()

    def _begin_frame(self) -> None:
        self._stream = self._library.ZstdDecompressor(options=self._options)
        self._is_fresh = True

    @property
    def needs_input(self) -> bool:
        return not self._rest and (self._is_fresh or self._stream.eof or self._stream.needs_input)

    @property
    def complete(self) -> bool:
        complete: bool = self._stream.eof
        return complete

    def feed(self, data: bytes) -> None:
        self._rest = data

    def read(self, size: int) -> bytes:
        while not self.needs_input:
            if self._stream.eof:
                self._begin_frame()
            rest, self._rest = self._rest, b""
            self._is_fresh = False
            try:
                data: bytes = self._stream.decompress(rest, size)
            except self._library.ZstdError as exc:
                raise _Corrupt(str(exc)) from None
            if self._stream.eof:
                self._rest = self._stream.unused_data
            if data:
                return data
        return b""


class _Brotli:
    """br: one brotli stream (RFC 7932)."""

    def __init__(self, library: Any) -> None:
        self._library = library
        self._stream = library.Decompressor()
        self._rest = b""
        self._surplus = memoryview(b"")
        self._has_more = False  # the last call returned data, so the next one may, too
        self.complete = False

    @property
    def needs_input(self) -> bool:
        return not (self._surplus or self._rest or self._has_more)

    def feed(self, data: bytes) -> None:
        self._rest = data

    def read(self, size: int) -> bytes:
        while not self._surplus:
            if self.needs_input:
                return b""
            if self.complete:
                raise _Corrupt("there is data after its end")
            rest, self._rest = self._rest, b""
            try:
                data = self._stream.process(rest, output_buffer_limit=size)
            except self._library.error as exc:
                raise _Corrupt(str(exc)) from None
            self.complete = self._stream.is_finished()
            self._has_more = not self.complete and (
                bool(data) or not self._stream.can_accept_more_data()
            )
            self._surplus = memoryview(data)
        piece, self._surplus = self._surplus[:size], self._surplus[size:]
        return bytes(piece)


def _zstd() -> Callable[[], _Stage] | None:
    for name in ("compression.zstd", "backports.zstd"):
        try:
            library = import_module(name)
        except ImportError:
            continue
        return lambda: _Zstd(library)
    return None


def _brotli() -> Callable[[], _Stage] | None:
    try:
        library = import_module("brotli")
    except ImportError:
        return None
    # Earlier versions have no limit on the output.
    if not hasattr(library.Decompressor, "can_accept_more_data"):
        return None
    return lambda: _Brotli(library)


#: How each coding gets its stage: a function that returns another, or ``None`` if the coding's
#: library is not installed. In the order of `accept_encoding`.
_CODINGS: dict[str, Callable[[], Callable[[], _Stage] | None]] = {
    "gzip": lambda: lambda: _Inflate(_GZIP),
    "deflate": lambda: _Deflate,
    "zstd": _zstd,
    "br": _brotli,
}


@lru_cache
def _maker(coding: str) -> Callable[[], _Stage] | None:
    find = _CODINGS.get(coding)
    return None if find is None else find()


@lru_cache
def accept_encoding() -> str:
    """Return the value of ``Accept-Encoding``: the codings that can be decoded."""
    return ", ".join(coding for coding in _CODINGS if _maker(coding) is not None)


#: Statuses of responses that are never decoded, besides 1xx (rule 1).
_NOT_DECODED = frozenset({204, 206, 304})


def decoder_for(method: str, status: int, headers: Headers, response: Any = None) -> Decoder | None:
    """Return the decoder for the body of a response; ``None`` if it is not decoded (rules 1 to 3).

    Args:
        method: the method of the request.
        status: the status of the response.
        headers: the fields of the response.
        response: the response, for exceptions.

    Raises:
        InvalidResponse: there are too many codings.
    """
    if not headers.mentions("content-encoding"):
        return None
    if method == "HEAD" or status < 200 or status in _NOT_DECODED:
        return None
    values = headers.get_all("content-encoding", [])
    names = [name.lower() for value in values for name in split_list(value)]
    names = ["gzip" if name == "x-gzip" else name for name in names]
    codings = [name for name in names if name not in ("", "identity")]
    if len(codings) > MAX_CODINGS:
        raise InvalidResponse(
            f"the body has {len(codings)} content codings, more than {MAX_CODINGS}",
            response,
            part="coding",
        )
    if not codings or any(_maker(name) is None for name in codings):
        return None
    return Decoder(codings, response)


class Decoder:
    """Decodes the body of one response. After an exception, it raises that exception again.

    Args:
        codings: names of codings that can be decoded, in the order in which they were applied.
        response: the response, for exceptions.

    Attributes:
        finished: whether all of the body was decoded and read.
    """

    __slots__ = ("_budget", "_codings", "_failure", "_response", "_stages", "_surplus", "_touched",
                 "finished")  # fmt: skip

    def __init__(self, codings: list[str], response: Any = None) -> None:
        self._codings = codings[::-1]
        self._stages: list[_Stage] = []
        for coding in self._codings:
            maker = _maker(coding)
            assert maker is not None, coding
            self._stages.append(maker())
        self._touched = [False] * len(self._stages)  # whether a stage got any data
        self._response = response
        self._failure: str | None = None
        self._surplus = b""
        self._budget = 0
        self.finished = False

    @property
    def needs_input(self) -> bool:
        """Whether nothing can be read before the next `feed` or `end`."""
        if self.finished or self._surplus:
            return False
        return all(stage.needs_input for stage in self._stages)

    def feed(self, data: ReadableBuffer) -> None:
        """Take the next encoded bytes, which are copied unless they are `bytes`.

        Call this only if `needs_input` is true. That bounds the memory.
        """
        self._check()
        assert self.needs_input, "earlier data have not been decoded yet"
        data = data if type(data) is bytes else bytes(data)
        if data:
            self._feed(0, data)

    def end(self) -> None:
        """Report the end of the encoded body. Call this only if `needs_input` is true.

        Raises:
            InvalidResponse: the body is truncated.
        """
        self._check()
        assert self.needs_input, "earlier data have not been decoded yet"
        for coding, stage, touched in zip(self._codings, self._stages, self._touched, strict=True):
            if touched and not stage.complete:
                raise self._failed(f"the body is truncated: its {coding} data do not end")
        self.finished = True

    def read(self, size: int) -> bytes:
        """Return at most *size* decoded bytes. None may mean several things: see `readinto`.

        Raises:
            InvalidResponse: the data are corrupt.
        """
        self._check()
        if size == 0:
            return b""
        data = self._surplus
        if not data:
            self._budget = MAX_BLOCKS
            data = self._read(len(self._stages) - 1, max(size, _MIN_SIZE))
        self._surplus = data[size:]
        return data[:size]

    def readinto(self, buffer: WriteableBuffer) -> int:
        """Decode into a buffer, which must be contiguous.

        Returns:
            The number of bytes. 0 means one of three things: `finished` is true; `needs_input` is
            true; or much data was decoded and dropped, so call again.

        Raises:
            InvalidResponse: the data are corrupt.
        """
        view = memoryview(buffer).cast("B")
        # zlib allocates what it is asked for, and a huge buffer can be filled in several steps.
        data = self.read(min(len(view), BLOCK_SIZE))
        view[: len(data)] = data
        return len(data)

    def _feed(self, index: int, data: bytes) -> None:
        self._touched[index] = True
        self._stages[index].feed(data)

    def _read(self, index: int, size: int) -> bytes:
        """Return data that the stage with this index has decoded."""
        stage = self._stages[index]
        while True:
            try:
                data = stage.read(size)
            except _Corrupt as exc:
                text = f"the body is not valid {self._codings[index]} data: {exc}"
                raise self._failed(text) from None
            if data or index == 0 or not self._budget:
                return data
            self._budget -= 1
            data = self._read(index - 1, BLOCK_SIZE)
            if not data:
                return data
            self._feed(index, data)

    def _check(self) -> None:
        if self._failure is not None:
            raise self._failed(self._failure)

    def _failed(self, text: str) -> InvalidResponse:
        self._failure = text
        return InvalidResponse(text, self._response, part="coding")
