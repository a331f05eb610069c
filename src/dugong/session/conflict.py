"""One call at a time in each direction, without blocking."""

from __future__ import annotations

from collections.abc import Callable
from threading import RLock
from typing import Any
from weakref import ref

from ..errors import StateError


class ConflictDetector:
    """A mutex for one direction, which raises `StateError` instead of blocking.

    A call takes it by deleting `free`, and returns it by setting that again::

        try:
            del turn.free
        except AttributeError:
            turn.take()
        try:
            ...
        finally:
            turn.free = True

    Each of the two is one instruction. CPython runs signal handlers where a function begins, after
    a call has returned and where a loop jumps back, so none can raise between taking the turn and
    entering ``try``. After ``lock.acquire()`` one could, and nothing would release the lock.

    A call may leave the rest of its work to a generator, its *successor*, which then has the turn
    until it ends. A successor that was closed before it began never runs its ``finally``. So `take`
    and `run_if_free` notice that it is dead.

    Attributes:
        free: exists while nothing has the turn.
        successor: a weak reference to the generator that has it; ``None`` if there is none.
    """

    __slots__ = ("_doing", "_lock", "free", "successor")

    def __init__(self, doing: str) -> None:
        self._doing = doing
        self._lock = RLock()  # held by `run_if_free`; a signal handler may enter it again
        self.free = True
        self.successor: ref[Any] | None = None

    def take(self) -> None:
        """Take the turn when deleting `free` has failed.

        Raises:
            StateError: another call has it.
        """
        with self._lock:  # `run_if_free` is short: wait for it
            self._outlive_successor()
        # Not within the lock: leaving a ``with`` is a call, after which a signal handler may raise.
        try:
            del self.free
        except AttributeError:
            raise StateError(f"another call is {self._doing} this connection") from None

    def run_if_free(self, step: Callable[[], object]) -> None:
        """Run *step*, which never waits, unless something has the turn."""
        with self._lock:
            self._outlive_successor()
            try:
                del self.free
            except AttributeError:
                return
            try:
                step()
            finally:
                self.free = True

    @property
    def taken(self) -> bool:
        """Whether a call has the turn."""
        self._outlive_successor()
        return not hasattr(self, "free")

    def _outlive_successor(self) -> None:
        reference = self.successor
        if reference is None:
            return
        successor = reference()
        # One that began has returned the turn itself, and another call may have it by now.
        if (successor is None or successor.gi_frame is None) and self.successor is reference:
            self.successor = None
            self.free = True
