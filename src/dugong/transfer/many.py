"""`Client.many`: many requests in one thread, with limits per host that are found automatically.

Theory of operation
===================

1. A request that was read is a *job*. The schedule (`schedule`) decides when it begins. It then is
   a coroutine, which performs the call and receives the body, in a `Runner`. So the blocking, the
   async and the generator form differ only in how they wait for the runner.
2. Nothing runs between two steps of the iterator. The limits of a coroutine use `Runner.clock`,
   which leaves that time out. Only a deadline counts it.
3. Requests are read when the schedule has none that may begin, up to *window* that have not ended.
   A separate task (`AsyncSource`) reads an async iterable, and wakes the runner.
4. Retries are decided here, and not by the call: a request that waits for its retry needs no place
   in flight, and ``Retry-After`` stops all requests to its host.
5. The connections are those of a pool of our own, without limits: the schedule has them, and a
   request that it begins must not wait. If the client shares a pool, that is used, with its limits.
6. If the process has no more descriptors, idle connections are closed, the request begins again,
   and fewer are in flight from then on. That is no fault of its server.
"""

from __future__ import annotations

import errno
import re
import time
from collections import deque
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar

from ..client.call import Call
from ..client.client import co_perform
from ..client.redirects import MAX_REDIRECT_BODY, Hop
from ..client.request import ClientRequest
from ..client.retries import MAX_WAIT, retry_after
from ..connection.async_source import AsyncSource
from ..connection.pipeline.queue import NotYet
from ..drivers.many import Runner
from ..errors import (
    ConnectionClosed,
    ConnectionTimedOut,
    DNSUnavailable,
    DugongError,
    HostnameNotResolvable,
    InvalidRequest,
    StatusError,
    is_callers,
    mark_as_callers,
)
from ..protocol.arguments import check_size
from ..protocol.content import AsyncIterableContent, is_replayable
from ..protocol.limits import BUFFER_SIZE
from ..transport.poll import Limits
from ..transport.within import Unset
from .schedule import BUSY, SILENT, Answer, Schedule, Ticket

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType
    from typing import BinaryIO, TypeAlias

    from ..client.client import BaseClient
    from ..client.response import BaseResponse, Response
    from ..transport.poll import Co

    #: One request for `Client.many`.
    Wanted: TypeAlias = str | tuple[str, str] | Mapping[str, Any]
    Sink: TypeAlias = Callable[[ClientRequest, Any], BinaryIO | None]

R = TypeVar("R", bound="BaseResponse[Any]")

#: Requests that are read at a time, before those that run have another turn.
_READ_AT_A_TIME = 100

#: Statuses by which a host asks for fewer requests.
_REFUSALS = frozenset({429, 503})

#: Connections that stay open while they are idle, for each request that may be in flight. A host of
#: which there are more requests later is then still connected.
_IDLE_SHARE = 2

_NO_DESCRIPTORS = frozenset({errno.EMFILE, errno.ENFILE})

_USER_INFORMATION = re.compile(r"//[^/?#]*@")


class _Job(Generic[R]):
    """A request."""

    __slots__ = ("call", "failure", "request", "retried", "retries", "ticket")

    def __init__(self, call: Call[Any, R]) -> None:
        self.call = call
        #: What exceptions have as `request`.
        self.request = ClientRequest(call.first, call.body, None, call.given)
        self.retries, call.retries = call.retries, None
        self.retried = 0
        self.failure: Exception | None = None  # because of which it is sent again
        self.ticket: Ticket[Any] | None = None


class _Retried(Exception):
    """The response is not the result: the request is sent again."""

    def __init__(self, response: Any, delay: float) -> None:
        super().__init__(delay)
        self.response = response
        self.delay = delay


