"""Validation of requests, and serialisation of their heads. Prevents header injection.

This module turns the caller's method, request target and fields into the lines of a request:

1. The request line and each field are matched against patterns in `grammar`. None of them matches
   CR, LF or NUL, so a value cannot add a line (RFC 9110 section 5.5).
2. The body is measured, if it was passed with the request (see `content`).
3. Content-Length, Transfer-Encoding and Expect are compared with the body, and Host with the
   request target. A request that contradicts itself is never sent.
4. The head is serialised, with the fields that are missing.

All of this happens before the first byte is sent, so an `InvalidRequest` or `TypeError` from here
means that nothing was sent. Error messages never show the value of a field, nor a name that is not
valid, because either may be a secret. The values of Host, Expect and the framing fields are an
exception.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from ..errors import InvalidRequest
from . import grammar
from .arguments import exactly_str, shown
from .content import AsyncIterableContent, Content, content_of
from .exchange import Exchange
from .limits import MIN_EXPECT_SIZE
from .messages import BodyFollowing, Request
from .target import check_target

if TYPE_CHECKING:
    from .messages import Body, HeadersArgument

#: Methods that anticipate a body. Without one, they get ``Content-Length: 0`` (RFC 9110 section
#: 8.6).
_METHODS_WITH_CONTENT = frozenset({"POST", "PUT", "PATCH"})

#: Fields that the caller cannot leave out, because the request's meaning depends on them.
_NEEDED = frozenset({"host", "content-length", "transfer-encoding"})


class Defaults:
    """Field lines that are added to a request unless the caller sets the field.

    Args:
        lines: from a lower-case field name to a line, ``host`` first (RFC 9110 section 7.2).

    Attributes:
        all: the lines for a request without fields from the caller.
    """

    __slots__ = ("_lines", "all")

    def __init__(self, lines: Mapping[str, str]) -> None:
        self._lines = {name: f"{line}\r\n" for name, line in lines.items()}
        self.all = "".join(self._lines.values())

    def unless(self, given: Container[str]) -> str:
        """Return the lines whose field is not in *given*."""
        return "".join([line for name, line in self._lines.items() if name not in given])

    def fields(self, given: Container[str]) -> list[tuple[str, str]]:
        """Return the same as `unless`, as pairs of name and value."""
        return grammar.FIELD_LINE.findall(self.unless(given))

    def changed(self, lines: Mapping[str, str], left_out: Container[str] = ()) -> Defaults:
        """Return other defaults: these, with the fields in *lines*, and without those *left_out*.

        Args:
            lines: as for the constructor. A line may contain several field lines.
            left_out: lower-case field names.
        """
        ours = {name: line.removesuffix("\r\n") for name, line in self._lines.items()}
        return Defaults(
            {name: line for name, line in {**ours, **lines}.items() if name not in left_out}
        )


#: For a request to which no field is added.
NO_DEFAULTS = Defaults({})


def prepare(
    request: Request,
    expect100: bool | None,
    defaults: Defaults,
    target: str | None = None,
    may_ask: bool = True,
) -> Exchange:
    """Validate a request and serialise its head (RFC 9112 section 3).

    Args:
        request: the request. If its headers are an iterator, they are replaced by a list, because
            a retry needs them again.
        expect100: whether to send Expect and wait for a 100 (Continue). ``None`` does so if the
            caller's own fields include Expect, or if the body is passed with the request and is
            large or of unknown length.
        defaults: field lines to add unless the caller sets the field.
        target: the request target on the wire, if it differs from the request's path.
        may_ask: False if *expect100* ``None`` must ignore the size of the body.

    Raises:
        TypeError: an argument, a name or a value has the wrong type.
        InvalidRequest: the method, the target or a field is not valid, or contradicts the rest.
        StateError: the body is one-shot, and was taken before.
    """
    method, headers, body = request.method, request.headers, request.body
    target = target or request.path
    if type(method) is not str or type(target) is not str:
        request.method = method = exactly_str(method, "method")
        target = exactly_str(target, "path")
    line = f"{method} {target} HTTP/1.1\r\n"
    host = None
    if not grammar.ORIGIN_FORM_LINE.fullmatch(line):
        host = check_target(method, target)
    if headers is None and body is None and host is None:
        exchange = Exchange(request, None, 0, False)
        framing = "Content-Length: 0\r\n" if method in _METHODS_WITH_CONTENT else ""
        exchange.head = f"{line}{defaults.all}{framing}\r\n".encode("latin-1")
        return exchange
    if not (headers is None or isinstance(headers, (list, tuple)) or hasattr(headers, "items")):
        request.headers = headers = list(_pairs(headers))  # a retry needs them again
    fields = Fields(headers)
    content, length = _measure(request, fields.values)
    if expect100 is None:
        is_large = content is not None and (length is None or length >= MIN_EXPECT_SIZE)
        may_ask = may_ask and "expect" not in fields.left_out
        expect100 = (may_ask and is_large) or _asks_for_continue(fields.values)
    exchange = Exchange(request, content, length, expect100)
    try:
        framing = _check(exchange, fields, host)
    except BaseException:
        if content is not None:
            content.finish()
        raise
    host_line = fields.host
    if host is not None and not host_line:
        host_line = f"Host: {host}\r\n"
        fields.values["host"] = host
    given = fields.values.keys() | fields.left_out if fields.left_out else fields.values
    head = [line, host_line, defaults.unless(given), *fields.lines, framing, "\r\n"]
    if exchange.chunked and length == 0:
        head.append("0\r\n\r\n")
    exchange.head = "".join(head).encode("latin-1")
    return exchange


def _check(exchange: Exchange, fields: Fields, host: str | None) -> str:
    """Compare the caller's fields with the rest of the request. Return framing lines to add."""
    request, content, lower = exchange.request, exchange.content, fields.values
    framing = _framing(request.method, request.body, exchange.length, lower)
    exchange.chunked = exchange.length is None or "transfer-encoding" in lower
    if exchange.expect_continue and "expect" in fields.left_out:
        raise InvalidRequest("expect100 sends the field Expect, but headers sets it to None")
    framing += _expect(lower, exchange.length, exchange.expect_continue)
    if lower:
        _check_host(lower, host)
        exchange.closes = "close" in _tokens(lower.get("connection", ""))
        exchange.upgrades = "upgrade" in lower
    if exchange.expect_continue and "expect" not in lower:
        exchange.may_drop_expect = content is not None and content.replayable
    return framing


