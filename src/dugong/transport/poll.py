"""`PollNeeded`, which a coroutine yields to wait, and the blocking driver.

Theory of operation
===================

A coroutine of this package is a generator. It never blocks. When it cannot continue, it yields a
`PollNeeded`: a descriptor, an event mask, and possibly a timeout. A *driver* waits in the style of
the program (blocking, asyncio, trio) and resumes the coroutine:

1. When the descriptor is ready, the driver resumes the coroutine with `next`. Ready includes failed
   and closed: the coroutine repeats its system call and finds out.
2. When `PollNeeded.timeout` has passed, the driver does the same. A coroutine must expect to be
   resumed early and repeat the wait.
3. When a limit of the driver's own has passed (`timeout`, `deadline`), the driver throws a
   `ConnectionTimedOut` into the coroutine, which can release resources and add details.
4. Any other exception that ends the driver, such as that of a signal handler, closes the coroutine.
5. A wait that *parks* (`PollNeeded.parks`) is not for the network. A driver that knows it registers
   a callback (`PollNeeded.park`), and no descriptor is needed. Any other driver uses `fd` and
   `mask` as always, and only then is there a descriptor.

`run` is the blocking driver, and `Limits` keeps the time limits of one call for all drivers.
"""

from __future__ import annotations

import math
import select
import time
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any, NoReturn, Self, TypeAlias, TypeVar

from ..errors import ConnectionTimedOut
from ..protocol.arguments import check_generator, check_seconds
from .timeouts import Timeouts, check_timeout

if TYPE_CHECKING:
    from ..protocol.content import AsyncIterableContent

T = TypeVar("T")

#: Event masks, as in `select.poll` and `select.epoll`. The numbers are for systems without `poll`.
POLLIN: int = getattr(select, "POLLIN", 1)
POLLOUT: int = getattr(select, "POLLOUT", 4)


class PollNeeded(tuple[int, int]):  # noqa: SLOT001 - a tuple cannot have a slot for timeout
    """The condition that a coroutine waits for: the pair ``(fd, mask)``.

    Attributes:
        fd: a file descriptor.
        mask: `POLLIN`, `POLLOUT`, or both, as for `select.poll`.
        timeout: seconds after which the driver must resume the coroutine anyway, or ``None``.
        phase: the phase that the wait is part of (see `ConnectionTimedOut.phase`), or ``None``.
    """

    timeout: float | None = None
    phase: str | None = None
    #: Whether the coroutine keeps its own limit, and the driver's `timeout` does not apply.
    limited = False
    #: The body whose next piece the driver must fetch. If the descriptor becomes ready first, the
    #: driver resumes the coroutine without it. A mask of 0 means that there is no descriptor. Only
    #: drivers of the async methods see this.
    body: AsyncIterableContent | None = None
    #: Whether `park` works, and is better than the descriptor.
    parks: bool = False
    _poller: Any = None

    def __new__(
        cls, fd: int, mask: int, timeout: float | None = None, phase: str | None = None
    ) -> Self:
        self = super().__new__(cls, (fd, mask))
        if timeout is not None:
            self.timeout = timeout
        if phase is not None:
            self.phase = phase
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        state = {name: value for name, value in vars(self).items() if name != "_poller"}
        return type(self), tuple(self), state  # a poller cannot be pickled

    @property
    def fd(self) -> int:
        return self[0]

    @property
    def mask(self) -> int:
        return self[1]

    def park(self, callback: Callable[[], object]) -> Callable[[], object]:
        """Have *callback* called when the wait is over, if `parks` is true.

        It is called at least once, in any thread, at any moment, perhaps before this returns, and
        perhaps in a finalizer. So it must not wait. It raises `RuntimeError` if the coroutine will
        never be resumed, because its event loop is closed.

        Returns:
            A function that ends the registration. *callback* may still be running in another
            thread.
        """
        raise TypeError("this wait has a descriptor: use fd and mask")

    def _last_progress(self) -> float:
        """Return when the coroutine last got closer to its end while it was parked."""
        return -math.inf

    def _shortened(self, seconds: float | None) -> PollNeeded:
        """Return a copy with another `timeout`."""
        copied = PollNeeded(self[0], self[1], seconds, self.phase)
        copied.body = self.body
        return copied

    def poll(self, timeout: float | None = None) -> bool:
        """Block until the descriptor is ready.

        Args:
            timeout: the longest wait in seconds; ``None`` for no limit.

        Returns:
            Whether it is ready. A descriptor that has failed or was closed counts as ready: the
            coroutine finds out when it is resumed.
        """
        if timeout == 0 and self._poller is not None:  # is an idle connection readable?
            try:
                return bool(self._poller.poll(0))
            except RuntimeError:  # as below
                pass
        left = timeout
        while True:
            seconds = WAIT if left is None or left > WAIT else max(left, 0.0)
            if not _HAS_POLL:
                ready = self._select(seconds)
            else:
                try:
                    ready = (self._poller or self._make_poller()).poll(seconds * 1000)
                except RuntimeError:  # a poll object does not let two threads wait at a time
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

