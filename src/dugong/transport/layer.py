"""TLS inside TLS: the connection to a server through the tunnel of an https proxy.

An `ssl.SSLSocket` encrypts what it sends to a descriptor. Here, what the inner layer has encrypted
must be encrypted again. So the inner layer is an `ssl.SSLObject`: it reads ciphertext from one
buffer in memory and writes it to another. `TLSLayer` moves ciphertext between these buffers and the
outer layer, which is an `ssl.SSLSocket`.

Theory of operation
===================

A `TLSLayer` has those methods of an `ssl.SSLSocket` that `TLSStream` uses, and they behave alike:

1. Nothing waits. When the outer layer would block, its own exception passes through, and shows
   whether *it* needs to read or to write.
2. A record that was encrypted, but that the outer layer has not taken completely, counts as not
   sent. `send` raises `ssl.SSLWantWriteError`, and expects the same bytes in the next call.
3. The inner layer must end with its own close_notify. If the outer layer ends before, even
   properly, the inner one raises an error, because the proxy may have truncated what the server
   sent.
4. An interrupt may lose ciphertext on its way between the layers. The next record then fails its
   authentication, so the connection breaks, and no data are lost silently.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

T = TypeVar("T")

#: Bytes of ciphertext that are moved at a time: a record's worth. The outer layer returns no more.
_PIECE = 16 * 1024


class TLSLayer:
    """A TLS connection through another one. The handshake is not done.

    Args:
        outer: the connection to the proxy, after its handshake. It is not closed here.
        context: the TLS context of the inner connection.
        server_hostname: the name for SNI and for the certificate.
        session: a session to resume, or ``None``.
    """

    def __init__(
        self,
        outer: ssl.SSLSocket,
        context: ssl.SSLContext,
        server_hostname: str | bytes,
        session: ssl.SSLSession | None,
    ) -> None:
        self._outer = outer
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._inner: ssl.SSLObject = context.wrap_bio(
            self._incoming,
            self._outgoing,
            server_hostname=server_hostname,
            session=session,
        )
        #: Ciphertext for the outer layer. OpenSSL wants the same bytes again after it blocked.
        self._unsent = b""
        #: The size of a record that was encrypted and that `send` has not counted yet.
        self._encrypted = 0

    def do_handshake(self) -> None:
        """Perform the next steps of the handshake."""
        self._run(self._inner.do_handshake)
        self._flush()

    def read(self, count: int, buffer: Any = None) -> Any:
        """Receive at most *count* bytes, into *buffer* if there is one."""
        arguments = (count,) if buffer is None else (count, buffer)
        try:
            while True:
                try:
                    return self._inner.read(*arguments)
                except ssl.SSLWantReadError:
                    self._receive()
        finally:
            # OpenSSL answers some messages of the server, such as a change of keys. If this cannot
            # be sent now, the next call sends it; what was received must be returned in any case.
            if self._outgoing.pending or self._unsent:
                with suppress(OSError):
                    self._flush()

    def recv(self, count: int) -> bytes:
        """Receive at most *count* bytes."""
        data: bytes = self.read(count)
        return data

    def send(self, data: memoryview) -> int:
        """Send one record, at most. See rule 2."""
        if not self._encrypted:
            self._encrypted = self._run(self._inner.write, data)
        self._flush()
        sent, self._encrypted = self._encrypted, 0
        return sent

    def pending(self) -> int:
        """Return a number that is positive if a receive may succeed although no byte arrives."""
        return self._inner.pending() + self._incoming.pending + self._outer.pending()

    def unwrap(self) -> None:
        """Send a close_notify in both layers. Those of the peers are not waited for."""
        # It has written ours when it complains that the peer's is missing.
        with suppress(ssl.SSLError):
            self._inner.unwrap()
        self._flush()
        self._outer.unwrap()

    def version(self) -> str | None:
        return self._inner.version()

    def cipher(self) -> tuple[str, str, int] | None:
        return self._inner.cipher()

    def getpeercert(self, binary_form: bool = False) -> Any:
        return self._inner.getpeercert(binary_form)

    def selected_alpn_protocol(self) -> str | None:
        return self._inner.selected_alpn_protocol()

    @property
    def session(self) -> ssl.SSLSession | None:
        return self._inner.session

    def _run(self, operation: Callable[..., T], *arguments: Any) -> T:
        while True:
            try:
                return operation(*arguments)
            except ssl.SSLWantReadError:
                self._flush()
                self._receive()
            except ssl.SSLError:
                with suppress(OSError):
                    self._flush()  # an alert, which has the reason for the server
                raise

    def _receive(self) -> None:
        """Move ciphertext from the outer layer to the inner one."""
        if data := self._outer.recv(_PIECE):
            self._incoming.write(data)
        else:
            self._incoming.write_eof()

    def _flush(self) -> None:
        """Move all ciphertext from the inner layer to the outer one."""
        while self._unsent or self._outgoing.pending:
            self._unsent = self._unsent or self._outgoing.read()
            self._unsent = self._unsent[self._outer.send(self._unsent) :]
