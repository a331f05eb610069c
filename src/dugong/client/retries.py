"""Retries: whether a request is sent again after an error or a response, and when.

Rules
=====

1. An error is retried if it is transient (`is_temp_network_error`) and sending the request again
   cannot do anything twice (`safe_to_retry`).
2. A response is retried if its status is in `Retry.statuses`, the method is idempotent (RFC 9110
   section 9.2.2) and the body can be sent again.
3. The delay before retry number *n* (from 0) is ``backoff * 2**n`` seconds, at most `max_wait`, of
   which a random part, at most half, is left out: clients that failed together do not come back
   together.
4. ``Retry-After`` (RFC 9110 section 10.2.3) makes the delay longer, never shorter. If it exceeds
   `max_wait`, there is no retry. A date counts from the server's own ``Date``, because clocks may
   differ. A value that is neither a number nor a date is ignored.
5. Independently of that, a server may close an idle connection at any time. So a request on a
   *reused* connection that ends before any byte of the response is sent again, on a new one
   (RFC 9112 section 9.3.1), if `safe_to_retry` is true. An expired time limit is no such end.
"""

from __future__ import annotations

import math
import random
import re
from typing import TYPE_CHECKING, Any

from ..errors import ConnectionClosed, InvalidRequest, is_temp_network_error
from ..protocol.arguments import check_int, check_seconds, check_size, shown
from ..protocol.messages import IDEMPOTENT_METHODS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ..protocol.headers import Headers

#: Statuses that may be transient: Too Many Requests (RFC 6585 section 4), Bad Gateway, Service
#: Unavailable, Gateway Timeout.
STATUSES = frozenset({429, 502, 503, 504})

#: Seconds before the first retry. urllib3: 0, botocore: up to 1, AWS SDKs in general: 0.05 to 1.
BACKOFF = 0.5

#: The longest delay in seconds.
MAX_WAIT = 60.0

# delay-seconds = 1*DIGIT   (RFC 9110 section 10.2.3)
_DELAY_SECONDS = re.compile(r"[0-9]+")

#: More digits are more than 30 years.
_MAX_DIGITS = 9


class Retry:
    """How often requests are sent again, and after which delays.

    Args:
        retries: the most retries of one call.
        statuses: the statuses of responses that are retried.
        backoff: seconds before the first retry. Each further delay is twice as long.
        max_wait: the longest delay in seconds.

    Raises:
        TypeError: an argument has the wrong type.
        InvalidRequest: an argument is negative, or not a status.
    """

    __slots__ = ("backoff", "max_wait", "retries", "statuses")

    def __init__(
        self,
        retries: int = 3,
        statuses: Iterable[int] = STATUSES,
        backoff: float = BACKOFF,
        max_wait: float = MAX_WAIT,
    ) -> None:
        self.retries = check_size(retries, "retries")
        try:
            codes = [check_int(status, "a status in statuses") for status in statuses]
        except TypeError as exc:
            text = str(exc) if "a status" in str(exc) else "statuses must be status codes"
            raise TypeError(f"{text}, such as {{429, 503}}") from None
        for code in codes:
            if not 400 <= code <= 599:
                raise InvalidRequest(f"a status in statuses must be 4xx or 5xx, not {shown(code)}")
        self.statuses = frozenset(codes)
        self.backoff = _seconds(backoff, "backoff")
        self.max_wait = _seconds(max_wait, "max_wait")

    def __repr__(self) -> str:
        return (
            f"Retry(retries={self.retries}, statuses={sorted(self.statuses)}, "
            f"backoff={self.backoff}, max_wait={self.max_wait})"
        )

    def delay(self, number: int, chance: Callable[[], float] = random.random) -> float:
        """Return the delay before a retry, in seconds (rule 3).

        Args:
            number: how many retries came before it.
            chance: returns a random number from 0 to 1.
        """
        longest = min(self.max_wait, math.ldexp(self.backoff, min(number, 60)))
        return longest * (1 - chance() / 2)

    def after_error(
        self, exc: BaseException, number: int, chance: Callable[[], float] = random.random
    ) -> float | None:
        """Return the seconds until a retry after an error; ``None`` to raise the error (rule 1).

        Args:
            exc: the error.
            number: how many retries came before it.
            chance: as for `delay`.
        """
        if number >= self.retries or getattr(exc, "safe_to_retry", False) is not True:
            return None
        return self.delay(number, chance) if is_temp_network_error(exc) else None

    def after_response(
        self,
        method: str,
        status: int,
        headers: Headers,
        number: int,
        *,
        now: float,
        replayable: bool = True,
        chance: Callable[[], float] = random.random,
    ) -> float | None:
        """Return the seconds until a retry after a response; ``None`` to return it (rule 2).

        Args:
            method: the method of the request.
            status: the status of the response.
            headers: the fields of the response.
            number: how many retries came before it.
            now: the time of day in seconds since 1970, as from `time.time`.
            replayable: whether the body can be sent again.
            chance: as for `delay`.
        """
        if number >= self.retries or status not in self.statuses:
            return None
        if method not in IDEMPOTENT_METHODS or not replayable:
            return None
        after = retry_after(headers, now) or 0.0
        return None if after > self.max_wait else max(after, self.delay(number, chance))


