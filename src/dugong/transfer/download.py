"""Downloads that are resumed and verified.

Theory of operation
===================

1. A download is a sequence of attempts. An attempt requests what is missing, and stores what
   arrives. `versions` decides what a response is good for, and `files` keeps what was stored.
2. The first request may fail: then the download fails. After the first response, a failure that may
   be temporary leads to another attempt, which continues where the last one has ended. After
   `_MOST_FAILURES` attempts in a row that have added no byte, the download fails. An argument
   *retries* of the call replaces that number, and decides about each attempt.
3. If the resource has changed, the download starts again, at most `_MOST_VERSIONS` times.
4. With several *parts*, each missing range is divided, and as many coroutines fetch the pieces
   (`run_all`). If the server turns out not to support that, one connection fetches everything.
5. A file is complete if all bytes of one version are there and its digests are right. Only then
   does it get its name. A file that failed that test is removed: it cannot be continued.
6. Files are read, flushed and renamed in a thread (`threads`). They are not written there, because
   the system only copies the data then.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from email.utils import mktime_tz, parsedate_tz
from functools import partial
from io import TextIOBase
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from ..client.delay import co_delay
from ..client.retries import Retry, check_retries
from ..client.url import URL, encode_params, join
from ..drivers.many import run_all
from ..errors import (
    ConnectionTimedOut,
    DigestMismatch,
    InvalidRequest,
    InvalidResponse,
    StatusError,
    is_callers,
    mark_as_callers,
)
from ..protocol.arguments import check_seconds, check_size
from ..protocol.request import Fields
from ..transport.within import Unset
from .digests import announced, check_digest, compare
from .files import NamedFile, OpenFile, Target
from .received import Received, split
from .threads import co_in_thread
from .versions import Kind, Version, content_range, has_coding, kind_of, version_of

if TYPE_CHECKING:
    from ..client.client import BaseClient
    from ..client.response import BaseResponse
    from ..transport.poll import Co, T

#: Attempts in a row without a byte after which a download fails. curl --retry: none by default.
_MOST_FAILURES = 5

#: How often a download starts again because the resource has changed.
_MOST_VERSIONS = 3

#: Bytes received at a time.
_BLOCK = 256 * 1024

#: The fewest bytes that are worth another connection.
_SMALLEST_PART = 1 << 20

#: Bytes after which the note of a download in parts is written again.
_NOTE_EVERY = 8 << 20

#: Fields that a download determines itself.
_OWN_FIELDS = frozenset({"range", "if-range", "if-match", "if-unmodified-since", "accept-encoding"})


@dataclass(frozen=True, slots=True)
class Download:
    """What a download has done.

    Attributes:
        path: the path of the file, ``None`` for an open file.
        size: the number of bytes of the file, or that were written to an open file.
        resumed_from: how many of them an earlier process had received.
        fetched: how many bytes of the resource this one has received.
        digest: the digests that were checked, in hexadecimal, by algorithm.
        response: the last response; ``None`` if no request was necessary.
    """

    path: Path | None
    size: int
    resumed_from: int = 0
    fetched: int = 0
    digest: dict[str, str] = field(default_factory=dict)
    response: Any = None


class _Changed(Exception):
    """The resource has changed."""


class _NoRanges(Exception):
    """The server does not send the ranges that are asked for."""


def co_download(
    client: BaseClient[Any, Any, Any],
    url: str,
    target: str | os.PathLike[str] | BinaryIO,
    *,
    resume: bool,
    parts: int,
    digest: Any,
    progress: Callable[[int, int | None], object] | None,
    options: dict[str, Any],
) -> Co[Download]:
    """Return the coroutine of a download. The arguments are those of `Client.download`.

    Raises:
        TypeError, InvalidRequest: an argument is not valid.
    """
    if not isinstance(resume, bool):
        raise TypeError(f"resume must be True or False, not {type(resume).__name__}")
    parts = check_size(parts, "parts", 1)
    expected = check_digest(digest)
    if progress is not None and not callable(progress):
        raise TypeError(f"progress must be a callable, not {type(progress).__name__}")
    headers = options.pop("headers", None) or ()
    if hasattr(headers, "__next__"):
        headers = list(headers)
    checked = Fields(headers)
    if wrong := _OWN_FIELDS & (checked.values.keys() | checked.left_out):
        raise InvalidRequest(f"a download sets the field {min(wrong)} itself: leave it out")
    fields = list(headers.items() if hasattr(headers, "items") else headers)
    settings = client.settings
    where = join(settings.base, url)
    client.co_request("GET", url, **{**options, "headers": fields}).close()  # checks the rest
    if isinstance(target, TextIOBase):
        raise TypeError(
            "target must be a path or a binary file, not a text file: open it with 'wb'"
        )
    if not isinstance(target, (str, os.PathLike)) and not hasattr(target, "write"):
        raise TypeError(f"target must be a path or a binary file, not {type(target).__name__}")
    if not isinstance(target, (str, os.PathLike)):
        goal: Target = OpenFile(target, [*expected, "sha-256", "sha-512"])
    else:
        params = settings.params, encode_params(options.get("params"))
        goal = NamedFile(target, str(where.with_params(*params)))
    deadline = options.pop("deadline", settings.deadline)
    job = _Job(client, where, goal, fields, options, expected, progress, parts)
    job.deadline = check_seconds(deadline, "deadline")
    return job.co_run(resume)


class _Job:
    """One download."""

    def __init__(
        self,
        client: BaseClient[Any, Any, Any],
        url: URL,
        target: Target,
        fields: list[tuple[Any, Any]],
        options: dict[str, Any],
        expected: dict[str, bytes],
        progress: Callable[[int, int | None], object] | None,
        parts: int,
    ) -> None:
        self._client = client
        self._url = url
        self._target = target
        self._fields = fields
        self._options = options
        self._expected = expected
        self._progress = progress
        self._parts = parts if target.seekable else 1
        given = options.get("retries")
        own = None if isinstance(given, Unset) else check_retries(given)
        usual = client.settings.retries or Retry()
        self._decides = own is not None
        self._retry = own or Retry(_MOST_FAILURES, usual.statuses, usual.backoff, usual.max_wait)
        self.deadline: float | None = None
        self._end: float | None = None
        self._contacted = False
        self._changes = 0
        self._fetched = 0
        self._resumed_from = 0
        self._length: int | None = None
        self._response: Any = None
        self._unsaved = 0

    def co_run(self, resume: bool) -> Co[Download]:
        if self.deadline is not None:
            self._end = time.monotonic() + self.deadline
        target = self._target
        if resume and isinstance(target, NamedFile):
            done = yield from self._co_complete_already(target)
            if done is not None:
                return done
        try:
            if resume and isinstance(target, NamedFile) and self._on_disk(target.resume):
                self._resumed_from = target.received.size
                self._length = None if target.version is None else target.version.length
            yield from self._co_fetch()
            digest = yield from self._co_verify()
        except BaseException as exc:
            if isinstance(exc, DigestMismatch):
                target.version = None
            target.leave()
            raise
        # From here on, the thread has the file. If this coroutine is closed, it still finishes.
        yield from co_in_thread(partial(self._finish, _modified(self._response)))
        return Download(
            target.path,
            target.received.size,
            self._resumed_from,
            self._fetched,
            {name: value.hex() for name, value in digest.items()},
            self._response,
        )

    # The file.

    def _finish(self, modified: int | None) -> None:
        try:
            self._on_disk(self._target.finish, modified)
        except BaseException:
            self._target.leave()
            raise

    def _on_disk(self, function: Callable[..., T], *args: Any) -> T:
        """Call a method of the target. An error of it is no error of the network."""
        try:
            return function(*args)
        except OSError as exc:
            mark_as_callers(exc)
            raise

    def _co_complete_already(self, target: NamedFile) -> Co[Download | None]:
        """Return the result if the file is there and has not changed."""
        before = self._on_disk(target.existing)
        if before is None:
            return None
        if self._expected:
            names = list(self._expected)
            found = yield from co_in_thread(partial(self._on_disk, target.hash_existing, names))
            if found != self._expected:
                return None
            digest = {name: value.hex() for name, value in found.items()}
            return Download(target.path, before.st_size, digest=digest)
        response = yield from self._co_request("HEAD")
        size = response.headers["Content-Length"]
        unchanged = (
            response.status == 200
            and size == str(before.st_size)
            and not has_coding(response.headers)
            and _modified(response) == int(before.st_mtime)
        )
        return Download(target.path, before.st_size, response=response) if unchanged else None

    def _co_verify(self) -> Co[dict[str, bytes]]:
        target, headers = self._target, self._response.headers
        expected = {**({} if has_coding(headers) else announced(headers)), **self._expected}
        if not expected:
            return {}
        if isinstance(target, NamedFile):
            found = yield from co_in_thread(partial(self._on_disk, target.hash, list(expected)))
        else:
            found = target.hash(list(expected))
        compare(found, expected)
        return {name: found[name] for name in expected}

    def _store(self, offset: int, data: memoryview) -> None:
        target = self._target
        self._on_disk(target.write, offset, data)
        self._fetched += len(data)
        self._unsaved += len(data)
        if self._unsaved >= _NOTE_EVERY and isinstance(target, NamedFile):
            self._on_disk(target.save)
            self._unsaved = 0
        if self._progress is not None:
            try:
                self._progress(target.received.size, self._length)
            except BaseException as exc:
                mark_as_callers(exc)
                raise

    # Requests.

    def _co_request(self, method: str, *fields: tuple[str, str]) -> Co[BaseResponse[Any]]:
        options = dict(self._options)
        if self._end is not None and self.deadline is not None:
            left = self._end - time.monotonic()
            if left <= 0:
                exc = ConnectionTimedOut(
                    f"not done within {self.deadline:g} seconds (deadline={self.deadline:g})"
                )
                exc.phase = "body"
                raise exc
            options["deadline"] = left
        else:
            options["deadline"] = None
        options["headers"] = [*self._fields, ("Accept-Encoding", "identity"), *fields]
        if self._contacted and self._decides:
            options["retries"] = None  # otherwise each of n attempts would be made n times
        url: Any = self._url  # the client takes a parsed URL, too
        response: BaseResponse[Any] = yield from self._client.co_request(method, url, **options)
        self._contacted = True
        return response

    def _co_fetch(self) -> Co[None]:
        """Receive everything that is missing."""
        while True:
            try:
                if self._parts > 1 and (yield from self._co_fetch_parts()):
                    return
                yield from self._co_repeat(self._co_fetch_rest, lambda: self._target.received)
                return
            except _NoRanges:
                self._parts = 1
                self._target.version = None
            except _Changed:
                self._changes += 1
                if self._changes > _MOST_VERSIONS:
                    raise InvalidResponse(
                        f"the resource has changed {self._changes} times during the download",
                        part="limit",
                    ) from None
                self._target.version = None

    def _co_repeat(
        self, co_attempt: Callable[[], Co[bool]], received: Callable[[], Received]
    ) -> Co[None]:
        """Make attempts until one returns that nothing is missing (rule 2).

        Args:
            co_attempt: makes one.
            received: returns the state after it.
        """
        failures, most = 0, received().size
        while True:
            failure: Exception | None = None
            try:
                if (yield from co_attempt()):
                    return
            except Exception as exc:
                failure = exc
            try:
                size = received().size
                failures = 0 if size > most else failures + 1
                most = max(most, size)
                if failure is not None:
                    delay = self._delay_after(failure, failures)
                    if delay is None:
                        raise failure
                    yield from co_delay(delay, time.monotonic)
                elif failures > _MOST_FAILURES:
                    raise InvalidResponse("the server sends no part of the resource", part="limit")
            finally:
                failure = None  # its frames refer to this one

    def _delay_after(self, exc: Exception, failures: int) -> float | None:
        """Return the seconds until another attempt, ``None`` if there is none."""
        if is_callers(exc) or not self._contacted:
            return None
        retry = self._retry
        if isinstance(exc, StatusError):
            if not self._target.received.size:
                return None
            response = exc.response
            delay = retry.after_response(
                "GET", exc.status, response.headers, failures, now=time.time()
            )
        else:
            delay = retry.after_error(exc, failures)
        if delay is None:
            return None
        if self._end is not None and time.monotonic() + delay >= self._end:
            return None
        return delay

    # One connection.

    def _co_fetch_rest(self) -> Co[bool]:
        """Make one attempt with one connection. Returns whether nothing is missing."""
        target = self._target
        version = target.version
        first, end = _rest(target, version)
        if version is not None and first == version.length and self._response is not None:
            return True
        if version is None or not target.received.size:
            response = yield from self._co_request("GET")
            kind = Kind.WHOLE if 200 <= response.status < 300 else Kind.REFUSAL
            if response.status == 206:
                response.end()
                raise InvalidResponse(
                    "the server sent partial content that was not requested", part="head"
                )
            if "Content-Range" in response.headers and kind is Kind.WHOLE:
                response.end()
                raise InvalidResponse(
                    "the response has Content-Range, but is not partial content", part="head"
                )
        else:
            last = "" if end is None else str(end - 1)
            response = yield from self._co_request(
                "GET", ("Range", f"bytes={first}-{last}"), ("If-Range", version.validator)
            )
            kind = kind_of(response.status, response.headers, response.length, version, first)
        return (yield from co_closing(response, self._co_take(response, kind, version, first)))

    def _co_take(
        self, response: BaseResponse[Any], kind: Kind, version: Version | None, first: int
    ) -> Co[bool]:
        """Store what a response has. Returns whether nothing is missing."""
        target = self._target
        if kind is Kind.REFUSAL:
            yield from response.co_raise_for_status()
            response.end()
            raise StatusError(response.status, response.reason, response.url, response)
        self._response = response
        if kind is Kind.COMPLETE:
            response.end()
            return True
        if kind in (Kind.USELESS, Kind.OTHER_VERSION):
            response.end()
            target.version = None
            if kind is Kind.OTHER_VERSION:
                raise _Changed
            return False
        if kind is Kind.WHOLE:
            had_bytes = bool(target.received.size)
            coded = has_coding(response.headers)
            self._length = None if coded else response.length
            found = version_of(response.headers, response.length)
            if had_bytes and found != version:
                self._count_change()
            self._on_disk(lambda: target.begin(found, self._length, in_parts=False))
            yield from self._co_store(response, 0, None)
            return True
        found_range = content_range(response.headers)
        assert found_range is not None
        _, end, complete = found_range
        if complete is not None and version is not None and version.length is None:
            target.version = Version(version.field, version.validator, complete)
            self._length = complete
        yield from self._co_store(response, first, end)
        return complete is not None and target.received.missing(complete) == []

    def _count_change(self) -> None:
        self._changes += 1
        if self._changes > _MOST_VERSIONS:
            raise InvalidResponse(
                f"the resource has changed {self._changes} times during the download", part="limit"
            )

    def _co_store(self, response: BaseResponse[Any], first: int, end: int | None) -> Co[None]:
        buffer = memoryview(bytearray(_BLOCK))
        at = first
        while count := (yield from response.co_readinto(buffer)):
            if end is not None and at + count > end:
                raise InvalidResponse(
                    "the server sent more than the range that it announced", part="framing"
                )
            self._store(at, buffer[:count])
            at += count
        if end is not None and at != end:
            raise InvalidResponse(
                "the server sent less than the range that it announced", part="framing"
            )

    # Several connections.

    def _co_fetch_parts(self) -> Co[bool]:
        """Fetch what is missing over several connections. Returns False if that is not possible."""
        target = self._target
        assert isinstance(target, NamedFile)
        version = target.version
        if version is None or version.length is None:
            head = yield from self._co_request("HEAD")
            length = head.headers["Content-Length"]
            known = None
            if head.status == 200 and length is not None and length.isascii() and length.isdigit():
                known = int(length)
            version = version_of(head.headers, known)
            accepts = (head.headers["Accept-Ranges"] or "").strip().lower()
            if version is None or known is None or known < 2 * _SMALLEST_PART or accepts != "bytes":
                return False
            self._on_disk(lambda: target.begin(version, known, in_parts=True))
        self._on_disk(target.split)
        length_of_all = version.length
        assert length_of_all is not None
        self._length = length_of_all
        missing = target.received.missing(length_of_all)
        if not missing:  # see `_rest`
            return False
        pieces = split(missing, self._parts, _SMALLEST_PART)
        with run_all(
            (self._co_fetch_piece(version, first, end) for first, end in pieces),
            limit=self._parts,
        ) as results:
            while (pair := (yield from results.co_next())) is not None:
                if isinstance(pair[1], Exception):
                    raise pair[1]
        return target.received.missing(length_of_all) == []

    def _co_fetch_piece(self, version: Version, first: int, end: int) -> Co[None]:
        received = Received()

        def co_attempt() -> Co[bool]:
            start = received.ranges[-1][1] if received.ranges else first
            response = yield from self._co_request(
                "GET", ("Range", f"bytes={start}-{end - 1}"), (version.condition, version.validator)
            )
            return (yield from co_closing(response, co_take(response, start)))

        def co_take(response: BaseResponse[Any], start: int) -> Co[bool]:
            kind = kind_of(response.status, response.headers, response.length, version, start)
            if kind is Kind.REFUSAL:
                yield from response.co_raise_for_status()
            if kind is not Kind.PART:
                raise _Changed if kind is Kind.OTHER_VERSION else _NoRanges
            found = content_range(response.headers)
            assert found is not None
            stop = found[1]
            if stop > end:
                raise _NoRanges
            self._response = response
            buffer = memoryview(bytearray(_BLOCK))
            at = start
            while count := (yield from response.co_readinto(buffer)):
                self._store(at, buffer[:count])
                at += count
                received.add(first, at)
            return at >= end

        yield from self._co_repeat(co_attempt, lambda: received)


def co_closing(response: BaseResponse[Any], crt: Co[T]) -> Co[T]:
    """Run *crt*, and close *response* at its end."""
    try:
        return (yield from crt)
    finally:
        response.end()


def _rest(target: Target, version: Version | None) -> tuple[int, int | None]:
    """Return the first missing range, which begins at the end of the file if nothing is missing.

    An earlier process may have been killed just before it gave the file its name. Then a request
    for the bytes after the end shows whether the version is still current: the response is a 416.
    """
    if version is None:
        return 0, None
    if version.length is None:
        return target.received.size, None
    missing = target.received.missing(version.length)
    if not missing:
        return version.length, None
    first, end = missing[0]
    return first, None if end == version.length else end


def _modified(response: Any) -> int | None:
    """Return when the resource was modified, in seconds since 1970, ``None`` if it is unknown."""
    parts = None if response is None else parsedate_tz(response.headers.get("Last-Modified", ""))
    if parts is None:
        return None
    try:
        return int(mktime_tz(parts))
    except (ValueError, OverflowError):
        return None
