"""Which idle connections the server has closed: rule 7 of `pool`."""

from __future__ import annotations

import select
from typing import Any

from .records import Kept


class IdleWatch:
    """Notices which idle connections become readable. Does nothing on systems without epoll.

    It watches only what the machine knows to be idle. So most leases do not pay for it (rule 9).
    """

    def __init__(self) -> None:
        self._epoll: Any = None
        self._watched: dict[int, Kept] = {}

    def add(self, idle: Kept) -> None:
        """Watch *idle*."""
        stream = idle.session.stream
        if stream is None or not hasattr(select, "epoll"):
            return
        try:
            if self._epoll is None:
                self._epoll = select.epoll()
            idle.fd = fd = stream.sock.fileno()
            self._watched[fd] = idle
            self._epoll.register(fd, select.EPOLLIN)
        except (OSError, ValueError):
            pass  # no descriptor is left, or it is closed: found out when it is taken

    def remove(self, idle: Kept) -> None:
        """Stop watching *idle*. Before it is closed: a process just forked may have a copy."""
        if self._watched.get(idle.fd) is idle:
            del self._watched[idle.fd]
            self._forget(idle.fd)

    def _forget(self, fd: int) -> None:
        try:
            self._epoll.unregister(fd)
        except (OSError, ValueError):
            pass

    def readable(self) -> list[Kept]:
        """Return those that are readable, without waiting."""
        found = []
        if self._watched:
            for fd, _ in self._epoll.poll(0):
                idle = self._watched.get(fd)
                if idle is None:
                    self._forget(fd)  # an interrupt has left it behind
                else:
                    found.append(idle)
        return found

    def close(self) -> None:
        """Stop watching."""
        self._watched.clear()
        if self._epoll is not None:
            self._epoll.close()
            self._epoll = None
