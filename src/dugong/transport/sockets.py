"""Sockets that close themselves when the last reference to them goes.

A connection may simply be dropped, so its sockets must close without a `ResourceWarning`, however
they come to their end: by reference count, in a cycle of garbage, or while the interpreter shuts
down. Only the socket itself can do that:

- The garbage collector calls the finalizers of a cycle in no useful order. When that of the
  connection runs, Python may have warned of the socket already.
- `weakref.finalize` closes at exit before `atexit` handlers that were registered earlier run, and
  connections are used there (`logging.shutdown` is such a handler). Without its `atexit` it does
  nothing for connections that live until the modules are cleared: its registry goes with them.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import TypeVar

S = TypeVar("S", bound=socket.socket)


class _Socket(socket.socket):
    """A socket that closes itself. It is never constructed: a half-made one could not close."""

    __slots__ = ()

    # As an argument, because the names of a module may be gone by the time this is called.
    def __del__(self, close: Callable[[socket.socket], None] = socket.socket.close) -> None:
        close(self)


def adopt(sock: S) -> S:
    """Make *sock* close itself. It stays the same object, and an instance of its class."""
    kind = type(sock)
    if kind is _Socket.__base__:  # not `socket.socket`, which a program may have replaced since
        sock.__class__ = _Socket  # type: ignore[assignment]
    elif not _closes_itself(kind):  # an SSLSocket, or one of the caller's own class
        members = {"__slots__": (), "__del__": _Socket.__del__, "__module__": kind.__module__}
        sock.__class__ = type(kind.__name__, (kind,), members)
    return sock


def give_away(sock: S) -> S:
    """Undo `adopt`, for a socket whose next owner is to close it."""
    if _closes_itself(type(sock)):
        sock.__class__ = type(sock).__base__  # type: ignore[assignment]
    return sock


def _closes_itself(kind: type) -> bool:
    return getattr(kind, "__del__", None) is _Socket.__del__


def socketpair() -> tuple[socket.socket, socket.socket]:
    """Return two connected sockets that close themselves."""
    near, far = socket.socketpair()
    return adopt(near), adopt(far)
