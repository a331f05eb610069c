"""`Received`: which bytes of a resource have been received."""

from __future__ import annotations

from collections.abc import Iterable


class Received:
    """A set of bytes, as ranges ``(first, end)`` in which *end* is the byte after the last one.

    Args:
        ranges: the ranges to begin with.
    """

    def __init__(self, ranges: Iterable[tuple[int, int]] = ()) -> None:
        self.ranges: list[tuple[int, int]] = []
        for first, end in ranges:
            self.add(first, end)

    def add(self, first: int, end: int) -> None:
        """Add a range."""
        if first >= end:
            return
        merged: list[tuple[int, int]] = []
        for start, stop in self.ranges:
            if stop < first or start > end:
                merged.append((start, stop))
            else:
                first, end = min(first, start), max(end, stop)
        self.ranges = sorted([*merged, (first, end)])

    @property
    def size(self) -> int:
        """The number of bytes."""
        return sum(end - first for first, end in self.ranges)

    def missing(self, length: int) -> list[tuple[int, int]]:
        """Return the ranges of a resource of *length* bytes that are missing."""
        found, at = [], 0
        for first, end in self.ranges:
            if first > at:
                found.append((at, first))
            at = max(at, end)
        return [*found, (at, length)] if at < length else found


def split(ranges: list[tuple[int, int]], parts: int, smallest: int) -> list[tuple[int, int]]:
    """Split ranges into about *parts* pieces of similar size, none of them below *smallest*."""
    total = sum(end - first for first, end in ranges)
    size = max(smallest, -(-total // parts), 1)
    return [(at, min(at + size, end)) for first, end in ranges for at in range(first, end, size)]
