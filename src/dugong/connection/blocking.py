"""`HTTPConnection`: every operation as a blocking method, one line over its coroutine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self, TypeVar

from ..protocol.messages import HTTPResponse
from ..transport.poll import Co, PollNeeded, T, run, run_on
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

    Making one does no I/O; the first operation connects. Each operation ``x`` that can wait is
    also there as a coroutine ``co_x`` with the same arguments: a generator that yields
    `PollNeeded` instead of waiting and returns the result.

    One thread (or coroutine) may send requests while another reads responses. A second sender
    or a second reader is told so by a `StateError`. `disconnect` may be called from any thread.

    Args:
        hostname: the server's name or address (IPv6 without brackets). A name beyond ASCII is
            converted at once; the extra ``idna`` does that as browsers do it.
        port: its port; 80, or 443 with an *ssl_context*, if not given.
        ssl_context: makes it a TLS connection; the context says what is verified.
        proxy: an HTTP proxy, ``(host, port)`` or ``'http://[user:password@]host:port'``. With an
            *ssl_context* it is asked for a tunnel.
        timeout: seconds that one wait without progress may take, connecting included; ``None``
            for no limit, 0 for no waiting at all.
        deadline: seconds that one call may take, whatever trickles in; ``None`` for no limit.
        continue_timeout: seconds that `request` waits for a 100 (Continue), less than *timeout*;
            ``None`` for no limit.
        unix_socket: path of a unix socket to connect to; *hostname* is then only a name.
        source_address: ``(host, port)`` to connect from.
        address: ``(host, port)`` to connect to, while *hostname* stays the server's name.
        sock: a connected socket to use. It is taken over, and can be used up only once.
        proxy_headers: fields to add to the CONNECT request that asks the proxy for a tunnel, a
            mapping or pairs. The server never sees them.
        socket_options: tuples ``(level, option, value)``, arguments of
            `socket.socket.setsockopt`, for each socket before it connects. ``TCP_NODELAY`` and
            ``SO_KEEPALIVE`` are set for TCP unless given here.

    The first four, and the three time limits, are also attributes that may be set; the next
    connection uses them.

    Raises:
        TypeError: an argument has the wrong type. Setting an attribute raises this, too.
        InvalidRequest: an argument has a value that is not valid, or two contradict each other.
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
            crt.close()  # the frames of the exception would keep it in the middle of its work
            raise

    def _read(
        self, attempt: Callable[[A], T | PollNeeded], coroutine: Callable[[A], Co[T]], argument: A
    ) -> T:
        """Do what *coroutine* does, without it where *attempt* has no need to wait, as is usual."""
        if self._deadline is None:
            # `isinstance` would be a call, after which a signal handler may raise: what was read
            # would be lost, and the next call would return what follows it. `match` is none.
            match attempt(argument):
                case PollNeeded():
                    pass
                case got:
                    return got
        return self._run(coroutine(argument))

    def connect(self) -> None:
        """Connect, unless connected. Rarely needed: every operation connects if necessary.

        An idle connection that the server has closed is replaced.

        Raises:
            HostnameNotResolvable: there is no such host.
            DNSUnavailable: no name can be looked up.
            TunnelRefused: the proxy refused to connect to the server.
            ConnectionTimedOut: a wait took longer than `timeout`.
            OSError: the system's or the TLS library's own error (refused, unreachable,
                certificate not trusted). After any of these there is no connection.
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
        """Send a request; connect first if need be (RFC 9112 section 3).

        When this returns, every byte has been given to the system. More requests may be sent
        before the response is read, but somebody must read while many are sent: see the
        documentation on pipelining.

        Args:
            method: a token, such as ``'GET'``.
            path: the request target (RFC 9112 section 3.2), quoted: visible ASCII without a
                fragment. A path with a query as a rule; a URL, whose host is then sent in
                ``Host``; ``host:port`` for CONNECT; ``*`` for OPTIONS.
            headers: a mapping or pairs. Names are `str` or `bytes`, values `str`, `bytes` or
                `int`; `str` is encoded as Latin-1. ``Host``, ``Accept-Encoding: identity``,
                ``Connection: keep-alive`` and the framing fields are added unless given. The
                value ``None`` leaves out a field that would be added.
            body: ``None``, a bytes-like object, a binary file or an iterable of bytes (see
                `request`), or a `BodyFollowing` if `write` is to send it.
            expect100: ask the server to say whether it wants the body before it is sent (RFC
                9110 section 10.1.1); call `read_response` next. Needs a `BodyFollowing`.
            deadline: seconds for this exchange, as for `request`. Each of several requests in
                flight has its own.

        Raises:
            TypeError: an argument, a name or a value has the wrong type. Nothing was sent.
            InvalidRequest: something is not valid, or does not fit the body. Nothing was sent.
            StateError: an earlier request or its body is unfinished. Nothing was sent.
            ConnectionClosed: the connection had ended (``bytes_sent`` is 0, the next call
                connects afresh) or ended while sending; what was sent before may be answered yet.
            ConnectionTimedOut: a wait took longer than `timeout`. Nothing more can be sent.
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

        It connects if need be, and connects anew when the idle connection cannot be used any
        more. While the body is being sent, it looks for the response: a refusal (300 and above,
        or ``Connection: close``) ends the sending, and is returned even if the server resets
        the connection right behind it. The connection is then closed after the response. A
        server that answers with a long body before it has read the request's needs somebody who
        reads meanwhile: `send_request` in one thread, `read_response` in another.

        Args:
            method: a token, such as ``'PUT'``.
            path: as for `send_request`.
            headers: as for `send_request`.
            body: what to send.

                A *bytes-like object* of any format; its length is that in bytes.

                A *binary file* is sent from its position to its end; its length is determined
                beforehand if that is possible without reading it. Afterwards its position is
                behind the last byte sent or, if the request failed and is safe to retry, where
                it was. If *headers* has a ``Content-Length``, the file is neither measured nor
                moved: only ``read(n)`` is called, with *n* at most the number of bytes that are
                left. So it may be a pipe, or a part of something else. It is one-shot then.

                An *iterable* of bytes-like objects is sent in chunks, each item one, unless
                *headers* has a ``Content-Length``, which is then enforced.

                With ``Transfer-Encoding: chunked`` in *headers*, bytes and files are sent in
                chunks too (RFC 9112 section 7.1), and a file is not measured.

                Bytes and files that can seek are replayable, all else is one-shot. A one-shot
                body that was used up is refused: generators, files and your own iterators
                always, built-in ones such as ``map(...)`` and ``iter([...])`` as long as the
                earlier request, its response or its exception exists.

                What your iterable or file raises passes through unchanged, whatever its class.
            expect100: whether to ask the server first whether it wants the body (RFC 9110
                section 10.1.1), and to wait for that at most `continue_timeout`. ``None`` asks
                for bodies of 1 MiB and more or of unknown length, until this server has let the
                time pass or answered 417 (Expectation Failed). After a 417 a replayable body is
                sent once more without asking, on a new connection.
            timeout: replaces the attribute `timeout` for this exchange, whichever calls read its
                body.
            deadline: seconds for this exchange, from this call to the last byte of the body,
                whichever calls read it. A reading call that begins later raises
                `ConnectionTimedOut` unless that byte has arrived.

        Returns:
            The final response, whose body is to be read, or discarded, before the next call. All
            interim responses are in its `informational`.

        Raises:
            TypeError, InvalidRequest: as for `send_request`; nothing was sent, unless an item of an
                iterable is not bytes-like.
            StateError: something is outstanding, or the body was used up before. Nothing was sent.
            BodyChanged: a file shrank or grew while it was being sent, a body is shorter than
                its ``Content-Length``, or ``read(n)`` returned more than *n* bytes. No complete
                request was sent, and the connection is broken.
            ExcessBodyData: an iterable has more than its ``Content-Length``. As before.
            ConnectionClosed: the connection ended before a response; the next call of this
                method connects anew.
            ConnectionTimedOut: a wait took longer than `timeout`. If the request was sent whole,
                `read_response` may be called to go on waiting.
            InvalidResponse, UnsupportedResponse: as for `read_response`.
            DugongError, OSError: connecting failed, as for `connect`.
        """
        return self._run(
            self.co_request(
                method, path, headers, body, expect100, timeout=timeout, deadline=deadline
            )
        )

    def write(self, buf: ReadableBuffer) -> None:
        """Send a part of a body announced by `BodyFollowing`.

        In a body of unknown length every call that is not empty becomes one chunk.

        Args:
            buf: a bytes-like object.

        Raises:
            TypeError: *buf* is not bytes-like.
            StateError: no body is due, or the server's word on it is awaited. Nothing was sent.
            ExcessBodyData: that is more than announced. Nothing was sent.
            ConnectionClosed: the connection ended. Responses may still be read.
            ConnectionTimedOut: a wait took longer than `timeout`. Nothing more can be sent.
        """
        self._run(self.co_write(buf))

    def end_body(self, trailers: HeadersArgument | None = None) -> None:
        """End a body of unknown length (RFC 9112 section 7.1).

        A body of known length ends with its last byte; for such a one this checks that.

        Args:
            trailers: fields for the trailer section, a mapping or pairs.

        Raises:
            StateError: no body is due, or bytes of it are missing. Nothing was sent.
            InvalidRequest: a trailer field is not valid, or the body is not chunked.
            ConnectionClosed: the connection ended. Responses may still be read.
            ConnectionTimedOut: a wait took longer than `timeout`. Nothing more can be sent.
        """
        self._run(self.co_end_body(trailers))

    def read_response(self) -> HTTPResponse:
        """Read the head of the next response; responses come in the order of the requests.

        After a request with *expect100* this returns the 100 (Continue), upon which the body is
        to be written and this to be called again, or the final response that refuses it. Other
        interim responses are collected in `HTTPResponse.informational`.

        Returns:
            The response, whose body is to be read, or discarded, before the next call.

        Raises:
            StateError: nothing is outstanding, the last body is unread, or the request's body is
                unfinished.
            ConnectionClosed: the connection ended before a complete head.
            ConnectionTimedOut: a wait took longer than `timeout`. The call may be repeated.
            InvalidResponse: the head, or what it says of the body, is not valid or beyond a
                limit. The connection is broken until `disconnect`.
            UnsupportedResponse: it is valid, but not HTTP/1.1 as spoken here. As before.
        """
        return self._run(self.co_read_response())

    def read(self, n: int | None = None) -> bytes:
        """Read at most *n* bytes of the body, or all of it (``None`` or negative).

        The end of a body is reported once, by ``b''``. A response without a body reports its end
        to the first call.

        Returns:
            As many bytes as have already arrived, but at least one; ``b''`` at the end of the
            body, for *n* 0, and when nothing is outstanding.

        Raises:
            StateError: a request is outstanding, and no response has been read since the end of
                the last body was reported: call `read_response` first.
            ConnectionClosed: the connection ended before the body did.
            ConnectionTimedOut: a wait took longer than `timeout`. The call may be repeated.
            InvalidResponse: the body's chunks are not valid.
        """
        return self._read(self._try_read, self.co_read, n)

    def readinto(self, buf: WriteableBuffer) -> int:
        """Read a part of the body straight into *buf*, a writable buffer.

        Returns:
            The number of bytes; 0 where `read` returns ``b''``, and for an empty buffer.

        Raises:
            TypeError: *buf* is not a writable buffer.
            DugongError: as for `read`.
        """
        return self._read(self._try_readinto, self.co_readinto, buf)

    def readall(self, limit: int | None = None) -> bytes:
        """Read the rest of the body, which also reports its end.

        Args:
            limit: how many bytes are acceptable.

        Raises:
            StateError: as for `read`.
            InvalidResponse: the body is longer than *limit*, or its chunks are not valid.
            ConnectionClosed: the connection ended before the body did.
            ConnectionTimedOut: a wait took longer than `timeout`. Nothing is lost: the next
                reading call serves what has been gathered.
        """
        if self._deadline is None:  # as `_read`, and one call less for each small body
            match self._try_readall(limit):
                case PollNeeded():
                    pass
                case got:
                    return got
        return self._run(self.co_readall(limit))

    def discard(self) -> None:
        """Read the rest of the body, which also reports its end, and throw it away.

        Raises as `read`.
        """
        self._run(self.co_discard())

    def pipeline(
        self,
        requests: Iterable[str | tuple[str, str] | Request],
        depth: int = DEFAULT_DEPTH,
        *,
        deadline: float | None = None,
    ) -> BlockingPipeline:
        """Send many requests without waiting for the responses, and iterate over these, in order.

        ::

            for response in conn.pipeline(["/a", "/b", "/c"]):
                body = conn.readall()

        What is not read of a body is discarded by the next step. No size of requests and
        responses, and no order in which they come, can make both sides wait for each other.
        Only idempotent methods are pipelined; any other request is sent when all before it are
        answered, and answered before anything follows it (RFC 9112 section 9.3.2).

        When the connection ends, what is unanswered is sent again on a new one, as long as each
        connection brings at least one response. What must not be sent twice, because its method
        is not idempotent or its body is one-shot, fails instead. Until a server has kept a
        connection it is asked for one document at a time, and so is one that keeps breaking off.

        A few servers drop requests that arrive together with the one they answer. If several were
        in flight and no byte moves for five seconds, the connection is closed, and the unanswered
        requests are sent again on a new one, one at a time; so are all later ones of this object.
        A server that is merely slow thus receives some idempotent requests twice. The connection
        is kept if one of the requests cannot be repeated, or if it was given as *sock*. Until a
        server has answered two requests that were sent in one piece, nothing is sent behind them.

        The object is an iterator: `next` on it continues after any exception, behind the
        request that failed for good, or by trying again if the connection could not be made or
        kept. If it is left early, the next operation other than reading disconnects first, so
        that it does not get what the pipeline has asked for. Use one pipeline at a time.

        Args:
            requests: an iterable of paths, pairs ``(method, path)``, or `Request` objects with
                whole bodies. It may be endless, and is never taken more than *depth* ahead. Those
                of a list, or anything else that knows its length, are sent many at once. From a
                generator each is given to the system before the next is taken, which may be long
                in coming; after a quick series of them Linux may hold a few for 0.2 seconds.
                While an iterable waits, responses wait too; an async one does not hold them up.
            depth: how many requests may be unanswered, at least 1.
            deadline: seconds for the whole pipeline, from this call to the last byte of the last
                body. After that, a step raises `ConnectionTimedOut` unless the next response has
                arrived to its last byte.

        Returns:
            An iterator of `HTTPResponse`; each one's ``request`` is what it answers. Its
            ``co_next`` is the same as a coroutine, which returns ``None`` in the end.

        Raises:
            TypeError, InvalidRequest: an argument is wrong, here; a request is, in its place.
            StateError: something else is outstanding on the connection.
            ConnectionClosed: a connection ended before any response came, or an unanswered
                request must not be repeated. ``unanswered`` has all that were asked for.
            ConnectionTimedOut: a wait took longer than `timeout`. The next step waits on.
            InvalidResponse, UnsupportedResponse: the response is not what it should be.
            BodyChanged, ExcessBodyData: a request's body is not what was announced.
            DugongError, OSError: connecting failed, as for `connect`.
        """
        return BlockingPipeline(self, requests, depth, deadline)

    def read_raw(self, n: int) -> bytes:
        """Read at most *n* bytes uninterpreted, to see what a server sent that was not valid.

        Afterwards the connection is of no more use for HTTP; call `disconnect`.

        Returns:
            The bytes, ``b''`` at the end of the connection.

        Raises:
            StateError: there is no connection.
            ConnectionClosed, ConnectionTimedOut: as for `read`.
        """
        return self._run(self._co_read_raw(n))

    def get_ssl_peercert(self, binary_form: bool = False) -> Any:
        """Return the server's certificate as `ssl.SSLSocket.getpeercert` does; connect if need be.

        ``None`` without TLS. Raises as `connect`.
        """
        return self._run(self.co_get_ssl_peercert(binary_form))

    def get_ssl_cipher(self) -> tuple[str, str, int] | None:
        """Return the cipher in use as `ssl.SSLSocket.cipher` does; connect if need be.

        ``None`` without TLS. Raises as `connect`.
        """
        return self._run(self.co_get_ssl_cipher())


class BlockingPipeline(Pipeline):
    """What `HTTPConnection.pipeline` returns."""

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
