"""Framing: where a response ends, and whether the connection persists (RFC 9112 sections 6.3, 9.3).

These are the rules of section 6.3, with our decision where they leave a choice or declare a
message faulty:

1. A response to HEAD, and any 1xx, 204 or 304, has no body. For a 1xx or 204 the framing fields
   are ignored. If they announce a body (anything other than ``Content-Length: 0``), the
   connection ends with this exchange, because the server may send that body anyway.
2. A 2xx response to CONNECT has no body, and its framing fields are ignored. The connection
   becomes a tunnel. A 101 (Switching Protocols) is treated alike.
3. Content-Length together with Transfer-Encoding is invalid, because response smuggling uses it.
4. ``Transfer-Encoding: chunked`` is decoded. Any other coding is unsupported. The field is invalid
   in three cases: an HTTP/1.0 server sends it (section 6.1); chunked is not the last coding, occurs
   twice or has parameters (section 7.1); or an element does not have the form of a coding.
5. Content-Length is one decimal number, or a list of equal numbers. Anything else is invalid.
   Empty elements are invalid in this list and in that of rule 4: a sender must not generate them
   (RFC 9110 section 5.6.1.1).
6. A response with neither field ends with the connection.

The framing fields of a response to HEAD and of a 304 must be valid too. They describe the body
that a GET would return, and a later recipient may depend on them.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from ..errors import InvalidResponse, UnsupportedResponse
from . import grammar
from .headers import framing_fields
from .messages import HTTPResponse


class Delimiter(StrEnum):
    """What ends the body of a response."""

    #: The response has no body.
    NONE = "none"
    LENGTH = "length"
    CHUNKED = "chunked"
    #: The end of the connection.
    CLOSE = "close"
    #: Nothing: the connection no longer carries HTTP after this head.
    SWITCH = "switch"


# Module-level names, because looking up a member in its class takes three times as long.
NONE, LENGTH, CHUNKED, CLOSE, SWITCH = Delimiter


class Framing:
    """How a response is delimited.

    Attributes:
        delimiter: what ends the body.
        length: bytes of the body on the wire; ``None`` if they are known only at its end.
        closes: whether the connection ends with this response.
        keep_alive: for how many seconds the server keeps an idle connection; ``None`` if it does
            not announce that.
    """

    __slots__ = ("closes", "delimiter", "keep_alive", "length")

    def __init__(
        self,
        delimiter: Delimiter,
        length: int | None,
        closes: bool,
        keep_alive: int | None = None,
    ) -> None:
        self.delimiter = delimiter
        self.length = length
        self.closes = closes
        self.keep_alive = keep_alive


def frame(response: HTTPResponse) -> Framing:
    """Return the framing of *response*, by the rules of this module.

    Raises:
        InvalidResponse: the framing fields are invalid or contradict each other.
        UnsupportedResponse: the body has a transfer coding other than chunked.
    """
    status = response.status
    fields = framing_fields(response.headers)
    connection = fields.get("connection")
    closes = connection != "keep-alive" and _closes(response, connection)
    if (response.method == "CONNECT" and 200 <= status < 300) or status == 101:
        return Framing(SWITCH, 0, False)
    if status < 200 or status == 204:
        return Framing(NONE, 0, closes or announces_body(response), keep_alive_timeout(fields))
    given = fields.get("content-length")
    length = None if given is None else _content_length(response, given)
    coding = fields.get("transfer-encoding")
    codings = () if coding is None else _transfer_codings(response, coding)
    if codings and length is not None:
        raise _invalid("response has both Content-Length and Transfer-Encoding", response)
    keep_alive = keep_alive_timeout(fields)
    if response.method == "HEAD" or status == 304:
        return Framing(NONE, 0, closes, keep_alive)
    if codings:
        if codings != ("chunked",):
            others = ", ".join([name for name in codings if name != "chunked"])
            raise UnsupportedResponse(f"unsupported transfer coding: {others}", response)
        return Framing(CHUNKED, None, closes, keep_alive)
    if length is not None:
        return Framing(LENGTH, length, closes, keep_alive)
    return Framing(CLOSE, None, True)


def announces_body(response: HTTPResponse) -> bool:
    """Return whether a 1xx or 204 response announces a body, which it cannot have."""
    fields = response.headers.combined()
    lengths = grammar.split_list(fields.get("content-length", "0"))
    return "transfer-encoding" in fields or any(set(length) != {"0"} for length in lengths)


def _closes(response: HTTPResponse, given: str | None) -> bool:
    if given is None:
        return response.version == "1.0"
    options = grammar.split_list(given)
    return "close" in options or (response.version == "1.0" and "keep-alive" not in options)


def _transfer_codings(response: HTTPResponse, given: str) -> tuple[str, ...]:
    if response.version == "1.0":
        raise _invalid("Transfer-Encoding in an HTTP/1.0 response", response)
    codings = grammar.split_list(given)
    names = [coding.partition(";")[0].strip(" \t") for coding in codings]
    if (
        not all(grammar.TRANSFER_CODING.fullmatch(coding) for coding in codings)
        or "chunked" in names[:-1]
        or (names[-1] == "chunked") != (codings[-1] == "chunked")
    ):
        raise _invalid("bad Transfer-Encoding: {!r}", response, "transfer-encoding")
    return tuple(codings)


def _content_length(response: HTTPResponse, given: str) -> int:
    if grammar.CONTENT_LENGTH.fullmatch(given):
        return int(given)
    numbers: set[int] = set()
    for item in grammar.split_list(given):
        if not grammar.CONTENT_LENGTH.fullmatch(item):
            raise _invalid("bad Content-Length: {!r}", response, "content-length")
        numbers.add(int(item))
    if len(numbers) > 1:
        raise _invalid("different Content-Lengths: {!r}", response, "content-length")
    return numbers.pop()


def _invalid(message: str, response: HTTPResponse, name: str = "") -> InvalidResponse:
    if name:  # as received, not in lower case
        message = message.format(response.headers.combined()[name])
    return InvalidResponse(message, response, part="framing")


def keep_alive_timeout(fields: Mapping[str, str]) -> int | None:
    """Return for how many seconds the server keeps an idle connection, if it announces that.

    The Keep-Alive field is described in RFC 2068 section 19.7.1.1. The value is only a hint.
    """
    value = fields.get("keep-alive")
    match = None if value is None else grammar.KEEP_ALIVE_TIMEOUT.search(value)
    return None if match is None else int(match[1])