class BaseMany(Generic[R]):
    """The common part of `Many` and `AsyncMany`."""

    def __init__(
        self,
        client: BaseClient[Any, Any, R],
        requests: Any,
        *,
        limit: int,
        per_host: int,
        max_body: int | None,
        sink: Sink | None,
        window: int,
    ) -> None:
        limit = check_size(limit, "limit", 1)
        if sink is not None and not callable(sink):
            raise TypeError(f"sink must be a callable, not {type(sink).__name__}")
        if isinstance(requests, (str, bytes, Mapping)):
            raise TypeError(
                f"requests must be an iterable of requests, not {type(requests).__name__}"
            )
        self._window = check_size(window, "window", 1)
        self._max_body = None if max_body is None else check_size(max_body, "max_body")
        self._sink = sink
        self._client = client
        retries = client.settings.retries
        max_pause = MAX_WAIT if retries is None else retries.max_wait
        per_host = check_size(per_host, "per_host", 1)
        self._schedule: Schedule[_Job[R]] = Schedule(limit, per_host, max_pause)
        self._runner: Runner[tuple[_Job[R], R | Exception] | None] = Runner()
        self._source: Iterator[Any] | AsyncSource | None = None
        self._results: deque[R | Exception] = deque()
        self._pool: Any = client.pool
        self._own_pool: Any = None
        if client.owns_pool:
            self._own_pool = self._pool = type(client.pool)(
                max_connections=None, per_host=None, max_idle=_IDLE_SHARE * limit
            )
        self._source = self._iterator(requests)

    def _iterator(self, requests: Any) -> Iterator[Any] | AsyncSource:
        if hasattr(type(requests), "__aiter__"):
            raise TypeError("requests must not be an async iterable: use AsyncClient")
        found: Iterator[Any] = iter(requests)
        return found

    # Steps.

    def _go_on(self) -> bool:
        """Do everything that needs no wait. Returns whether there is a wait before a result."""
        while not self._results:
            self._advance()
            self._runner.run_ready()
            if self._collect() or self._results:
                continue
            schedule = self._schedule
            if self._source is None and not schedule.waiting and not self._runner.in_flight:
                self.end()
                return False
            return True
        return False

    def _until(self) -> float:
        """Return when there is something to do, although nothing has happened."""
        now = time.monotonic()
        if not isinstance(self._source, AsyncSource) and self._may_read(now):
            return now  # the coroutines had a turn, and reading goes on
        return self._schedule.next_time(now)

    def _advance(self) -> None:
        """Begin the requests that may begin, and read more while there are none."""
        schedule, read = self._schedule, 0
        while True:
            now = time.monotonic()
            ticket = schedule.take(now)
            if ticket is not None:
                self._begin(ticket)
            elif read < _READ_AT_A_TIME and self._may_read(now) and self._read(now):
                read += 1
            else:
                return

    def _may_read(self, now: float) -> bool:
        schedule = self._schedule
        known = schedule.waiting + schedule.in_flight
        return self._source is not None and known < self._window and schedule.has_room(now)

    def _read(self, now: float) -> bool:
        """Read a request. Returns False if there is none, now or ever."""
        source, schedule = self._source, self._schedule
        assert source is not None
        if isinstance(source, AsyncSource):
            left = self._window - schedule.waiting - schedule.in_flight
            source.want(min(left, _READ_AT_A_TIME))
        try:
            given = next(source)
        except StopIteration:
            self._source = None
            return False
        except NotYet:
            return False
        except BaseException:
            self._source = None
            raise
        method, url, options = _parts(given)
        try:
            call = self._client.prepare(method, url, options)
        except InvalidRequest as exc:
            shown = _USER_INFORMATION.sub("//", url)
            self._fail(exc, ClientRequest(Hop(method, shown), None, None, given))  # type: ignore[arg-type]
            return True
        if isinstance(call.body, AsyncIterableContent):
            raise TypeError("the body of one of many requests must not be an async iterable")
        call.pool, call.given = self._pool, given
        schedule.add(call.first.url.origin, _Job(call), now)
        return True

    def _begin(self, ticket: Ticket[_Job[R]]) -> None:
        job = ticket.item
        if ticket.reason is not None:
            self._fail(job.failure or _because(ticket.reason, job.request.url), job.request)
            return
        job.ticket = ticket
        timeout = job.call.timeout
        if isinstance(timeout, Unset):
            timeout = self._client.settings.timeout
        limits = Limits(timeout, None, None, self._runner.clock)
        self._runner.start(self._co_job(job), limits)

    def _co_job(self, job: _Job[R]) -> Co[tuple[_Job[R], R | Exception] | None]:
        ticket, is_over = job.ticket, False
        assert ticket is not None
        try:
            response = yield from co_perform(job.call)
            self._schedule.answered(ticket)
            delay = self._delay_after_response(job, response)
            if delay is not None:
                yield from _co_drop(response)
                raise _Retried(response, delay)
            yield from self._co_receive(response)
            is_over = True
            return job, response
        except Exception as exc:
            is_over = True
            return job, exc
        finally:
            if not is_over:  # an interrupt, or the iterator is closed: there is no result
                self._schedule.ended(ticket, Answer.NEUTRAL, time.monotonic())

    def _co_receive(self, response: R) -> Co[None]:
        """Receive a body."""
        file = None
        try:
            if self._sink is not None:
                file = _call(self._sink, response.request, response)
            if file is None:
                response.keep((yield from response.co_readall(self._max_body)))
                return
            while piece := (yield from response.co_read(BUFFER_SIZE)):
                _call(file.write, piece)
        except BaseException:
            response.end()
            raise
        finally:
            if file is not None:
                _call(file.close)

    # Results.

    def _collect(self) -> bool:
        """Judge the coroutines that have ended. Returns whether there were any."""
        found = False
        while self._runner.results:
            found = True
            _, outcome = self._runner.results.popleft()
            if isinstance(outcome, tuple):
                self._judge(*outcome)
        return found

    def _judge(self, job: _Job[R], outcome: R | Exception) -> None:
        ticket, schedule, now = job.ticket, self._schedule, time.monotonic()
        assert ticket is not None
        job.ticket = None  # the two would be a reference cycle
        if not isinstance(outcome, Exception) or isinstance(outcome, _Retried):
            response: Any = outcome.response if isinstance(outcome, _Retried) else outcome
            wait, reason = None, None
            answer = Answer.ACCEPTED
            if (
                response.status in _REFUSALS
                and job.call.hop.url.origin == job.call.first.url.origin
            ):
                answer, wait = Answer.REFUSED, retry_after(response.headers, time.time())
                reason = StatusError(response.status, response.reason, response.url)
            schedule.ended(ticket, answer, now, wait, reason)
            if isinstance(outcome, _Retried):
                self._put_back(ticket, now + outcome.delay)
            else:
                self._results.append(outcome)
            return
        schedule.ended(ticket, _judged(outcome), now, None, outcome)
        if isinstance(outcome, OSError) and outcome.errno in _NO_DESCRIPTORS:
            idle = self._pool.stats().idle
            self._pool.close_idle()
            if schedule.have_fewer(ticket, idle, now):
                self._put_back(ticket, now)
                return
        delay = self._delay_after_error(job, outcome)
        if delay is None:
            self._fail(outcome, job.request)
        else:
            job.failure = outcome
            self._put_back(ticket, now + delay)

    def _put_back(self, ticket: Ticket[_Job[R]], when: float) -> None:
        ticket.item.call.again()
        self._schedule.put_back(ticket, when)

    def _delay_after_response(self, job: _Job[R], response: R) -> float | None:
        if job.retries is None:
            return None
        hop, call = job.call.hop, job.call
        delay = job.retries.after_response(
            hop.method,
            response.status,
            response.headers,
            job.retried,
            now=time.time(),
            replayable=is_replayable(call.body if hop.has_body else None),
        )
        return self._counted(job, delay)

    def _delay_after_error(self, job: _Job[R], exc: Exception) -> float | None:
        if job.retries is None or is_callers(exc):
            return None
        return self._counted(job, job.retries.after_error(exc, job.retried))

    def _counted(self, job: _Job[R], delay: float | None) -> float | None:
        if delay is None or not job.call.time_left(delay):
            return None
        job.retried += 1
        return delay

    def _fail(self, exc: Exception, request: ClientRequest) -> None:
        exc.request = request  # type: ignore[attr-defined]
        self._results.append(exc)

    def co_next(self) -> Co[R | Exception | None]:
        """Coroutine that returns the next result; ``None`` if there are no more."""
        while self._go_on():
            yield from self._runner.co_sleep(self._until())
        return self._results.popleft() if self._results else None

    def end(self) -> None:
        """Cancel what is in flight, and read no more."""
        if isinstance(self._source, AsyncSource):
            self._source.stop()
        self._source = None
        self._results.clear()
        try:
            self._runner.close()
        finally:
            for _ in self._schedule.drain():
                pass
            if self._own_pool is not None:
                self._own_pool.close()

    def __del__(self) -> None:
        if "_own_pool" in vars(self):  # not if the constructor has failed
            self.end()


