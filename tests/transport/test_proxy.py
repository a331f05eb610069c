"""What users give as a proxy, and the tunnel through it (RFC 9110 section 9.3.6)."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator

import pytest

from dugong import (
    ConnectionClosed,
    InvalidRequest,
    InvalidResponse,
    TunnelRefused,
    UnsupportedResponse,
)
from dugong.transport.proxy import Proxy, co_open_tunnel, parse_proxy
from tests.drive import drive
from tests.transport.tools import Ends
from tests.ways import ways


def basic(credentials: bytes) -> str:
    """RFC 7617 section 2."""
    return "Basic " + b64encode(credentials).decode()


GOOD: list[tuple[str | tuple[str, int], str, int, str | None]] = [
    (("h", 8080), "h", 8080, None),
    (("::1", 3128), "::1", 3128, None),
    ("http://h:8080", "h", 8080, None),
    ("http://h:8080/", "h", 8080, None),
    ("http://h", "h", 80, None),
    ("HTTP://Proxy.Example:1", "proxy.example", 1, None),
    ("http://[::1]:3128", "::1", 3128, None),
    ("http://[2001:db8::1]", "2001:db8::1", 80, None),
    ("http://user:pass@h:1", "h", 1, basic(b"user:pass")),
    ("http://user@h", "h", 80, basic(b"user:")),
    ("http://user:@h", "h", 80, basic(b"user:")),
    ("http://:pass@h", "h", 80, basic(b":pass")),
    ("http://us%40er:p%3Aa%2Fs%25s@h:1", "h", 1, basic(b"us@er:p:a/s%s")),
    ("http://user:p:q@h:1", "h", 1, basic(b"user:p:q")),
    ("http://u:p@q@h:1", "h", 1, basic(b"u:p@q")),
    ("http://\xfcser:%C3%BC@h", "h", 80, basic("\xfcser:\xfc".encode())),
    ("http://u:%ffa@h", "h", 80, basic(b"u:\xffa")),
    ("http://user:pass@[::1]:1", "::1", 1, basic(b"user:pass")),
]

BAD: list[object] = [
    "", "h", "h:8080", "//h:8080", "https://h:8080", "socks5://h:1080", "http://", "http://:8080",
    "http://h:8080/path", "http://h?query", "http://h:x", "http://h:-1", "http://h:70000", "http://h:0",
    "http://user:a/b@h:1", "http://user:1#b@h:1", "http://h:1#x", "http://u%3Aser:pass@h",
    "http://u%00:pass@h", "http://user:%0d%0aX: y@h", "http://[::1",
    ("h",), ("h", 1, 2), ("h", 0), ("h", 70000), ("http://h", 1), ("[::1]", 1), ("h:1", 1), ("", 1),
    ("a%41", 1), ("127.1", 1), ("h\uff1a22", 1),
    "http://a%41:1", "http://127.1:1", "http://h\uff1a22", "http://u@h\uff20x:1", "http://[h]:1",
    "http://h:\u0661", "http://h:\uff18\uff10", "http://h:000080", "http://h:" + "1" * 5000,
    "http://h/\n", " http://h", "http://h\n", "http://1.2.3.4:8080:user:pass",
    "http://u:\ud800@h", "http://u%3a@h", "http://\r\nX: y@h",
]  # fmt: skip

WRONG_TYPES: list[object] = [
    5, True, b"http://h", {"http": "http://h"}, ("h", "1"), ("h", 1.0), ("h", True), (b"h", 1),
    (None, 1),
]  # fmt: skip


@pytest.mark.parametrize(("given", "host", "port", "authorization"), GOOD)
def test_proxy(
    given: str | tuple[str, int], host: str, port: int, authorization: str | None
) -> None:
    proxy = parse_proxy(given)
    assert (proxy.host, proxy.port, proxy.authorization) == (host, port, authorization)


@pytest.mark.parametrize("given", BAD, ids=lambda given: repr(given)[:40])
def test_no_proxy(given: object) -> None:
    with pytest.raises(InvalidRequest, match="proxy"):
        parse_proxy(given)


@pytest.mark.parametrize("given", WRONG_TYPES, ids=repr)
def test_wrong_type(given: object) -> None:
    with pytest.raises(TypeError, match="proxy"):
        parse_proxy(given)


@pytest.mark.parametrize(
    "given",
    [
        "https://user:sec@h",
        "http://user:s/ec@h:1",
        "http://us%3Aer:sec@h",
        "user:sec@h:1",
        "http://user:sec",  # the host has been forgotten
        "http://h:8080:user:sec",
        "h:8080:user:sec",
        "http://user:sec%00@h",
        "http://user:sec@h%41",
        "http://user:sec@h:0",
        "http://user:sec\uff20h",
        ("user:sec@h", 80),
        ("h:8080:user:sec", 80),
        ("http://user:sec@h", 80),
    ],
    ids=repr,
)
def test_password_is_not_shown(given: object) -> None:
    with pytest.raises(InvalidRequest) as info:
        parse_proxy(given)
    chain: BaseException | None = info.value
    while chain is not None:
        assert "sec" not in f"{chain!r} {chain}"
        chain = chain.__context__


def test_fields() -> None:
    assert Proxy("h", 1).fields == {}
    assert Proxy("h", 1, "Basic x").fields == {
        "proxy-authorization": "Proxy-Authorization: Basic x"
    }


# ------------------------------------------------------------------------------- tunnels


@pytest.fixture
def ends() -> Iterator[Ends]:
    ends = Ends(None)
    yield ends
    ends.close()


def test_head(ends: Ends) -> None:
    ends.peer.expect(
        b"CONNECT h:443 HTTP/1.1\r\nHost: h:443\r\nProxy-Authorization: Basic x\r\n\r\n"
    )
    ends.peer.reply(b"HTTP/1.1 200 OK\r\n\r\n")
    drive(co_open_tunnel(ends.stream, "h:443", Proxy("h", 1, "Basic x").fields), ends.peer)
    ends.peer.check()


ANSWERS = [
    b"HTTP/1.1 200 Connection established\r\n\r\n",
    b"HTTP/1.0 200\r\n\r\n",
    # in a 2xx to CONNECT these say nothing
    b"HTTP/1.1 299 x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 x\r\nA: b\r\n\r\nHTTP/1.1 204 x\r\nC: d\r\n\r\n",
]


@pytest.mark.parametrize("answer", ANSWERS)
def test_opened_however_the_answer_arrives(answer: bytes) -> None:
    for pieces in ways(answer):
        ends = Ends(None)
        ends.peer.expect_request()
        ends.peer.reply_pieces(pieces)
        drive(co_open_tunnel(ends.stream, "h:443", {}), ends.peer)
        ends.close()


def test_what_follows_is_the_tunnels(ends: Ends) -> None:
    """Not a byte behind the head is taken, when it comes later."""
    ends.peer.expect_request()
    ends.peer.reply(b"HTTP/1.1 200 OK\r\n\r\n")
    ends.peer.reply(b"first")
    drive(co_open_tunnel(ends.stream, "h:443", {}), ends.peer)
    assert drive(ends.receive(), ends.peer) == b"first"


@pytest.mark.parametrize("status", [300, 403, 407, 502, 999])
def test_refused(ends: Ends, status: int) -> None:
    ends.peer.expect_request()
    ends.peer.reply(b"HTTP/1.1 %d No way\r\nVia: x\r\nContent-Length: 5\r\n\r\nSorry" % status)
    with pytest.raises(TunnelRefused) as info:
        drive(co_open_tunnel(ends.stream, "h:443", {}), ends.peer)
    refused = info.value
    assert (refused.status, refused.reason, refused.headers["via"]) == (status, "No way", "x")


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (b"220 smtp.example\r\n", InvalidResponse),
        (b"\x15\x03\x01\x00\x02", InvalidResponse),
        (b"HTTP/1.1 200 OK\n\n", InvalidResponse),
        (b"HTTP/1.1 200 OK\r\nA : b\r\n\r\n", InvalidResponse),
        (b"HTTP/2.0 200 OK\r\n\r\n", UnsupportedResponse),
        (b"HTTP/1.1 200 OK\r\n\r\nx", InvalidResponse),
        (b"HTTP/1.1 100 x\r\n\r\n" * 1000, InvalidResponse),
    ],
    ids=["SMTP", "TLS", "bare LF", "bad field", "HTTP/2", "bytes behind it", "no end of interim"],
)
def test_garbage(ends: Ends, answer: bytes, error: type[Exception]) -> None:
    ends.peer.expect_request()
    ends.peer.reply(answer)
    with pytest.raises(error):
        drive(co_open_tunnel(ends.stream, "h:443", {}), ends.peer)


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 200 OK\r\nA: b"])
@pytest.mark.parametrize("how", ["close", "reset"])
def test_hung_up(ends: Ends, answer: bytes, how: str) -> None:
    ends.peer.expect_request()
    ends.peer.reply(answer)
    getattr(ends.peer, how)()
    with pytest.raises(ConnectionClosed):
        drive(co_open_tunnel(ends.stream, "h:443", {}), ends.peer)