#: Seconds after which a blocking wait returns to the interpreter, to run signal handlers. A signal
#: that arrives between the interpreter's last check and the system call does not end that call, and
#: neither does one that another thread receives. Without this limit, the handler (for example for
#: ctrl-C) would run only when the wait is over, which may be never.
WAIT = 1.0

#: Bytes after which a coroutine yields although it could continue without waiting. The driver then
#: checks its time limits, and an event loop runs its other tasks. At a gigabyte per second, that is
#: every 16 milliseconds.
TURN_SIZE = 16 * 1024 * 1024


def pause(need: PollNeeded) -> PollNeeded:
    """Return a `PollNeeded` that gives the driver a turn and lets it continue immediately.

    It has the timeout 0. Its mask includes `POLLOUT` for drivers that ignore the timeout, because
    the descriptor is usually writable. `POLLIN` alone would not do: the received data may already
    be in the buffers of the TLS library.
    """
    return PollNeeded(need.fd, POLLIN | POLLOUT, 0.0, need.phase)


#: A coroutine in the sense of this package: it yields `PollNeeded` and returns a T.
Co: TypeAlias = Generator[PollNeeded, Any, T]


def eval_coroutine(
    crt: Co[T], timeout: float | Timeouts | None = None, deadline: float | None = None
) -> T:
    """Run a coroutine to its end, block whenever it waits, and return its result.

    Args:
        crt: any generator that yields `PollNeeded`.
        timeout: the limit for one wait in seconds, or `Timeouts`. ``None`` is no limit; 0 does not
            wait at all.
        deadline: the limit for the whole call in seconds; ``None`` is no limit.

    Raises:
        TypeError, InvalidRequest: an argument is not valid.
        ConnectionTimedOut: a limit has passed. It is thrown into the coroutine, which can still
            release resources and add details to the exception.
    """
    check_generator(crt)
    timeout = check_timeout(timeout)
    deadline = check_seconds(deadline, "deadline")
    return run(crt, timeout, deadline, None)


def run(
    crt: Co[T],
    timeout: float | Timeouts | None,
    deadline: float | None,
    count: Callable[[], int] | None,
) -> T:
    """Run *crt* as `eval_coroutine` does, with checked arguments. For *count*, see `Limits`."""
    result: T
    try:
        limits = None if deadline is None else Limits(timeout, deadline, count)
        need = next(crt)  # most calls never wait
        run_on(crt, need, timeout, count, limits)
    except StopIteration as stop:
        result = stop.value
        return result
    except BaseException:
        # A signal handler may have raised while the coroutine was suspended. The traceback would
        # keep it alive and suspended, and its `finally` clauses would run much later.
        crt.close()
        raise


def run_on(
    crt: Co[T],
    need: PollNeeded,
    timeout: float | Timeouts | None,
    count: Callable[[], int] | None,
    limits: Limits | None,
) -> NoReturn:
    """Run the rest of *crt*, which has yielded *need*.

    Raises:
        StopIteration: *crt* has returned; its result is the exception's `value`. Any other
            exception comes from *crt* or from a signal handler. Then the caller closes *crt*.
    """
    if not isinstance(timeout, Timeouts):
        # Most waits need no `Limits`.
        while limits is None and need.timeout is None and not need.parks:
            if need.poll(timeout) or timeout is None:
                need = next(crt)
            else:
                need = crt.throw(timed_out(quiet(timeout, need.phase), need.phase))
    limits = limits or Limits(timeout, None, count)
    while True:
        seconds, too_long = limits.next_wait(need)
        if not limits.over and need.poll(seconds):
            limits.moved()
            need = next(crt)
        elif too_long is None:
            need = next(crt)
        elif limits.over or not limits.restarted(need):
            need = crt.throw(timed_out(too_long, limits.phase))


def timed_out(message: str, phase: str | None) -> ConnectionTimedOut:
    """Return the `ConnectionTimedOut` to throw into a coroutine when a limit has passed."""
    exc = ConnectionTimedOut(message)
    exc.phase = phase
    return exc


def quiet(seconds: float, phase: str | None) -> str:
    """Return the message of a `ConnectionTimedOut` for one wait longer than *seconds*."""
    return _too_long("no data transferred for", seconds, phase, f"timeout={seconds:g}")


def not_done(seconds: float, phase: str | None) -> str:
    """Return the message of a `ConnectionTimedOut` for a deadline of *seconds*."""
    return _too_long("not done within", seconds, phase, f"deadline={seconds:g}")


def _too_long(words: str, seconds: float, phase: str | None, limit: str) -> str:
    unit = "second" if seconds == 1 else "seconds"
    where = "" if phase is None else f"phase {phase!r}, "
    return f"{words} {seconds:g} {unit} ({where}{limit})"


#: The phases to which `Timeouts.connect` applies as a whole.
CONNECTING = ("resolve", "connect", "tls")


