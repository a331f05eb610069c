"""`SlotNeeded`, which `Pool.co_acquire` yields while no slot is free.

Most programs have a few connections and may have thousands of callers that wait for one. So a wait
for a slot needs neither a descriptor nor a thread: the driver registers a callback
(`PollNeeded.park`), which the pool calls when it has an answer.

A loop of the program's own does not know about that. As soon as it asks for the descriptor, the
*alarm* is created: a socket pair, which the pool shuts down when it has an answer.

Each side first publishes and then checks: a caller publishes its callback or alarm and then looks
for the answer; the pool publishes the answer and then looks for a callback and an alarm. So one of
them always notices the other, and no lock is needed.
"""

from __future__ import annotations

import math
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, NoReturn, Self, SupportsIndex

from ..transport.poll import POLLIN, WAIT, PollNeeded
from ..transport.sockets import socketpair
from ..transport.stream import shut_down


class Waiter:
    """A caller that waits for an answer of the pool.

    Attributes:
        pending: whether the pool owes it an answer.
    """

    pending = False
    _callback: Callable[[], object] | None = None
    _alarm: tuple[socket.socket, socket.socket] | None = None

    def answer(self) -> None:
        """Wake the caller: there is an answer. May be called in any thread and in finalizers.

        Raises:
            RuntimeError: the caller will never run again.
        """
        self.pending = False
        alarm, callback = self._alarm, self._callback
        if alarm is not None:
            shut_down(alarm[1])  # a forked child may have a copy: closing would not do
        if callback is not None:
            callback()

    def park(self, callback: Callable[[], object]) -> Callable[[], object]:
        """Have *callback* called when there is an answer. Returns a function that undoes this."""
        self._callback = callback
        if not self.pending:
            callback()
        return self._unpark

    def _unpark(self) -> None:
        self._callback = None

    def descriptor(self) -> int:
        """Return a descriptor that becomes readable when there is an answer."""
        if self._alarm is None:
            self._alarm = socketpair()
            if not self.pending:
                shut_down(self._alarm[1])
        return self._alarm[0].fileno()

    def _last_progress(self) -> float:
        """Return when the caller last got closer to an answer."""
        return -math.inf

    def stop_waiting(self) -> None:
        """Release what waiting needed."""
        self._callback = None
        if self._alarm is not None:
            for end in self._alarm:
                end.close()
            self._alarm = None


class SlotNeeded(PollNeeded):
    """Waits for a slot of a pool."""

    parks = True
    phase: str | None = "pool"
    _waiter: Waiter

    def __new__(cls, waiter: Waiter, timeout: float | None = None) -> Self:
        self = tuple.__new__(cls, (-1, 0))  # `fd` and `mask` replace these
        self._waiter = waiter
        self.timeout = timeout
        return self

    @property
    def fd(self) -> int:
        return self._waiter.descriptor()

    @property
    def mask(self) -> int:
        return POLLIN

    def __iter__(self) -> Iterator[int]:
        return iter((self.fd, self.mask))

    def __getitem__(self, index: SupportsIndex | slice) -> Any:
        return (self.fd, self.mask)[index]

    __eq__ = object.__eq__
    __hash__ = object.__hash__

    def __reduce__(self) -> NoReturn:
        raise TypeError("a SlotNeeded cannot be pickled")

    def __repr__(self) -> str:
        return f"{type(self).__name__}(timeout={self.timeout})"

    def park(self, callback: Callable[[], object]) -> Callable[[], object]:
        return self._waiter.park(callback)

    def _last_progress(self) -> float:
        return self._waiter._last_progress()

    def _shortened(self, seconds: float | None) -> SlotNeeded:
        return type(self)(self._waiter, seconds)

    def poll(self, timeout: float | None = None) -> bool:
        if timeout == 0:
            return not self._waiter.pending
        gate = threading.Lock()
        gate.acquire()

        def open_gate() -> None:
            with suppress(RuntimeError):  # it is open already
                gate.release()

        unpark, left = self.park(open_gate), timeout
        try:
            while True:
                # As in `PollNeeded.poll`: in short waits, for the sake of signal handlers.
                seconds = WAIT if left is None or left > WAIT else max(left, 0.0)
                if gate.acquire(timeout=seconds):
                    return True
                if left is not None:
                    left -= seconds
                    if left <= 0:
                        return not self._waiter.pending
        finally:
            unpark()


class AnswerNeeded(SlotNeeded):
    """Waits for something else than the network, so only a deadline applies."""

    phase = None
    limited = True
