"""HTTP proxies: where one is, and the tunnel through it (RFC 9110 section 9.3.6)."""

from __future__ import annotations

import time
from base64 import b64encode
from collections.abc import Callable
from typing import TYPE_CHECKING

from ..errors import (
    ConnectionClosed,
    ConnectionTimedOut,
    InvalidRequest,
    InvalidResponse,
    TunnelRefused,
    UnsupportedResponse,
)
from ..protocol import grammar
from ..protocol.body import Chunked, Decoder, Length, UntilClose
from ..protocol.framing import CHUNKED, CLOSE, frame
from ..protocol.limits import MAX_INTERIM_RESPONSES, MAX_REFUSAL_SIZE, REFUSAL_TIMEOUT
from ..protocol.messages import HTTPResponse, Request
from ..protocol.request import NO_DEFAULTS, Defaults, prepare
from ..protocol.response import find_head, parse_head
from .buffer import ReceiveBuffer
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


def parse_proxy(proxy: str | tuple[str, int]) -> Proxy:
    """Understand what users give as a proxy.

    Args:
        proxy: ``(host, port)`` or ``'http://[user:password@]host[:port]'``.

    Raises:
        ValueError: it is something else.
    """
    if not isinstance(proxy, str):
        host, port = proxy
        return Proxy(host, check_port(int(port)))
    from urllib.parse import unquote_to_bytes, urlsplit  # loaded only by those who have such a URL

    shown = proxy.rpartition("@")[2]
    complaint = f"a proxy is http://[user:password@]host:port, not {shown!r}"
    try:
        url = urlsplit(proxy)
        port = 80 if url.port is None else url.port
    except ValueError:
        raise ValueError(complaint) from None
    if url.scheme != "http" or not url.hostname or url.path not in ("", "/"):
        raise ValueError(complaint)
    if "#" in proxy or "?" in proxy or grammar.CONTROL.search(proxy):  # which urlsplit may drop
        raise ValueError(complaint)
    authorization = None
    if url.username is not None:
        user = unquote_to_bytes(url.username)
        authorization = _basic(user, unquote_to_bytes(url.password or ""))
    return Proxy(url.hostname, check_port(port), authorization)


def check_port(port: int) -> int:
    """Return *port*.

    Raises:
        ValueError: there is no such port.
    """
    if not 0 < port < 65536:
        raise ValueError(f"{port} is not a port: it is 1 to 65535")
    return port


def _basic(user: bytes, password: bytes) -> str:
    """Return basic credentials (RFC 7617 section 2)."""
    if b":" in user or grammar.CONTROL.search((user + password).decode("latin-1")):
        raise ValueError(
            "a proxy's user name has no colon, and neither it nor its password controls"
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
        raise kind(f"proxy_headers: {exc}") from None
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
