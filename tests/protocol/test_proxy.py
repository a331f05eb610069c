"""What users give as a proxy, and the tunnel through it (RFC 9110 section 9.3.6)."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from dugong import (
    CaseInsensitiveDict,
    ConnectionClosed,
    ConnectionTimedOut,
    InvalidRequest,
    InvalidResponse,
    TunnelRefused,
    UnsupportedResponse,
)
from dugong.protocol.limits import MAX_REFUSAL_SIZE, REFUSAL_TIMEOUT
from dugong.protocol.proxy import Proxy, parse_proxy, tunnel_fields
from dugong.session.tunnel import co_open_tunnel
from tests.support.drive import advance, drive
from tests.support.in_turn import in_turn
from tests.support.ways import ways
from tests.transport.tools import Ends

if TYPE_CHECKING:
    from dugong.protocol.messages import HeadersArgument


def basic(credentials: bytes) -> str:
    """RFC 7617 section 2."""
    return "Basic " + b64encode(credentials).decode()


def authorization(proxy: Proxy) -> str | None:
    """What the proxy is sent, if it speaks HTTP."""
    line = proxy.fields.get("proxy-authorization")
    return None if line is None else line.removeprefix("Proxy-Authorization: ")


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
    "", "h", "h:8080", "//h:8080", "socks4://h:1080", "socks://h", "ftp://h", "http://", "http://:8080",
    "http://h:8080/path", "http://h?query", "http://h:x", "http://h:-1", "http://h:70000", "http://h:0",
    "http://user:a/b@h:1", "http://user:1#b@h:1", "http://h:1#x", "http://u%3Aser:pass@h",
    "http://u%00:pass@h", "http://user:%0d%0aX: y@h", "http://[::1",
    ("h",), ("h", 1, 2), ("h", 0), ("h", 70000), ("http://h", 1), ("[::1]", 1), ("h:1", 1), ("", 1),
    ("a%41", 1), ("127.1", 1), ("h\uff1a22", 1),
    "http://a%41:1", "http://127.1:1", "http://h\uff1a22", "http://u@h\uff20x:1", "http://[h]:1",
    "http://h:\u0661", "http://h:\uff18\uff10", "http://h:000080", "http://h:" + "1" * 5000,
    "http://h/\n", " http://h", "http://h\n", "http://1.2.3.4:8080:user:pass",
    "http://u:\ud800@h", "http://u%3a@h", "http://\r\nX: y@h", "https://u%3a@h", "https://",
    "socks5://", "socks5://h:0", "socks5h://h/path", "socks5://@h", "socks5://:p@h", "socks5://u:%00@h",
    "socks5://" + "u" * 256 + "@h", "socks5h://u:" + "p" * 256 + "@h",
    "socks5h://" + "%41" * 256 + "@h",
]  # fmt: skip

WRONG_TYPES: list[object] = [
    5, True, b"http://h", {"http": "http://h"}, ("h", "1"), ("h", 1.0), ("h", True), (b"h", 1),
    (None, 1),
]  # fmt: skip


@in_turn(("given", "host", "port", "field"), GOOD)
def test_proxy(given: str | tuple[str, int], host: str, port: int, field: str | None) -> None:
    proxy = parse_proxy(given)
    assert (proxy.scheme, proxy.host, proxy.port) == ("http", host, port)
    assert authorization(proxy) == field


#: The same for every scheme.
SCHEMES: list[tuple[str, str, int, tuple[bytes, bytes] | None]] = [
    ("https://h", "https", 443, None),
    ("HTTPS://u:p@h:8443/", "https", 8443, (b"u", b"p")),
    ("socks5://h", "socks5", 1080, None),
    ("SOCKS5://u:p@h:9050", "socks5", 9050, (b"u", b"p")),
    ("socks5h://h", "socks5h", 1080, None),
    ("socks5h://u@h", "socks5h", 1080, (b"u", b"")),
    ("socks5h://u%3Aser:p%40ss@h:1", "socks5h", 1, (b"u:ser", b"p@ss")),
    ("socks5://" + "u" * 255 + ":" + "p" * 255 + "@h", "socks5", 1080, (b"u" * 255, b"p" * 255)),
]


@in_turn(("given", "scheme", "port", "credentials"), SCHEMES)
def test_schemes(
    given: str, scheme: str, port: int, credentials: tuple[bytes, bytes] | None
) -> None:
    proxy = parse_proxy(given)
    assert (proxy.scheme, proxy.host, proxy.port) == (scheme, "h", port)
    assert proxy.credentials == credentials
    assert proxy.is_socks is scheme.startswith("socks")
    assert (authorization(proxy) is None) is (credentials is None or proxy.is_socks)


@in_turn("given", BAD, ids=lambda given: repr(given)[:40])
def test_no_proxy(given: object) -> None:
    with pytest.raises(InvalidRequest, match="proxy"):
        parse_proxy(given)


@in_turn("given", WRONG_TYPES, ids=repr)
def test_wrong_type(given: object) -> None:
    with pytest.raises(TypeError, match="proxy"):
        parse_proxy(given)


@in_turn(
    "given",
    [
        "socks4://user:sec@h",
        "socks5://user:sec@h/x",
        "socks5h://user:" + "sec" * 100 + "@h",
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
    assert Proxy("h", 1, (b"u", b"p")).fields == {
        "proxy-authorization": "Proxy-Authorization: Basic dTpw"
    }


# ------------------------------------------------------------------------------- tunnels


@pytest.fixture
def ends() -> Iterator[Ends]:
    ends = Ends(None)
    yield ends
    ends.close()


def test_head(ends: Ends) -> None:
    ends.peer.expect(
        b"CONNECT h:443 HTTP/1.1\r\nHost: h:443\r\nProxy-Authorization: Basic dTpw\r\n\r\n"
    )
    ends.peer.reply(b"HTTP/1.1 200 OK\r\n\r\n")
    drive(co_open_tunnel(ends.stream, ("h", 443), Proxy("h", 1, (b"u", b"p")).fields), ends.peer)
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
        drive(co_open_tunnel(ends.stream, ("h", 443), {}), ends.peer)
        ends.close()


def test_fields_of_the_caller(ends: Ends) -> None:
    """They are added, and replace ours of the same name."""
    ends.peer.expect(
        b"CONNECT h:443 HTTP/1.1\r\nHost: h:443\r\n"
        b"proxy-AUTHORIZATION: Bearer t\r\nX-A: 1\r\nX-A: 2\r\n\r\n"
    )
    ends.peer.reply(b"HTTP/1.1 200 OK\r\n\r\n")
    headers: HeadersArgument = [("proxy-AUTHORIZATION", "Bearer t"), ("X-A", 1), ("X-A", "2")]
    fields = Proxy("h", 1, (b"u", b"p")).fields
    drive(co_open_tunnel(ends.stream, ("h", 443), fields, headers), ends.peer)
    ends.peer.check()


@in_turn(
    ("headers", "error"),
    [
        ({"X": "secret\r\nY: z"}, InvalidRequest),
        ({"X ": "secret"}, InvalidRequest),
        ({"X": "secret\x00"}, InvalidRequest),
        ({"Content-Length": "5"}, InvalidRequest),
        ({"Transfer-Encoding": "chunked"}, InvalidRequest),
        ({"Expect": "100-continue"}, InvalidRequest),
        ({"Host": "a b"}, InvalidRequest),
        ({"X": 1.5}, TypeError),
        ({3: "x"}, TypeError),
        (5, TypeError),
    ],
)
def test_fields_that_are_not_valid(headers: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="proxy_headers") as info:
        tunnel_fields(headers)
    assert "secret" not in str(info.value)


@pytest.mark.parametrize(
    "headers",
    [
        {"A": "x", "B": 2},
        [("A", "x"), ("B", 2)],
        iter([("A", "x"), ("B", 2)]),
        CaseInsensitiveDict(A="x", B=2),
    ],
)
def test_fields_are_copied(headers: Any) -> None:
    fields = tunnel_fields(headers)
    if isinstance(headers, (dict, list)):
        headers.clear()
    assert [(name, str(value)) for name, value in fields] == [("A", "x"), ("B", "2")]


def test_what_follows_is_the_tunnels(ends: Ends) -> None:
    """Not a byte behind the head is taken, when it comes later."""
    ends.peer.expect_request()
    ends.peer.reply(b"HTTP/1.1 200 OK\r\n\r\n")
    ends.peer.reply(b"first")
    drive(co_open_tunnel(ends.stream, ("h", 443), {}), ends.peer)
    assert drive(ends.receive(), ends.peer) == b"first"


@pytest.mark.parametrize("status", [300, 403, 407, 502, 999])
def test_refused(ends: Ends, status: int) -> None:
    ends.peer.expect_request()
    ends.peer.reply(b"HTTP/1.1 %d No way\r\nVia: x\r\nContent-Length: 5\r\n\r\nSorry" % status)
    with pytest.raises(TunnelRefused) as info:
        drive(co_open_tunnel(ends.stream, ("h", 443), {}), ends.peer)
    refused = info.value
    assert (refused.status, refused.reason, refused.headers["via"]) == (status, "No way", "x")
    assert refused.body == b"Sorry"


HEAD = b"HTTP/1.1 403 No\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"
SIZE = MAX_REFUSAL_SIZE

#: What a proxy sends behind its status line, and what is kept of that.
BODIES: dict[str, tuple[bytes, bytes]] = {
    "length": (b"Content-Length: 5\r\n\r\nSorryHTTP/1.1 200 OK\r\n\r\n", b"Sorry"),
    "length 0": (b"Content-Length: 0\r\n\r\n", b""),
    "chunks": (CHUNKED + b"3\r\nSor\r\n2;a=b\r\nry\r\n0\r\nA: b\r\n\r\nxx", b"Sorry"),
    "until close": (b"\r\nSorry", b"Sorry"),
    "close at once": (b"\r\n", b""),
    "cut off": (b"Content-Length: 6\r\n\r\nSorry", b"Sorry"),
    "chunks cut off": (CHUNKED + b"6\r\nSorry", b"Sorry"),
    "bad chunk": (CHUNKED + b"5\r\nSorry\r\n+5\r\nxxxxx\r\n", b"Sorry"),
    "bad length": (b"Content-Length: 5, 6\r\n\r\nSorry", b""),
    "other coding": (b"Transfer-Encoding: gzip, chunked\r\n\r\n5\r\nSorry", b""),
    "too long": (b"\r\n" + b"x" * SIZE + b"y", b"x" * SIZE),
    "too long chunks": (
        CHUNKED + b"fff0\r\n%b\r\n" % (b"x" * 0xFFF0) * 2,
        b"x" * SIZE,
    ),
}  # fmt: skip


@pytest.mark.parametrize(("rest", "body"), BODIES.values(), ids=BODIES)
@pytest.mark.parametrize("chunk", [None, 1])
def test_body_of_a_refusal(ends: Ends, rest: bytes, body: bytes, chunk: int | None) -> None:
    if len(rest) > 1000 and chunk:
        chunk = 40_000
    ends.peer.expect_request()
    ends.peer.reply(HEAD + rest, chunk=chunk)
    ends.peer.close()
    with pytest.raises(TunnelRefused) as info:
        drive(co_open_tunnel(ends.stream, ("h", 443), {}), ends.peer)
    assert info.value.body == body


class Ticking:
    """A clock that goes on by so many seconds whenever it is looked at."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._now = 100.0

    def __call__(self) -> float:
        self._now += self._seconds
        return self._now


