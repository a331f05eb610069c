"""Request targets on the wire: to a server, through a plain proxy, and in pipelines."""

from __future__ import annotations

import pytest

from dugong import AsyncHTTPConnection, InvalidRequest
from tests.support.exchanges import EMPTY, works
from tests.support.in_turn import in_turn
from tests.support.peer import Peer
from tests.support.styles import StyledWire

#: Method, target, and the value of Host.
FORMS = [
    ("GET", "/a?b", "localhost"),
    ("OPTIONS", "*", "localhost"),
    ("GET", "http://localhost/a", "localhost"),
    ("GET", "http://other.example/a", "other.example"),
    ("GET", "http://other.example:8080?b", "other.example:8080"),
    ("CONNECT", "other.example:443", "other.example:443"),
]


async def refused(conn: AsyncHTTPConnection, peer: Peer) -> None:
    """The peer does not take the tunnel that a CONNECT asks for, so HTTP goes on."""
    peer.reply(b"HTTP/1.1 405 No\r\nContent-Length: 0\r\n\r\n")
    assert (await conn.read_response()).status == 405


@in_turn(("method", "target", "host"), FORMS)
async def test_form(wire: StyledWire, method: str, target: str, host: str) -> None:
    conn, peer = wire.pair()
    for headers in (None, {"X-A": "b"}, {"X-A": "b", "Host": host.title()}):
        peer.expect_request(f"{method} {target} HTTP/1.1\r\n".encode())
        await conn.send_request(method, target, headers)
        await refused(conn, peer)
        name, value = peer.requests[-1].fields[0]
        assert (name, value.lower()) == ("Host", host)
        assert peer.requests[-1].all("Host") == [value]


BAD = [
    ("GET", "?q=1"), ("GET", "page"), ("GET", "/page#part"), ("GET", "http://other/#part"),
    ("GET", "*"), ("GET", "other.example:443"), ("GET", "http://u:p@other/"), ("GET", "http:///a"),
    ("OPTIONS", "**"), ("CONNECT", "/x"), ("CONNECT", "other.example"), ("CONNECT", "*"),
    ("CONNECT", "http://other.example:443/"), ("CONNECT", "u@other.example:443"),
]  # fmt: skip


@in_turn("operation", ["send_request", "request"])
@in_turn(("method", "target"), BAD)
async def test_no_form(wire: StyledWire, operation: str, method: str, target: str) -> None:
    conn, peer = wire.pair()
    with pytest.raises(InvalidRequest):
        await getattr(conn, operation)(method, target)
    assert conn.bytes_sent == 0
    assert not conn.response_pending()
    await works(conn, peer)


@in_turn(("method", "target"), BAD)
async def test_no_form_through_a_proxy(plain: StyledWire, method: str, target: str) -> None:
    listener = plain.listen()
    conn = plain.connection("server.example", proxy=listener.address)
    with pytest.raises(InvalidRequest):
        await conn.send_request(method, target)
    assert conn.bytes_sent == 0
    peer = listener.peer()
    peer.expect_request(b"GET http://server.example/a HTTP/1.1\r\n")
    peer.reply(EMPTY)
    assert (await conn.request("GET", "/a")).status == 200


@in_turn(
    ("method", "target", "sent", "host"),
    [
        ("GET", "/a?b", "http://server.example:81/a?b", "server.example:81"),
        ("OPTIONS", "*", "http://server.example:81", "server.example:81"),
        ("OPTIONS", "/", "http://server.example:81/", "server.example:81"),
        ("GET", "http://server.example:81/a", "http://server.example:81/a", "server.example:81"),
        ("GET", "http://other.example/a", "http://other.example/a", "other.example"),
        ("CONNECT", "other.example:443", "other.example:443", "other.example:443"),
    ],
)
async def test_form_through_a_proxy(
    plain: StyledWire, method: str, target: str, sent: str, host: str
) -> None:
    """RFC 9112 section 3.2.2."""
    listener = plain.listen()
    conn = plain.connection("server.example", port=81, proxy=listener.address)
    peer = listener.peer()
    for headers in (None, {"X-A": "b"}, {"X-A": "b", "Host": host}):
        peer.expect_request(f"{method} {sent} HTTP/1.1\r\n".encode())
        await conn.send_request(method, target, headers)
        await refused(conn, peer)
        assert peer.requests[-1].fields[0] == ("Host", host)
    with pytest.raises(InvalidRequest, match="Host"):
        await conn.send_request(method, target, {"Host": "virtual.example"})


@pytest.mark.parametrize("target", ["http://other.example/a", "http://other.example:80/a"])
async def test_host_differs_from_the_target(wire: StyledWire, target: str) -> None:
    conn, peer = wire.pair()
    for host in ("localhost", "other.example:8080", "example"):
        with pytest.raises(InvalidRequest, match="Host"):
            await conn.send_request("GET", target, {"Host": host})
    assert conn.bytes_sent == 0
    await works(conn, peer)


async def test_pipeline(plain: StyledWire) -> None:
    """Targets of another form keep their place, and have a Host of their own."""
    conn, peer = plain.pair()
    for target in (b"/a", b"http://other.example/b", b"/c"):
        peer.expect_request(b"GET " + target + b" HTTP/1.1\r\n")
        peer.reply(EMPTY)
    pipeline = conn.pipeline(["/a", "http://other.example/b", "page#part", "/c"])
    assert [(await anext(pipeline)).path for _ in range(2)] == ["/a", "http://other.example/b"]
    with pytest.raises(InvalidRequest, match="fragment"):
        await anext(pipeline)
    assert [response.path async for response in pipeline] == ["/c"]
    hosts = [request.get("Host") for request in peer.requests]
    assert hosts == ["localhost", "other.example", "localhost"]
