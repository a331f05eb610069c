"""HTTP proxies: where one is, and the tunnel through it (RFC 9110 section 9.3.6)."""

from __future__ import annotations

import time
from base64 import b64encode
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..errors import (
    ConnectionClosed,
    ConnectionTimedOut,
    InvalidRequest,
    InvalidResponse,
    TunnelRefused,
    UnsupportedResponse,
)
from ..protocol import grammar
from ..protocol.arguments import check_port
from ..protocol.authority import check_address, check_host
from ..protocol.body import Chunked, Decoder, Length, UntilClose
from ..protocol.buffer import ReceiveBuffer
from ..protocol.framing import CHUNKED, CLOSE, frame
from ..protocol.limits import MAX_INTERIM_RESPONSES, MAX_REFUSAL_SIZE, REFUSAL_TIMEOUT
from ..protocol.messages import HTTPResponse, Request
from ..protocol.request import NO_DEFAULTS, Defaults, prepare
from ..protocol.response import find_head, parse_head
from .poll import Co, PollNeeded
from .stream import Stream

if TYPE_CHECKING:
    from ..protocol.messages import HeadersArgument


class Proxy:
    """An HTTP proxy.

    Attributes:
        host: its host name or address.
        port: its port.
        authorization: the value of Proxy-Authorization, ``None`` if it needs none.
    """

    __slots__ = ("authorization", "host", "port")

    def __init__(self, host: str, port: int, authorization: str | None = None) -> None:
        self.host = host
        self.port = port
        self.authorization = authorization

    @property
    def fields(self) -> dict[str, str]:
        """The field lines for requests that the proxy itself is to read, by lower-case name."""
        if self.authorization is None:
            return {}
        return {"proxy-authorization": f"Proxy-Authorization: {self.authorization}"}


def parse_proxy(proxy: Any) -> Proxy:
    """Understand what users give as a proxy.

    Args:
        proxy: ``(host, port)`` or ``'http://[user:password@]host[:port]'``.

    Raises:
        TypeError: it is neither, or a part of it has the wrong type.
        InvalidRequest: a part of it is not valid. The message does not show a URL, because parts
            of one that is not understood may be secret.
    """
    if isinstance(proxy, (tuple, list)):
        return Proxy(*check_address(proxy, "proxy"))
    if not isinstance(proxy, str):
        raise TypeError(
            "proxy is a pair (host, port) or a URL http://[user:password@]host:port, "
            f"not {type(proxy).__name__}"
        )
    url = grammar.PROXY_URL.fullmatch(proxy)
    if url is None:
        scheme = grammar.SCHEME.match(proxy)
        given = f"a URL with the scheme {scheme[1]!r}" if scheme else "this value"
        raise InvalidRequest(f"proxy is a URL http://[user:password@]host:port, not {given}")
    credentials, address, name, digits = url.groups()
    host = check_host(address.replace("%25", "%") if address else name.lower(), "the host of proxy")
    port = check_port(int(digits), "the port of proxy") if digits else 80
    return Proxy(host, port, None if credentials is None else _basic(credentials))


def _basic(credentials: str) -> str:
    """Return the basic credentials for the user information of a URL (RFC 7617 section 2)."""
    from urllib.parse import unquote_to_bytes  # loaded only by those who have such a URL

    try:
        user, password = (unquote_to_bytes(part) for part in credentials.partition(":")[::2])
    except UnicodeEncodeError:
        user = password = b"\0"  # a surrogate
    if b":" in user or grammar.CONTROL.search((user + password).decode("latin-1")):
        raise InvalidRequest(
            "proxy has a colon in its user name, or a control character there or in its password"
        )
    return "Basic " + b64encode(user + b":" + password).decode("ascii")


def tunnel_fields(headers: HeadersArgument | None) -> list[tuple[str, str | int]]:
    """Return a copy of the caller's fields for CONNECT.

    Raises:
        TypeError, InvalidRequest: they are not valid fields of a CONNECT request.
    """
    request = Request("CONNECT", "host:443", headers)
    try:
        prepare(request, False, NO_DEFAULTS)
    except (TypeError, ValueError) as exc:
        kind = TypeError if isinstance(exc, TypeError) else InvalidRequest
        text = str(exc)
        if not text.startswith("headers "):
            text = f"headers: {text}"
        raise kind(f"proxy_{text}") from None
    given = request.headers or ()
    return list(given.items() if hasattr(given, "items") else given)


