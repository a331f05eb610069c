"""Hostile and broken servers: the table in `tests.hostile`, run through the engine.

Each row arrives whole, byte by byte, split in two at every offset, and cut off at every offset.
"""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterable
from itertools import chain
from typing import Any

import pytest

from dugong import DugongError
from dugong.protocol.limits import BUFFER_SIZE
from tests.hostile import chunks, exchanges, heads, lengths
from tests.hostile.arrival import every, splits
from tests.hostile.engine import EnginePlay, Starved
from tests.hostile.floods import FLOODS, Flood
from tests.hostile.table import CHUNKED, OK, Case, cut_off, wrong_cases

CASES = [*heads.CASES, *lengths.CASES, *chunks.CASES, *exchanges.CASES]


def by_id(cases: Iterable[Any]) -> list[Any]:
    return [pytest.param(row, id=getattr(row, "id", None) or row.case.id) for row in cases]


@pytest.mark.parametrize("row", by_id(CASES))
def test_row(row: Case) -> None:
    for turn, boundaries in enumerate(splits(len(row.data), row.end)):
        try:
            EnginePlay(row, turn).run(boundaries)
        except BaseException as exc:
            exc.add_note(f"{row.data!r} split at {boundaries}")
            raise


@pytest.mark.parametrize("row", by_id(row for row in CASES if row.self_delimited))
def test_row_cut_off_at_every_offset(row: Case) -> None:
    """Whatever was delivered when it was whole is an error when its last byte is missing."""
    final = max(row.data.rfind(b"HTTP/1."), 0)
    for offset in range(len(row.data)):
        outcome = cut_off(started=True if offset > final else None if offset else False)
        try:
            EnginePlay(row, offset).run((), row.data[:offset], "close", (outcome,))
        except BaseException as exc:
            exc.add_note(f"cut off behind {row.data[:offset]!r}")
            raise


@pytest.mark.parametrize("flood", by_id(FLOODS))
def test_flood(flood: Flood) -> None:
    """Refused when the limit is met, however it arrives, and with no more memory than that."""
    pieces = ((), every(1 << 14), every(4099), chain(range(1, 200), every(1 << 13)))
    for turn, boundaries in enumerate(pieces):
        tracemalloc.start()
        try:
            received = EnginePlay(flood.case, turn).run(boundaries, unit=flood.unit)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        # What is received at once goes into the rest of the buffer, whatever it is.
        assert received <= flood.most + BUFFER_SIZE * (2 if flood.most < BUFFER_SIZE else 4)
        assert peak < 4_000_000


@pytest.mark.parametrize("head", [OK, CHUNKED])
def test_a_row_can_fail(head: bytes) -> None:
    """What is expected is compared: each of these differs from what the bytes mean."""
    for wrong in wrong_cases(head):
        with pytest.raises((AssertionError, pytest.fail.Exception, DugongError, Starved)):
            EnginePlay(wrong).run()
