"""The exceptions that dugong raises, and which of them are transient.

::

    DugongError
     ├── ConnectionClosed        (ConnectionError)  an established connection ended
     ├── ConnectionTimedOut      (TimeoutError)     a time limit has passed
     ├── TunnelRefused           (ConnectionError)  the proxy did not open a tunnel
     ├── HostnameNotResolvable                      the DNS works, but the host has no address
     ├── DNSUnavailable                             the DNS does not answer
     ├── AddressRefused                             the address guard approves no address
     ├── InvalidResponse                            the server violated the protocol or a limit
     ├── UnsupportedResponse                        valid, but not supported by this client
     ├── InvalidRequest          (ValueError)       an argument is not valid
     ├── StateError                                 the call is not allowed in this state
     ├── ExcessBodyData                             more body data than announced
     ├── BodyChanged             (ValueError)       a file changed while it was being sent
     ├── RedirectError                              a redirect is not followed
     ├── StatusError                                `raise_for_status` found a 4xx or 5xx status
     └── DigestMismatch          (ValueError)       a body does not have the announced digest

While connecting, errors of the operating system and the TLS library pass through: connection
refused, host unreachable, certificate not trusted. Every exception that ends an exchange has the
attributes of `DugongError`, including those errors.

All exceptions can be pickled and copied. If a request in `unanswered` has a body that cannot be
pickled, such as a file, `dugong.Request` leaves that body out.
"""

from __future__ import annotations

import errno
import re
import sys
from copy import copy
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, cast
from weakref import ref

if TYPE_CHECKING:
    from collections.abc import Callable

    from .protocol.headers import Headers
    from .protocol.messages import HTTPResponse, Request

__all__ = [
    "AddressRefused",
    "BodyChanged",
    "ConnectionClosed",
    "ConnectionTimedOut",
    "DNSUnavailable",
    "DigestMismatch",
    "DugongError",
    "ExcessBodyData",
    "HostnameNotResolvable",
    "InvalidRequest",
    "InvalidResponse",
    "RedirectError",
    "StateError",
    "StatusError",
    "TunnelRefused",
    "UnsupportedResponse",
    "is_temp_network_error",
]


class DugongError(Exception):
    """The base class of all exceptions that dugong defines.

    Attributes:
        bytes_sent: bytes of the failed request, head and body, that were given to the system.
        response_started: whether any byte of the request's final response had arrived.
        safe_to_retry: whether the same arguments can be sent again without doing anything twice.
            True if none of the request's bytes was sent, or if its method is idempotent (RFC 9110
            section 9.2.2) and its body is not a used-up iterable. A file is then back at the
            position where it started. False if the headers were an iterator, which is used up.
        unanswered: the `dugong.Request` objects without a complete response, oldest first.
        while_connecting: whether it was raised while connecting, so that no request was sent.
    """

    while_connecting: bool = False
    bytes_sent: int = 0
    response_started: bool = False
    safe_to_retry: bool = False
    unanswered: tuple[Request, ...] = ()

    def __reduce__(self) -> tuple[Any, ...]:
        # By default, unpickling calls the class with the exception's `args`. That fails if a
        # constructor takes other arguments than those it passes on, as some of ours do, and as
        # those of subclasses may.
        _, args, *state = cast("tuple[Any, ...]", super().__reduce__())
        return _restore, (type(self), args), *state


def _restore(kind: type[DugongError], args: tuple[Any, ...]) -> DugongError:
    """Create an exception without calling its constructor."""
    base = OSError if issubclass(kind, OSError) else Exception
    exc = base.__new__(kind, *args)
    base.__init__(exc, *args)  # where *kind* has a constructor, `OSError.__new__` ignores *args*
    return exc


class ConnectionClosed(DugongError, ConnectionError):
    """An established connection ended before its exchanges were complete.

    ``__cause__`` is the error of the system or the TLS library, if there was one.

    Attributes:
        alert: the fatal TLS alert with which the server ended the connection, by its name in RFC
            8446 section 6, such as ``'certificate_required'``; ``None`` if there was none.
    """

    alert: str | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        restore, args, *state = super().__reduce__()
        alert = _alert_behind(self)  # the causes are not pickled
        return restore, args, *([{**self.__dict__, "alert": alert}] if alert else state)


class ConnectionTimedOut(DugongError, TimeoutError):
    """One of the caller's time limits has passed, or the system has dropped the connection.

    A read that timed out can be repeated and loses nothing. A send that timed out ends sending.

    Attributes:
        phase: what the call was waiting for: ``'pool'``, ``'resolve'``, ``'connect'`` (including
            a tunnel), ``'tls'``, ``'send'``, ``'response'`` or ``'body'``. ``None`` in a coroutine
            of the caller's own.
    """

    phase: str | None = None


