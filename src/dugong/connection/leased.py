"""Connection objects for the leases of a pool.

Theory of operation
===================

1. A pool gives each lease its own connection object, and the objects share what belongs to
   their route (`Blueprint`): the settings, and what was learned about the server. Each blueprint
   has its own class, whose attributes these are. So an object has only what is its own, and the
   settings are neither validated nor copied for each lease.
2. **The object belongs to the lease.** When the lease ends, the object changes its class, and every
   operation on it raises `StateError` from then on (`end_lease`). Its session retires and goes back
   to the pool, or is closed.
3. A lease may be dropped without being ended: by an exception, in a cycle of garbage, or because a
   signal handler has interrupted the call that was to end it. The object has the only lasting
   reference to its lease, so the lease's own finalizer ends it. The session is closed like that of
   any dropped connection.
4. Users may set `hostname` and other attributes, as on any connection. A session belongs to the
   lease's route only if it was made with it (`Route.key`). Any other session is closed in the end.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any, Generic, NoReturn, Protocol, TypeVar

from ..errors import StateError
from ..protocol.states import Receiving
from ..session.session import Session
from ..transport.connect import Resumption, Route
from ..transport.monitor import Monitor
from ..transport.poll import Co
from ..transport.stream import AT_ONCE
from ..transport.within import UNSET, ExchangeLimits
from .blocking import HTTPConnection
from .connection import Connection

if TYPE_CHECKING:
    from ..protocol.messages import HeadersArgument, HTTPResponse, WholeBody
    from ..protocol.request import Defaults
    from ..transport.connect import Allow, Resolve
    from ..transport.stream import Stream

C = TypeVar("C", bound="Leased")


class Lease(Protocol):
    """What a connection object needs of its lease."""

    pool: Any

    def end(self, conn: Any, /) -> None:
        """End the lease of *conn*, whose socket was handed over."""


class Leased(Connection):
    """The common part of the objects whose lease is in progress."""

    #: What the object becomes when its lease has ended.
    class_afterwards: type[Leased]

    _shared_route: Route | None = None
    _lease: Lease | None = None  # until the lease has ended

    def _route(self) -> Route:
        route, shared = super()._route(), self._shared_route
        return shared if shared is not None and route.key == shared.key else route

    def detach(self) -> tuple[socket.socket, bytes]:
        """Hand over the socket, as `HTTPConnection.detach`. This ends the lease."""
        detached = super().detach()
        if self._lease is not None:
            self._lease.end(self)
        return detached

    @property
    def monitor(self) -> Monitor:
        """What counts the bytes of this lease."""
        return self._monitor

    @property
    def stream(self) -> Stream | None:
        """The connected stream, ``None`` while not `connected`."""
        return self._open_stream()

    @property
    def dialled_address(self) -> Any:
        """The same as `peer_address`, but already known while TLS or a tunnel is being set up."""
        session = self._open_session()
        return None if session is None else session.peer_address

    def take_switched(self) -> tuple[Stream, bytes]:
        """Return the stream, and what was received of the protocol that follows HTTP on it.

        The lease continues. When it ends, the stream is closed.

        Raises:
            StateError: the connection still speaks HTTP.
        """
        session, stream = self._open_session(), self._open_stream()
        if session is None or stream is None or session.state.receiving is not Receiving.SWITCHED:
            raise StateError("the connection still speaks HTTP")
        return stream, session.take_received()

    @property
    def reused(self) -> bool:
        """Whether the lease has begun with a connection. Only before the first exchange."""
        return self._session is not None

    @property
    def body_sent(self) -> tuple[int, int | None] | None:
        """How many bytes of the latest request's body were sent, and of how many.

        ``None`` if there is no such request, or it has no body.
        """
        session = self._session
        queue = () if session is None else session.state.queue
        content = queue[-1].content if queue else None
        return None if content is None else (content.sent, content.length)

    def co_exchange(
        self,
        brief: bool,
        method: str,
        target: str,
        headers: HeadersArgument | None,
        body: WholeBody,
        expect100: bool | None,
        limits: ExchangeLimits | None,
        defaults: Defaults | None,
    ) -> Co[HTTPResponse]:
        """Perform a whole exchange, as `co_request`.

        Args:
            brief: whether a blocking driver runs this, so that it may wait within a receive.
            method, target, headers, body, expect100: as for `co_request`.
            limits: its time limits, which have begun before; ``None`` for none.
            defaults: the fields to add unless the request has them, instead of the usual ones.
        """
        flags = self._receive_flags if brief and self._deadline is None else AT_ONCE
        return self._co_exchange(
            flags,
            method,
            target,
            headers,
            body,
            expect100,
            UNSET,
            None,
            limits,
            defaults,
        )

    def _continue_watch(self, kept: Any) -> None:
        """Use what an `AsyncHTTPConnection` has left behind."""


#: The monitor of all idle sessions. Its counters are never read.
_IDLE = Monitor()


#: What an object does after its lease has ended, instead of raising: file objects that wrap it ask
#: for this when they are finalized.
_AFTERWARDS = {"closed": True, "close": lambda: None, "flush": lambda: None}


class _Ended:
    """What an object becomes when its lease has ended."""

    def __getattribute__(self, name: str) -> Any:
        if name.startswith("__"):
            return object.__getattribute__(self, name)
        if name in _AFTERWARDS:
            return _AFTERWARDS[name]
        raise _has_ended()

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise _has_ended()

    def __delattr__(self, name: str) -> NoReturn:
        raise _has_ended()

    def __enter__(self) -> NoReturn:
        raise _has_ended()


def _has_ended() -> StateError:
    return StateError("the lease of this connection has ended: get another one from the pool")


class LeasedHTTPConnection(Leased, HTTPConnection):
    """An `HTTPConnection` that belongs to a pool."""

    #: Runs a coroutine of this connection, within the connection's time limits.
    run = HTTPConnection._run


class _EndedHTTPConnection(_Ended, LeasedHTTPConnection):
    pass


LeasedHTTPConnection.class_afterwards = _EndedHTTPConnection


def register(leased: type[Leased]) -> None:
    """Make objects of another class leasable."""
    # The finalizer of `AsyncHTTPConnection` has nothing left to do.
    members = {"__module__": leased.__module__, "__del__": lambda self: None}
    leased.class_afterwards = type(f"_Ended{leased.__name__}", (_Ended, leased), members)


class Blueprint(Generic[C]):
    """Makes the connection objects for one route.

    Args:
        kind: their class.
        hostname, port: the server.
        settings: the other arguments of `HTTPConnection`.
        allow, resolve: as for `Route`.
        tls_name: the server's name for TLS, if it is not *hostname*.

    Attributes:
        route: the route of all connections, which also keeps the TLS session to resume.

    Raises:
        TypeError, InvalidRequest: an argument is not valid.
    """

    def __init__(
        self,
        kind: type[C],
        hostname: str,
        port: int,
        settings: dict[str, Any],
        allow: Allow | None = None,
        resolve: Resolve | None = None,
        tls_name: str | None = None,
    ) -> None:
        model = kind(hostname, port, **settings)
        model._allow, model._resolve, model._tls_name = allow, resolve, tls_name
        self.route = model._route()
        if self.route.ssl_context is not None:
            self.route.resumption = Resumption()
        members: dict[str, Any] = {"__module__": kind.__module__, "__qualname__": kind.__qualname__}
        for name, value in vars(model).items():
            # In a class, a function would become a method.
            members[name] = staticmethod(value) if hasattr(type(value), "__get__") else value
        self._kind: type[C] = type(kind.__name__, (kind,), members)

    def lend(self, lease: Lease, monitor: Monitor, session: Session | None, kept: Any) -> C:
        """Return an object for *lease*.

        Args:
            lease: the lease.
            monitor: for the object.
            session: an idle session of this route, with the same monitor. ``None`` to connect.
            kept: what `end_lease` has returned with the session.
        """
        conn = self._kind.__new__(self._kind)
        conn._monitor = monitor
        conn._session = session
        if kept is not None:
            conn._continue_watch(kept)
        conn._shared_route = self.route
        conn._lease = lease
        return conn


def disown(conn: Leased) -> None:
    """Make *conn* count as not connected, in a child made by fork."""
    conn._disown()


def activity(conn: object) -> str | None:
    """Return the oldest request in progress on *conn*, such as ``'GET /path'``, for a message."""
    session = object.__getattribute__(conn, "__dict__").get("_session")
    queue = () if session is None else tuple(session.state.queue)
    if not queue:
        return None
    request = queue[0].request
    return f"{request.method} {str(request.path).partition('?')[0]}"


def end_lease(conn: Any, pool: object) -> tuple[Any, Session | None, Any]:
    """End the lease of *conn*. Does not wait. Calls that are using the connection raise.

    May be called again, also if it was interrupted, and in several threads.

    Args:
        conn: the object.
        pool: the pool that it should be of.

    Returns:
        The lease, ``None`` if another call has ended it; the session, if it can be used again, and
        then something to pass to `lend`.

    Raises:
        TypeError: *conn* is not of *pool*.
    """
    kind = type(conn)
    if not isinstance(conn, Leased):
        raise TypeError(f"conn must be a connection of this pool, not {kind.__name__}")
    attributes = object.__getattribute__(conn, "__dict__")
    lease = attributes.get("_lease")
    if lease is not None and lease.pool is not pool and lease.pool is not None:
        raise TypeError("conn belongs to another pool: release it there")
    object.__setattr__(conn, "__class__", kind.class_afterwards)  # it may have that class already
    # Only one call gets the session. If an interrupt follows, its last reference is dropped, and
    # that closes the connection.
    session: Session | None = attributes.pop("_session", None)
    kept = None
    if session is not None:
        route = attributes["_shared_route"]
        if (session.route is route or session.route.key == route.key) and session.retire(_IDLE):
            if "_kept" in attributes:
                kept = _pause_watch(attributes, session)
        else:
            session.close()
            session = None
    if "_body_steps" in attributes:
        _wake(attributes)
    attributes.pop("_response_session", None)
    attributes.pop("_monitor", None)  # it refers to the lease, which may continue in another object
    return attributes.pop("_lease", None), session, kept


def _pause_watch(attributes: dict[str, Any], session: Session) -> Any:
    kept = attributes.pop("_kept", None)
    watch = None if kept is None else kept()
    if watch is not None:
        watch.close_with(session)
    return kept


def _wake(attributes: dict[str, Any]) -> None:
    steps = attributes.pop("_body_steps", None)
    if steps is not None:
        steps.wake()
