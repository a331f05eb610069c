"""How the waits of a coroutine are done in asyncio and in trio.

Neither library is imported by ``import dugong``. Which of the two a program runs in is found out
at each call.
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
from ..transport.poll import POLLIN, POLLOUT, PollNeeded

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..transport.stream import Stream

    Ready = asyncio.Future[bool | None]


class Waiter(Protocol):
    """Something that is to be set when what it waits for has come, such as an `asyncio.Future`."""

    def done(self) -> bool: ...
    def set_result(self, result: None, /) -> None: ...


class Joined(Protocol):
    """What can be waited for: a `Watch`, or something that will call."""

    def join(self, waiter: Any) -> None: ...
    def leave(self, waiter: Any, keep: bool) -> None: ...


class Watch:
    """One direction of one descriptor in one asyncio loop, and the calls that wait for it.

    Registering with a loop costs system calls, so a registration can be kept from one wait to the
    next. It ends when the descriptor is ready and no call waits.

    A loop looks at its descriptors once more before the task that was woken has its turn to read.
    `_just_woke` makes that second report count for nothing.

    The loop alone keeps a watch alive, by its registration, and drops it when it is closed. A watch
    refers to waiting futures, and so to tasks. If a connection kept it, a read in a loop that was
    closed without cancelling it would never come to its end, and no other could begin. So
    connections and streams refer to watches weakly.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, fd: int, mask: int) -> None:
        self._held: list[Stream] = []
        self._loop = loop
        self.is_open = True
        self._fd = fd
        self._mask = mask
        self._waiters: list[Any] = []
        self._just_woke = False
        self._holder = object()  # instead of this watch, which the stream would keep alive
        self._need: PollNeeded | None = None
        self._owner: weakref.ref[object] | None = None
        disown_in_child(self)

    @property
    def is_held(self) -> bool:
        """Whether the registration is kept for the next wait."""
        return bool(self._held)

    @property
    def in_use(self) -> bool:
        """Whether anything waits for it, or keeps the registration.

        If not, an interrupt kept a wait from giving it up. Its descriptor may be closed, and the
        number another socket's, which the loop does not watch then.
        """
        return bool(self._held) or any(not waiter.done() for waiter in self._waiters)

    def register(self, loop: asyncio.AbstractEventLoop) -> None:
        """Have the loop watch the descriptor."""
        (loop.add_reader if self._mask == POLLIN else loop.add_writer)(self._fd, self._report)

    def hold(self, stream: Stream) -> bool:
        """Keep the descriptor of *stream* open as long as the loop knows of it.

        That is the stream whose `want_read` this watch `serves` from now on.

        Returns:
            Whether it does: the stream may be closed already.
        """
        # In this order, so that `Stream.close` ends the registration wherever an interrupt comes:
        # the loop would otherwise go on watching a number that soon is another socket's. A stream
        # whose holding was interrupted is held by the next call.
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
        """Close when *owner*, a connection, is gone.

        Its own finalizer does the same. But a signal handler may raise where that begins, and then
        the descriptor would stay open until the server closes the connection.
        """
        self._owner = weakref.ref(owner, partial(_close, weakref.ref(self)))

    def serves(self, loop: asyncio.AbstractEventLoop, need: PollNeeded) -> bool:
        """Whether this is all that has to be watched in *loop* for *need*, as before."""
        return need == self._need and self.is_open and self._loop is loop

    def join(self, waiter: Any) -> None:
        """Have *waiter* set to True when the descriptor is ready."""
        self._waiters.append(waiter)

    def leave(self, waiter: Any, keep: bool) -> None:
        """Undo `join`; the registration is kept if *keep*, or if others wait for it."""
        if waiter in self._waiters:
            self._waiters.remove(waiter)
        if not keep:
            self.leave_unused()

    def leave_unused(self) -> None:
        """Give the registration up unless somebody waits."""
        if not self._waiters:
            self.close()

    def _report(self) -> None:
        if self._just_woke:
            self._just_woke = False  # if there is more, the loop will report it again
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
        """Give the registration up and wake every waiter. To be called in the loop's thread.

        A call that was interrupted is completed by the next one.
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
        """Do the same from any thread, or as soon as the loop can.

        In the loop's own thread, this may be called by a finalizer, whatever the loop is doing. It
        never does anything with the same descriptor, which is still open and nothing else's.
        """
        loop = self._loop
        if loop.is_closed() or loop is running_loop():
            self.close()
        else:
            with suppress(RuntimeError):  # it is closed by now
                loop.call_soon_threadsafe(self.close)

    def _let_go(self) -> None:
        while self._held:
            self._held[-1].release(self._holder)
            self._held.pop()

    def __del__(self) -> None:
        if "_held" in self.__dict__:  # otherwise an interrupt kept it from being made
            self._let_go()

    def _disown(self) -> None:
        # To remove it from the loop would remove it from the parent's: both have the same epoll.
        self.is_open = False
        _watches_of(self._loop).pop((self._fd, self._mask), None)
        self._held.clear()


def _close(watch: weakref.ref[Watch], _owner: object = None) -> None:
    found = watch()
    if found is not None:
        found.close_from_anywhere()


def _watches_of(
    loop: asyncio.AbstractEventLoop,
) -> weakref.WeakValueDictionary[tuple[int, int], Watch]:
    """Return all watches in *loop*, which knows only one reader and one writer of a descriptor.

    They are kept at the loop itself, because they refer to it. A loop that was closed, and is still
    referred to somewhere, does not keep them.
    """
    known: weakref.WeakValueDictionary[tuple[int, int], Watch] | None
    known = getattr(loop, "_dugong_watches", None)
    if known is None:
        known = weakref.WeakValueDictionary()
        loop._dugong_watches = known  # type: ignore[attr-defined]
    return known


def watches(loop: asyncio.AbstractEventLoop, need: PollNeeded) -> list[Watch]:
    """Return the watches for what *need* waits for: one, or one for each direction."""
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
    """Return the tasks of ours in *loop*, which itself knows its tasks only weakly."""
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
        watched: what `watches` returned, and perhaps a source.
        seconds: how long to wait at most, or ``None``.
        keep: whether to leave the registrations for the next wait.

    Returns:
        Whether it is ready, not merely over. ``None`` if a source has called.
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
        if not loop.is_closed():  # a closed one calls nothing back any more
            ready.cancel()  # should an interrupt keep `leave` from beginning
        if timer is not None:
            timer.cancel()
        for watch in watched:
            watch.leave(ready, keep)


def expire(ready: Ready) -> None:
    """The time is over."""
    if not ready.done():
        ready.set_result(False)


#: trio, once it was seen: `sys.modules` is cleared while the interpreter shuts down.
_trio: ModuleType | None = None


def running_trio() -> ModuleType | None:
    """Return trio if a task of trio's is running."""
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
    """Return a reference to the task that is running, ``None`` outside of asyncio and trio."""
    trio = running_trio()
    if trio is not None:
        return weakref.ref(trio.lowlevel.current_task())
    task = None if running_loop() is None else asyncio.current_task()
    return None if task is None else weakref.ref(task)


async def pause() -> None:
    """Let other tasks run in trio, as each of its operations has to; nothing is cancelled here."""
    trio = running_trio()
    if trio is not None:
        await trio.lowlevel.cancel_shielded_checkpoint()


class _TrioWaiter:
    """A `Waiter` that ends a scope."""

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
    """Wait for *need*, and for *source*; as `wait_in_asyncio`.

    Returns:
        Also ``None``, for having to look again: another task waits for the very same.
    """
    if seconds == 0:  # which trio would take for being too late already
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


#: Seconds after which to look again where another task waits for the very same thing.
_LOOK_AGAIN = 0.01


async def _wait_for_one(trio: ModuleType, wait: object, fd: int) -> bool | None:
    assert callable(wait)
    try:
        await wait(fd)
    except trio.BusyResourceError:
        # Over TLS a reader may have to wait for what a writer waits for; trio lets one of them.
        await trio.sleep(_LOOK_AGAIN)
        return None
    return True


async def _wait_and_cancel(trio: ModuleType, wait: object, fd: int, nursery: object) -> None:
    await _wait_for_one(trio, wait, fd)
    nursery.cancel_scope.cancel()  # type: ignore[attr-defined]
