"""One call of a client: a request, with its redirects and retries, up to the final response.

Theory of operation
===================

1. A call is a sequence of *steps*: coroutines that wait for a lease, perform an exchange, discard a
   body, or let time pass. `Call.steps` yields each step and gets its result or exception. So the
   sequence is written once. The blocking, the async and the generator client differ only in how
   they run a step: on the connection that has been leased (`Call.conn`), or without one.
2. An *attempt* leases a connection and performs one exchange on it. These follow an attempt:

   ========================================== =======================================
   a redirect that is followed                the next hop (see `redirects`)
   an error or a status that is retried       the same hop after a delay (`retries`)
   the end of a connection that was reused    the same request, immediately, once
   any other response                         the result of the call
   any other error                            raised
   ========================================== =======================================

3. The body of a response that is not the result is discarded undecoded, up to
   `MAX_REDIRECT_BODY`, so that the connection can be used again. A longer one is left unread, and
   the pool closes the connection.
4. Whatever ends a call early, an interrupt included, also ends its lease: the `finally` clauses
   here run when the steps are closed.
5. `deadline` began with the call. Each exchange gets what is left of it, and so does each wait for
   a lease. A delay that would exceed it is not begun.
6. `timeout` limits single waits. Blocking and async clients set it on the connection, whose driver
   keeps it. In the generator form, the coroutines keep it (`Call.keeps_timeout`), so that it holds
   in any loop.
"""

from __future__ import annotations

import os
import time
from collections.abc import Generator
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, TypeVar

from ..connection.leased import Leased
from ..errors import (
    ConnectionClosed,
    ConnectionTimedOut,
    InvalidResponse,
    RedirectError,
    is_callers,
)
from ..protocol.content import AsyncIterableContent, is_replayable
from ..transport.monitor import Monitor
from ..transport.within import UNSET, ExchangeLimits, Unset
from .authentication import Basic, fields_of, find_netrc
from .callbacks import marked
from .coding import accept_encoding
from .delay import co_delay
from .events import Event
from .redirects import MAX_REDIRECT_BODY, Hop, Redirects, follow, lower_name
from .request import ClientRequest
from .retries import must_resend

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..pool.pool import BasePool
    from ..protocol.messages import HTTPResponse
    from ..transport.poll import Co
    from ..transport.timeouts import Timeouts
    from .response import BaseResponse
    from .retries import Retry
    from .settings import ClientSettings, Destination

C = TypeVar("C", bound=Leased)
R = TypeVar("R", bound="BaseResponse[Any]")

#: The steps of a call: each is a coroutine, whose result is sent back.
Steps: TypeAlias = Generator["Co[Any]", Any, R]


