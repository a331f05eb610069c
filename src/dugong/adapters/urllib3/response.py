"""Responses: a `urllib3.HTTPResponse` whose body comes from a leased connection.

1. `RawBody` reads from the connection, and `Body` is the buffer above it: the file object that
   `urllib3.HTTPResponse` reads from, in place of an `http.client.HTTPResponse`. Host libraries read
   small blocks (requests: 10 KiB). Without the buffer, each would be a system call.
2. The lease ends with the last byte of the body, or when the body is closed before that. Then the
   pool keeps the connection, or closes it if there are unread bytes.
3. An error while reading is final. Each further read raises again, because an end of the data
   would look like the end of the body.
4. `Response.stream` returns the data of a chunked body as they arrive, whatever block size it is
   asked for: programs wait for events in such responses. Other bodies are returned in blocks of
   exactly that size.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from urllib3 import HTTPHeaderDict, HTTPResponse
from urllib3.exceptions import HTTPError, ProtocolError

from .errors import in_body

if TYPE_CHECKING:
    from collections.abc import Generator

    from ...connection.leased import LeasedHTTPConnection
    from ...protocol.headers import Headers
    from ...protocol.messages import HTTPResponse as Head
    from .pool import HTTPPool

#: Bytes that `Body` reads ahead. More saves no measurable time.
_BUFFER_SIZE = 128 * 1024

#: The longest body, in bytes, that is discarded to use its connection again.
MAX_DISCARDED = 64 * 1024


class RawBody(io.RawIOBase):
    """The body of a response, without a buffer.

    Args:
        conn: the connection, after the head was read.
        pool: the pool that has leased it.
        head: the head.

    Attributes:
        asked: whether there was any attempt to read.
        received: how many bytes were received.
    """

    def __init__(self, conn: LeasedHTTPConnection, pool: HTTPPool, head: Head) -> None:
        self._conn: LeasedHTTPConnection | None = conn
        self._pool = pool
        self._length = head.length
        self._failed = False
        self.asked = False
        self.received = 0
        if not conn.response_pending():
            self.release()

    @property
    def ended(self) -> bool:
        """Whether the lease has ended: with the body, or before that."""
        return self._conn is None

    @property
    def missing(self) -> int | None:
        """The number of bytes that were not received yet, ``None`` if it is unknown."""
        return None if self._length is None else self._length - self.received

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        conn = self._conn_to_read()
        if conn is None:
            return 0
        try:
            count = conn.readinto(buffer)
        except BaseException as exc:
            raise self._failure(exc) from exc
        self._advance(conn, count)
        return count

    def readall(self) -> bytes:
        conn = self._conn_to_read()
        if conn is None:
            return b""
        try:
            data = conn.readall()
        except BaseException as exc:
            raise self._failure(exc) from exc
        self._advance(conn, len(data))
        return data

    def _conn_to_read(self) -> LeasedHTTPConnection | None:
        self.asked = True
        if self._failed:
            raise ProtocolError("Connection broken: an earlier read has failed")
        return self._conn

    def _advance(self, conn: LeasedHTTPConnection, count: int) -> None:
        self.received += count
        if not conn.response_pending():
            self.release()

    def _failure(self, exc: BaseException) -> BaseException:
        self._failed = True
        self.release()
        if not isinstance(exc, Exception):
            return exc
        return in_body(exc, self._pool, self.received, self.missing) or exc

    def release(self) -> None:
        """End the lease. May be called again."""
        conn, self._conn = self._conn, None
        if conn is not None:
            self._pool.give_back(conn)

    def close(self) -> None:
        self.release()
        super().close()

    def disconnect(self) -> None:
        """Close the connection. May be called in any thread: a call that is reading raises."""
        conn = self._conn
        if conn is not None:
            conn.disconnect()

    def settimeout(self, seconds: float | None) -> None:
        """Limit each further wait for data, as `socket.socket.settimeout`."""
        if self._conn is not None:
            self._conn.timeout = seconds

    @property
    def _sock(self) -> RawBody:
        """What has `settimeout`: botocore reaches for ``fp.raw._sock`` of `http.client`."""
        return self


class Body(io.BufferedReader):
    """The body of a response, in place of an `http.client.HTTPResponse`.

    Attributes:
        msg: the fields of the response, from which cookies are taken.
        version: 11, or 10 for HTTP/1.0.
    """

    raw: RawBody

    def __init__(self, raw: RawBody, msg: Headers, version: int) -> None:
        super().__init__(raw, _BUFFER_SIZE)
        self.msg = msg
        self.version = version

    def read(self, size: int | None = -1) -> bytes:
        missing = self.raw.missing
        if (size is None or size < 0) and missing is not None and missing > _BUFFER_SIZE:
            # The data go directly into the result. It begins with what was read ahead.
            size = missing + _BUFFER_SIZE
        return super().read(size)

    def isclosed(self) -> bool:
        """Return whether the body was closed or read to its end, which an empty one needs, too."""
        raw = self.raw
        return self.closed or (raw.ended and raw.asked and not self.peek(1))

    @property
    def fp(self) -> Body:
        """The file of the socket in `http.client`. See `RawBody._sock`."""
        return self


class Response(HTTPResponse):
    """The response. See the module's rules.

    Args:
        conn: the connection, after the head was read.
        pool: the pool that has leased it.
        head: the head.
        url: the request target.
        options: further arguments of `urllib3.HTTPResponse`.
    """

    def __init__(
        self, conn: LeasedHTTPConnection, pool: HTTPPool, head: Head, url: str, **options: Any
    ) -> None:
        self._raw = RawBody(conn, pool, head)
        version = 10 if head.version == "1.0" else 11
        body = Body(self._raw, head.headers, version)
        fields = HTTPHeaderDict()
        for name, value in head.headers.items():
            fields.add(name, value)
        super().__init__(
            body=body,
            original_response=body,  # type: ignore[arg-type]
            headers=fields,
            status=head.status,
            version=version,
            version_string=f"HTTP/{head.version}",
            reason=head.reason,
            request_method=head.method,
            request_url=url,
            pool=pool,
            **options,
        )
        self._body_file = body

    def stream(
        self, amt: int | None = 2**16, decode_content: bool | None = None
    ) -> Generator[bytes, None, None]:
        if amt == 0:
            return
        decodes = self.decode_content if decode_content is None else decode_content
        if decodes and "content-encoding" in self.headers:
            if not self.chunked:
                yield from super().stream(amt, decode_content)
                return
            while data := self.read1(amt, decode_content):
                yield data
            return
        body = self._body_file
        read = body.read1 if self.chunked else body.read
        while not body.closed and (data := read(-1 if amt is None else amt)):
            self._fp_bytes_read += len(data)
            if self.length_remaining is not None:
                self.length_remaining -= len(data)
            yield data

    def supports_chunked_reads(self) -> bool:
        return True

    def read_chunked(
        self, amt: int | None = None, decode_content: bool | None = None
    ) -> Generator[bytes, None, None]:
        return self.stream(amt, decode_content)

    def drain_conn(self) -> None:
        """Discard the rest of the body, or close the connection if that would take long."""
        try:
            left = MAX_DISCARDED
            while left > 0 and (data := self._body_file.read1(left)):
                left -= len(data)
        except (HTTPError, ValueError):  # the latter if it is closed
            pass
        self.release_conn()

    def release_conn(self) -> None:
        """End the lease of the connection. It is closed if the body has not been read."""
        self._raw.release()

    def shutdown(self) -> None:
        """Close the connection, from any thread. A call that is reading the body raises."""
        self._raw.disconnect()
