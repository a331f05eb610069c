"""From dugong's exceptions to those of urllib3.

======================================================  ==========================================
while connecting
======================================================  ==========================================
a time limit                                            ``ConnectTimeoutError``
the name has no address                                 ``NameResolutionError``
refused, unreachable                                    ``NewConnectionError``
TLS: certificate, version, alert                        ``SSLError``
the connection ended                                    ``ProtocolError``
any of these before the proxy has opened its tunnel     ``ProxyError``, around the other one
======================================================  ==========================================

======================================================  ==========================================
later
======================================================  ==========================================
a time limit                                            ``ReadTimeoutError``
the connection ended                                    ``ProtocolError``
a fatal TLS alert                                       ``SSLError``
a response that is not valid                            ``InvalidHeader`` if its length is
                                                        ambiguous, else ``ProtocolError``
======================================================  ==========================================

A time limit for the wait for a free connection is ``EmptyPoolError``, unless it is the deadline.
Arguments that are not valid raise dugong's own exceptions, which are also a `ValueError` or
`TypeError`: urllib3 raises these, too. Texts are those of urllib3, followed by dugong's where that
adds detail. The original exception is the ``__cause__``.
"""

from __future__ import annotations

import http.client
import socket
import ssl
from typing import TYPE_CHECKING, Any

from urllib3 import exceptions as theirs
from urllib3.util.ssl_match_hostname import CertificateError

from ...errors import (
    ConnectionClosed,
    ConnectionTimedOut,
    DNSUnavailable,
    HostnameNotResolvable,
    InvalidRequest,
    InvalidResponse,
    StateError,
    TunnelRefused,
    UnsupportedResponse,
    tls_alert,
)
from ...transport.poll import CONNECTING

if TYPE_CHECKING:
    from .pool import HTTPPool

#: What ends a connection while it is being made, but only after the other end has accepted it.
_ENDED = (ConnectionClosed, ConnectionResetError, ConnectionAbortedError, BrokenPipeError)


def translate(
    exc: Exception, pool: HTTPPool, url: str, *, forwards: bool = False
) -> Exception | None:
    """Return urllib3's exception for one of an exchange.

    Args:
        exc: the exception.
        pool: the pool that has made the connection.
        url: the request target, for messages.
        forwards: whether the connection is one to a proxy, which forwards the request.

    Returns:
        The exception to raise instead; *exc* itself if it is urllib3's; ``None`` to raise *exc*.
    """
    if isinstance(exc, theirs.HTTPError):
        return exc
    if isinstance(exc, (InvalidRequest, StateError, TypeError)):
        return None
    connecting = getattr(exc, "while_connecting", False)
    if isinstance(exc, ConnectionTimedOut):
        if exc.phase == "pool" and pool.deadline is None:
            return theirs.EmptyPoolError(pool, f"No free connection in the pool. ({exc})")
        connecting = connecting or exc.phase == "pool" or exc.phase in CONNECTING
    error = _while_connecting(exc, pool) if connecting else _later(exc, pool, url)
    if error is None:
        return None
    error.__cause__ = error.__cause__ or exc
    if connecting and (forwards or getattr(exc, "at_proxy", False)):
        wrapped = theirs.ProxyError("Unable to connect to proxy", error)
        wrapped.__cause__ = error
        return wrapped
    return error


def _while_connecting(exc: Exception, pool: HTTPPool) -> Exception | None:
    conn: Any = pool  # which has no connection; both name the host in messages
    match exc:
        case ConnectionTimedOut():
            return theirs.ConnectTimeoutError(pool, f"Connection to {pool.host} timed out. ({exc})")
        case HostnameNotResolvable() | DNSUnavailable():
            reason = socket.gaierror(socket.EAI_NONAME, str(exc))
            return theirs.NameResolutionError(exc.name, conn, reason)
        case CertificateError() | ssl.SSLError():
            return theirs.SSLError(exc)
        case TunnelRefused():  # as http.client says it
            return OSError(f"Tunnel connection failed: {exc.status} {exc.reason}".rstrip())
        case InvalidResponse() | UnsupportedResponse():
            return theirs.ProtocolError("Connection aborted.", exc)
        case OSError() if isinstance(exc, _ENDED):
            return theirs.ProtocolError("Connection aborted.", exc)
        case OSError():
            message = f"Failed to establish a new connection: {exc}"
            return theirs.NewConnectionError(conn, message)
    return None


def _later(exc: Exception, pool: HTTPPool, url: str) -> Exception | None:
    match exc:
        case ConnectionTimedOut():
            verb = "Write" if exc.phase == "send" else "Read"
            return theirs.ReadTimeoutError(pool, url, f"{verb} timed out. ({exc})")
        case ConnectionClosed():
            return _ended(exc, "Connection aborted.")
        case InvalidResponse(part="framing"):
            return theirs.InvalidHeader(str(exc))
        case InvalidResponse() | UnsupportedResponse() | OSError():
            return theirs.ProtocolError("Connection aborted.", exc)
    return None


def _ended(exc: ConnectionClosed, message: str) -> Exception:
    cause = exc.__cause__
    if isinstance(cause, ssl.SSLError) and tls_alert(cause) is not None:
        return theirs.SSLError(cause)
    if isinstance(cause, OSError):
        return theirs.ProtocolError(message, cause)
    if exc.response_started:
        return theirs.ProtocolError(message, exc)
    # Applications look for this class and text.
    silent = http.client.RemoteDisconnected("Remote end closed connection without response")
    silent.__cause__ = exc
    return theirs.ProtocolError(message, silent)


def in_body(exc: Exception, pool: HTTPPool, received: int, missing: int | None) -> Exception | None:
    """Return urllib3's exception for one that ended the body of a response; ``None`` to raise it.

    Args:
        exc: the exception.
        pool: the pool that has made the connection.
        received: how many bytes of the body were received.
        missing: how many were not, ``None`` if that is unknown.
    """
    match exc:
        case ConnectionTimedOut():
            return theirs.ReadTimeoutError(pool, None, f"Read timed out. ({exc})")
        case ConnectionClosed() if isinstance(exc.__cause__, ssl.SSLError):
            return theirs.SSLError(exc.__cause__)
        case ConnectionClosed() if isinstance(exc.__cause__, OSError):
            return theirs.ProtocolError(f"Connection broken: {exc.__cause__!r}", exc.__cause__)
        case ConnectionClosed():
            short: Any = http.client.IncompleteRead(b"")
            if missing is not None:
                short = theirs.IncompleteRead(received, missing)
            return theirs.ProtocolError(f"Connection broken: {short!r}", short)
        case InvalidResponse() | UnsupportedResponse() | OSError():
            return theirs.ProtocolError(f"Connection broken: {exc!r}", exc)
    return None
