"""The time limits of one exchange, which its coroutines keep themselves.

Theory of operation
===================

1. `timeout` and `deadline` of a connection belong to drivers. The limits that are passed with one
   exchange (or one pipeline) belong to its coroutines, so they hold in any loop.
2. `co_within` runs a coroutine as a driver does, except that it passes each wait on, shortened
   to what is left. So every wait of an exchange passes through this one place, whichever module
   it comes from, and a coroutine cannot tell who has thrown a `ConnectionTimedOut` into it. An
   exchange without limits of its own never gets here.
3. Not all that takes time is a wait: the response may lie in the system's buffers when a reading
   call begins, and sending may never have to wait. So those who receive, and those who send,
   ask `ExchangeLimits.passed` before they take anything or give anything away. The former go on
   if the last byte has arrived, and otherwise wait, for which rule 2 leaves no time.
4. A driver that does not honour `PollNeeded.timeout` notices late. It is told at the next resume.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Final

from .monitor import Monitor
from .poll import Co, Limits, PollNeeded, T, not_done, timed_out
from .timeouts import Timeouts

#: Seconds for which a coroutine without a limit lets its driver wait, whose own does not apply.
_LONG = 86400.0


class Unset(Enum):
    """That an argument was not given, where ``None`` means something else."""

    UNSET = "the connection's own"

    def __repr__(self) -> str:
        return self.value


UNSET: Final = Unset.UNSET


class ExchangeLimits:
    """The time limits of one exchange, or of one pipeline. They count from when this is made.

    Args:
        monitor: has the clock, and counts the bytes that move.
        deadline: seconds up to the last byte, ``None`` for no limit.
        timeout: as `HTTPConnection.timeout`, in place of it; `UNSET` leaves it as it is.
    """

    __slots__ = ("_deadline", "_end", "_monitor", "_timeout")

    def __init__(
        self,
        monitor: Monitor,
        deadline: float | None,
        timeout: float | Timeouts | Unset | None = UNSET,
    ) -> None:
        self._monitor = monitor
        self._deadline = deadline
        self._timeout = timeout
        self._end = None if deadline is None else monitor.clock() + deadline

    @property
    def passed(self) -> bool:
        """Whether the deadline has passed."""
        return self._end is not None and self._monitor.clock() >= self._end

    def check(self, phase: str) -> None:
        """Raise `ConnectionTimedOut` if the deadline has passed."""
        if self.passed:
            assert self._deadline is not None
            raise timed_out(not_done(self._deadline, phase), phase)

    def co_keep(self, crt: Co[T]) -> Co[T]:
        """Run *crt*, all of which belongs to this exchange. See `co_within`."""
        return co_within(lambda: self, crt)

    def for_call(self) -> Limits:
        """Return the limits of one call that begins now."""
        timeout = None if self._timeout is UNSET else self._timeout
        monitor = self._monitor
        return Limits(timeout, self._deadline, monitor.bytes_moved, monitor.clock, self._end)

    def shorten(self, need: PollNeeded, seconds: float | None) -> PollNeeded:
        """Return *need* for at most *seconds*, with the driver's timeout only where it applies."""
        own = self._timeout is not UNSET
        if seconds is None and own:
            seconds = _LONG
        shortened = PollNeeded(need.fd, need.mask, seconds, need.phase)
        shortened.limited = own
        shortened.body = need.body
        return shortened


def co_within(find: Callable[[], ExchangeLimits | None], crt: Co[T]) -> Co[T]:
    """Run *crt* within time limits.

    Args:
        find: returns the limits of the exchange that *crt* is at now, or ``None``.
        crt: the coroutine.

    Raises:
        ConnectionTimedOut: a limit has passed. It was thrown into *crt*, and has come through it.
    """
    current: ExchangeLimits | None = None
    limits: Limits | None = None
    try:
        need = next(crt)
        while True:
            found = find()
            if found is not current:
                current, limits = found, None if found is None else found.for_call()
            seconds, too_long = need.timeout, None
            if limits is not None:
                seconds, too_long = limits.next_wait(need)
            if too_long is not None and not seconds:
                assert limits is not None
                if limits.over or not _has_come(need):
                    need = crt.throw(timed_out(too_long, limits.phase))
                    continue
            else:
                try:
                    yield need if current is None else current.shorten(need, seconds)
                except GeneratorExit:
                    raise
                except BaseException as exc:
                    need = crt.throw(exc)
                    continue
                if limits is None or not _has_come(need):
                    need = next(crt)  # it may have been resumed early, and waits on if it has
                    continue
            limits.moved()
            need = next(crt)
    except StopIteration as stop:
        result: T = stop.value
        return result
    except BaseException:
        crt.close()  # a signal handler may have raised
        raise


def _has_come(need: PollNeeded) -> bool:
    return bool(need.mask) and need.poll(0)  # without a mask, something else is waited for
