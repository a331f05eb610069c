"""A request's head as bytes. Past this module no caller's text can put a line on the wire.

Everything is validated before anything is written, so a `ValueError` or `TypeError` from here
means that nothing was sent.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from . import grammar
from .content import Content, Pieces, content_of
from .limits import MIN_EXPECT_SIZE
from .messages import BodyFollowing, Request

if TYPE_CHECKING:
    from .messages import Body, HeadersArgument

#: Methods whose bodyless requests say so: a server would wonder otherwise (RFC 9110 section 8.6).
_METHODS_WITH_CONTENT = frozenset({"POST", "PUT", "PATCH"})


class Defaults:
    """Field lines that are added to a request unless the caller gives the field.

    Args:
        lines: by the field's name in lower case.

    Attributes:
        all: the lines for a request of which no field is given.
    """

    __slots__ = ("_lines", "all")

    def __init__(self, lines: Mapping[str, str]) -> None:
        self._lines = {name: f"{line}\r\n" for name, line in lines.items()}
        self.all = "".join(self._lines.values())

    def unless(self, given: Mapping[str, str]) -> str:
        """Return those lines whose field is not *given*."""
        return "".join([line for name, line in self._lines.items() if name not in given])


#: For a request of which every field is given.
NO_DEFAULTS = Defaults({})


class Outgoing:
    """A request as it goes on the wire.

    Attributes:
        request: what the user asked for.
        head: request line and fields, with the empty line, as bytes.
        content: a body that was given with the request; ``None`` if there is none, or if it is
            given later, by `write`.
        length: the number of bytes in the body; ``None`` if it will be sent in chunks.
        follows: whether the body is not sent at once with the head.
        expect_continue: whether a 100 (Continue) is awaited before the body.
        may_drop_expect: whether it can be sent again without Expect: that field is not the
            caller's, and the body is replayable.
        closes: whether this is to be the connection's last exchange.
        upgrades: whether a 101 (Switching Protocols) is a valid answer.
        headers_used_up: whether the caller gave the headers as an iterator, and has only that.
    """

    __slots__ = (
        "closes", "content", "expect_continue", "follows", "head", "headers_used_up", "length",
        "may_drop_expect", "request", "upgrades",
    )  # fmt: skip

    def __init__(
        self, request: Request, content: Content | None, length: int | None, expect: bool
    ) -> None:
        self.request = request
        self.head = b""
        self.content = content
        self.length = length
        self.expect_continue = expect and length != 0
        self.follows = length != 0 and (self.expect_continue or content is None)
        self.may_drop_expect = False
        self.closes = False
        self.upgrades = False
        self.headers_used_up = False


def prepare(
    request: Request,
    expect100: bool | None,
    defaults: Defaults,
    target: str | None = None,
    may_ask: bool = True,
) -> Outgoing:
    """Validate a request and serialise its head (RFC 9112 section 3).

    Args:
        request: its headers are replaced by the fields that they had if they may be used up then.
        expect100: whether to ask for a 100 (Continue), and to await it; ``None`` to do so if the
            caller's own field asks, or the body is large or of unknown length.
        defaults: what to add unless the caller gave it.
        target: the request target as it goes on the wire, if that is not the request's path.
        may_ask: whether *expect100* ``None`` goes by the body.

    Raises:
        TypeError: the type of a name, a value or the body is wrong.
        ValueError: the method, the target or a field is not valid, or does not fit the body.
        StateError: the body is one-shot, and was taken before.
    """
    method, headers, body = request.method, request.headers, request.body
    target = target or request.path
    if type(method) is not str or type(target) is not str:
        request.method = method = exactly_str(method, "a method")
        target = exactly_str(target, "a request target")
    line = f"{method} {target} HTTP/1.1\r\n"
    if not grammar.REQUEST_LINE.fullmatch(line):
        raise _bad_line(method, target)
    if headers is None and body is None:
        outgoing = Outgoing(request, None, 0, False)
        framing = "Content-Length: 0\r\n" if method in _METHODS_WITH_CONTENT else ""
        outgoing.head = f"{line}{defaults.all}{framing}\r\n".encode("latin-1")
        return outgoing
    fields, lower = _validate(headers)
    content, length = _measure(request, lower)
    if expect100 is None:
        is_large = content is not None and (length is None or length >= MIN_EXPECT_SIZE)
        expect100 = (may_ask and is_large) or _asks_for_continue(lower)
    if not (headers is None or isinstance(headers, (list, tuple)) or hasattr(headers, "items")):
        request.headers = fields  # whoever retries needs them again
    outgoing = Outgoing(request, content, length, expect100)
    try:
        framing = _check(outgoing, lower)
    except BaseException:
        if content is not None:
            content.settle()
        raise
    lines = [f"{name}: {value}\r\n" for name, value in fields]
    head = [line, defaults.unless(lower), *lines, framing, "\r\n"]
    outgoing.head = "".join(head).encode("latin-1")
    return outgoing


def _check(outgoing: Outgoing, lower: Mapping[str, str]) -> str:
    """Compare the caller's fields with the rest of the request; return those about its body."""
    request, content = outgoing.request, outgoing.content
    framing = _framing(request.method, request.body, outgoing.length, lower)
    framing += _expect(lower, outgoing.length, outgoing.expect_continue)
    if lower:
        _check_host(lower)
        outgoing.closes = "close" in _tokens(lower.get("connection", ""))
        outgoing.upgrades = "upgrade" in lower
    if outgoing.expect_continue and "expect" not in lower:
        outgoing.may_drop_expect = content is not None and content.replayable
    return framing