def _measure(request: Request, lower: Mapping[str, str]) -> tuple[Content | None, int | None]:
    """Return the body that was passed with the request, if any, and the length of the body."""
    body = request.body
    if body is None:
        return None, 0
    if isinstance(body, BodyFollowing):
        return None, body.length
    given, chunked = lower.get("content-length"), "transfer-encoding" in lower
    length = None if given is None or chunked else _content_length(given)
    if isinstance(body, AsyncIterableContent):
        body.belongs_to(request, length)
        return body, length
    content = content_of(body, request, length, measure=not chunked)
    return content, content.length


def _content_length(given: str) -> int:
    digits = given.strip(" \t")
    if not grammar.CONTENT_LENGTH.fullmatch(digits):
        raise InvalidRequest(f"Content-Length must be a number of bytes, not {shown(given)}")
    return int(digits)


class Fields:
    """The caller's fields, validated.

    Args:
        headers: a mapping or pairs, ``None`` for no fields.

    Attributes:
        values: from lower-case names to values, repeats joined by commas.
        left_out: the lower-case names of fields whose value is ``None``.
        lines: the field lines except Host.
        host: the line of Host, empty if the caller does not set it.

    Raises:
        TypeError: *headers*, a name or a value has the wrong type.
        InvalidRequest: a name or a value is not valid.
    """

    __slots__ = ("host", "left_out", "lines", "values")

    def __init__(self, headers: HeadersArgument | None) -> None:
        self.values: dict[str, str] = {}
        self.left_out: set[str] = set()
        self.lines: list[str] = []
        self.host = ""
        if headers is None:
            return
        values, lines = self.values, self.lines
        for number, pair in enumerate(_pairs(headers), 1):
            if not isinstance(pair, (tuple, list)) or len(pair) != 2:
                raise _not_a_pair(pair, number)
            name, value = pair
            if type(name) is not str:
                name = _name_as_str(name, number)
            if not grammar.TOKEN.fullmatch(name):
                raise _bad_name(name, number)
            key = name.lower()
            if value is None:
                if key in _NEEDED:
                    raise InvalidRequest(f"field {name} is required, so its value cannot be None")
                self.left_out.add(key)
                continue
            if type(value) is not str:
                value = _value_as_str(value, name)
            if not grammar.FIELD_VALUE.fullmatch(value):
                raise _bad_value(value, name)
            values[key] = f"{values[key]}, {value}" if key in values else value
            line = f"{name}: {value}\r\n"
            if key == "host":
                self.host = line
            else:
                lines.append(line)


