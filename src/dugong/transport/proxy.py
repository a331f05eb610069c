"""HTTP proxies: where one is, and the tunnel through it (RFC 9110 section 9.3.6)."""

from __future__ import annotations

from base64 import b64encode

from ..errors import ConnectionClosed, InvalidResponse, TunnelRefused
from ..protocol import grammar
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
