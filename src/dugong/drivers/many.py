"""`run_all`: a blocking driver for many coroutines in one thread. `Runner` is its machinery.

Theory of operation
===================

1. A coroutine in flight is a `_Task`. It is *waiting* (for a descriptor, for a callback, and
   perhaps until a time), or *ready*: listed in `_ready`, to be resumed. What it waits for is undone
   before it is resumed, because its next step may close the descriptor, whose number could then
   belong to another file.
2. One selector waits for all descriptors. Two tasks may wait for the same descriptor, such as the
   sender and the reader of one connection, so a descriptor has a list of tasks.
3. A wait that parks (`PollNeeded.parks`) ends with a callback, in any thread. The callback notes
   the number of the task, and writes to a socket pair if this driver sleeps (`_Wakeups`). So
   thousands of parked tasks need two descriptors. A number and not the task: the callback is kept
   by what the coroutine waits for, and a reference from there back to the coroutine would be a
   cycle.
4. An interrupt (such as ``KeyboardInterrupt``) may end a step of the iterator at any point. Each
   task is then still waiting or ready, and the next step continues. Only the coroutine that was
   running is lost.
5. A runner may be given coroutines at any time (`Runner.start`), each with its own limits. Time
   between two steps of the runner is no time without progress: `Runner.clock` leaves it out.
"""

from __future__ import annotations

import heapq
import math
import selectors
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Generic, Self

from ..protocol.arguments import check_generator, check_seconds, check_size
from ..transport.fork import disown_in_child
from ..transport.poll import POLLIN, POLLOUT, WAIT, Co, Limits, PollNeeded, T, timed_out
from ..transport.sockets import socketpair
from ..transport.timeouts import Timeouts, check_timeout

if TYPE_CHECKING:
    from types import TracebackType

#: Bytes read at a time from the socket pair: each stands for a wake-up.
_DRAIN = 4096


#: Timers of ended waits that are kept in any case, until their time.
_MOST_STALE = 100


class _Task(Generic[T]):
    """A coroutine in flight."""

    __slots__ = ("crt", "fd", "limits", "need", "number", "outcome", "too_long", "unpark", "wait")

    def __init__(self, number: int, crt: Co[T], limits: Limits) -> None:
        self.number = number
        self.crt = crt
        self.limits = limits
        self.need: PollNeeded | None = None
        self.wait = 0  # the number of the current wait; timers of earlier waits mean nothing
        self.fd = -1
        self.unpark: Callable[[], object] | None = None
        self.too_long: str | None = None


class _Wakeups:
    """The callbacks that have come."""

    def __init__(self) -> None:
        self.numbers: deque[int] = deque()
        self.sleeping = False
        self.near_end, self._far_end = socketpair()
        self.near_end.setblocking(False)
        self._far_end.setblocking(False)
        disown_in_child(self)

    def add(self, number: int) -> None:
        """Note that a task can continue. Runs in any thread, and in finalizers."""
        self.numbers.append(number)
        if self.sleeping:
            try:
                self._far_end.send(b"\0")
            except OSError:
                pass  # full, so it is readable anyway; or closed

    def drain(self) -> None:
        try:
            while len(self.near_end.recv(_DRAIN)) == _DRAIN:
                pass
        except OSError:
            pass

    def close(self) -> None:
        self.near_end.close()
        self._far_end.close()

    _disown = close


