"""One call at a time in each direction, without blocking."""

from __future__ import annotations

from collections.abc import Callable
from threading import RLock
from typing import Any
from weakref import ref

from ..errors import StateError

#: The class itself: `threading.RLock` is a function around it, and a pool makes two for each lease.
_Lock: Any = type(RLock())


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

    A call may leave the rest of its work to a generator, its *successor*. The successor then has
    the turn until it ends, and returns it in its own ``finally``. But a generator that is closed or
    dropped before its first step never enters its ``try``, and so never runs that ``finally``. That
    happens, for example, if a signal handler raises before the first step. So `take`, `run_if_free`
    and `taken` check whether the successor is dead, and if it is, set `free`.

    The reference to the successor is weak. A strong one would keep an abandoned generator alive,
    and its turn would never be free.

    Attributes:
        free: exists while no call has the turn.
        successor: a weak reference to the generator that has the turn; ``None`` if there is none.
    """

    __slots__ = ("_doing", "_lock", "free", "successor")

    def __init__(self, doing: str) -> None:
        self._doing = doing
        self._lock = _Lock()  # held by `run_if_free`; a signal handler may enter it again
        self.free = True
        self.successor: ref[Any] | None = None

    def take(self) -> None:
        """Take the turn after deleting `free` has failed.

        Raises:
            StateError: another call has it.
        """
        with self._lock:  # if `run_if_free` has the turn, wait for it: its step is short
            self._outlive_successor()
        # Outside the lock. Leaving a ``with`` is a call, after which a signal handler may raise.
        # The turn would then stay taken.
        try:
            del self.free
        except AttributeError:
            raise StateError(f"another call is {self._doing} this connection") from None

    def run_if_free(self, step: Callable[[], object]) -> None:
        """Run *step*, which never waits, unless a call has the turn."""
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
        # A successor that has begun clears `successor` when it returns the turn. Another call may
        # have the turn by now, perhaps with its own successor. So compare again.
        if (successor is None or successor.gi_frame is None) and self.successor is reference:
            self.successor = None
            self.free = True
