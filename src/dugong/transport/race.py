"""Connecting to the first of several addresses that answers (RFC 8305, "Happy Eyeballs").

Attempts begin `STAGGER` seconds after one another, or at once when the one before has failed;
families alternate. The first that connects wins, and the others are closed. No thread is needed:
an epoll (or kqueue) object is itself a descriptor to wait for, and stands for all attempts.

Linux does not let a non-blocking socket wait until a Unix socket with a full backlog accepts a
connection: ``connect`` fails with EAGAIN, and no descriptor becomes ready when there is room. Such
an address is tried again after a while, for as long as the caller waits.
"""

from __future__ import annotations

import errno
import os
import selectors
import socket
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import TypeAlias

from .fork import disown_in_child
from .poll import POLLIN, POLLOUT, PollNeeded
from .resolve import AddressInfo
from .sockets import adopt, socketpair

#: Seconds between two attempts: RFC 8305 section 5, "Connection Attempt Delay".
STAGGER = 0.25

#: Seconds after which attempts are looked at where nothing can stand for all of them.
_LOOK_AGAIN = 0.05

#: Seconds after which a busy address is tried again, at first and at most.
_FIRST_RETRY = 0.001
_LAST_RETRY = 0.05

#: Connecting goes on by itself. On Windows it begins with WSAEWOULDBLOCK.
_IN_PROGRESS = (errno.EINPROGRESS, errno.EALREADY, getattr(errno, "WSAEWOULDBLOCK", None))

#: Level, option and value: arguments of `socket.socket.setsockopt`.
SocketOption: TypeAlias = tuple[int, int, int | bytes]


def configure(sock: socket.socket, options: Iterable[SocketOption]) -> None:
    """Set a socket's options: ours for TCP first, so that *options* can override them."""
    if sock.family != getattr(socket, "AF_UNIX", None):
        # Without it, pipelined requests wait for each other's acknowledgement.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # Without it, a call without a time limit waits forever for a peer that has vanished.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for level, option, value in options:
        sock.setsockopt(level, option, value)


class Race:
    """Attempts to connect to any of several addresses.

    Args:
        addresses: where to connect to, at least one, best first.
        source_address: host and port to connect from, or ``None``.
        clock: what time it is, in seconds.
        socket_options: arguments of `socket.socket.setsockopt`, for each socket.

    Attributes:
        running: the sockets that are connecting, oldest first.
        address: that of the socket that `step` returned, or of the error that it raised; before,
            that of the last attempt. ``None`` if there was none.
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
        # One attempt is its own descriptor; more need one that stands for them.
        self._selector = selectors.DefaultSelector() if len(self._addresses) > 1 else None
        disown_in_child(self)

    def step(self) -> socket.socket | None:
        """Begin what is due and look how the attempts stand, without waiting.

        Returns:
            The connected socket, ``None`` as long as there is none.

        Raises:
            OSError: all addresses failed; that of the first that did.
        """
        winner = self._look()
        while winner is None and self._addresses and self._is_due():
            winner = self._start(self._addresses.popleft())
        if winner is None and not self.running and not self._addresses:
            assert self._failure is not None
            self.address = self._failed_address
            raise self._failure
        return winner

    def need(self) -> PollNeeded:
        """Return what to wait for before the next `step`."""
        timeout = max(0.0, self._next_start - self._clock()) if self._addresses else None
        if not self.running:  # all are busy
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
        """The sockets of which each ends the wait for `need` when it is shut down."""
        return self.running or [*(self._never_ready or ())]

    def close(self) -> None:
        """Close whatever is still connecting."""
        if self._selector is not None:
            self._selector.close()
        for sock in (*self.running, *(self._never_ready or ())):
            sock.close()

    # A child of a fork has a copy of the selector's descriptor, and none of a kqueue's: what its
    # number stands for later is not to be closed.
    _disown = close

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
            self._failure = exc  # rather than that a source address is of another family
            self._failed_address = address
        self._next_start = self._clock()

    def _postpone(self, address: AddressInfo) -> None:
        """Try *address* again after the others, and after a while."""
        self._addresses.append(address)
        self._next_start = self._clock() + self._retry
        self._retry = min(2 * self._retry, _LAST_RETRY)


#: Selectors that are descriptors themselves. gevent, for one, replaces them by one that is not.
_WITH_DESCRIPTOR = tuple(
    getattr(selectors, name)
    for name in ("EpollSelector", "KqueueSelector")
    if hasattr(selectors, name)
)


def address_text(address: AddressInfo) -> str:
    """Return an address for a message: host and port, or the path of a Unix socket."""
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
    """Return how connecting stands: 0, an errno, or still in progress."""
    error = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if error:
        return error
    try:
        sock.getpeername()
    except OSError:
        return errno.EINPROGRESS
    return 0
