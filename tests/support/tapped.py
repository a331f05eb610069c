"""Client sockets whose calls a test watches, limits or breaks: one `Tap` for TCP and for TLS."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any


class Tap:
    """What happens around each call that sends or receives. The base class does nothing.

    The names of the calls are those of the methods: ``send`` and ``sendmsg``, ``recv`` and
    ``recv_into``; over TLS ``send``, and ``read``, which is behind both ways of receiving.
    """

    def before(self, name: str, wanted: int) -> int:
        """Return how many bytes the call may move. A `BlockingIOError` has it block, also in TLS.

        Any other exception is that of the call.
        """
        return wanted

    def behind(self, name: str, count: int) -> None:
        """Called when so many bytes have moved; an exception comes right behind the call."""


@dataclass
class Pace(Tap):
    """How much the client's socket does in one call.

    Attributes:
        limit: at most this many bytes in one call, either way.
        stall: every other call would block, although the socket is ready.
        recv_wants_write: so many receiving calls first demand writability (a TLS renegotiation
            or key update does that).
        recv_fails, send_fails: what every further call raises instead.
    """

    limit: int | None = None
    stall: bool = False
    recv_wants_write: int = 0
    recv_fails: OSError | None = None
    send_fails: OSError | None = None
    calls: int = 0

    def before(self, name: str, wanted: int) -> int:
        failure = self.send_fails if name.startswith("send") else self.recv_fails
        if failure is not None:
            raise failure
        if name == "read" and self.recv_wants_write > 0:
            self.recv_wants_write -= 1
            raise ssl.SSLWantWriteError
        self.calls += 1
        if self.stall and self.calls % 2 == 1:
            raise BlockingIOError
        return wanted if self.limit is None else min(wanted, self.limit)


class TappedSocket(socket.socket):
    tap = Tap()

    def send(self, data: Any, flags: int = 0) -> int:
        view = memoryview(data).cast("B")
        sent = super().send(view[: self.tap.before("send", len(view))], flags)
        self.tap.behind("send", sent)
        return sent

    def sendmsg(self, buffers: Iterable[Any], *args: Any) -> int:
        data = b"".join(bytes(memoryview(buffer).cast("B")) for buffer in buffers)
        sent = super().sendmsg([data[: self.tap.before("sendmsg", len(data))]], *args)
        self.tap.behind("sendmsg", sent)
        return sent

    def recv(self, bufsize: int, flags: int = 0) -> bytes:
        data = super().recv(self.tap.before("recv", bufsize), flags)
        self.tap.behind("recv", len(data))
        return data

    def recv_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> int:
        wanted = nbytes or memoryview(buffer).nbytes
        count = super().recv_into(buffer, self.tap.before("recv_into", wanted), flags)
        self.tap.behind("recv_into", count)
        return count


class TappedSSLSocket(ssl.SSLSocket):
    tap = Tap()

    def send(self, data: Any, flags: int = 0) -> int:
        view = memoryview(data).cast("B")
        try:
            size = self.tap.before("send", len(view))
        except BlockingIOError:
            raise ssl.SSLWantWriteError from None
        sent = super().send(view[:size], flags)
        self.tap.behind("send", sent)
        return sent

    def read(self, size: int = 1024, buffer: Any = None) -> Any:
        try:
            size = self.tap.before("read", size)
        except BlockingIOError:
            if not self.pending():  # what OpenSSL holds, no poll would show
                raise ssl.SSLWantReadError from None
            size = self.tap.before("read", size)
        got: Any = super().read(size, buffer)
        self.tap.behind("read", got if isinstance(got, int) else len(got))
        return got


def tapped(sock: socket.socket, tap: Tap) -> socket.socket:
    """Turn this connected socket into one with a tap."""
    kind: Any = type("Socket", (TappedSocket,), {"tap": tap})
    turned: socket.socket = kind(fileno=sock.detach())
    return turned


def tap_tls(context: ssl.SSLContext, tap: Tap) -> None:
    """Let the sockets of this context, which the test must not share, have the tap."""
    context.sslsocket_class = type("Socket", (TappedSSLSocket,), {"tap": tap})
