"""Arguments that are not valid are refused by the call that receives them, in our own words."""

from __future__ import annotations

import math
import socket
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dugong import (
    AioFuture,
    AsyncHTTPConnection,
    BodyFollowing,
    HTTPConnection,
    InvalidRequest,
    eval_coroutine,
)
from tests.support.drive import drive
from tests.support.exchanges import EMPTY, OK, works
from tests.support.in_turn import in_turn
from tests.support.styles import StyledWire
from tests.support.wire import HOST, Certificates, Wire

CLASSES = [HTTPConnection, AsyncHTTPConnection]

#: What each argument does not take: the value, the error, and a part of the message.
WRONG: dict[str, list[tuple[Any, type[Exception], str]]] = {
    "hostname": [
        (None, TypeError, "a str, not NoneType"),
        (b"example.com", TypeError, "a str, not bytes"),
        (80, TypeError, "a str, not int"),
        ("", InvalidRequest, "''"),
        ("http://example.com", InvalidRequest, "looks like a URL"),
        ("https://example.com/path", InvalidRequest, "looks like a URL"),
        ("example.com:8080", InvalidRequest, "port=8080"),
        ("example.com/path", InvalidRequest, "'example.com/path'"),
        ("[::1]", InvalidRequest, "without brackets"),
        ("user@example.com", InvalidRequest, r"\*\*\*@example.com"),
        ("evil.com%ba.bank.com", InvalidRequest, "%ba"),
        ("internal.example\uff1a22", InvalidRequest, "internal"),
        ("\u2024internal.example", InvalidRequest, "internal"),
    ],
    "port": [
        ("8102", TypeError, r"not '8102' \(a str\)"),
        (80.5, TypeError, r"80\.5"),
        (True, TypeError, "True"),
        ((80,), TypeError, "tuple"),
        (0, InvalidRequest, "from 1 to 65535, not 0"),
        (-1, InvalidRequest, "from 1 to 65535, not -1"),
        (70000, InvalidRequest, "from 1 to 65535, not 70000"),
    ],
    **{
        name: [
            ("5", TypeError, r"number of seconds.*, not '5' \(a str\)"),
            ((1, 5), TypeError, r"\(1, 5\)"),
            (True, TypeError, "True"),
            (-1, InvalidRequest, "non-negative number of seconds, or None for no limit, not -1"),
            (math.nan, InvalidRequest, "nan"),
        ]
        for name in ("timeout", "deadline", "continue_timeout")
    },
    "ssl_context": [
        (True, TypeError, r"ssl\.create_default_context\(\), or None, not True"),
        (False, TypeError, "not False"),
        (ssl, TypeError, "not module"),
        (ssl.SSLContext, TypeError, "not type"),
        (ssl.create_default_context, TypeError, "not function"),
        ("/etc/ssl/certs", TypeError, "not str"),
        (ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), InvalidRequest, "for servers"),
    ],
    "proxy": [
        (True, TypeError, "not bool"),
        (b"http://proxy", TypeError, "not bytes"),
        ({"http": "http://proxy"}, TypeError, "not dict"),
        (("proxy", "8080"), TypeError, "the port of proxy"),
        ((b"proxy", 8080), TypeError, "the host of proxy"),
        (("proxy",), InvalidRequest, "pair"),
        (("proxy", 0), InvalidRequest, "the port of proxy"),
        (("http://proxy", 8080), InvalidRequest, "the host of proxy looks like a URL"),
        (("pr\uff0foxy", 8080), InvalidRequest, "the host of proxy"),
        ("proxy:8080", InvalidRequest, r"http://\[user:password@\]host:port"),
        ("socks4://proxy", InvalidRequest, "http, https, socks5, socks5h, not 'socks4'"),
        ("https://proxy:80/path", InvalidRequest, "what follows https:// is not valid"),
        ("socks5://" + "u" * 256 + ":p@proxy", InvalidRequest, "1 to 255 bytes"),
        ("http://proxy:80/path", InvalidRequest, r"http://\[user:password@\]host:port"),
        ("", InvalidRequest, r"http://\[user:password@\]host:port"),
    ],
    "address": [
        ("127.0.0.1:80", TypeError, "pair"),
        (("127.0.0.1", "80"), TypeError, "the port of address"),
        (("127.0.0.1",), InvalidRequest, "pair"),
        (("127.0.0.1", 0), InvalidRequest, "the port of address"),
        (("127.1", 80), InvalidRequest, "the host of address"),
        (("a%41", 80), InvalidRequest, "the host of address"),
    ],
    "source_address": [
        ("127.0.0.1", TypeError, "pair"),
        ((None, 0), TypeError, "the host of source_address"),
        (("", None), TypeError, "the port of source_address"),
        (("127.0.0.1", 65536), InvalidRequest, "the port of source_address"),
        (("a b", 0), InvalidRequest, "the host of source_address"),
    ],
    "unix_socket": [
        (5, TypeError, "not int"),
        (True, TypeError, "not bool"),
        ("", InvalidRequest, "not empty"),
        ("/tmp/a\0b", InvalidRequest, "NUL"),  # noqa: S108
        (b"/tmp/a\0b", InvalidRequest, "NUL"),
        ("\0a\0b", InvalidRequest, "NUL"),
        ("/" + "a" * 108, InvalidRequest, "longer"),
        ("/\ud800", InvalidRequest, "encoded"),
    ],
    "sock": [
        (5, TypeError, "not int"),
        (("127.0.0.1", 80), TypeError, "not tuple"),
        (True, TypeError, "not bool"),
    ],
}