class Limits:
    """The time limits of one call, for its driver.

    *timeout* limits the time without progress. It restarts when a wait succeeds (`moved`) and when
    *count* changes. It does not restart when a wait ends by `PollNeeded.timeout`: a coroutine that
    waits in short steps must not outlive the limit.

    Args:
        timeout: the limit in seconds, `Timeouts`, or ``None``.
        deadline: the limit for the whole call in seconds, or ``None``.
        count: returns the number of bytes moved so far. A change restarts *timeout*.
        clock: returns the time in seconds; by default `time.monotonic`.
        end: the time when *deadline* passes, if it began before this call.

    Attributes:
        over: whether the deadline has passed, so that the driver must not wait again. The first
            wait of a call is exempt, so that data that has already arrived is still received.
        phase: the phase of the wait that `next_wait` has limited.
    """

    __slots__ = (
        "_clock",
        "_connecting_since",
        "_count",
        "_counted",
        "_deadline",
        "_end",
        "_quiet_since",
        "_timeout",
        "_waited",
        "over",
        "phase",
    )

    def __init__(
        self,
        timeout: float | Timeouts | None,
        deadline: float | None,
        count: Callable[[], int] | None = None,
        clock: Callable[[], float] | None = None,
        end: float | None = None,
    ) -> None:
        self._clock = clock or time.monotonic
        self._count = count
        self._counted = 0 if count is None else count()
        self._timeout = timeout
        self._deadline = deadline
        if end is None and deadline is not None:
            end = self._clock() + deadline
        self._end = end
        self._quiet_since: float | None = None
        self._connecting_since: float | None = None
        self._waited = False
        self.over = False
        self.phase: str | None = None

    def moved(self) -> None:
        """Record that a wait succeeded, as opposed to timing out."""
        self._quiet_since = None

    def restarted(self, need: PollNeeded) -> bool:
        """Whether the limit of a wait that has timed out has restarted during the wait.

        This can only happen while the coroutine is parked: it waits in a queue, and the queue has
        moved. The driver then waits again.
        """
        if not need.parks:
            return False
        seconds, too_long = self.next_wait(need)
        return too_long is None or seconds is None or seconds > 0

    def next_wait(self, need: PollNeeded) -> tuple[float | None, str | None]:
        """Return the limit of the next wait.

        Returns:
            The seconds to wait, ``None`` for no limit; and the message of the `ConnectionTimedOut`
            to throw into the coroutine after that, ``None`` if it is to be resumed instead.
        """
        seconds, too_long, self.phase = need.timeout, None, need.phase
        if need.body is not None or not (need.parks or need.mask):
            self._quiet_since = None  # the coroutine does not wait for the network
        elif self._timeout is not None and not need.limited:
            limit, since, words, name = self._limit(need)
            if limit is not None:
                left = max(0.0, since + limit - self._clock())
                if seconds is None or left <= seconds:
                    seconds = left
                    too_long = _too_long(words, limit, self.phase, name)
        if self._end is not None and self._deadline is not None:
            left = max(0.0, self._end - self._clock())
            self.over = left == 0 and self._waited
            self._waited = True
            if seconds is None or left <= seconds:
                seconds = left
                self.phase = need.phase
                too_long = not_done(self._deadline, need.phase)
        return seconds, too_long

    def _limit(self, need: PollNeeded) -> tuple[float | None, float, str, str]:
        """Return the limit in seconds, the time from which it counts, and words for a message."""
        if self._count is not None and self._counted != (count := self._count()):
            self._counted = count
            self._quiet_since = None
        if self._quiet_since is None:
            self._quiet_since = self._clock()
        if need.parks:
            return self._limit_parked(need, self._quiet_since)
        timeout, words = self._timeout, "no data transferred for"
        if not isinstance(timeout, Timeouts):
            assert timeout is not None
            return timeout, self._quiet_since, words, f"timeout={timeout:g}"
        if need.phase in CONNECTING:
            if self._connecting_since is None:
                self._connecting_since = self._clock()
            limit = timeout.connect
            return limit, self._connecting_since, "not connected within", _named("connect", limit)
        self._connecting_since = None
        limit, name = timeout.receive, "receive"
        if need.phase == "send":
            limit, name = timeout.send, "send"
        elif need.mask & POLLOUT and _is_shorter(timeout.send, limit):
            # A receiver that waits for both: queued requests cannot be sent either.
            limit, name, self.phase = timeout.send, "send", "send"
        return limit, self._quiet_since, words, _named(name, limit)

    def _limit_parked(self, need: PollNeeded, since: float) -> tuple[float | None, float, str, str]:
        since = max(since, need._last_progress())
        timeout, words = self._timeout, "no connection of the pool became free for"
        if not isinstance(timeout, Timeouts):
            assert timeout is not None
            return timeout, since, words, f"timeout={timeout:g}"
        return timeout.pool, since, words, _named("pool", timeout.pool)


def _is_shorter(limit: float | None, other: float | None) -> bool:
    return limit is not None and (other is None or limit < other)


def _named(name: str, limit: float | None) -> str:
    return f"timeout=Timeouts({name}={limit})"
