"""Name resolution in helper threads, which report through a socket pair.

Theory of operation
===================

`socket.getaddrinfo` blocks, so a thread calls it. When it has a result, it shuts down its end of a
socket pair. The other end, `Lookup.sock`, becomes readable, so a coroutine can wait for it like for
any other descriptor. At most about `MAX_THREADS` lookups run at a time, and further ones are
queued. A thread ends when the queue is empty.

This module uses no lock, for two reasons. First, the garbage collector or a signal handler may
close a coroutine in the middle of any line below, in the same thread. That abandons its lookup,
which must not wait for a lock that its own thread holds. Second, in a child made by fork, a lock
that another thread of the parent held is never released. So threads share only a deque and a set,
and use only their atomic methods:

1. A lookup stays in `_queue` until a thread or `Lookup.close` removes it. Only one of them can
   succeed, and that one closes the far end of the socket pair.
2. A caller that queues a lookup checks the number of threads *after* that. A thread that is about
   to end removes itself from `_threads` and checks the queue *after* that. In any interleaving,
   at least one of them sees the other, so no lookup remains in the queue without a thread.
3. The caller's own thread looks the name up, and blocks, if no thread can be started: because the
   interpreter is shutting down, or because it is an isolated sub-interpreter. Python 3.11 starts
   threads even while it shuts down, but they never run.
"""

from __future__ import annotations

# `getaddrinfo` encodes every name with this codec. Imports fail while the interpreter shuts down,
# and connections may be used then, so this is imported early.
import encodings.idna  # noqa: F401
import errno
import os
import socket
import sys
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeAlias

from ..errors import DNSUnavailable, HostnameNotResolvable
from ..protocol import grammar
from .sockets import socketpair

#: An item of the result of `socket.getaddrinfo`: family, type, protocol, canonical name, address.
AddressInfo: TypeAlias = tuple[int, int, int, str, Any]

#: Names that resolve wherever the DNS works. If none of them does, the DNS is unavailable.
DNS_TEST_HOSTNAMES: tuple[tuple[str, int], ...] = (
    ("www.google.com", 80),
    ("www.iana.org", 80),
    ("c.root-servers.net", 53),
)

#: Lookups that run at a time. A few more may run if several threads begin one simultaneously,
#: because the limit is checked without a lock. Lookups use little processor time.
MAX_THREADS = 32


class Lookup:
    """One lookup, which begins immediately. Call `result` when `sock` becomes readable.

    Args:
        host: a host name.
        port: the port for the addresses returned.
        look_up: does the work. The default is `resolve`, which asks the system.

    Raises:
        RuntimeError: the system cannot start another thread.
        OSError: the process has no descriptor left.

    Attributes:
        sock: our end of a socket pair.
    """

    def __init__(
        self,
        host: str,
        port: int,
        look_up: Callable[[str, int], list[AddressInfo]] | None = None,
    ) -> None:
        self._host = host
        self._port = port
        self._look_up = look_up
        self._addresses: list[AddressInfo] = []
        self._failure: BaseException | None = None
        self._done = False
        self.sock, self._far_end = socketpair()
        self.sock.setblocking(False)
        try:
            if not _submit(self):
                self.run()
        except BaseException:
            self.close()
            raise

    def run(self) -> None:
        """Look the name up and report the end. Blocks.

        Runs in the thread that removed this from the queue.
        """
        self._resolve()
        with suppress(OSError):  # the other end is closed already
            # close() would not reach the other end if a child made by fork has a copy of this one.
            # Sending a byte would cause a SIGPIPE if the other end is closed.
            self._far_end.shutdown(socket.SHUT_RDWR)
        self._far_end.close()

    def _resolve(self) -> None:
        try:
            self._addresses = (self._look_up or resolve)(self._host, self._port)
        except BaseException as exc:  # `result` raises it
            self._failure = exc.with_traceback(None)
        self._done = True

    def close(self) -> None:
        """Abandon the lookup. If no thread has begun it, none will."""
        if _withdraw(self):
            self._far_end.close()
        self.sock.close()

    def result(self) -> list[AddressInfo] | None:
        """Return the addresses, or ``None`` if they are not available yet.

        Raises:
            HostnameNotResolvable, DNSUnavailable, OSError: the lookup failed.
        """
        if not self._done and sys.is_finalizing():
            self._resolve()  # all other threads have ended, including the one that had this lookup
        if self._failure is not None:
            failure, self._failure = self._failure, None
            try:
                raise failure
            finally:
                del failure  # the exception's traceback refers to this frame, and to this object
        return self._addresses if self._done else None