SETTABLE = ("hostname", "port", "timeout", "deadline", "continue_timeout", "ssl_context", "proxy")

CASES = [(name, *row) for name, rows in WRONG.items() for row in rows]


@in_turn("cls", CLASSES)
@in_turn(("name", "value", "error", "message"), CASES)
def test_constructor(
    cls: Callable[..., Any], name: str, value: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message) as info:
        cls(**{"hostname": HOST, name: value})
    assert name in str(info.value)


@in_turn("cls", CLASSES)
@in_turn(("name", "value", "error", "message"), [case for case in CASES if case[0] in SETTABLE])
def test_attribute(
    cls: Callable[..., Any], name: str, value: Any, error: type[Exception], message: str
) -> None:
    """What it was before stays."""
    conn = cls(HOST, timeout=5, continue_timeout=5, deadline=5, proxy=("proxy", 1))
    before = getattr(conn, name)
    with pytest.raises(error, match=message) as info:
        setattr(conn, name, value)
    assert name in str(info.value)
    assert getattr(conn, name) is before


@pytest.mark.parametrize("name", ["hostname", "port"])
def test_attribute_that_cannot_be_none(name: str) -> None:
    conn = HTTPConnection(HOST, 81)
    with pytest.raises(TypeError, match=name):
        setattr(conn, name, None)
    assert (conn.hostname, conn.port) == (HOST, 81)


def test_valid_attributes() -> None:
    context = ssl.create_default_context()
    conn = HTTPConnection(
        HOST, 1, context, ("h", 2), timeout=0, deadline=2.5, continue_timeout=None
    )
    assert (conn.hostname, conn.port, conn.ssl_context, conn.proxy) == (HOST, 1, context, ("h", 2))
    assert (conn.timeout, conn.deadline, conn.continue_timeout) == (0, 2.5, None)
    conn.proxy = "http://user:p@h:1"
    assert conn.proxy == "http://user:p@h:1"
    conn.proxy = conn.ssl_context = conn.timeout = conn.deadline = None
    assert (conn.proxy, conn.ssl_context, conn.timeout, conn.deadline) == (None, None, None, None)
    conn.hostname = "b\xfccher.example"
    assert conn.hostname == "xn--bcher-kva.example"


