"""Waiting for a coroutine's `PollNeeded` in asyncio and in trio.

``import dugong`` imports neither library. Each call detects which of the two is running.

Theory of operation
===================

1. In asyncio, a `Watch` is the registration of one direction of one descriptor with one loop. A
   loop has only one reader and one writer for each descriptor, so all calls that wait for the same
   thing share a watch (`_watches_of`).
2. Registering costs system calls. So the registration that the readers of a connection use is kept
   from one wait to the next (`hold`). Others end with the last wait.
3. While a loop watches a descriptor, that descriptor has to stay open: its number could soon
   belong to another socket, and the loop would watch that. So a watch that is kept holds the stream
   (`Stream.hold`), and `Stream.close` ends the registration (`Stream.on_close`) before the
   descriptor is closed.
4. An interrupt may come between any two steps of registering, holding and closing. Each is ordered
   such that the next call completes it: `hold` sets `on_close` first, `close` can be called again,
   and `watches` replaces a watch that nothing uses (`in_use`).
5. Only its loop keeps a watch alive, by the registered callback. A watch refers to waiting futures
   and so to tasks. If a connection kept the watch alive, and a loop were closed without cancelling
   a read, that read would stay suspended and hold its turn, and no other read could begin. So
   connections and streams refer to watches weakly, and an ended loop takes its watches with it.
6. A forked child shares the epoll object of its parent. It must not remove a registration, because
   that would remove the parent's (`_disown`).
7. A wait that parks (`PollNeeded.parks`) needs no descriptor: a callback ends it. The callback may
   run in any thread, and in a finalizer, in the middle of the loop's own code.
8. trio keeps no registrations. A wait is one call of `wait_readable` or `wait_writable`, or a
   nursery with both. trio lets only one task wait for the same thing; a second one tries again
   after `_LOOK_AGAIN`.
"""

from __future__ import annotations

import asyncio
import math
import sys
import weakref
from contextlib import suppress
from functools import partial
from types import ModuleType
from typing import TYPE_CHECKING, Any, Protocol

from ..errors import ConnectionClosed
from ..transport.fork import disown_in_child
from ..transport.poll import POLLIN, POLLOUT, Co, Limits, PollNeeded, T, timed_out

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ..transport.stream import Stream
    from ..transport.timeouts import Timeouts

    Ready = asyncio.Future[bool | None]


class Waiter(Protocol):
    """Has its result set when the wait is over. For example, an `asyncio.Future`."""

    def done(self) -> bool: ...
    def set_result(self, result: None, /) -> None: ...


class Joined(Protocol):
    """Sets the results of waiters that have joined. A `Watch`, or the source of a pipeline."""

    def join(self, waiter: Any) -> None: ...
    def leave(self, waiter: Any, keep: bool) -> None: ...


