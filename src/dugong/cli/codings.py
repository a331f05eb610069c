"""Content codings: gzip and deflate, decoded in bounded memory (RFC 9110 section 8.4).

The command requests ``identity``, but some servers send an encoded file nevertheless.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from itertools import chain

from ..protocol.grammar import split_list
from ..protocol.messages import HTTPResponse
from .output import Failure, size

#: Bytes that a decoder takes and produces in one step.
_BLOCK_SIZE = 16 * 1024

#: Two codings of one body occur by mistake. Many are an attack on the decoder.
_MOST_CODINGS = 5

#: The formats, as the window sizes by which `zlib` knows them.
_GZIP, _ZLIB, _RAW = 16 + zlib.MAX_WBITS, zlib.MAX_WBITS, -zlib.MAX_WBITS


def codings(response: HTTPResponse) -> list[str]:
    """Return the content codings of a response, in the order in which the server applied them.

    Raises:
        Failure: one of them is not supported, or there are too many.
    """
    values: list[str] = response.headers.get_all("Content-Encoding", [])
    names = [name.lower() for value in values for name in split_list(value)]
    found = [name.removeprefix("x-") for name in names if name not in ("", "identity")]
    for name in found:
        if name not in _DECODERS:
            raise Failure(f"its content coding is {name}: only gzip and deflate are supported")
    if len(found) > _MOST_CODINGS:
        raise Failure(f"it has {len(found)} content codings, more than {_MOST_CODINGS}")
    return found


def decoded(body: bytes, codings: list[str], limit: int) -> bytes:
    """Return *body* without its content codings.

    Args:
        body: as received, complete.
        codings: from the function of that name.
        limit: the most bytes that decoding may produce.

    Raises:
        Failure: the body is truncated or corrupt, or it is longer than *limit*.
    """
    if not body:
        return body  # an empty body is accepted with any coding
    pieces: Iterator[bytes] = (
        body[start : start + _BLOCK_SIZE] for start in range(0, len(body), _BLOCK_SIZE)
    )
    try:
        for name in reversed(codings):
            pieces = _limited(_DECODERS[name](pieces), limit)
        return b"".join(pieces)
    except zlib.error as exc:
        raise Failure(f"it is not valid {', '.join(codings)}: {exc}") from exc


def _limited(pieces: Iterator[bytes], limit: int) -> Iterator[bytes]:
    """Yield *pieces*, up to *limit* bytes of them.

    The limit applies to the output of each coding, not only of the last one. A coding may expand
    data that the next one shrinks, and that takes time.
    """
    total = 0
    for piece in pieces:
        total += len(piece)
        if total > limit:
            raise Failure(f"it is larger than {size(limit)} when decoded")
        yield piece


def _gzip(pieces: Iterator[bytes]) -> Iterator[bytes]:
    return _inflated(pieces, _GZIP)


def _deflate(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Decode deflate: zlib's format (RFC 1950), or without its wrapper, as some servers send it."""
    head = b""
    while len(head) < 2 and (piece := next(pieces, b"")):
        head += piece
    # CMF and FLG (RFC 1950 section 2.2): the method is 8, and both are a multiple of 31.
    is_wrapped = head[:1] and head[0] & 15 == 8 and int.from_bytes(head[:2], "big") % 31 == 0
    return _inflated(chain([head], pieces), _ZLIB if is_wrapped else _RAW)


def _inflated(pieces: Iterator[bytes], window: int) -> Iterator[bytes]:
    """Decompress one stream or several (members: RFC 1952 section 2.2), with zeros as padding."""
    stream = zlib.decompressobj(window)
    for piece in pieces:
        rest = piece
        while rest := rest.lstrip(b"\0") if stream.eof else rest:
            if stream.eof:
                stream = zlib.decompressobj(window)
            while data := stream.decompress(rest, _BLOCK_SIZE):
                yield data
                rest = stream.unconsumed_tail
            rest = stream.unused_data
    if not stream.eof:
        raise zlib.error("truncated")


_DECODERS = {"gzip": _gzip, "deflate": _deflate}
