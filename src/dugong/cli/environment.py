"""The files for TLS that the environment names: they are checked before the first connection.

OpenSSL ignores that it cannot read certificates, and then rejects those of every server.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import TYPE_CHECKING

from .output import EnvironmentFailure

if TYPE_CHECKING:
    from .. import Event

_VARIABLES = ("SSL_CERT_FILE", "SSL_CERT_DIR")


def names_files() -> bool:
    """Return whether the environment names authorities."""
    return any(os.environ.get(name) for name in _VARIABLES)


def check(event: Event) -> None:
    """Check the files when a TLS connection begins. As `check_files`."""
    if event.name in ("resolved", "connecting") and event.origin.scheme == "https":
        check_files()


def check_files() -> None:
    """Check the files.

    Raises:
        EnvironmentFailure: one cannot be read.
    """
    file, directories = (os.environ.get(name, "") for name in _VARIABLES)
    if file and (reason := _unusable(file, is_directory=False)):
        raise EnvironmentFailure(f"cannot read {file}, which SSL_CERT_FILE names: {reason}")
    reasons = [_unusable(each, is_directory=True) for each in directories.split(os.pathsep) if each]
    if reasons and all(reasons):  # lists for several systems name directories that do not exist
        raise EnvironmentFailure(
            f"cannot read {directories}, which SSL_CERT_DIR names: {reasons[0]}"
        )


def check_error(exc: Exception) -> None:
    """Check whether an error is about the key log.

    Raises:
        EnvironmentFailure: it is.
    """
    log = os.environ.get("SSLKEYLOGFILE")
    if log and isinstance(exc, OSError) and exc.filename == log:
        raise EnvironmentFailure(
            f"cannot write to {log}, which SSLKEYLOGFILE names: {exc.strerror}"
        ) from exc


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
