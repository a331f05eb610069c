"""Raising `KeyboardInterrupt` where CPython may run a signal handler, one place after another.

CPython looks for signals where a Python function begins or a generator is resumed, after a call of
a C function has returned, and where a loop jumps back. `Interrupt` raises at the first two, which
a profile function can see; each pass of a loop that may wait has some of them.

An exception cannot leave a finalizer or a weak-reference callback: Python reports it as unraisable.
"""

from __future__ import annotations

import asyncio.events
import gc
import sys
import weakref
from enum import Enum, auto
from pathlib import Path
from types import CodeType, FrameType, TracebackType
from typing import Any, Self

import dugong
from dugong.session.lifecycle import Lifecycle
from tests.support import drive

PACKAGE = str(Path(dugong.__file__).parent)
TESTS = str(Path(__file__).parent.parent)


class Kind(Enum):
    """What the code of a frame belongs to."""

    PACKAGE = auto()
    CONNECT = auto()  # the part of the package that connects
    CALLBACK = auto()  # the module whose callbacks empty weak dictionaries
    TESTS = auto()
    DRIVER = auto()  # the tests' own loop, which looks at what a generator waits for
    LOOP = auto()  # asyncio calling a callback
    OTHER = auto()


def _kind(code: CodeType) -> Kind:
    name = code.co_filename
    if code is Lifecycle.co_connect.__code__:
        return Kind.CONNECT
    if name.startswith(PACKAGE):
        return Kind.PACKAGE
    if name.startswith(TESTS):
        return Kind.DRIVER if name == drive.__file__ else Kind.TESTS
    if name == asyncio.events.__file__:
        return Kind.LOOP
    return Kind.CALLBACK if name == weakref.__file__ else Kind.OTHER


#: The kinds of all code seen so far: each event looks at every frame of the stack.
_kinds: dict[CodeType, Kind] = {}


class Interrupt:
    """Raises one `KeyboardInterrupt` in what runs within ``with``, and catches it.

    Args:
        place: before which of all places, counted from 0.
        inner: only in functions of the package itself, not in those that they call: an event loop
            does not survive being interrupted anywhere.
        sparse: of the places within connecting, only each of this many counts.
        finalizers: also in finalizers and callbacks that the tests' own functions set off.

    Attributes:
        raised: the exception, ``None`` if there are fewer places.
        where: where it was raised.
        caught: whether it came out of the block.
        in_finalizer: whether it was raised in a finalizer or a weak-reference callback, which
            it cannot leave.
    """

    def __init__(
        self, place: int, *, inner: bool = False, sparse: int = 1, finalizers: bool = False
    ) -> None:
        self._left = place
        self._inner = inner
        self._sparse = sparse
        self._connecting = 0  # places within connecting that were passed
        self._finalizers = finalizers
        self._frame = 0  # the last one looked at, and what was found
        self._inside = self._is_connecting = False
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
            self.raised.__context__ = None  # which has frames of its own

    def _profile(self, frame: FrameType, event: str, arg: Any) -> None:
        if event not in ("call", "c_return") or not self._counts(frame, event == "call"):
            return
        self._left -= 1
        if self._left < 0:
            sys.setprofile(None)
            what = "" if event == "call" else f" behind {getattr(arg, '__qualname__', arg)}"
            code = frame.f_code
            self.where = f"{code.co_qualname}, {code.co_filename}:{frame.f_lineno}{what}"
            self.raised = KeyboardInterrupt(self.where)
            raise self.raised

    def _counts(self, frame: FrameType, is_new: bool) -> bool:
        if is_new or id(frame) != self._frame:
            self._frame = id(frame)  # the frame itself would keep objects from being finalized
            self._inside, self._is_connecting = self._look_at(frame)
        if self._inside and self._is_connecting:
            self._connecting += 1
            return self._connecting % self._sparse == 0
        return self._inside

    def _look_at(self, frame: FrameType) -> tuple[bool, bool]:
        """Return whether places in this frame count, and whether they are within connecting."""
        current: FrameType | None = frame
        inside = connecting = False
        while current is not None:
            code = current.f_code
            kind = _kinds.get(code) or _kinds.setdefault(code, _kind(code))
            if current is frame:
                own = kind in (Kind.PACKAGE, Kind.CONNECT)
                if self._finalizers:
                    own |= kind is Kind.CALLBACK
                    inside = own or kind is Kind.OTHER
                if self._inner and not own:
                    break
            if kind is Kind.PACKAGE:
                inside = True
            elif kind is Kind.CONNECT:
                inside = connecting = True
            elif kind in (Kind.DRIVER, Kind.LOOP):
                return False, False
            elif kind is Kind.TESTS:
                break
            current = current.f_back
        return inside, connecting

    def _unraisable(self, unraisable: Any) -> None:
        if unraisable.exc_value is self.raised:
            self.in_finalizer = True
        else:
            self._hook(unraisable)

    def __str__(self) -> str:
        return self.where
