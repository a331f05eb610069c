"""The common part of all connection classes: every operation as a coroutine.

A coroutine here is a generator. It yields a `PollNeeded` whenever it would have to wait, and
returns the result of the operation. A driver may resume it at any time: it then tries again, and
yields another `PollNeeded` if it still has to wait. A coroutine never blocks. Its driver enforces
the attributes `timeout` and `deadline`.

The operations that never wait are plain methods. They may be called from any thread.

Lost responses
==============

`disconnect` may be called while responses are outstanding, from a third thread or task. A sender
and a reader that are between two calls then know nothing of it. If both simply reconnected, the
reader could take the response to a new request for the response to an old one. Hence these rules:

1. A call that was sending or receiving when the session was closed raises `ConnectionClosed`.
2. Otherwise the responses are lost, and the first call that sends or reads afterwards raises
   `ConnectionClosed`. The caller that disconnected is exempt (see `_report_lost`).
3. The body of a response is only read from the session that its head came from
   (`_response_session`).
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from io import UnsupportedOperation
from threading import get_ident
from typing import TYPE_CHECKING, Any, NoReturn, cast

from ..errors import ConnectionClosed, DugongError, InvalidRequest, StateError
from ..protocol.arguments import check_int, check_seconds, check_size
from ..protocol.buffer import writable_view
from ..protocol.content import as_bytes
from ..protocol.exchange import Exchange
from ..protocol.messages import BodyFollowing, HTTPResponse, Request
from ..protocol.request import Defaults
from ..protocol.state import ConnectionState
from ..protocol.states import Receiving
from ..session.session import Session
from ..session.upload import Upload
from ..transport.connect import Route
from ..transport.fork import disown_in_child
from ..transport.monitor import Monitor
from ..transport.poll import Co, PollNeeded
from ..transport.sockets import adopt
from ..transport.stream import AT_ONCE
from ..transport.timeouts import check_timeout
from ..transport.within import UNSET, ExchangeLimits
from .settings import Settings

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

    from ..protocol.digest import Hash
    from ..protocol.exchange import Exchange
    from ..protocol.messages import Body, HeadersArgument, WholeBody
    from ..transport.stream import Stream
    from ..transport.timeouts import Timeouts
    from ..transport.tls import TLSStream
    from ..transport.within import Unset


class Connection(Settings):
    """The common base class of `HTTPConnection` and `AsyncHTTPConnection`."""

    _session: Session | None = None
    #: The session of the last response. Its body has to come from there, not from a connection
    #: that another thread or task has made since.
    _response_session: Session | None = None
    #: The exchanges that the latest `disconnect` has lost, and its caller; ``None`` once reported.
    _lost: tuple[ConnectionState, object] | None = None
    _monitor: Monitor

    if not TYPE_CHECKING:  # type checkers take the arguments from the base class

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            if self._sock is not None:
                adopt(self._sock)  # it is closed with this object, used or not
            self._monitor = Monitor()
            disown_in_child(self)

    # Operations that never wait.

    @property
    def on_event(self) -> Callable[[str], object] | None:
        """A callable that receives the name of each event as a `str`, or ``None``.

        The events while connecting are ``resolved``, ``connecting`` (before the first attempt),
        ``connected`` and ``secured``. The events of each exchange are ``sent`` (the whole request),
        ``first_byte`` (the head of the response) and ``done`` (the last byte of the response).
        """
        return self._monitor.on_event

    @on_event.setter
    def on_event(self, callback: Callable[[str], object] | None) -> None:
        if callback is not None and not callable(callback):
            raise TypeError(f"on_event must be a callable or None, not {type(callback).__name__}")
        self._monitor.on_event = callback

    @property
    def bytes_sent(self) -> int:
        """Bytes that the system has accepted since this object was made, before encryption."""
        return self._monitor.bytes_sent

    @property
    def bytes_received(self) -> int:
        """Bytes received since this object was made, after decryption."""
        return self._monitor.bytes_received

    @property
    def body_pending(self) -> bool:
        """Whether the body of an accepted request is unfinished, or awaits its 100 (Continue)."""
        session = self._open_session()
        return session is not None and session.state.body_pending

    #: A private name of dugong 3 that existing programs read.
    _out_remaining = body_pending

    @property
    def connected(self) -> bool:
        """Whether there is a connection.

        The server may have closed it since it was last used: see `reusable`. If a response
        announces a close, the connection is closed with the last byte of that response.
        """
        return self._open_stream() is not None

    @property
    def reusable(self) -> bool:
        """Whether the connection is idle, and the next request can be sent on it.

        This checks, without waiting, whether the server has closed the connection. If the
        connection is idle and cannot be used any more, this closes it.
        """
        session = self._open_session()
        if session is None or session.pipelined:
            return False
        try:
            session.take_end()
        except DugongError:  # the next reading call reports that the connection is broken
            return False
        if not session.state.idle:
            return False
        if session.idle_fault() is None:
            return session.connected
        session.close()
        return False

    @property
    def peer_address(self) -> Any:
        """The remote address in the form that `socket` uses, ``None`` while not `connected`.

        ``(host, port)`` for IPv4, ``(host, port, flow, scope)`` for IPv6, a path for a Unix
        socket. With a proxy, this is the address of the proxy.
        """
        stream = self._open_stream()
        return None if stream is None else stream.peer_address

    @property
    def local_address(self) -> Any:
        """The local address, in the same form as `peer_address`; ``None`` while not `connected`."""
        stream = self._open_stream()
        return None if stream is None else stream.local_address

    @property
    def tls_version(self) -> str | None:
        """The TLS version in use, such as ``'TLSv1.3'``.

        ``None`` without TLS, and while not `connected`. TLS with an https proxy does not count.
        """
        stream = self._open_stream()
        return None if stream is None else stream.tls_version

    def response_pending(self) -> bool:
        """Return whether any response is outstanding or only partly read."""
        session = self._open_session()
        return session is not None and session.state.pending

    def disconnect(self) -> None:
        """Close the connection, from any state and any thread, any number of times.

        Calls that are waiting in other threads or coroutines raise `ConnectionClosed`. The next
        request reconnects. Exception: if no call was waiting and responses were outstanding, the
        next sending or reading call of another thread or task raises `ConnectionClosed` first.
        """
        if self._sock is not None:  # taken over, and not used yet
            self._sock.close()
            self._sock = None
        session = self._session
        if session is not None:
            if session.owes:
                self._lost = session.state, self._caller()
            session.close()

    def reset(self) -> None:
        """Do the same as `disconnect`."""
        self.disconnect()

    def hash_body(self, *hashes: Hash, check: bool = False) -> None:
        """Feed the body of the response to hash objects, and check its digests.

        Call this after reading the head of the response, and before reading any of its body. Each
        byte is fed once, as it arrives, no matter which calls read or discard the body.

        Args:
            hashes: objects with a method ``update``, such as those of `hashlib`.
            check: whether to compare the body with the sha-256 and sha-512 digests in the fields
                Content-Digest and Repr-Digest, in the head or in the trailer section (RFC 9530).
                Every such digest must match. Repr-Digest is ignored in a 206 (Partial Content). A
                response that cannot have content (to HEAD, 204, 304) passes the check.

        Raises:
            StateError: there is no such response, some of its body has been read, or this was
                called before.
            DigestMismatch: *check* is true, but there is no digest to check against, and none can
                follow. Or the body is empty, and a digest does not match.

        With *check*, the call that reaches the end of the body also raises `DigestMismatch` if a
        digest does not match or there was none. The data that it would have returned is dropped,
        and the connection is broken until `disconnect`.
        """
        session = self._unless_lost(self._response_session)
        if session is None:
            raise StateError(
                "no body to hash: call hash_body() between read_response() and the first read"
            )
        session.reader.hash_body(hashes, check)

    def detach(self) -> tuple[socket.socket, bytes]:
        """Hand over the socket after a 101 (Switching Protocols) or a 2xx response to CONNECT.

        The next request reconnects.

        Returns:
            The connected socket, in blocking mode, and the bytes that have already been received
            from it.

        Raises:
            StateError: the connection still speaks HTTP. Or it speaks TLS inside the TLS of an
                https proxy, for which there is no socket.
        """
        session = self._open_session()
        if session is None or session.state.receiving is not Receiving.SWITCHED:
            raise StateError("a connection can be detached only after a 101, or a 2xx to CONNECT")
        return session.detach(), session.take_received()

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError(
            f"{type(self).__name__} objects cannot be copied or pickled: make a new one"
        )

    # The methods of a raw file, for io.TextIOWrapper.

    def readable(self) -> bool:
        """Return True."""
        return True

    def writable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return False."""
        return False

    @property
    def closed(self) -> bool:
        """Always False, because a connection can be used again after `disconnect`."""
        return False

    @property
    def name(self) -> str:
        """The server's host, and its port unless that is the default."""
        return self._authority()

    def isatty(self) -> bool:
        """Return False."""
        return False

    def fileno(self) -> NoReturn:
        """Raise `io.UnsupportedOperation`: a body cannot be read from a descriptor."""
        raise UnsupportedOperation("a body cannot be read from a file descriptor")

    def truncate(self, size: int | None = None) -> NoReturn:
        """Raise `io.UnsupportedOperation`."""
        raise UnsupportedOperation("a connection cannot be truncated")

    def flush(self) -> None:
        """Do nothing: dugong buffers no data to send."""

    def close(self) -> None:
        """Do nothing. File objects that wrap the connection call this; `disconnect` disconnects."""

    # Sessions.

    def _disown(self) -> None:
        self._session = self._response_session = self._lost = None
        if self._sock is not None:
            self._sock.close()
            self._sock = None

    def _open_session(self) -> Session | None:
        session = self._session
        return None if session is None or session.closed else session

    def _open_stream(self) -> Stream | None:
        session = self._session
        return session.stream if session is not None and session.connected else None

    def _own_session(self) -> Session | None:
        """Return the open session, ``None`` if there is none.

        A session that a pipeline has left with anything outstanding is closed first. Only that
        pipeline knows which responses are still to arrive.
        """
        session = self._open_session()
        if session is not None and session.pipelined:
            session.pipelined = False
            if session.unfinished or session.state.outstanding:
                session.close()
                self._session = None
                return None
        return session

    def _session_in_use(self) -> Session | None:
        """Return the session on which an exchange may be in progress, ``None`` if there is none.

        Raises:
            ConnectionClosed: it was closed with something unfinished.
        """
        session = self._session
        if session is not None and session.pipelined:
            return self._own_session()
        return self._unless_lost(session)

    def _unless_lost(self, session: Session | None) -> Session | None:
        """Return *session*, ``None`` if it was closed with everything complete.

        Raises:
            ConnectionClosed: it was closed with something unfinished.
        """
        if session is None or not session.closed:
            return session
        if session.unfinished:
            self._lost = None  # this reports it
            raise session.state.lost()
        return None

    def _session_to_read(self) -> Session | None:
        """Return the session of the last response, ``None`` if there was none.

        Raises:
            StateError: the end of its body was reported, and another response is outstanding.
            ConnectionClosed: it was closed with something unfinished.
        """
        session = self._response_session
        if session is not None:
            self._unless_lost(session)
            if not session.end_reported:
                return session
        current = self._open_session()
        if current is not None and current.state.unread:
            raise StateError("no response has been read: call read_response() first")
        return session

    def _caller(self) -> object:
        """Return an object that identifies the caller of a method: its thread."""
        return get_ident()

    def _report_lost(self, *, reading: bool) -> None:
        """Report responses that another caller's `disconnect` has lost.

        Example: one thread has sent /a and /b, and another one reads the responses. A third one
        disconnects while neither of them is in a call. If the sender then merely reconnected and
        sent /c, the reader would take the response to /c for the response to /a. So the first
        call afterwards fails, whether it sends or reads.

        The caller that disconnected knows about it. Its requests are sent without an error. Once
        it reads a response itself, there is no other reader to warn.

        `request` and `pipeline` need no warning, because they read the responses to their own
        requests.

        Raises:
            ConnectionClosed: responses were lost. Nothing was sent.
        """
        if self._lost is None:
            return
        exchanges, caller = self._lost
        if caller != self._caller():
            self._lost = None
            exc = exchanges.lost()
            if not reading:  # the attributes describe the request of this call: nothing was sent
                exc.bytes_sent, exc.response_started, exc.safe_to_retry = 0, False, True
            try:
                raise exc
            finally:
                del exc  # the frames of its traceback must not keep it alive
        if reading:
            self._lost = None

    def _new_session(self, route: Route) -> Session:
        self._session = Session(route, self._monitor)
        self._sock = None
        return self._session

    def _sending_session(self) -> Session | None:
        """Return the open session for another request, ``None`` if it needs a new one."""
        session = self._session
        if session is not None and session.pipelined:
            session = self._own_session()
        if session is None or session.closed:
            return None
        if session.reader.body is not None:
            session.take_end()
            return self._open_session()  # that may have closed it
        return session

    def _idle_session(self) -> Session | None:
        """Return the open idle session, ``None`` if a whole exchange needs a new one.

        Raises:
            StateError: something is outstanding.
        """
        session = self._own_session()
        if session is None:
            return None
        session.take_end()
        exchanges = session.state
        if exchanges.outstanding:
            if exchanges.receiving is Receiving.RESPONSE_BODY:
                raise StateError(
                    "the body of the last response has not been read: read or discard it first"
                )
            raise StateError("earlier requests have no response yet: read their responses first")
        if exchanges.broken or session.idle_fault() is not None:
            session.close()
        return self._open_session()

    # Coroutines. The blocking methods of `HTTPConnection` have the documentation.

    def co_connect(self) -> Co[None]:
        """Coroutine of `HTTPConnection.connect`."""
        session = self._sending_session()
        if session is not None and session.idle_fault() is not None:
            session.close()
            session = None
        session = session or self._new_session(self._route())
        yield from session.co_connect()

    def _start_request(
        self,
        method: str,
        path: str,
        headers: HeadersArgument | None,
        body: Body,
        expect100: bool,
        deadline: float | None,
    ) -> Co[None] | None:
        """Send as much of a request as possible without waiting.

        Returns:
            A coroutine that sends the rest, ``None`` if the request was sent completely.
        """
        limits = None if deadline is None else self._limits_of_exchange(deadline)
        if expect100 and not isinstance(body, BodyFollowing):
            raise InvalidRequest("expect100 needs a BodyFollowing body: pass one, or use request()")
        if self._lost is not None:
            self._report_lost(reading=False)
        session = self._sending_session()
        route = self._route() if session is None else session.route
        exchange = self._prepare(route, Request(method, path, headers, body), expect100)
        if hasattr(headers, "__next__"):
            exchange.headers_used_up = True
        if session is None:
            session = self._new_session(route)
        elif (fault := session.idle_fault()) is not None:
            session.close()
            fault.safe_to_retry = exchange.restore()
            try:
                raise fault
            finally:
                del fault  # the frames of its traceback must not keep it, and so the session, alive
        exchange.limits = limits
        return session.start(exchange, None, limits)

    def _limits_of_exchange(
        self, deadline: float | None, timeout: float | Timeouts | Unset | None = UNSET
    ) -> ExchangeLimits:
        deadline = check_seconds(deadline, "deadline")
        if timeout is not UNSET:
            timeout = check_timeout(timeout)
        return ExchangeLimits(self._monitor, deadline, timeout)

    def co_send_request(
        self,
        method: str,
        path: str,
        headers: HeadersArgument | None = None,
        body: Body = None,
        expect100: bool = False,
        *,
        deadline: float | None = None,
    ) -> Co[None]:
        """Coroutine of `HTTPConnection.send_request`."""
        rest = self._start_request(method, path, headers, body, expect100, deadline)
        if rest is not None:
            try:
                yield from rest
            finally:
                rest.close()

    def co_request(
        self,
        method: str,
        path: str,
        headers: HeadersArgument | None = None,
        body: WholeBody = None,
        expect100: bool | None = None,
        *,
        timeout: float | Timeouts | Unset | None = UNSET,
        deadline: float | None = None,
    ) -> Co[HTTPResponse]:
        """Coroutine of `HTTPConnection.request`; returns the `HTTPResponse`."""
        return self._co_exchange(AT_ONCE, method, path, headers, body, expect100, timeout, deadline)

    def _co_exchange(
        self,
        flags: int,
        method: str,
        path: str,
        headers: HeadersArgument | None,
        body: WholeBody,
        expect100: bool | None,
        timeout: float | Timeouts | Unset | None,
        deadline: float | None,
        limits: ExchangeLimits | None = None,
        defaults: Defaults | None = None,
    ) -> Co[HTTPResponse]:
        """Perform `request`.

        Args:
            flags: for receiving the response (see `Stream.recv_into`).
            method, path, headers, body, expect100, timeout, deadline: those of `request`.
            limits: time limits that have begun before, instead of *timeout* and *deadline*.
            defaults: replaces those of the route.
        """
        if limits is None and (deadline is not None or timeout is not UNSET):
            limits = self._limits_of_exchange(deadline, timeout)
        if isinstance(body, BodyFollowing):
            raise TypeError(
                "request() sends the whole body: pass the body itself, or use send_request()"
            )
        request = Request(method, path, headers, body)
        while True:
            session = self._idle_session()
            used_before = session is not None
            route = self._route() if session is None else session.route
            exchange = self._prepare(route, request, expect100, defaults)
            if hasattr(headers, "__next__"):
                exchange.headers_used_up = True
            session = session or self._new_session(route)
            self._response_session = session
            exchange.limits = limits
            upload, response = Upload(session), None
            try:
                # No local variable refers to the coroutine. The traceback of an exception would
                # keep it suspended, holding its turn, for as long as the exception exists.
                response = yield from (
                    upload.co_run(exchange, self._continue_timeout, flags)
                    if limits is None
                    else limits.co_keep(upload.co_run(exchange, self._continue_timeout, AT_ONCE))
                )
                if not self._traits.keeps_connections or response.version == "1.0":
                    self._traits.learn(response)
                if response.status != 417 or not self._may_drop_expect(exchange):
                    return response
                session.close()
                expect100 = False
            except ConnectionClosed as exc:
                # A server may close an idle connection just when we send on it (RFC 9112 section
                # 9.3.1). If no byte of the request was sent, repeating it is safe. A failure on a
                # new connection, or one caused by our own disconnect(), is passed on.
                if not used_before or exc.bytes_sent or not upload.connection_lost:
                    raise
            except BaseException:
                if response is not None:
                    session.close()  # the caller never sees its head
                raise
            finally:
                if upload.expect_failed:
                    self._traits.knows_expect = False
            if exchange.content is not None:
                exchange.content.restore()
            request.body = body  # preparing may have replaced an async iterable by its content

    def _may_drop_expect(self, exchange: Exchange) -> bool:
        """Whether *exchange* can be sent again on another connection, without ``Expect``."""
        if self._sock_given or (exchange.chunked and self._traits.is_http10):
            return False
        return exchange.may_drop_expect

    def co_write(self, buf: ReadableBuffer) -> Co[None]:
        """Coroutine of `HTTPConnection.write`."""
        with as_bytes(buf) as data:  # an error must not keep the caller's buffer exported
            session = self._session_in_use()
            if session is None:
                raise StateError(
                    "no request body is expected: call send_request() with a BodyFollowing first"
                )
            yield from session.to_send(session.co_write(data))

    def co_end_body(self, trailers: HeadersArgument | None = None) -> Co[None]:
        """Coroutine of `HTTPConnection.end_body`."""
        session = self._session_in_use()
        if session is None:
            raise StateError(
                "no request body is expected: call send_request() with a BodyFollowing first"
            )
        yield from session.to_send(session.co_end_body(trailers))

    def _try_read_response(self, flags: int) -> HTTPResponse | PollNeeded:
        """Do what `co_read_response` does, or return a `PollNeeded` if it would have to wait."""
        session = self._response_session = self._session_to_respond()
        match session.try_do(flags, session.try_read_response):
            case PollNeeded() as need:
                return need
            case response:
                if not self._traits.keeps_connections or response.version == "1.0":
                    self._learn(session, response)
                return response

    def co_read_response(self) -> Co[HTTPResponse]:
        """Coroutine of `HTTPConnection.read_response`; returns the `HTTPResponse`."""
        session = self._response_session = self._session_to_respond()
        response = yield from session.to_receive(session.co_read_response())
        if not self._traits.keeps_connections or response.version == "1.0":
            self._learn(session, response)
        return response

    def _session_to_respond(self) -> Session:
        """Return the session of the next response.

        Raises:
            StateError: no response is outstanding.
            ConnectionClosed: responses were lost.
        """
        if self._lost is not None:
            self._report_lost(reading=True)
        session = self._session_in_use()
        if session is None:
            raise StateError("no response is outstanding: send a request first")
        return session

    def _learn(self, session: Session, response: HTTPResponse) -> None:
        try:
            self._traits.learn(response)
        except BaseException as exc:  # of a signal handler: the caller never sees the response
            session.state.fail(exc)
            raise

    def _try_read(self, n: int | None, flags: int) -> bytes | PollNeeded:
        """Do what `co_read` does, or return a `PollNeeded` if it would have to wait.

        In the latter case, `co_read` continues from there. No data is lost. For *flags*, see
        `ResponseReceiver.try_do`.
        """
        if n.__class__ is not int and n is not None:
            n = check_int(n, "n")
        if n is None or n < 0:
            return self._try_readall(None, flags)
        session = self._session_to_read()
        if session is None:
            return b""
        return session.try_do(flags, session.try_read, n)

    def co_read(self, n: int | None = None) -> Co[bytes]:
        """Coroutine of `HTTPConnection.read`; returns `bytes`."""
        if n.__class__ is not int and n is not None:
            n = check_int(n, "n")
        if n is None or n < 0:
            return (yield from self.co_readall())
        session = self._session_to_read()
        if session is None:
            return b""
        return (yield from session.to_receive(session.co_do(session.try_read, n)))

    def _try_readinto(self, buf: WriteableBuffer, flags: int) -> int | PollNeeded:
        """Do what `co_readinto` does, or return a `PollNeeded` if it would have to wait."""
        view = writable_view(buf)
        try:
            session = self._session_to_read()
            if session is None:
                return 0
            return session.try_do(flags, session.try_readinto, view)
        except BaseException:
            view.release()  # the frames of the exception would keep the caller's buffer exported
            raise

    def co_readinto(self, buf: WriteableBuffer) -> Co[int]:
        """Coroutine of `HTTPConnection.readinto`; returns the number of bytes."""
        view = writable_view(buf)
        try:
            session = self._session_to_read()
            if session is None:
                return 0
            return (yield from session.to_receive(session.co_do(session.try_readinto, view)))
        except BaseException:
            view.release()
            raise

    def _try_readall(self, limit: int | None, flags: int) -> bytes | PollNeeded:
        """Do what `co_readall` does, or return a `PollNeeded` if it would have to wait."""
        if limit is not None:
            limit = check_size(limit, "limit")
        session = self._response_session
        # Usually `_session_to_read` would return it. Small bodies are read without that call.
        if session is None or session.closed or session.end_reported:
            session = self._session_to_read()
            if session is None:
                return b""
        return session.try_do(flags, session.try_readall, limit)

    def co_readall(self, limit: int | None = None) -> Co[bytes]:
        """Coroutine of `HTTPConnection.readall`; returns `bytes`."""
        if limit is not None:
            limit = check_size(limit, "limit")
        session = self._session_to_read()
        if session is None:
            return b""
        return (yield from session.to_receive(session.co_do(session.try_readall, limit)))

    def co_discard(self) -> Co[None]:
        """Coroutine of `HTTPConnection.discard`."""
        session = self._session_to_read()
        if session is not None:
            yield from session.to_receive(session.co_do(session.try_discard))

    def co_get_ssl_peercert(self, binary_form: bool = False) -> Co[Any]:
        """Coroutine of `HTTPConnection.get_ssl_peercert`."""
        stream = yield from self._co_tls_stream()
        return None if stream is None else stream.certificate(binary_form)

    def co_get_ssl_cipher(self) -> Co[tuple[str, str, int] | None]:
        """Coroutine of `HTTPConnection.get_ssl_cipher`."""
        stream = yield from self._co_tls_stream()
        return None if stream is None else stream.cipher()

    def _co_read_raw(self, n: int) -> Co[bytes]:
        n = check_size(n, "n")
        session = self._open_session()
        if session is None or session.stream is None:
            raise StateError("the connection is not open: there is nothing to read")
        return (yield from session.co_do(session.try_read_raw, n))

    def _co_tls_stream(self) -> Co[TLSStream | None]:
        session = self._open_session() or self._new_session(self._route())
        stream = yield from session.co_connect()
        return None if session.route.ssl_context is None else cast("TLSStream", stream)
