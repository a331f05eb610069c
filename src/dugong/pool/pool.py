"""`Pool`: leases of connections to any number of servers. `AsyncPool` is in `aio`.

Theory of operation
===================

1. `leases.Leases` decides, and this module acts. Whatever happens is *posted*: appended to
   `_inbox`. Then one call, in any thread, carries out what was posted, in order (`_Steps._work`).
   It reports each event to the machine, wakes the callers that were granted a slot, and closes the
   connections that are no longer wanted.
2. **No call ever waits for another.** The right to carry out is `_free`, taken by deleting it, as
   in `ConflictDetector`. A call that does not get it leaves its event to the call that has it,
   which looks into the inbox once more after it has returned the right. So events may be posted
   anywhere: in any thread, in a signal handler and in a finalizer, even if they run in the middle
   of that very call. The callers that wait for an answer park (`waiting`).
3. A call that waits for an answer in the middle of that very call would wait forever: in a
   finalizer or signal handler that asks for a connection while its own thread is at work here,
   below it. It raises `StateError` (`_is_nested`).
4. **Interrupts.** A signal handler may raise anywhere, so an event leaves the inbox only when it
   was carried out. If that was interrupted, the machine is repaired, the event is repeated, and
   callers that may not have been woken are woken (`Leases.repair`). An event that is interrupted a
   second time is dropped; then rule 5 applies.
5. **Dropped leases.** Only the caller's side refers to a `PoolLease`: the coroutine that waits for
   it, then the connection object. The machine has a record of it, with a weak reference. So if a
   lease is dropped, at whatever point, its finalizer ends it. An interrupt may prevent a finalizer.
   Then the callback of the weak reference appends that to the inbox, which no interrupt can prevent
   because it is written in C, and the next call ends the lease.
6. While the interpreter shuts down, a thread that was at work here may have ended in the middle of
   it. Another thread then takes over (`sys.is_finalizing`).
7. A connection is examined once when it is taken (`Session.idle_fault`). One that is closed is
   replaced by the next of its route, or by a new one in the same slot. Where the system has epoll,
   each call that carries out events also learns which idle connections have become readable,
   without looking at the others (`_IdleWatch`), and closes those that the server has closed.
8. What is remembered of an origin, a *place*, is its settings in the form in which connections need
   them, what was learned about the server, and its TLS session. The pool keeps the last
   `_REMEMBERED`.
9. **The short way.** While no caller waits, the end of a lease is only noted in the inbox. If the
   next call asks for the same place, it takes that back, and has the slot and the connection
   without asking the machine (`_take_again`). To the machine, the two leases are one. Otherwise the
   next call carries it out first. So most leases cost little, and no caller can miss a slot: the
   end of a lease is posted before it looks for callers that wait, and a caller that begins to wait
   is counted before what was posted is carried out.
10. A child made by fork starts with a new machine and an empty inbox. Leases of the old one mean
   nothing there.
"""

from __future__ import annotations

import math
import random
import select
import sys
import time
import weakref
from collections import OrderedDict, deque
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field
from enum import Enum
from threading import get_ident
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar

from ..connection.blocking import HTTPConnection
from ..connection.connection import Connection
from ..connection.leased import (
    Blueprint,
    Leased,
    LeasedHTTPConnection,
    activity,
    disown,
    end_lease,
)
from ..connection.settings import Settings
from ..errors import ConnectionTimedOut, StateError
from ..protocol.arguments import check_seconds, check_size
from ..protocol.limits import CONTINUE_TIMEOUT
from ..transport.connect import load_tls
from ..transport.fork import disown_in_child
from ..transport.monitor import Monitor
from ..transport.poll import Co, run
from .leases import CONNECTING, GRANTED, LEASED, Action, Close, Idle, Lease, Leases, Stats
from .origin import Origin, check_origin
from .waiting import SlotNeeded, Waiter

