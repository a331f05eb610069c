"""Sockets that close themselves when the last reference to them is dropped.

A program may drop a connection without closing it. Its sockets must then close without a
`ResourceWarning`, whether they end by reference count, in a cycle of garbage, or while the
interpreter shuts down. Only a finalizer of the socket itself achieves that. The alternatives fail:

- A finalizer of the connection may run too late. The garbage collector calls the finalizers of a
  cycle in arbitrary order, and Python may have warned about the socket by then.
- `weakref.finalize` runs at exit before those `atexit` handlers that were registered earlier, and
  they may use connections (`logging.shutdown` is such a handler). With its attribute `atexit` set
  to False, it does nothing for connections that live until the modules are cleared, because its
  registry is cleared with them.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from functools import lru_cache
from typing import TypeVar

S = TypeVar("S", bound=socket.socket)


class _Socket(socket.socket):
    """A socket that closes itself.

    It is never constructed. `adopt` changes the class of a complete socket, because a socket whose
    constructor has failed could not be closed.
    """

    __slots__ = ()

    # A default argument, because the names of the module may be cleared before this is called.
    def __del__(self, close: Callable[[socket.socket], None] = socket.socket.close) -> None:
        close(self)


def adopt(sock: S) -> S:
    """Make *sock* close itself. It remains the same object, and an instance of its class."""
    kind: type = type(sock)
    if kind is _Socket.__base__:  # not `socket.socket`: a program may have replaced that
        sock.__class__ = _Socket  # type: ignore[assignment]
    elif not _closes_itself(kind):  # an SSLSocket, or one of the caller's own class
        sock.__class__ = _closing(kind)
    return sock


@lru_cache(maxsize=8)
def _closing(kind: type) -> type:
    """Return a subclass of *kind* whose sockets close themselves.

    Cached, because creating a class takes 16 µs, and the garbage collector must delete it.
    """
    members = {"__slots__": (), "__del__": _Socket.__del__, "__module__": kind.__module__}
    return type(kind.__name__, (kind,), members)


def give_away(sock: S) -> S:
    """Undo `adopt`, for a socket that its next owner closes."""
    if _closes_itself(type(sock)):
        sock.__class__ = type(sock).__base__  # type: ignore[assignment]
    return sock


def _closes_itself(kind: type) -> bool:
    return getattr(kind, "__del__", None) is _Socket.__del__


def socketpair() -> tuple[socket.socket, socket.socket]:
    """Return two connected sockets that close themselves."""
    near, far = socket.socketpair()
    return adopt(near), adopt(far)