class Remembered:
    """An exception that a connection remembers as the cause of later errors.

    The frames in its traceback refer to the connection. A strong reference from the connection to
    the exception would make a cycle, and only the garbage collector would close the connection. So
    the reference is weak. If nothing else refers to the exception, a copy without a traceback
    replaces it.
    """

    __slots__ = ("_copy", "_find")

    def __init__(self, exc: BaseException) -> None:
        self._find: Callable[[], BaseException | None] = lambda: exc
        self._copy: BaseException | None = None

    def weaken(self) -> None:
        """Make the reference to the exception weak."""
        exc = self.exc
        assert exc is not None
        try:
            copied = copy(exc)
            copied.__cause__ = copy(exc.__cause__)
        except Exception:  # an exception class of the caller's may not support copying
            return
        self._copy = copied
        try:
            self._find = ref(exc)
        except TypeError:  # built-in exceptions do not support weak references
            self._find = _nothing

    @property
    def exc(self) -> BaseException | None:
        """The exception, or its copy."""
        return self._find() or self._copy

    def __str__(self) -> str:
        return str(self.exc) or type(self.exc).__name__  # a KeyboardInterrupt has no text


def _nothing() -> None:
    pass


class TunnelRefused(DugongError, ConnectionError):
    """The proxy did not open a tunnel to the server (RFC 9110 section 9.3.6, RFC 1928 section 6).

    A SOCKS proxy sends a reply code instead of a status code. `status` is then the HTTP status code
    with the same meaning: 407 for missing or rejected credentials, 403 if the rules of the proxy
    do not allow the server, 502 for a general failure and for a network, host or port that it
    cannot reach, 504 for an expired TTL, 501 for what it does not support, 500 for any other code.

    Attributes:
        status: the status code of the proxy's response, an `int`.
        reason: its reason phrase, or the meaning of the reply code; a `str`.
        headers: its fields, a `dugong.Headers`. Empty for SOCKS.
        body: the part of its body that arrived within two seconds, at most 64 KiB of `bytes`. Empty
            for SOCKS.
        reply: the code with which a SOCKS proxy refused, an `int`; ``None`` for an HTTP proxy.
    """

    def __init__(
        self,
        status: int,
        reason: str,
        headers: Headers,
        body: bytes = b"",
        reply: int | None = None,
    ) -> None:
        self.status = status
        self.reason = reason
        self.headers = headers
        self.body = body
        self.reply = reply
        text = f"{status} {reason}".rstrip() if reply is None else f"{reason} (SOCKS reply {reply})"
        super().__init__(f"the proxy refused the tunnel: {text}")


class _NameError(DugongError):
    _text = ""
    _where = ""

    def __init__(self, name: str) -> None:
        self.name = name
        super().__init__(name)

    def __str__(self) -> str:
        return f"{self._text.format(self.name)}{self._where}"


class HostnameNotResolvable(_NameError):
    """The domain name system works, but has no address for this name.

    Attributes:
        name: the host name, a `str`.
    """

    _text = "host name {!r} has no address: check its spelling"


class DNSUnavailable(_NameError):
    """The name could not be looked up, and neither could any other: the network may be down.

    Attributes:
        name: the host name, a `str`.
    """

    _text = "cannot look up {!r}: the domain name system does not answer"


class AddressRefused(DugongError):
    """The address guard approved none of a host's addresses. No connection was made.

    Attributes:
        name: the host name or address, a `str`.
        addresses: the refused addresses, a tuple of `str`.
    """

    def __init__(self, name: str, addresses: tuple[str, ...]) -> None:
        self.name = name
        self.addresses = addresses
        shown = "" if addresses == (name,) else f" of {name}"
        noun, verb = ("address", "is") if len(addresses) == 1 else ("addresses", "are")
        super().__init__(f"the {noun} {', '.join(addresses)}{shown} {verb} not allowed")


#: The invalid part of a response (see `InvalidResponse`).
Part: TypeAlias = Literal[
    "status-line", "head", "framing", "chunk", "trailer", "coding", "limit", "early"
]


class _ResponseError(DugongError):
    def __init__(self, message: str, response: HTTPResponse | None = None) -> None:
        self.response = response
        super().__init__(message)


class InvalidResponse(_ResponseError):
    """The server sent data that HTTP/1.1 does not allow, or that is ambiguous or exceeds a limit.

    Attributes:
        response: the `dugong.HTTPResponse` whose head had been parsed, or ``None``.
        part: the invalid part, one of these strings. ``status-line``: the status line, or the
            first bytes are not HTTP (or SOCKS). ``head``: a field line, or a later message of a
            SOCKS proxy. ``framing``: the fields do not determine where the body ends. ``chunk``: a
            chunk's size line, or the end of its data. ``trailer``: the trailer section.
            ``coding``: the data do not match their content coding. ``limit``: a limit is exceeded.
            ``early``: the response arrived before its request was sent.
    """

    def __init__(
        self, message: str, response: HTTPResponse | None = None, *, part: Part = "head"
    ) -> None:
        self.part: Part = part
        super().__init__(message, response)