if TYPE_CHECKING:
    import os
    import ssl
    from collections.abc import Callable, Iterable
    from types import TracebackType

    from ..protocol.messages import HeadersArgument
    from ..session.session import Session
    from ..transport.connect import Allow, Resolve
    from ..transport.timeouts import Timeouts

C = TypeVar("C", bound=Leased)

#: Places that a pool remembers. Programs that use more origins at a time learn again.
_REMEMBERED = 256

#: Seconds after which a call looks for idle connections that the server has closed, if it has
#: nothing to carry out.
_LOOK_AGAIN = 0.1

#: Seconds for which a connection that was examined when it was taken is not examined again: most
#: leases begin with a request.
_FRESH = 0.01

#: Leases that the message of a timeout names.
_MOST_NAMED = 10

#: `max_age` is shortened by up to this share. Connections that were made together are thus not
#: replaced together.
_JITTER = 0.1


@dataclass(frozen=True, slots=True)
class PoolStats(Stats):
    """How many connections a pool has, and how many callers wait.

    Attributes:
        hosts: the same numbers for each `Origin` that has any.
    """

    hosts: dict[Origin, Stats] = field(default_factory=dict)


class ConnectionSettings:
    """Settings for connections to any server: arguments of `HTTPConnection`.

    Two callers that share a pool and have equal settings share its connections.

    Args:
        allow, resolve: as for `Route`, and part of it. They must be the same object each time.
        arguments: arguments of `HTTPConnection`, except those that determine the server.

    Raises:
        TypeError, InvalidRequest: an argument is not valid.
    """

    def __init__(
        self, *, allow: Allow | None = None, resolve: Resolve | None = None, **arguments: Any
    ) -> None:
        self.allow = allow
        self.resolve = resolve
        for name in ("socket_options", "proxy_headers"):
            if hasattr(arguments.get(name), "__next__"):  # every connection needs it
                arguments[name] = list(arguments[name])
        checked = Settings("localhost", **arguments)
        self.timeout = checked.timeout
        self.deadline = checked.deadline
        self._context: ssl.SSLContext | None = arguments.pop("ssl_context", None)
        self._arguments = arguments

    def for_origin(self, origin: Origin) -> dict[str, Any]:
        """Return the arguments of a connection to *origin*, without host name and port."""
        context = None if origin.scheme == "http" else self._context or self._default_context()
        return {**self._arguments, "ssl_context": context}

    def _default_context(self) -> ssl.SSLContext:
        import ssl

        load_tls()
        # All connections must have the same one, also if two threads come here at a time.
        context: ssl.SSLContext = self.__dict__.setdefault("_default", ssl.create_default_context())
        return context


class Place(Generic[C]):
    """What is remembered of an origin, for given settings."""

    __slots__ = ("blueprint", "key", "origin", "ready_event")

    def __init__(self, origin: Origin, blueprint: Blueprint[C]) -> None:
        self.origin = origin
        self.blueprint = blueprint
        self.key = blueprint.route.key
        self.ready_event = "connected" if blueprint.route.ssl_context is None else "secured"


class _Record(Lease):
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

    def __init__(self, pool: _Steps, place: Place[Any]) -> None:
        self.pool: _Steps | None = pool
        self.place = place
        self.machine = pool._machine
        self.record: _Record | None = _Record(self, place)
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


class _LeaseRef(weakref.ref[PoolLease]):
    """A weak reference to a lease, and its record."""

    __slots__ = ("record",)

    record: _Record


