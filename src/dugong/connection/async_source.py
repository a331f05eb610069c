"""An async iterable from which a pipeline takes its requests.

Theory of operation
===================

The iterable may wait, and what it yields may depend on the responses delivered so far. So the
pipeline waits for its connection and for the iterable at the same time, and may return a response
while a step of the iterable is unfinished. Such a step cannot stay in the caller's task. In
asyncio, a timeout in the iterable cancels its task, which would be the caller's. In trio, scopes
belong to a task, and the caller's task has to run other code in the middle of the step. Cancelling
the step is no alternative, because cancellation ends an async generator. Hence these rules:

1. One task runs the iterable, from its first step until it is closed. Scopes, task groups and
   timeouts may stay open in it from one item to the next.
2. The task is created without the loop's task factory. An eager factory would run the iterable
   inside the caller's step, before the caller waits for an item.
3. The task runs in the caller's context: the same object, not a copy. As in a plain ``async for``,
   each side sees the context variables that the other one sets. Two tasks can share a context
   because they never run at the same time.
4. A task in trio needs a nursery. A nursery in the caller's task would have to be closed in reverse
   order with all other scopes there, and a ``break`` out of ``async for`` does not do that. The
   nursery that contains the caller's task would wait for an iterable that was abandoned but is
   still referenced somewhere. So a system task opens a nursery for this one task. The task itself
   is an ordinary one, and passes its failures to the pipeline.
5. The pipeline sets how many items it wants (`want`), and the task takes no more than that. A
   waiting pipeline joins the source just as it joins a `Watch`, and each item wakes it.
6. `stop` cancels a step that is under way. If the iterable is at a ``yield``, it is closed there
   instead, and can clean up without being cancelled. `stop` may run in any thread and in a
   finalizer, because it only queues a call in the event loop.
7. asyncio keeps only weak references to tasks, so a strong one is stored on the loop. Without it,
   the garbage collector could destroy a task that is in a cycle with its pipeline before `stop`
   runs. The source refers to the loop weakly. If the loop ends before the task, the source does not
   keep the loop alive, and asyncio does not warn about a task that the program did not create.
"""

from __future__ import annotations

import asyncio
import weakref
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Callable
from contextlib import suppress
from contextvars import Context
from functools import partial
from types import ModuleType
from typing import Any

from ..drivers.loops import Waiter, expire, pause, running_loop, running_trio, tasks_of
from ..errors import StateError
from .pipeline.queue import NotYet