class Watch:
    """One direction of one descriptor in one asyncio loop, and the calls that wait for it.

    A registration can be kept from one wait to the next. It ends when the descriptor becomes ready
    while no call waits: otherwise the loop would report it over and over again.

    After a report, the woken task only runs in the next iteration of the loop, and the loop polls
    its descriptors before that. It then reports the same data a second time, and no call waits at
    that moment. `_just_woke` makes the watch ignore that report, so that it keeps the registration.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, fd: int, mask: int) -> None:
        self._held: list[Stream] = []
        self._loop = loop
        self.is_open = True
        self._fd = fd
        self._mask = mask
        self._waiters: list[Any] = []
        self._just_woke = False
        self._holder = object()  # holds the stream; the watch itself would be kept alive by it
        self._need: PollNeeded | None = None
        self._owner: weakref.ref[object] | None = None
        disown_in_child(self)

    @property
    def is_held(self) -> bool:
        """Whether the registration is kept for the next wait."""
        return bool(self._held)

    @property
    def in_use(self) -> bool:
        """Whether any call waits for the watch, or it is kept for the next wait.

        If neither, an interrupt has prevented a wait from ending the registration. The descriptor
        may have been closed, and its number may belong to another socket. A closed descriptor
        drops out of epoll, so the loop does not watch the new socket.
        """
        return bool(self._held) or any(not waiter.done() for waiter in self._waiters)

    def register(self, loop: asyncio.AbstractEventLoop) -> None:
        """Have the loop watch the descriptor."""
        (loop.add_reader if self._mask == POLLIN else loop.add_writer)(self._fd, self._report)

    def hold(self, stream: Stream) -> bool:
        """Keep the registration, and the descriptor of *stream* open as long as it lasts.

        From now on, this watch `serves` the `want_read` of *stream*.

        Returns:
            Whether the stream is held. If not, it has been closed.
        """
        # The order matters if an interrupt comes in between. With `on_close` set first,
        # `Stream.close` ends the registration in any case. Otherwise, the loop could go on
        # watching a number that soon belongs to another socket. If holding the stream was
        # interrupted, the next call of this method completes it.
        stream.on_close = partial(_close, weakref.ref(self))
        if stream not in self._held:
            self._held.append(stream)
        try:
            stream.hold(self._holder)
        except ConnectionClosed:
            self._held.remove(stream)
            return False
        self._need = stream.want_read
        return True

    def close_with(self, owner: object) -> None:
        """Close this watch when *owner*, a connection, is deleted.

        The finalizer of the connection does the same. But a signal handler may raise at the start
        of the finalizer, which then does nothing. The descriptor would stay open until the server
        closes the connection.
        """
        self._owner = weakref.ref(owner, partial(_close, weakref.ref(self)))

    def serves(self, loop: asyncio.AbstractEventLoop, need: PollNeeded) -> bool:
        """Whether *need* can wait for this watch alone, in *loop*, without registering anything."""
        return need == self._need and self.is_open and self._loop is loop

    def join(self, waiter: Any) -> None:
        """Have *waiter* set to True when the descriptor is ready."""
        self._waiters.append(waiter)

    def leave(self, waiter: Any, keep: bool) -> None:
        """Undo `join`. The registration is kept if *keep*, or if other calls wait for it."""
        if waiter in self._waiters:
            self._waiters.remove(waiter)
        if not keep:
            self.leave_unused()

    def leave_unused(self) -> None:
        """End the registration unless a call waits."""
        if not self._waiters:
            self.close()

    def _report(self) -> None:
        if self._just_woke:
            self._just_woke = False  # if there is more data, the loop reports it again
        elif self._waiters:
            self._just_woke = True
            self._wake()
        else:
            self.close()

    def _wake(self) -> None:
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(True)

    def close(self) -> None:
        """End the registration and wake every waiter. Must be called in the loop's thread.

        If a call is interrupted, the next one completes its work.
        """
        self.is_open = False
        loop = self._loop
        known, key = _watches_of(loop), (self._fd, self._mask)
        if known.get(key) is self:
            if not loop.is_closed():
                (loop.remove_reader if self._mask == POLLIN else loop.remove_writer)(self._fd)
                self._wake()
            del known[key]
        self._let_go()

    def close_from_anywhere(self) -> None:
        """Do the same from any thread. In another thread than the loop's, this only schedules it.

        In the loop's own thread, a finalizer may call this at any moment, even in the middle of the
        loop's own code. That is safe. The loop is not working on the same descriptor, because the
        descriptor is still open and so belongs to no other socket.
        """
        loop = self._loop
        if loop.is_closed():
            self.close()
        elif loop is running_loop():
            self.close()
            if asyncio.current_task(loop) is None:
                # The loop may be asleep, below a signal handler, and not see what is ready now.
                loop.call_soon_threadsafe(_nothing)
        else:
            with suppress(RuntimeError):  # it is closed by now
                loop.call_soon_threadsafe(self.close)

    def _let_go(self) -> None:
        while self._held:
            self._held[-1].release(self._holder)
            self._held.pop()

    def __del__(self) -> None:
        if "_held" in self.__dict__:  # not if an interrupt has ended the constructor
            self._let_go()

    def _disown(self) -> None:
        # Removing it from the loop would remove it from the parent's loop: they share one epoll.
        self.is_open = False
        _watches_of(self._loop).pop((self._fd, self._mask), None)
        self._held.clear()


def _nothing() -> None:
    pass


def _close(watch: weakref.ref[Watch], _owner: object = None) -> None:
    found = watch()
    if found is not None:
        found.close_from_anywhere()


def _watches_of(
    loop: asyncio.AbstractEventLoop,
) -> weakref.WeakValueDictionary[tuple[int, int], Watch]:
    """Return all watches of *loop*, by descriptor and direction.

    They are stored on the loop itself, so they disappear with it. The references are weak: a loop
    that has been closed, but is still referenced somewhere, does not keep its watches alive.
    """
    known: weakref.WeakValueDictionary[tuple[int, int], Watch] | None
    known = getattr(loop, "_dugong_watches", None)
    if known is None:
        known = weakref.WeakValueDictionary()
        loop._dugong_watches = known  # type: ignore[attr-defined]
    return known


def watches(loop: asyncio.AbstractEventLoop, need: PollNeeded) -> list[Watch]:
    """Return the watches for *need*: one, or one for each direction."""
    known = _watches_of(loop)
    fd, mask = need
    found: list[Watch] = []
    for direction in (POLLIN, POLLOUT):
        watch = known.get((fd, direction))
        if watch is not None and not watch.in_use:
            watch.close()
            watch = None
        if mask & direction:
            if watch is None:
                watch = known[fd, direction] = Watch(loop, fd, direction)
                try:
                    watch.register(loop)
                except Exception:  # the loop cannot watch such a descriptor
                    del known[fd, direction]
                    for other in found:
                        other.leave_unused()
                    raise
            found.append(watch)
    return found


def tasks_of(loop: asyncio.AbstractEventLoop) -> set[asyncio.Task[None]]:
    """Return the set of dugong's own tasks in *loop*, which keeps them alive.

    asyncio itself only has weak references to tasks.
    """
    known: set[asyncio.Task[None]] | None = getattr(loop, "_dugong_tasks", None)
    if known is None:
        known = set()
        loop._dugong_tasks = known  # type: ignore[attr-defined]
    return known


def running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


async def wait_in_asyncio(
    loop: asyncio.AbstractEventLoop, watched: Sequence[Joined], seconds: float | None, keep: bool
) -> bool | None:
    """Wait until any of *watched* is ready.

    Args:
        loop: the running loop.
        watched: the watches, and perhaps a source.
        seconds: how long to wait at most; ``None`` for no limit.
        keep: whether to keep the registrations for the next wait.

    Returns:
        True if a watch is ready, False if the time is over, ``None`` if a source has an item.
    """
    ready: Ready = loop.create_future()
    timer = None
    try:
        for watch in watched:
            watch.join(ready)
        if seconds is not None:
            timer = loop.call_later(seconds, expire, ready)
        return await ready
    finally:
        # If an interrupt prevents `leave`, the watch can see that this wait is over: the future is
        # done. Cancelling schedules callbacks, which a closed loop refuses.
        if not loop.is_closed():
            ready.cancel()
        if timer is not None:
            timer.cancel()
        for watch in watched:
            watch.leave(ready, keep)


class _Unparking:
    """A callback for `PollNeeded.park`, which sets the result of a future."""

    def __init__(self, loop: asyncio.AbstractEventLoop, ready: Ready) -> None:
        self._loop = loop
        self._ready = ready

    def __call__(self) -> None:
        loop = self._loop
        # Inside of a task, the loop runs what is ready before it sleeps. Anywhere else, this may be
        # a finalizer that runs after the loop has looked for that, or another thread.
        if running_loop() is loop and asyncio.current_task(loop) is not None:
            self._set()
        else:
            loop.call_soon_threadsafe(self._set)

    def _set(self) -> None:
        if not self._ready.done():
            self._ready.set_result(True)


def park_in_asyncio(
    loop: asyncio.AbstractEventLoop, need: PollNeeded, ready: Ready
) -> Callable[[], object]:
    """Have the result of *ready* set when *need*, which parks, is over.

    Returns:
        A function that undoes this.
    """
    return need.park(_Unparking(loop, ready))


async def wait_parked(
    loop: asyncio.AbstractEventLoop, need: PollNeeded, seconds: float | None
) -> bool | None:
    """Wait for *need*, which parks, at most *seconds*. Returns whether the wait is over."""
    ready: Ready = loop.create_future()
    timer = None
    unpark = park_in_asyncio(loop, need, ready)
    try:
        if seconds is not None:
            timer = loop.call_later(seconds, expire, ready)
        return await ready
    finally:
        unpark()
        if timer is not None:
            timer.cancel()


def expire(ready: Ready) -> None:
    """End the wait of *ready* because its time is over."""
    if not ready.done():
        ready.set_result(False)


#: The module trio, once imported. `sys.modules` is cleared while the interpreter shuts down.
_trio: ModuleType | None = None


def running_trio() -> ModuleType | None:
    """Return the module trio if one of its tasks is running, else ``None``."""
    global _trio  # noqa: PLW0603
    trio = sys.modules.get("trio", _trio)
    if trio is not None:
        _trio = trio
        try:
            trio.lowlevel.current_task()
        except RuntimeError:
            return None
    return trio


def running_task() -> weakref.ref[object] | None:
    """Return a weak reference to the running task, ``None`` outside of asyncio and trio."""
    trio = running_trio()
    if trio is not None:
        return weakref.ref(trio.lowlevel.current_task())
    task = None if running_loop() is None else asyncio.current_task()
    return None if task is None else weakref.ref(task)


async def pause() -> None:
    """In trio, let other tasks run, as each async operation must. Does not raise cancellations."""
    trio = running_trio()
    if trio is not None:
        await trio.lowlevel.cancel_shielded_checkpoint()


class _TrioWaiter:
    """A `Waiter` that cancels a scope."""

    def __init__(self, scope: Any) -> None:
        self._scope = scope
        self._done = False

    def done(self) -> bool:
        return self._done

    def set_result(self, result: None) -> None:
        self._done = True
        self._scope.cancel()


async def wait_in_trio(
    trio: ModuleType, need: PollNeeded, seconds: float | None, source: Joined | None = None
) -> bool | None:
    """Wait for *need* and for *source*, as `wait_in_asyncio`.

    Returns:
        As `wait_in_asyncio`. Also ``None`` if another task waits for the same thing, and the caller
        has to try again.
    """
    if need.parks:
        return await _park_in_trio(trio, need, seconds)
    if seconds == 0:  # trio would cancel the wait before it examines the descriptor
        await trio.lowlevel.checkpoint()
        return bool(need.mask) and need.poll(0)
    scope = trio.move_on_after(math.inf if seconds is None else seconds)
    if source is None:
        return await _wait_within(trio, need, scope)
    waiter = _TrioWaiter(scope)
    source.join(waiter)
    try:
        ready = await _wait_within(trio, need, scope)
    finally:
        source.leave(waiter, keep=False)
    return ready or (None if waiter.done() else ready)


async def _park_in_trio(trio: ModuleType, need: PollNeeded, seconds: float | None) -> bool:
    event, token = trio.Event(), trio.lowlevel.current_trio_token()

    def wake() -> None:  # in any thread, perhaps in a finalizer in the middle of trio itself
        token.run_sync_soon(event.set)

    unpark = need.park(wake)
    try:
        with trio.move_on_after(math.inf if seconds is None else seconds):
            await event.wait()
        return bool(event.is_set())
    finally:
        unpark()


async def _wait_within(trio: ModuleType, need: PollNeeded, scope: Any) -> bool | None:
    ready = None
    with scope:
        if not need.mask:
            await trio.sleep_forever()
        elif need.mask == POLLIN:
            ready = await _wait_for_one(trio, trio.lowlevel.wait_readable, need.fd)
        elif need.mask == POLLOUT:
            ready = await _wait_for_one(trio, trio.lowlevel.wait_writable, need.fd)
        else:
            async with trio.open_nursery() as nursery:
                for wait in (trio.lowlevel.wait_readable, trio.lowlevel.wait_writable):
                    nursery.start_soon(_wait_and_cancel, trio, wait, need.fd, nursery)
            ready = True
    return False if scope.cancelled_caught else ready


#: Seconds after which to try again if another task waits for the same thing.
_LOOK_AGAIN = 0.01


async def _wait_for_one(trio: ModuleType, wait: object, fd: int) -> bool | None:
    assert callable(wait)
    try:
        await wait(fd)
    except trio.BusyResourceError:
        # Over TLS, a reader and a writer may wait for the same direction. trio allows only one.
        await trio.sleep(_LOOK_AGAIN)
        return None
    return True


async def _wait_and_cancel(trio: ModuleType, wait: object, fd: int, nursery: object) -> None:
    await _wait_for_one(trio, wait, fd)
    nursery.cancel_scope.cancel()  # type: ignore[attr-defined]


async def run_in_loop(
    crt: Co[T],
    timeout: float | Timeouts | None = None,  # noqa: ASYNC109 - it limits one wait
    deadline: float | None = None,
) -> T:
    """Run a coroutine to its end in the loop of the running task, and return its result.

    Args:
        crt: a generator that yields `PollNeeded`.
        timeout: the limit for one wait in seconds, or `Timeouts`; ``None`` for no limit.
        deadline: the limit for the whole call in seconds; ``None`` for no limit.

    Raises:
        ConnectionTimedOut: a limit has passed. It is thrown into the coroutine.
    """
    trio = running_trio()
    limits = Limits(timeout, deadline)
    if trio is not None:
        await trio.lowlevel.checkpoint_if_cancelled()
    result: T
    try:
        try:
            need = next(crt)
        except StopIteration as stop:  # most calls never wait
            if trio is not None:
                await trio.lowlevel.cancel_shielded_checkpoint()
            result = stop.value
            return result
        while True:
            seconds, too_long = limits.next_wait(need)
            ready: bool | None = False
            if limits.over:
                pass
            elif trio is not None:
                ready = await wait_in_trio(trio, need, seconds)
            else:
                loop = asyncio.get_running_loop()
                if need.parks:
                    ready = await wait_parked(loop, need, seconds)
                else:
                    ready = await wait_in_asyncio(loop, watches(loop, need), seconds, keep=False)
            if ready:
                limits.moved()
            if ready is not False or too_long is None:
                need = next(crt)
            elif limits.over or not limits.restarted(need):
                need = crt.throw(timed_out(too_long, limits.phase))
    except StopIteration as stop:
        result = stop.value
        return result
    except BaseException:
        crt.close()
        raise
