"""Network streams: the extension ``network_stream`` of a response.

Theory of operation
===================

1. That of an ordinary response only knows the addresses and the TLS connection, also after the
   lease has ended.
2. After a 101 (Switching Protocols), or a 2xx response to CONNECT, it also reads and writes. The
   lease continues until the network stream or the response is closed, which also closes the
   connection.
3. One task or thread may read while another one writes. `close` ends both.
4. It raises the exceptions of httpcore, because programs that use it catch those.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterable
from copy import copy
from typing import TYPE_CHECKING, Any, TypeVar

from ...drivers.loops import run_in_loop
from ...errors import ConnectionTimedOut, StateError
from ...transport.connect import load_tls
from ...transport.monitor import Monitor
from ...transport.poll import Co, PollNeeded, run

if TYPE_CHECKING:
    import socket

    from ...transport.stream import Stream
    from .call import TransportCall

T = TypeVar("T")


class NetworkStream:
    """The common part of the blocking and the async form.

    Args:
        call: the call, which has the connection.
        switched: whether the connection has left HTTP, so that this reads and writes.
    """

    def __init__(self, call: TransportCall[Any], switched: bool) -> None:
        conn: Any = call.conn
        self._call = call
        self._stream: Stream | None = conn.stream
        self._dialled = None if self._stream is not None else conn.dialled_address
        self._received = b""
        self.switched = switched
        if switched:
            self._stream, self._received = conn.take_switched()
        #: Whether the stream belongs to this object, because TLS was added, and not to the call.
        self._is_own = False

    def get_extra_info(self, info: str) -> Any:
        """Return what *info* names, ``None`` if it is unknown.

        Args:
            info: ``server_addr``, ``client_addr``, ``ssl_object``, ``socket`` or ``is_readable``.
        """
        stream = self._stream
        if stream is None:  # TLS or a tunnel is being set up
            return self._dialled if info == "server_addr" else None
        match info:
            case "server_addr":
                return stream.peer_address
            case "client_addr":
                return stream.local_address
            case "ssl_object":
                return None if stream.tls_version is None else stream.sock
            case "socket":
                return stream.sock
            case "is_readable":
                return stream.closed or stream.want_read.poll(0)
        return None

    def _usable(self) -> Stream:
        if not self.switched or self._stream is None:
            raise StateError(
                "the connection speaks HTTP: only after a 101, or a 2xx response to CONNECT, can "
                "its network stream be used"
            )
        return self._stream

    def _co_read(self, max_bytes: int) -> Co[bytes]:
        stream = self._usable()
        if self._received:
            data, self._received = self._received[:max_bytes], self._received[max_bytes:]
            return data
        while isinstance(got := stream.recv(max_bytes), PollNeeded):
            yield from stream.wait(got)
        return got

    def _co_write(self, buffer: bytes) -> Co[None]:
        stream = self._usable()
        if buffer:
            yield from stream.co_send_all([memoryview(buffer).cast("B")])

    def _co_start_tls(self, context: ssl.SSLContext, server_hostname: str | None) -> Co[Any]:
        call, conn = self._call, self._call.conn
        if not self._usable().detachable or conn is None:
            raise NotImplementedError("TLS can be added to a network stream only once")
        sock, _ = conn.detach()
        call.release()
        sock.setblocking(False)
        co_secure, _ = load_tls()
        try:
            stream = yield from co_secure(
                sock, context, server_hostname or "", Monitor(), _wait, None
            )
        except BaseException:
            sock.close()
            raise
        secured = copy(self)
        secured._stream, secured._is_own = stream, True
        return secured

    def _close(self) -> None:
        if self._is_own and self._stream is not None:
            self._stream.close("by its network stream")
        elif self.switched:
            self._call.release()

    def _error(self, exc: Exception, timeout: str, failure: str) -> Exception:
        """Return the exception of httpcore for *exc*."""
        core = self._call.library.core
        if isinstance(exc, ConnectionTimedOut):
            error: Exception = getattr(core, timeout)(f"timed out: {exc}")
        elif isinstance(exc, OSError):
            error = getattr(core, failure)(str(exc.__cause__ or exc))
        else:
            return exc
        error.__cause__ = exc
        return error


def _wait(_socks: Iterable[socket.socket], need: PollNeeded) -> Co[None]:
    yield need


class BlockingNetworkStream(NetworkStream):
    """For blocking transports."""

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Return at most *max_bytes*, as many as have arrived; ``b''`` at the end."""
        return self._run(self._co_read(max_bytes), timeout, "ReadTimeout", "ReadError")

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Send all of *buffer*."""
        self._run(self._co_write(buffer), timeout, "WriteTimeout", "WriteError")

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> Any:
        """Perform a TLS handshake, and return the network stream to use from then on."""
        crt = self._co_start_tls(ssl_context, server_hostname)
        return self._run(crt, timeout, "ConnectTimeout", "ConnectError")

    def close(self) -> None:
        """Close the connection."""
        self._close()

    def _run(self, crt: Co[T], timeout: float | None, timed_out: str, failure: str) -> T:
        try:
            return run(crt, timeout, None, None)
        except Exception as exc:
            raise self._error(exc, timed_out, failure) from exc.__cause__


class AwaitedNetworkStream(NetworkStream):
    """For async transports, in asyncio and trio."""

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109
        """Return at most *max_bytes*, as many as have arrived; ``b''`` at the end."""
        return await self._run(self._co_read(max_bytes), timeout, "ReadTimeout", "ReadError")

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109
        """Send all of *buffer*."""
        await self._run(self._co_write(buffer), timeout, "WriteTimeout", "WriteError")

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109
    ) -> Any:
        """Perform a TLS handshake, and return the network stream to use from then on."""
        crt = self._co_start_tls(ssl_context, server_hostname)
        return await self._run(crt, timeout, "ConnectTimeout", "ConnectError")

    async def aclose(self) -> None:
        """Close the connection."""
        self._close()

    async def _run(
        self,
        crt: Co[T],
        timeout: float | None,  # noqa: ASYNC109
        timed_out: str,
        failure: str,
    ) -> T:
        try:
            return await run_in_loop(crt, timeout)
        except Exception as exc:
            raise self._error(exc, timed_out, failure) from exc.__cause__
