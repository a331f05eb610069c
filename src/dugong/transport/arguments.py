"""Checks of arguments that are sockets, TLS contexts, or addresses in the system's own forms."""

from __future__ import annotations

import os
import socket
import sys
from typing import TYPE_CHECKING, Any

from ..errors import InvalidRequest
from ..protocol.arguments import check_port, exactly_str, shown
from ..protocol.authority import check_host, pair

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterable

    from .race import SocketOption

#: Bytes of ``sun_path``. All but Linux follow BSD.
_MAX_PATH = 108 if sys.platform == "linux" else 104

#: What `socket.socket.setsockopt` takes as an `int`: one of C.
_C_INT = range(-(2**31), 2**31)


def check_context(context: Any) -> ssl.SSLContext:
    """Return a context for TLS connections.

    Raises:
        TypeError: it is no context.
        InvalidRequest: it is a server's, or made to take truncated data for complete.
    """
    if isinstance(context, type) or not callable(getattr(context, "wrap_bio", None)):
        raise TypeError(
            "ssl_context is an ssl.SSLContext, such as ssl.create_default_context(), "
            f"or None, not {context if isinstance(context, bool) else type(context).__name__}"
        )
    # The constants come from the context's own enums: nothing can be imported any more while the
    # interpreter shuts down, and connections are used there.
    protocol, options = getattr(context, "protocol", None), getattr(context, "options", 0)
    if protocol is not None and protocol == getattr(type(protocol), "PROTOCOL_TLS_SERVER", None):
        raise InvalidRequest("ssl_context is for servers: pass ssl.create_default_context()")
    if options & getattr(type(options), "OP_IGNORE_UNEXPECTED_EOF", 0):
        raise InvalidRequest(
            "ssl_context has the option OP_IGNORE_UNEXPECTED_EOF, which hides truncation: clear it"
        )
    checked: ssl.SSLContext = context
    return checked


def check_unix_socket(path: Any) -> str | bytes:
    """Return the path of a unix socket; a leading NUL is Linux's mark of an abstract one.

    Raises:
        TypeError: it is no path.
        InvalidRequest: there is no such path.
    """
    if not isinstance(path, (str, bytes, os.PathLike)):
        raise TypeError(f"unix_socket is a path, not {type(path).__name__}")
    checked: str | bytes = os.fspath(path)
    try:
        encoded = os.fsencode(checked)
    except UnicodeEncodeError:
        raise InvalidRequest(f"unix_socket {checked!r} cannot be encoded as a path") from None
    is_abstract = encoded.startswith(b"\0") and sys.platform == "linux"
    if not encoded or b"\0" in encoded[is_abstract:]:
        raise InvalidRequest(
            f"unix_socket is a path that is not empty and has no NUL, not {checked!r}"
        )
    if len(encoded) + (not is_abstract) > _MAX_PATH:  # the system adds a NUL
        raise InvalidRequest(f"unix_socket is longer than the {_MAX_PATH - 1} bytes of such a path")
    return checked


def check_source_address(address: Any) -> tuple[str, int]:
    """Return an address to connect from. An empty host or the port 0 lets the system choose.

    Raises:
        TypeError: *address*, or a part of it, has the wrong type.
        InvalidRequest: it is not a pair, or a part of it is not valid.
    """
    host, port = pair(address, "source_address")
    host = exactly_str(host, "the host of source_address")
    return (
        check_host(host, "the host of source_address") if host else host,
        check_port(port, "the port of source_address", lowest=0),
    )


def check_sock(sock: Any) -> socket.socket:
    """Return a socket to take over.

    Raises:
        TypeError: it is no socket.
        InvalidRequest: it is closed, of another kind, or has TLS already.
    """
    if not callable(getattr(sock, "setblocking", None)):
        raise TypeError(f"sock is a connected socket, not {type(sock).__name__}")
    ssl = sys.modules.get("ssl")  # who has an SSLSocket has imported it
    if ssl is not None and isinstance(sock, ssl.SSLSocket):
        raise InvalidRequest("sock has TLS already: pass a plain socket, and ssl_context=")
    if sock.fileno() < 0:
        raise InvalidRequest("sock is closed: pass a connected socket")
    if sock.type != socket.SOCK_STREAM:
        raise InvalidRequest(f"sock is a connected stream socket, not one of the type {sock.type}")
    checked: socket.socket = sock
    return checked


def check_options(options: Iterable[SocketOption]) -> tuple[SocketOption, ...]:
    """Return the argument *socket_options* as a tuple.

    Raises:
        TypeError: it is no iterable of such tuples.
        InvalidRequest: a number is too large.
    """
    form = "socket_options is a list of tuples (level, option, value), where value is int or bytes"
    try:
        checked = [(level, option, value) for level, option, value in options]
    except (TypeError, ValueError):
        raise TypeError(f"{form}, not {shown(options)}") from None
    for given in checked:
        numbers = given[:2] if isinstance(given[2], bytes) else given
        if not all(isinstance(number, int) for number in numbers):
            raise TypeError(f"{form}, not {shown(given)}")
        if not all(number in _C_INT for number in numbers):
            raise InvalidRequest(f"a number in socket_options is too large: {shown(given)}")
    return tuple(checked)
