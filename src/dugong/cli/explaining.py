"""Messages about requests that failed: one line with the error and, if possible, its cause."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

from .. import DugongError, InvalidRequest, InvalidResponse, PollNeeded, RedirectError, StatusError

if TYPE_CHECKING:
    from collections.abc import Generator

    from .. import Response

#: Limits for the body of a refusal: bytes that are read, characters that are shown, and seconds for
#: reading.
_MAX_READ = 16 * 1024
_MAX_SHOWN = 200
_PATIENCE = 2.0

#: OpenSSL's codes for certificates with an unknown authority (X509_V_ERR_…).
_NO_AUTHORITY = frozenset({18, 19, 20, 21})

#: What the library adds to messages of errors while connecting.
_WHERE = re.compile(r" \(connecting to (.*)\)$")

#: A TLS record with an alert, as an answer to a request without TLS (RFC 8446 section 5.1).
_ALERT = r"\x15\x03"

#: Hints in messages of the library that are about its arguments, and the names of those.
_HINT_FOR_PROGRAMS = re.compile(r": pass [^:]*$")
_ARGUMENT = re.compile(r"^(verify|cert)(?=: )")
_OPTIONS = {"verify": "--cacert", "cert": "--cert"}

_HIDDEN = re.compile(r"(?is)<!--.*?-->|<(head|title|script|style)\b.*?</\1\s*>|<hr\b.*")
_WITHIN_LINES = re.compile(r"(?i)</?(?:a|abbr|b|code|em|i|kbd|span|strong|tt)(?:\s[^>]*)?>")
_TAG = re.compile(r"<[^>]*>")


def as_text(value: str) -> str:
    """Return a field value or a reason phrase as text: as UTF-8 if it is valid, else Latin-1."""
    try:
        return value.encode("latin-1").decode()
    except UnicodeError:
        return value


def explained(exc: BaseException) -> str:
    """Return a message that explains why a request failed, with a hint where it helps."""
    if isinstance(exc, StatusError):
        return refusal(exc.response, exc.body)
    text = _HINT_FOR_PROGRAMS.sub("", str(exc))
    if isinstance(exc, RedirectError):
        text = as_text(text)
        return f"{text}: to allow that, fetch it" if "from https to http" in text else text
    if isinstance(exc, InvalidRequest):
        return _ARGUMENT.sub(lambda match: _OPTIONS[match[0]], text)
    if isinstance(exc, InvalidResponse) and exc.part == "status-line" and _ALERT in str(exc):
        return "the server expects TLS: try https:// instead of http://"
    if not isinstance(exc, OSError) or isinstance(exc, DugongError):
        return text
    if not getattr(exc, "while_connecting", False):
        return exc.strerror or str(exc)
    return _connecting(exc)


def _connecting(exc: OSError) -> str:
    match = _WHERE.search(str(exc))
    where = match[1] if match else str(exc.filename or "the server")
    server, _, proxy = where.partition(" through the ")
    is_of_proxy = bool(proxy) and getattr(exc, "at_proxy", False)
    server = f"the {proxy}" if is_of_proxy else server
    server = server.partition(", in ")[0]
    if " at /" in server:  # the path of a Unix socket
        server = server.partition(" at ")[2]
    reason: str | None = getattr(exc, "reason", None)  # of an ssl.SSLError
    if reason == "CERTIFICATE_VERIFY_FAILED":
        code: int = getattr(exc, "verify_code", 0)
        hint = " (to trust its authority, use --cacert)" if code in _NO_AUTHORITY else ""
        message: str = getattr(exc, "verify_message", "")
        return f"the certificate of {server} is not trusted: {message}{hint}"
    if reason in ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE"):
        return f"{server} does not speak TLS: try http:// instead of https://"
    if reason is not None:
        return f"cannot establish a TLS connection to {server}: {reason.replace('_', ' ').lower()}"
    text = _WHERE.sub("", exc.strerror or str(exc))
    return f"cannot connect to {server}: {text}"


# Responses with another status than 2xx.


def refusal(response: Response, body: bytes) -> str:
    """Return what a response says that is not successful."""
    headers = response.headers
    message = f"the server responded with {response.status} {as_text(response.reason)}".rstrip()
    location, allowed = headers.get("Location"), headers.get("Allow")
    said = what_is_said(response, body)
    if location:
        message += f" (see {as_text(location)})"
    elif response.status == 405 and allowed:
        message += f" (it allows {allowed})"
    elif said:
        message += f": {said}"
    if "https" in said.lower() and response.status == 400 and response.url.startswith("http://"):
        message += ": try https:// instead of http://"
    after = headers.get("Retry-After")
    if after and response.status in (429, 502, 503, 504):
        message += f" (try again after {after}{' s' if after.isdigit() else ''})"
    return message


def co_beginning(response: Response) -> Generator[PollNeeded, None, bytes]:
    """Return as much of the beginning of a body as arrives within `_PATIENCE`."""
    end = time.monotonic() + _PATIENCE
    data = b""
    try:
        while len(data) < _MAX_READ and (left := end - time.monotonic()) > 0:
            crt = response.co_read(_MAX_READ - len(data))
            try:
                need = next(crt)
                while (left := end - time.monotonic()) > 0:
                    yield PollNeeded(need.fd, need.mask, left)
                    need = next(crt)
            except StopIteration as stop:
                if not stop.value:
                    break
                data += stop.value
            finally:
                crt.close()
    except (DugongError, OSError):
        pass  # use the part that has arrived
    return data


def what_is_said(response: Response, body: bytes) -> str:
    """Return the beginning of a body that is text, without repetitions of the status."""
    headers = response.headers
    kind = headers.get_content_type()
    is_text = kind.startswith("text/") or kind.endswith(("json", "xml"))
    if not is_text or "Content-Type" not in headers or "Content-Encoding" in headers:
        return ""
    try:
        text = body[:_MAX_READ].decode(headers.get_content_charset() or "utf-8", "replace")
    except LookupError:
        return ""
    lines = [text]
    if kind in ("text/html", "application/xhtml+xml"):
        import html

        # Below a line, error pages usually have the name of the server.
        visible = _WITHIN_LINES.sub("", _HIDDEN.sub("", text).replace("\n", " "))
        lines = [html.unescape(line) for line in _TAG.sub("\n", visible).split("\n")]
    known = {response.reason.lower(), str(response.status)}
    lines = [" ".join(line.split()) for line in lines]
    said = " ".join(
        line
        for line in lines
        if line.lower() not in known and line.partition(" ")[0] != str(response.status)
    )
    said = said.strip()
    return said if len(said) <= _MAX_SHOWN else said[: _MAX_SHOWN - 1].rstrip() + "…"
