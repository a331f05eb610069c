"""Connections to servers: creating them, and explaining their failures."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from ..connection.blocking import HTTPConnection
from ..connection.connection import Connection
from ..errors import DugongError
from ..protocol.proxy import parse_proxy
from ..transport.connect import IN_PROXY_TLS
from . import environment
from .arguments import Document

if TYPE_CHECKING:
    import ssl

#: OpenSSL's codes for certificates with an unknown authority (X509_V_ERR_…).
_NO_AUTHORITY = frozenset({18, 19, 20, 21})


def connection(document: Document, args: argparse.Namespace) -> HTTPConnection:
    """Return a connection for *document*, by the route in *args* (`add_route`)."""
    return HTTPConnection(
        document.host,
        document.port,
        tls_context() if document.tls else None,
        args.proxy,
        timeout=args.timeout,
        unix_socket=args.unix_socket,
    )


def tls_context() -> ssl.SSLContext:
    """Return a context that trusts the system's authorities, or those that the environment names.

    Raises:
        EnvironmentFailure: the authorities cannot be read. OpenSSL ignores that error, and then
            rejects every certificate. Or the key log cannot be written.
    """
    import ssl

    environment.check_files()
    try:
        return ssl.create_default_context()
    except OSError as exc:
        environment.check_error(exc)
        raise


def authority(host: str, port: int) -> str:
    """Return host and port in the form that a URL uses."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def why(exc: BaseException, conn: Connection, args: argparse.Namespace) -> str:
    """Return a message that explains why an operation of *conn* failed.

    If the remedy is not obvious, the message has a hint.

    Args:
        exc: a `DugongError`, or an error of the system while connecting.
        conn: the connection.
        args: the arguments that were passed to `connection`.
    """
    if isinstance(exc, DugongError) or not isinstance(exc, OSError):
        return str(exc)
    server = authority(conn.hostname, conn.port)
    proxy = None if args.proxy is None else parse_proxy(args.proxy)
    if proxy is not None and IN_PROXY_TLS in str(exc):
        server = f"the proxy {authority(proxy.host, proxy.port)}"
    reason: str | None = getattr(exc, "reason", None)  # of an ssl.SSLError
    if reason == "CERTIFICATE_VERIFY_FAILED":
        code: int = getattr(exc, "verify_code", 0)
        message: str = getattr(exc, "verify_message", "")
        hint = (
            " (to trust its authority, set SSL_CERT_FILE to a file of certificates)"
            if code in _NO_AUTHORITY
            else ""
        )
        return f"the certificate of {server} is not trusted: {message}{hint}"
    if reason in ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE"):
        return f"{server} does not speak TLS: try http:// instead of https://"
    if reason is not None:
        return f"cannot establish a TLS connection to {server}: {reason.replace('_', ' ').lower()}"
    if proxy is not None:
        server = f"the proxy {authority(proxy.host, proxy.port)}"
    return f"cannot connect to {args.unix_socket or server}: {exc.strerror or exc}"
