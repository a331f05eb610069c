"""Authentication: the argument *auth*, the scheme Basic, and netrc files.

Rules
=====

1. ``(user, password)`` is sent with the scheme Basic (RFC 7617) in UTF-8. The user name has no
   colon, and neither part has control characters.
2. A callable is called once per attempt, with the request. It returns fields as a mapping or pairs,
   which replace those of the same name. It is synchronous, and its exceptions pass through.
3. ``"netrc"`` takes user and password from a netrc file: the one in the environment variable
   ``NETRC``, or ``.netrc`` in the home directory, which others must not be able to read. It is used
   for the host of the first request of a chain only, as the URL has it, without the port. The entry
   ``default`` applies to every other host.
4. An explicit ``Authorization`` wins over *auth*, and *auth* over credentials in the URL, which are
   used like ``(user, password)``.
"""

from __future__ import annotations

from base64 import b64encode
from typing import TYPE_CHECKING, Any

from ..errors import InvalidRequest
from ..protocol import grammar
from ..protocol.arguments import shown
from ..protocol.request import Fields

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Literal, TypeAlias

    from ..protocol.messages import HeadersArgument

    Auth: TypeAlias = (
        tuple[str | bytes, str | bytes] | Callable[[Any], HeadersArgument] | Literal["netrc"]
    )


def check_auth(auth: Any) -> Basic | Callable[[Any], Any] | Literal["netrc"] | None:
    """Return the argument *auth*: a `Basic`, a callable, ``'netrc'`` or ``None``.

    A pair becomes a `Basic`.

    Raises:
        TypeError: *auth* is something else.
        InvalidRequest: user or password is not valid, or it is another `str`.
    """
    checked: Basic | Callable[[Any], Any] | None
    if auth is None or callable(auth) or isinstance(auth, Basic):
        checked = auth
        return checked
    if isinstance(auth, str):
        if auth != "netrc":
            raise InvalidRequest("auth must be a pair (user, password), a callable or 'netrc'")
        return "netrc"
    if isinstance(auth, (tuple, list)) and len(auth) == 2:
        return Basic(*auth)
    raise TypeError(
        f"auth must be a pair (user, password), a callable or 'netrc', not {type(auth).__name__}"
    )


class Basic:
    """Credentials for the scheme Basic (RFC 7617).

    Args:
        user: the user name.
        password: the password.

    Attributes:
        authorization: the value of ``Authorization``.

    Raises:
        TypeError: an argument is neither `str` nor `bytes`.
        InvalidRequest: an argument is not valid. The message does not show it.
    """

    __slots__ = ("authorization",)

    def __init__(self, user: str | bytes, password: str | bytes) -> None:
        name, secret = _encoded(user, "the user"), _encoded(password, "the password")
        if b":" in name:
            raise InvalidRequest("the user in auth cannot have a colon (RFC 7617 section 2)")
        self.authorization = "Basic " + b64encode(name + b":" + secret).decode("ascii")

    def __repr__(self) -> str:
        return "Basic(***)"


def _encoded(text: Any, what: str) -> bytes:
    if isinstance(text, str):
        try:
            text = text.encode("utf-8", "surrogateescape")  # see `url.URL.credentials`
        except UnicodeEncodeError:
            raise InvalidRequest(f"{what} in auth cannot be encoded in UTF-8") from None
    if not isinstance(text, bytes):
        raise TypeError(f"{what} in auth must be str or bytes, not {type(text).__name__}")
    if grammar.CONTROL.search(text.decode("latin-1")):
        raise InvalidRequest(f"{what} in auth has a control character")
    return bytes(text)


def fields_of(auth: Callable[[Any], Any], request: Any) -> list[tuple[str, str]]:
    """Call a callable *auth*, and return the fields that it returns (rule 2).

    Args:
        auth: the callable.
        request: the request that it gets.

    Raises:
        TypeError: it returns something else than fields, or is an async function.
        InvalidRequest: a field is not valid. The message does not show its value.
        Exception: any exception that it raises.
    """
    given = auth(request)
    if hasattr(type(given), "__await__"):
        if hasattr(given, "close"):
            given.close()  # otherwise Python warns that it was never awaited
        raise TypeError("auth must be a function that returns fields, not an async function")
    try:
        fields = Fields(given if given is None or hasattr(given, "items") else list(given))
    except (TypeError, InvalidRequest) as exc:
        raise type(exc)(f"the fields returned by auth are not valid: {exc}") from None
    lines = [fields.host, *fields.lines] if fields.host else fields.lines
    pairs = (line.removesuffix("\r\n").partition(": ") for line in lines)
    return [(name, value) for name, _, value in pairs]


def find_netrc(host: str, environ: Mapping[str, str]) -> Basic | None:
    """Return the credentials for a host from the netrc file; ``None`` if there are none (rule 3).

    This reads the file each time.

    Args:
        host: the host, in lower case.
        environ: the environment, such as `os.environ`.

    Raises:
        InvalidRequest: the file is not valid, or others can read the one in the home directory. The
            message does not show its content.
        OSError: the file exists and cannot be read.
    """
    from netrc import NetrcParseError, netrc  # imported only if it is used

    path = environ.get("NETRC")
    try:
        entries = netrc(path) if path else netrc()
    except FileNotFoundError:
        return None
    except UnicodeDecodeError:
        raise InvalidRequest(f"the netrc file {shown(path or '~/.netrc')} is not UTF-8") from None
    except NetrcParseError as exc:
        # Its message may contain a password, where the parser expected something else.
        if "owner" in exc.msg or "permissive" in exc.msg:
            reason = exc.msg
        else:
            reason = f"it is not valid in line {exc.lineno}"
        raise InvalidRequest(
            f"the netrc file {shown(path or '~/.netrc')} cannot be used: {reason}"
        ) from None
    found = entries.authenticators(host)
    if found is None:
        return None
    login, _, password = found
    return Basic(login or "", password or "")
