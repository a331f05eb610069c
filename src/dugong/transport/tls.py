"""TLS: the handshake, and a `Stream` over it. Imported only when there is a TLS connection.

Theory of operation
===================

A `TLSStream` differs from a `Stream` in these points:

1. **One lock for both directions.** An `ssl.SSLSocket` is not safe for two threads.
2. **A call may wait for the other direction.** OpenSSL reports whether it wants to read or to
   write, and `wanted` turns that into a `PollNeeded`.
3. **Sending is record by record.** OpenSSL counts bytes only when all that it was given is
   written. With one record at a time (at most `PIECE_SIZE` bytes), the count of bytes sent is as
   accurate as it can be.
4. **A record may be half written** when the socket would block. From then on, until OpenSSL reports
   success, `mid_write` is true: the peer may receive bytes that `send` has not counted, so the
   request must not be taken for one that was never sent. OpenSSL wants the same bytes again until
   the record is complete.
5. **Received data may be pending inside OpenSSL** while the socket is not readable. `idle_fault`
   therefore asks `SSLSocket.pending`, and `recv_into` continues after a full record.
6. **The end needs a close_notify** (RFC 9112 section 9.8). Without it, an attacker may have
   truncated the stream. OpenSSL then raises an error, which becomes `ConnectionClosed`.
7. **The socket may belong to the proxy's TLS.** Through an https proxy, the server's TLS is a
   `TLSLayer` inside the TLS of the socket. So a `TLSStream` has two objects, `sock` for what is
   done to a socket, and `_tls` for what is encrypted. Usually they are the same object.
8. **A fatal alert explains why a connection ended.** In TLS 1.3 the server checks the client's
   certificate after the client's side of the handshake is complete, so its alert may arrive while
   the request is being sent. See `TLSStream._waiting_alert`.

The alternative is an `ssl.SSLObject` over memory, with many records in one system call. Measured
on Linux, sending then takes a tenth less processor time. But receiving takes up to 40 % more,
depending on the size of the blocks, and small requests take 6 to 9 % more. It would also bypass a
context's own `wrap_socket`, `Stream.detach` could not return an `ssl.SSLSocket`, and an idle
connection would keep the memory for its largest block. Another one, to have the system join the
records of one call (``TCP_CORK``), saves 5 to 7 % for uploads. But the last record of a call may
then stay behind in the system for a while after it was counted.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

from ..errors import UnsupportedResponse, tls_alert
from .arguments import check_truncation
from .layer import TLSLayer
from .monitor import Monitor
from .poll import POLLIN, POLLOUT, Co, PollNeeded
from .sockets import adopt
from .stream import AS_ANNOUNCED, PIECE_SIZE, Stream

if TYPE_CHECKING:
    from .connect import Resumption, Wait


#: What encrypts the data of a stream (rule 7).
TLS: TypeAlias = ssl.SSLSocket | TLSLayer

#: The exceptions that sending raises after the peer has ended the connection.
_GONE = (ConnectionError, ssl.SSLEOFError, ssl.SSLZeroReturnError)


#: The most bytes that one call of `send` encrypts. It holds the lock meanwhile, which keeps a
#: receiver out. Without this limit it could hold it for the whole body, because a peer on the same
#: machine may receive as fast as this sends.
_MOST_AT_ONCE = 64 * PIECE_SIZE


class TLSStream(Stream):
    """A connected TLS socket after its handshake."""

    peeks = False
    in_records = True
    sock: ssl.SSLSocket

    def __init__(
        self,
        sock: ssl.SSLSocket,
        monitor: Monitor,
        resumption: Resumption | None = None,
        layer: TLSLayer | None = None,
    ) -> None:
        super().__init__(sock, monitor)
        self._tls: TLS = layer or sock
        self._resumption = resumption
        self._send_lock = self._recv_lock  # see rule 1
        self._recv = partial(_read, self._tls)
        self._recv_into = partial(_read_into, self._tls)
        self._blocks = False  # OpenSSL would wait with its lock
        self._send_error: OSError | None = None
        self.tls_version = self._tls.version()
        self._last: tuple[Any, Any, Any] | None = None

    def _send(self, pieces: Sequence[memoryview]) -> int:
        if self._send_error is not None:
            raise self._send_error
        piece = pieces[0]
        if len(pieces) > 1 and len(piece) < PIECE_SIZE:
            piece = _record(pieces)
        send, size, sent = self._tls.send, min(len(piece), _MOST_AT_ONCE), 0
        while sent < size:
            record = piece[sent : sent + PIECE_SIZE]
            try:
                sent += send(record)
            except OSError as exc:
                self.mid_write = self._lacks(exc, self.want_write) is not None
                if not sent:
                    raise
                # Earlier records were sent and must be counted. A failure is kept for the next
                # call. If OpenSSL would block, the next call repeats the record.
                if not self.mid_write:
                    self._send_error = exc.with_traceback(None)
                return sent
            finally:
                record.release()  # the frames of an exception would keep the buffer exported
        self.mid_write = False
        return sent

    def _send_lacks(self, exc: OSError) -> PollNeeded:
        if isinstance(exc, _GONE) and (alert := self._waiting_alert()) is not None:
            exc = alert
        return super()._send_lacks(exc)

    def _waiting_alert(self) -> ssl.SSLError | None:
        """Return the fatal alert that explains why sending failed, if it has arrived.

        A server that sends a fatal alert closes the connection right after it. If more data from
        the client arrive there, its system responds with a reset. Then sending fails before any
        call has read the alert. Linux still delivers what arrived before the reset, so this reads
        it. Without the alert, a rejected certificate would look like a transient network error.
        """
        try:
            data = self._tls.read(PIECE_SIZE)
        except ssl.SSLError as exc:
            if tls_alert(exc) is None:
                return None
            self._recv_failure = exc.with_traceback(None)
            return exc
        except OSError:
            return None
        if data:  # a response, not an alert
            self._give_back(data)
        return None

    def _give_back(self, data: bytes) -> None:
        """Make the next receiving calls return *data* before anything else."""
        before = self._recv, self._recv_into

        def recv(count: int, flags: int) -> bytes:
            self._recv, self._recv_into = before
            if count < len(data):
                self._give_back(data[count:])
            return data[:count]

        def recv_into(view: memoryview, size: int, flags: int) -> int:
            piece = recv(len(view), flags)
            view[: len(piece)] = piece
            return len(piece)

        self._recv, self._recv_into = recv, recv_into

    @property
    def sends_files(self) -> bool:
        return False

    def _maybe_readable(self) -> bool:
        return self._tls.pending() > 0 or super()._maybe_readable()

    def _lacks(self, exc: OSError, want: PollNeeded) -> PollNeeded | None:
        need = wanted(exc, self.want_read, self.want_write)
        # A receive that waits until it can write is still part of the receiver's phase.
        return need if need is None or need is want else PollNeeded(*need, phase=want.phase)

    def certificate(self, binary_form: bool) -> Any:
        """Return the peer's certificate, as `ssl.SSLSocket.getpeercert` does."""
        return self._agreed()[1 if binary_form else 0]

    def cipher(self) -> tuple[str, str, int] | None:
        """Return the cipher in use, as `ssl.SSLSocket.cipher` does."""
        cipher: tuple[str, str, int] | None = self._agreed()[2]
        return cipher

    def _agreed(self) -> tuple[Any, Any, Any]:
        """Return the certificate in both forms, and the cipher.

        They remain known after a close that the server announced. After any other, the next call
        connects again.
        """
        try:
            with self._recv_lock:
                if self._last is not None:
                    return self._last
                self.check_open()
                return self._ask()
        finally:
            if self.closed:
                self._end()

    def keep_tls_session(self) -> None:
        if self._resumption is None:
            return
        try:
            with self._recv_lock:
                if not self.closed:
                    self._keep_tls_session()
        finally:
            if self.closed:
                self._end()

    def _keep_tls_session(self) -> None:
        """Store the session for the next connection of the route, if it can be resumed.

        In TLS 1.3 that needs a ticket, which the server sends after the handshake (RFC 8446
        section 4.6.1). One that was read with the response is enough: none is ever waited for.
        """
        session, resumption = self._tls.session, self._resumption
        if session is None or resumption is None:
            return
        if session.has_ticket or self.tls_version != "TLSv1.3":
            resumption.session = session

    def _ask(self) -> tuple[Any, Any, Any]:
        tls = self._tls
        return tls.getpeercert(), tls.getpeercert(True), tls.cipher()

    def _goodbye(self) -> None:
        # The garbage collector may finalize the socket before this stream. It has closed itself.
        if self.sock.fileno() < 0:
            return
        try:
            if self._last is None and self._closed_by == AS_ANNOUNCED:
                self._last = self._ask()  # callers may ask for them after the last response
            self._keep_tls_session()
            # Sends a close_notify (RFC 9112 section 9.8). It does not wait for that of the server.
            self._tls.unwrap()
        except (OSError, ValueError):
            pass

    @property
    def detachable(self) -> bool:
        return self._tls is self.sock