def _pairs(headers: Any) -> Iterable[Any]:
    """Return the pairs of *headers*, or raise a `TypeError` that explains what to pass instead."""
    if isinstance(headers, (bytes, bytearray, memoryview, BodyFollowing)) or hasattr(
        headers, "read"
    ):
        hint = ": pass the body as body="
    elif isinstance(headers, str):
        hint = ": split it at the first colon"
    else:
        try:
            pairs: Iterable[Any] = iter(headers.items() if hasattr(headers, "items") else headers)
            return pairs
        except TypeError:
            hint = ""
    raise TypeError(
        f"headers must be a mapping or pairs (name, value), not {type(headers).__name__}{hint}"
    )


def _not_a_pair(pair: object, number: int) -> Exception:
    if isinstance(pair, (tuple, list)):
        return InvalidRequest(
            f"headers must be pairs (name, value), but item {number} has {len(pair)} items"
        )
    hint = ": pass the body as body=" if isinstance(pair, (bytes, bytearray, memoryview)) else ""
    return TypeError(
        f"headers must be pairs (name, value), but item {number} is {type(pair).__name__}{hint}"
    )


def _name_as_str(name: Any, number: int) -> str:
    if isinstance(name, bytes):
        return bytes.decode(name, "latin-1")
    if isinstance(name, str):
        return str.__str__(name)
    raise TypeError(f"the name of field {number} must be str or bytes, not {type(name).__name__}")


def _value_as_str(value: Any, name: str) -> str:
    if isinstance(value, bytes):
        return bytes.decode(value, "latin-1")
    if isinstance(value, str):
        return str.__str__(value)
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(
            f"the value of field {name} must be str, bytes, int or None, not {type(value).__name__}"
        )
    try:
        return str(int(value))
    except ValueError:  # thousands of digits
        raise InvalidRequest(f"the value of field {name} is too large a number") from None


def _bad_name(name: str, number: int) -> InvalidRequest:
    if not name:
        return InvalidRequest(f"the name of field {number} is empty")
    good = grammar.TOKEN.match(name)
    at = good.end() if good is not None else 0
    hint = ": pass name and value as two strings" if name[at] == ":" else ""
    return InvalidRequest(
        f"the name of field {number} has {_kind_of(name[at])} at index {at}, "
        f"which is not allowed in a token{hint}"
    )


def _bad_value(value: str, name: str) -> InvalidRequest:
    good = grammar.FIELD_VALUE.match(value)
    at = good.end() if good is not None else 0
    return InvalidRequest(f"the value of field {name} has {_kind_of(value[at])} at index {at}")


