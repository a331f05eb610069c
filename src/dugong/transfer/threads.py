"""Work that blocks, such as flushing a file to the disk, in a few helper threads.

A coroutine must not block. It hands the work to a thread and waits until that has finished. The
wait parks (see `pool.waiting`), so it needs no descriptor.
"""

from __future__ import annotations

import os
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

from ..pool.waiting import AnswerNeeded, Waiter

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..transport.poll import Co, T

#: A disk flushes several files at a time faster than one after the other, but not many.
_THREADS = 4


class _Work(Waiter):
    """Work that a thread does."""

    pending = True


_executors: list[ThreadPoolExecutor] = []


def _executor() -> ThreadPoolExecutor:
    if not _executors:
        _executors.append(ThreadPoolExecutor(_THREADS, "dugong-files"))
    return _executors[0]


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_executors.clear)  # the parent's threads do not exist there


def co_in_thread(function: Callable[[], T]) -> Co[T]:
    """Call *function* in a thread, and return what it returns or raise what it raises.

    If the coroutine is closed meanwhile, the function still runs to its end.
    """
    try:
        future: Future[T] = _executor().submit(function)
    except RuntimeError:  # the interpreter is shutting down
        return function()
    work = _Work()
    future.add_done_callback(lambda _: work.answer())
    try:
        while not future.done():
            yield AnswerNeeded(work)
        return future.result()
    finally:
        work.stop_waiting()
