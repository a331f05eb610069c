"""`HTTPConnection`: every operation as a blocking method.

Each method runs the coroutine of the same name and does the waiting. Most calls never have to wait.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self, TypeVar

from ..protocol.messages import HTTPResponse
from ..transport.poll import Co, PollNeeded, T, run, run_on
from ..transport.stream import AT_ONCE, BRIEFLY
from ..transport.within import UNSET
from .connection import Connection
from .pipeline.pipeline import DEFAULT_DEPTH, Pipeline

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import TracebackType

    from _typeshed import ReadableBuffer, WriteableBuffer

    from ..protocol.messages import Body, HeadersArgument, Request, WholeBody
    from ..transport.timeouts import Timeouts
    from ..transport.within import Unset

A = TypeVar("A")


class HTTPConnection(Connection):
    """A connection to one HTTP/1.1 server.

    The constructor does no I/O; the first operation connects. Each blocking operation ``x`` also
    exists as a coroutine ``co_x`` with the same arguments: a generator that yields `PollNeeded`
    instead of waiting, and returns the result.

    One thread (or coroutine) may send requests while another reads responses. A second sender or
    a second reader gets a `StateError`. `disconnect` may be called from any thread.

    A ``with`` block and `disconnect` close the connection. `close` does nothing, so
    `contextlib.closing` leaves it open.

    Args:
        hostname: the server's name or address (IPv6 without brackets). A non-ASCII name is
            converted immediately. With the extra ``idna``, the conversion is the one that
            browsers use.
        port: the server's port. The default is 80, or 443 with an *ssl_context*.
        ssl_context: makes this a TLS connection. The context determines what is verified.
        proxy: a proxy, ``'scheme://[user:password@]host[:port]'``, or ``(host, port)`` for an HTTP
            proxy. The scheme is ``http``, ``https`` (HTTP inside TLS with the proxy), ``socks5``
            (SOCKS 5; the server's name is resolved here, and its addresses are tried in turn) or
            ``socks5h`` (the proxy resolves it). With an *ssl_context*, and always with SOCKS, the
            connection goes through a tunnel that the proxy opens. User and password are sent only
            to the proxy, in ``Proxy-Authorization`` or in the SOCKS handshake.
        timeout: seconds that one wait without progress may take, including waits while
            connecting. ``None`` for no limit, 0 to never wait. A `Timeouts` sets a limit for each
            kind of wait.
        deadline: seconds that one call may take, even if it makes progress. ``None`` for no limit.
        continue_timeout: seconds that `request` waits for a 100 (Continue); should be less than
            *timeout*. ``None`` for no limit.
        unix_socket: path of a Unix socket to connect to. *hostname* then only appears in ``Host``
            and in the TLS handshake.
        source_address: ``(host, port)`` to connect from.
        address: ``(host, port)`` to connect to. *hostname* remains the server's name.
        sock: a connected socket to use. This object takes it over; once that connection has
            ended, the object cannot connect again. Only one of *unix_socket*, *address* and *sock*
            can be given. *proxy* excludes the first two.
        proxy_headers: fields to add to the CONNECT request that asks the proxy for a tunnel, as a
            mapping or pairs. The server never sees them.
        proxy_ssl_context: the context for TLS with an https proxy. The default is a context from
            `ssl.create_default_context`, never *ssl_context*: that may have a client certificate,
            or verify less.
        socket_options: tuples ``(level, option, value)``, the arguments of
            `socket.socket.setsockopt`. They are set on each socket before it connects.
            ``TCP_NODELAY`` and ``SO_KEEPALIVE`` are set for TCP unless given here.

    The first four arguments and the three time limits are also attributes. A new time limit
    applies from the next call, and any other new value from the next connection.

    Raises:
        TypeError: an argument has the wrong type. Setting an attribute also raises this.
        InvalidRequest: the value of an argument is invalid, or two arguments contradict each
            other. Setting an attribute also raises this.
    """

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.disconnect()

    def _run(self, crt: Co[T]) -> T:
        if self._deadline is not None:
            return run(crt, self._timeout, self._deadline, self._monitor.bytes_moved)
        result: T
        try:
            need = next(crt)  # most calls never wait
            run_on(crt, need, self._timeout, self._monitor.bytes_moved, None)
        except StopIteration as stop:
            result = stop.value
            return result
        except BaseException:
            # The frames of the exception refer to the coroutine. It would stay suspended, and
            # hold its turn to send or receive, for as long as the exception exists.
            crt.close()
            raise

    def _read(
        self,
        attempt: Callable[[A, int], T | PollNeeded],
        coroutine: Callable[[A], Co[T]],
        argument: A,
    ) -> T:
        """Return what *coroutine* returns, but only create it if *attempt* would wait for long."""
        if self._deadline is None:
            # `match`, because `isinstance` is a call, and a signal handler may raise after a call.
            # The data would then be lost, and the next call would return what follows it.
            match attempt(argument, self._receive_flags):
                case PollNeeded():
                    pass
                case got:
                    return got
        return self._run(coroutine(argument))

    def connect(self) -> None:
        """Connect, unless already connected. Rarely needed: requests connect if necessary.

        If the server has closed an idle connection, this replaces it.

        Raises:
            HostnameNotResolvable: the host does not exist.
            DNSUnavailable: the DNS does not work at the moment.
            TunnelRefused: the proxy refused to connect to the server.
            InvalidResponse, UnsupportedResponse: the proxy's response is invalid or unsupported,
                or TLS negotiated another protocol than HTTP/1.1.
            ConnectionTimedOut: a time limit has passed.
            ConnectionClosed: the proxy closed the connection, or another call disconnected.
            StateError: another call is connecting, or the socket given as *sock* is used up.
            RuntimeError: the system cannot start a thread to look up the name.
            OSError: an error of the operating system or the TLS library (refused, unreachable,
                certificate not trusted). The message names the address, and the proxy if there is
                one.

        After any of these errors, there is no connection.
        """
        self._run(self.co_connect())

    def send_request(
        self,
        method: str,
        path: str,
        headers: HeadersArgument | None = None,
        body: Body = None,
        expect100: bool = False,
        *,
        deadline: float | None = None,
    ) -> None:
        """Send a request (RFC 9112 section 3). Connects if necessary.

        When this returns, the operating system has accepted every byte. You may send more requests
        before you read the response. If you send many, another thread or coroutine must read
        meanwhile, or both sides may wait for each other: see the documentation on pipelining.

        Args:
            method: a token, such as ``'GET'``.
            path: the request target (RFC 9112 section 3.2), percent-encoded: visible ASCII without
                a fragment. Usually a path with an optional query. Also valid are a URL, whose host
                is then sent in ``Host``; ``host:port`` for CONNECT; and ``*`` for OPTIONS.
            headers: a mapping or pairs. Names are `str` or `bytes`. Values are `str`, `bytes` or
                `int`. `str` is encoded as Latin-1. ``Host``, ``Accept-Encoding: identity``,
                ``Connection: keep-alive`` and the framing fields are added unless given. The
                value ``None`` leaves out a field that would be added, except ``Host`` and the
                framing fields.
            body: ``None``, a bytes-like object, a binary file or an iterable of bytes (see
                `request`). Or a `BodyFollowing`, if you send the body with `write`.
            expect100: ask the server whether it wants the body before you send it (RFC 9110
                section 10.1.1). Call `read_response` next. Requires a `BodyFollowing`.
            deadline: seconds for this exchange, as for `request`. With several requests in flight,
                each has its own deadline.

        Raises:
            TypeError: an argument, a field name or a field value has the wrong type. Nothing was
                sent.
            InvalidRequest: an argument is invalid, or a field contradicts the body. Nothing was
                sent.
            StateError: an earlier request or its body is unfinished, or a one-shot body was used
                up before. Nothing was sent.
            BodyChanged, ExcessBodyData: as for `request`.
            ConnectionClosed: the connection ended while sending. Responses to earlier requests may
                still be readable. Or nothing was sent (``bytes_sent`` is 0), because the server has
                closed the idle connection, or another thread has disconnected while responses were
                outstanding. In these two cases, the next call reconnects.
            ConnectionTimedOut: a time limit has passed. Nothing more can be sent.
            DugongError, OSError: connecting failed, as for `connect`.
        """
        rest = self._start_request(method, path, headers, body, expect100, deadline)
        if rest is not None:
            try:
                self._run(rest)
            finally:
                rest.close()

    def request(
        self,
        method: str,
        path: str,
        headers: HeadersArgument | None = None,
        body: WholeBody = None,
        expect100: bool | None = None,
        *,
        timeout: float | Timeouts | Unset | None = UNSET,
        deadline: float | None = None,
    ) -> HTTPResponse:
        """Send a request and read the head of its response: one whole exchange.

        Connects if necessary, and reconnects if the server has closed the idle connection.

        While it sends the body, it watches for the response. A refusal (status 300 and above, or
        ``Connection: close``) ends the sending. The refusal is returned even if the server resets
        the connection right after it. The connection is then closed after the response.

        If a server sends a long response body before it has read the request body, both sides may
        wait for each other. For such servers, use `send_request` in one thread and `read_response`
        in another.

        Args:
            method: a token, such as ``'PUT'``.
            path: as for `send_request`.
            headers: as for `send_request`.
            body: what to send.

                A *bytes-like object* may have any format. The body is its memory, and the length
                of the body is its size in bytes.

                A *binary file* is sent from its position to its end. Its length is determined
                beforehand if that is possible without reading it. Afterwards, its position is
                after the last byte sent. If the request failed and is safe to retry, its position
                is where it was before. If *headers* has a ``Content-Length``, the file is neither
                measured nor moved. dugong only calls ``read(n)``, where *n* is at most the number
                of bytes that are left. The file may thus be a pipe, or a part of something else.
                It is then one-shot, but you may pass it to the next request, which sends the
                following bytes.

                An *iterable* of bytes-like objects is sent with one chunk for each item. If
                *headers* has a ``Content-Length``, it is sent without chunks, and the length is
                enforced.

                With ``Transfer-Encoding: chunked`` in *headers*, bytes and files are also sent in
                chunks (RFC 9112 section 7.1), and a file is not measured.

                Bytes and seekable files are replayable. All other bodies are one-shot. A one-shot
                body that has been used up is refused. Built-in iterators such as ``map(...)`` and
                ``iter([...])`` are only recognised as used up while the earlier request, its
                response or its exception exists.

                Exceptions that your iterable or file raises pass through unchanged, including
                those of dugong's own classes.
            expect100: whether to ask the server first whether it wants the body (RFC 9110
                section 10.1.1), and wait up to `continue_timeout` for the answer. ``None`` asks
                for bodies of 1 MiB or more and for bodies of unknown length. It stops asking when
                this server has let `continue_timeout` pass, or answered 417 (Expectation Failed).
                After a 417, a replayable body is sent again on a new connection, without asking.
            timeout: replaces the attribute `timeout` for this exchange, including the calls that
                read its body.
            deadline: seconds for this exchange, from this call to the last byte of the body, which
                later calls read. A reading call that begins after the deadline raises
                `ConnectionTimedOut` unless the last byte has arrived.

        Returns:
            The final response. Read or discard its body before the next call. All interim
            responses are in its `informational`.

        Raises:
            TypeError, InvalidRequest: as for `send_request`. Nothing was sent, unless an item of an
                iterable is not bytes-like, or a file in non-blocking mode has no data.
            StateError: something is outstanding, or the body was used up before. Nothing was sent.
            BodyChanged: a file shrank or grew while it was being sent, a body is shorter than
                its ``Content-Length``, or ``read(n)`` returned more than *n* bytes. The request
                was not sent completely, and the connection is broken.
            ExcessBodyData: an iterable has more than its ``Content-Length``. The state is as
                after `BodyChanged`.
            ConnectionClosed: the connection ended before a response. The next call of this
                method reconnects.
            ConnectionTimedOut: a time limit has passed. If the request was sent
                completely, call `read_response` to continue waiting.
            InvalidResponse, UnsupportedResponse: as for `read_response`.
            DugongError, OSError: connecting failed, as for `connect`.
        """
        return self._run(
            self._co_exchange(
                self._receive_flags if self._deadline is None else AT_ONCE,
                method,
                path,
                headers,
                body,
                expect100,
                timeout,
                deadline,
            )
        )

    def write(self, buf: ReadableBuffer) -> None:
        """Send a part of a body announced by `BodyFollowing`.

        In a body of unknown length, each non-empty *buf* becomes one chunk (RFC 9112 section 7.1).

        Args:
            buf: a bytes-like object of any size.

        Raises:
            TypeError: *buf* is not bytes-like. Nothing was sent.
            StateError: no body is due, or the server has not answered ``Expect: 100-continue``
                yet. Nothing was sent.
            ExcessBodyData: *buf* exceeds the announced length. Nothing was sent.
            ConnectionClosed: the connection ended. Responses may still be readable.
            ConnectionTimedOut: a time limit has passed. Nothing more can be sent.
        """
        self._run(self.co_write(buf))

    def end_body(self, trailers: HeadersArgument | None = None) -> None:
        """End a body of unknown length (RFC 9112 section 7.1).

        A body of known length ends with its last byte. For such a body, this only checks that all
        of it was sent.

        Args:
            trailers: fields for the trailer section, as a mapping or pairs. Requires a chunked
                body.

        Raises:
            StateError: no body is due, or bytes of it are missing. Nothing was sent.
            TypeError: a trailer field has the wrong type. Nothing was sent.
            InvalidRequest: a trailer field is invalid, or the body is not chunked. Nothing was
                sent.
            ConnectionClosed: the connection ended. Responses may still be readable.
            ConnectionTimedOut: a time limit has passed. Nothing more can be sent.
        """
        self._run(self.co_end_body(trailers))

    def read_response(self) -> HTTPResponse:
        """Read the head of the next response. Responses arrive in the order of the requests.

        After a request with *expect100*, this returns either a 100 (Continue) or the final
        response that refuses the body. After a 100, write the body and call this again. Other
        interim responses are collected in `HTTPResponse.informational`.

        Returns:
            The response. Read or discard its body before the next call.

        Raises:
            StateError: nothing is outstanding, the last body is unread, or the request's body is
                unfinished.
            ConnectionClosed: the connection ended before a complete head, or another thread has
                disconnected.
            ConnectionTimedOut: a time limit has passed. You may call this again.
            InvalidResponse: the head or its framing is invalid or exceeds a limit. The connection
                is broken until `disconnect`.
            UnsupportedResponse: the response is valid, but uses a feature that dugong does not
                support. The connection is broken until `disconnect`.
        """
        # As `_read`. An attempt that cannot wait would fail: the response has yet to arrive.
        if self._deadline is None and self._receive_flags == BRIEFLY:
            match self._try_read_response(BRIEFLY):
                case PollNeeded():
                    pass
                case got:
                    return got
        return self._run(self.co_read_response())

    def read(self, n: int | None = None) -> bytes:
        """Read at most *n* bytes of the body, or all of it.

        The end of a body is reported once, by ``b''``. For a response without a body, the first
        call reports the end.

        Args:
            n: the maximum number of bytes. ``None`` or a negative number reads all of the body, as
                `readall`.

        Returns:
            As many bytes as have already arrived, but at least one. ``b''`` at the end of the
            body, if *n* is 0, and when nothing is outstanding.

        Raises:
            StateError: a request is outstanding, and no response has been read since the end of
                the last body was reported. Call `read_response` first.
            ConnectionClosed: the connection ended before the body did.
            ConnectionTimedOut: a time limit has passed. You may call this again.
            InvalidResponse: the body's chunks are invalid. The connection is broken until
                `disconnect`.
            DigestMismatch: the body fails the check that `hash_body` requested.
        """
        return self._read(self._try_read, self.co_read, n)

    def readinto(self, buf: WriteableBuffer) -> int:
        """Read a part of the body directly into *buf*.

        Args:
            buf: a writable buffer, such as a `bytearray` or a `memoryview`. Its size limits the
                number of bytes.

        Returns:
            The number of bytes, at least one. 0 at the end of the body, if *buf* is empty, and
            when nothing is outstanding.

        Raises:
            TypeError: *buf* is not a writable buffer.
            DugongError: as for `read`.
        """
        return self._read(self._try_readinto, self.co_readinto, buf)

    def readall(self, limit: int | None = None) -> bytes:
        """Read the rest of the body. This also reports its end.

        Args:
            limit: the maximum acceptable number of bytes, ``None`` for no limit.

        Returns:
            The rest of the body; ``b''`` when nothing is outstanding.

        Raises:
            StateError, DigestMismatch: as for `read`.
            InvalidResponse: the body is longer than *limit*, or its chunks are invalid. The
                connection is broken until `disconnect`.
            ConnectionClosed: the connection ended before the body did.
            ConnectionTimedOut: a time limit has passed. Nothing is lost: the next
                reading call returns the data that has been received.
        """
        if self._deadline is None:  # `_read`, inlined to save a call for each small body
            match self._try_readall(limit, self._receive_flags):
                case PollNeeded():
                    pass
                case got:
                    return got
        return self._run(self.co_readall(limit))

    def discard(self) -> None:
        """Read the rest of the body and drop it. This also reports its end.

        Raises:
            DugongError: as for `read`.
        """
        self._run(self.co_discard())

    def pipeline(
        self,
        requests: Iterable[str | tuple[str, str] | Request],
        depth: int = DEFAULT_DEPTH,
        *,
        deadline: float | None = None,
    ) -> BlockingPipeline:
        """Send many requests without waiting, and iterate over their responses in order.

        ::

            for response in conn.pipeline(["/a", "/b", "/c"]):
                body = conn.readall()

        The next step discards the unread part of a body. Requests and responses may have any size:
        the two sides never wait for each other. Only idempotent methods are pipelined. Any other
        request is sent when all requests before it have been answered, and nothing follows it
        until it has been answered (RFC 9112 section 9.3.2).

        When the connection ends, unanswered requests are sent again on a new one, as long as each
        connection brings at least one response. A request that must not be sent twice fails
        instead, because its method is not idempotent or its body is one-shot. A server gets one
        request at a time until it has kept a connection open, and also if it repeatedly closes
        connections after one response.

        A few servers drop requests that arrive together with the one they answer. Suppose several
        requests were in flight and no byte moves for five seconds. Then the connection is closed,
        and the unanswered requests are sent again on a new one, one at a time. So are all later
        requests of this object. A server that is merely slow thus receives some idempotent
        requests twice. Exceptions: the connection is kept if one of the requests cannot be
        repeated, or if it was given as *sock*. Until a server has answered two requests that were
        sent in one piece, nothing more is sent after such a piece.

        The returned object is an iterator. After any exception, `next` continues: after a request
        that failed for good, with the following one; after a connection error, by trying again.
        If you leave the pipeline early, the next operation other than reading disconnects first,
        because it must not receive responses to the pipeline's requests. Use one pipeline at a
        time.

        Args:
            requests: an iterable of paths, pairs ``(method, path)``, or `Request` objects with
                whole bodies. It may be endless: dugong never takes more than *depth* requests
                ahead. Requests from a list, or from another object that knows its length, are sent
                many at once. A generator may take long to yield the next request, and each request
                is therefore sent before the next is taken. After a quick series of requests, Linux
                may hold a few for 0.2 seconds. While a plain iterable waits, so do the responses.
                An async iterable (`AsyncHTTPConnection` only) does not hold them up.
            depth: how many requests may be unanswered, at least 1.
            deadline: seconds for the whole pipeline, from this call to the last byte of the last
                body. After the deadline, a step raises `ConnectionTimedOut` unless the next
                response has arrived completely.

        Returns:
            An iterator of `HTTPResponse`. The attribute ``request`` of each response is the request
            that it answers. ``co_next`` of the iterator is one step as a coroutine, which returns
            ``None`` at the end.

        Raises:
            TypeError, InvalidRequest: this call raises them for an invalid argument, a step for an
                invalid request, in place of its response.
            StateError: something else is outstanding on the connection, or the one-shot body of a
                request was used up before.
            ConnectionClosed: a connection ended before any response arrived, or an unanswered
                request must not be repeated. ``unanswered`` lists all unanswered requests.
            ConnectionTimedOut: a time limit has passed. The next step continues waiting.
            InvalidResponse, UnsupportedResponse: the response is invalid or unsupported.
            BodyChanged, ExcessBodyData: a request's body does not have the announced length.
            DugongError, OSError: connecting failed, as for `connect`.
        """
        return BlockingPipeline(self, requests, depth, deadline)

    def read_raw(self, n: int) -> bytes:
        """Read at most *n* bytes without parsing them, to examine an invalid response.

        Afterwards, the connection cannot be used for HTTP any more. Call `disconnect`.

        Args:
            n: the maximum number of bytes.

        Returns:
            The bytes that have arrived, at least one. ``b''`` at the end of the connection.

        Raises:
            StateError: there is no connection.
            ConnectionClosed, ConnectionTimedOut: as for `read`.
        """
        return self._run(self._co_read_raw(n))

    def get_ssl_peercert(self, binary_form: bool = False) -> Any:
        """Return the server's certificate. Connects if necessary.

        Args:
            binary_form: whether to return the certificate as DER bytes instead of a dictionary.

        Returns:
            The same as `ssl.SSLSocket.getpeercert`; ``None`` without TLS.

        Raises:
            DugongError, OSError: connecting failed, as for `connect`.
        """
        return self._run(self.co_get_ssl_peercert(binary_form))

    def get_ssl_cipher(self) -> tuple[str, str, int] | None:
        """Return the cipher in use. Connects if necessary.

        Returns:
            The same as `ssl.SSLSocket.cipher`: its name, the TLS version that defines it, and the
            number of secret bits. ``None`` without TLS.

        Raises:
            DugongError, OSError: connecting failed, as for `connect`.
        """
        return self._run(self.co_get_ssl_cipher())


class BlockingPipeline(Pipeline):
    """The iterator that `HTTPConnection.pipeline` returns."""

    _connection: HTTPConnection

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> HTTPResponse:
        got = self._try_next()
        if isinstance(got, PollNeeded):
            got = self._connection._run(self._go_on(got))
        if got is None:
            raise StopIteration
        return got