class Runner(Generic[T]):
    """Runs coroutines in one thread.

    Attributes:
        results: the coroutines that have ended, with what each has returned or raised.
    """

    def __init__(self) -> None:
        self.results: deque[tuple[Co[T], T | Exception]] = deque()
        self._clock = time.monotonic
        self._away = 0.0  # the seconds that passed between steps
        self._left_at: float | None = None  # when the last step ended
        self._started = 0
        self._tasks: dict[int, _Task[T]] = {}
        self._ready: deque[tuple[_Task[T], BaseException | None]] = deque()
        self._timers: list[tuple[float, int, int]] = []  # when, the task's number, its wait
        self._by_fd: dict[int, list[_Task[T]]] = {}
        self._selector: selectors.BaseSelector | None = None
        self._wakeups: _Wakeups | None = None

    @property
    def in_flight(self) -> int:
        """How many coroutines have not ended."""
        return len(self._tasks)

    def clock(self) -> float:
        """Return the time, without what passed between steps. For the `Limits` of a coroutine."""
        return (self._clock() if self._left_at is None else self._left_at) - self._away

    def start(self, crt: Co[T], limits: Limits) -> None:
        """Begin to run *crt* with the next step."""
        self._started += 1
        task = _Task(self._started, crt, limits)
        # In this order: after an interrupt in between, it is ready.
        self._ready.append((task, None))
        self._tasks[self._started] = task

    def run_ready(self) -> None:
        """Run everything that can run without waiting."""
        self._return()
        try:
            while self._ready:
                self._resume(*self._ready[0])
        finally:
            self._left_at = self._clock()

    def sleep(self, until: float = math.inf) -> None:
        """Wait until a coroutine can continue, `wake` is called, or it is *until*."""
        self._return()
        try:
            self._sleep(until)
        finally:
            self._left_at = self._clock()

    def co_sleep(self, until: float = math.inf) -> Co[None]:
        """Do the same as a coroutine.

        It needs a selector with a descriptor, which can be waited for like any
        other: epoll or kqueue.
        """
        self._return()
        try:
            yield from self._co_sleep(until)
        finally:
            self._left_at = self._clock()

    def wake(self) -> None:
        """End a sleep. May be called in any thread, and in finalizers."""
        if self._wakeups is not None:
            self._wakeups.add(0)

    def can_wake(self) -> None:
        """Make sure that `wake` ends the next sleep."""
        self._make_wakeups()

    def close(self) -> None:
        """Close all coroutines in flight. May be called again.

        Raises:
            BaseException: any exception that closing a coroutine raised, after all are closed.
        """
        self._ready.clear()
        self.results.clear()
        self._timers.clear()
        failure: BaseException | None = None
        while self._tasks:
            _, task = self._tasks.popitem()
            self._stop_waiting(task)
            try:
                task.crt.close()
            except BaseException as exc:
                failure = failure or exc
        if self._selector is not None:
            self._selector.close()
            self._selector = None
        if self._wakeups is not None:
            self._wakeups.close()
            self._wakeups = None
        if failure is not None:
            try:
                raise failure
            finally:
                del failure

    def _return(self) -> None:
        """Begin a step."""
        if self._left_at is not None:
            self._away += self._clock() - self._left_at
            self._left_at = None

    def _resume(self, task: _Task[T], exc: BaseException | None) -> None:
        """Run *task*, the first that is ready, to its next wait, or to its end."""
        try:
            self._stop_waiting(task)
            need = next(task.crt) if exc is None else task.crt.throw(exc)
            while not self._begin_wait(task, need):
                need = task.crt.throw(timed_out(task.too_long or "", task.limits.phase))
        except StopIteration as stop:
            self._end(task, stop.value)
        except Exception as failure:  # the result
            self._end(task, failure)
        except BaseException:
            self._tasks.pop(task.number, None)
            self._stop_waiting(task)
            task.crt.close()
            raise
        finally:
            self._ready.popleft()

    def _end(self, task: _Task[T], result: T | Exception) -> None:
        self.results.append((task.crt, result))
        self._tasks.pop(task.number, None)

    def _begin_wait(self, task: _Task[T], need: PollNeeded) -> bool:
        """Have *task* wait for *need*. Returns False if it has no time left to wait."""
        limits = task.limits
        seconds, task.too_long = limits.next_wait(need)
        if limits.over:
            return False
        task.need = need
        task.wait += 1
        if seconds is not None:
            if len(self._timers) > _MOST_STALE + 4 * len(self._tasks):
                self._drop_stale_timers()
            heapq.heappush(self._timers, (self._clock() + seconds, task.number, task.wait))
        if not need.parks:
            self._watch(task, need.fd, need.mask)
            return True
        task.unpark = need.park(partial(self._make_wakeups().add, task.number))
        return True

    def _drop_stale_timers(self) -> None:
        """Forget the timers of waits that have ended.

        Most waits end long before their time. Their timers would stay for that time, thousands of
        them for each second of it.
        """
        tasks = self._tasks
        self._timers = [
            timer
            for timer in self._timers
            if (task := tasks.get(timer[1])) is not None and task.wait == timer[2]
        ]
        heapq.heapify(self._timers)

    def _make_selector(self) -> selectors.BaseSelector:
        if self._selector is None:
            self._selector = selectors.DefaultSelector()
        return self._selector

    def _make_wakeups(self) -> _Wakeups:
        if self._wakeups is None:
            wakeups = _Wakeups()
            self._make_selector().register(wakeups.near_end, selectors.EVENT_READ)
            self._wakeups = wakeups
        return self._wakeups

    def _watch(self, task: _Task[T], fd: int, mask: int) -> None:
        tasks = self._by_fd.setdefault(fd, [])
        tasks.append(task)
        task.fd = fd
        try:
            self._update(fd, tasks)
        except (OSError, ValueError):  # it is closed: the coroutine finds out
            self._ready.append((task, None))

    def _update(self, fd: int, tasks: list[_Task[T]]) -> None:
        """Have the selector watch *fd* for what *tasks* wait for."""
        selector = self._make_selector()
        mask = 0
        for task in tasks:
            mask |= 0 if task.need is None else task.need.mask
        events = (selectors.EVENT_READ if mask & POLLIN else 0) | (
            selectors.EVENT_WRITE if mask & POLLOUT else 0
        )
        known = selector.get_map().get(fd)
        if known is not None and known.events != events:
            selector.unregister(fd)
            known = None
        if known is None and events:
            selector.register(fd, events)

    def _stop_waiting(self, task: _Task[T]) -> None:
        """Undo `_begin_wait`. May be called again."""
        task.need = None
        task.wait += 1
        if task.unpark is not None:
            task.unpark()
            task.unpark = None
        if task.fd >= 0:
            fd = task.fd
            tasks = [other for other in self._by_fd.get(fd, []) if other is not task]
            if tasks:
                self._by_fd[fd] = tasks
            else:
                self._by_fd.pop(fd, None)
            try:
                self._update(fd, tasks)
            except (OSError, ValueError):
                pass
            task.fd = -1

    def _sleep(self, until: float) -> None:
        """Wait until any task can be resumed, and list those in `_ready`."""
        selector = self._make_selector()
        try:
            # As in `PollNeeded.poll`: in short waits, for the sake of signal handlers.
            events = selector.select(min(WAIT, self._begin_to_sleep(until)))
        finally:
            self._awake()
        self._list_ready(events)

    def _co_sleep(self, until: float) -> Co[None]:
        """Do the same as a coroutine."""
        selector = self._make_selector()
        try:
            seconds = self._begin_to_sleep(until)
            fd: int = selector.fileno()  # type: ignore[attr-defined]
            yield PollNeeded(fd, POLLIN, None if seconds == math.inf else seconds)
        finally:
            self._awake()
        if self._selector is not None:
            self._list_ready(self._selector.select(0))

    def _begin_to_sleep(self, until: float) -> float:
        """Return for how many seconds nothing is to be done unless something happens."""
        wakeups = self._wakeups
        if wakeups is not None:
            wakeups.sleeping = True  # in this order: see `_Wakeups.add`
            if wakeups.numbers:
                return 0.0
        if self._timers:
            until = min(until, self._timers[0][0])
        return until if until == math.inf else max(0.0, until - self._clock())

    def _awake(self) -> None:
        if self._wakeups is not None:
            self._wakeups.sleeping = False

    def _list_ready(self, events: list[tuple[selectors.SelectorKey, int]]) -> None:
        """List the tasks that can be resumed."""
        wakeups = self._wakeups
        for key, ready in events:
            if wakeups is not None and key.fileobj is wakeups.near_end:
                wakeups.drain()
                continue
            for task in self._by_fd.get(key.fd, []):
                mask = 0 if task.need is None else task.need.mask
                if (ready & selectors.EVENT_READ and mask & POLLIN) or (
                    ready & selectors.EVENT_WRITE and mask & POLLOUT
                ):
                    self._moved(task)
        while wakeups is not None and wakeups.numbers:
            woken = self._tasks.get(wakeups.numbers.popleft())
            if woken is not None and woken.unpark is not None:
                self._moved(woken)
        self._expire()

    def _moved(self, task: _Task[T]) -> None:
        if task.need is not None:
            task.need = None  # it is listed once
            task.limits.moved()
            self._ready.append((task, None))

    def _expire(self) -> None:
        """List the tasks whose time has passed."""
        now = self._clock()
        while self._timers and self._timers[0][0] <= now:
            _, number, wait = heapq.heappop(self._timers)
            task = self._tasks.get(number)
            if task is None or task.wait != wait or task.need is None:
                continue
            need, limits = task.need, task.limits
            if task.too_long is None:
                exc = None
            else:
                # The limit may have restarted while the task was parked, or its clock stood still
                # between two steps.
                seconds, task.too_long = limits.next_wait(need)
                if seconds is None or seconds > 0:
                    if seconds is not None:
                        heapq.heappush(self._timers, (now + seconds, number, wait))
                    continue
                exc = None if task.too_long is None else timed_out(task.too_long, limits.phase)
            task.need = None
            self._ready.append((task, exc))


