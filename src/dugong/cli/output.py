"""Standard output and standard error: what is written there, and what may go wrong with it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from importlib.util import find_spec
from io import FileIO
from typing import TextIO

from ..transport.poll import POLLOUT, PollNeeded

#: What the extra ``cli`` installs.
_EXTRA = ("rich", "stamina")


class Failure(Exception):
    """What was asked for cannot be done: a message for the user."""


class EnvironmentFailure(Exception):
    """The command's environment is at fault, and not one document: a message for the user."""


class OutputFailure(Exception):
    """Standard output takes no more; ``__cause__`` is why."""


def has_extra() -> bool:
    """Tell whether the extra ``cli`` is installed."""
    return all(find_spec(name) for name in _EXTRA)


def write(file: FileIO, data: bytes | memoryview) -> None:
    """Write all of *data*."""
    view = memoryview(data)
    while view:
        written = file.write(view)
        if written is None:  # somebody has made it non-blocking
            PollNeeded(file.fileno(), POLLOUT).poll()
        else:
            view = view[written:]


def print_bytes(data: bytes | memoryview) -> None:
    """Write *data* to standard output.

    Raises:
        OutputFailure: it takes no more.
    """
    if sys.stdout is None:
        raise OutputFailure("it is closed")
    try:
        with FileIO(sys.stdout.fileno(), "wb", closefd=False) as file:
            write(file, data)
    except OSError as exc:
        raise OutputFailure(exc.strerror) from exc


def print_line(text: str) -> None:
    """Write a line of text to standard output, with nothing in it that moves a terminal.

    Raises:
        OutputFailure: it takes no more.
    """
    print_bytes(f"{printable(text)}\n".encode("utf-8", "surrogateescape"))


def flush_stdout() -> None:
    """Have what others have printed (`argparse`, for one) written.

    Raises:
        OutputFailure: it takes no more.
    """
    try:
        sys.stdout.flush()
    except OSError as exc:
        _forget(sys.stdout)
        raise OutputFailure(exc.strerror) from exc


def printable(text: str) -> str:
    """Return *text* on one line, whatever a URL or a server has put into it."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def complain(message: str) -> int:
    """Print one line on standard error. Returns the exit status that goes with it: 1."""
    if sys.stderr is not None:
        try:
            print_error(printable(f"dugong: {message}"))
        except OSError:
            _forget(sys.stderr)  # nobody to complain to
    return 1


def _print_error(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


#: Prints a line on standard error. Who has drawn something there puts itself in its place.
print_error: Callable[[str], None] = _print_error


def is_terminal(fd: int) -> bool:
    """Tell whether somebody looks on. *fd*: 1 or 2."""
    return os.isatty(fd)


def _forget(stream: TextIO) -> None:
    """Have the interpreter's last flush succeed: what cannot be written goes nowhere."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, stream.fileno())
    os.close(null)


def size(count: int) -> str:
    """Return a number of bytes as people read it."""
    value, unit = float(count), "bytes"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if value < 1024:
            break
        value, unit = value / 1024, larger
    return f"{value:.0f} {unit}" if unit == "bytes" else f"{value:.1f} {unit}"
