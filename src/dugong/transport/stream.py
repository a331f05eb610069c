"""A connected socket that is tried and never waits; `TLSStream` in `tls` is its TLS sister.

`recv`, `recv_into` and `send` return what they did or, as `PollNeeded`, the readiness they lack.
The mask comes from what the socket said: over TLS a read may need to write.

One thread or coroutine may send while another receives, and a third may close:

1. Each direction has a lock, held for one non-blocking call. Over TLS both are the same lock.
2. `close` marks the stream first, so that no further call begins. Later the descriptor may be that
   of another file.
3. Then the socket is shut down, so that every call that waits for it wakes up. That needs both
   locks, because over TLS it sends a close_notify. But `close` never waits for a lock. It also runs
   in finalizers and signal handlers, in the middle of whatever the thread was doing, and at exit,
   when a daemon thread may have ended while it held one. If a lock is taken, the thread that has it
   does the rest when it leaves its call (`_end`).
4. Anything that waits for the descriptor, or has an event loop watch it, holds it (`hold`). It is
   closed after the last `release`, so its number cannot be reused meanwhile.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from threading import RLock
from typing import TYPE_CHECKING, Any

from ..errors import ConnectionClosed, ConnectionTimedOut, tls_alert
from .fork import BY_FORK, disown_in_child
from .monitor import Monitor
from .poll import POLLIN, POLLOUT, Co, PollNeeded, timed_out
from .sockets import adopt, give_away
from .trace import Trace

#: How many pieces are handed to the system at once.
_MAX_PIECES = 16

#: A view is filled further if that much has just come, and that much still has room in it. Over
#: TLS it is a whole record (RFC 8446 section 5.1): OpenSSL gives and takes one at a time.
PIECE_SIZE = 16 * 1024

#: Joins small pieces that are followed by others at once. Where it is missing, they just go.
_CORK: int | None = getattr(socket, "TCP_CORK", None)

#: What is wrong with an idle connection that has received something.
UNREQUESTED = "the server sent data that was not requested"


class Stream:
    """A connected plain socket.

    Attributes:
        want_read: what a receiver usually waits for.
        want_write: what a sender usually waits for.
        local_address, peer_address: of the socket, in the form that `socket` uses.
        tls_version: such as ``"TLSv1.3"``, ``None`` without TLS.
        on_close: called by `close`, or ``None``. An event loop that watches the descriptor has to
            let go of it.
        trace: where to write the traffic down, or ``None``.
        peeks: whether `has_ended` can tell.
        in_records: whether one `recv` gives no more than a record (TLS only).
        mid_write: whether bytes may be under way that `send` has not counted (TLS only).
    """

    peeks = True
    in_records = False
    mid_write = False
    tls_version: str | None = None
    trace: Trace | None = None
    _detached = True  # until there is a socket

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
        with suppress(OSError):  # it has reset the connection already
            self.peer_address = sock.getpeername()
        self.on_close: Callable[[], object] | None = None
        self._monitor = monitor
        self._recv: Callable[[int], bytes] = sock.recv
        self._recv_into: Callable[[memoryview], int] = sock.recv_into
        self.want_read = PollNeeded(sock.fileno(), POLLIN, phase="response")
        self.want_write = PollNeeded(sock.fileno(), POLLOUT, phase="send")
        self._recv_lock = RLock()  # signal handlers and finalizers may use the stream, too
        self._send_lock = RLock()
        self._recv_failure: OSError | None = None
        #: A reset that the system told a sender. A receiver would then be told of a proper end.
        self._send_failure: OSError | None = None
        self.holders: set[object] = set()
        disown_in_child(self)

    def recv_into(self, view: memoryview) -> int | PollNeeded:
        """Receive into *view*, which is not empty. Returns the number of bytes, 0 at the end.

        Raises:
            ConnectionClosed: the connection ended other than properly, or was closed by us.
            ConnectionTimedOut: the system gave the connection up (``ETIMEDOUT``).
        """
        try:
            with self._recv_lock:
                if self.closed or self._recv_failure is not None:
                    self._check_receive()
                try:
                    count = self._recv_into(view)
                except OSError as exc:
                    return self._recv_lacks(exc)
                if PIECE_SIZE <= count <= len(view) - PIECE_SIZE:
                    count = self._fill_up(view, count)
                elif count == 0:
                    self._check_end()
                self._monitor.bytes_received += count
                if self.trace is not None:
                    self.trace.received(view[:count])
                return count
        finally:
            if self.closed:
                self._end()

    def _fill_up(self, view: memoryview, filled: int) -> int:
        """Go on receiving while much comes in, or OpenSSL has more records."""
        count, most = filled, len(view) - PIECE_SIZE
        while count >= PIECE_SIZE and filled <= most:
            rest = view[filled:]
            try:
                count = self._recv_into(rest)
            except OSError as exc:
                if self._lacks(exc, self.want_read) is None:
                    self._recv_failure = exc.with_traceback(None)  # for the next call
                break
            finally:
                rest.release()
            filled += count
        return filled

    def recv(self, count: int) -> bytes | PollNeeded:
        """Receive at most *count* bytes. Returns ``b''`` at the end. Raises as `recv_into`."""
        try:
            with self._recv_lock:
                self._check_receive()
                try:
                    data = self._recv(count)
                except OSError as exc:
                    return self._recv_lacks(exc)
                if not data:
                    self._check_end()
                self._monitor.bytes_received += len(data)
                if self.trace is not None:
                    self.trace.received(data)
                return data
        finally:
            if self.closed:
                self._end()

    def send(self, pieces: Sequence[memoryview]) -> int | PollNeeded:
        """Send what can be sent of *pieces*, which are not empty. Returns the number of bytes.

        After it returned a `PollNeeded`, it is to be called with the same bytes again.

        Raises:
            ConnectionClosed: the connection ended, or was closed by us.
            ConnectionTimedOut: the system gave the connection up (``ETIMEDOUT``).
        """
        try:
            with self._send_lock:
                if self.closed:
                    self.check_open()
                try:
                    count = self._send(pieces)
                except OSError as exc:
                    return self._send_lacks(exc)
                self._monitor.bytes_sent += count
                if self.trace is not None:
                    self.trace.sent(pieces, count)
                return count
        finally:
            if self.closed:
                self._end()

    def _send(self, pieces: Sequence[memoryview]) -> int:
        if len(pieces) > 1 and hasattr(self.sock, "sendmsg"):
            return self.sock.sendmsg(pieces[:_MAX_PIECES])
        return self.sock.send(pieces[0])

    def expect_more(self) -> None:
        """More will be sent in a moment: the system may join small pieces, until `push`.

        If that does not come, Linux sends what it has after 0.2 seconds all the same. Unlike the
        flag ``MSG_MORE``, this also joins TLS records, and what ``sendfile`` sends.
        """
        if not self._joins and _CORK is not None:
            self._joins = True
            self._cork(_CORK, 1)

    def push(self) -> None:
        """Undo `expect_more`, and send what the system has held back."""
        if self._joins and _CORK is not None:
            self._joins = False
            self._cork(_CORK, 0)

    def _cork(self, option: int, value: int) -> None:
        try:
            with self._send_lock:
                self.sock.setsockopt(socket.IPPROTO_TCP, option, value)
        except OSError:
            pass  # it is closed, or no TCP socket
        finally:
            if self.closed:
                self._end()

    def co_send_all(self, pieces: Sequence[memoryview]) -> Co[None]:
        """Send all of *pieces*, none of them empty, waiting as need be. Raises as `send`."""
        while pieces:
            sent = self.send(pieces)
            if isinstance(sent, PollNeeded):
                yield from self.wait(sent)
            else:
                pieces = after(pieces, sent)

    @property
    def sends_files(self) -> bool:
        """Whether `send_file` works here: bytes that are traced, or encrypted, must be read."""
        return self.trace is None and hasattr(os, "sendfile")

    def send_file(self, fd: int, offset: int, count: int) -> int | PollNeeded | None:
        """Send at most *count* bytes of a file from *offset* on, without reading them.

        To be called only if the stream `sends_files`.

        Returns:
            The number of bytes, or ``None`` if that does not work with this file: reading it
            works, or tells why it does not.

        Raises:
            ConnectionClosed, ConnectionTimedOut: as `send`.
        """
        token = object()
        try:
            with self._send_lock:
                self.check_open()
                self.holders.add(token)  # a signal handler may close this just before the call
                try:
                    sent = os.sendfile(self.sock.fileno(), fd, offset, count)
                except (BlockingIOError, ConnectionError, TimeoutError) as exc:
                    return self._send_lacks(exc)
                except OSError:
                    return None  # about this file, or this kind of file
                self._monitor.bytes_sent += sent
                return sent or None  # 0: the file has ended
        finally:
            self.holders.discard(token)
            if self.closed:
                self._end()

    def _send_lacks(self, exc: OSError) -> PollNeeded:
        need = self._lacks(exc, self.want_write)
        if need is None:
            if not isinstance(exc, BrokenPipeError):
                self._send_failure = exc.with_traceback(None)  # whose frames refer to this stream
            raise _ended(exc, "send") from exc
        return need

    def has_ended(self) -> bool:
        """Whether the peer's end has arrived, with nothing before it. Takes no byte.

        To be asked only if the stream `peeks`.
        """
        try:
            with self._recv_lock:
                self._check_receive()
                try:
                    return not self.sock.recv(1, socket.MSG_PEEK) and self._send_failure is None
                except OSError as exc:
                    if self._lacks(exc, self.want_read) is None:
                        self._recv_failure = exc.with_traceback(None)
                    return False
        finally:
            if self.closed:
                self._end()

    def idle_fault(self) -> ConnectionClosed | None:
        """Return why this connection, on which nothing is expected, cannot be used any more.

        Readable is not enough to tell: a healthy TLS connection is readable while session
        tickets lie there. One receive is.
        """
        if not self._maybe_readable():
            return None
        try:
            got = self.recv_into(memoryview(bytearray(1)))
        except (ConnectionClosed, ConnectionTimedOut) as exc:
            if isinstance(exc, ConnectionClosed) and exc.alert is not None:
                return exc  # the server may have rejected the connection before it was ever idle
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
        if self._recv_failure is not None:  # the system tells an error only once
            raise _ended(self._recv_failure, self.want_read.phase) from self._recv_failure

    def _check_end(self) -> None:
        if self._send_failure is not None:
            raise _ended(self._send_failure, self.want_read.phase) from self._send_failure

    def _recv_lacks(self, exc: OSError) -> PollNeeded:
        need = self._lacks(exc, self.want_read)
        if need is None:
            self._recv_failure = exc.with_traceback(None)  # whose frames refer to this stream
            raise _ended(exc, self.want_read.phase) from exc
        return need

    def _lacks(self, exc: OSError, want: PollNeeded) -> PollNeeded | None:
        """Return the readiness that *exc* asks for, ``None`` if it is a failure."""
        return want if isinstance(exc, BlockingIOError) else None

    def wait(self, need: PollNeeded) -> Co[None]:
        """Wait for *need*, one that a call of this stream returned.

        Raises:
            ConnectionClosed: the stream was closed.
        """
        token = object()
        try:
            self.holders.add(token)
            self.check_open()
            yield need
            self.check_open()
        except ConnectionTimedOut as exc:
            exc.phase = exc.phase or need.phase
            raise
        finally:
            # Not `release`: an interrupt where that begins would leave the token in the set, and
            # so the descriptor open.
            self.holders.discard(token)
            if self.closed:
                self._end()

    def hold(self, holder: object) -> None:
        """Keep the descriptor open until *holder* is released, or the socket is given away.

        Raises:
            ConnectionClosed: the stream was closed.
        """
        self.holders.add(holder)
        if self.closed:
            self.release(holder)
            self.check_open()

    def release(self, holder: object) -> None:
        """Undo `hold`."""
        self.holders.discard(holder)
        if self.closed:
            self._end()

    def close(self, by: str = "by disconnect()") -> None:
        """Close the connection, from any thread, and wake every call that waits for it.

        A call that was interrupted is completed by the next one.

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
        """Do what is left to do for a stream that is marked as closed, unless a call is under way.

        The thread of such a call comes here after it has released its lock. It may find a lock
        taken by a thread that has come here, too, and has got only one of both. So that thread
        looks whether another one has come since it did, and if so, tries again.
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
        """Say what the protocol has to say before the end, without waiting."""

    def _disown(self) -> None:
        self._recv_lock = self._send_lock = RLock()
        if not self._detached:
            self.closed = self._detached = True
            self._closed_by = BY_FORK
            self.on_close = None
            self.sock.close()
            if self.trace is not None:
                self.trace.close()

    def detach(self) -> socket.socket:
        """Give the socket away. The stream is closed, the connection is not."""
        self._closed_by = "by detach()"
        self.closed = True
        with self._recv_lock, self._send_lock:
            if self.trace is not None:
                self.trace.close()
            sock = give_away(self.sock)
        self._detached = True  # last: `close` closes what an interrupt has left
        return sock

    def __del__(self) -> None:
        if not self._detached:
            self.sock.close()  # even if the caller still has a reference to the one given


class Attempt:
    """``with`` on this takes a lock unless another thread has it, and ``as`` is whether it did.

    The caller releases the lock, within the block. ``with`` enters the block before CPython looks
    for signals. After a call of ``acquire`` a signal handler could raise, and nothing would ever
    release the lock.
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
    """Return what is left of *pieces* without their first *count* bytes."""
    for index, piece in enumerate(pieces):
        if count < len(piece):
            return [piece[count:], *pieces[index + 1 :]]
        count -= len(piece)
    return []


def shut_down(sock: socket.socket) -> None:
    """Make everybody wake up who waits for *sock*, connected or connecting."""
    try:
        # Not sock.shutdown(): that of an SSLSocket strips the TLS layer under a reader.
        socket.socket.shutdown(sock, socket.SHUT_RDWR)
    except OSError:
        pass  # it was not connected, or is closed already


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
    """Return what to raise when *fault* keeps an idle connection from being used again."""
    return ConnectionClosed(f"the idle connection cannot be used: {fault}")
