"""A non-blocking connected socket. `TLSStream` in `tls` adds TLS.

Theory of operation
===================

`recv`, `recv_into` and `send` return the result, or a `PollNeeded` if they would block. Its mask
comes from the error that the socket reported, not from the name of the call: over TLS, a read may
have to wait until the socket is writable.

One thread or coroutine may send while another receives, and a third may close. A stream goes
through these states:

open
    Calls work.
marked (`Stream.closed`)
    No further call begins. Calls that are running end, and those that wait wake up.
shut down
    The peer has been sent a close_notify (TLS) and the end of the stream. The descriptor is open.
descriptor closed
    Nothing refers to it any more.

A detached stream is marked, and its socket belongs to the caller. These rules apply:

1. Each direction has a lock, held for one call, which does not block or waits only briefly
   (`BRIEFLY`). Over TLS both are the same lock, because an `SSLSocket` is not safe for two threads.
2. `close` marks the stream first. Without the mark, another thread could begin a call after the
   descriptor is closed, and its number may belong to another file by then.
3. Then `close` shuts the socket down, which wakes every call that waits for it. That needs both
   locks, because over TLS it sends a close_notify. But `close` never waits for a lock. It also runs
   in finalizers and signal handlers, in the middle of any other call of the same thread; and at
   exit, when a daemon thread may have ended while it held a lock. If a lock is taken, the thread
   that holds it does the rest when it leaves its call (`_end`).
4. Anything that waits for the descriptor, or has an event loop watch it, holds it (`hold`). The
   descriptor is closed after the last `release`. Otherwise its number could be reused meanwhile,
   and the wait would be for another file.

Brief waits
===========

A blocking method may wait for data inside the receive itself, which saves a call of `poll` for each
response (`recv_into` with `BRIEFLY` or `TO_THE_END`). For that, the socket blocks (`_let_wait`),
and the system limits each receive to `_BRIEF` seconds. All other calls pass ``MSG_DONTWAIT``,
except ``sendfile``, which has no flags: a socket that sends files does not block any more. After a
brief wait without data, the caller gets a `PollNeeded` like any other, and its driver waits as
usual. So brief waits need not know about time limits, about other threads that close the stream, or
about signals that arrive just before the system call.

A signal handler may raise during a brief wait. That must not break the connection, because nothing
was received. But the handler may also raise after the system call has received data and before the
caller has the result. To distinguish the two, C code stores the result, in the same instruction as
the call (`_briefly`). So `take_interrupted_wait` returns True only if nothing was received.
"""

from __future__ import annotations

import _socket
import os
import socket
import struct
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from itertools import starmap
from threading import RLock
from typing import TYPE_CHECKING, Any, TypeVar

from ..errors import ConnectionClosed, ConnectionTimedOut, tls_alert
from .fork import BY_FORK, disown_in_child
from .monitor import Monitor
from .poll import POLLIN, POLLOUT, Co, PollNeeded, timed_out
from .sockets import adopt, give_away
from .trace import Trace

T = TypeVar("T")

#: The largest number of pieces passed to one call of ``sendmsg``.
_MAX_PIECES = 16

#: Bytes. `Stream.recv_into` continues to receive if at least this many arrived in the last call
#: and there is still room for as many. It is also the size of a full TLS record (RFC 8446 section
#: 5.1), and OpenSSL returns and accepts one record at a time.
PIECE_SIZE = 16 * 1024

#: The socket option that joins small pieces. On systems without it, they are sent separately.
_CORK: int | None = getattr(socket, "TCP_CORK", None)

#: Flags of a call that does not wait. On systems without the flag, the socket never blocks.
AT_ONCE: int = getattr(socket, "MSG_DONTWAIT", 0)

#: Flags of a receive that waits for the first data for up to `_BRIEF` seconds.
BRIEFLY = 0

#: Flags of a receive that waits until the view is full, for up to `_BRIEF` seconds. It saves a call
#: for each piece of a body that is read to its end.
TO_THE_END: int = getattr(socket, "MSG_WAITALL", 0)

#: Seconds that a receive may wait in the system. Most responses of a server nearby arrive sooner.
#: Other threads that close the stream, and a caller's time limit, are late by up to this much.
_BRIEF = 0.05

