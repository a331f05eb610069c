"""`Pool`: leases of connections to any number of servers. `AsyncPool` is in `aio`.

Theory of operation
===================

1. `leases.Leases` decides, and this module acts. Whatever happens is *posted*: appended to
   `_inbox`. Then one call, in any thread, carries out what was posted, in order (`Steps._work`).
   It reports each event to the machine, wakes the callers that were granted a slot, and closes the
   connections that are no longer wanted.
2. **No call ever waits for another.** The right to carry out is `_free`, taken by deleting it, as
   in `ConflictDetector`. A call that does not get it leaves its event to the call that has it,
   which checks the inbox again after it has returned the right. So events may be posted
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
7. A connection is examined once when it is taken (`Session.idle_fault`). One that is closed, too
   old or idle for too long is replaced by the next of its route, or by a new one in the same slot.
   Where the system has epoll, each call that carries out events also learns which idle connections
   have become readable, without looking at the others (`IdleWatch`), and closes those that the
   server has closed.
8. What is remembered of an origin, a *place*, is its settings in the form in which connections need
   them, what was learned about the server, and its TLS session. The pool keeps the last
   `_REMEMBERED`.
9. **The short way.** While no caller waits, the end of a lease is only noted in the inbox. If the
   next call asks for the same place, it takes that back, and has the slot and the connection
   without asking the machine (`take_again`). To the machine, the two leases are one. Otherwise the
   next call carries it out first. So most leases cost little, and no caller can miss a slot: the
   end of a lease is posted before it looks for callers that wait, and a caller that begins to wait
   is counted before what was posted is carried out.
10. A child made by fork starts with a new machine and an empty inbox. Leases of the old one mean
   nothing there.
"""

from __future__ import annotations

import math
import random
import weakref
from collections import OrderedDict
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field
from threading import get_ident
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar

from ..connection.blocking import HTTPConnection
from ..connection.connection import Connection
from ..connection.leased import (
    Blueprint,
    Leased,
    LeasedHTTPConnection,
    end_lease,
)
from ..errors import ConnectionTimedOut, StateError
from ..protocol.arguments import check_seconds, check_size
from ..protocol.limits import CONTINUE_TIMEOUT
from ..transport.monitor import Monitor
from ..transport.poll import Co, run
from .leases import Stats
from .origin import Origin, check_origin
from .place import ConnectionSettings, Place
from .records import Kept, LeaseMonitor, PoolLease, Record
from .steps import CANCELLED, CLOSE, DEAD, EMPTY, LEASE_ENDED, TICK, WANT, Steps
from .waiting import SlotNeeded

if TYPE_CHECKING:
    import os
    import ssl
    from collections.abc import Callable, Iterable
    from types import TracebackType

    from ..protocol.messages import HeadersArgument
    from ..session.session import Session
    from ..transport.timeouts import Timeouts

C = TypeVar("C", bound=Leased)

#: Places that a pool remembers. Programs that use more origins at a time learn again.
_REMEMBERED = 256

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