def numeric(host: str, port: int) -> list[AddressInfo] | None:
    """Return the addresses for a numeric *host*; ``None`` if it is a name. Never blocks."""
    if grammar.IPV4.fullmatch(host):
        return [(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (host, port))]
    try:
        # As bytes. For a str, Python's IDNA codec would run, and if a signal handler raises in it,
        # the codec replaces that exception.
        return _getaddrinfo(host.encode("ascii"), port, socket.AI_NUMERICHOST)
    except (socket.gaierror, UnicodeError):
        return None


def resolve(host: str, port: int) -> list[AddressInfo]:
    """Look *host* up, and classify a failure. Blocks.

    The system's resolver often reports the same error for a name that does not exist and for a
    network that is down. So after a failure, this looks up `DNS_TEST_HOSTNAMES`.

    Raises:
        DNSUnavailable: the DNS asks to try again, or resolves none of `DNS_TEST_HOSTNAMES`.
        HostnameNotResolvable: the DNS works and has no address for *host*.
        OSError: this process has no descriptor or memory left for the lookup.
    """
    try:
        return _look_up(host, port)
    except UnicodeError:  # not a valid name in the DNS
        raise HostnameNotResolvable(host) from None
    except socket.gaierror as exc:
        if exc.errno == socket.EAI_AGAIN or not _dns_works():
            raise DNSUnavailable(host) from exc
    try:
        return _look_up(host, port)  # the DNS may have recovered since the first attempt
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


#: Errors that report a shortage in this process or on this machine, and nothing about the DNS.
_SHORTAGES = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS)


def _look_up(host: str, port: int) -> list[AddressInfo]:
    """Call the system's resolver, and distinguish its failures from shortages of this process.

    Raises:
        OSError: no descriptor or memory is left.
        socket.gaierror: the name was looked up, and that failed.
    """
    try:
        return _getaddrinfo(host, port)
    except socket.gaierror as exc:
        if exc.errno == getattr(socket, "EAI_MEMORY", None):
            raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM)) from exc
        # Without a free descriptor, glibc can neither open /etc/hosts nor create a socket for the
        # name server. Then it reports EAI_NONAME, as for a name that does not exist. So check
        # whether a descriptor is available.
        try:
            socket.socket().close()
        except OSError as shortage:
            if shortage.errno in _SHORTAGES:
                raise shortage from exc
        raise


def _getaddrinfo(host: str | bytes, port: int, flags: int = 0) -> list[AddressInfo]:
    return list(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=flags))


# Threads.

_queue: deque[Lookup] = deque()
_threads: set[threading.Thread] = set()


def _submit(lookup: Lookup) -> bool:
    """Queue *lookup* for a thread, and start one if necessary.

    Returns:
        False if this interpreter cannot start threads. Then the lookup is not queued.

    Raises:
        RuntimeError: the system cannot start another thread.
    """
    if sys.is_finalizing():
        return False
    _queue.append(lookup)
    if len(_threads) >= MAX_THREADS:
        return True
    thread = _new_thread()
    try:
        _threads.add(thread)
        thread.start()
    except BaseException as exc:
        # If this is an interrupt, the thread may be running anyway. Then it adds itself again.
        _threads.discard(thread)
        # Matches "can't create new thread at interpreter shutdown" and "thread is not supported for
        # isolated subinterpreters". Does not match "can't start new thread", which is a shortage
        # that may end.
        if isinstance(exc, RuntimeError) and "interpreter" in str(exc):
            return not _withdraw(lookup)
        raise
    return True


def _withdraw(lookup: Lookup) -> bool:
    """Remove *lookup* from the queue. Return False if a thread has removed it already."""
    try:
        _queue.remove(lookup)  # atomic, because comparing lookups runs no Python code
    except ValueError:
        return False
    return True


def _new_thread() -> threading.Thread:
    name = "dugong-resolver"
    try:
        # A daemon: a name server that does not answer must not delay the exit of the program.
        return threading.Thread(target=_work, name=name, daemon=True)
    except RuntimeError:  # isolated sub-interpreters allow no daemon threads
        return threading.Thread(target=_work, name=name, daemon=False)


def _work() -> None:
    thread = threading.current_thread()
    try:
        while True:
            _threads.add(thread)
            while _queue:
                with suppress(IndexError):  # another thread has taken it
                    _queue.popleft().run()
            _threads.discard(thread)
            if not _queue:
                return
    finally:
        _threads.discard(thread)


def _forget() -> None:
    """Reset the state in a child made by fork, where the parent's threads do not exist."""
    _queue.clear()
    _threads.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
