"""Which exception of httpx stands for one of ours. The texts are in the style of httpx."""

from __future__ import annotations

import socket

from ...errors import (
    BodyChanged,
    ConnectionClosed,
    ConnectionTimedOut,
    DNSUnavailable,
    ExcessBodyData,
    HostnameNotResolvable,
    InvalidRequest,
    InvalidResponse,
    TunnelRefused,
    UnsupportedResponse,
    is_callers,
)

#: From `ConnectionTimedOut.phase`.
_TIMEOUTS = {
    "pool": "PoolTimeout",
    "resolve": "ConnectTimeout",
    "connect": "ConnectTimeout",
    "tls": "ConnectTimeout",
    "send": "WriteTimeout",
    "response": "ReadTimeout",
    "body": "ReadTimeout",
}

#: httpx shows what the system says, and programs look for these words.
_UNKNOWN_NAME = f"[Errno {int(socket.EAI_NONAME)}] Name or service not known"
_NO_DNS = f"[Errno {int(socket.EAI_AGAIN)}] Temporary failure in name resolution"


def translated(exc: BaseException) -> tuple[str, str] | None:
    """Return the name of httpx's exception for *exc*, and its text.

    Returns:
        ``None`` if *exc* passes through: it is the caller's own, or httpx has none for it.
    """
    if is_callers(exc):
        return None
    connecting = getattr(exc, "while_connecting", False)
    match exc:
        case ConnectionTimedOut():
            default = "ConnectTimeout" if connecting else "ReadTimeout"
            return _TIMEOUTS.get(exc.phase or "", default), f"timed out: {exc}"
        case TunnelRefused():
            return "ProxyError", f"{exc.status} {exc.reason}".rstrip()
        case HostnameNotResolvable():
            return "ConnectError", f"{_UNKNOWN_NAME}: {exc}"
        case DNSUnavailable():
            return "ConnectError", f"{_NO_DNS}: {exc}"
        case InvalidResponse() | UnsupportedResponse():
            return "RemoteProtocolError", str(exc)
        case InvalidRequest() | ExcessBodyData() | BodyChanged():
            return "LocalProtocolError", str(exc)
        case TimeoutError() if connecting:  # of the system
            return "ConnectTimeout", f"timed out: {exc}"
        case ConnectionClosed() if connecting and exc.at_proxy:  # instead of opening the tunnel
            return "ProxyError", str(exc)
        case OSError() if connecting:
            return "ConnectError", str(exc)
        case ConnectionClosed():
            return _ended(exc)
    return None


def _ended(exc: ConnectionClosed) -> tuple[str, str]:
    """Return the exception for the end of an established connection."""
    cause = exc.__cause__
    if isinstance(cause, OSError):
        return ("WriteError" if isinstance(cause, BrokenPipeError) else "ReadError"), str(cause)
    if exc.response_started:
        text = f"peer closed connection without sending complete message body ({exc})"
        return "RemoteProtocolError", text
    return "RemoteProtocolError", "Server disconnected without sending a response."


def is_retried(exc: BaseException) -> bool:
    """Return whether *retries* of httpx's transports applies: connecting has failed."""
    found = translated(exc)
    return found is not None and found[0] in ("ConnectError", "ConnectTimeout")