class AsyncSource:
    """A plain iterator over the items that have arrived from an async iterable.

    Attributes:
        started: whether `start` was called.
    """

    def __init__(self, iterable: AsyncIterable[Any]) -> None:
        self._iterator: AsyncIterator[Any] = aiter(iterable)
        self.started = False
        self._wanted = 0
        self._arrived: deque[Any] = deque()
        self._failure: BaseException | None = None  # raised after the items that have arrived
        self._ended = False
        self._stopped = False
        self._closing = False  # whether `close` waits for the task, and raises its failure
        self._waiters: set[Waiter] = set()
        self._new_event: Callable[[], Any] = asyncio.Event
        self._idle: Any = None  # an event; the task waits for it while no item is wanted
        self._finished: Any = None
        self._cancel: Callable[[], object] = lambda: None
        self._call_in_loop: Callable[[Callable[[], None]], object] | None = None
        self._task: weakref.ref[Any] | None = None
        self._loop: weakref.ref[asyncio.AbstractEventLoop] | None = None  # asyncio's

    # Called by the pipeline.

    def __iter__(self) -> AsyncSource:
        return self

    def __length_hint__(self) -> int:
        return len(self._arrived)

    def __next__(self) -> Any:
        """Return the next item that has arrived.

        Raises:
            NotYet: there is none at the moment.
            StopIteration: the iterable has ended.
            StateError: its event loop has ended, or is not the running one.
            BaseException: the iterable raised it.
        """
        if self._arrived:
            # Not `popleft`: after a call, a signal handler may raise, and the item would be lost.
            item = self._arrived[0]
            del self._arrived[0]
            return item
        if not self._ended:
            if self._is_elsewhere():
                raise StateError("the async iterable runs in another event loop")
            raise NotYet
        failure, self._failure = self._failure, None
        if failure is None:
            raise StopIteration
        try:
            raise failure
        finally:
            del failure  # its traceback refers to this frame: a reference cycle

    def want(self, count: int) -> None:
        """Set how many items should be available, including those that have arrived."""
        self._wanted = count - len(self._arrived)
        if self._wanted > 0 and self._idle is not None and not self._is_elsewhere():
            self._idle.set()

    def _is_elsewhere(self) -> bool:
        return self._loop is not None and self._loop() is not running_loop()

    def join(self, waiter: Waiter) -> None:
        """Set *waiter* to ``None`` when an item arrives or the iterable ends."""
        self._waiters.add(waiter)

    def leave(self, waiter: Waiter, keep: bool) -> None:
        """Undo `join`."""
        self._waiters.discard(waiter)

    def stop(self) -> None:
        """Make the event loop end the task. May be called from any thread and in a finalizer."""
        if self._call_in_loop is not None:
            with suppress(RuntimeError):  # the loop has ended
                self._call_in_loop(self._stop)

    async def close(self) -> None:
        """End the task, and wait until it has ended.

        Raises:
            StateError: the iterable itself calls this.
            BaseException: closing the iterable raised it.
        """
        if not self.started:
            self.started = self._ended = True
            await self._close_iterator()
        if self._ended:
            await pause()
            return
        if self._task is not None and self._task() is _current_task():
            raise StateError("a pipeline cannot be closed by its own async iterable of requests")
        self._closing = True
        try:
            self._stop()
            await self._finished.wait()
        finally:
            self._closing = False
        failure, self._failure = self._failure, None
        if failure is not None:
            try:
                raise failure
            finally:
                del failure

    # The task.

    async def start(self) -> None:
        """Start the task. It waits until an item is wanted."""
        trio = running_trio()
        if trio is not None:
            self._start(partial(self._start_in_trio, trio))
            return
        loop = asyncio.get_running_loop()
        here = _Here(loop=loop)
        loop.call_soon(expire, here)
        await here
        if not self._ended:  # by `close` in another task
            self._start(partial(self._start_in_asyncio, loop, here.context))

    def _start(self, start: Callable[[], object]) -> None:
        self.started = True
        try:
            start()
        except BaseException:
            # A signal handler has raised this, before or after the task was created. A task that
            # exists closes the iterable immediately. If there is none, no call may wait for it.
            self._stopped = self._ended = True
            self._failure = StateError("starting the task of the async iterable was interrupted")
            raise

    def _start_in_asyncio(self, loop: asyncio.AbstractEventLoop, context: Context | None) -> None:
        self._idle, self._finished = asyncio.Event(), asyncio.Event()
        name = repr(self._iterator)  # may raise: before the coroutine exists, which must be awaited
        task = asyncio.Task(self._work(), loop=loop, context=context, name=name)
        task._log_destroy_pending = False  # type: ignore[attr-defined]
        tasks_of(loop).add(task)
        task.add_done_callback(self._task_done)
        self._task = weakref.ref(task)
        self._cancel = task.cancel
        self._loop = known = weakref.ref(loop)

        def call(function: Callable[[], None]) -> None:
            running = known()
            if running is not None:
                running.call_soon_threadsafe(function)

        self._call_in_loop = call

    def _task_done(self, task: asyncio.Task[None]) -> None:
        tasks_of(task.get_loop()).discard(task)
        if not task.cancelled():
            task.exception()  # otherwise asyncio reports that it was never retrieved
        elif not self._ended:  # cancelled before its first step
            self._end(_loop_ended())

    def _start_in_trio(self, trio: ModuleType) -> None:
        self._new_event = trio.Event
        self._idle, self._finished = trio.Event(), trio.Event()
        scope = trio.CancelScope()
        self._cancel = scope.cancel
        self._call_in_loop = trio.lowlevel.current_trio_token().run_sync_soon
        context = trio.lowlevel.current_task().context

        async def work() -> None:
            task = trio.lowlevel.current_task()
            self._task = weakref.ref(task)
            task.context = context  # takes effect when the task is resumed
            await trio.lowlevel.cancel_shielded_checkpoint()
            with scope:
                await self._work()

        async def host() -> None:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(work, name=repr(self._iterator))

        trio.lowlevel.spawn_system_task(host)

    async def _work(self) -> None:
        failure: BaseException | None = None
        try:
            await self._take()
        except StopAsyncIteration:
            pass
        except GeneratorExit:  # the loop is gone: nothing can be awaited any more
            raise
        except BaseException as exc:
            failure = self._unless_stopped(exc)
        try:
            await self._close_iterator()
        except GeneratorExit:
            raise
        except BaseException as exc:
            failure = failure or self._unless_stopped(exc)
        try:
            self._end(failure)
            if isinstance(failure, (KeyboardInterrupt, SystemExit)) and self._loop is not None:
                raise failure  # ends asyncio's loop, as it does in any other task
        finally:
            del failure

    async def _take(self) -> None:
        while await self._is_to_go_on():
            item = await anext(self._iterator)
            self._wanted -= 1
            self._arrived.append(item)
            self._wake()

    async def _is_to_go_on(self) -> bool:
        """Wait until another item is wanted. Returns False if the source has been stopped."""
        while self._wanted <= 0 and not self._stopped:
            self._idle = self._new_event()
            await self._idle.wait()
        self._idle = None
        return not self._stopped

    async def _close_iterator(self) -> None:
        close = getattr(self._iterator, "aclose", None)
        if close is not None:
            await close()

    def _unless_stopped(self, exc: BaseException) -> BaseException | None:
        """Return the failure that the pipeline raises when *exc* ends the task."""
        if not _is_cancellation(exc):
            return exc
        return None if self._stopped else _loop_ended()

    def _end(self, failure: BaseException | None) -> None:
        if self._ended:  # `_start` was interrupted
            return
        self._ended = True
        self._call_in_loop = None
        self._cancel = lambda: None
        if failure is not None and self._stopped and not self._closing:
            _report(failure, self._iterator)
        else:
            self._failure = failure
        self._finished.set()
        self._wake()

    def _wake(self) -> None:
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)

    def _stop(self) -> None:
        """Do the work of `stop`, in the loop's thread."""
        if self._stopped or self._ended:
            return
        self._stopped = True
        self._arrived.clear()
        if self._idle is not None:
            self._idle.set()
        else:
            self._cancel()


