"""What a pool knows of a lease and of an idle connection."""

from __future__ import annotations

import math
import weakref
from typing import TYPE_CHECKING, Any

from ..connection.leased import activity
from ..transport.monitor import Monitor
from .leases import Idle, Lease
from .waiting import Waiter

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..session.session import Session
    from .place import Place
    from .steps import Steps


class Record(Lease):
    """The machine's side of a lease.

    Attributes:
        lease: a weak reference to the caller's side.
    """

    __slots__ = ("lease",)

    def __init__(self, lease: PoolLease, place: Place[Any]) -> None:
        super().__init__(place.origin, place.key)
        self.lease = weakref.ref(lease)

    def describe(self, now: float) -> str:
        """Return the origin and what happens there, for a message."""
        lease = self.lease()
        if lease is None:
            return f"{self.host} (dropped)"
        conn = None if lease.conn is None else lease.conn()
        doing = None if conn is None else activity(conn)
        return f"{self.host} ({doing or self.state}, {now - lease.since:.1f} s)"


class PoolLease(Waiter):
    """The caller's side of a lease.

    Attributes:
        pool: the pool; ``None`` after the end of the lease.
        place: where it leads.
        machine: the machine that has its record.
        record: that record; ``None`` when the lease has ended.
        conn: a weak reference to its connection object, or ``None``.
        expires: when its connection becomes too old to be kept; ``None`` if it does not.
        since: when it was made.
    """

    def __init__(self, pool: Steps, place: Place[Any]) -> None:
        self.pool: Steps | None = pool
        self.place = place
        self.machine = pool._machine
        self.record: Record | None = Record(self, place)
        self.conn: weakref.ref[Any] | None = None
        self.expires: float | None = None
        self.since = pool._clock()
        self.pending = True
        pool._expect_drop(self, self.record)

    def _last_progress(self) -> float:
        return -math.inf if self.record is None else self.machine.last_grant(self.record)

    def end(self, conn: Any) -> None:
        """End this lease, as `Pool.release`."""
        if self.pool is not None:
            self.pool.release(conn)

    def __del__(self) -> None:
        record, pool = self.__dict__.get("record"), self.__dict__.get("pool")
        if record is not None and pool is not None:
            pool._cancel(record)


class LeaseRef(weakref.ref[PoolLease]):
    """A weak reference to a lease, and its record."""

    __slots__ = ("record",)

    record: Record


class Kept(Idle):
    """An idle connection.

    Attributes:
        session: the session, which has retired.
        expires: when it becomes too old; ``None`` if it does not.
        watch: what `end_lease` has returned with it.
        place: where it leads.
        previous: the lease that it is returned from, until the machine knows.
        record: the record of that lease.
        fd: the descriptor by which `IdleWatch` knows it, -1 if it does not.
    """

    __slots__ = ("expires", "fd", "place", "previous", "record", "session", "watch")

    def __init__(self, lease: PoolLease, session: Session, watch: Any, now: float) -> None:
        self.place = place = lease.place
        self.host = place.origin
        self.route = place.key
        self.since = now
        self.lease = None
        self.session = session
        self.expires = lease.expires
        self.watch = watch
        self.previous: PoolLease | None = lease
        self.record = lease.record
        self.fd = -1


class LeaseMonitor(Monitor):
    """Counts the bytes of a lease, and notices when its connection is ready."""

    # Defaults in the class save a part of each lease.
    bytes_sent = 0
    bytes_received = 0
    on_event = None

    def __init__(self, lease: PoolLease, clock: Callable[[], float]) -> None:
        self.clock = clock
        self._lease = lease

    def event(self, name: str) -> None:
        lease = self._lease
        if lease.pool is not None and name == lease.place.ready_event:
            lease.pool._is_connected(lease)
        super().event(name)
