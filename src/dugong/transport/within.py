"""The time limits of one exchange, kept by its coroutines.

Theory of operation
===================

1. The attributes `timeout` and `deadline` of a connection are kept by drivers. Limits that are
   passed with one exchange (or one pipeline) are kept by its coroutines, so they hold in any
   loop, including a loop of the caller's own.
2. `co_within` runs a coroutine like a driver, but passes each wait on to the real driver, with
   `PollNeeded.timeout` shortened to the time that is left. Every wait of an exchange passes
   through this one place. When a limit has passed, `co_within` throws `ConnectionTimedOut` into
   the coroutine, as a driver would. An exchange without its own limits does not use it.
3. An exchange can take time without waiting: the response may already be in the system's buffers
   when a reading call begins, and sending may never block. So the reader and the writer also
   check `ExchangeLimits.passed` before each receive and send. A writer then fails. A reader
   continues if the last byte has arrived. Otherwise it waits, and rule 2 leaves it no time.
4. With a driver that ignores `PollNeeded.timeout`, the timeout is raised late, when the driver
   next resumes the coroutine.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Final

from .monitor import Monitor
from .poll import Co, Limits, PollNeeded, T, not_done, timed_out
from .timeouts import Timeouts

#: Seconds that stand for "no limit" in `PollNeeded.timeout`, where ``None`` would let the driver's
#: own limit apply.
_LONG = 86400.0


class Unset(Enum):
    """Marks an argument that was not passed, where ``None`` means something else."""

    UNSET = "the connection's own"

    def __repr__(self) -> str:
        return self.value


UNSET: Final = Unset.UNSET


class ExchangeLimits:
    """The time limits of one exchange or pipeline. They count from the creation of this object.

    Args:
        monitor: has the clock, and counts the bytes that move.
        deadline: seconds until the last byte, ``None`` for no limit.
        timeout: replaces `HTTPConnection.timeout` for this exchange; `UNSET` keeps that.
        end: when the deadline passes, if it has begun before.
    """

    __slots__ = ("_deadline", "_end", "_monitor", "_timeout")

    def __init__(
        self,
        monitor: Monitor,
        deadline: float | None,
        timeout: float | Timeouts | Unset | None = UNSET,
        end: float | None = None,
    ) -> None:
        self._monitor = monitor
        self._deadline = deadline
        self._timeout = timeout
        self._end = monitor.clock() + deadline if deadline is not None and end is None else end

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
        """Run *crt* within these limits. All of it belongs to this exchange. See `co_within`."""
        return co_within(lambda: self, crt)

    def for_call(self) -> Limits:
        """Return the limits of one call that begins now."""
        timeout = None if self._timeout is UNSET else self._timeout
        monitor = self._monitor
        return Limits(timeout, self._deadline, monitor.bytes_moved, monitor.clock, self._end)

    def shorten(self, need: PollNeeded, seconds: float | None) -> PollNeeded:
        """Return *need* limited to *seconds*.

        If the exchange has its own timeout, the result is marked so that the driver's timeout
        does not apply (`PollNeeded.limited`).
        """
        own = self._timeout is not UNSET
        if seconds is None and own:
            seconds = _LONG
        shortened = need._shortened(seconds)
        shortened.limited = own
        return shortened


def co_within(find: Callable[[], ExchangeLimits | None], crt: Co[T]) -> Co[T]:
    """Run *crt* within time limits.

    Args:
        find: returns the limits of the current exchange of *crt*, or ``None``. A coroutine may go
            through several, for example when it finishes a response and then reads the next.
        crt: the coroutine.

    Raises:
        ConnectionTimedOut: a limit has passed. It was thrown into *crt*, which did not catch it.
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
                    need = next(crt)  # resumed early or by a timeout: it repeats the wait
                    continue
            limits.moved()
            need = next(crt)
    except StopIteration as stop:
        result: T = stop.value
        return result
    except BaseException:
        crt.close()  # see `poll.run`
        raise


def _has_come(need: PollNeeded) -> bool:
    # With an empty mask, it waits for something else.
    return (need.parks or bool(need.mask)) and need.poll(0)
