"""A tunnel through an HTTP proxy: CONNECT (RFC 9110 section 9.3.6).

The request and its response are an exchange like any other, on a connection that has no other. A
2xx switches the connection; the engine decides that. Anything else refuses the tunnel.
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
from ..protocol.exchange import Exchange
from ..protocol.limits import MAX_REFUSAL_SIZE, REFUSAL_TIMEOUT
from ..protocol.messages import HTTPResponse, Request
from ..protocol.reader import ResponseReader
from ..protocol.request import Defaults, prepare
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
    return partial(
        co_open_tunnel,
        authority=route.tunnel,
        fields=route.proxy.fields,
        headers=route.tunnel_fields,
        clock=monitor.clock,
    )


def co_open_tunnel(
    stream: Stream,
    authority: str,
    fields: dict[str, str],
    headers: HeadersArgument | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Co[None]:
    """Have the proxy at the other end of *stream* open a tunnel.

    Args:
        stream: a new connection to the proxy.
        authority: ``host:port`` of the server.
        fields: field lines for the proxy, by lower-case name.
        headers: the caller's own fields for the proxy, which replace those in *fields*.
        clock: returns the time in seconds.

    Raises:
        TunnelRefused: the proxy answered with a status code other than 2xx.
        InvalidResponse: it did not answer in HTTP, or sent more than its answer.
        UnsupportedResponse: it answered in another version of HTTP, or with a 101.
        ConnectionClosed: the connection ended.
    """
    fields = {"host": f"Host: {authority}", **fields}
    exchange = prepare(Request("CONNECT", authority, headers), False, Defaults(fields))
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
        # Only its framing is wrong, and so its body cannot be read.
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
            raise ConnectionClosed("the proxy closed the connection instead of opening a tunnel")
    return response


def _early(response: HTTPResponse) -> InvalidResponse:
    message = "the proxy sent data into the tunnel before the client"
    return InvalidResponse(message, response, part="early")


def _co_refusal(stream: Stream, reader: ResponseReader, clock: Callable[[], float]) -> Co[bytes]:
    """Receive the body of a refusal, as much of it as arrives within the limits.

    The refusal stands whatever happens to its body. So an error only ends the body, the caller's
    time limits included, and so does a proxy that sends it slowly or not at all.
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