class Call(Generic[C, R]):
    """One call.

    Args:
        settings: the client's settings.
        pool: the client's pool.
        kind: the class of the response.
        hop: the first request.
        body: its body.
        rewind: makes it possible to send the body again.

    Attributes:
        conn: the connection that is leased, on which the current step runs; ``None`` if there is
            none.
        pieces: the body, if it is an async iterable.
        timeout: the time limit for single waits.
        limits: the limits of the current attempt; ``None`` if the driver keeps all of them.
        request: the current request.
        first: the first hop.
        given: what the caller passed for this request; see `ClientRequest.given`.
    """

    # Most calls have the defaults, and setting them for each would take longer than anything else.
    conn: C | None = None
    pieces: AsyncIterableContent | None = None
    timeout: float | Timeouts | Unset | None = UNSET
    deadline: float | None = None
    redirects: Redirects | None = None
    retries: Retry | None = None
    auth: Any = None
    decode = True
    expect100: bool | None = None
    keeps_timeout = False
    brief = False
    given: Any = None
    limits: ExchangeLimits | None = None
    request: ClientRequest
    _end: float | None = None
    _retried = 0
    _attempts = 0
    _reused = False
    _address: Any = None
    _sent: tuple[int, int | None] = (0, None)

    def __init__(
        self,
        settings: ClientSettings[C],
        pool: BasePool[C],
        kind: type[R],
        hop: Hop,
        body: Any,
        rewind: Callable[[], None] | None,
    ) -> None:
        self.settings = settings
        self.pool = pool
        self.first = self.hop = hop
        self.body = body
        if isinstance(body, AsyncIterableContent):
            self.pieces = body
        self._kind = kind
        self._rewind = rewind
        self._history: list[R] = []
        base = settings.base
        #: Whether this call may have the client's own credentials.
        self._has_credentials = base is None or base.origin == hop.url.origin

    # The steps.

    def steps(self) -> Steps[R]:
        """Return the steps of the call. Their result is the response."""
        if self.deadline is not None and self._end is None:
            self._end = time.monotonic() + self.deadline
        while True:
            try:
                head = yield from self._attempt()
            except Exception as exc:
                delay = self._delay_after_error(exc)
                if delay is None:
                    raise
                self._report("retry", exc)
            else:
                try:
                    hop = self._next_hop(head)
                    delay = None
                    if self.retries is not None and hop is None:
                        delay = self._delay_after_response(self.retries, head)
                    if hop is None and delay is None:
                        return self._result(head)
                    self._report("retry" if hop is None else "redirect")
                    yield from self._discard(head)
                finally:
                    self._release()
                if hop is not None:
                    self._history.append(self._answered(head))
                    self.hop = hop
                    continue
            assert delay is not None
            yield co_delay(delay, time.monotonic)

    def again(self) -> None:
        """Prepare to perform the same steps again, from the first hop. The deadline continues."""
        self.hop = self.first
        self._history = []

    def time_left(self, seconds: float) -> bool:
        """Return whether the deadline will not have passed after *seconds*."""
        return self._end is None or time.monotonic() + seconds < self._end

    def _attempt(self) -> Generator[Co[Any], Any, HTTPResponse]:
        settings, pool, hop = self.settings, self.pool, self.hop
        trusted = hop.trusted and self._has_credentials
        destinations = settings.trusted if trusted else settings.untrusted
        destination = destinations.find(hop.url.origin, pool)
        usual = destination.usual
        body = self.body if hop.has_body else None
        self.request = request = ClientRequest(hop, body, usual, self.given)
        fields = self._fields(request, destination)
        if self._attempts and self._rewind is not None and hop.has_body:
            self._rewind()
        self._attempts += 1
        report: Callable[[str], None] | None = None
        self._reused, self._address = False, None
        if settings.on_event is not None:
            report = self._report
        has_limits = self.deadline is not None or self.keeps_timeout
        if has_limits:
            self.limits = self._limits(Monitor())
            self.limits.check("pool")
        self.conn = conn = pool.take_again(destination.place)
        try:
            if conn is None:
                self.conn = conn = yield pool.co_lease(destination.place, report)
                assert conn is not None
            if report is not None:
                conn.on_event = report
            if self.timeout is not UNSET:
                conn.timeout = self.timeout
            if has_limits:
                self.limits = self._limits(conn.monitor)
            self._reused = conn.reused
            while True:
                try:
                    head: HTTPResponse = yield conn.co_exchange(
                        self.brief,
                        hop.method,
                        hop.url.target,
                        fields,
                        body,
                        self.expect100,
                        self.limits,
                        usual,
                    )
                    return head
                except ConnectionClosed as exc:
                    if self.pieces is not None or is_callers(exc):
                        raise
                    if not must_resend(exc, reused=self._reused):
                        raise
                self._reused = False  # `co_exchange` makes another connection now
        except BaseException:
            self._release()
            raise

    def _limits(self, monitor: Monitor) -> ExchangeLimits:
        timeout = self.timeout if self.keeps_timeout else UNSET
        return ExchangeLimits(monitor, self.deadline, timeout, self._end)

    def _discard(self, head: HTTPResponse) -> Generator[Co[Any], Any, None]:
        """Discard the body of a response that is not the result (rule 3)."""
        assert self.conn is not None
        if head.length is not None and head.length > MAX_REDIRECT_BODY:
            return
        try:
            yield self.conn.co_readall(MAX_REDIRECT_BODY)
        except (InvalidResponse, ConnectionClosed, ConnectionTimedOut):
            # The next request needs another connection, and that is all.
            if self.limits is not None:
                self.limits.check("body")

    def _release(self) -> None:
        conn, self.conn = self.conn, None
        if conn is not None:
            self.pool.release(conn)

    # Decisions.

    def _next_hop(self, head: HTTPResponse) -> Hop | None:
        url = self.hop.url
        if self.settings.cookies is not None and head.headers.mentions("set-cookie"):
            self.settings.cookies.store(url, head.headers)
        if self.redirects is None or not 301 <= head.status <= 308:
            return None
        try:
            return follow(
                self.redirects,
                self.hop,
                head.status,
                head.headers,
                replayable=is_replayable(self.body),
            )
        except RedirectError as exc:
            exc.response = self._answered(head)
            raise

    def _delay_after_response(self, retries: Retry, head: HTTPResponse) -> float | None:
        body = self.body if self.hop.has_body else None
        return self._unless_too_long(
            retries.after_response(
                self.hop.method,
                head.status,
                head.headers,
                self._retried,
                now=time.time(),
                replayable=is_replayable(body),
            )
        )

    def _delay_after_error(self, exc: Exception) -> float | None:
        if self.retries is None or is_callers(exc):
            return None
        if self.pieces is not None and self.hop.has_body:
            return None  # they are closed by now
        return self._unless_too_long(self.retries.after_error(exc, self._retried))

    def _unless_too_long(self, delay: float | None) -> float | None:
        """Return *delay*, and count a retry. ``None`` if it exceeds the deadline (rule 5)."""
        if delay is None or not self.time_left(delay):
            return None
        self._retried += 1
        return delay

    # The fields of a request.

    def _fields(
        self, request: ClientRequest, destination: Destination[C]
    ) -> list[tuple[Any, Any]] | None:
        """Return the fields to pass with a request, ``None`` if it has only the usual ones."""
        settings, hop = self.settings, self.hop
        own = settings.own
        is_plain = not hop.fields and self.auth is None and self.decode is settings.decode
        cookies = settings.cookies
        if is_plain and not own.explicit and (cookies is None or cookies.empty):
            return None
        fields = list(hop.fields)
        given = {lower_name(name) for name, _ in fields}
        if not destination.takes_proxy_credentials and "proxy-authorization" in given:
            fields = [pair for pair in fields if lower_name(pair[0]) != "proxy-authorization"]
        fields += [pair for pair in own.explicit if pair[0].lower() not in given]
        if hop.number and not hop.has_body:
            fields += [pair for pair in own.about_body if pair[0] not in given]
        trusts_client = hop.trusted and self._has_credentials
        ours = own.lines.keys() if trusts_client else ()
        if "accept-encoding" not in given and not own.sets_accept_encoding:
            if "range" in given:
                fields.append(("Accept-Encoding", "identity"))
            elif self.decode is not settings.decode:
                fields.append(("Accept-Encoding", accept_encoding() if self.decode else "identity"))
        if cookies is not None and "cookie" not in given and "cookie" not in ours:
            cookie = cookies.header(hop.url)
            if cookie is not None:
                fields.append(("Cookie", cookie))
        request.with_fields(fields)
        has_own = "authorization" in given or "authorization" in ours
        if self.auth is not None and hop.trusted and not has_own:
            fields = self._with_auth(fields, request)
            request.with_fields(fields)
        return fields or None

    def _with_auth(
        self, fields: list[tuple[Any, Any]], request: ClientRequest
    ) -> list[tuple[Any, Any]]:
        auth = self.auth
        if isinstance(auth, str):  # "netrc"
            auth = find_netrc(self.hop.url.origin.host, os.environ)
            self.auth = auth
            if auth is None:
                return fields
        if isinstance(auth, Basic):
            return [*fields, ("Authorization", auth.authorization)]
        added = fields_of(marked(auth), request)
        replaced = {name.lower() for name, _ in added}
        return [*(pair for pair in fields if lower_name(pair[0]) not in replaced), *added]

    # Events and results.

    @property
    def body_sent(self) -> tuple[int, int | None]:
        """How many bytes of the body were sent, and of how many; ``None`` if that is unknown."""
        if self.conn is not None:
            self._sent = self.conn.body_sent or self._sent
        return self._sent

    def _report(self, name: str, error: BaseException | None = None) -> None:
        on_event = self.settings.on_event
        if on_event is None:
            return
        conn = self.conn
        if conn is not None:  # otherwise it belongs to the response already, or has ended
            self._address = conn.peer_address
        event = Event(
            name,
            time.monotonic(),
            self.request,
            self.hop.url.origin,
            self._address,
            self._reused,
            error,
        )
        on_event(event)

    def _result(self, head: HTTPResponse) -> R:
        conn = self.conn
        assert conn is not None
        if self.body is not None:
            self._sent = conn.body_sent or self._sent
        response = self._kind(self, head, conn, self._history)
        self.conn = None
        return response

    def _answered(self, head: HTTPResponse) -> R:
        """Return a closed response."""
        return self._kind(self, head, None, [*self._history])
