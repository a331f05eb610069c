"""Writing to standard output and standard error, and the errors that can occur."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from importlib.util import find_spec
from io import FileIO
from typing import TextIO

from .. import POLLOUT, PollNeeded

#: The packages that the extra ``cli`` installs.
_EXTRA = ("rich", "selectolax", "ada_url")


class Failure(Exception):
    """The operation failed. The message is for the user."""


class EnvironmentFailure(Exception):
    """The environment of the command is wrong, for all URLs. The message is for the user."""


class OutputFailure(Exception):
    """Standard output cannot be written to. ``__cause__`` is the reason."""


def has_extra() -> bool:
    """Return whether the extra ``cli`` is installed."""
    return all(find_spec(name) for name in _EXTRA)


def write(file: FileIO, data: bytes | memoryview) -> None:
    """Write all of *data*."""
    view = memoryview(data)
    while view:
        written = file.write(view)
        if written is None:  # another process has made the file non-blocking
            PollNeeded(file.fileno(), POLLOUT).poll()
        else:
            view = view[written:]


def print_bytes(data: bytes | memoryview) -> None:
    """Write *data* to standard output.

    Raises:
        OutputFailure: standard output is closed or cannot be written to.
    """
    if sys.stdout is None:
        raise OutputFailure("it is closed")
    try:
        with FileIO(sys.stdout.fileno(), "wb", closefd=False) as file:
            write(file, data)
    except OSError as exc:
        raise OutputFailure(exc.strerror) from exc


def print_line(text: str) -> None:
    """Write a line of text to standard output, without characters that control a terminal.

    Raises:
        OutputFailure: standard output is closed or cannot be written to.
    """
    print_bytes(f"{printable(text)}\n".encode("utf-8", "surrogateescape"))


def flush_stdout() -> None:
    """Flush the text that other modules have printed, such as `argparse`.

    Raises:
        OutputFailure: standard output cannot be written to.
    """
    try:
        sys.stdout.flush()
    except OSError as exc:
        _forget(sys.stdout)
        raise OutputFailure(exc.strerror) from exc


def printable(text: str) -> str:
    """Return *text* with control characters escaped. Text from URLs and servers may have them."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def complain(message: str) -> int:
    """Print one line on standard error. Returns the exit status for a failure: 1."""
    if not is_silent:
        print_note(f"dugong: {message}")
    return 1


def print_note(text: str) -> None:
    """Print one line on standard error."""
    if sys.stderr is not None:
        try:
            print_error(printable(text))
        except OSError:
            _forget(sys.stderr)  # standard error is gone, so no message is possible


#: Whether `complain` prints nothing.
is_silent = False


def _print_error(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


#: Prints a line on standard error. A progress display replaces this while it is shown.
print_error: Callable[[str], None] = _print_error


def is_terminal(fd: int) -> bool:
    """Return whether standard output (*fd* 1) or standard error (2) is a terminal."""
    return os.isatty(fd)


def _forget(stream: TextIO) -> None:
    """Redirect *stream* to the null device, so that the interpreter's flush at exit succeeds."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, stream.fileno())
    os.close(null)


def size(count: int) -> str:
    """Return a number of bytes in human-readable form."""
    value, unit = float(count), "bytes"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if value < 1024:
            break
        value, unit = value / 1024, larger
    return f"{value:.0f} {unit}" if unit == "bytes" else f"{value:.1f} {unit}"