class ProxyStream(TLSStream):
    """A stream to an https proxy, which speaks plain HTTP inside.

    It has no certificate, cipher and TLS version, because callers expect those of the server.
    """

    def __init__(self, sock: ssl.SSLSocket, monitor: Monitor) -> None:
        super().__init__(sock, monitor)
        self.tls_version = None


# Functions, because a stream that had references to its own methods would be a reference cycle.


def _read(tls: TLS, count: int, flags: int) -> bytes:
    return tls.recv(count)


def _read_into(tls: TLS, view: memoryview, size: int, flags: int) -> int:
    count: Any = tls.read(PIECE_SIZE, view)
    return count  # type: ignore[no-any-return]


def _record(pieces: Sequence[memoryview]) -> memoryview:
    joined = bytearray()
    for piece in pieces:
        joined += piece[: PIECE_SIZE - len(joined)]
    return memoryview(joined)


def wanted(exc: OSError, read: PollNeeded, write: PollNeeded) -> PollNeeded | None:
    """Return the readiness that OpenSSL asks for with *exc*; ``None`` if *exc* is a failure."""
    if isinstance(exc, ssl.SSLWantReadError):
        return read
    if isinstance(exc, ssl.SSLWantWriteError):
        return write
    return None


def wrap(
    sock: socket.socket,
    context: ssl.SSLContext,
    server_hostname: str,
    session: ssl.SSLSession | None = None,
) -> ssl.SSLSocket:
    """Return a TLS socket that takes over a connected one. The handshake is not done.

    Args:
        sock: the plain socket. The caller closes it if this raises.
        context: the TLS context.
        server_hostname: the name for SNI and for the certificate (RFC 6066 section 3).
        session: a session of the same context to resume, or ``None``. If the server has forgotten
            it, the handshake is a full one.

    Raises:
        InvalidRequest: the context accepts truncated data as complete.
        OSError: the system reports a failure, for example that the peer has reset the connection.
    """
    check_truncation(context)  # its options may have changed since it was passed
    resuming: dict[str, Any] = {} if session is None else {"session": session}
    try:
        return adopt(
            context.wrap_socket(
                sock,
                server_hostname=_encoded(server_hostname),
                do_handshake_on_connect=False,
                suppress_ragged_eofs=False,  # raise at an end without close_notify (rule 6)
                **resuming,
            )
        )
    except BaseException as exc:
        _close_half_made(exc, sock)
        raise