#: `_BRIEF` as a ``struct timeval``.
_RECEIVE_TIMEOUT = struct.pack("@ll", 0, int(_BRIEF * 1e6))
_NO_TIMEOUT = struct.pack("@ll", 0, 0)

#: The fault of an idle connection on which data has arrived.
UNREQUESTED = "the server sent data that was not requested"

#: The end of the sentence "the connection was closed …", if the server announced the close.
AS_ANNOUNCED = "after the last response, as announced"


class Stream:
    """A connected plain socket.

    Attributes:
        closed: whether the stream is marked as closed. Never reset.
        sock: the socket.
        monitor: counts the bytes.
        want_read: the usual `PollNeeded` of a receiver.
        want_write: the usual `PollNeeded` of a sender.
        local_address, peer_address: the socket's addresses, in the form that `socket` uses.
        tls_version: such as ``"TLSv1.3"``, ``None`` without TLS.
        on_close: called by `close`, or ``None``. An event loop that watches the descriptor uses
            it to stop.
        trace: where to record the traffic, or ``None``.
        peeks: whether `has_ended` works.
        in_records: whether one `recv` returns at most one record (TLS only).
        mid_write: whether bytes may have been sent that `send` has not counted (TLS only).
        holders: what keeps the descriptor open (see `hold`).
    """

    peeks = True
    in_records = False
    mid_write = False
    tls_version: str | None = None
    trace: Trace | None = None
    _detached = True  # until `__init__` has a socket: `__del__` may run earlier

    def __init__(self, sock: socket.socket, monitor: Monitor) -> None:
        self.closed = False
        self._closed_by = ""
        self._shut_down = False
        self._latest: object = None  # the latest call of `_end`
        self._joins = False
        self.sock = adopt(sock)
        self._detached = False
        self.local_address = sock.getsockname()
        self.peer_address: Any = None
        with suppress(OSError):  # the peer has reset the connection already
            self.peer_address = sock.getpeername()
        self.on_close: Callable[[], object] | None = None
        self.monitor = monitor
        # Stored, because `TLSStream` receives from elsewhere, and a method that it overrides would
        # be one more call for each receive.
        self._recv: Callable[[int, int], bytes] = sock.recv
        self._recv_into: Callable[[memoryview, int, int], int] = sock.recv_into
        self._blocks: bool | None = None  # whether the socket does; None if it was not tried
        self._sends_files = False
        self._waits_briefly = False
        self._received: list[Any] = []  # the result of the last brief wait
        self.want_read = PollNeeded(sock.fileno(), POLLIN, phase="response")
        self.want_write = PollNeeded(sock.fileno(), POLLOUT, phase="send")
        # Reentrant: a signal handler or finalizer may use the stream in the middle of a call.
        self._recv_lock = RLock()
        self._send_lock = RLock()
        # The system reports a failure only once. After that, it reports the end of the stream to
        # a receiver, who would take a truncated body for a complete one. So failures are kept,
        # and repeated to receivers. That includes a reset that was reported to a sender.
        self._recv_failure: OSError | None = None
        self._send_failure: OSError | None = None
        self.holders: set[object] = set()
        disown_in_child(self)

    def recv_into(self, view: memoryview, flags: int = AT_ONCE) -> int | PollNeeded:
        """Receive into a buffer.

        Args:
            view: a writable view, not empty.
            flags: `AT_ONCE`, `BRIEFLY` or `TO_THE_END`. Only plain sockets wait.

        Returns:
            The number of bytes, 0 at the end of the stream; or what to wait for.

        Raises:
            ConnectionClosed: the connection failed, or ended without a close_notify over TLS, or
                was closed by `close`. Every later call raises it again.
            ConnectionTimedOut: the system has dropped the connection (``ETIMEDOUT``).
        """
        try:
            with self._recv_lock:
                if self.closed or self._recv_failure is not None:
                    self._check_receive()
                try:
                    if flags != AT_ONCE and (self._blocks or self._let_wait()):
                        count = self._briefly(self._recv_into, view, 0, flags)
                    else:
                        self._waits_briefly = False
                        count = self._recv_into(view, 0, AT_ONCE)
                except OSError as exc:
                    return self._recv_lacks(exc)
                if PIECE_SIZE <= count <= len(view) - PIECE_SIZE:
                    count = self._fill_up(view, count)
                elif count == 0:
                    self._check_end()
                self.monitor.bytes_received += count
                if self.trace is not None:
                    self.trace.received(view[:count])
                return count
        finally:
            if self.closed:
                self._end()

    def _fill_up(self, view: memoryview, filled: int) -> int:
        """Continue to receive while large pieces arrive.

        A non-blocking receive returns what had arrived when it began, and not what arrives while
        it copies. Over TLS it returns a single record. On a fast connection, more is available
        when it returns, and receiving that now saves a round through the callers.

        A failure here is kept for the next call: *filled* bytes have been received and must be
        returned first.
        """
        count, most = filled, len(view) - PIECE_SIZE
        while count >= PIECE_SIZE and filled <= most:
            rest = view[filled:]
            try:
                count = self._recv_into(rest, 0, AT_ONCE)
            except OSError as exc:
                if self._lacks(exc, self.want_read) is None:
                    self._recv_failure = exc.with_traceback(None)
                break
            finally:
                rest.release()
            filled += count
        return filled

    def recv(self, count: int, flags: int = AT_ONCE) -> bytes | PollNeeded:
        """Receive at most *count* bytes. Return ``b''`` at the end. See `recv_into`."""
        try:
            with self._recv_lock:
                if self.closed or self._recv_failure is not None:
                    self._check_receive()
                try:
                    if flags != AT_ONCE and (self._blocks or self._let_wait()):
                        data = self._briefly(self._recv, count, flags)
                    else:
                        self._waits_briefly = False
                        data = self._recv(count, AT_ONCE)
                except OSError as exc:
                    return self._recv_lacks(exc)
                if not data:
                    self._check_end()
                self.monitor.bytes_received += len(data)
                if self.trace is not None:
                    self.trace.received(data)
                return data
        finally:
            if self.closed:
                self._end()

    def _let_wait(self) -> bool:
        """Make the socket block, with time limits. Return whether it does."""
        if self._blocks is None:
            self._blocks = False
            # gevent, for example, has sockets of its own, which never block.
            if AT_ONCE and type(self.sock).recv_into is _socket.socket.recv_into:
                try:
                    self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _RECEIVE_TIMEOUT)
                    self.sock.setblocking(True)
                except OSError:
                    return False  # the next call reports what is wrong with the socket
                self._blocks = True
                if self._sends_files:  # since another thread has called `send_file` meanwhile
                    self._never_block()
        return self._blocks

    def _never_block(self) -> None:
        """Make every call return at once. ``sendfile`` has no flags for a single call."""
        self._sends_files = True  # first: `_let_wait` looks at this last
        blocks, self._blocks = self._blocks, False
        if blocks:
            self.sock.setblocking(False)
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _NO_TIMEOUT)

    def _briefly(self, receive: Callable[..., T], *args: object) -> T:
        """Call *receive*, and store its result in the same instruction (see "Brief waits")."""
        received: list[T] = []
        self._received = received
        self._waits_briefly = True
        received += starmap(receive, (args,))
        self._waits_briefly = False
        return received[0]

    def take_interrupted_wait(self) -> bool:
        """Return whether an exception of a signal handler has ended the last receive in its wait.

        Only the first call after such a receive returns True. A later exception has another origin.
        """
        interrupted = self._waits_briefly and not self._received
        self._waits_briefly = False
        return interrupted

    def send(self, pieces: Sequence[memoryview]) -> int | PollNeeded:
        """Send as much of *pieces* as the socket takes.

        Args:
            pieces: flat views, none of them empty. After a call that returned a `PollNeeded`, the
                next call must pass the same bytes again, because OpenSSL requires that.

        Returns:
            The number of bytes sent, at least 1; or what to wait for.

        Raises:
            ConnectionClosed: the connection ended, or was closed by `close`.
            ConnectionTimedOut: the system has dropped the connection (``ETIMEDOUT``).
        """
        try:
            with self._send_lock:
                if self.closed:
                    self.check_open()
                try:
                    count = self._send(pieces)
                except OSError as exc:
                    return self._send_lacks(exc)
                self.monitor.bytes_sent += count
                if self.trace is not None:
                    self.trace.sent(pieces, count)
                return count
        finally:
            if self.closed:
                self._end()

    def _send(self, pieces: Sequence[memoryview]) -> int:
        if len(pieces) > 1 and hasattr(self.sock, "sendmsg"):
            return self.sock.sendmsg(pieces[:_MAX_PIECES], (), AT_ONCE)
        return self.sock.send(pieces[0], AT_ONCE)

    def expect_more(self) -> None:
        """Allow the system to join small pieces until `push`, because more follows immediately.

        Without a `push`, Linux sends the pieces after 0.2 seconds. Unlike the flag ``MSG_MORE``,
        this also joins TLS records, and the data of ``sendfile``. On systems without ``TCP_CORK``
        it does nothing.
        """
        if not self._joins and _CORK is not None:
            self._joins = True
            self._cork(_CORK, 1)

    def push(self) -> None:
        """Undo `expect_more`: the system sends what it has held back."""
        if self._joins and _CORK is not None:
            self._joins = False
            self._cork(_CORK, 0)

    def _cork(self, option: int, value: int) -> None:
        try:
            with self._send_lock:
                self.sock.setsockopt(socket.IPPROTO_TCP, option, value)
        except OSError:
            pass  # the socket is closed, or not a TCP socket
        finally:
            if self.closed:
                self._end()

    def co_send_all(self, pieces: Sequence[memoryview]) -> Co[None]:
        """Send all of *pieces*, none of them empty, and wait as necessary. Raises as `send`."""
        while pieces:
            sent = self.send(pieces)
            if isinstance(sent, PollNeeded):
                yield from self.wait(sent)
            else:
                pieces = after(pieces, sent)

    @property
    def sends_files(self) -> bool:
        """Whether `send_file` may be called. It cannot trace or encrypt the bytes."""
        return self.trace is None and hasattr(os, "sendfile")

    def send_file(self, fd: int, offset: int, count: int) -> int | PollNeeded | None:
        """Send bytes of a file without reading them (``sendfile``). Requires `sends_files`.

        Args:
            fd: the file's descriptor.
            offset: where in the file to begin, in bytes.
            count: the largest number of bytes to send.

        Returns:
            The number of bytes, or what to wait for. ``None`` if the system cannot send this
            file, or the file has ended. Then read it: that either works or raises a clear error.

        Raises:
            ConnectionClosed, ConnectionTimedOut: as `send`.
        """
        token = object()
        try:
            with self._send_lock:
                self.check_open()
                # `sendfile` takes a descriptor's number. A signal handler may close the stream
                # between fileno() and the call. The lock does not prevent that, because it is
                # reentrant.
                self.holders.add(token)
                try:
                    self._never_block()
                    sent = os.sendfile(self.sock.fileno(), fd, offset, count)
                except (BlockingIOError, ConnectionError, TimeoutError) as exc:
                    return self._send_lacks(exc)
                except OSError:
                    return None  # the file is the reason, not the socket
                self.monitor.bytes_sent += sent
                return sent or None  # 0: the file has ended
        finally:
            self.holders.discard(token)
            if self.closed:
                self._end()

    def _send_lacks(self, exc: OSError) -> PollNeeded:
        need = self._lacks(exc, self.want_write)
        if need is None:
            if not isinstance(exc, BrokenPipeError):
                self._send_failure = exc.with_traceback(None)  # the frames refer to this stream
            raise _ended(exc, "send") from exc
        return need

    def has_ended(self) -> bool:
        """Return whether the peer has ended the stream properly, and no byte is unread.

        Consumes no byte. Requires `peeks`.
        """
        try:
            with self._recv_lock:
                self._check_receive()
                try:
                    return (
                        not self.sock.recv(1, socket.MSG_PEEK | AT_ONCE)
                        and self._send_failure is None
                    )
                except OSError as exc:
                    if self._lacks(exc, self.want_read) is None:
                        self._recv_failure = exc.with_traceback(None)
                    return False
        finally:
            if self.closed:
                self._end()

    def idle_fault(self) -> ConnectionClosed | None:
        """Return the reason why an idle connection cannot be used again, or ``None``.

        A readable socket is not a reason: an idle TLS 1.3 connection is readable, because servers
        send session tickets (RFC 8446 section 4.6.1). So this makes one receive: if it would
        block, the connection is healthy. The end of the stream, a failure or a byte of data is a
        fault (RFC 9112 section 9.2).
        """
        if not self._maybe_readable():
            return None
        try:
            got = self.recv_into(memoryview(bytearray(1)))
        except (ConnectionClosed, ConnectionTimedOut) as exc:
            if isinstance(exc, ConnectionClosed) and exc.alert is not None:
                # Unchanged: the server may have rejected the client right after the handshake,
                # before the connection was ever idle.
                return exc
            fault = unusable(str(exc))
            fault.__cause__ = exc.__cause__
            return fault
        if isinstance(got, PollNeeded):
            return None
        return unusable(UNREQUESTED) if got else unusable("the server closed it")

    def _maybe_readable(self) -> bool:
        return self.want_read.poll(0)

    def check_open(self) -> None:
        """Raise `ConnectionClosed` if the stream was closed."""
        if self.closed:
            raise ConnectionClosed(f"the connection was closed {self._closed_by}")

    def _check_receive(self) -> None:
        self.check_open()
        if self._recv_failure is not None:
            raise _ended(self._recv_failure, self.want_read.phase) from self._recv_failure

    def _check_end(self) -> None:
        if self._send_failure is not None:
            raise _ended(self._send_failure, self.want_read.phase) from self._send_failure

    def _recv_lacks(self, exc: OSError) -> PollNeeded:
        self._waits_briefly = False
        need = self._lacks(exc, self.want_read)
        if need is None:
            self.check_open()  # a signal handler may have closed it during a brief wait
            self._recv_failure = exc.with_traceback(None)  # the frames refer to this stream
            raise _ended(exc, self.want_read.phase) from exc
        return need

    def _lacks(self, exc: OSError, want: PollNeeded) -> PollNeeded | None:
        """Return the readiness that *exc* asks for, ``None`` if it is a failure."""
        return want if isinstance(exc, BlockingIOError) else None

    def wait(self, need: PollNeeded) -> Co[None]:
        """Wait for *need*, which a call of this stream returned. Holds the descriptor meanwhile.

        Raises:
            ConnectionClosed: the stream was closed, before the wait or during it.
        """
        token = object()
        try:
            # Hold first, check second. In the other order, `close` could run in between, see no
            # holder, and close the descriptor that this is about to wait for.
            self.holders.add(token)
            self.check_open()
            yield need
            self.check_open()
        except ConnectionTimedOut as exc:
            exc.phase = exc.phase or need.phase
            raise
        finally:
            # Inline instead of `release`: CPython runs signal handlers where a function begins.
            # An exception there would leave the token in the set, and the descriptor open forever.
            self.holders.discard(token)
            if self.closed:
                self._end()

    def hold(self, holder: object) -> None:
        """Keep the descriptor open until `release` or `detach`.

        Args:
            holder: any hashable object that identifies the caller.

        Raises:
            ConnectionClosed: the stream was closed. Then nothing is held.
        """
        self.holders.add(holder)
        if self.closed:
            self.release(holder)
            self.check_open()

    def release(self, holder: object) -> None:
        """Undo `hold`. If the stream is closed and nothing else holds it, close the descriptor."""
        self.holders.discard(holder)
        if self.closed:
            self._end()

    def keep_tls_session(self) -> None:
        """Note the TLS session for later connections. Without TLS, there is none."""

    def close(self, by: str = "by disconnect()") -> None:
        """Close the connection and wake every call that waits for it.

        May be called from any thread, a signal handler or a finalizer. Never blocks. If it is
        interrupted, another call completes it.

        Args:
            by: the reason, as the end of the sentence "the connection was closed …".
        """
        if not self.closed:
            self._closed_by = by
            self.closed = True
        if self.on_close is not None:
            self.on_close()
            self.on_close = None
        self._end()

    def _end(self) -> None:
        """Shut down and close a stream that is marked as closed, unless a call is running.

        Each call runs this after it has released its lock, so the last of them does the work.
        Threads may also collide in here. Example: A closes the stream while B sends. A takes the
        receive lock and fails to take the send lock. B leaves its call, comes here, and finds the
        receive lock taken by A. Now both would give up. So each thread that enters announces
        itself in `_latest` before it tries the locks, and a thread that has failed tries again if
        another has announced itself since. In the example, A finds the announcement of B.
        """
        while True:
            self._latest = latest = object()
            with Attempt(self._recv_lock) as taken:
                if taken:
                    try:
                        with Attempt(self._send_lock) as taken_too:
                            if taken_too:
                                try:
                                    self._end_alone()
                                    return
                                finally:
                                    self._send_lock.release()
                    finally:
                        self._recv_lock.release()
            if self._latest is latest:
                return

    def _end_alone(self) -> None:
        if self._detached:
            return
        if not self._shut_down:
            self._goodbye()
            shut_down(self.sock)
            if self.trace is not None:
                self.trace.close()
            self._shut_down = True
        if not self.holders:
            self.sock.close()

    def _goodbye(self) -> None:
        """Send what the protocol requires before the end of the stream, without waiting."""

    def _disown(self) -> None:
        # New locks: a thread of the parent may have held the old ones, and does not exist here.
        self._recv_lock = self._send_lock = RLock()
        if not self._detached:
            self.closed = self._detached = True
            self._closed_by = BY_FORK
            self.on_close = None
            self.sock.close()
            if self.trace is not None:
                self.trace.close()

    @property
    def detachable(self) -> bool:
        """Whether the socket alone is the connection. False for TLS inside the TLS of a proxy."""
        return True

    def detach(self) -> socket.socket:
        """Return the socket to the caller, who must close it. The stream is marked as closed."""
        self._closed_by = "by detach()"
        self.closed = True
        with self._recv_lock, self._send_lock:
            if self.trace is not None:
                self.trace.close()
            if self._blocks:
                self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _NO_TIMEOUT)
            sock = give_away(self.sock)
        self._detached = True  # last: after an interrupt before this, `close` closes the socket
        return sock

    def __del__(self) -> None:
        if not self._detached:
            self.sock.close()  # even if the caller, who passed it in, still has a reference


