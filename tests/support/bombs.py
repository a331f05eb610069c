"""Decode a bomb under an address-space limit: ``python -m tests.support.bombs CODINGS GIGABYTES``.

A bomb is a short stream that decodes to zero bytes. Prints how many. CODINGS are separated by
commas, in the order in which they are applied. The largest allocation that the limit allows is much
smaller than what any piece of the bomb decodes to.
"""

from __future__ import annotations

import resource
import sys
import zlib
from collections.abc import Iterator
from typing import Any

from dugong.client.coding import Decoder

#: What decoding may add to the address space, in bytes. Windows take up to 24 MiB of it.
ROOM = 64 * 1024 * 1024

#: The unit that a bomb repeats, where its format has members or frames.
UNIT = 100_000_000


def encoded(coding: str, size: int) -> Iterator[bytes]:
    """Yield a stream of *size* zero bytes."""
    zeros = bytes(1_000_000)
    if coding in ("gzip", "zstd"):  # repeat one member or frame
        unit = b"".join(_stream(_encoder(coding), zeros, UNIT))
        for _ in range(size // UNIT):
            yield unit
    else:
        yield from _stream(_encoder(coding), zeros, size)


def _stream(encoder: Any, zeros: bytes, size: int) -> Iterator[bytes]:
    compress = getattr(encoder, "compress", None) or encoder.process
    for _ in range(size // len(zeros)):
        yield compress(zeros)
    yield (getattr(encoder, "finish", None) or encoder.flush)()


def _encoder(coding: str) -> Any:
    if coding == "br":
        import brotli

        return brotli.Compressor(quality=1)
    if coding == "zstd":
        try:
            from compression import zstd  # type: ignore[import-not-found, unused-ignore]
        except ImportError:
            from backports import zstd
        return zstd.ZstdCompressor()
    window = {"gzip": 31, "deflate": 15, "raw": -15}[coding]
    return zlib.compressobj(1, zlib.DEFLATED, window)


def main(codings: str, gigabytes: str) -> None:
    names = codings.split(",")
    pieces = encoded(names[0], int(float(gigabytes) * 1e9))
    for name in names[1:]:
        encoder = _encoder(name)
        compress = getattr(encoder, "compress", None) or encoder.process
        last = getattr(encoder, "finish", None) or encoder.flush
        pieces = iter([*map(compress, pieces), last()])
    bomb = b"".join(pieces)

    decoder = Decoder(["deflate" if name == "raw" else name for name in names])
    with open("/proc/self/statm") as file:  # noqa: PTH123 - before the limit
        limit = int(file.read().split()[0]) * resource.getpagesize() + ROOM
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))

    total, at = 0, 0
    buffer = bytearray(100_000)
    while True:
        count = decoder.readinto(buffer)
        total += count
        if decoder.finished:
            break
        if count == 0 and decoder.needs_input:
            piece = bomb[at : at + 65536]
            at += len(piece)
            if piece:
                decoder.feed(piece)
            else:
                decoder.end()
    print(total, len(bomb))  # noqa: T201


if __name__ == "__main__":
    main(*sys.argv[1:])
