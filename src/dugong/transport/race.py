"""Connecting to the first of several addresses that answers (RFC 8305, "Happy Eyeballs").

Theory of operation
===================

1. Addresses are ordered so that the address families alternate (`alternate`). If all addresses of
   one family are unreachable, the second attempt is of the other family.
2. The first attempt begins immediately. Each further attempt begins `STAGGER` seconds after the
   one before it, or immediately when an attempt fails.
3. The first attempt that connects wins, and `Race.close` closes the others.
4. If all fail, `step` raises the error of the first failure. The first address is the preferred
   one, and its error is usually the one that explains the problem.

A coroutine waits for one descriptor at a time, and a race has several. An epoll or kqueue object is
itself a descriptor, which becomes ready when any of its members does. So a race with several
addresses registers its sockets there, and needs no thread. Where no such object is available,
`Race.need` waits for one socket at a time, and for at most `_LOOK_AGAIN` seconds.

A Unix socket with a full backlog is a special case on Linux. A non-blocking ``connect`` fails with
EAGAIN, and no descriptor becomes ready when there is room. So such a *busy* address is tried again
after a pause that grows from `_FIRST_RETRY` to `_LAST_RETRY`, for as long as the caller waits.
"""

from __future__ import annotations

import errno
import os
import selectors
import socket
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import TypeAlias

from .poll import POLLIN, POLLOUT, PollNeeded
from .resolve import AddressInfo
from .sockets import adopt, socketpair

#: Seconds between two attempts: RFC 8305 section 5, "Connection Attempt Delay".
STAGGER = 0.25

#: Seconds between two checks of all attempts, where no descriptor stands for all of them.
_LOOK_AGAIN = 0.05

#: Seconds before a busy address is tried again: the first pause, and the longest.
_FIRST_RETRY = 0.001
_LAST_RETRY = 0.05

#: Errors that mean that the system is still connecting. Windows starts with WSAEWOULDBLOCK.
_IN_PROGRESS = (errno.EINPROGRESS, errno.EALREADY, getattr(errno, "WSAEWOULDBLOCK", None))

#: Level, option and value: arguments of `socket.socket.setsockopt`.
SocketOption: TypeAlias = tuple[int, int, int | bytes]


def configure(sock: socket.socket, options: Iterable[SocketOption]) -> None:
    """Set a socket's options: first our defaults for TCP, then *options*, which override them."""
    if sock.family != getattr(socket, "AF_UNIX", None):
        # Without TCP_NODELAY, a pipelined request waits for the acknowledgement of the one before.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # Without SO_KEEPALIVE, a call without a time limit waits forever for a peer that vanished.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for level, option, value in options:
        sock.setsockopt(level, option, value)


