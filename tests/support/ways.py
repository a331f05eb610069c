"""Every way in which the same bytes may arrive."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar

T = TypeVar("T")


def ways(data: bytes) -> Iterator[list[bytes]]:
    """Whole, byte by byte, and split in two at every offset."""
    yield [data]
    yield [data[i : i + 1] for i in range(len(data))]
    for i in range(1, len(data)):
        yield [data[:i], data[i:]]


def in_every_way(
    data: bytes, read: Callable[[list[bytes]], T], *, trailing: bytes | None = None
) -> T:
    """Have *read* take the input in every way, and assert that it always makes the same of it.

    Args:
        data: a complete input: one message, one line.
        read: is given the pieces in order; returns (not raises) what came of them.
        trailing: bytes of the next message; with them arriving in the same piece as the end of
            *data*, nothing may change. None to leave this out.

    Returns:
        What *read* returned, every time.
    """
    expected = read([data])
    for pieces in ways(data):
        got = read(pieces)
        assert got == expected, f"{got!r}, not {expected!r}, when it comes as {pieces!r}"
        if trailing is not None:
            got = read([*pieces[:-1], pieces[-1] + trailing])
            assert got == expected, f"{got!r}, not {expected!r}, with {trailing!r} behind {pieces}"
    return expected
