"""Refused requests: the explanation of the server, and when to try again."""

from __future__ import annotations

import math
import time
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from html.parser import HTMLParser

from ..connection.blocking import HTTPConnection
from ..errors import DugongError
from ..protocol.messages import HTTPResponse
from .output import Failure

#: Too many requests (RFC 6585 section 4), or an error of a gateway or server that may soon be over
#: (RFC 9110 section 15.6).
_TEMPORARY_STATUSES = frozenset({429, 502, 503, 504})

#: The longest Retry-After, in seconds, for which the command waits.
_MAX_RETRY_AFTER = 60

#: Limits for the body of a refusal: bytes that are read, characters that are shown, and seconds for
#: reading.
_MAX_READ = 16 * 1024
_MAX_SHOWN = 200
_PATIENCE = 2.0

#: HTML elements whose text is not shown, and elements that do not begin a line.
_HIDDEN = frozenset({"head", "title", "script", "style"})
_WITHIN_LINES = frozenset({"a", "abbr", "b", "code", "em", "i", "kbd", "span", "strong", "tt"})


class Refusal(Failure):
    """The server refused the request. The connection may still be usable.

    Attributes:
        not_before: the earliest time for another attempt, in seconds of the monotonic clock.
            ``None`` if no other attempt makes sense.
    """

    def __init__(self, message: str, response: HTTPResponse) -> None:
        self.not_before: float | None = None
        if response.status in _TEMPORARY_STATUSES:
            delay = retry_after(response)
            if delay is not None:
                message += f" (try again after {delay} s)"
            if delay is None or delay <= _MAX_RETRY_AFTER:
                self.not_before = time.monotonic() + (delay or 0)
        super().__init__(message)

    @property
    def delay(self) -> float:
        """Seconds until the earliest time for another attempt."""
        return max(0.0, (self.not_before or 0.0) - time.monotonic())

    def wait(self) -> None:
        """Wait until the earliest time for another attempt."""
        time.sleep(self.delay)


def retry_after(response: HTTPResponse) -> int | None:
    """Return the value of Retry-After in seconds (RFC 9110 section 10.2.3), ``None`` without one.

    A date is compared with the Date field of the response, if there is one.
    """
    given = response.headers["Retry-After"]
    if given is None:
        return None
    if given.isascii() and given.isdigit():
        return int(given[:9])
    until = _date(given)
    if until is None:
        return None
    now = _date(response.headers["Date"] or "") or datetime.now(UTC)
    return max(0, math.ceil((until - now).total_seconds()))


def _date(text: str) -> datetime | None:
    try:
        date = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    return date if date.tzinfo else date.replace(tzinfo=UTC)


def what_is_said(conn: HTTPConnection, response: HTTPResponse) -> str:
    """Return the beginning of a body that is text, without repetitions of the status."""
    kind = response.headers.get_content_type()
    is_text = kind.startswith("text/") or kind.endswith(("json", "xml"))
    if not is_text or "Content-Type" not in response.headers:
        return ""
    if "Content-Encoding" in response.headers:
        return ""
    charset = response.headers.get_content_charset() or "utf-8"
    try:
        text = _beginning(conn).decode(charset, "replace")
    except LookupError:
        return ""
    lines = _lines_of_html(text) if kind in ("text/html", "application/xhtml+xml") else [text]
    known = {response.reason.lower(), f"{response.status} {response.reason}".lower()}
    lines = [" ".join(line.split()) for line in lines]
    text = " ".join(line for line in lines if line.lower() not in known)
    return text if len(text) <= _MAX_SHOWN else text[: _MAX_SHOWN - 1].rstrip() + "…"


def _beginning(conn: HTTPConnection) -> bytes:
    """Read as much of the beginning of a body as arrives within `_PATIENCE`."""
    end = time.monotonic() + _PATIENCE
    data = b""
    try:
        while len(data) < _MAX_READ:
            conn.deadline = max(0.0, end - time.monotonic())
            more = conn.read(_MAX_READ - len(data))
            if not more:
                break
            data += more
    except DugongError:
        pass  # use the part that has arrived
    finally:
        conn.deadline = None
    return data


class _Lines(HTMLParser):
    """Collects the visible text of a page, up to the first ``hr``.

    Below that, error pages usually have the name of the server.
    """

    def __init__(self) -> None:
        super().__init__()
        self.lines = [""]
        self._hidden = False
        self._ended = False

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self._hidden = tag in _HIDDEN or (self._hidden and tag != "body")
        self._ended |= tag == "hr"
        if tag not in _WITHIN_LINES:
            self.lines.append("")

    def handle_endtag(self, tag: str) -> None:
        self._hidden &= tag not in _HIDDEN
        if tag not in _WITHIN_LINES:
            self.lines.append("")

    def handle_data(self, data: str) -> None:
        if not self._hidden and not self._ended:
            self.lines[-1] += data


def _lines_of_html(page: str) -> list[str]:
    parser = _Lines()
    parser.feed(page)
    parser.close()
    return [line for line in parser.lines if line.strip()]