@pytest.mark.parametrize(
    "rest",
    [b"\r\n", b"Content-Length: 100\r\n\r\n", CHUNKED + b"60\r\n"],
)
def test_body_that_comes_slowly(ends: Ends, rest: bytes) -> None:
    """Each byte is in time, all of them together are not. And the proxy does not hang up."""
    ends.peer.expect_request()
    ends.peer.reply(HEAD + rest)
    ends.peer.reply(b"x" * 90, chunk=1)
    tunnel = co_open_tunnel(ends.stream, ("h", 443), {}, None, Ticking(REFUSAL_TIMEOUT / 10))
    with pytest.raises(TunnelRefused) as info:
        drive(tunnel, ends.peer)
    assert info.value.body == b"x" * len(info.value.body)
    assert 0 < len(info.value.body) < 10


def test_size_lines_without_end(ends: Ends) -> None:
    """They are no part of the body, and their time is limited all the same."""
    ends.peer.expect_request()
    ends.peer.reply(HEAD + CHUNKED + b"1;%b\r\nx\r\n" % (b"a" * 3000) * 2000)
    tunnel = co_open_tunnel(ends.stream, ("h", 443), {}, None, Ticking(REFUSAL_TIMEOUT / 10))
    with pytest.raises(TunnelRefused) as info:
        drive(tunnel, ends.peer)
    assert 0 < len(info.value.body) < 2000