class UnsupportedResponse(_ResponseError):
    """The server sent a valid response that this client does not support.

    Examples are a transfer coding other than chunked, another protocol version, and an upgrade
    that was not requested.

    Attributes:
        response: the `dugong.HTTPResponse` whose head had been parsed, or ``None``.
    """


class InvalidRequest(DugongError, ValueError):
    """An argument has a value that is not valid. Nothing was sent.

    The message names the argument, the value (unless that may be a secret), and what to pass
    instead.
    """


class StateError(DugongError):
    """The call is not allowed in this state of the connection. Nothing was sent or read."""


class ExcessBodyData(DugongError):
    """More body data was given than announced. Nothing of that call was sent."""


class BodyChanged(DugongError, ValueError):
    """A file shrank or grew while it was being sent. The connection is broken."""


class DigestMismatch(DugongError, ValueError):
    """A body does not have the digest that its fields announce (RFC 9530)."""


class RedirectError(DugongError):
    """A redirect is not followed: its target is not valid or not allowed, or there are too many.

    Attributes:
        response: the response that redirects, which is closed; ``None`` if it was left out.
    """

    def __init__(self, message: str, response: Any = None) -> None:
        self.response = response
        super().__init__(message)


class StatusError(DugongError):
    """A response has an error status: 4xx or 5xx (RFC 9110 sections 15.5 and 15.6).

    Attributes:
        status: the status code, an `int`.
        reason: the reason phrase, a `str`.
        url: the URL of the request, without user information.
        response: the response, which is closed; ``None`` if it was left out.
        body: the beginning of the response's body, at most 64 KiB of `bytes`.
    """

    def __init__(
        self, status: int, reason: str, url: str, response: Any = None, body: bytes = b""
    ) -> None:
        self.status = status
        self.reason = reason
        self.url = url
        self.response = response
        self.body = body
        super().__init__(f"{f'{status} {reason}'.rstrip()} for {url}")


def mark_as_callers(exc: BaseException) -> None:
    """Note that a callable of the caller's has raised *exc*.

    By the time it reaches the caller again, it must not have been changed, and nothing may have
    been retried because of it, even if it looks like an error of the network.
    """
    exc._is_callers = True  # type: ignore[attr-defined]


def is_callers(exc: BaseException) -> bool:
    """Return whether *exc* was marked by `mark_as_callers`."""
    return getattr(exc, "_is_callers", False) is True


def add_address(exc: DugongError | OSError, where: str) -> None:
    """Add the destination to the message of *exc*, which was raised while connecting.

    The class, `errno` and `strerror` do not change. The exception is the `strerror` of an
    `ssl.SSLError`, because its message shows nothing else.

    Args:
        exc: the exception.
        where: the destination, as `Dialer.where` describes it.
    """
    if is_callers(exc):
        return
    text = f" (connecting to {where})"
    if isinstance(exc, _NameError):
        if not where.startswith(exc.name):  # the failed name is that of the proxy
            exc._where = text
    elif isinstance(exc, OSError) and exc.errno is not None and type(exc).__str__ is _SYSTEM_STR:
        if exc.filename is None:
            exc.filename = where  # errors of the system show it after their text
    elif exc.args and isinstance(exc.args[-1], str):
        message = exc.args[-1] + text
        exc.args = (*exc.args[:-1], message)
        if isinstance(exc, OSError) and exc.strerror is not None:
            exc.strerror = message


_SYSTEM_STR = OSError.__str__


#: Errors of the system that may be transient.
_TEMPORARY_ERRNOS = frozenset(
    getattr(errno, name)
    for name in (
        "EAGAIN", "EINTR", "ENETDOWN", "ENETUNREACH", "ENETRESET", "ECONNABORTED", "ECONNRESET",
        "ECONNREFUSED", "ENOTCONN", "ESHUTDOWN", "EPIPE", "ETIMEDOUT", "EHOSTDOWN",
        "EHOSTUNREACH", "ENOBUFS",
    )
    if hasattr(errno, name)
)  # fmt: skip

#: Status codes with which proxies refuse a tunnel while the server is temporarily unreachable.
_TEMPORARY_TUNNEL_STATUSES = frozenset({502, 503, 504})