def _kind_of(char: str) -> str:
    """Describe an invalid character without showing it: it may be part of a secret."""
    if char in "\r\n":
        return "a line end"
    if char > "\xff":
        return "a character outside Latin-1 (encode the value first)"
    if char < " " or char == "\x7f":
        return "a control character"
    return {" ": "a space", ":": "a colon"}.get(char, "a character")


def _tokens(value: str) -> list[str]:
    return grammar.split_list(value.lower())


def _check_host(lower: Mapping[str, str], host: str | None) -> None:
    """Check the caller's Host field. If the request target names a *host*, they must be equal."""
    given = lower.get("host")
    if given is None:
        return
    given = given.strip(" \t")
    if not grammar.HOST.fullmatch(given):
        raise InvalidRequest(
            f"Host must be one host name with an optional port, not {shown(given)}"
        )
    if host is not None and given.lower() != host.lower():
        raise InvalidRequest(
            f"Host is {given!r}, but the request target has {host!r}: leave the field out"
        )


def _framing(method: str, body: Body, length: int | None, lower: Mapping[str, str]) -> str:
    """Check the caller's framing fields against the body. Return the framing lines to add."""
    given_length = lower.get("content-length")
    given_coding = lower.get("transfer-encoding")
    if given_coding is not None:
        if given_length is not None:
            raise InvalidRequest(
                "Content-Length and Transfer-Encoding cannot be combined: leave one of them out"
            )
        if _tokens(given_coding) != ["chunked"]:
            raise InvalidRequest(
                f"Transfer-Encoding must be chunked or absent, not {shown(given_coding)}"
            )
        if body is None:
            raise InvalidRequest('Transfer-Encoding needs a body: pass b"" for an empty one')
        return ""
    if length is None:
        if given_length is not None:
            raise InvalidRequest("a body of unknown length cannot have a Content-Length")
        return "Transfer-Encoding: chunked\r\n"
    if given_length is not None:
        if _content_length(given_length) != length:
            raise InvalidRequest(
                f"Content-Length is {shown(given_length)}, but the body has {length} bytes"
            )
        return ""
    if body is not None or method in _METHODS_WITH_CONTENT:
        return f"Content-Length: {length}\r\n"
    return ""


def _asks_for_continue(lower: Mapping[str, str]) -> bool:
    return lower.get("expect", "").strip(" \t").lower() == "100-continue"


def _expect(lower: Mapping[str, str], length: int | None, wanted: bool) -> str:
    given = lower.get("expect")
    if given is None:
        return "Expect: 100-continue\r\n" if wanted else ""
    is_continue = _asks_for_continue(lower)
    if wanted and not is_continue:
        raise InvalidRequest(f"expect100 cannot be combined with the field Expect: {shown(given)}")
    if is_continue and length == 0:
        raise InvalidRequest("Expect: 100-continue needs a body (RFC 9110 section 10.1.1)")
    return ""


#: Fields that a recipient needs before the body, or that affect framing (RFC 9110 section 6.5.1).
_NOT_IN_TRAILERS = frozenset(
    {"content-length", "transfer-encoding", "host", "trailer", "te", "connection", "expect"}
)


def serialise_trailers(trailers: HeadersArgument | None) -> bytes:
    """Return the end of a chunked body: last chunk, trailer section, empty line.

    Raises:
        TypeError: a name or a value has the wrong type.
        InvalidRequest: a field is not valid, or not allowed in a trailer section.
    """
    fields = Fields(trailers)
    if fields.left_out:
        raise TypeError(f"the value of trailer field {min(fields.left_out)} cannot be None")
    misplaced = _NOT_IN_TRAILERS & fields.values.keys()
    if misplaced:
        raise InvalidRequest(f"field {min(misplaced)} cannot be in a trailer section")
    return f"0\r\n{''.join(fields.lines)}\r\n".encode("latin-1")