@pytest.mark.parametrize("other", [{"unix_socket": "/s"}, {"address": ("h", 1)}])
def test_two_ways_to_connect(other: dict[str, Any]) -> None:
    (name,) = other
    with pytest.raises(InvalidRequest, match=f"{name} and proxy"):
        HTTPConnection(HOST, proxy=("h", 1), **other)
    conn = HTTPConnection(HOST, **other)
    with pytest.raises(InvalidRequest, match=f"{name} and proxy"):
        conn.proxy = ("h", 1)
    assert conn.proxy is None
    with pytest.raises(InvalidRequest, match="only one of"):
        HTTPConnection(HOST, unix_socket="/s", address=("h", 1))


def test_context_that_hides_truncation(certificates: Certificates) -> None:
    """At once, and when the option is set later."""
    context = certificates.new_client()
    conn = HTTPConnection(HOST, ssl_context=context)
    context.options |= ssl.OP_IGNORE_UNEXPECTED_EOF
    with pytest.raises(InvalidRequest, match="OP_IGNORE_UNEXPECTED_EOF"):
        HTTPConnection(HOST, ssl_context=context)
    with pytest.raises(InvalidRequest, match="OP_IGNORE_UNEXPECTED_EOF"):
        conn.ssl_context = context


# ---------------------------------------------------------------------------------- calls

#: The call, its arguments, the error, and a part of the message.
CALLS: list[tuple[str, tuple[Any, ...], type[Exception], str]] = [
    *[("read", (n,), TypeError, "n must be an int") for n in ("5", 5.0, True, b"5", [5])],
    *[("readall", (n,), TypeError, "limit must be an int") for n in ("5", 5.0, True)],
    ("readall", (-1,), InvalidRequest, "limit must be at least 0"),
    *[
        ("readinto", (buf,), TypeError, "buf must be a writable buffer")
        for buf in (5, "a", b"a", None)
    ],
    ("readinto", (memoryview(bytearray(8))[::2],), TypeError, "in one piece"),
    ("pipeline", (5,), TypeError, "requests must be an iterable, not int"),
    ("pipeline", (None,), TypeError, "requests must be an iterable, not NoneType"),
    ("pipeline", ("/a",), TypeError, "requests must be an iterable"),
    *[("pipeline", ([], n), TypeError, "depth must be an int") for n in ("5", 5.0, True, None)],
    ("pipeline", ([], 0), InvalidRequest, "depth must be at least 1, not 0"),
    ("hash_body", (b"sha256",), TypeError, "hashes must have a method"),
    ("hash_body", (5,), TypeError, "hashes must have a method"),
]


@in_turn(("name", "arguments", "error", "message"), CALLS)
async def test_calls(
    wire: StyledWire, name: str, arguments: tuple[Any, ...], error: type[Exception], message: str
) -> None:
    """Nothing is read, and the body can be read afterwards."""
    conn, peer = wire.pair()
    peer.expect_request()
    peer.reply(OK)
    await conn.send_request("GET", "/")
    await conn.read_response()
    with pytest.raises(error, match=message):
        made = getattr(conn, name)(*arguments)
        if name != "hash_body":
            await made
    assert await conn.readall() == b"hi"
    await works(conn, peer)


async def test_write(wire: StyledWire) -> None:
    conn, peer = wire.pair()
    peer.expect_request(body=b"hi")
    peer.reply(EMPTY)
    for length in ("5", 5.0, True):
        with pytest.raises(TypeError, match="length must be an int"):
            BodyFollowing(length)  # type: ignore[arg-type]
    with pytest.raises(InvalidRequest, match="length must be at least 0, not -1"):
        BodyFollowing(-1)
    with pytest.raises(InvalidRequest, match="expect100 needs a BodyFollowing body"):
        await conn.send_request("PUT", "/", body=b"hi", expect100=True)
    await conn.send_request("PUT", "/", body=BodyFollowing(2))
    for data in ("hi", 5, None, ["hi"]):
        with pytest.raises(TypeError, match="bytes"):
            await conn.write(data)  # type: ignore[arg-type]
    await conn.write(b"hi")
    assert (await conn.read_response()).status == 200


