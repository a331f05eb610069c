"""Where a response ends, and whether the connection lives on (RFC 9112 sections 6.3 and 9.3).

The rules of section 6.3, and what is done where they leave a choice or call a message faulty:

1. A response to HEAD, and any 1xx, 204 or 304, has no body. A 1xx or 204 that announces one all
   the same (other than ``Content-Length: 0``) is invalid: some would read it, some would not.
2. A 2xx to CONNECT has no body: the connection becomes a tunnel; framing fields are ignored.
3. Content-Length together with Transfer-Encoding is invalid: it is how responses are smuggled.
4. ``Transfer-Encoding: chunked`` is read in chunks. Any other coding is unsupported; chunked
   that is not last, or there twice, or has parameters (section 7.1), or is sent by an HTTP/1.0
   server (section 6.1) is invalid, and so is what has not the form of a coding.
5. Content-Length is a list of equal decimal numbers (usually of one); all else is invalid.
   Neither list may have empty elements, which a sender is not allowed to generate.
6. A response with neither ends with the connection.

Except for rule 2, the fields are checked whether or not the response has a body, so that an
ambiguous head never passes just because this time nothing depended on it.
"""

from __future__ import annotations

from enum import StrEnum

from ..errors import InvalidResponse, UnsupportedResponse
from . import grammar
from .messages import HTTPResponse


class Delimiter(StrEnum):
    """What ends the body of a response."""

    NONE = "none"
    LENGTH = "length"
    CHUNKED = "chunked"
    CLOSE = "close"
    #: Nothing: the connection no longer carries HTTP after this head.
    SWITCH = "switch"


# The members by themselves: to look one up at its class takes three times as long.
NONE, LENGTH, CHUNKED, CLOSE, SWITCH = Delimiter


class Framing:
    """How a response is delimited.

    Attributes:
        delimiter: what ends the body.
        length: the body's length in bytes on the wire, ``None`` where only its end tells.
        closes: whether the connection ends with this response.
    """

    __slots__ = ("closes", "delimiter", "length")

    def __init__(self, delimiter: Delimiter, length: int | None, closes: bool) -> None:
        self.delimiter = delimiter
        self.length = length
        self.closes = closes


def frame(response: HTTPResponse) -> Framing:
    """Decide where *response* ends.

    Raises:
        InvalidResponse: the framing fields are wrong or contradict each other.
        UnsupportedResponse: the body has a transfer coding other than chunked.
    """
    status = response.status
    fields = response.headers.combined()
    connection = fields.get("connection")
    closes = connection != "keep-alive" and _closes(response, connection)
    if (response.method == "CONNECT" and 200 <= status < 300) or status == 101:
        return Framing(SWITCH, 0, False)
    given = fields.get("content-length")
    length = None if given is None else _content_length(response, given)
    coding = fields.get("transfer-encoding")
    codings = () if coding is None else _transfer_codings(response, coding)
    if codings and length is not None:
        raise InvalidResponse("response has both Content-Length and Transfer-Encoding", response)
    if status < 200 or status == 204:
        if codings or length:
            raise InvalidResponse(f"response {status} announces a body", response)
        return Framing(NONE, 0, closes)
    if response.method == "HEAD" or status == 304:
        return Framing(NONE, 0, closes)
    if codings:
        if codings != ("chunked",):
            raise UnsupportedResponse(f"transfer codings not supported: {coding}", response)
        return Framing(CHUNKED, None, closes)
    if length is not None:
        return Framing(LENGTH, length, closes)
    return Framing(CLOSE, None, True)


def _closes(response: HTTPResponse, given: str | None) -> bool:
    if given is None:
        return response.version == "1.0"
    options = grammar.split_list(given.lower())
    return "close" in options or (response.version == "1.0" and "keep-alive" not in options)


def _transfer_codings(response: HTTPResponse, given: str) -> tuple[str, ...]:
    if response.version == "1.0":
        raise InvalidResponse("Transfer-Encoding in an HTTP/1.0 response", response)
    codings = grammar.split_list(given.lower())
    names = [coding.partition(";")[0].strip(" \t") for coding in codings]
    if (
        not all(grammar.TRANSFER_CODING.fullmatch(coding) for coding in codings)
        or "chunked" in names[:-1]
        or (names[-1] == "chunked") != (codings[-1] == "chunked")
    ):
        raise InvalidResponse(f"bad Transfer-Encoding: {given!r}", response)
    return tuple(codings)


def _content_length(response: HTTPResponse, given: str) -> int:
    if grammar.CONTENT_LENGTH.fullmatch(given):
        return int(given)
    numbers: set[int] = set()
    for item in grammar.split_list(given):
        if not grammar.CONTENT_LENGTH.fullmatch(item):
            raise InvalidResponse(f"bad Content-Length: {given!r}", response)
        numbers.add(int(item))
    if len(numbers) > 1:
        raise InvalidResponse(f"different Content-Lengths: {given!r}", response)
    return numbers.pop()


def keep_alive_timeout(response: HTTPResponse) -> int | None:
    """Return the seconds that the server keeps an idle connection, if it says so."""
    value = response.headers.combined().get("keep-alive")
    match = None if value is None else grammar.KEEP_ALIVE_TIMEOUT.search(value)
    return None if match is None else int(match[1])