class Results(Generic[T]):
    """The iterator that `run_all` returns."""

    def __init__(
        self,
        coroutines: Iterable[Co[T]],
        limit: int,
        timeout: float | Timeouts | None,
        deadline: float | None,
    ) -> None:
        self._source: Iterator[Co[T]] | None = iter(coroutines)
        self._limit = limit
        self._timeout = timeout
        self._deadline = deadline
        self._runner: Runner[T] = Runner()

    def __iter__(self) -> Self:
        return self

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __next__(self) -> tuple[Co[T], T | Exception]:
        while self._go_on():
            self._runner.sleep()
        if not self._runner.results:
            raise StopIteration
        return self._runner.results.popleft()

    def co_next(self) -> Co[tuple[Co[T], T | Exception] | None]:
        """Coroutine that returns the next pair; ``None`` if there are no more.

        So one coroutine can run several others. See `Runner.co_sleep`.
        """
        while self._go_on():
            yield from self._runner.co_sleep()
        return self._runner.results.popleft() if self._runner.results else None

    def _go_on(self) -> bool:
        """Start and run what can run. Returns whether it has to wait for a result."""
        runner = self._runner
        while not runner.results:
            self._start_more()
            runner.run_ready()
            if not runner.results:
                if runner.in_flight:
                    return True
                self.close()
                return False
        return False

    def close(self) -> None:
        """Close all coroutines in flight, and start no more. May be called again.

        Raises:
            BaseException: any exception that closing a coroutine raised, after all are closed.
        """
        self._source = None
        self._runner.close()

    def _start_more(self) -> None:
        while self._source is not None and self._runner.in_flight < self._limit:
            try:
                crt = next(self._source)
            except StopIteration:
                self._source = None
                return
            check_generator(crt)
            self._runner.start(crt, Limits(self._timeout, self._deadline))


