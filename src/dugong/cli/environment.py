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

_VARIABLES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "SSLKEYLOGFILE")


def names_files() -> bool:
    """Return whether the environment names files for TLS."""
    return any(os.environ.get(name) for name in _VARIABLES)


def check(event: Event) -> None:
    """Check the files when a TLS connection begins.

    Raises:
        EnvironmentFailure: one cannot be used.
    """
    if event.name not in ("resolved", "connecting") or event.origin.scheme != "https":
        return
    file, directories, log = (os.environ.get(name, "") for name in _VARIABLES)
    if file and (reason := _unusable(file, is_directory=False)):
        raise EnvironmentFailure(f"cannot read {file}, which SSL_CERT_FILE names: {reason}")
    reasons = [_unusable(each, is_directory=True) for each in directories.split(os.pathsep) if each]
    if reasons and all(reasons):  # lists for several systems name directories that do not exist
        raise EnvironmentFailure(
            f"cannot read {directories}, which SSL_CERT_DIR names: {reasons[0]}"
        )
    try:
        if log:
            Path(log).open("ab").close()
    except OSError as exc:
        message = f"cannot write to {log}, which SSLKEYLOGFILE names: {exc.strerror}"
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