class Attempt:
    """A ``with`` statement that tries to take a lock. Its ``as`` target is whether it succeeded.

    The caller releases the lock, inside the block::

        with Attempt(lock) as taken:
            if taken:
                try:
                    ...
                finally:
                    lock.release()

    After an ordinary call of ``acquire``, CPython may run a signal handler before the caller enters
    its ``try``. If the handler raises, nothing ever releases the lock. A ``with`` statement that
    calls ``acquire`` as its ``__enter__``, directly in C, enters its block without such a gap.
    """

    if TYPE_CHECKING:

        def __enter__(self) -> bool: ...

    else:
        __slots__ = ("__enter__",)

    def __init__(self, lock: RLock) -> None:
        self.__enter__ = partial(lock.acquire, False)  # type: ignore[method-assign]

    def __exit__(self, *exc: object) -> None:
        pass


def after(pieces: Sequence[memoryview], count: int) -> list[memoryview]:
    """Return *pieces* without their first *count* bytes."""
    for index, piece in enumerate(pieces):
        if count < len(piece):
            return [piece[count:], *pieces[index + 1 :]]
        count -= len(piece)
    return []


def shut_down(sock: socket.socket) -> None:
    """Shut down *sock*, connected or connecting, and so wake every thread that waits for it."""
    try:
        # SSLSocket.shutdown() also drops the TLS layer. A concurrent read would return ciphertext.
        socket.socket.shutdown(sock, socket.SHUT_RDWR)
    except OSError:
        pass  # the socket was not connected, or is closed already


def _ended(exc: OSError, phase: str | None) -> ConnectionClosed | ConnectionTimedOut:
    if isinstance(exc, TimeoutError):
        return timed_out(f"the connection broke: {exc}", phase)
    alert = tls_alert(exc)
    if alert is None:
        return ConnectionClosed(f"the connection broke: {exc}")
    closed = ConnectionClosed(f"the server ended the TLS connection with the alert {alert}")
    closed.alert = alert
    return closed


def unusable(fault: str) -> ConnectionClosed:
    """Return the exception for an idle connection that cannot be used again because of *fault*."""
    return ConnectionClosed(f"the idle connection cannot be used: {fault}")
