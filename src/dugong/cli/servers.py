"""Connections to servers: creating them, explaining their failures, and retrying."""

from __future__ import annotations

import argparse
import errno
import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from ..connection.blocking import HTTPConnection
from ..connection.connection import Connection
from ..errors import DugongError, is_temp_network_error
from ..protocol.proxy import parse_proxy
from ..transport.connect import IN_PROXY_TLS
from .arguments import Document
from .output import EnvironmentFailure, Failure, complain, has_extra, is_terminal
from .refusals import Refusal

if TYPE_CHECKING:
    import ssl

#: OpenSSL's codes for certificates with an unknown authority (X509_V_ERR_…).
_NO_AUTHORITY = frozenset({18, 19, 20, 21})

#: The longest delay between two attempts, in seconds.
_LONGEST_DELAY = 60.0


class RetryContext(Protocol):
    """The type of stamina's retry contexts."""

    def __iter__(self) -> Iterator[AbstractContextManager[object]]: ...

    def __aiter__(self) -> AsyncIterator[AbstractContextManager[object]]: ...


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

    file = os.environ.get("SSL_CERT_FILE")
    if file and (reason := _unusable(file, is_directory=False)):
        raise EnvironmentFailure(f"cannot read {file}, which SSL_CERT_FILE names: {reason}")
    directories = [name for name in os.environ.get("SSL_CERT_DIR", "").split(os.pathsep) if name]
    reasons = [_unusable(name, is_directory=True) for name in directories]
    if reasons and all(reasons):  # lists for several systems name directories that do not exist
        names = os.pathsep.join(directories)
        raise EnvironmentFailure(f"cannot read {names}, which SSL_CERT_DIR names: {reasons[0]}")
    try:
        return ssl.create_default_context()
    except OSError as exc:
        if not (log := os.environ.get("SSLKEYLOGFILE")):
            raise
        reason = exc.strerror or str(exc)
        message = f"cannot write to {log}, which SSLKEYLOGFILE names: {reason}"
        raise EnvironmentFailure(message) from exc


def _unusable(name: str, *, is_directory: bool) -> str | None:
    """Return why a file or a directory cannot be read, ``None`` if it can.

    This does not open it, because it may be a pipe.
    """
    path = Path(name)
    try:
        path.stat()
    except OSError as exc:
        return exc.strerror
    if path.is_dir() != is_directory:
        return os.strerror(errno.ENOTDIR if is_directory else errno.EISDIR)
    if not os.access(path, os.X_OK if is_directory else os.R_OK):
        return os.strerror(errno.EACCES)
    return None


def connect(conn: HTTPConnection, args: argparse.Namespace) -> None:
    """Connect, unless already connected.

    Raises:
        Failure: connecting failed with an error of the system, which the message explains.
        DugongError: connecting failed otherwise.
    """
    try:
        conn.connect()
    except DugongError:
        raise
    except OSError as exc:
        raise Failure(why(exc, conn, args)) from exc


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


# Retries.


def is_temporary(exc: BaseException) -> bool:
    """Return whether a retry may succeed after *exc*, or after the cause of a `Failure`."""
    if isinstance(exc, Failure):
        return exc.__cause__ is not None and is_temp_network_error(exc.__cause__)
    return is_temp_network_error(exc)


def attempts(
    args: argparse.Namespace,
    label: str,
    may_retry: Callable[[Exception], bool] = is_temporary,
) -> Iterator[AbstractContextManager[object]]:
    """Yield attempts, with growing delays between them, until one succeeds.

    ::

        for attempt in attempts(args, url):
            with attempt:
                fetch(url)

    After a `Refusal`, the next attempt waits until its earliest time. The last attempt raises its
    exception. So does any attempt that fails with an exception that is not temporary. Without the
    extra, there is only one attempt.

    Args:
        args: the arguments, with those of `add_retries`.
        label: describes the operation in messages on a terminal.
        may_retry: returns whether to retry after an exception.
    """
    if args.retries == 0 or not has_extra():
        yield nullcontext()
        return
    refusal: Refusal | None = None

    def noting(exc: Exception) -> bool:
        nonlocal refusal
        refusal = exc if isinstance(exc, Refusal) else None
        return may_retry(exc)

    for attempt in retry_context(args, label, noting):
        if refusal is not None:
            refusal.wait()
        yield attempt


def retry_context(
    args: argparse.Namespace,
    label: str | None,
    may_retry: Callable[[Exception], bool] = is_temporary,
) -> RetryContext:
    """Return stamina's retry context, for commands that require the extra.

    The context also supports ``async for``. If *label* is ``None``, no messages are printed: that
    is for commands with many concurrent operations.
    """
    import stamina
    from stamina.instrumentation import RetryDetails, set_on_retry_hooks

    def tell(details: RetryDetails) -> None:
        if label is not None and is_terminal(2):
            exc = details.caused_by
            delay = max(details.wait_for, exc.delay if isinstance(exc, Refusal) else 0.0)
            complain(f"{label}: {exc}; trying again in {delay:.1f} s")

    set_on_retry_hooks([tell])
    return stamina.retry_context(
        on=may_retry,
        attempts=args.retries + 1,
        timeout=None,
        wait_initial=args.retry_delay,
        wait_max=max(_LONGEST_DELAY, args.retry_delay),
        wait_jitter=args.retry_delay / 2,
    )