def _encoded(server_hostname: str) -> str | bytes:
    # As bytes. For a str, Python's IDNA codec would run, and if a signal handler raises in it, the
    # codec replaces that exception.
    return server_hostname.encode("ascii") if server_hostname.isascii() else server_hostname


def wrap_inside(
    outer: ssl.SSLSocket,
    context: ssl.SSLContext,
    server_hostname: str,
    session: ssl.SSLSession | None = None,
) -> TLSLayer:
    """Return a TLS connection through that to an https proxy. The handshake is not done.

    Args:
        outer: the connection to the proxy.
        context, server_hostname, session: as for `wrap`.

    Raises:
        InvalidRequest: as `wrap`.
    """
    check_truncation(context)
    return TLSLayer(outer, context, _encoded(server_hostname), session)


def _close_half_made(exc: BaseException, sock: socket.socket) -> None:
    """Close the socket that `wrap_socket` had taken over from *sock* before it raised *exc*.

    `wrap_socket` does not always close it, for example if the peer has reset the connection. Then
    only the frames of the traceback refer to the new object.
    """
    traceback = exc.__traceback__
    while traceback is not None:
        half_made = traceback.tb_frame.f_locals.get("self")
        if isinstance(half_made, ssl.SSLSocket) and half_made.fileno() >= 0:
            if half_made.fileno() == sock.fileno():
                half_made.detach()  # an interrupt arrived while both had the descriptor
            else:
                half_made.close()
        traceback = traceback.tb_next


