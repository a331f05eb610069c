"""Checks of arguments that only the transport uses: sockets, TLS contexts, system addresses."""

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

#: Bytes of ``sun_path``. Systems other than Linux follow BSD.
_MAX_PATH = 108 if sys.platform == "linux" else 104

#: The integers that `socket.socket.setsockopt` accepts: those of a C ``int``.
_C_INT = range(-(2**31), 2**31)


def check_context(context: Any, what: str = "ssl_context") -> ssl.SSLContext:
    """Return a context for TLS connections, checked.

    Args:
        context: the argument.
        what: its name, for messages.

    Raises:
        TypeError: *context* is not an `ssl.SSLContext`.
        InvalidRequest: it is a context for servers, or it accepts truncated data as complete.
    """
    if isinstance(context, type) or not callable(getattr(context, "wrap_bio", None)):
        raise TypeError(
            f"{what} must be an ssl.SSLContext, such as ssl.create_default_context(), "
            f"or None, not {context if isinstance(context, bool) else type(context).__name__}"
        )
    # The constants come from the context's own enums instead of the module ssl: imports fail while
    # the interpreter shuts down, and connections may be used then.
    protocol = getattr(context, "protocol", None)
    if protocol is not None and protocol == getattr(type(protocol), "PROTOCOL_TLS_SERVER", None):
        raise InvalidRequest(f"{what} is for servers: pass ssl.create_default_context()")
    checked: ssl.SSLContext = context
    check_truncation(checked, what)
    return checked


def check_truncation(context: ssl.SSLContext, what: str = "ssl_context") -> None:
    """Check that a context does not accept truncated data as complete.

    Raises:
        InvalidRequest: it does.
    """
    options = getattr(context, "options", 0)
    if options & getattr(type(options), "OP_IGNORE_UNEXPECTED_EOF", 0):
        raise InvalidRequest(
            f"{what} has the option OP_IGNORE_UNEXPECTED_EOF, which hides truncation: clear it"
        )


def check_unix_socket(path: Any) -> str | bytes:
    """Return the path of a Unix socket, checked. On Linux, a leading NUL marks an abstract socket.

    Raises:
        TypeError: *path* is not a path.
        InvalidRequest: it is empty or too long, or has a NUL inside, or cannot be encoded.
    """
    if not isinstance(path, (str, bytes, os.PathLike)):
        raise TypeError(f"unix_socket must be a path, not {type(path).__name__}")
    checked: str | bytes = os.fspath(path)
    try:
        encoded = os.fsencode(checked)
    except UnicodeEncodeError:
        raise InvalidRequest(f"unix_socket {checked!r} cannot be encoded as a path") from None
    is_abstract = encoded.startswith(b"\0") and sys.platform == "linux"
    if not encoded or b"\0" in encoded[is_abstract:]:
        raise InvalidRequest(
            f"unix_socket must be a path that is not empty and has no NUL, not {checked!r}"
        )
    if len(encoded) + (not is_abstract) > _MAX_PATH:  # the system adds a NUL
        raise InvalidRequest(
            f"unix_socket is longer than {_MAX_PATH - 1} bytes, the limit for a path"
        )
    return checked


def check_source_address(address: Any) -> tuple[str, int]:
    """Return an address to connect from. An empty host or port 0 lets the system choose.

    Raises:
        TypeError: *address*, or a part of it, has the wrong type.
        InvalidRequest: *address* is not a pair, or a part of it is not valid.
    """
    host, port = pair(address, "source_address")
    host = exactly_str(host, "the host of source_address")
    return (
        check_host(host, "the host of source_address") if host else host,
        check_port(port, "the port of source_address", lowest=0),
    )


def check_sock(sock: Any) -> socket.socket:
    """Return a socket to take over, checked.

    Raises:
        TypeError: *sock* is not a socket.
        InvalidRequest: it is closed, is not a stream socket, or already has TLS.
    """
    if not callable(getattr(sock, "setblocking", None)):
        raise TypeError(f"sock must be a connected socket, not {type(sock).__name__}")
    ssl = sys.modules.get("ssl")  # there is no SSLSocket if the module was not imported
    if ssl is not None and isinstance(sock, ssl.SSLSocket):
        raise InvalidRequest("sock already has TLS: pass a plain socket and ssl_context=")
    if sock.fileno() < 0:
        raise InvalidRequest("sock is closed: pass a connected socket")
    if sock.type != socket.SOCK_STREAM:
        raise InvalidRequest(f"sock must be a connected stream socket, not one of type {sock.type}")
    checked: socket.socket = sock
    return checked


def check_options(options: Iterable[SocketOption]) -> tuple[SocketOption, ...]:
    """Return the argument *socket_options* as a tuple.

    Raises:
        TypeError: *options* is not an iterable of tuples (level, option, value).
        InvalidRequest: a number is too large.
    """
    form = (
        "socket_options must be a list of tuples (level, option, value), "
        "where value is int or bytes"
    )
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