class _Kept(Idle):
    """An idle connection.

    Attributes:
        session: the session, which has retired.
        expires: when it becomes too old; ``None`` if it does not.
        watch: what `end_lease` has returned with it.
        place: where it leads.
        previous: the lease that it is returned from, until the machine knows.
        record: the record of that lease.
        fd: the descriptor by which `_IdleWatch` knows it, -1 if it does not.
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


class _LeaseMonitor(Monitor):
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


class _What(Enum):
    """What was posted."""

    WANT = "a caller wants a lease"
    ENDED = "the lease has ended, and its connection may be kept"
    CANCELLED = "the lease has ended"
    DEAD = "the idle connection that was granted is closed"
    TICK = "time has passed"
    EMPTY = "close all idle connections"
    CLOSE = "close everything"


# Module-level names, because looking up a member in its class takes three times as long.
_WANT, _ENDED, _CANCELLED, _DEAD, _TICK, _EMPTY, _CLOSE = _What


class _IdleWatch:
    """Notices which idle connections become readable. Does nothing on systems without epoll.

    It watches only what the machine knows to be idle. So most leases do not pay for it (rule 9).
    """

    def __init__(self) -> None:
        self._epoll: Any = None
        self._watched: dict[int, _Kept] = {}

    def add(self, idle: _Kept) -> None:
        """Watch *idle*."""
        stream = idle.session.stream
        if stream is None or not hasattr(select, "epoll"):
            return
        try:
            if self._epoll is None:
                self._epoll = select.epoll()
            idle.fd = fd = stream.sock.fileno()
            self._watched[fd] = idle
            self._epoll.register(fd, select.EPOLLIN)
        except (OSError, ValueError):
            pass  # no descriptor is left, or it is closed: found out when it is taken

    def remove(self, idle: _Kept) -> None:
        """Stop watching *idle*. Before it is closed: a process just forked may have a copy."""
        if self._watched.get(idle.fd) is idle:
            del self._watched[idle.fd]
            self._forget(idle.fd)

    def _forget(self, fd: int) -> None:
        try:
            self._epoll.unregister(fd)
        except (OSError, ValueError):
            pass

    def readable(self) -> list[_Kept]:
        """Return those that are readable, without waiting."""
        found = []
        if self._watched:
            for fd, _ in self._epoll.poll(0):
                idle = self._watched.get(fd)
                if idle is None:
                    self._forget(fd)  # an interrupt has left it behind
                else:
                    found.append(idle)
        return found

    def close(self) -> None:
        """Stop watching."""
        self._watched.clear()
        if self._epoll is not None:
            self._epoll.close()
            self._epoll = None


class _Steps:
    """The events of a pool, and who carries them out: rules 1 to 6."""

    def __init__(self, *limits: Any) -> None:
        self._limits = limits
        self._clock = time.monotonic
        self._start()
        disown_in_child(self)

    def _start(self) -> None:
        self._machine = Leases(*self._limits)
        #: Events: what, the record of the lease, and an idle connection. Or a `_Kept`, whose lease
        #: has ended. Or a `_LeaseRef`, whose lease was dropped.
        self._inbox: deque[Any] = deque()
        #: The callbacks of rule 5. A record must not refer to its own, which refers to the inbox:
        #: the record may be in there.
        self._drops: dict[_Record, _LeaseRef] = {}
        self._free = True  # exists while no call carries out events
        self._worker = 0  # the thread of the call that does
        self._unfinished: object = None  # the event that is being carried out, or was interrupted
        self._due = math.inf  # when the next call has to look at the idle connections
        self._idle_watch = _IdleWatch()

    def _post(self, what: _What, record: _Record | None = None, idle: _Kept | None = None) -> None:
        try:
            self._inbox.append((what, record, idle))
            self._work()
        except BaseException:
            # A signal handler has raised, perhaps before this began to carry out the event. Others
            # may wait for that.
            self._work()
            raise

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
            self._due = min(machine.next_tick, now + _LOOK_AGAIN) if machine.idle else math.inf
            self._unfinished = None

    def _carry_out(self, machine: Leases, event: Any, now: float) -> None:
        if event.__class__ is _Kept:
            if event.previous is not None:  # in this order: this may be interrupted, and repeated
                event.previous.record = None
                event.previous = None
            event = (_ENDED, event.record, event)
        elif event.__class__ is _LeaseRef:
            event = (_CANCELLED, event.record, None)
        what, record, idle = event
        if what is _WANT:
            self._act(machine.want(record, now))
        elif what is _ENDED:
            self._drops.pop(record, None)
            self._act(machine.returned(record, idle, now))
            if idle is not None and idle in machine.idle:
                self._idle_watch.add(idle)
        elif what is _CANCELLED:
            self._drops.pop(record, None)
            idle = record.idle
            self._act(machine.cancelled(record, now))
            if idle is not None and idle in machine.idle:
                self._idle_watch.add(idle)
        elif what is _DEAD:
            machine.closed(idle)
            if record.idle is not None:
                self._idle_watch.remove(record.idle)
            self._answer(record)
        elif what is _EMPTY:
            self._act(machine.empty())
        elif what is _CLOSE:
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
            self._inbox.append((_CANCELLED, record, None))

    def _end_by_force(self, record: Any) -> None:
        lease = record.lease()
        conn = None if lease is None or lease.conn is None else lease.conn()
        if conn is not None:
            _, session, _ = end_lease(conn, self)
            if session is not None:
                session.close()
        self._inbox.append((_CANCELLED, record, None))

    def release(self, conn: Any) -> None:
        """End the lease of *conn*."""
        raise NotImplementedError

    def _expect_drop(self, lease: PoolLease, record: _Record) -> None:
        """Have the end of *lease* noted if it is dropped and its finalizer is interrupted."""
        reference = _LeaseRef(lease, self._inbox.append)
        reference.record = record
        self._drops[record] = reference

    def _cancel(self, record: _Record) -> None:
        """End a lease that was dropped. Runs in a finalizer."""
        self._post(_CANCELLED, record)

    def _is_connected(self, lease: PoolLease) -> None:
        """Note that a new connection of *lease* is ready."""

    def _disown(self) -> None:
        records, posted = list(self._machine.leases), [*self._inbox]
        self._idle_watch.close()
        self._start()
        for record in records:
            assert isinstance(record, _Record)
            lease = record.lease()
            if lease is not None:
                lease.record = None
                lease.stop_waiting()
                conn = None if lease.conn is None else lease.conn()
                if conn is not None:
                    disown(conn)
        for event in posted:
            if event.__class__ is _Kept:
                event.previous = None


#: The states of a lease whose caller may have a connection.
_WITH_CONNECTION = frozenset((GRANTED, CONNECTING, LEASED))


class BasePool(_Steps, Generic[C]):
    """The common part of `Pool` and `AsyncPool`."""

    _kind: type[C]

    def __init__(
        self,
        *,
        max_connections: int | None = 100,
        per_host: int | None = 10,
        max_idle: int | None = None,
        idle_timeout: float | None = 60.0,
        max_age: float | None = None,
        ssl_context: ssl.SSLContext | None = None,
        proxy: str | tuple[str, int] | None = None,
        timeout: float | Timeouts | None = None,
        deadline: float | None = None,
        continue_timeout: float | None = CONTINUE_TIMEOUT,
        unix_socket: str | bytes | os.PathLike[str] | os.PathLike[bytes] | None = None,
        source_address: tuple[str, int] | None = None,
        proxy_headers: HeadersArgument | None = None,
        socket_options: Iterable[tuple[int, int, int | bytes]] = (),
    ) -> None:
        super().__init__(
            None if max_connections is None else check_size(max_connections, "max_connections", 1),
            None if per_host is None else check_size(per_host, "per_host", 1),
            None if max_idle is None else check_size(max_idle, "max_idle"),
            check_seconds(idle_timeout, "idle_timeout"),
        )
        self._keeps_few = max_idle is not None  # so one too many has to be closed immediately
        self._max_age = check_seconds(max_age, "max_age")
        self._settings = ConnectionSettings(
            ssl_context=ssl_context,
            proxy=proxy,
            timeout=timeout,
            deadline=deadline,
            continue_timeout=continue_timeout,
            unix_socket=unix_socket,
            source_address=source_address,
            proxy_headers=proxy_headers,
            socket_options=socket_options,
        )
        self._places: OrderedDict[Any, Place[C]] = OrderedDict()
        self._last_place: tuple[str | Origin, Place[C]] | None = None

    # Getting and returning connections.

    def co_acquire(
        self,
        origin: str | Origin,
        settings: ConnectionSettings | None = None,
        on_event: Callable[[str], object] | None = None,
    ) -> Co[C]:
        """Coroutine of `Pool.acquire`; returns the connection.

        Args:
            origin: as for `Pool.acquire`.
            settings: replaces the pool's own settings.
            on_event: called with ``waiting`` if there is no free slot. Then it becomes the
                `on_event` of the connection.
        """
        return self._co_acquire(self._place(check_origin(origin), settings), on_event)

    def _co_acquire(
        self, place: Place[C], on_event: Callable[[str], object] | None = None
    ) -> Co[C]:
        conn = self._take_again(place)
        if conn is not None:
            conn.on_event = on_event
            return conn
        waits = False
        lease = PoolLease(self, place)
        try:
            self._post(_WANT, lease.record)
            while True:
                while lease.pending:
                    if self._is_nested:
                        raise StateError(
                            "a finalizer or signal handler has interrupted the pool itself, and "
                            "cannot wait for a connection of it"
                        )
                    if lease.machine is not self._machine:  # after a fork
                        lease = PoolLease(self, place)
                        self._post(_WANT, lease.record)
                        continue
                    if on_event is not None and not waits:
                        waits = True
                        on_event("waiting")
                        continue
                    yield SlotNeeded(lease)
                self._check_open()
                conn = self._take(lease)
                if conn is not None:
                    conn.on_event = on_event
                    return conn
        except ConnectionTimedOut as exc:
            exc.phase, exc.safe_to_retry = "pool", True
            if exc.args and lease.record is not None:
                exc.args = (f"{exc.args[0]}; {self._in_the_way(lease.record)}", *exc.args[1:])
            raise
        finally:
            lease.stop_waiting()
            if conn is None and lease.record is not None:
                record, lease.record = lease.record, None
                self._post(_CANCELLED, record)

    def _take(self, lease: PoolLease) -> C | None:
        """Return the connection object of a granted lease; ``None`` if it has to wait again."""
        record = lease.record
        assert record is not None
        idle: Any = record.idle
        monitor = _LeaseMonitor(lease, self._clock)
        session = None if idle is None else self._open(idle, monitor)
        if idle is not None and session is None:
            lease.pending = True
            self._post(_DEAD, record, idle)
            return None
        conn = self._lend(lease, monitor, session, idle)
        self._machine.granted(record)
        record.idle = None
        if self._machine.is_closed:  # by another thread, which did not see this connection
            self.release(conn)
            self._check_open()
        return conn

    def _take_again(self, place: Place[C]) -> C | None:
        """Return a connection object for the connection that was returned last (rule 9).

        Returns ``None`` if that was not for *place*.
        """
        inbox, me = self._inbox, get_ident()
        if not inbox:
            return None
        idle = None
        try:
            try:
                del self._free
            except AttributeError:
                return None
            self._worker = me
            try:
                if inbox and self._unfinished is None and not self._machine.is_closed:
                    found = inbox[-1]
                    if found.__class__ is _Kept and found.place is place:
                        last = inbox.pop()
                        if last is found:
                            idle = found
                        else:  # another thread has just posted that
                            inbox.append(last)
            finally:
                self._worker = 0
                self._free = True
            if inbox:
                self._work()  # what others have left to this call
        except BaseException:  # as in `_post`
            self._work()
            raise
        if idle is None:
            return None
        lease = idle.previous
        monitor = _LeaseMonitor(lease, self._clock)
        session = self._open(idle, monitor)
        if session is None:
            record, lease.record = lease.record, None
            self._post(_ENDED, record)
            return None
        lease.pool = self
        idle.previous = None
        lease.since = self._clock()
        return self._lend(lease, monitor, session, idle)

    def _open(self, idle: _Kept, monitor: Monitor) -> Session | None:
        """Return a session that continues an idle one; ``None`` if it cannot be used again."""
        now, retired = self._clock(), idle.session
        if idle.expires is not None and now >= idle.expires:
            fault: object = "too old"
        else:
            fault = retired.retired_fault()
        if fault is not None:
            retired.close()
            return None
        session = retired.succeed(monitor)
        session.fresh_until = now + _FRESH
        return session

    def _lend(
        self, lease: PoolLease, monitor: Monitor, session: Session | None, idle: _Kept | None
    ) -> C:
        watch = None
        if idle is not None:
            lease.expires = idle.expires
            watch = idle.watch
        conn: C = lease.place.blueprint.lend(lease, monitor, session, watch)
        lease.conn = weakref.ref(conn)
        return conn

    def release(self, conn: Connection) -> None:
        """End the lease of a connection. Never waits. May be called again, in any thread.

        Every later operation on *conn* raises `StateError`. The pool keeps the connection for the
        next lease if it can be used again. Otherwise it closes it: if a response is outstanding or
        not completely read, a request is not completely sent, the server has announced a close, or
        another call is using the connection.

        Args:
            conn: a connection of this pool.

        Raises:
            TypeError: *conn* is not a connection of this pool.
        """
        lease, session, watch = end_lease(conn, self)
        if lease is None or lease.record is None:  # again, or in a child made by fork
            if session is not None:
                session.close()
            return
        now = self._clock()
        if session is not None and (lease.expires is None or now < lease.expires):
            kept = _Kept(lease, session, watch, now)
            try:
                self._inbox.append(kept)
                lease.pool = None  # the inbox refers to the lease, and would be part of a cycle
                if self._machine.waiting or now >= self._due or self._keeps_few:
                    self._work()
            except BaseException:  # as in `_post`
                self._work()
                raise
            return
        if session is not None:
            session.close()
        record, lease.record = lease.record, None
        self._post(_ENDED, record)

    def _is_connected(self, lease: PoolLease) -> None:
        if lease.record is not None:
            self._machine.connected(lease.record)
        if self._max_age is not None:
            share = 1 - _JITTER * random.random()  # noqa: S311 - spreads load, guards nothing
            lease.expires = self._clock() + share * self._max_age

    # Everything else.

    def stats(self) -> PoolStats:
        """Return how many connections are idle, leased or connecting, and how many callers wait.

        A connection counts as connecting until it has been connected for the first time, which the
        first request does.
        """
        self._close_expired()
        hosts: dict[Any, Stats] = self._machine.stats()
        return PoolStats(
            idle=sum(each.idle for each in hosts.values()),
            leased=sum(each.leased for each in hosts.values()),
            connecting=sum(each.connecting for each in hosts.values()),
            waiting=sum(each.waiting for each in hosts.values()),
            hosts=hosts,
        )

    def _close_expired(self) -> None:
        """Close the connections that have been idle for too long. Any other call does so, too."""
        self._post(_TICK)

    def close_idle(self) -> None:
        """Close all idle connections. Never waits."""
        self._post(_EMPTY)

    def close(self) -> None:
        """Close all connections, and end all leases. Never waits. May be called again.

        Callers that wait for a lease, and calls that use a connection of the pool, raise. The pool
        cannot be used again.
        """
        self._post(_CLOSE)

    def _check_open(self) -> None:
        if self._machine.is_closed:
            raise StateError("the pool is closed: make a new one")

    def _place_of(self, origin: str | Origin) -> Place[C]:
        """Return the place of *origin*, with the pool's own settings."""
        last = self._last_place  # of the same object, which most calls pass
        if last is not None and last[0] is origin:
            return last[1]
        place = self._place(check_origin(origin), None)
        self._last_place = (origin, place)
        return place

    def _place(self, origin: Origin, settings: ConnectionSettings | None) -> Place[C]:
        key: Any = origin if settings is None else (origin, settings)
        places = self._places
        place = places.get(key)
        if place is None:
            own = settings or self._settings
            blueprint = Blueprint(
                self._kind, origin.host, origin.port, own.for_origin(origin), own.allow, own.resolve
            )
            place = places[key] = Place(origin, blueprint)
            while len(places) > _REMEMBERED:
                with suppress(KeyError):  # another thread has done it
                    places.popitem(last=False)
        else:
            with suppress(KeyError):
                places.move_to_end(key)
        return place

    def _in_the_way(self, record: _Record) -> str:
        """Return which limit a lease waits for, and which leases use it up, for a message."""
        limit, records = self._machine.in_the_way(record)
        now = self._clock()
        names = [each.describe(now) for each in records if isinstance(each, _Record)]
        if len(names) > _MOST_NAMED:
            names[_MOST_NAMED:] = [f"{len(names) - _MOST_NAMED} more"]
        return f"{limit} slots are leased to {', '.join(names) or 'none'}"