class Many(BaseMany["Response"]):
    """The iterator that `Client.many` returns. Also a context manager."""

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Response | Exception:
        while self._go_on():
            self._runner.sleep(self._until())
        if not self._results:
            raise StopIteration
        return self._results.popleft()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Cancel what is in flight, and read no more requests. May be called again."""
        self.end()


def _co_drop(response: BaseResponse[Any]) -> Co[None]:
    """Close a response. Its connection can be used again if its body is short."""
    try:
        if response.length is not None and response.length <= MAX_REDIRECT_BODY:
            yield from response.co_discard()
    except (DugongError, OSError):
        pass  # the next request needs another connection, and that is all
    finally:
        response.end()


def _parts(given: Any) -> tuple[str, str, Any]:
    """Return method, URL and options of a request.

    Raises:
        TypeError: *given* is not a request.
    """
    if isinstance(given, str):
        return "GET", given, {}
    if isinstance(given, tuple) and len(given) == 2:
        return given[0], given[1], {}
    if isinstance(given, Mapping):
        options = dict(given)
        if "url" in options:
            return options.pop("method", "GET"), options.pop("url"), options
        raise TypeError("a request of many that is a mapping must have a 'url'")
    raise TypeError(
        "a request of many must be a URL, a pair (method, url) or a mapping, not "
        f"{type(given).__name__}"
    )


def _judged(exc: Exception) -> Answer:
    """Return what an exception means for the limits of the host."""
    if is_callers(exc):
        return Answer.NEUTRAL
    if isinstance(exc, ConnectionTimedOut):
        if exc.phase == "pool" or exc.response_started:
            return Answer.NEUTRAL
        return Answer.SILENT
    if isinstance(exc, (HostnameNotResolvable, DNSUnavailable)):
        return Answer.UNKNOWN
    if isinstance(exc, (ConnectionClosed, ConnectionResetError, BrokenPipeError)):
        return Answer.REFUSED
    return Answer.NEUTRAL if isinstance(exc, OSError) else Answer.ACCEPTED


def _because(reason: BaseException, url: str) -> Exception:
    """Return the exception of a request that was not sent, because its host is shut.

    Args:
        reason: the exception of another request to that host.
        url: the URL of the request.
    """
    if isinstance(reason, StatusError):
        return StatusError(reason.status, reason.reason, url)
    if isinstance(reason, (HostnameNotResolvable, DNSUnavailable)):
        from copy import copy

        return copy(reason).with_traceback(None)
    exc: DugongError
    if isinstance(reason, ConnectionTimedOut):
        exc = ConnectionTimedOut(f"not sent: the host has not answered {SILENT} requests: {reason}")
        exc.phase = reason.phase
    else:
        exc = ConnectionClosed(f"not sent: the host has refused {BUSY} requests: {reason}")
    exc.safe_to_retry = True
    return exc


def _call(function: Callable[..., Any], *args: Any) -> Any:
    """Call a function of the caller's. Its exceptions are results, and no errors of the network."""
    try:
        return function(*args)
    except Exception as exc:
        mark_as_callers(exc)
        raise
