"""A terminal in which the command runs; the test is who sits there."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import termios
from collections.abc import Callable
from pathlib import Path
from typing import Self

import pyte

from tests.cli.command import PATIENCE, UNWANTED

#: A process that makes its standard input its terminal, and runs there what it is told to.
IN_TERMINAL = """
import fcntl, os, signal, sys, termios
signal.signal(signal.SIGINT, signal.SIG_DFL)  # as a shell has it
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
if sys.argv[1]:
    fd = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT, 0o666)
    os.dup2(fd, 1)
    os.close(fd)
os.execv(sys.argv[2], sys.argv[2:])
"""

LINES, COLUMNS = 24, 80

#: Settings of a shell that change what programs draw.
_DRAWING = {"NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES", "TTY_COMPATIBLE", "TTY_INTERACTIVE"}


class Terminal:
    """A terminal in which *command* runs.

    Args:
        command: what to run, with its arguments.
        stdout: a file for its standard output, if that is not the terminal.
        columns: how wide the terminal is.

    Attributes:
        shown: every byte that the terminal was sent so far.
    """

    def __init__(
        self, *command: str | Path, stdout: str | Path = "", columns: int = COLUMNS
    ) -> None:
        self._near, self._far = pty.openpty()
        termios.tcsetwinsize(self._near, (LINES, columns))
        env = {k: v for k, v in os.environ.items() if k not in UNWANTED | _DRAWING}
        self.process = subprocess.Popen(
            [sys.executable, "-c", IN_TERMINAL, stdout, *command],
            stdin=self._far, stdout=self._far, stderr=self._far,
            start_new_session=True, env=env | {"TERM": "xterm-256color"},
        )  # fmt: skip
        self.shown = b""
        self._screen = pyte.Screen(columns, LINES)
        self._stream = pyte.ByteStream(self._screen)

    def type(self, keys: bytes) -> None:
        """Press these keys; Ctrl-C is 3."""
        os.write(self._near, keys)

    def screen(self) -> list[str]:
        """Return the lines that can be seen now, without those that are empty at the end."""
        lines = [line.rstrip() for line in self._screen.display]
        while lines and not lines[-1]:
            lines.pop()
        return lines

    def _read(self) -> bytes:
        more = os.read(self._near, 4096)
        self.shown += more
        self._stream.feed(more)
        return more

    def await_words(self, words: str) -> None:
        """Wait until *words* have been shown."""
        while words.encode() not in self.shown:
            self._read()

    def await_screen(self, looks_right: Callable[[list[str]], bool]) -> list[str]:
        """Wait until the screen looks right, and return it."""
        while not looks_right(self.screen()):
            self._read()
        return self.screen()

    def ended(self) -> tuple[int, str]:
        """Return the exit status, and all that was shown."""
        os.close(self._far)
        self._far = -1
        try:
            while self._read():
                pass
        except OSError:  # the system's way of saying that the far end is closed
            pass
        return self.process.wait(PATIENCE), self.shown.decode().replace("\r\n", "\n")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._near)
        if self._far >= 0:
            os.close(self._far)
