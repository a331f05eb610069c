"""Counting the lines that run, and raising before one of them."""

from __future__ import annotations

import math
import sys
from types import FrameType
from typing import Any, Self


class Interrupted(BaseException):
    """Stands for the exception of a signal handler."""


class Lines:
    """Counts the lines of some modules that run in this thread within ``with``.

    Args:
        files: how the names of the modules' files begin.
        stop_before: so many lines run, and then `Interrupted` is raised.
    """

    def __init__(self, files: str, stop_before: float = math.inf) -> None:
        self._files = files
        self._left = stop_before
        self.count = 0

    def __enter__(self) -> Self:
        self._before = sys.gettrace()
        sys.settrace(self._trace)
        return self

    def __exit__(self, *args: object) -> None:
        sys.settrace(self._before)

    def _trace(self, frame: FrameType, event: str, arg: Any) -> Any:
        if not frame.f_code.co_filename.startswith(self._files):
            return None
        if event == "line":
            self.count += 1
            self._left -= 1
            if self._left < 0:
                sys.settrace(None)
                raise Interrupted
        return self._trace