def _seconds(value: Any, what: str) -> float:
    seconds = check_seconds(value, what, "a number of seconds")
    if seconds is None:
        raise TypeError(f"{what} must be a number of seconds, not None")
    if seconds == math.inf:
        raise InvalidRequest(f"{what} must be a finite number of seconds")
    return seconds


def check_retries(retries: Any) -> Retry | None:
    """Return the argument *retries*: a `Retry`, a number of retries, or ``None`` for none.

    Raises:
        TypeError: it is something else.
        InvalidRequest: the number is negative.
    """
    if retries is None or isinstance(retries, Retry):
        return retries
    if isinstance(retries, bool) or not hasattr(type(retries), "__index__"):
        raise TypeError(
            "retries must be a Retry, a number or None, not "
            f"{retries if isinstance(retries, bool) else type(retries).__name__}"
        )
    return Retry(check_size(retries, "retries"))


def retry_after(headers: Headers, now: float) -> float | None:
    """Return the seconds in ``Retry-After``; ``None`` without a valid one (rule 4).

    Args:
        headers: the fields of a response.
        now: the time of day in seconds since 1970.
    """
    value = headers.get("retry-after")
    if value is None:
        return None
    value = value.strip(" \t")
    if _DELAY_SECONDS.fullmatch(value):
        digits = value.lstrip("0")
        return float(digits or 0) if len(digits) <= _MAX_DIGITS else math.inf
    date = parse_date(value)
    if date is None:
        return None
    of_server = parse_date(headers.get("date", ""))
    return max(0.0, date - (now if of_server is None else of_server))


def parse_date(value: str) -> float | None:
    """Return an HTTP-date (RFC 9110 section 5.6.7) in seconds since 1970; ``None`` if not valid."""
    from email.utils import parsedate_tz  # imported only for such a field

    try:
        parts = parsedate_tz(value)
    except (ValueError, IndexError, TypeError):  # bugs of some versions
        return None
    if parts is None:
        return None
    from calendar import timegm

    try:
        # Without a zone, as in the format of asctime, it is UTC like all others.
        return float(timegm((*parts[:6], 0, 1, 0)) - (parts[9] or 0))
    except (ValueError, OverflowError):
        return None


def must_resend(exc: BaseException, *, reused: bool) -> bool:
    """Return whether a failed request is sent again on a new connection (rule 5).

    Args:
        exc: the error.
        reused: whether its connection had served another request before.
    """
    return (
        reused
        and isinstance(exc, ConnectionClosed)
        and exc.safe_to_retry
        and not exc.response_started
    )
