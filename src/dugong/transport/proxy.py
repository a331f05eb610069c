"""HTTP proxies: where one is, and the tunnel through it (RFC 9110 section 9.3.6)."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

from ..errors import ConnectionClosed, InvalidRequest, InvalidResponse, TunnelRefused
from ..protocol import grammar
from ..protocol.arguments import check_port
from ..protocol.authority import check_address, check_host
from ..protocol.limits import MAX_INTERIM_RESPONSES
from ..protocol.messages import HTTPResponse, Request
from ..protocol.request import Defaults, prepare
from ..protocol.response import find_head, parse_head
from .buffer import ReceiveBuffer
from .poll import Co, PollNeeded
from .stream import Stream


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


def co_open_tunnel(stream: Stream, authority: str, fields: dict[str, str]) -> Co[None]:
    """Have the proxy at the other end of *stream* open a tunnel.

    Args:
        stream: a connection to the proxy, fresh.
        authority: ``host:port`` of the server.
        fields: field lines for the proxy, by lower-case name.

    Raises:
        TunnelRefused: it answered with anything but a 2xx.
        InvalidResponse: it did not answer in HTTP, or sent more than its answer.
        ConnectionClosed: the connection ended.
    """
    fields = {"host": f"Host: {authority}", **fields}
    head = prepare(Request("CONNECT", authority), False, Defaults(fields)).head
    yield from stream.co_send_all([memoryview(head)])

    buffer = ReceiveBuffer()
    response = yield from _co_head(stream, buffer, authority)
    interim = 0
    while response.status < 200:
        interim += 1
        if interim > MAX_INTERIM_RESPONSES:
            message = f"more than {MAX_INTERIM_RESPONSES} interim responses"
            raise InvalidResponse(message, response, part="limit")
        response = yield from _co_head(stream, buffer, authority)
    if not 200 <= response.status < 300:
        raise TunnelRefused(response.status, response.reason, response.headers)
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
