"""SOCKS version 5, the client's side, without I/O (RFC 1928, RFC 1929).

States of a handshake::

    METHOD ──► CREDENTIALS ──► REPLY ──► OPEN
       └─────────────────────────┘

METHOD
    The client has offered methods of authentication, and awaits the proxy's choice.
CREDENTIALS
    The proxy has chosen user name and password. The client has sent them, and awaits the verdict.
REPLY
    The client has sent the command CONNECT, and awaits the reply.
OPEN
    The tunnel is open. Every further byte belongs to the server.

Rules:

1. *No authentication* is always offered, and user name and password only if there are any. Any
   other choice of the proxy is an error.
2. A server behind a tunnel says nothing before its client does: both HTTP and TLS begin with the
   client. So a byte after the end of a message is an error in every state, as it is after a
   response to CONNECT.
3. A refusal is complete with its code. Proxies send the rest of the message, an address without
   meaning, in different forms or not at all.
4. The reserved byte and the bound address of a reply have no meaning for CONNECT. Only the length
   of the address counts.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum, auto

from ..errors import InvalidRequest, InvalidResponse, TunnelRefused
from . import grammar
from .headers import Headers

#: The port that RFC 1928 assigns.
SOCKS_PORT = 1080

#: The most bytes of a user name, and of a password: each has one byte for its length (RFC 1929).
MAX_CREDENTIAL = 255

#: The longest message of a proxy: a reply with a name of 255 bytes.
MAX_REPLY = 4 + 1 + 255 + 2

_VERSION = 5
_CREDENTIALS_VERSION = 1
_NO_AUTHENTICATION, _USER_AND_PASSWORD, _NO_ACCEPTABLE_METHOD = 0, 2, 255
_CONNECT = 1
_IPV4, _NAME, _IPV6 = 1, 3, 4

#: The reply codes (RFC 1928 section 6): their meaning, and the HTTP status code that means the
#: same. Whether a refusal may be transient follows from that status, as for an HTTP proxy. Code 1
#: is a failure of the proxy itself and says no more, like 502. Codes 3 to 6 correspond to errors
#: that are transient without a proxy, too.
_REPLIES: dict[int, tuple[int, str]] = {
    1: (502, "general failure"),
    2: (403, "not allowed by the rules of the proxy"),
    3: (502, "network unreachable"),
    4: (502, "host unreachable"),
    5: (502, "connection refused"),
    6: (504, "TTL expired"),
    7: (501, "command not supported"),
    8: (501, "address type not supported"),
}

#: The status of a reply code that is not assigned.
_UNASSIGNED = (500, "an unassigned code")

#: The status of a refused authentication (RFC 9110 section 15.5.8).
_UNAUTHENTICATED = 407


class State(Enum):
    """The states of a handshake: see the module's docstring."""

    METHOD = auto()
    CREDENTIALS = auto()
    REPLY = auto()
    OPEN = auto()