async def test_bodies(plain: StyledWire) -> None:
    """Lists are looked through before anything is sent."""
    conn, peer = plain.pair()
    for body in (["a"], [b"a", "b"], [b"a", None], ({"A": "b"},), 5, True, "text", object()):
        for operation in (conn.send_request, conn.request):
            with pytest.raises(TypeError, match="bytes"):
                await operation("PUT", "/", body=body)  # type: ignore[arg-type]
    assert conn.bytes_sent == 0
    await works(conn, peer)


def test_on_event() -> None:
    conn = HTTPConnection(HOST)
    callbacks: list[Any] = [5, "print", []]
    for callback in callbacks:
        with pytest.raises(TypeError, match="on_event must be a callable or None"):
            conn.on_event = callback
    assert conn.on_event is None


@pytest.mark.parametrize("run", [eval_coroutine, AioFuture])
def test_what_is_no_coroutine(run: Callable[[Any], object]) -> None:
    conn = HTTPConnection(HOST)
    wrong: list[Any] = [None, conn, conn.co_read, conn.read, [], iter([])]
    for crt in wrong:
        with pytest.raises(
            TypeError, match=r"crt must be a generator, such as conn\.co_read\(10\)"
        ):
            run(crt)


@pytest.mark.parametrize("name", ["timeout", "deadline"])
def test_limits_of_coroutines(name: str) -> None:
    crt = HTTPConnection(HOST).co_connect()
    for value, error, message in WRONG[name]:
        with pytest.raises(error, match=message):
            eval_coroutine(crt, **{name: value})


def test_read_raw(plain: Wire) -> None:
    conn, peer = plain.pair()
    drive(conn.co_connect())
    for n, error in (("5", TypeError), (None, TypeError), (True, TypeError), (-1, InvalidRequest)):
        with pytest.raises(error, match="n must be "):
            conn.read_raw(n)  # type: ignore[arg-type]
    peer.reply(b"x")
    peer.run()
    assert conn.read_raw(5) == b"x"


# -------------------------------------------------------------------------------- sockets


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    near, far = socket.socketpair()
    yield near, far
    near.close()
    far.close()


def test_closed_socket(pair: tuple[socket.socket, socket.socket]) -> None:
    pair[0].close()
    with pytest.raises(InvalidRequest, match="sock is closed"):
        HTTPConnection(HOST, sock=pair[0])


def test_socket_of_datagrams() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        with pytest.raises(InvalidRequest, match="stream"):
            HTTPConnection(HOST, sock=sock)
        assert sock.fileno() >= 0


def test_socket_with_tls(
    pair: tuple[socket.socket, socket.socket], certificates: Certificates
) -> None:
    context = certificates.client
    with context.wrap_socket(
        pair[0], server_hostname=HOST, do_handshake_on_connect=False
    ) as wrapped:
        with pytest.raises(InvalidRequest, match="already has TLS"):
            HTTPConnection(HOST, sock=wrapped)


def test_socket_stays_the_callers_when_another_argument_is_wrong(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    with pytest.raises(InvalidRequest):
        HTTPConnection(HOST, 0, sock=pair[0])
    pair[0].sendall(b"x")
    assert pair[1].recv(1) == b"x"


@pytest.mark.parametrize("form", [str, Path, lambda path: str(path).encode()])
async def test_forms_of_paths(
    plain: StyledWire, tmp_path: Path, form: Callable[[Path], Any]
) -> None:
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "s"))
        listening.listen()
        conn = plain.connection(HOST, unix_socket=form(tmp_path / "s"))
        await conn.connect()


async def test_refused_arguments_leave_the_connection_as_it_was(wire: StyledWire) -> None:
    conn, peer = wire.pair()
    await works(conn, peer)
    for name in SETTABLE:
        for value, error, _ in WRONG[name]:
            with pytest.raises(error):
                setattr(conn, name, value)
    await works(conn, peer)
    assert peer.requests[-1].get("Host") == HOST
