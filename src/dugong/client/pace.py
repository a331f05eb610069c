"""`Pace`: receives a body at a limited rate."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .delay import co_delay

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..transport.poll import Co

#: The shares of a second in which data is received. More would wake the process more often, fewer
#: would be felt as pauses.
_PIECES = 10


class Pace:
    """Slows down the reading of one body. TCP's flow control then slows down the server.

    Time that the caller spends between two reads counts, but at most one second of it: after a long
    pause, the rate is not exceeded for long.

    Args:
        rate: bytes per second.
        clock: returns the time in seconds.

    Attributes:
        piece: the most bytes to receive at once.
    """

    __slots__ = ("_clock", "_next", "_rate", "piece")

    def __init__(self, rate: float, clock: Callable[[], float]) -> None:
        self._rate = rate
        self._clock = clock
        self._next = clock()  # when the next piece may be received
        self.piece = max(1, int(rate / _PIECES))

    def co_wait(self) -> Co[None]:
        """Wait until the next piece may be received."""
        seconds = self._next - self._clock()
        if seconds > 0:
            yield from co_delay(seconds, self._clock)

    def received(self, count: int) -> None:
        """Note that *count* bytes were received."""
        self._next = max(self._next, self._clock() - 1.0) + count / self._rate
