"""`PollNeeded`, by which a coroutine says what it waits for, and the driver that blocks."""

from __future__ import annotations

import select
import time
from collections.abc import Callable, Generator
from typing import Any, Self, TypeAlias, TypeVar

from ..errors import ConnectionTimedOut
from ..protocol.arguments import check_generator, check_seconds

T = TypeVar("T")

#: Event masks, as in `select.poll` and `select.epoll`. The numbers serve where `poll` is missing.
POLLIN: int = getattr(select, "POLLIN", 1)
POLLOUT: int = getattr(select, "POLLOUT", 4)


class PollNeeded(tuple[int, int]):  # noqa: SLOT001 - a tuple cannot have a slot for timeout
    """What a coroutine waits for before it is to be resumed: the pair ``(fd, mask)``.

    Attributes:
        fd: a file descriptor.
        mask: `POLLIN`, `POLLOUT`, or both, as for `select.poll`.
        timeout: seconds after which the coroutine wants to be resumed anyway, or ``None``.
    """

    timeout: float | None = None
    _poller: Any = None

    def __new__(cls, fd: int, mask: int, timeout: float | None = None) -> Self:
        self = super().__new__(cls, (fd, mask))
        if timeout is not None:
            self.timeout = timeout
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (*self, self.timeout)  # not the poller, which cannot be pickled

    @property
    def fd(self) -> int:
        return self[0]

    @property
    def mask(self) -> int:
        return self[1]

    def poll(self, timeout: float | None = None) -> bool:
        """Wait until the descriptor is ready.

        Args:
            timeout: how many seconds to wait at most; ``None`` for no limit.

        Returns:
            Whether it is ready, also in the sense that it failed or was closed. Resume the
            coroutine to find out.
        """
        left = timeout
        while True:
            seconds = _WAIT if left is None or left > _WAIT else max(left, 0.0)
            if not _HAS_POLL:
                ready = self._select(seconds)
            else:
                try:
                    ready = (self._poller or self._make_poller()).poll(seconds * 1000)
                except RuntimeError:  # another thread waits by the same object
                    ready = self._make_poller().poll(seconds * 1000)
            if ready:
                return True
            if left is not None:
                left -= seconds
                if left <= 0:
                    return False

    def _select(self, seconds: float) -> bool:
        fd, mask = self
        readers = [fd] if mask & POLLIN else []
        writers = [fd] if mask & POLLOUT else []
        return any(select.select(readers, writers, [fd], seconds))

    def _make_poller(self) -> Any:
        self._poller = poller = select.poll()
        poller.register(*self)
        return poller

    def __repr__(self) -> str:
        return f"PollNeeded(fd={self.fd}, mask={self.mask}, timeout={self.timeout})"


_HAS_POLL = hasattr(select, "poll")

#: Seconds after which a wait that blocks gives the interpreter a turn. A signal that comes between
#: its last look for signals and the system call, or to another thread, does not end that call: its
#: handler (ctrl-C, for one) would run when the wait is over, which may be never.
_WAIT = 1.0

#: A coroutine in the sense of this package: it yields what it waits for and returns a T.
Co: TypeAlias = Generator[PollNeeded, Any, T]


def eval_coroutine(crt: Co[T], timeout: float | None = None, deadline: float | None = None) -> T:
    """Run a coroutine to its end, blocking whenever it waits, and return its result.

    Args:
        crt: any generator that yields `PollNeeded`.
        timeout: seconds that one wait may take; ``None`` is no limit, 0 does not wait at all.
        deadline: seconds that all of it may take; ``None`` is no limit.

    Raises:
        TypeError, InvalidRequest: an argument is not valid.
        ConnectionTimedOut: it took longer. This is thrown into the coroutine, which may still
            clean up, and add what it knows to the exception.
    """
    check_generator(crt)
    timeout = check_seconds(timeout, "timeout")
    deadline = check_seconds(deadline, "deadline")
    return run(crt, timeout, deadline, None)


def run(
    crt: Co[T],
    timeout: float | None,
    deadline: float | None,
    count: Callable[[], int] | None,
) -> T:
    """Do what `eval_coroutine` does; *count* is as in `Limits`."""
    limits = None if deadline is None else Limits(timeout, deadline, count)
    result: T
    try:
        need = next(crt)
    except StopIteration as stop:  # most calls never wait
        result = stop.value
        return result
    return run_on(crt, need, timeout, count, limits)


def run_on(
    crt: Co[T],
    need: PollNeeded,
    timeout: float | None,
    count: Callable[[], int] | None,
    limits: Limits | None,
) -> T:
    """Do the rest of `run`: *crt* was started, and has yielded *need*."""
    result: T
    try:
        while limits is None and need.timeout is None:  # most waits
            if need.poll(timeout) or timeout is None:
                need = next(crt)
            else:
                need = crt.throw(ConnectionTimedOut(quiet(timeout)))
        limits = limits or Limits(timeout, None, count)
        while True:
            seconds, too_long = limits.next_wait(need)
            if not limits.over and need.poll(seconds):
                limits.moved()
                need = next(crt)
            elif too_long is None:
                need = next(crt)
            else:
                need = crt.throw(ConnectionTimedOut(too_long))
    except StopIteration as stop:
        result = stop.value
    finally:
        crt.close()  # a signal handler may have raised in the middle of a wait
    return result


def quiet(seconds: float | None) -> str:
    """Return what a `ConnectionTimedOut` says when *seconds* were too long for one wait."""
    return f"no byte moved for {seconds} seconds"


class Limits:
    """The time limits of one call, for its driver.

    Args:
        timeout: seconds that one wait may take, or ``None``.
        deadline: seconds that the whole call may take, or ``None``.
        count: tells how many bytes have moved, to see that some have.

    Attributes:
        over: whether the deadline has passed, so that nothing more is to be waited for. What is
            there before the first wait is taken all the same.
    """

    __slots__ = (
        "_count",
        "_counted",
        "_deadline",
        "_end",
        "_quiet_since",
        "_timeout",
        "_waited",
        "over",
    )

    def __init__(
        self,
        timeout: float | None,
        deadline: float | None,
        count: Callable[[], int] | None = None,
    ) -> None:
        self._count = count
        self._counted = 0 if count is None else count()
        self._timeout = timeout
        self._deadline = deadline
        self._end = None if deadline is None else time.monotonic() + deadline
        self._quiet_since: float | None = None
        self._waited = False
        self.over = False

    def moved(self) -> None:
        """What was waited for has come, and did not merely take too long."""
        self._quiet_since = None

    def next_wait(self, need: PollNeeded) -> tuple[float | None, str | None]:
        """Return for how many seconds to wait, ``None`` for no limit, and what comes after them.

        That is the message of a `ConnectionTimedOut` to throw into the coroutine, or ``None`` if
        it is then simply to be resumed.
        """
        seconds = need.timeout
        too_long = None
        if not need.mask:
            self._quiet_since = None  # nothing is expected of the network
        elif self._timeout is not None:
            if self._count is not None and self._counted != (count := self._count()):
                self._counted = count
                self._quiet_since = None
            if self._quiet_since is None:
                self._quiet_since = time.monotonic()
            left = max(0.0, self._quiet_since + self._timeout - time.monotonic())
            if seconds is None or left <= seconds:
                seconds = left
                too_long = quiet(self._timeout)
        if self._end is not None:
            left = max(0.0, self._end - time.monotonic())
            self.over = left == 0 and self._waited
            self._waited = True
            if seconds is None or left <= seconds:
                seconds = left
                too_long = f"not done within {self._deadline} seconds"
        return seconds, too_long
