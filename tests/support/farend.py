"""The socket under a scripted peer: bytes in and out, TLS, and ends of every kind.

Nothing here waits: what can not be done now is tried again when the script comes by.
"""

from __future__ import annotations

import fcntl
import os
import select
import socket
import ssl
import struct
import termios
import time
from collections.abc import Callable
from pathlib import Path

#: Seconds after which a test that does not move is called stuck. Far above any honest wait.
GUARD = 30.0

#: What any receive window holds, so that a send this small arrives without the client's help.
_FITS_ANY_WINDOW = 2000

_HUNG_UP = select.POLLHUP | select.POLLERR | getattr(select, "POLLRDHUP", 0)


class ClientGone(AssertionError):
    """The client has closed what the script still sends to."""


class FarEnd:
    """The far end of one connection, plain or TLS.

    Args:
        sock: a connected socket, or None together with *listener*: accepted from there when due.
        client_fd: the descriptor of the client's end, if known.
        context: a server-side context to speak TLS, else plain.
        after: with *listener*, whether it is this connection's turn to be accepted.
    """

    def __init__(
        self,
        sock: socket.socket | None,
        listener: socket.socket | None,
        after: Callable[[], bool] | None,
        client_fd: int | None,
        context: ssl.SSLContext | None,
    ) -> None:
        assert (sock is None) != (listener is None)
        self.received = bytearray()  # everything the client said, read by a step or not
        self.saw_eof = False
        self.saw_reset = False
        self.saw_close_notify = False
        self.handshake_failure: ssl.SSLError | None = None
        self._listener = listener
        self._after = after
        self._client_fd = client_fd
        self._client_inode = None if client_fd is None else os.fstat(client_fd).st_ino
        self._alone = True  # nothing moves while we do: what we sent can be seen arriving
        self._unread = bytearray()
        self._out = bytearray()
        self._mask = select.POLLIN
        self._settled = True
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls: ssl.SSLObject | None = None
        self._outer: Outer | None = None
        self._shaken = True
        if context is not None:
            self._begin_tls(context)
        self._sock = sock
        if sock is not None:
            self._prepare(sock)

    @property
    def fd(self) -> int | None:
        """The descriptor whose readiness the next step may be waiting for."""
        if self._sock is None:
            assert self._listener is not None
            return self._listener.fileno() if self._my_turn() else None
        return self._sock.fileno() if self._sock.fileno() >= 0 else None

    @property
    def mask(self) -> int:
        return self._mask

    @property
    def _socket(self) -> socket.socket:
        assert self._sock is not None
        assert self._sock.fileno() >= 0, "the peer has closed its end already"
        return self._sock

    def _prepare(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        if sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def _my_turn(self) -> bool:
        return self._after is None or self._after()

    def accept(self) -> bool:
        """Accept the connection if it has come; whether it has, now or before."""
        if self._sock is not None:
            return True
        assert self._listener is not None
        if not self._my_turn():
            return False
        try:
            self._sock, _ = self._listener.accept()
        except BlockingIOError:
            return False
        self._prepare(self._sock)
        self._client_fd = _find_socket(self._sock.getpeername())
        if self._client_fd is not None:
            self._client_inode = os.fstat(self._client_fd).st_ino
        return True

    def _begin_tls(self, context: ssl.SSLContext) -> None:
        if self._tls is not None:  # inside that of a proxy
            self._outer = Outer(self._tls, self._incoming, self._outgoing)
            self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
            self._incoming.write(bytes(self._unread))
            self._unread.clear()
            self._incoming.write(self._outer.uncover(b""))  # what has arrived already
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._shaken = False

    def _shake(self) -> bool:
        """Go on with the TLS handshake, unless the client has broken it off."""
        try:
            return self._shake_on()
        except ClientGone:
            self._hang_up()
            self._shaken = True
            return True

    def _shake_on(self) -> bool:
        assert self._tls is not None
        if self._out:
            return self._flush()
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            self._move_out()
            return self._flush() if self._out else self._receive_raw()
        except ssl.SSLError as exc:
            self.handshake_failure = exc
            self._move_out()  # the alert
            self._flush()
            self._hang_up()
            self._shaken = True
            return True
        self._move_out()
        self._flush()
        self._shaken = True
        return True

    def _move_out(self) -> None:
        """Queue what TLS has to send, inside the outer TLS if there is one."""
        data = self._outgoing.read()
        self._out += self._outer.cover(data) if data and self._outer is not None else data

    def _encode(self, data: bytes) -> None:
        if self._tls is None:
            self._out += data
            return
        self._tls.write(data)
        self._move_out()

    def _say_goodbye(self) -> None:
        assert self._tls is not None
        try:
            self._tls.unwrap()
        except (ssl.SSLWantReadError, ssl.SSLSyscallError):
            pass  # the client's own goodbye is not awaited
        except ssl.SSLError:
            pass  # OpenSSL minds data that come after our goodbye; the goodbye is out all the same
        self._move_out()

    def _flush(self) -> bool:
        """Give the kernel what it takes; False if that is nothing."""
        before = self._client_backlog()
        try:
            sent = self._socket.send(self._out)
        except BlockingIOError:
            self._mask = select.POLLOUT
            return False
        except (BrokenPipeError, ConnectionResetError) as exc:
            raise ClientGone(f"the client has gone: {self}") from exc
        del self._out[:sent]
        self._await_arrival(before, sent)
        return True

    def _receive(self) -> bool:
        """Take what has arrived; False if that is nothing."""
        if self.saw_eof:
            return False
        moved = self._receive_raw()
        if self._tls is None:
            return moved
        try:
            while data := self._tls.read(65536):
                self._note(data)
                moved = True
        except ssl.SSLWantReadError:
            return moved
        except ssl.SSLZeroReturnError:
            self.saw_close_notify = True
        except ssl.SSLError:
            pass
        else:
            self.saw_close_notify = not self.saw_eof
        self.saw_eof = True
        return True

    def _receive_raw(self) -> bool:
        try:
            data = self._socket.recv(1 << 18)
        except BlockingIOError:
            return False
        except (ConnectionResetError, BrokenPipeError):
            data = b""
            self.saw_reset = True
        if self._tls is None:
            self._note(data)
            self.saw_eof = not data
        elif data:
            self._incoming.write(data if self._outer is None else self._outer.uncover(data))
        else:
            self._incoming.write_eof()
        return True

    def _note(self, data: bytes) -> None:
        self.received += data
        self._unread += data

    def _drain(self) -> None:
        """Read what lies there, because closing on unread bytes would reset the connection."""
        if self._tls is None:
            while self._receive():
                pass
            return
        try:
            while self._socket.recv(1 << 18):
                pass
        except OSError:
            pass

    def _hang_up(self) -> None:
        self._socket.close()
        if self._settled and self._client_is_there():
            assert self._client_fd is not None
            poller = select.poll()
            poller.register(self._client_fd, _HUNG_UP)
            assert poller.poll(GUARD * 1000), "the end did not reach the client"

    def _client_is_there(self) -> bool:
        """Whether the client's descriptor is known and still the socket it was."""
        if self._client_fd is None or not self._alone:
            return False
        try:
            return os.fstat(self._client_fd).st_ino == self._client_inode
        except OSError:
            return False

    def _client_backlog(self) -> int | None:
        """The bytes that have arrived at the client and that it has not taken."""
        if not self._client_is_there():
            return None
        assert self._client_fd is not None
        (count,) = struct.unpack("i", fcntl.ioctl(self._client_fd, termios.FIONREAD, bytes(4)))
        return int(count)

    def _await_arrival(self, before: int | None, sent: int) -> None:
        """Return when the client could receive what was sent, if it fits there at all."""
        if before is None or before + sent > _FITS_ANY_WINDOW or not self._settled:
            self._settled = before is not None and sent == 0
            return
        give_up = time.monotonic() + GUARD
        while (now := self._client_backlog()) is not None and now < before + sent:
            assert time.monotonic() < give_up, "what was sent did not reach the client"


class Outer:
    """The TLS of an https proxy, with the TLS of a server inside.

    Attributes:
        saw_close_notify: whether the client has ended it properly.
    """

    def __init__(
        self, tls: ssl.SSLObject, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO
    ) -> None:
        self._tls = tls
        self._incoming = incoming
        self._outgoing = outgoing
        self.saw_close_notify = False

    def cover(self, data: bytes) -> bytes:
        self._tls.write(data)
        return self._outgoing.read()

    def uncover(self, data: bytes) -> bytes:
        self._incoming.write(data)
        found = bytearray()
        try:
            while piece := self._tls.read(65536):
                found += piece
            self.saw_close_notify = True
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            self.saw_close_notify = True
        return bytes(found)

    def goodbye(self) -> bytes:
        try:
            self._tls.unwrap()
        except ssl.SSLError:
            pass  # the client's own is not awaited
        return self._outgoing.read()


def _find_socket(name: object) -> int | None:
    """The descriptor of this process's socket that is bound to this address, if it has one."""
    if not name:
        return None  # a unix socket that connects has no name
    for fd in [int(entry.name) for entry in Path("/dev/fd").iterdir()]:
        try:
            sock = socket.socket(fileno=fd)
        except OSError:
            continue
        try:
            if sock.getsockname() == name:
                return fd
        finally:
            sock.detach()
    return None
