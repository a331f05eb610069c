"""Taking the steps of an async iterable that is a request body.

Theory of operation
===================

1. The coroutine that sends the body yields a `PollNeeded` whose `body` has to fetch its next piece.
   Fetching a piece takes one or more steps of the iterable. They run in the caller's task, because
   context variables and cancellation have to work as in a plain ``async for``.
2. A step may take long. If its connection becomes ready meanwhile, or is closed by `disconnect`,
   the coroutine is resumed although the step is under way. Usually it examines the connection and
   yields the same body again. If the response has refused the body or the connection has ended, it
   does something else: it yields another need, returns or raises. That is *news*. The step is
   then cancelled, and the news is delivered afterwards.
3. An iterable may leave scopes open from one step to the next, and scopes have to be closed in
   reverse order. A scope of ours for each step would break that order. So a single scope contains
   all steps and the closing of the iterable. It gets a new deadline for each step, and it is
   cancelled at most once: after that, nothing more is fetched.
4. In asyncio, a callback of the loop resumes the coroutine. In trio, only a task can wait for a
   descriptor. A nursery in the caller's task would put all exceptions into groups, so a system task
   waits. It is cancelled before the coroutine continues, because the coroutine may close the
   descriptor. Watching the descriptor costs more than sending a small piece, so it only begins when
   a step actually waits. Many steps never do.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Coroutine, Generator
from contextlib import suppress
from functools import partial
from types import coroutine
from typing import Any, Self

from ..drivers.loops import Watch, running_trio, wait_in_trio, watches
from ..protocol.content import AsyncIterableContent
from ..transport.poll import Co, Limits, PollNeeded

#: Seconds added to the deadline of a step. The event loop and the time limits may use different
#: clocks. When the scope expires, the limit has thus passed by either of them.
_LATE = 0.001


class BodySteps:
    """Takes the steps of one body. A context manager, which contains all steps.

    Args:
        crt: the coroutine that sends the body.
        limits: the time limits of the call. The call has begun before the first step.
    """

    def __init__(self, crt: Co[Any], limits: Limits) -> None:
        self.limits = limits
        self._crt = crt
        self._under_way = False
        self._news: PollNeeded | BaseException | None = None
        self._watched: list[Watch] = []  # in asyncio
        self._watcher: Any = None  # the scope of the system task in trio
        trio = running_trio()
        self._trio: Any = trio
        self._scope: Any
        self._call_in_loop: Callable[[Callable[[], None]], object]
        if trio is None:
            loop = self._loop = asyncio.get_running_loop()
            self._scope = asyncio.timeout(None)
            task: Any = asyncio.current_task()
            self._task = task
            self._cancelling = task.cancelling()
            self._cancelled: type[BaseException] = asyncio.CancelledError
            self._call_in_loop = loop.call_soon_threadsafe
        else:
            self._scope = trio.CancelScope()
            self._cancelled = trio.Cancelled
            self._call_in_loop = trio.lowlevel.current_trio_token().run_sync_soon

    async def __aenter__(self) -> Self:
        if self._trio is None:
            await self._scope.__aenter__()
        else:
            self._scope.__enter__()
        return self

    async def __aexit__(self, *exc: object) -> Any:
        if self._trio is None:
            return await self._scope.__aexit__(*exc)
        return self._scope.__exit__(*exc)

    async def fetch(self, need: PollNeeded, seconds: float | None) -> bool:
        """Fetch the next piece.

        Args:
            need: has the body, and the descriptor to watch meanwhile.
            seconds: the time limit for this, ``None`` for no limit.

        Returns:
            Whether the piece has been fetched. If not, the time limit has passed or there is
            `news`.
        """
        assert need.body is not None
        if not self._is_over:
            self._set_deadline(seconds)
        self._under_way = True
        try:
            await _await(need.body.fetch(), partial(self._watch, need))
        except self._cancelled:
            if not self._is_ours:
                raise
        finally:
            self._under_way = False
            self._stop_watching()
        if self._is_over:
            return False
        self._set_deadline(None)
        return self._news is None

    @property
    def has_news(self) -> bool:
        """Whether the coroutine has moved on while a step was under way."""
        return self._news is not None

    def news(self) -> PollNeeded:
        """Return the need that the coroutine has yielded.

        Raises:
            StopIteration: the coroutine has returned.
            BaseException: the coroutine has raised it.
        """
        news, self._news = self._news, None
        assert news is not None
        if isinstance(news, PollNeeded):
            return news
        try:
            raise news
        finally:
            del news  # its traceback refers to this frame: a reference cycle

    async def close(self, body: AsyncIterableContent) -> None:
        """Close *body*.

        If the scope was cancelled, awaiting in the iterable's cleanup raises the cancellation,
        and this catches it.
        """
        try:
            await body.aclose()
        except self._cancelled:
            if not self._is_ours:
                raise

    def wake(self) -> None:
        """Have the coroutine resumed if a step is under way. May be called from any thread."""
        if self._under_way:
            with suppress(RuntimeError):  # the loop has ended
                self._call_in_loop(self._look_again)

    # The scope.

    @property
    def _is_over(self) -> bool:
        """Whether the scope was cancelled."""
        over: bool = self._scope.expired() if self._trio is None else self._scope.cancel_called
        return over

    @property
    def _is_ours(self) -> bool:
        """Whether only the scope has requested a cancellation, and nothing outside it."""
        if not self._is_over:
            return False
        # In asyncio, a cancellation from outside would be lost if it were caught here. In trio, it
        # is raised again at the next checkpoint.
        return self._trio is not None or self._task.cancelling() <= self._cancelling + 1

    def _set_deadline(self, seconds: float | None) -> None:
        if self._trio is not None:
            late = math.inf if seconds is None else self._trio.current_time() + seconds + _LATE
            self._scope.deadline = late
        elif seconds is None:
            self._scope.reschedule(None)
        else:
            self._scope.reschedule(self._loop.time() + seconds + _LATE)

    def _cancel(self) -> None:
        if self._trio is not None:
            self._scope.cancel()
        elif not self._is_over:
            self._scope.reschedule(self._loop.time())

    # While a step is under way.

    def _look(self) -> PollNeeded | None:
        """Resume the coroutine.

        Returns:
            The new need if the step continues, ``None`` if it has ended or is cancelled.
        """
        if not self._under_way or self._news is not None:
            return None
        try:
            need = next(self._crt)
        except BaseException as exc:
            self._news = exc
        else:
            if need.body is not None:
                return need
            self._news = need
        self._cancel()
        return None

    def _look_again(self) -> None:
        need = self._look()
        if need is not None and self._trio is None:
            self._stop_watching()
            self._watch(need)

    def _watch(self, need: PollNeeded) -> None:
        """Have `_look` called when the descriptor of *need* is ready, if it has one."""
        if not need.mask:
            return
        if self._trio is None:
            self._watched = watches(self._loop, need)
            for watch in self._watched:
                watch.join(self)
        else:
            self._watcher = self._trio.CancelScope()
            self._trio.lowlevel.spawn_system_task(self._watch_in_trio, need, self._watcher)

    def _stop_watching(self) -> None:
        watched, self._watched = self._watched, []
        for watch in watched:
            watch.leave(self, keep=watch.is_held)
        watcher, self._watcher = self._watcher, None
        if watcher is not None:
            watcher.cancel()

    async def _watch_in_trio(self, need: PollNeeded | None, scope: Any) -> None:
        with scope:
            while need is not None and need.mask and not scope.cancel_called:
                await wait_in_trio(self._trio, need, None)
                need = None if scope.cancel_called else self._look()

    # The methods of a `Waiter`, for `Watch`.

    def done(self) -> bool:
        return not self._under_way

    def set_result(self, result: object) -> None:
        # Not immediately, because the watch may be in the middle of closing.
        self._loop.call_soon(self._look_again)


@coroutine
def _await(
    step: Coroutine[Any, Any, None], when_it_waits: Callable[[], None]
) -> Generator[Any, Any, None]:
    """Await *step*, and call *when_it_waits* if it does not end immediately."""
    try:
        waits_for = step.send(None)
        when_it_waits()
        while True:
            try:
                got = yield waits_for
            except BaseException as exc:
                waits_for = step.throw(exc)
            else:
                waits_for = step.send(got)
    except StopIteration:
        return