#: TLS alerts that reject a certificate, the protocol version or the parameters (RFC 8446 section
#: 6.2, and those of earlier versions). A retry with the same configuration gets the same alert.
_REJECTIONS = frozenset({
    "handshake_failure", "no_certificate", "bad_certificate", "unsupported_certificate",
    "certificate_revoked", "certificate_expired", "certificate_unknown", "illegal_parameter",
    "unknown_ca", "access_denied", "decode_error", "decrypt_error", "export_restriction",
    "protocol_version", "insufficient_security", "inappropriate_fallback", "missing_extension",
    "unsupported_extension", "certificate_unobtainable", "unrecognized_name",
    "bad_certificate_status_response", "bad_certificate_hash_value", "unknown_psk_identity",
    "certificate_required", "no_application_protocol",
})  # fmt: skip

#: The other fatal alerts. They report damaged data, or a failure of the server that is "unrelated
#: to the peer" (RFC 8446 section 6.2). A retry may succeed.
_FAILURES = frozenset({
    "unexpected_message", "bad_record_mac", "decryption_failed", "record_overflow",
    "decompression_failure", "internal_error", "user_canceled", "no_renegotiation",
})  # fmt: skip

#: OpenSSL's name of an alert, in the attribute `reason` or, if Python does not know the reason, in
#: the message. Examples: TLSV13_ALERT_CERTIFICATE_REQUIRED, TLSV1_UNRECOGNIZED_NAME, "ssl/tls alert
#: unknown ca".
_ALERT = re.compile(r"(?:SSLV3|TLSV1|TLSV13|SSL/TLS)[_ ](?:ALERT[_ ])?([A-Z_ ]+)", re.IGNORECASE)


def tls_alert(exc: BaseException) -> str | None:
    """Return the name of the fatal TLS alert that *exc* itself reports; ``None`` if it has none."""
    if isinstance(exc, ConnectionClosed):
        return exc.alert
    ssl = sys.modules.get("ssl")  # there is no SSLError if the module was not imported
    if ssl is None or not isinstance(exc, ssl.SSLError):
        return None
    match = _ALERT.search(getattr(exc, "reason", None) or str(exc))
    if match is None:
        return None
    name = match[1].strip().lower().replace(" ", "_").replace("cancelled", "canceled")
    return name if name in _REJECTIONS or name in _FAILURES else None


def _alert_behind(exc: BaseException | None) -> str | None:
    """Return the TLS alert that *exc* or one of its causes reports, or ``None``.

    ``__context__`` counts as a cause only for exceptions of a caller's own class, which may be
    raised while another is handled. An error of ours or of the system has its own cause. Example:
    a caller retries in the handler of a first failure, and the second attempt fails. The context
    of the second error is the first, but the alert of the first is not the reason for the second.
    """
    seen: set[int] = set()
    while exc is not None and id(exc) not in seen:
        seen.add(id(exc))
        if (alert := tls_alert(exc)) is not None:
            return alert
        has_own_cause = isinstance(exc, DugongError) or getattr(exc, "errno", None) is not None
        context = None if has_own_cause or exc.__suppress_context__ else exc.__context__
        exc = exc.__cause__ or context
    return None


def is_temp_network_error(exc: BaseException) -> bool:
    """Return whether *exc* is a transient network error, so that a retry may succeed.

    True for every `ConnectionError` and `TimeoutError` (including dugong's own), `DNSUnavailable`,
    `InterruptedError`, unreachable hosts and networks, TLS connections that ended early, and
    tunnels refused with 502, 503 or 504 (also where this stands for the reply of a SOCKS proxy).
    False for other refused tunnels, `HostnameNotResolvable`, certificate errors, protocol errors
    and misuse.

    Also false for any exception whose cause is a fatal TLS alert that rejects the certificate, the
    protocol version or the parameters (RFC 8446 section 6.2). In TLS 1.3, such an alert may arrive
    after the handshake, and is reported as a `ConnectionClosed`. Other alerts, such as
    ``internal_error``, count as transient.

    This does not mean that the request can be sent again: see `DugongError.safe_to_retry`.
    """
    alert = _alert_behind(exc)
    if alert in _REJECTIONS:
        return False
    if isinstance(exc, TunnelRefused):
        return exc.status in _TEMPORARY_TUNNEL_STATUSES
    if isinstance(exc, (ConnectionError, TimeoutError, InterruptedError, DNSUnavailable)):
        return True
    ssl = sys.modules.get("ssl")
    if ssl is not None and isinstance(exc, ssl.SSLError):
        # The errno is OpenSSL's, not the system's, and the class differs in Python 3.11 to 3.13.
        return (
            alert is not None
            or isinstance(exc, (ssl.SSLEOFError, ssl.SSLZeroReturnError))
            or getattr(exc, "reason", None) == "UNEXPECTED_EOF_WHILE_READING"
        )
    return isinstance(exc, OSError) and exc.errno in _TEMPORARY_ERRNOS
