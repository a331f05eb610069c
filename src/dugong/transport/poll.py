"""`PollNeeded`, by which a coroutine says what it waits for, and the driver that blocks."""

from __future__ import annotations

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

#: Event masks, as in `select.poll` and `select.epoll`. The numbers serve where `poll` is missing.
POLLIN: int = getattr(select, "POLLIN", 1)
POLLOUT: int = getattr(select, "POLLOUT", 4)


class PollNeeded(tuple[int, int]):  # noqa: SLOT001 - a tuple cannot have a slot for timeout
    """What a coroutine waits for before it is to be resumed: the pair ``(fd, mask)``.

    Attributes:
        fd: a file descriptor.
        mask: `POLLIN`, `POLLOUT`, or both, as for `select.poll`.
        timeout: seconds after which the coroutine wants to be resumed anyway, or ``None``.
        phase: what the wait is part of (see `ConnectionTimedOut.phase`), or ``None``.
    """

    timeout: float | None = None
    phase: str | None = None
    #: Whether the coroutine keeps a limit of its own, in place of the driver's `timeout`.
    limited = False
    #: The body whose next piece is to be fetched. If the descriptor is ready meanwhile, the
    #: coroutine is to be resumed without it. Only for the drivers of the async methods.
    body: AsyncIterableContent | None = None
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

#: Bytes after which a coroutine gives its driver a turn, although it could go on without waiting:
#: to keep the time limits, and for the other tasks of an event loop. At a gigabyte a second, that
#: is every 16 milliseconds.
TURN_SIZE = 16 * 1024 * 1024


def pause(need: PollNeeded) -> PollNeeded:
    """Return what to yield for no longer than the driver needs.

    The descriptor is usually writable, so a driver that ignores the timeout goes on as well. What
    it is waited for may have been received already, and lie in the buffers of the TLS library.
    """
    return PollNeeded(need.fd, POLLIN | POLLOUT, 0.0, need.phase)


#: A coroutine in the sense of this package: it yields what it waits for and returns a T.
Co: TypeAlias = Generator[PollNeeded, Any, T]


def eval_coroutine(
    crt: Co[T], timeout: float | Timeouts | None = None, deadline: float | None = None
) -> T:
    """Run a coroutine to its end, blocking whenever it waits, and return its result.

    Args:
        crt: any generator that yields `PollNeeded`.
        timeout: seconds that one wait may take; ``None`` is no limit, 0 does not wait at all. Or
            `Timeouts`.
        deadline: seconds that all of it may take; ``None`` is no limit.

    Raises:
        TypeError, InvalidRequest: an argument is not valid.
        ConnectionTimedOut: it took longer. This is thrown into the coroutine, which may still
            clean up, and add what it knows to the exception.
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
    """Do what `eval_coroutine` does; *count* is as in `Limits`."""
    result: T
    try:
        limits = None if deadline is None else Limits(timeout, deadline, count)
        need = next(crt)  # most calls never wait
        run_on(crt, need, timeout, count, limits)
    except StopIteration as stop:
        result = stop.value
        return result
    except BaseException:
        # A signal handler may have raised: the frames of its exception would keep the coroutine in
        # the middle of its work.
        crt.close()
        raise


def run_on(
    crt: Co[T],
    need: PollNeeded,
    timeout: float | Timeouts | None,
    count: Callable[[], int] | None,
    limits: Limits | None,
) -> NoReturn:
    """Do the rest of `run`: *crt* was started, and has yielded *need*.

    Raises:
        StopIteration: *crt* has returned this exception's value. Anything else comes from *crt*,
            or from a signal handler: then the caller closes it.
    """
    if not isinstance(timeout, Timeouts):
        while limits is None and need.timeout is None:  # most waits
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
        else:
            need = crt.throw(timed_out(too_long, limits.phase))


def timed_out(message: str, phase: str | None) -> ConnectionTimedOut:
    """Return what to throw into a coroutine whose time is over."""
    exc = ConnectionTimedOut(message)
    exc.phase = phase
    return exc


def quiet(seconds: float, phase: str | None) -> str:
    """Return what a `ConnectionTimedOut` says when *seconds* were too long for one wait."""
    return _too_long("no byte moved for", seconds, phase, f"timeout={seconds:g}")


def not_done(seconds: float, phase: str | None) -> str:
    """Return what a `ConnectionTimedOut` says when a deadline of *seconds* has passed."""
    return _too_long("not done within", seconds, phase, f"deadline={seconds:g}")


def _too_long(words: str, seconds: float, phase: str | None, limit: str) -> str:
    unit = "second" if seconds == 1 else "seconds"
    where = "" if phase is None else f"phase {phase!r}, "
    return f"{words} {seconds:g} {unit} ({where}{limit})"


#: The phases that `Timeouts.connect` limits together.
CONNECTING = ("resolve", "connect", "tls")


class Limits:
    """The time limits of one call, for its driver.

    Args:
        timeout: seconds that one wait may take, `Timeouts`, or ``None``.
        deadline: seconds that the whole call may take, or ``None``.
        count: returns how many bytes have moved. A change restarts *timeout*.
        clock: what time it is, in seconds.
        end: when *deadline* is over, if it has begun before this call.

    Attributes:
        over: whether the deadline has passed, so that nothing more is to be waited for. What is
            there before the first wait is taken all the same.
        phase: of the wait that was to take too long, as `next_wait` has returned.
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
        """What was waited for has come, and did not merely take too long."""
        self._quiet_since = None

    def next_wait(self, need: PollNeeded) -> tuple[float | None, str | None]:
        """Return for how many seconds to wait, ``None`` for no limit, and what comes after them.

        That is the message of a `ConnectionTimedOut` to throw into the coroutine, or ``None`` if
        it is then simply to be resumed.
        """
        seconds, too_long, self.phase = need.timeout, None, need.phase
        if not need.mask or need.body is not None:
            self._quiet_since = None  # nothing is expected of the network
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
        """Return the limit of the wait, since when it counts, and what to say of it."""
        if self._count is not None and self._counted != (count := self._count()):
            self._counted = count
            self._quiet_since = None
        if self._quiet_since is None:
            self._quiet_since = self._clock()
        timeout, words = self._timeout, "no byte moved for"
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
            # More is to be sent meanwhile, and cannot be.
            limit, name, self.phase = timeout.send, "send", "send"
        return limit, self._quiet_since, words, _named(name, limit)


def _is_shorter(limit: float | None, other: float | None) -> bool:
    return limit is not None and (other is None or limit < other)


def _named(name: str, limit: float | None) -> str:
    return f"timeout=Timeouts({name}={limit})"