def run_all(
    coroutines: Iterable[Co[T]],
    *,
    limit: int = 100,
    timeout: float | Timeouts | None = None,
    deadline: float | None = None,
) -> Results[T]:
    """Run many coroutines in this thread, and iterate over their results as they end.

    ::

        with run_all(fetch(pool, url) for url in urls) as results:
            for crt, result in results:
                ...

    Leave the iterator early with `close`, or by leaving its ``with`` block. That closes the
    coroutines in flight, which then give back what they use, and starts no more.

    Args:
        coroutines: an iterable of generators that yield `PollNeeded`, such as ``conn.co_read(10)``.
            It may be endless: at most *limit* are in flight at a time.
        limit: how many coroutines may be in flight, at least 1.
        timeout: the limit for one wait of a coroutine in seconds, or `Timeouts`. ``None`` is no
            limit.
        deadline: the limit for each coroutine in seconds, from its start; ``None`` is no limit.

    Returns:
        An iterator of pairs: the coroutine, and what it has returned or the exception that it has
        raised. The iterator is also a context manager, and has a method ``close``.

    Raises:
        TypeError, InvalidRequest: an argument is not valid. The iterator raises `TypeError` if an
            item is not a generator.
    """
    return Results(
        coroutines,
        check_size(limit, "limit", 1),
        check_timeout(timeout),
        check_seconds(deadline, "deadline"),
    )
