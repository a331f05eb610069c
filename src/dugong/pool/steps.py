"""The events of a pool, and which call carries them out: rules 1 to 6 of `pool`."""

from __future__ import annotations

import math
import sys
import time
from collections import deque
from enum import Enum
from threading import get_ident
from typing import Any

from ..connection.leased import disown, end_lease
from ..transport.fork import disown_in_child
from .idle_watch import IdleWatch
from .leases import CONNECTING, GRANTED, LEASED, Action, Close, Leases
from .records import Kept, LeaseRef, PoolLease, Record

#: Seconds after which a call looks for idle connections that the server has closed, if it has
#: nothing to carry out.
LOOK_AGAIN = 0.1

#: The states of a lease whose caller may have a connection.
_WITH_CONNECTION = frozenset((GRANTED, CONNECTING, LEASED))


class What(Enum):
    """What was posted."""

    WANT = "a caller wants a lease"
    ENDED = "the lease has ended, and its connection may be kept"
    CANCELLED = "the lease has ended"
    DEAD = "the idle connection that was granted is closed"
    TICK = "time has passed"
    EMPTY = "close all idle connections"
    CLOSE = "close everything"


# Module-level names, because looking up a member in its class takes three times as long.
WANT, LEASE_ENDED, CANCELLED, DEAD, TICK, EMPTY, CLOSE = What


class Steps:
    """The events of a pool, and who carries them out: rules 1 to 6."""

    def __init__(self, *limits: Any) -> None:
        self._limits = limits
        self._clock = time.monotonic
        self._start()
        disown_in_child(self)

    def _start(self) -> None:
        self._machine = Leases(*self._limits)
        #: Events: what, the record of the lease, and an idle connection. Or a `Kept`, whose lease
        #: has ended. Or a `LeaseRef`, whose lease was dropped.
        self._inbox: deque[Any] = deque()
        #: The callbacks of rule 5. A record must not refer to its own, which refers to the inbox:
        #: the record may be in there.
        self._drops: dict[Record, LeaseRef] = {}
        self._free = True  # exists while no call carries out events
        self._worker = 0  # the thread of the call that does
        self._unfinished: object = None  # the event that is being carried out, or was interrupted
        self._due = math.inf  # when the next call has to look at the idle connections
        self._idle_watch = IdleWatch()

    def _post(self, what: What, record: Record | None = None, idle: Kept | None = None) -> None:
        try:
            self._inbox.append((what, record, idle))
            self._work()
        except BaseException:
            # A signal handler has raised, perhaps before this began to carry out the event. Others
            # may wait for that.
            self._work()
            raise

    def _post_end(self, what: What, lease: PoolLease) -> None:
        # In this order: if an interrupt comes before the event is in the inbox, the lease is
        # dropped, and its finalizer posts the same. A second time does no harm.
        self._post(what, lease.record)
        lease.record = None

    def _work(self) -> None:
        """Carry out what was posted, unless another call does."""
        me = get_ident()
        inbox = self._inbox
        while inbox:
            # No call between the two statements, so no signal handler runs between them (see
            # `ConflictDetector`).
            try:
                del self._free
            except AttributeError:
                if self._worker == me or not sys.is_finalizing():
                    return
            self._worker = me
            try:
                self._carry_out_all(inbox)
            finally:
                self._worker = 0
                self._free = True

    @property
    def _is_nested(self) -> bool:
        """Whether this thread is at work here, below the current call (rule 3)."""
        return self._worker == get_ident()

    def _carry_out_all(self, inbox: deque[Any]) -> None:
        machine = self._machine
        while inbox:
            event = inbox[0]
            now = self._clock()
            if self._unfinished is None:
                self._unfinished = event
                self._carry_out(machine, event, now)
                inbox.popleft()
            else:
                again = self._unfinished is event
                self._act(machine.repair(now))
                if again:
                    inbox.popleft()  # not a third time
                    self._carry_out(machine, event, now)
            if machine.idle:
                self._act(machine.tick(now))
                for idle in self._idle_watch.readable():
                    if idle in machine.idle and idle.session.retired_fault() is not None:
                        machine.closed(idle)
                        self._close(idle)
            self._due = min(machine.next_tick, now + LOOK_AGAIN) if machine.idle else math.inf
            self._unfinished = None

    def _carry_out(self, machine: Leases, event: Any, now: float) -> None:
        if event.__class__ is Kept:
            if event.previous is not None:  # in this order: this may be interrupted, and repeated
                event.previous.record = None
                event.previous = None
            event = (LEASE_ENDED, event.record, event)
        elif event.__class__ is LeaseRef:
            event = (CANCELLED, event.record, None)
        what, record, idle = event
        if what is WANT:
            self._act(machine.want(record, now))
        elif what is LEASE_ENDED:
            self._drops.pop(record, None)
            self._act(machine.returned(record, idle, now))
            if idle is not None and idle in machine.idle:
                self._idle_watch.add(idle)
        elif what is CANCELLED:
            self._drops.pop(record, None)
            idle = record.idle
            self._act(machine.cancelled(record, now))
            if idle is not None and idle in machine.idle:
                self._idle_watch.add(idle)
        elif what is DEAD:
            machine.closed(idle)
            if record.idle is not None:
                self._idle_watch.remove(record.idle)
            self._answer(record)
        elif what is EMPTY:
            self._act(machine.empty())
        elif what is CLOSE:
            leased = [lease for lease in machine.leases if lease.state in _WITH_CONNECTION]
            self._act(machine.close())
            for each in leased:
                self._end_by_force(each)
            self._idle_watch.close()

    def _act(self, actions: list[Action]) -> None:
        for action in actions:
            if isinstance(action, Close):
                self._close(action.idle)
                continue
            if action.lease.idle is not None:
                self._idle_watch.remove(action.lease.idle)  # type: ignore[arg-type]
            self._answer(action.lease)

    def _close(self, idle: Any) -> None:
        self._idle_watch.remove(idle)
        idle.session.close()

    def _answer(self, record: Any) -> None:
        lease = record.lease()
        try:
            if lease is None:
                raise RuntimeError("it was dropped")
            lease.answer()
        except RuntimeError:  # the caller will never know
            self._inbox.append((CANCELLED, record, None))

    def _end_by_force(self, record: Any) -> None:
        lease = record.lease()
        conn = None if lease is None or lease.conn is None else lease.conn()
        if conn is not None:
            _, session, _ = end_lease(conn, self)
            if session is not None:
                session.close()
        self._inbox.append((CANCELLED, record, None))

    def release(self, conn: Any) -> None:
        """End the lease of *conn*."""
        raise NotImplementedError

    def _expect_drop(self, lease: PoolLease, record: Record) -> None:
        """Have the end of *lease* noted if it is dropped and its finalizer is interrupted."""
        reference = LeaseRef(lease, self._inbox.append)
        reference.record = record
        self._drops[record] = reference

    def _cancel(self, record: Record) -> None:
        """End a lease that was dropped. Runs in a finalizer."""
        self._post(CANCELLED, record)

    def _is_connected(self, lease: PoolLease) -> None:
        """Note that a new connection of *lease* is ready."""

    def _disown(self) -> None:
        records, posted = list(self._machine.leases), [*self._inbox]
        self._idle_watch.close()
        self._start()
        for record in records:
            assert isinstance(record, Record)
            lease = record.lease()
            if lease is not None:
                lease.record = None
                lease.stop_waiting()
                conn = None if lease.conn is None else lease.conn()
                if conn is not None:
                    disown(conn)
        for event in posted:
            if event.__class__ is Kept:
                event.previous = None
