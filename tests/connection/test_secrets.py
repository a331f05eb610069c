"""No message, representation or argument of an exception contains a secret."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from dugong import (
    AsyncHTTPConnection,
    BodyFollowing,
    CaseInsensitiveDict,
    ConnectionClosed,
    Headers,
    HTTPConnection,
    InvalidResponse,
    Request,
    TunnelRefused,
)
from tests.support.in_turn import in_turn
from tests.support.styles import StyledWire

SECRET = "s3cret"  # no text of ours has it
CREDENTIALS = f"user:{SECRET}"
TOKEN = f"Bearer {SECRET}"


def texts(exc: BaseException) -> Iterator[str]:
    """What a log or a traceback would show of an exception and of those that led to it."""
    seen: BaseException | None = exc
    while seen is not None:
        yield from (str(seen), repr(seen), repr(seen.args), repr(vars(seen)))
        yield from getattr(seen, "__notes__", ())
        seen = seen.__cause__ or seen.__context__


def assert_silent(exc: BaseException) -> None:
    for text in texts(exc):
        assert SECRET not in text, text


#: Arguments of `send_request` that are refused.
REFUSED: dict[str, dict[str, Any]] = {
    "line end in a value": {"headers": {"Authorization": f"{TOKEN}\n"}},
    "line end in a cookie": {"headers": [("Cookie", f"session={SECRET}\r\n")]},
    "control in bytes": {"headers": {b"Proxy-Authorization": f"Basic {SECRET}\0".encode()}},
    "beyond Latin-1": {"headers": {"Authorization": f"{TOKEN}\u20ac"}},
    "value of another type": {"headers": {"Authorization": [TOKEN]}},
    "value as bytearray": {"headers": {"Authorization": bytearray(TOKEN, "ascii")}},
    "value in the name": {"headers": {f"Authorization: {TOKEN}": ""}},
    "name and value swapped": {"headers": {TOKEN: "Authorization"}},
    "secret for a name": {"headers": {f"{SECRET}=": "Authorization"}},
    "a line": {"headers": f"Authorization: {TOKEN}"},
    "a line of bytes": {"headers": f"Authorization: {TOKEN}".encode()},
    "lines": {"headers": [f"Authorization: {TOKEN}"]},
    "a list": {"headers": [["Authorization", "Bearer", SECRET]]},
    "headers in the body": {"body": {"Authorization": TOKEN}},
    "pairs in the body": {"body": [("Authorization", TOKEN)]},
    "a text body": {"body": TOKEN},
    "user information in Host": {"headers": {"Host": f"{CREDENTIALS}@h"}},
    "user information in the target": {"path": f"http://{CREDENTIALS}@h/"},
    "the same with a fragment": {"path": f"http://{CREDENTIALS}@h/#a"},
    "the same with a space": {"path": f"http://{CREDENTIALS}@h/a b"},
    "user information in CONNECT": {"method": "CONNECT", "path": f"{CREDENTIALS}@h:443"},
    "URL for a method": {"method": f"http://{CREDENTIALS}@h/", "path": "GET"},
    "another Host than the target": {"path": "http://h/", "headers": {"Host": f"{CREDENTIALS}@h"}},
    "length": {"headers": {"Content-Length": "5", "Authorization": TOKEN}},
}


@in_turn("operation", ["send_request", "request"])
@in_turn("arguments", REFUSED.values(), ids=REFUSED)
async def test_requests(plain: StyledWire, operation: str, arguments: dict[str, Any]) -> None:
    conn, _ = plain.pair()
    with pytest.raises((TypeError, ValueError)) as info:
        await getattr(conn, operation)(**{"method": "PUT", "path": "/", **arguments})
    assert_silent(info.value)


@in_turn("arguments", REFUSED.values(), ids=REFUSED)
async def test_pipelines(plain: StyledWire, arguments: dict[str, Any]) -> None:
    conn, _ = plain.pair()
    request = Request(**{"method": "PUT", "path": "/", **arguments})
    with pytest.raises((TypeError, ValueError)) as info:
        await anext(conn.pipeline([request]))
    assert_silent(info.value)


@in_turn(
    "item",
    [
        ("GET", "/", {"Authorization": TOKEN}),
        {"Authorization": TOKEN},
        [("Authorization", TOKEN)],
        TOKEN.encode(),
        f"http://{CREDENTIALS}@h/",
    ],
)
async def test_items_of_pipelines(plain: StyledWire, item: Any) -> None:
    conn, _ = plain.pair()
    with pytest.raises((TypeError, ValueError)) as info:
        await anext(conn.pipeline([item]))
    assert_silent(info.value)


async def test_trailers(plain: StyledWire) -> None:
    conn, peer = plain.pair()
    peer.expect_head()
    await conn.send_request("PUT", "/", body=BodyFollowing())
    for trailers in ({"Authorization": f"{TOKEN}\n"}, [f"Authorization: {TOKEN}"], {TOKEN: "a"}):
        with pytest.raises((TypeError, ValueError)) as info:
            await conn.end_body(trailers)  # type: ignore[arg-type]
        assert_silent(info.value)


@in_turn("cls", [HTTPConnection, AsyncHTTPConnection])
@in_turn(
    "arguments",
    [
        {"hostname": f"http://{CREDENTIALS}@h/"},
        {"hostname": f"{CREDENTIALS}@h"},
        {"hostname": f"{CREDENTIALS}\uff20h"},
        {"hostname": f"{CREDENTIALS}\ufe6bh"},
        {"hostname": f"h:80:{CREDENTIALS}"},
        {"hostname": "h", "proxy": f"http://{CREDENTIALS}@h:x"},
        {"hostname": "h", "proxy": f"socks4://{CREDENTIALS}@h"},
        {"hostname": "h", "proxy": f"http://{CREDENTIALS}@"},
        {"hostname": "h", "proxy": f"http://{CREDENTIALS}@h:80/path"},
        {"hostname": "h", "proxy": f"http://{CREDENTIALS}%00@h"},
        {"hostname": "h", "proxy": f"http://{CREDENTIALS}@h..a"},
        {"hostname": "h", "proxy": f"http://{CREDENTIALS}"},
        {"hostname": "h", "proxy": f"h:80:{CREDENTIALS}"},
        {"hostname": "h", "proxy": f"{CREDENTIALS}@h:80".encode()},
        {"hostname": "h", "proxy": (f"{CREDENTIALS}@h", 80)},
        {"hostname": "h", "proxy": (f"http://{CREDENTIALS}@h", 80)},
        {"hostname": "h", "proxy": {"http": f"http://{CREDENTIALS}@h"}},
        {"hostname": "h", "proxy": ("h", 80, CREDENTIALS)},
        {"hostname": "h", "proxy": ("h", 80), "unix_socket": f"/{SECRET}"},
        {"hostname": "h", "proxy_headers": {"Proxy-Authorization": f"Basic {SECRET}\n"}},
        {"hostname": "h", "proxy_headers": [f"Proxy-Authorization: Basic {SECRET}"]},
        {"hostname": "h", "address": (f"{CREDENTIALS}@h", 80)},
    ],
    ids=repr,
)
def test_constructor(cls: Callable[..., Any], arguments: dict[str, Any]) -> None:
    with pytest.raises((TypeError, ValueError)) as info:
        cls(**arguments)
    assert_silent(info.value)


async def test_lost_requests(plain: StyledWire) -> None:
    """`unanswered` has the requests themselves; their representation does not."""
    conn, peer = plain.pair()
    peer.expect_request()
    peer.close()
    headers = Headers([("Authorization", TOKEN), ("Cookie", SECRET)])
    await conn.send_request("POST", "/", headers, SECRET.encode())
    with pytest.raises(ConnectionClosed) as info:
        await conn.read_response()
    assert_silent(info.value)
    assert info.value.unanswered[0].body == SECRET.encode()


async def test_proxy_that_refuses(tls: StyledWire) -> None:
    listener = tls.listen()
    proxy = listener.peer(handshake=False)
    proxy.expect_request()
    proxy.reply(b"HTTP/1.1 407 No\r\nSet-Cookie: s3cret\r\nContent-Length: 0\r\n\r\n")
    proxy.close()
    host, port = listener.address
    url = f"http://{CREDENTIALS}@{host}:{port}"
    conn = tls.connection("h", proxy=url, ssl_context=tls.client_context)
    with pytest.raises(TunnelRefused) as info:
        await conn.connect()
    assert_silent(info.value)
    assert SECRET not in repr(conn)


@pytest.mark.parametrize("line", [f"Set-Cookie : {SECRET}", f"Cookie: {SECRET}\0"])
async def test_response_with_a_bad_line(plain: StyledWire, line: str) -> None:
    conn, peer = plain.pair()
    peer.expect_request()
    peer.reply(f"HTTP/1.1 200 OK\r\n{line}\r\nContent-Length: 0\r\n\r\n".encode())
    await conn.send_request("GET", "/")
    with pytest.raises(InvalidResponse) as info:
        await conn.read_response()
    assert_silent(info.value)


def test_representations() -> None:
    assert SECRET not in repr(Request("GET", f"http://{CREDENTIALS}@h/", {"Authorization": TOKEN}))
    assert SECRET not in repr(Headers([("Authorization", TOKEN)]))
    assert SECRET not in repr(CaseInsensitiveDict({"Proxy-Authorization": SECRET}))
