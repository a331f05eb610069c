"""The downloads of ``dugong get``: pipelined where possible, and with retries.

Consecutive URLs of one server are requested in a pipeline. If one of them fails, or needs more than
one exchange (redirects, partial downloads), it is fetched alone on another connection, before the
next response is read. So the order of the documents is always that of the URLs.
"""

from __future__ import annotations

import argparse
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import groupby
from types import TracebackType
from typing import Self

from ..connection.blocking import HTTPConnection
from ..errors import ConnectionClosed, DigestMismatch, DugongError
from ..protocol.messages import HTTPResponse, Request
from .arguments import Document
from .output import Failure, complain
from .progress import Bars
from .receiving import Job, Receiver
from .redirects import Trail, followed, location
from .refusals import Refusal
from .servers import attempts, connect, connection, is_temporary, why

#: Bytes of an error's body that are read to keep the connection. If the body is longer, it is
#: cheaper to reconnect.
_MAX_SKIPPED = 1 << 20

#: The maximum number of connections that are kept for the next document. Redirects need several.
_MOST_KEPT = 4


class Fetcher:
    """Fetches jobs, and reports failures on standard error.

    Args:
        args: the arguments of the command.
        shown: shows the progress.
    """

    def __init__(self, args: argparse.Namespace, shown: Bars) -> None:
        self._args = args
        self._receiver = Receiver(args, shown)
        self._status = 0
        self._connections: dict[tuple[bool, str, int | None], HTTPConnection] = {}
        #: Servers that could not be reached after all attempts. Later jobs get one attempt each.
        self._unreachable: set[tuple[bool, str, int | None]] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for conn in self._connections.values():
            conn.disconnect()

    def fetch_all(self, jobs: Iterable[Job]) -> int:
        """Fetch the jobs in order. Returns the exit status."""
        for _, group in groupby(jobs, self._company):
            neighbours = deque(group)
            while neighbours:
                if len(neighbours) == 1:
                    self._fetch(neighbours.popleft())
                else:
                    self._fetch_together(neighbours)
        return self._status

    def _company(self, job: Job) -> object:
        """Return a key that is equal for jobs that may be fetched together."""
        if self._args.resume and job.destination.is_begun():
            return object()
        return job.document.server

    # One document.

    @contextmanager
    def _dealing_with(self, job: Job) -> Iterator[None]:
        """Report the failure of a job, and leave its destination in a consistent state."""
        try:
            yield
        except (Failure, DugongError) as exc:
            if isinstance(exc, DigestMismatch):
                job.destination.beginning = None
            self._give_up(job, str(exc))
        except KeyboardInterrupt:
            if rest := job.destination.leave():
                complain(f"{job.document.url}: interrupted; {rest}")
            raise
        except BaseException:
            job.destination.leave()
            raise

    def _give_up(self, job: Job, reason: str) -> None:
        rest = job.destination.leave()
        self._status = complain(f"{job.document.url}: {reason}" + (f"; {rest}" if rest else ""))

    def _fetch(
        self, job: Job, trail: Trail | None = None, failure: Exception | None = None
    ) -> None:
        """Fetch one document.

        Args:
            job: the job.
            trail: the redirects that have been followed already.
            failure: the failure of a first attempt that has been made already.
        """
        with self._dealing_with(job):
            if self._args.resume and trail is None and failure is None:
                job.destination.resume()
            server = job.document.server
            once = server in self._unreachable

            def may_retry(exc: Exception) -> bool:
                if isinstance(exc, Refusal):
                    passes = exc.not_before is not None
                else:
                    passes = is_temporary(exc) and not once
                return passes and job.destination.can_go_on()

            try:
                for attempt in attempts(self._args, job.document.url, may_retry):
                    with attempt:
                        if failure is not None:
                            first, failure = failure, None
                            raise first
                        self._try(job, trail or Trail(job.document, self._args.headers))
            except Failure as exc:
                if is_temporary(exc):
                    self._unreachable.add(server)
                raise

    def _try(self, job: Job, trail: Trail) -> None:
        """Fetch a document or the rest of it, and follow redirects."""
        while True:
            conn = self._connection(trail.document)
            try:
                response = self._response(conn, trail, job)
                target = location(response) if self._args.follow else None
                if target is not None:
                    self._receiver.show_head(response, job)
                    trail = followed(trail, target)
                elif self._receiver.receive(conn, response, job, trail):
                    return
            except (Failure, DugongError) as exc:
                if not isinstance(exc, Refusal):
                    conn.disconnect()
                raise

    def _connection(self, document: Document) -> HTTPConnection:
        """Return a connection to the server of a document, new or kept."""
        conn = self._connections.pop(document.server, None) or connection(document, self._args)
        self._connections[document.server] = conn  # at the end: the most recently used one
        while len(self._connections) > _MOST_KEPT:
            self._connections.pop(next(iter(self._connections))).disconnect()
        return conn

    def _response(self, conn: HTTPConnection, trail: Trail, job: Job) -> HTTPResponse:
        """Send a request. Sends it again if the server has just closed an idle connection."""
        fields = [*trail.fields, *self._receiver.range_fields(job, trail)]
        kept = conn.bytes_received > 0
        if not _skip_body(conn):
            conn.disconnect()
        connect(conn, self._args)
        try:
            conn.send_request("GET", trail.document.target, fields)
            return conn.read_response()
        except ConnectionClosed as exc:
            if not kept or not exc.safe_to_retry or exc.response_started:
                raise
        conn.disconnect()
        connect(conn, self._args)
        conn.send_request("GET", trail.document.target, fields)
        return conn.read_response()

    # Several documents of one server.

    def _fetch_together(self, jobs: deque[Job]) -> None:
        """Fetch at least one of *jobs* in a pipeline, and remove those that it has dealt with."""
        conn = connection(jobs[0].document, self._args)
        targets = [job.document.target for job in jobs]
        fields = self._args.headers
        responses = conn.pipeline([Request("GET", target, fields) for target in targets])
        try:
            while jobs and self._fetch_next(conn, responses, jobs.popleft()):
                pass
        finally:
            conn.disconnect()

    def _fetch_next(
        self, conn: HTTPConnection, responses: Iterator[HTTPResponse], job: Job
    ) -> bool:
        """Handle the next response of a pipeline. Returns whether more can follow."""
        trail = Trail(job.document, self._args.headers)
        failure: Exception | None = None
        response = None
        with self._dealing_with(job):
            try:
                response = next(responses)
                target = location(response) if self._args.follow else None
                if target is not None:
                    self._receiver.show_head(response, job)
                    trail = followed(trail, target)
                elif self._receiver.receive(conn, response, job, trail):
                    return True
            except (DugongError, Refusal) as exc:
                failure = exc
            except OSError as exc:
                failure = Failure(why(exc, conn, self._args))
                failure.__cause__ = exc
            self._fetch(job, trail, failure)
        goes_on = failure is None or isinstance(failure, Refusal)
        return response is not None and goes_on and _skip_body(conn)


def _skip_body(conn: HTTPConnection) -> bool:
    """Read the rest of a body, unless it is long. Returns whether the end was reached."""
    try:
        conn.readall(_MAX_SKIPPED)
    except DugongError:
        return False
    return True