class _Borrowing(AbstractContextManager[HTTPConnection, None]):
    """A lease for the time of a ``with`` block."""

    __slots__ = ("_conn", "_place", "_pool")

    def __init__(self, pool: Pool, place: Place[LeasedHTTPConnection]) -> None:
        self._pool = pool
        self._place = place

    def __enter__(self) -> HTTPConnection:
        self._conn = self._pool._acquire(self._place)
        return self._conn

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._pool.release(self._conn)


class Pool(BasePool[LeasedHTTPConnection]):
    """Connections to any number of servers, which are kept and used again. Thread-safe.

    ::

        with Pool(timeout=30) as pool:
            with pool.connection("https://www.example.org") as conn:
                resp = conn.request("GET", "/")
                body = conn.readall()

    A pool *leases* connections: until the lease ends, a connection belongs to one caller alone. A
    caller that asks for one waits while its limit is reached. Callers for one host are served in
    their order, and hosts take turns.

    A connection is used again for an equal route: origin, proxy and its credentials, TLS context,
    Unix socket and source address. TLS sessions are resumed for later connections of the route.

    Args:
        max_connections: the limit for leased and idle connections together; ``None`` for no limit.
            When it is reached, the connection that has been idle longest makes room for a lease.
        per_host: the same for one origin.
        max_idle: the limit for idle connections that are kept; ``None`` for no limit.
        idle_timeout: seconds after which an idle connection is closed: by the next call of any
            method. ``None`` for no limit.
        max_age: seconds after which a connection is not used again. It bounds how long an old
            address of the server stays in use. It is shortened by up to a tenth, at random, so that
            connections made together are not replaced together. ``None`` for no limit.
        ssl_context: for https origins. The default is `ssl.create_default_context`.
        proxy: as for `HTTPConnection`, as are all further arguments. `Timeouts.pool` limits the
            wait for a lease, and so does a plain number. The limit counts from the last time that
            a lease was granted to any caller that waits for the same limit.

    Raises:
        TypeError: an argument has the wrong type.
        InvalidRequest: the value of an argument is not valid.
    """

    _kind = LeasedHTTPConnection

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def connection(self, origin: str | Origin) -> AbstractContextManager[HTTPConnection, None]:
        """Return a context manager that leases a connection for the time of a ``with`` block.

        Args:
            origin: as for `acquire`.

        Raises:
            TypeError, InvalidRequest: *origin* is not valid. Entering the block raises as
                `acquire`.
        """
        return _Borrowing(self, self._place_of(origin))

    def acquire(self, origin: str | Origin) -> HTTPConnection:
        """Lease a connection. End the lease with `release`.

        Args:
            origin: a URL, of which only scheme, host and port matter, or an `Origin`.

        Returns:
            A connection for exclusive use. It has the pool's settings. The first request connects,
            unless the connection was used before.

        Raises:
            TypeError, InvalidRequest: *origin* is not valid.
            ConnectionTimedOut: no connection became free in time. The message names the leases.
            StateError: the pool is closed, or was closed while this waited.
        """
        return self._acquire(self._place_of(origin))

    def _acquire(self, place: Place[LeasedHTTPConnection]) -> HTTPConnection:
        conn = self._take_again(place)
        if conn is not None:
            return conn
        settings = self._settings
        return run(self._co_acquire(place), settings.timeout, settings.deadline, None)