class Race:
    """Attempts to connect to any of several addresses.

    Args:
        addresses: the addresses, at least one, best first.
        source_address: host and port to connect from, or ``None``.
        clock: returns the time in seconds.
        socket_options: arguments of `socket.socket.setsockopt`, for each socket.

    Attributes:
        running: the sockets that are connecting, oldest first.
        address: the address of the socket that `step` returned, or of the error that it raised.
            Until then, the address of the last attempt; ``None`` before the first.
    """

    def __init__(
        self,
        addresses: Iterable[AddressInfo],
        source_address: tuple[str, int] | None,
        clock: Callable[[], float],
        socket_options: Sequence[SocketOption] = (),
    ) -> None:
        self._addresses = deque(alternate(addresses))
        self._source_address = source_address
        self._socket_options = socket_options
        self._clock = clock
        self._next_start = clock()
        self._failure: OSError | None = None
        self._failed_address: AddressInfo | None = None
        self._address_of: dict[socket.socket, AddressInfo] = {}
        self._retry = _FIRST_RETRY
        self._never_ready: tuple[socket.socket, socket.socket] | None = None
        self.address: AddressInfo | None = None
        self.running: list[socket.socket] = []
        # A single attempt has one descriptor. Several need one that stands for all.
        self._selector = selectors.DefaultSelector() if len(self._addresses) > 1 else None

    def step(self) -> socket.socket | None:
        """Check the running attempts and begin those that are due, without waiting.

        Returns:
            The connected socket, ``None`` if there is none yet. It is no longer part of the race,
            so `close` leaves it open.

        Raises:
            OSError: all addresses failed. This is the first failure.
        """
        winner = self._look()
        while winner is None and self._addresses and self._is_due():
            winner = self._start(self._addresses.popleft())
        if winner is None and not self.running and not self._addresses:
            assert self._failure is not None
            self.address = self._failed_address
            failure, self._failure = self._failure, None
            try:
                raise failure
            finally:
                del failure  # the exception's traceback refers to this frame, and to this object
        return winner

    def need(self) -> PollNeeded:
        """Return what to wait for before the next `step`."""
        timeout = max(0.0, self._next_start - self._clock()) if self._addresses else None
        # All addresses are busy. Wait for a socket that never becomes ready, until the timeout.
        if not self.running:
            self._never_ready = self._never_ready or socketpair()
            return PollNeeded(self._never_ready[0].fileno(), POLLIN, timeout)
        if self._selector is None:
            return PollNeeded(self.running[-1].fileno(), POLLOUT, timeout)
        if isinstance(self._selector, _WITH_DESCRIPTOR):
            return PollNeeded(self._selector.fileno(), POLLIN, timeout)
        timeout = _LOOK_AGAIN if timeout is None else min(timeout, _LOOK_AGAIN)
        return PollNeeded(self.running[-1].fileno(), POLLOUT, timeout)

    @property
    def awaited(self) -> list[socket.socket]:
        """The sockets waited for. Shutting down any of them ends the wait for `need`."""
        return self.running or [*(self._never_ready or ())]

    def close(self) -> None:
        """Close all sockets that are still connecting.

        A child made by fork calls this, too. It inherits an epoll descriptor, but not a kqueue.
        Either must be closed right after the fork: later, the number may belong to another file.
        """
        if self._selector is not None:
            self._selector.close()
        for sock in (*self.running, *(self._never_ready or ())):
            sock.close()

    def _is_due(self) -> bool:
        return self._clock() >= self._next_start

    def _start(self, address: AddressInfo) -> socket.socket | None:
        family, kind, proto, _, sockaddr = self.address = address
        try:
            sock = adopt(socket.socket(family, kind, proto))
        except OSError as exc:
            self._failed(exc, address)
            return None
        try:
            sock.setblocking(False)
            configure(sock, self._socket_options)
            if self._source_address is not None:
                sock.bind(self._source_address)
            error = sock.connect_ex(sockaddr)
        except BaseException as exc:
            sock.close()
            if not isinstance(exc, OSError):
                raise
            self._failed(exc, address)
            return None
        if error == 0:
            return sock
        if error not in _IN_PROGRESS:
            sock.close()
            if error == errno.EAGAIN:
                self._postpone(address)
            else:
                self._failed(OSError(error, os.strerror(error)), address)
            return None
        self._address_of[sock] = address
        self.running.append(sock)
        if self._selector is not None:
            self._selector.register(sock, selectors.EVENT_WRITE)
        self._next_start = self._clock() + STAGGER
        return None

    def _look(self) -> socket.socket | None:
        for sock in tuple(self.running):
            error = _connect_error(sock)
            if error in _IN_PROGRESS:
                continue
            self.running.remove(sock)
            if self._selector is not None:
                self._selector.unregister(sock)
            self.address = self._address_of[sock]
            if error == 0:
                return sock
            sock.close()
            self._failed(OSError(error, os.strerror(error)), self.address)
        return None

    def _failed(self, exc: OSError, address: AddressInfo) -> None:
        if self._failure is None or isinstance(self._failure, socket.gaierror):
            # A `gaierror` only means that the source address is of another family. Any other
            # failure is more useful.
            self._failure = exc
            self._failed_address = address
        self._next_start = self._clock()

    def _postpone(self, address: AddressInfo) -> None:
        """Schedule a busy *address* behind the others, after a pause."""
        self._addresses.append(address)
        self._next_start = self._clock() + self._retry
        self._retry = min(2 * self._retry, _LAST_RETRY)


#: Selectors that are descriptors themselves. gevent, for example, replaces the default selector by
#: one that is not.
_WITH_DESCRIPTOR = tuple(
    getattr(selectors, name)
    for name in ("EpollSelector", "KqueueSelector")
    if hasattr(selectors, name)
)


def address_text(address: AddressInfo) -> str:
    """Return an address as text for a message: host and port, or the path of a Unix socket."""
    sockaddr = address[4]
    if not isinstance(sockaddr, tuple):
        return os.fsdecode(sockaddr)
    host, port = sockaddr[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def alternate(addresses: Iterable[AddressInfo]) -> list[AddressInfo]:
    """Order addresses so that families alternate, beginning with the first (RFC 8305 section 4)."""
    families: dict[int, deque[AddressInfo]] = {}
    for address in addresses:
        families.setdefault(address[0], deque()).append(address)
    ordered = []
    while families:
        for family in list(families):
            ordered.append(families[family].popleft())
            if not families[family]:
                del families[family]
    return ordered


def _connect_error(sock: socket.socket) -> int:
    """Return the result of a connect: 0, an errno, or EINPROGRESS while it is not known.

    SO_ERROR alone is not enough. It is 0 both while connecting and after success.
    """
    error = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if error:
        return error
    try:
        sock.getpeername()
    except OSError:
        return errno.EINPROGRESS
    return 0
