"""TLS: the handshake, and a `Stream` over it. Imported only when there is a TLS connection."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from ..errors import UnsupportedResponse, tls_alert
from .arguments import check_context
from .monitor import Monitor
from .poll import POLLIN, POLLOUT, Co, PollNeeded
from .sockets import adopt
from .stream import PIECE_SIZE, Stream

if TYPE_CHECKING:
    from .connect import Wait


#: What sending raises when the peer has ended the connection.
_GONE = (ConnectionError, ssl.SSLEOFError, ssl.SSLZeroReturnError)


#: Bytes that one call of `send` encrypts at most. The lock is held as long, and a peer on the same
#: machine may take them as fast as they come.
_MOST_AT_ONCE = 64 * PIECE_SIZE


class TLSStream(Stream):
    """A connected TLS socket, its handshake done."""

    peeks = False
    in_records = True
    sock: ssl.SSLSocket

    def __init__(self, sock: ssl.SSLSocket, monitor: Monitor) -> None:
        super().__init__(sock, monitor)
        self._send_lock = self._recv_lock  # an SSLSocket is not safe for two threads
        read: Any = sock.read  # recv_into would be three calls around it
        self._recv_into = partial(read, PIECE_SIZE)
        self._send_error: OSError | None = None
        self.tls_version = sock.version()
        self._last: tuple[Any, Any, Any] | None = None

    def _send(self, pieces: Sequence[memoryview]) -> int:
        # OpenSSL counts nothing before all that it was given is out, so it gets a record at once.
        if self._send_error is not None:
            raise self._send_error
        piece = pieces[0]
        if len(pieces) > 1 and len(piece) < PIECE_SIZE:
            piece = _record(pieces)
        send, size, sent = self.sock.send, min(len(piece), _MOST_AT_ONCE), 0
        while sent < size:
            record = piece[sent : sent + PIECE_SIZE]
            try:
                sent += send(record)
            except OSError as exc:
                # Once OpenSSL has begun a record, it wants the same bytes again until that is out.
                self.mid_write = self._lacks(exc, self.want_write) is not None
                if not sent:
                    raise
                if not self.mid_write:
                    self._send_error = exc.with_traceback(None)  # for the next call
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
        """Return the alert that explains why nothing can be sent any more, if it has arrived.

        A server that sends a fatal alert closes the connection right after it. If data of ours
        arrive there later, its system answers with a reset, and sending fails before the alert is
        read. Linux still delivers what arrived before the reset.
        """
        try:
            data = self.sock.read(PIECE_SIZE)
        except ssl.SSLError as exc:
            if tls_alert(exc) is None:
                return None
            self._recv_failure = exc.with_traceback(None)
            return exc
        except OSError:
            return None
        if data:  # a response, which is the receiver's
            self._give_back(data)
        return None

    def _give_back(self, data: bytes) -> None:
        """Have *data* received once more, before anything else."""
        before = self._recv, self._recv_into

        def recv(count: int) -> bytes:
            self._recv, self._recv_into = before
            if count < len(data):
                self._give_back(data[count:])
            return data[:count]

        def recv_into(view: memoryview) -> int:
            piece = recv(len(view))
            view[: len(piece)] = piece
            return len(piece)

        self._recv, self._recv_into = recv, recv_into

    @property
    def sends_files(self) -> bool:
        return False

    def _maybe_readable(self) -> bool:
        return self.sock.pending() > 0 or super()._maybe_readable()

    def _lacks(self, exc: OSError, want: PollNeeded) -> PollNeeded | None:
        need = wanted(exc, self.want_read, self.want_write)
        # To receive may need to send, and the reverse. That is still a wait of the same phase.
        return need if need is None or need is want else PollNeeded(*need, phase=want.phase)

    def certificate(self, binary_form: bool) -> Any:
        """Return the peer's certificate, as `ssl.SSLSocket.getpeercert` does."""
        return self._agreed()[1 if binary_form else 0]

    def cipher(self) -> tuple[str, str, int] | None:
        """Return the cipher in use, as `ssl.SSLSocket.cipher` does."""
        cipher: tuple[str, str, int] | None = self._agreed()[2]
        return cipher

    def _agreed(self) -> tuple[Any, Any, Any]:
        """Return the certificate in both forms, and the cipher."""
        try:
            with self._recv_lock:
                if self._last is not None:
                    return self._last
                self.check_open()
                return self._ask()
        finally:
            if self.closed:
                self._end()

    def _ask(self) -> tuple[Any, Any, Any]:
        sock = self.sock
        return sock.getpeercert(), sock.getpeercert(True), sock.cipher()

    def _goodbye(self) -> None:
        if self.sock.fileno() < 0:  # the collector has finalized it first: it has closed itself
            return
        try:
            if self._last is None:
                self._last = self._ask()  # callers may still want them after the last response
            self.sock.unwrap()  # sends close_notify (RFC 9112 section 9.8); the answer can wait
        except (OSError, ValueError):
            pass


