"""Name resolution in helper threads, reported through a socket pair.

Threads are bounded: when `MAX_THREADS` look-ups are under way, further ones wait for their turn.
A thread ends when nothing is left to look up.
"""

from __future__ import annotations

import errno
import os
import socket
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeAlias

from ..errors import DNSUnavailable, HostnameNotResolvable

#: What `socket.getaddrinfo` gives: family, type, protocol, canonical name, address.
AddressInfo: TypeAlias = tuple[int, int, int, str, Any]

#: Names that resolve wherever the DNS works. When none of them does, the DNS is down.
DNS_TEST_HOSTNAMES: tuple[tuple[str, int], ...] = (
    ("www.google.com", 80),
    ("www.iana.org", 80),
    ("c.root-servers.net", 53),
)

#: Look-ups at a time. The system's resolver is mostly waiting.
MAX_THREADS = 32


class Lookup:
    """One look-up under way. Its result is there when `sock` becomes readable.

    Attributes:
        sock: our end of a socket pair.
    """

    def __init__(self, host: str, port: int) -> None:
        self._host = host
        self._port = port
        self._addresses: list[AddressInfo] = []
        self._failure: Exception | None = None
        self._done = False
        self.sock, self._far_end = socket.socketpair()
        self.sock.setblocking(False)
        try:
            _pool.submit(self._run)
        except BaseException:
            self.sock.close()
            self._far_end.close()
            raise

    def _run(self) -> None:
        try:
            self._addresses = resolve(self._host, self._port)
        except Exception as exc:  # handed over to the waiting side, whatever it is
            self._failure = exc
        self._done = True
        with suppress(OSError):  # nobody waits any more
            # Closing alone would not do: a process forked meanwhile has the far end, too.
            self._far_end.send(b"\0")
        self._far_end.close()

    def close(self) -> None:
        """Stop waiting; a look-up that has not begun is dropped."""
        if _pool.withdraw(self._run):
            self._far_end.close()
        self.sock.close()

    def result(self) -> list[AddressInfo] | None:
        """Return the addresses, ``None`` if they are not there yet.

        Raises:
            HostnameNotResolvable, DNSUnavailable, OSError: the look-up failed.
        """
        if self._failure is not None:
            raise self._failure
        return self._addresses if self._done else None


def numeric(host: str, port: int) -> list[AddressInfo] | None:
    """Return the address that *host* is, ``None`` if it is a name. Never waits."""
    try:
        return _getaddrinfo(host, port, socket.AI_NUMERICHOST)
    except (socket.gaierror, UnicodeError):
        return None


def resolve(host: str, port: int) -> list[AddressInfo]:
    """Look *host* up, and find out what it means when that fails. Blocks.

    Raises:
        DNSUnavailable: the DNS asks to try again, or resolves none of `DNS_TEST_HOSTNAMES`.
        HostnameNotResolvable: the DNS works, and has no address for *host*.
        OSError: this process has no descriptor or memory left for the look-up.
    """
    try:
        return _look_up(host, port)
    except UnicodeError:  # no name of the DNS looks like that
        raise HostnameNotResolvable(host) from None
    except socket.gaierror as exc:
        if exc.errno == socket.EAI_AGAIN or not _dns_works():
            raise DNSUnavailable(host) from exc
    try:
        return _look_up(host, port)  # the DNS may have come back in between
    except socket.gaierror as exc:
        if exc.errno == socket.EAI_AGAIN:
            raise DNSUnavailable(host) from exc
        raise HostnameNotResolvable(host) from exc


def _dns_works() -> bool:
    for host, port in DNS_TEST_HOSTNAMES:
        try:
            _look_up(host, port)
        except (socket.gaierror, UnicodeError):
            continue
        return True
    return False


#: Shortages of this process or this machine, which no server of the DNS has caused.
_SHORTAGES = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS)


def _look_up(host: str, port: int) -> list[AddressInfo]:
    """Call the system's resolver, and tell its failures from shortages of this process.

    Raises:
        OSError: there is no descriptor or memory left.
        socket.gaierror: the name was looked up, and that failed.
    """
    try:
        return _getaddrinfo(host, port)
    except socket.gaierror as exc:
        if exc.errno == getattr(socket, "EAI_MEMORY", None):
            raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM)) from exc
        # glibc reports EAI_NONAME when it cannot open /etc/hosts and has no socket to ask a name
        # server through, as for a name that does not exist. So try whether there is a descriptor.
        try:
            socket.socket().close()
        except OSError as shortage:
            if shortage.errno in _SHORTAGES:
                raise shortage from exc
        raise


def _getaddrinfo(host: str, port: int, flags: int = 0) -> list[AddressInfo]:
    return list(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=flags))


class _Pool:
    """Threads that work off a queue of jobs, and end when it is empty."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Start anew: in a forked child there are no threads, whatever its parent had."""
        self._lock = threading.Lock()
        self._jobs: deque[Callable[[], None]] = deque()
        self._threads = 0

    def submit(self, job: Callable[[], None]) -> None:
        with self._lock:
            self._jobs.append(job)
            if self._threads == MAX_THREADS:
                return
            self._threads += 1
        try:
            threading.Thread(target=self._work, name="dugong-resolver", daemon=True).start()
        except BaseException:  # the system has no more threads
            with self._lock:
                self._threads -= 1
                if job not in self._jobs:
                    return  # another thread has taken it
                self._jobs.remove(job)
            raise

    def withdraw(self, job: Callable[[], None]) -> bool:
        """Forget *job* unless it has begun. Returns whether it had not."""
        with self._lock:
            if job not in self._jobs:
                return False
            self._jobs.remove(job)
            return True

    def _work(self) -> None:
        while True:
            with self._lock:
                if not self._jobs:
                    self._threads -= 1
                    return
                job = self._jobs.popleft()
            job()


_pool = _Pool()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pool.forget)
