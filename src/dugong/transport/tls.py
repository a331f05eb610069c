"""TLS: the handshake, and a `Stream` over it. Imported only when there is a TLS connection."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Sequence
from functools import partial
from typing import Any

from ..errors import UnsupportedResponse
from .activity import Activity
from .arguments import check_context
from .poll import PollNeeded
from .stream import PIECE_SIZE, Stream


class TLSStream(Stream):
    """A connected TLS socket, its handshake done."""

    peeks = False
    in_records = True
    sock: ssl.SSLSocket

    def __init__(self, sock: ssl.SSLSocket, activity: Activity) -> None:
        super().__init__(sock, activity)
        self._send_lock = self._recv_lock  # an SSLSocket is not safe for two threads
        read: Any = sock.read  # recv_into would be three calls around it
        self._receive = partial(read, PIECE_SIZE)
        self._send_error: OSError | None = None

    def _send(self, pieces: Sequence[memoryview]) -> int:
        # OpenSSL counts nothing before all that it was given is out, so it gets a record at once.
        if self._send_error is not None:
            raise self._send_error
        piece = pieces[0]
        if len(pieces) > 1 and len(piece) < PIECE_SIZE:
            piece = _record(pieces)
        send, size, sent = self.sock.send, len(piece), 0
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

    @property
    def sends_files(self) -> bool:
        return False

    def _maybe_readable(self) -> bool:
        return self.sock.pending() > 0 or super()._maybe_readable()

    def _lacks(self, exc: OSError, want: PollNeeded) -> PollNeeded | None:
        return wanted(exc, self.want_read, self.want_write)

    def certificate(self, binary_form: bool) -> Any:
        """Return the peer's certificate, as `ssl.SSLSocket.getpeercert` does."""
        with self._recv_lock:
            self._check_open()
            return self.sock.getpeercert(binary_form)

    def cipher(self) -> tuple[str, str, int] | None:
        """Return the cipher in use, as `ssl.SSLSocket.cipher` does."""
        with self._recv_lock:
            self._check_open()
            return self.sock.cipher()

    def _goodbye(self) -> None:
        try:
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
    try:
        return context.wrap_socket(
            sock,
            server_hostname=server_hostname,
            do_handshake_on_connect=False,
            suppress_ragged_eofs=False,  # an end without close_notify may be an attacker's
        )
    except BaseException as exc:
        _close_half_made(exc)
        raise


def _close_half_made(exc: BaseException) -> None:
    """Close the socket that `wrap_socket` had taken over before it raised *exc*.

    It does not do so itself, for example when the peer has reset the connection, and nobody but
    the frames of the traceback knows the object by then.
    """
    traceback = exc.__traceback__
    while traceback is not None:
        sock = traceback.tb_frame.f_locals.get("self")
        if isinstance(sock, ssl.SSLSocket):
            sock.close()
        traceback = traceback.tb_next


def check_protocol(sock: ssl.SSLSocket) -> None:
    """Make sure that it is HTTP/1.1 that was agreed on, if anything was (RFC 7301).

    Raises:
        UnsupportedResponse: the context offers another protocol, and the server chose it.
    """
    protocol = sock.selected_alpn_protocol()
    if protocol not in (None, "http/1.1"):
        raise UnsupportedResponse(f"the server chose {protocol} by ALPN, not http/1.1")