def co_open_tunnel(
    stream: Stream,
    authority: str,
    fields: dict[str, str],
    headers: HeadersArgument | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Co[None]:
    """Have the proxy at the other end of *stream* open a tunnel.

    Args:
        stream: a connection to the proxy, fresh.
        authority: ``host:port`` of the server.
        fields: field lines for the proxy, by lower-case name.
        headers: the caller's own fields for the proxy, which replace those in *fields*.
        clock: returns the time in seconds.

    Raises:
        TunnelRefused: it answered with anything but a 2xx.
        InvalidResponse: it did not answer in HTTP, or sent more than its answer.
        UnsupportedResponse: it answered in another version of HTTP, or with a 101.
        ConnectionClosed: the connection ended.
    """
    fields = {"host": f"Host: {authority}", **fields}
    head = prepare(Request("CONNECT", authority, headers), False, Defaults(fields)).head
    yield from stream.co_send_all([memoryview(head)])

    buffer = ReceiveBuffer()
    response = yield from _co_head(stream, buffer, authority)
    interim = 0
    while response.status < 200:
        interim += 1
        response.length = 0
        if response.status == 101:
            message = "the proxy switches protocols, but was not asked to"
            raise UnsupportedResponse(message, response)
        if interim > MAX_INTERIM_RESPONSES:
            message = f"more than {MAX_INTERIM_RESPONSES} interim responses"
            raise InvalidResponse(message, response, part="limit")
        response = yield from _co_head(stream, buffer, authority)
    if not 200 <= response.status < 300:
        body = yield from _co_refusal(stream, buffer, response, clock)
        raise TunnelRefused(response.status, response.reason, response.headers, body)
    if buffer:
        raise InvalidResponse(
            "the proxy sent data into the tunnel before the client", response, part="early"
        )


def _co_head(stream: Stream, buffer: ReceiveBuffer, authority: str) -> Co[HTTPResponse]:
    while True:
        size = find_head(buffer.data, buffer.start, buffer.end, buffer.scanned) - buffer.start
        if size >= 0:
            return parse_head(buffer.take(size), "CONNECT", authority)
        buffer.scanned = buffer.end
        got = stream.recv_into(buffer.room())
        if isinstance(got, PollNeeded):
            yield from stream.wait(got)
        elif got:
            buffer.received(got)
        else:
            raise ConnectionClosed("the proxy closed the connection instead of opening a tunnel")


def _co_refusal(
    stream: Stream, buffer: ReceiveBuffer, response: HTTPResponse, clock: Callable[[], float]
) -> Co[bytes]:
    """Receive the body of a refusal, as much of it as arrives within the limits.

    The refusal stands whatever happens to its body. So an error only ends the body, the caller's
    time limits included, and so does a proxy that sends it slowly or not at all.
    """
    body = bytearray()
    try:
        yield from _co_body(stream, buffer, _decoder(response), body, clock)
    except (ConnectionClosed, ConnectionTimedOut, InvalidResponse, UnsupportedResponse):
        pass
    return bytes(body)


def _decoder(response: HTTPResponse) -> Decoder:
    framing = frame(response)
    if framing.delimiter is CHUNKED:
        return Chunked()
    return UntilClose() if framing.delimiter is CLOSE else Length(framing.length or 0)


def _co_body(
    stream: Stream,
    buffer: ReceiveBuffer,
    decoder: Decoder,
    body: bytearray,
    clock: Callable[[], float],
) -> Co[None]:
    end = clock() + REFUSAL_TIMEOUT
    while (room := MAX_REFUSAL_SIZE - len(body)) and (decoder.payload or decoder.line_limit):
        if decoder.payload and buffer:
            piece = buffer.take(min(decoder.payload, room))
            decoder.took(len(piece))
            body += piece
            continue
        if not decoder.payload and (size := _line_size(buffer, decoder.line_limit)):
            decoder.line(buffer.take(size))
            continue
        left = end - clock()
        if left <= 0:
            return
        got = stream.recv_into(buffer.room())
        if isinstance(got, PollNeeded):
            yield from stream.wait(PollNeeded(got.fd, got.mask, left))
        elif got:
            buffer.received(got)
        else:
            return


def _line_size(buffer: ReceiveBuffer, limit: int) -> int:
    """Return how many bytes a decoder may take as its next line, 0 if more have to come."""
    size = buffer.find_line(limit)
    if size > 0:
        return size
    return limit if len(buffer) >= limit else 0
