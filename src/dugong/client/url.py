r"""URLs: parsing, quoting, joining with a base, query parameters, redirect targets.

Rules
=====

1. A URL has the scheme http or https, and a host (RFC 9110 section 4.2). `pool.origin` reads both,
   with port and user information, and refuses what browsers and `urllib.parse` understand
   differently.
2. Path, query and fragment are quoted and otherwise sent as given (RFC 3986 section 2). Characters
   that are neither reserved nor unreserved become ``%XX`` of their UTF-8 encoding, and so does a
   ``%`` without two hex digits. Dot segments, ``//``, ``%2B`` and ``%7E`` stay as they are, and a
   ``\`` is not a slash. Surrogates such as those from `os.fsdecode` become the byte they stand for.
3. An empty path is sent and shown as ``/`` (RFC 9110 section 4.2.3).
4. User information becomes `URL.credentials` and is never part of a `str` (RFC 9110 section 4.2.4).
   Its parts are percent-decoded. As in RFC 7617 section 2, the user name has no colon, and neither
   part has control characters. Without a name and a password, there are no credentials.
5. A relative URL is appended to the path of the base URL, with one ``/`` in between: it does not
   replace anything, not even with a leading ``/``. Without a path it addresses the base URL itself.
   It must not begin with ``//``, or with what browsers take for that. Its first segment has no
   colon (RFC 3986 section 4.2): it would look like a scheme. Its dot segments must not leave the
   path of the base, even if they or their slashes are percent-encoded, because many servers decode
   a path before they resolve it. An empty segment is none to leave, because others merge slashes.
6. A base URL has neither query nor fragment.
7. Parameters follow the query of the URL. Everything in them except unreserved characters is
   quoted, so a value cannot end its parameter, the query or the request target.
8. A redirect target is resolved as in RFC 3986 section 5.2, and inherits the fragment (RFC 9110
   section 10.2.2). Its user information is ignored. A ``Location`` that begins like ``/\host``, or
   contains a tab, is refused: browsers read another host there. The field's bytes are taken for
   UTF-8. Others keep their value.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NoReturn

from ..errors import InvalidRequest
from ..pool.origin import Origin, split_origin
from ..protocol import grammar
from ..protocol.arguments import exactly_str, shown
from ..protocol.references import redirect_target

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import TypeAlias

    Value: TypeAlias = str | bytes | int | float | None
    Values: TypeAlias = Value | Sequence[Value]
    Pairs: TypeAlias = Mapping[str, Values] | Sequence[tuple[str, Values]]

# reserved, unreserved and pct-encoded   (RFC 3986 section 2)
_TO_QUOTE = re.compile(r"[^A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;=%]|%(?![0-9A-Fa-f]{2})")

# A text without these needs no quoting. Searching for a single class of characters is faster.
_MAY_NEED_QUOTING = re.compile(r"[^A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;=]")

# path-abempty [ "?" query ] [ "#" fragment ]   (RFC 3986 section 3), after quoting
_REST = re.compile(r"([^?#]*)(?:\?([^#]*))?(?:#(.*))?", re.DOTALL)

# relative-part with the path of path-noscheme or path-absolute   (RFC 3986 section 4.2) has no
# colon before the first slash. Browsers also see a slash in "\", and no character in white space.
_SCHEME_LIKE = re.compile(r"[^/?#\\]*:")
_HOST_LIKE = re.compile(r"[\x00-\x20]*[/\\][\t\n\r]*[/\\]")
_REMOVED_BY_BROWSERS = re.compile(r"[\t\n\r]|\A[\x00-\x20]")

# What servers may take for a slash or a dot in a path.
_SLASH = re.compile(r"/|\\|%2f|%5c", re.IGNORECASE)
_DOT = re.compile(r"%2e", re.IGNORECASE)


class URL:
    """An absolute URL, checked and quoted. Immutable; equal if all its attributes are.

    ``str(url)`` is the URL with its fragment and without user information.

    Attributes:
        origin: scheme, host and port.
        target: path and query as in the request line, a request target in origin-form.
        fragment: what follows ``#``, which is never sent; ``None`` if there is none.
        credentials: user and password from the user information, or ``None``.
    """

    __slots__ = ("credentials", "fragment", "origin", "target")

    origin: Origin
    target: str
    fragment: str | None
    credentials: tuple[str, str] | None

    def __init__(
        self,
        origin: Origin,
        target: str,
        fragment: str | None = None,
        credentials: tuple[str, str] | None = None,
    ) -> None:
        object.__setattr__(self, "origin", origin)
        object.__setattr__(self, "target", target)
        object.__setattr__(self, "fragment", fragment)
        object.__setattr__(self, "credentials", credentials)

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError("a URL cannot be changed: make a new one")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError("a URL cannot be changed")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, URL):
            return NotImplemented
        return self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def _key(self) -> tuple[object, ...]:
        return self.origin, self.target, self.fragment, self.credentials

    def __str__(self) -> str:
        fragment = "" if self.fragment is None else f"#{self.fragment}"
        return f"{self.origin}{self.target}{fragment}"

    def __repr__(self) -> str:
        return f"<URL {shown(str(self))[1:-1]}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return URL, (self.origin, self.target, self.fragment, self.credentials)

    @property
    def path(self) -> str:
        """The path, quoted, without the query."""
        return self.target.partition("?")[0]

    @property
    def is_secure(self) -> bool:
        """Whether the scheme is https."""
        return self.origin.scheme == "https"

    def without_credentials(self) -> URL:
        """Return the same URL without user information."""
        return self if self.credentials is None else URL(self.origin, self.target, self.fragment)

    def with_params(self, *params: str) -> URL:
        """Return the URL with parameters after its query.

        Args:
            params: results of `encode_params`. Empty ones add nothing.
        """
        added = "&".join(part for part in params if part)
        if not added:
            return self
        path, mark, query = self.target.partition("?")
        # A bare "?" or a final "&" already separates.
        separator = "&" if query and not query.endswith("&") else ""
        target = f"{path}?{query}{separator}{added}" if mark else f"{path}?{added}"
        return URL(self.origin, target, self.fragment, self.credentials)

    def redirected(self, location: str) -> URL:
        """Return the target of a redirect (rule 8).

        Args:
            location: the value of ``Location``, decoded as Latin-1 like other fields.

        Raises:
            InvalidRequest: it has no valid target with http or https.
        """
        try:
            text = location.encode("latin-1").decode("utf-8", "surrogateescape")
        except UnicodeEncodeError:
            text = location  # not from the wire
        if _REMOVED_BY_BROWSERS.search(text) or (
            (match := _HOST_LIKE.match(text)) and "\\" in match[0]
        ):
            raise InvalidRequest(f"Location {shown(text)} is ambiguous")
        return parse(redirect_target(str(self), quote(text)), "Location").without_credentials()


def parse(url: Any, what: str = "url") -> URL:
    """Return an absolute URL, checked and quoted.

    Args:
        url: the URL, a `str`.
        what: the name of the argument, for messages.

    Raises:
        TypeError: *url* is not a `str`.
        InvalidRequest: it is not a valid URL. The message does not show user information.
    """
    if isinstance(url, URL):
        return url
    url = exactly_str(url, what)
    # Parsing takes longer than anything else that a client does for a simple request. URLs that may
    # have credentials are not kept in memory.
    return _parsed(url, what) if "@" in url else _remembered(url, what)


def _parsed(url: str, what: str) -> URL:
    origin, userinfo, rest = split_origin(url, what)
    credentials = _credentials(userinfo, what) if userinfo else None
    target, fragment = _split(quote(rest, what))
    if not target.startswith("/"):
        target = f"/{target}"
    return URL(origin, target, fragment, credentials)


_remembered = lru_cache(maxsize=256)(_parsed)


def _split(quoted: str) -> tuple[str, str | None]:
    target, mark, fragment = quoted.partition("#")
    # A second "#" is no RFC 3986 fragment, but reserved, so it is kept; it is never sent.
    return target, fragment if mark else None


def quote(text: str, what: str = "url") -> str:
    """Return *text* with everything quoted that a URL cannot contain (rule 2).

    Raises:
        InvalidRequest: it contains a surrogate that does not stand for a byte.
    """
    if not _MAY_NEED_QUOTING.search(text):
        return text
    try:
        return _TO_QUOTE.sub(_percent, text)
    except UnicodeEncodeError:
        raise InvalidRequest(f"{what} has a character that UTF-8 cannot encode") from None


def _percent(match: re.Match[str]) -> str:
    return "".join([f"%{byte:02X}" for byte in match[0].encode("utf-8", "surrogateescape")])


def _credentials(userinfo: str, what: str) -> tuple[str, str] | None:
    from urllib.parse import unquote_to_bytes  # imported only for such a URL

    try:
        data = userinfo.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        data = b"\0"  # refused below
    user, _, password = data.partition(b":")
    # Bytes that are not UTF-8 become surrogates, from which `authentication.basic` restores them.
    pair = [unquote_to_bytes(part).decode("utf-8", "surrogateescape") for part in (user, password)]
    if ":" in pair[0] or grammar.CONTROL.search("".join(pair)):
        raise InvalidRequest(
            f"{what} cannot have a colon in its user name, or control characters in its user name "
            "or password"
        )
    return (pair[0], pair[1]) if any(pair) else None


def parse_base(url: Any) -> URL:
    """Return the argument *base_url*, checked (rule 6).

    Raises:
        TypeError: *url* is not a `str`.
        InvalidRequest: it is not a valid base URL.
    """
    base = parse(url, "base_url")
    if base.fragment is not None:
        raise InvalidRequest(f"base_url {shown(str(base))} has a fragment: leave it out")
    if "?" in base.target:
        raise InvalidRequest(f"base_url {shown(str(base))} has a query: pass params= instead")
    return base


def join(base: URL | None, url: Any) -> URL:
    """Return the URL of a request: *url* itself, or appended to the base URL (rule 5).

    Args:
        base: from `parse_base`; ``None`` if there is no base URL.
        url: the argument *url* of a request.

    Returns:
        The URL. A relative one has the credentials of the base.

    Raises:
        TypeError: *url* is not a `str`.
        InvalidRequest: it is not a valid URL.
    """
    if type(url) is str and "@" not in url:
        return _remembered_join(base, url)
    return url if isinstance(url, URL) else _join(base, exactly_str(url, "url"))


def _join(base: URL | None, url: str) -> URL:
    if base is None or grammar.SCHEME.match(url):
        return _parsed(url, "url")
    return _append(base, url)


# As in `parse`.
_remembered_join = lru_cache(maxsize=256)(_join)


def _append(base: URL, url: str) -> URL:
    if _HOST_LIKE.match(url):
        raise InvalidRequest(
            f"url {shown(url)} must not begin with '//': pass an absolute URL or a path"
        )
    if _SCHEME_LIKE.match(url):
        if grammar.SCHEME.match(url):
            return parse(url)  # which explains what is wrong
        raise InvalidRequest(
            f"url {shown(url)} has a colon in its first segment, like a scheme: "
            "put a slash before it"
        )
    if url[:1] <= " " and url:
        raise InvalidRequest(f"url {shown(url)} begins with white space: remove or quote it")
    match = _REST.fullmatch(quote(url))
    assert match is not None  # it matches every string
    path, query, fragment = match.groups()
    if _leaves_base(path):
        raise InvalidRequest(f"url {shown(url)} leaves the path of base_url")
    whole = base.target
    if path:
        whole = f"{whole.removesuffix('/')}/{path.removeprefix('/')}"
    if query is not None:
        whole = f"{whole}?{query}"
    return URL(base.origin, whole, fragment, base.credentials)


def _leaves_base(path: str) -> bool:
    if ".." not in (path := _DOT.sub(".", path)):
        return False
    depth = 0
    for segment in _SLASH.split(path):
        if segment == "..":
            depth -= 1
            if depth < 0:
                return True
        elif segment not in ("", "."):
            depth += 1
    return False


def encode_params(params: Pairs | None, what: str = "params") -> str:
    """Return parameters as part of a query (rule 7): spaces become ``%20``.

    Args:
        params: a mapping or pairs, ``None`` for none. Lists and tuples repeat their name, ``None``
            is left out, and ``True`` becomes ``true``.
        what: the name of the argument, for messages.

    Raises:
        TypeError: *params*, a name or a value has the wrong type.
        InvalidRequest: a name or a value has a character that UTF-8 cannot encode.
    """
    if params is None:
        return ""
    return "&".join(
        [f"{percent(name, what)}={percent(value, what)}" for name, value in flatten(params, what)]
    )


# unreserved   (RFC 3986 section 2.3)
_NOT_UNRESERVED = re.compile(r"[^A-Za-z0-9\-._~]")


def percent(data: str | bytes, what: str) -> str:
    """Return text or bytes with everything quoted except unreserved characters."""
    if isinstance(data, bytes):
        data = data.decode("utf-8", "surrogateescape")
    try:
        return _NOT_UNRESERVED.sub(_percent, data)
    except UnicodeEncodeError:
        raise InvalidRequest(f"{what} has a character that UTF-8 cannot encode") from None


def flatten(fields: Any, what: str) -> list[tuple[str, str | bytes]]:
    """Return names and values of *params* or a form as pairs of text or bytes.

    Raises:
        TypeError: *fields*, a name or a value has the wrong type.
    """
    hint = ": append it to the URL" if what == "params" else ": pass it as body="
    found: list[tuple[str, str | bytes]] = []
    for name, given in pairs_of(fields, what, "value", hint):
        values = given if isinstance(given, (list, tuple)) else (given,)
        found += [(name, as_text(value, name, what)) for value in values if value is not None]
    return found


def pairs_of(given: Any, what: str, kind: str, hint: str = "") -> list[tuple[str, Any]]:
    """Return the pairs of an argument that is a mapping or pairs.

    Args:
        given: the argument.
        what: its name, for messages.
        kind: what the second part of a pair is called.
        hint: what to do instead with text, bytes or a file, for a message.

    Raises:
        TypeError: *given* is something else, or a name is not a `str`.
    """
    wrong = f"{what} must be a mapping or pairs (name, {kind}), not {type(given).__name__}"
    if isinstance(given, (str, bytes, bytearray, memoryview)) or hasattr(given, "read"):
        raise TypeError(wrong + hint)
    try:
        pairs = list(given.items() if hasattr(given, "items") else given)
    except TypeError:
        raise TypeError(wrong) from None
    for number, pair in enumerate(pairs, 1):
        if not isinstance(pair, (tuple, list)) or len(pair) != 2:
            raise TypeError(
                f"{what} must be pairs (name, {kind}), but item {number} is a {type(pair).__name__}"
            )
        name = exactly_str(pair[0], f"the name of item {number} in {what}")
        pairs[number - 1] = name, pair[1]
    return pairs


def as_text(value: Any, name: str, what: str) -> str | bytes:
    """Return a value of *params* or a form as text or bytes.

    Raises:
        TypeError: *value* has the wrong type.
    """
    if type(value) is str or type(value) is bytes:
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        try:
            return int.__repr__(value)
        except ValueError:  # thousands of digits
            raise InvalidRequest(f"a value in {what} is too large a number") from None
    if isinstance(value, float):
        return float.__repr__(value)
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, bytes):
        return bytes(value)
    raise TypeError(
        f"the value of {shown(name)} in {what} must be str, bytes, int, float, bool or None, or a "
        f"list of these, not {type(value).__name__}: convert it first"
    )
