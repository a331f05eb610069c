"""Name resolution in helper threads, reported through a socket pair.

Threads are bounded: when `MAX_THREADS` look-ups are under way, further ones wait for their turn.
A thread ends when nothing is left to look up.

There is no lock here. A lookup is abandoned when its coroutine ends, and that may happen in the
garbage collector or in a signal handler: in the middle of any line below, in the same thread. A
child made by fork would never see a lock released that one of its parent's threads held. So all
that threads share is a deque and a set, whose methods are atomic:

1. A lookup waits in `_queue` until a thread takes it. `Lookup.close` takes it off the queue, too.
   Only one of them can, and that one closes the far end of the socket pair.
2. Whoever queues a lookup looks at the number of threads *afterwards*; a thread that ends takes
   itself off `_threads` and looks at the queue *afterwards*. So one of them sees the other, and
   no lookup is left in the queue without a thread.
3. Where no thread can be started any more, because the interpreter is shutting down, or at all,
   because it is an isolated sub-interpreter, the caller's thread looks the name up and blocks for
   that long. Python 3.11 starts threads while it shuts down; they never run.
"""

from __future__ import annotations

# Name lookup encodes every name by this codec. It cannot be imported while the interpreter shuts
# down, and connections may be used then.
import encodings.idna  # noqa: F401
import errno
import os
import socket
import sys
import threading
from collections import deque
from contextlib import suppress
from typing import Any, TypeAlias

from ..errors import DNSUnavailable, HostnameNotResolvable
from .sockets import socketpair

#: What `socket.getaddrinfo` gives: family, type, protocol, canonical name, address.
AddressInfo: TypeAlias = tuple[int, int, int, str, Any]

#: Names that resolve wherever the DNS works. When none of them does, the DNS is down.
DNS_TEST_HOSTNAMES: tuple[tuple[str, int], ...] = (
    ("www.google.com", 80),
    ("www.iana.org", 80),
    ("c.root-servers.net", 53),
)

#: Lookups at a time, or a few more if several threads ask at once. The system's resolver mostly
#: waits.
MAX_THREADS = 32


class Lookup:
    """One lookup. Its result is available when `sock` becomes readable.

    Args:
        host: a host name.
        port: for the addresses returned.

    Raises:
        RuntimeError: the system has no thread left.
        OSError: the process has no descriptor left.

    Attributes:
        sock: our end of a socket pair.
    """

    def __init__(self, host: str, port: int) -> None:
        self._host = host
        self._port = port
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
        """Look the name up and report that, in the thread that took this off the queue. Blocks."""
        self._resolve()
        with suppress(OSError):  # nothing waits any more
            # Unlike close(), this also reaches the other end if a child made by fork has a copy of
            # this one. Unlike a byte, it causes no SIGPIPE if nothing waits.
            self._far_end.shutdown(socket.SHUT_RDWR)
        self._far_end.close()

    def _resolve(self) -> None:
        try:
            self._addresses = resolve(self._host, self._port)
        except BaseException as exc:  # the waiting side raises it
            self._failure = exc.with_traceback(None)
        self._done = True

    def close(self) -> None:
        """Stop waiting. A lookup that has not begun is dropped."""
        if _withdraw(self):
            self._far_end.close()
        self.sock.close()

    def result(self) -> list[AddressInfo] | None:
        """Return the addresses, or ``None`` if they are not available yet.

        Raises:
            HostnameNotResolvable, DNSUnavailable, OSError: the lookup failed.
        """
        if not self._done and sys.is_finalizing():
            self._resolve()  # the thread that was to do this has ended with all others
        if self._failure is not None:
            raise self._failure
        return self._addresses if self._done else None


def numeric(host: str, port: int) -> list[AddressInfo] | None:
    """Return the address that *host* is, ``None`` if it is a name. Never waits."""
    try:
        # As bytes, because Python's IDNA codec replaces the exception of a signal handler.
        return _getaddrinfo(host.encode("ascii"), port, socket.AI_NUMERICHOST)
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


def _getaddrinfo(host: str | bytes, port: int, flags: int = 0) -> list[AddressInfo]:
    return list(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=flags))


# The threads.

_queue: deque[Lookup] = deque()
_threads: set[threading.Thread] = set()


def _submit(lookup: Lookup) -> bool:
    """Have a thread run *lookup*. Returns False if this interpreter cannot start any.

    Raises:
        RuntimeError: the system has no thread left.
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
        # After an interrupt the thread may run all the same. It adds itself again.
        _threads.discard(thread)
        # "can't create new thread at interpreter shutdown", "thread is not supported for isolated
        # subinterpreters"; but not "can't start new thread", which may work the next time.
        if isinstance(exc, RuntimeError) and "interpreter" in str(exc):
            return not _withdraw(lookup)
        raise
    return True


def _withdraw(lookup: Lookup) -> bool:
    """Take *lookup* off the queue. Returns False if it is not there: a thread has taken it."""
    try:
        _queue.remove(lookup)  # atomic: to compare lookups calls nothing written in Python
    except ValueError:
        return False
    return True


def _new_thread() -> threading.Thread:
    name = "dugong-resolver"
    try:
        # A daemon, so that a name server that does not answer cannot delay the program's exit.
        return threading.Thread(target=_work, name=name, daemon=True)
    except RuntimeError:  # this sub-interpreter waits for all of its threads when it ends
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
    """In a child made by fork there are none of its parent's threads."""
    _queue.clear()
    _threads.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
