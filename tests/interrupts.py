"""Raising `KeyboardInterrupt` where CPython may run a signal handler, one place after another.

CPython looks for signals where a Python function begins or a generator is resumed, after a call of
a C function has returned, and where a loop jumps back. `Interrupt` raises at the first two, which
a profile function can see; each pass of a loop that may wait has some of them.
"""

from __future__ import annotations

import asyncio.events
import gc
import sys
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, Self

import dugong
from tests import drive

PACKAGE = str(Path(dugong.__file__).parent)
TESTS = str(Path(__file__).parent)


class Interrupt:
    """Raises one `KeyboardInterrupt` in what runs within ``with``, and catches it.

    Args:
        place: before which of all places, counted from 0.
        inner: only in functions of the package itself, not in those that they call: an event loop
            does not survive being interrupted anywhere.

    Attributes:
        raised: the exception, ``None`` if there are fewer places.
        where: where it was raised.
        caught: whether it came out of the block.
        in_finalizer: whether it was raised in a finalizer or a weak-reference callback, which
            it cannot leave.
    """

    def __init__(self, place: int, *, inner: bool = False) -> None:
        self._left = place
        self._inner = inner
        self.raised: KeyboardInterrupt | None = None
        self.where = ""
        self.caught = False
        self.in_finalizer = False

    def __enter__(self) -> Self:
        gc.disable()  # what it finds is another test's
        self._hook, sys.unraisablehook = sys.unraisablehook, self._unraisable
        sys.setprofile(self._profile)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> bool:
        sys.setprofile(None)
        sys.unraisablehook = self._hook
        gc.enable()
        if self.raised is None:
            return False
        self.caught = exc is self.raised
        assert self.caught or self.in_finalizer or exc is not None, f"swallowed: {self}"
        return self.caught

    def forget(self) -> None:
        """Let go of the frames of the exception: until now they are those of a handler."""
        if self.raised is not None:
            self.raised.__traceback__ = None

    def _profile(self, frame: FrameType, event: str, arg: Any) -> None:
        if event not in ("call", "c_return") or not self._counts(frame):
            return
        self._left -= 1
        if self._left < 0:
            sys.setprofile(None)
            what = "" if event == "call" else f" behind {getattr(arg, '__qualname__', arg)}"
            code = frame.f_code
            self.where = f"{code.co_qualname}, {code.co_filename}:{frame.f_lineno}{what}"
            self.raised = KeyboardInterrupt(self.where)
            raise self.raised

    def _counts(self, frame: FrameType) -> bool:
        if self._inner and not frame.f_code.co_filename.startswith(PACKAGE):
            return False
        current: FrameType | None = frame
        inside = False
        while current is not None:
            name = current.f_code.co_filename
            if name.startswith(PACKAGE):
                inside = True
            elif name.startswith(TESTS):
                return inside and name != drive.__file__  # which looks what a generator waits for
            elif name == asyncio.events.__file__:
                return False  # a callback of the loop
            current = current.f_back
        return inside

    def _unraisable(self, unraisable: Any) -> None:
        if unraisable.exc_value is self.raised:
            self.in_finalizer = True
        else:
            self._hook(unraisable)

    def __str__(self) -> str:
        return self.where