def _record(pieces: Sequence[memoryview]) -> memoryview:
    joined = bytearray()
    for piece in pieces:
        joined += piece[: PIECE_SIZE - len(joined)]
    return memoryview(joined)


def wanted(exc: OSError, read: PollNeeded, write: PollNeeded) -> PollNeeded | None:
    """Return the readiness that OpenSSL asks for by *exc*, ``None`` if it is a failure."""
    if isinstance(exc, ssl.SSLWantReadError):
        return read
    if isinstance(exc, ssl.SSLWantWriteError):
        return write
    return None


def wrap(sock: socket.socket, context: ssl.SSLContext, server_hostname: str) -> ssl.SSLSocket:
    """Make a TLS socket of a connected one, which it takes over. The handshake is still to do.

    Raises:
        InvalidRequest: the context is made to take truncated data for whole.
    """
    check_context(context)  # again: its options may have been set meanwhile
    # As bytes, because Python's IDNA codec replaces the exception of a signal handler.
    name = server_hostname.encode("ascii") if server_hostname.isascii() else server_hostname
    try:
        return adopt(
            context.wrap_socket(
                sock,
                server_hostname=name,
                do_handshake_on_connect=False,
                suppress_ragged_eofs=False,  # an end without close_notify may be an attacker's
            )
        )
    except BaseException as exc:
        _close_half_made(exc, sock)
        raise


def _close_half_made(exc: BaseException, sock: socket.socket) -> None:
    """Close the socket that `wrap_socket` had taken over from *sock* before it raised *exc*.

    It does not do so itself, for example when the peer has reset the connection, and only the
    frames of the traceback know the object by then.
    """
    traceback = exc.__traceback__
    while traceback is not None:
        half_made = traceback.tb_frame.f_locals.get("self")
        if isinstance(half_made, ssl.SSLSocket) and half_made.fileno() >= 0:
            if half_made.fileno() == sock.fileno():
                half_made.detach()  # an interrupt came while the descriptor belonged to both
            else:
                half_made.close()
        traceback = traceback.tb_next


def co_secure(
    plain: socket.socket,
    context: ssl.SSLContext,
    server_hostname: str,
    monitor: Monitor,
    wait: Wait,
) -> Co[TLSStream]:
    """Shake hands over a connected socket, which this takes over.

    Raises:
        InvalidRequest: as `wrap`.
        UnsupportedResponse: as `check_protocol`.
        ssl.SSLError, OSError: the TLS library's or the system's reason.
    """
    sock = wrap(plain, context, server_hostname)
    try:
        while True:
            try:
                sock.do_handshake()
                break
            except (ssl.SSLWantReadError, ssl.SSLWantWriteError) as exc:
                mask = POLLIN if isinstance(exc, ssl.SSLWantReadError) else POLLOUT
            yield from wait([sock], PollNeeded(sock.fileno(), mask))
        check_protocol(sock)
        return TLSStream(sock, monitor)
    except BaseException:
        sock.close()
        raise


def check_protocol(sock: ssl.SSLSocket) -> None:
    """Make sure that it is HTTP/1.1 that was agreed on, if anything was (RFC 7301).

    Raises:
        UnsupportedResponse: the context offers another protocol, and the server chose it.
    """
    protocol = sock.selected_alpn_protocol()
    if protocol not in (None, "http/1.1"):
        raise UnsupportedResponse(f"the server chose {protocol} by ALPN, not http/1.1")