def test_timeout_in_the_body_of_a_refusal(ends: Ends) -> None:
    """It ends the body, not the refusal."""
    ends.peer.expect_request()
    ends.peer.reply(HEAD + b"Content-Length: 100\r\n\r\nSorry")
    tunnel = co_open_tunnel(ends.stream, ("h", 443), {})
    need = advance(tunnel, ends.peer)
    assert 0 < (need.timeout or 0) <= REFUSAL_TIMEOUT
    with pytest.raises(TunnelRefused) as info:
        tunnel.throw(ConnectionTimedOut("too long"))
    assert info.value.body == b"Sorry"


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (b"220 smtp.example\r\n", InvalidResponse),
        (b"\x15\x03\x01\x00\x02", InvalidResponse),
        (b"HTTP/1.1 200 OK\n\n", InvalidResponse),
        (b"HTTP/1.1 200 OK\r\nA : b\r\n\r\n", InvalidResponse),
        (b"HTTP/2.0 200 OK\r\n\r\n", UnsupportedResponse),
        (b"HTTP/1.1 101 Switching\r\nUpgrade: TLS/1.2\r\n\r\n", UnsupportedResponse),
        (b"HTTP/1.1 103 x\r\n\r\nHTTP/1.1 101 x\r\n\r\n", UnsupportedResponse),
        (b"HTTP/1.1 200 OK\r\n\r\nx", InvalidResponse),
        (b"HTTP/1.1 100 x\r\n\r\n" * 1000, InvalidResponse),
    ],
    ids=[
        "SMTP",
        "TLS",
        "bare LF",
        "bad field",
        "HTTP/2",
        "101",
        "101 later",
        "bytes behind it",
        "no end of interim",
    ],
)
def test_garbage(ends: Ends, answer: bytes, error: type[Exception]) -> None:
    ends.peer.expect_request()
    ends.peer.reply(answer)
    with pytest.raises(error):
        drive(co_open_tunnel(ends.stream, ("h", 443), {}), ends.peer)


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 200 OK\r\nA: b"])
@pytest.mark.parametrize("how", ["close", "reset"])
def test_hung_up(ends: Ends, answer: bytes, how: str) -> None:
    ends.peer.expect_request()
    ends.peer.reply(answer)
    getattr(ends.peer, how)()
    with pytest.raises(ConnectionClosed):
        drive(co_open_tunnel(ends.stream, ("h", 443), {}), ends.peer)