def _bad_line(method: str, target: str) -> ValueError:
    if not grammar.TOKEN.fullmatch(method):
        return ValueError(f"method {method!r} is not a token")
    return ValueError(
        f"request target {target!r} must be visible ASCII and not empty: quote it first"
    )


def _measure(request: Request, lower: Mapping[str, str]) -> tuple[Content | None, int | None]:
    """Return what there is to send already, if anything, and the length of the whole body."""
    body = request.body
    if body is None:
        return None, 0
    if isinstance(body, BodyFollowing):
        return None, body.length
    content = content_of(body, request)
    if content.length is None and isinstance(content, Pieces):
        given = lower.get("content-length")
        if given is not None and "transfer-encoding" not in lower:
            content.length = _content_length(given)
    return content, content.length


def _content_length(given: str) -> int:
    digits = given.strip(" \t")
    if not grammar.CONTENT_LENGTH.fullmatch(digits):
        raise ValueError(f"Content-Length {given!r} is not a number")
    return int(digits)


def exactly_str(text: Any, what: str, kind: str = "a str") -> str:
    """Return *text* as nothing but a `str`: a subclass may look different when it is formatted.

    Raises:
        TypeError: it is no `str`.
    """
    if type(text) is str:
        return text
    if not isinstance(text, str):
        raise TypeError(f"{what} is {kind}, not {type(text).__name__}: {text!r}")
    return str.__str__(text)


def _validate(
    headers: HeadersArgument | None,
) -> tuple[list[tuple[str, str]], dict[str, str]]:
    """Return the caller's fields, and their values by lower-case name, repeats joined by commas."""
    if headers is None:
        return [], {}
    pairs: Iterable[tuple[Any, Any]]
    pairs = headers.items() if hasattr(headers, "items") else headers
    fields: list[tuple[str, str]] = []
    lower: dict[str, str] = {}
    for given_name, value in pairs:
        name = exactly_str(given_name, "a field name")
        if isinstance(value, int) and not isinstance(value, bool):
            text = str(int(value))
        else:
            text = exactly_str(value, f"the value of field {name}", "a str or an int")
        if not grammar.TOKEN.fullmatch(name):
            raise ValueError(f"field name {name!r} is not a token")
        if not grammar.FIELD_VALUE.fullmatch(text):
            raise ValueError(f"the value of field {name} has a character not allowed: {text!r}")
        fields.append((name, text))
        key = name.lower()
        lower[key] = f"{lower[key]}, {text}" if key in lower else text
    return fields, lower


def _tokens(value: str) -> list[str]:
    return grammar.split_list(value.lower())


def _check_host(lower: Mapping[str, str]) -> None:
    host = lower.get("host")
    if host is not None and not grammar.HOST.fullmatch(host.strip(" \t")):
        raise ValueError(f"Host is one host name with an optional port, not {host!r}")


def _framing(method: str, body: Body, length: int | None, lower: Mapping[str, str]) -> str:
    """Return the framing lines to add, after checking those of the caller against the body."""
    given_length = lower.get("content-length")
    given_coding = lower.get("transfer-encoding")
    if length is None:
        if given_length is not None:
            raise ValueError("a body of unknown length cannot have a Content-Length")
        if given_coding is None:
            return "Transfer-Encoding: chunked\r\n"
        if _tokens(given_coding) != ["chunked"]:
            raise ValueError(f"the body will be sent chunked, not {given_coding!r}")
        return ""
    if given_coding is not None:
        raise ValueError("Transfer-Encoding needs a body of unknown length, such as an iterable")
    if given_length is not None:
        if _content_length(given_length) != length:
            raise ValueError(f"Content-Length {given_length!r}, but the body has {length} bytes")
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
        raise ValueError(f"expect100 does not go with a field Expect: {given!r}")
    if is_continue and length == 0:
        raise ValueError("Expect: 100-continue needs a body (RFC 9110 section 10.1.1)")
    return ""


#: Fields that a recipient needs before the body, or acts on (RFC 9110 section 6.5.1).
_NOT_IN_TRAILERS = frozenset(
    {"content-length", "transfer-encoding", "host", "trailer", "te", "connection", "expect"}
)


def serialise_trailers(trailers: HeadersArgument | None) -> bytes:
    """Return the end of a chunked body: last chunk, trailer section, empty line.

    Raises:
        TypeError: the type of a name or a value is wrong.
        ValueError: a field is not valid, or has no place in a trailer section.
    """
    fields, lower = _validate(trailers)
    misplaced = _NOT_IN_TRAILERS & lower.keys()
    if misplaced:
        raise ValueError(f"field {min(misplaced)} cannot be in a trailer section")
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields)
    return f"0\r\n{lines}\r\n".encode("latin-1")