def co_secure(
    plain: socket.socket,
    context: ssl.SSLContext,
    server_hostname: str,
    monitor: Monitor,
    wait: Wait,
    resumption: Resumption | None = None,
) -> Co[TLSStream]:
    """Perform the handshake with a server on a connected socket, and return the stream.

    Args:
        plain: the socket, which the stream takes over. The caller closes it if this raises. It may
            be the TLS socket of a connection to an https proxy.
        context: the TLS context.
        server_hostname: as for `wrap`.
        monitor: counts the bytes of the stream.
        wait: waits for a readiness of the socket.
        resumption: has the session to resume, and takes the new one; ``None`` for neither.

    Raises:
        InvalidRequest: as `wrap`.
        UnsupportedResponse: as `check_protocol`.
        ssl.SSLError, OSError: the handshake failed.
    """
    session = None if resumption is None else resumption.session
    layer = None
    if isinstance(plain, ssl.SSLSocket):
        sock, layer = adopt(plain), wrap_inside(plain, context, server_hostname, session)
    else:
        sock = wrap(plain, context, server_hostname, session)
    try:
        yield from _co_handshake(sock, layer or sock, wait)
        check_protocol(layer or sock, "server")
        return TLSStream(sock, monitor, resumption, layer)
    except BaseException:
        sock.close()
        raise


def co_secure_proxy(
    plain: socket.socket, context: ssl.SSLContext, host: str, monitor: Monitor, wait: Wait
) -> Co[ProxyStream]:
    """Perform the handshake with an https proxy. Arguments and exceptions as for `co_secure`."""
    sock = wrap(plain, context, host)
    try:
        yield from _co_handshake(sock, sock, wait)
        check_protocol(sock, "proxy")
        return ProxyStream(sock, monitor)
    except BaseException:
        sock.close()
        raise


def _co_handshake(sock: ssl.SSLSocket, tls: TLS, wait: Wait) -> Co[None]:
    while True:
        try:
            tls.do_handshake()
            return
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError) as exc:
            mask = POLLIN if isinstance(exc, ssl.SSLWantReadError) else POLLOUT
        yield from wait([sock], PollNeeded(sock.fileno(), mask))


def check_protocol(tls: TLS, peer: str) -> None:
    """Check that ALPN selected HTTP/1.1, or nothing (RFC 7301).

    Args:
        tls: the connection.
        peer: the other end, for the message.

    Raises:
        UnsupportedResponse: the context offers another protocol, and the peer chose it.
    """
    protocol = tls.selected_alpn_protocol()
    if protocol not in (None, "http/1.1"):
        raise UnsupportedResponse(f"the {peer} chose {protocol} by ALPN, not http/1.1")