class _Here(asyncio.Future[bool | None]):
    """Finds the context of the task that awaits it.

    asyncio's tasks have no ``get_context`` before Python 3.12. But a task that awaits a future
    passes its context to `add_done_callback`.
    """

    context: Context | None = None

    def add_done_callback(self, fn: Any, /, *, context: Context | None = None) -> None:
        self.context = context
        super().add_done_callback(fn, context=context)


def _current_task() -> object:
    trio = running_trio()
    return asyncio.current_task() if trio is None else trio.lowlevel.current_task()


def _is_cancellation(exc: BaseException) -> bool:
    """Whether *exc* cancels the running task, and not a future or task that it awaits."""
    trio = running_trio()
    if trio is not None:
        return isinstance(exc, trio.Cancelled)
    task = asyncio.current_task()
    return isinstance(exc, asyncio.CancelledError) and task is not None and task.cancelling() > 0


def _loop_ended() -> StateError:
    return StateError("the event loop in which the async iterable ran has ended")


def _report(failure: BaseException, iterator: object) -> None:
    """Report an error that no call can raise, because the pipeline has been deleted."""
    message = "an async iterable of requests failed while it was being closed"
    if running_trio() is None:
        loop = asyncio.get_running_loop()
        loop.call_exception_handler(
            {"message": message, "exception": failure, "asyncgen": iterator}
        )
    else:
        import logging

        logging.getLogger("dugong").error(message, exc_info=failure)