class BasePool(Steps, Generic[C]):
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
        proxy_ssl_context: ssl.SSLContext | None = None,
        socket_options: Iterable[tuple[int, int, int | bytes]] = (),
    ) -> None:
        super().__init__(
            None if max_connections is None else check_size(max_connections, "max_connections", 1),
            None if per_host is None else check_size(per_host, "per_host", 1),
            None if max_idle is None else check_size(max_idle, "max_idle"),
            check_seconds(idle_timeout, "idle_timeout"),
        )
        self._idle_timeout = math.inf if idle_timeout is None else idle_timeout
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
            proxy_ssl_context=proxy_ssl_context,
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
        return self.co_lease(self.place_of(check_origin(origin), settings), on_event)

    def co_lease(self, place: Place[C], on_event: Callable[[str], object] | None = None) -> Co[C]:
        conn = self.take_again(place)
        if conn is not None:
            conn.on_event = on_event
            return conn
        waits = False
        lease = PoolLease(self, place)
        try:
            self._post(WANT, lease.record)
            while True:
                while lease.pending:
                    if self._is_nested:
                        raise StateError(
                            "a finalizer or signal handler has interrupted the pool itself, and "
                            "cannot wait for a connection of it"
                        )
                    if lease.machine is not self._machine:  # after a fork
                        lease = PoolLease(self, place)
                        self._post(WANT, lease.record)
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
                self._post_end(CANCELLED, lease)

    def _take(self, lease: PoolLease) -> C | None:
        """Return the connection object of a granted lease; ``None`` if it has to wait again."""
        record = lease.record
        assert record is not None
        idle: Any = record.idle
        monitor = LeaseMonitor(lease, self._clock)
        session = None if idle is None else self._open(idle, monitor)
        if idle is not None and session is None:
            lease.pending = True
            self._post(DEAD, record, idle)
            return None
        conn = self._lend(lease, monitor, session, idle)
        self._machine.granted(record)
        record.idle = None
        if self._machine.is_closed:  # by another thread, which did not see this connection
            self.release(conn)
            self._check_open()
        return conn

    def take_again(self, place: Place[C]) -> C | None:
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
                    if found.__class__ is Kept and found.place is place:
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
        monitor = LeaseMonitor(lease, self._clock)
        session = self._open(idle, monitor)
        if session is None:
            self._post_end(LEASE_ENDED, lease)
            return None
        lease.pool = self
        idle.previous = None
        lease.since = self._clock()
        return self._lend(lease, monitor, session, idle)

    def _open(self, idle: Kept, monitor: Monitor) -> Session | None:
        """Return a session that continues an idle one; ``None`` if it cannot be used again."""
        now, retired = self._clock(), idle.session
        if idle.expires is not None and now >= idle.expires:
            fault: object = "too old"
        elif now >= idle.since + self._idle_timeout:
            fault = "idle for too long"
        else:
            fault = retired.retired_fault()
        if fault is not None:
            retired.close()
            return None
        session = retired.succeed(monitor)
        session.fresh_until = now + _FRESH
        return session

    def _lend(
        self, lease: PoolLease, monitor: Monitor, session: Session | None, idle: Kept | None
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
            kept = Kept(lease, session, watch, now)
            try:
                self._inbox.append(kept)
                lease.pool = None  # the inbox refers to the lease, and would be part of a cycle
                # At most one idle connection for each event. One too many is closed immediately.
                machine = self._machine
                surplus = len(self._inbox) + len(machine.idle) > machine.max_idle
                if machine.waiting or surplus or now >= self._due:
                    self._work()
            except BaseException:  # as in `_post`
                self._work()
                raise
            return
        if session is not None:
            session.close()
        self._post_end(LEASE_ENDED, lease)

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
        self._post(TICK)

    def close_idle(self) -> None:
        """Close all idle connections. Never waits."""
        self._post(EMPTY)

    def close(self) -> None:
        """Close all connections, and end all leases. Never waits. May be called again.

        Callers that wait for a lease, and calls that use a connection of the pool, raise. The pool
        cannot be used again.
        """
        self._post(CLOSE)

    def _check_open(self) -> None:
        if self._machine.is_closed:
            raise StateError("the pool is closed: make a new one")

    def _own_place(self, origin: str | Origin) -> Place[C]:
        """Return the place of *origin*, with the pool's own settings."""
        last = self._last_place  # of the same object, which most calls pass
        if last is not None and last[0] is origin:
            return last[1]
        place = self.place_of(check_origin(origin), None)
        self._last_place = (origin, place)
        return place

    def place_of(self, origin: Origin, settings: ConnectionSettings | None) -> Place[C]:
        key: Any = origin if settings is None else (origin, settings)
        places = self._places
        place = places.get(key)
        if place is None:
            own = settings or self._settings
            blueprint = Blueprint(
                self._kind,
                origin.host,
                origin.port,
                own.for_origin(origin),
                own.allow,
                own.resolve,
                own.tls_name,
            )
            place = places[key] = Place(origin, blueprint)
            while len(places) > _REMEMBERED:
                with suppress(KeyError):  # another thread has done it
                    places.popitem(last=False)
        else:
            with suppress(KeyError):
                places.move_to_end(key)
        return place

    def _in_the_way(self, record: Record) -> str:
        """Return which limit a lease waits for, and which leases use it up, for a message."""
        limit, records = self._machine.in_the_way(record)
        now = self._clock()
        names = [each.describe(now) for each in records if isinstance(each, Record)]
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

    A connection is used again for an equal route: origin, proxy and its credentials, TLS contexts,
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
        return _Borrowing(self, self._own_place(origin))

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
        return self._acquire(self._own_place(origin))

    def _acquire(self, place: Place[LeasedHTTPConnection]) -> HTTPConnection:
        conn = self.take_again(place)
        if conn is not None:
            return conn
        settings = self._settings
        return run(self.co_lease(place), settings.timeout, settings.deadline, None)