class SocksHandshake:
    """Asks a SOCKS proxy for a tunnel to a server.

    Send `output` to the proxy, whenever it is not empty, and pass what arrives to `received`, until
    `is_open`.

    Args:
        host: the server's name, which the proxy resolves, or its address.
        port: its port.
        credentials: user name and password, ``None`` if there are none.

    Attributes:
        output: the bytes to send now.
    """

    __slots__ = ("_buffer", "_command", "_credentials", "_state", "output")

    def __init__(self, host: str, port: int, credentials: tuple[bytes, bytes] | None) -> None:
        methods = [_NO_AUTHENTICATION] + ([_USER_AND_PASSWORD] if credentials is not None else [])
        self._credentials = credentials
        self._command = bytes([_VERSION, _CONNECT, 0]) + _address(host) + port.to_bytes(2, "big")
        self._state = State.METHOD
        self._buffer = b""
        self.output = bytes([_VERSION, len(methods), *methods])

    @property
    def is_open(self) -> bool:
        """Whether the tunnel is open."""
        return self._state is State.OPEN

    def received(self, data: bytes) -> None:
        """Process bytes from the proxy, at least one.

        Raises:
            TunnelRefused: the proxy refuses the tunnel, or the user name and password.
            InvalidResponse: it does not speak SOCKS 5, or violates the protocol.
        """
        self.output = b""
        self._buffer += data
        rest = _TRANSITIONS[self._state](self, self._buffer)
        if rest is None:
            return  # the message is not complete
        if rest:
            raise InvalidResponse("the proxy sent data before it was asked for any", part="early")
        self._buffer = b""

    def _method(self, data: bytes) -> bytes | None:
        if data[0] != _VERSION:
            raise InvalidResponse(
                f"the proxy does not speak SOCKS 5: its answer begins with the byte {data[0]:#04x}",
                part="status-line",
            )
        if len(data) < 2:
            return None
        method = data[1]
        if method == _NO_ACCEPTABLE_METHOD:
            reason = "no common method of authentication"
            if self._credentials is None:
                reason = "authentication required"
            raise _refused(_UNAUTHENTICATED, method, reason)
        if method == _NO_AUTHENTICATION:
            self._go_on(State.REPLY, self._command)
        elif method == _USER_AND_PASSWORD and self._credentials is not None:
            user, password = self._credentials
            message = bytes([_CREDENTIALS_VERSION, len(user)]) + user
            self._go_on(State.CREDENTIALS, message + bytes([len(password)]) + password)
        else:
            raise InvalidResponse(
                f"the proxy chose the method of authentication {method}, which was not offered",
                part="head",
            )
        return data[2:]

    def _verdict(self, data: bytes) -> bytes | None:
        if data[0] != _CREDENTIALS_VERSION:
            raise InvalidResponse(
                "the proxy's answer to user name and password is not valid", part="head"
            )
        if len(data) < 2:
            return None
        if data[1] != 0:
            raise _refused(_UNAUTHENTICATED, data[1], "user name or password rejected")
        self._go_on(State.REPLY, self._command)
        return data[2:]

    def _reply(self, data: bytes) -> bytes | None:
        if data[0] != _VERSION:
            raise InvalidResponse("the proxy's reply is not a SOCKS 5 reply", part="head")
        if len(data) < 2:
            return None
        if data[1] != 0:
            status, reason = _REPLIES.get(data[1], _UNASSIGNED)
            raise _refused(status, data[1], reason)
        if len(data) < 5:
            return None
        size = {_IPV4: 4, _NAME: 1 + data[4], _IPV6: 16}.get(data[3])
        if size is None:
            raise InvalidResponse(
                f"the proxy's reply has an unknown type of address, {data[3]}", part="head"
            )
        end = 4 + size + 2
        if len(data) < end:
            return None
        self._go_on(State.OPEN, b"")
        return data[end:]

    def _go_on(self, state: State, output: bytes) -> None:
        self._state = state
        self.output = output


#: What each state does with the bytes of a message. It returns what follows the message, or
#: ``None`` while the message is not complete.
_TRANSITIONS: dict[State, Callable[[SocksHandshake, bytes], bytes | None]] = {
    State.METHOD: SocksHandshake._method,
    State.CREDENTIALS: SocksHandshake._verdict,
    State.REPLY: SocksHandshake._reply,
}


def _refused(status: int, code: int, reason: str) -> TunnelRefused:
    return TunnelRefused(status, reason, Headers([]), reply=code)


def _address(host: str) -> bytes:
    """Return an address or name as in a request (RFC 1928 section 5).

    Args:
        host: the result of `check_host`. The zone of an IPv6 address has no meaning for a proxy.
    """
    if grammar.IPV4.fullmatch(host):
        return bytes([_IPV4, *map(int, host.split("."))])
    if ":" in host:
        from ipaddress import IPv6Address  # imported only for such an address

        return bytes([_IPV6]) + IPv6Address(host.partition("%")[0]).packed
    return bytes([_NAME, len(host)]) + host.encode("ascii")


def check_credentials(user: bytes, password: bytes) -> tuple[bytes, bytes]:
    """Return user name and password, checked.

    RFC 1929 wants at least one byte in both. An empty password is accepted nevertheless: proxies
    do so, and some users give a user name alone, to keep their tunnels apart.

    Raises:
        InvalidRequest: the user name is empty, or one of them is too long.
    """
    if not user or max(len(user), len(password)) > MAX_CREDENTIAL:
        raise InvalidRequest(
            f"proxy must have a user name of 1 to {MAX_CREDENTIAL} bytes for SOCKS, and a password "
            f"of at most {MAX_CREDENTIAL}"
        )
    return user, password
