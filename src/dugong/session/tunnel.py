"""A tunnel through a proxy: CONNECT (RFC 9110 section 9.3.6), or SOCKS (RFC 1928).

CONNECT and its response are an ordinary exchange, the only one on its connection. A 2xx response
switches the connection to the tunnel, which the protocol engine decides. Any other response refuses
the tunnel. `protocol.socks` decides what a SOCKS proxy is sent, and what its replies mean.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from ..errors import (
    ConnectionClosed,
    ConnectionTimedOut,
    InvalidResponse,
    TunnelRefused,
    UnsupportedResponse,
)
from ..protocol.authority import authority
from ..protocol.exchange import Exchange
from ..protocol.limits import MAX_REFUSAL_SIZE, REFUSAL_TIMEOUT
from ..protocol.messages import HTTPResponse, Request
from ..protocol.reader import ResponseReader
from ..protocol.request import Defaults, prepare
from ..protocol.socks import MAX_REPLY, SocksHandshake
from ..protocol.state import ConnectionState
from ..protocol.states import SWITCHED
from ..transport.connect import Route
from ..transport.monitor import Monitor
from ..transport.poll import Co, PollNeeded
from ..transport.stream import Stream

if TYPE_CHECKING:
    from ..protocol.messages import HeadersArgument
    from ..transport.connect import CoTunnel


def tunnel_of(route: Route, monitor: Monitor) -> CoTunnel | None:
    """Return what opens the tunnel that *route* needs, ``None`` if it needs none."""
    if route.tunnel is None or route.proxy is None:
        return None
    if route.proxy.is_socks:
        return partial(co_open_socks_tunnel, credentials=route.proxy.credentials)
    return partial(
        co_open_tunnel,
        fields=route.proxy.fields,
        headers=route.tunnel_fields,
        clock=monitor.clock,
    )


def co_open_tunnel(
    stream: Stream,
    target: tuple[str, int],
    fields: dict[str, str],
    headers: HeadersArgument | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Co[None]:
    """Ask the HTTP proxy at the other end of *stream* to open a tunnel.

    Args:
        stream: a new connection to the proxy.
        target: host and port of the server.
        fields: field lines for the proxy, by lower-case name.
        headers: the caller's own fields for the proxy. They replace those in *fields*.
        clock: returns the time in seconds.

    Raises:
        TunnelRefused: the proxy answered with a status code other than 2xx.
        InvalidResponse: the response is not valid HTTP, or the proxy sent data after it.
        UnsupportedResponse: the response has another version of HTTP, or is a 101.
        ConnectionClosed: the connection ended.
    """
    server = authority(*target)
    fields = {"host": f"Host: {server}", **fields}
    exchange = prepare(Request("CONNECT", server, headers), False, Defaults(fields))
    state = ConnectionState()
    state.accept(exchange)
    yield from stream.co_send_all([memoryview(exchange.head)])
    state.request_sent(exchange)
    reader = ResponseReader(state)
    try:
        response = yield from _co_response(stream, reader, exchange)
    except (InvalidResponse, UnsupportedResponse) as exc:
        refusal = exc.response
        if refusal is None or refusal.status < 300:
            raise
        # The status is valid, and only the framing is not. So the body cannot be read.
        raise TunnelRefused(refusal.status, refusal.reason, refusal.headers, b"") from exc
    if state.receiving is not SWITCHED:
        body = yield from _co_refusal(stream, reader, clock)
        raise TunnelRefused(response.status, response.reason, response.headers, body)
    if reader.buffer:
        raise _early(response)


def _co_response(stream: Stream, reader: ResponseReader, exchange: Exchange) -> Co[HTTPResponse]:
    while (response := reader.next_response(exchange)) is None:
        room = reader.room()
        got = stream.recv_into(room)
        if isinstance(got, PollNeeded):
            yield from stream.wait(got)
        elif got:
            reader.received(room, got)
        else:
            raise _closed()
    return response


def _closed() -> ConnectionClosed:
    return ConnectionClosed("the proxy closed the connection instead of opening a tunnel")


def _early(response: HTTPResponse) -> InvalidResponse:
    message = "the proxy sent data through the tunnel before the client did"
    return InvalidResponse(message, response, part="early")


def _co_refusal(stream: Stream, reader: ResponseReader, clock: Callable[[], float]) -> Co[bytes]:
    """Receive as much of the body of a refusal as arrives within the limits.

    The tunnel is refused in any case, and the body only explains why. So an error ends the body but
    does not replace the refusal. The same holds for the caller's time limits, and for a proxy that
    sends the body slowly or not at all.
    """
    body = memoryview(bytearray(MAX_REFUSAL_SIZE))
    filled, end = 0, clock() + REFUSAL_TIMEOUT
    try:
        while filled < len(body):
            room = reader.target(body[filled:])
            if room is None:
                taken = reader.take_into(body[filled:])
                if not taken:
                    break  # the body has ended
                filled += taken
                continue
            left = end - clock()
            if left <= 0:
                break
            got = stream.recv_into(room)
            if isinstance(got, PollNeeded):
                yield from stream.wait(PollNeeded(got.fd, got.mask, left))
            else:
                filled += reader.received(room, got)
    except (ConnectionClosed, ConnectionTimedOut, InvalidResponse, UnsupportedResponse):
        pass
    return bytes(body[:filled])


def co_open_socks_tunnel(
    stream: Stream, target: tuple[str, int], credentials: tuple[bytes, bytes] | None = None
) -> Co[None]:
    """Ask the SOCKS proxy at the other end of *stream* to open a tunnel.

    Args:
        stream: a new connection to the proxy.
        target: host and port of the server. The proxy resolves a host name.
        credentials: user name and password, or ``None``.

    Raises:
        TunnelRefused: the proxy refused the tunnel or the credentials.
        InvalidResponse: the proxy does not speak SOCKS 5, or sent data too early.
        ConnectionClosed: the connection ended.
    """
    handshake = SocksHandshake(*target, credentials)
    room = memoryview(bytearray(MAX_REPLY))
    while not handshake.is_open:
        if handshake.output:
            yield from stream.co_send_all([memoryview(handshake.output)])
            handshake.output = b""
        got = stream.recv_into(room)
        if isinstance(got, PollNeeded):
            yield from stream.wait(got)
        elif got:
            handshake.received(bytes(room[:got]))
        else:
            raise _closed()
