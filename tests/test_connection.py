"""A connection's life: made, opened, found unusable, disconnected, opened again."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import dugong
from dugong import ConnectionClosed, HTTPConnection, StateError
from tests.drive import advance, drive
from tests.exchanges import CHUNKED, EMPTY, LENGTH, OK, PAYLOAD, ask, fetch, works
from tests.peer import Peer
from tests.wire import Wire

# --------------------------------------------------------------------------------- made


def test_attributes(wire: Wire) -> None:
    context = wire.client_context
    conn = HTTPConnection("example.com", ssl_context=context)
    assert (conn.hostname, conn.port) == ("example.com", 443 if wire.tls else 80)
    assert conn.ssl_context is context
    assert conn.proxy is None
    assert conn.timeout is None
    conn = HTTPConnection("example.com", 8080, context, ("proxy.example.com", 3128), timeout=7)
    assert (conn.port, conn.proxy, conn.timeout) == (8080, ("proxy.example.com", 3128), 7)
    conn.hostname, conn.port, conn.proxy, conn.timeout = "other", 81, None, 1.5
    assert (conn.hostname, conn.port, conn.proxy, conn.timeout) == ("other", 81, None, 1.5)


@pytest.mark.parametrize("url", ["https://p:1", "socks5://p:1", "ftp://p", "p:1", ""])
def test_proxy_of_another_scheme(url: str) -> None:
    with pytest.raises(ValueError):
        HTTPConnection("example.com", proxy=url)


def test_making_does_no_io(plain: Wire) -> None:
    listener = plain.listen()
    conn, peer = plain.dial(listener), listener.peer()
    HTTPConnection("no-such-host.invalid")
    assert not peer.step(), "something has connected"
    assert not conn.response_pending()
    assert not conn.body_pending
    assert (conn.bytes_sent, conn.bytes_received) == (0, 0)


def test_version() -> None:
    assert dugong.__version__ == "4.0.0.dev0"


def test_socket_that_is_used_up(wire: Wire) -> None:
    conn, peer = wire.pair()
    works(conn, peer)
    conn.disconnect()
    with pytest.raises(StateError):
        drive(conn.co_connect(), peer)


# ------------------------------------------------------------------------------- opened


def test_connect_is_a_no_op_when_connected(wire: Wire) -> None:
    listener = wire.listen()
    conn, peer = wire.dial(listener), listener.peer()
    for _ in range(3):
        assert drive(conn.co_connect(), peer) is None
    works(conn, peer)


def test_idle_connection_is_kept(wire: Wire) -> None:
    """Over TLS 1.3 an idle connection is readable: there are session tickets. It is well."""
    conn, peer = wire.pair()
    drive(conn.co_connect(), peer)
    peer.run()
    for _ in range(3):
        works(conn, peer)


IDLE: dict[str, Callable[[Peer], None]] = {
    "closed": Peer.close,
    "closed without notify": Peer.close_without_notify,
    "reset": Peer.reset,
    "stray byte": lambda peer: peer.reply(b"\n"),
    "stray response": lambda peer: peer.reply(OK),
    "stray timeout": lambda peer: peer.reply(b"HTTP/1.1 408 Request Timeout\r\n\r\n"),
}


@pytest.mark.parametrize("happens", IDLE.values(), ids=IDLE)
@pytest.mark.parametrize("used", [True, False], ids=["after an exchange", "before any"])
def test_idle_connection_found_unusable(
    wire: Wire, happens: Callable[[Peer], None], used: bool
) -> None:
    listener = wire.listen()
    conn, first, second = wire.dial(listener), listener.peer(), listener.peer()
    drive(conn.co_connect(), first)
    if used:
        works(conn, first)
    sent_before = len(first.received)
    happens(first)
    first.run()
    with pytest.raises(ConnectionClosed) as info:
        drive(conn.co_send_request("POST", "/x", body=b"abc"), first)
    assert info.value.bytes_sent == 0
    assert info.value.safe_to_retry
    assert not info.value.response_started
    assert len(first.received) == sent_before
    assert not conn.response_pending()
    assert not conn.body_pending
    works(conn, second)


def test_stray_bytes_behind_a_response(wire: Wire) -> None:
    listener = wire.listen()
    conn, first, second = wire.dial(listener), listener.peer(), listener.peer()
    first.expect_request()
    first.reply(OK + b"!")
    drive(fetch(conn), first)
    with pytest.raises(ConnectionClosed) as info:
        drive(conn.co_send_request("GET", "/"), first)
    assert (info.value.bytes_sent, info.value.safe_to_retry) == (0, True)
    works(conn, second)


def test_close_delimited_response_ends_the_connection(wire: Wire) -> None:
    listener = wire.listen()
    conn, first, second = wire.dial(listener), listener.peer(), listener.peer()
    first.expect_request()
    first.reply(b"HTTP/1.1 200 OK\r\n\r\nall")
    first.close()
    response, body = drive(fetch(conn), first)
    assert (body, response.will_close) == (b"all", True)
    with pytest.raises(ConnectionClosed) as info:
        drive(conn.co_send_request("GET", "/"), first)
    assert (info.value.bytes_sent, info.value.safe_to_retry) == (0, True)
    works(conn, second)


def test_send_request_takes_the_end_of_a_response_along(wire: Wire) -> None:
    """Its last chunk came after the payload was read: nothing is outstanding any more."""
    listener = wire.listen()
    conn, first, second = wire.dial(listener), listener.peer(), listener.peer()
    first.expect_request()
    first.reply(b"HTTP/1.1 200 OK\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n")
    first.reply(b"2\r\nhi\r\n")
    drive(ask(conn), first)
    assert drive(conn.co_read(2), first) == b"hi"
    first.reply(b"0\r\n\r\n")
    first.run()
    with pytest.raises(ConnectionClosed) as info:
        drive(conn.co_send_request("POST", "/"), first)
    assert (info.value.bytes_sent, info.value.safe_to_retry) == (0, True)
    assert info.value.unanswered == ()
    works(conn, second)


def test_keep_alive_timeout_that_has_passed(wire: Wire) -> None:
    listener = wire.listen()
    conn, first, second = wire.dial(listener), listener.peer(), listener.peer()
    first.expect_request()
    first.reply(b"HTTP/1.1 200 OK\r\nKeep-Alive: timeout=0\r\nContent-Length: 0\r\n\r\n")
    drive(fetch(conn), first)
    with pytest.raises(ConnectionClosed) as info:
        drive(conn.co_send_request("GET", "/"), first)
    assert (info.value.bytes_sent, info.value.safe_to_retry) == (0, True)
    works(conn, second)


@pytest.mark.parametrize("value", ["timeout=600", "timeout=600, max=100", "max=5", "timeout=x", ""])
def test_keep_alive_timeout_that_has_not(wire: Wire, value: str) -> None:
    conn, peer = wire.pair()
    peer.expect_request()
    peer.reply(b"HTTP/1.1 200 OK\r\nKeep-Alive: %b\r\nContent-Length: 0\r\n\r\n" % value.encode())
    drive(fetch(conn), peer)
    works(conn, peer)


# -------------------------------------------------------------------------- disconnected


@pytest.mark.parametrize("end", [HTTPConnection.disconnect, HTTPConnection.reset])
@pytest.mark.parametrize("state", ["fresh", "connected", "idle", "sent", "head", "body", "writing"])
def test_disconnect_from_any_state(
    wire: Wire, end: Callable[[HTTPConnection], None], state: str
) -> None:
    listener = wire.listen()
    conn, first, second = wire.dial(listener), listener.peer(), listener.peer()
    if state == "fresh":
        second = first
    elif state == "connected":
        drive(conn.co_connect(), first)
    elif state == "idle":
        works(conn, first)
    elif state == "writing":
        drive(conn.co_send_request("PUT", "/", body=dugong.BodyFollowing(10)), first)
    else:
        drive(conn.co_send_request("GET", "/"), first)
        first.expect_request()
        if state == "head":
            first.reply(OK[:10])
            reading = conn.co_read_response()
            advance(reading, first)
            reading.close()
        elif state == "body":
            first.reply(OK[:-1])
            drive(conn.co_read_response(), first)
            drive(conn.co_read(1), first)
    for _ in range(3):
        end(conn)
    assert not conn.response_pending()
    assert not conn.body_pending
    if state in ("fresh", "connected", "idle"):
        with pytest.raises(StateError):
            drive(conn.co_read_response(), first)
    works(conn, second)
    if state == "idle":
        first.expect_eof()
        first.run()


def test_write_after_disconnect_in_the_middle_of_a_body(wire: Wire) -> None:
    listener = wire.listen()
    conn, first, second = wire.dial(listener), listener.peer(), listener.peer()
    drive(conn.co_send_request("PUT", "/", body=dugong.BodyFollowing(10)), first)
    drive(conn.co_write(b"abc"), first)
    conn.disconnect()
    with pytest.raises(ConnectionClosed):
        drive(conn.co_write(b"def"), first)
    works(conn, second)


@pytest.mark.parametrize("sample", [LENGTH, CHUNKED], ids=str)
def test_read_after_disconnect_in_the_middle_of_a_body(wire: Wire, sample: Any) -> None:
    listener = wire.listen()
    conn, first, second = wire.dial(listener), listener.peer(), listener.peer()
    first.expect_request()
    first.reply(sample.wire)
    drive(ask(conn), first)
    drive(conn.co_read(3), first)
    conn.disconnect()
    with pytest.raises(ConnectionClosed):
        drive(conn.co_read(3), first)
    works(conn, second)


def test_read_after_disconnect_behind_a_body(wire: Wire) -> None:
    conn, peer = wire.pair()
    works(conn, peer)
    conn.disconnect()
    assert drive(conn.co_read(3), peer) == b""


def test_with_disconnects_at_the_end(wire: Wire) -> None:
    conn, peer = wire.pair()
    with conn as entered:
        assert entered is conn
        works(conn, peer)
    peer.expect_eof()
    peer.run()


def test_with_disconnects_after_an_error(wire: Wire) -> None:
    conn, peer = wire.pair()
    with pytest.raises(KeyError), conn:
        works(conn, peer)
        raise KeyError
    peer.expect_eof()
    peer.run()


def test_waiting_coroutines_end_when_disconnected(wire: Wire) -> None:
    conn, peer = wire.pair(small=True)
    drive(conn.co_send_request("GET", "/"), peer)
    reader = conn.co_read_response()
    advance(reader, peer)
    sender = conn.co_send_request("PUT", "/", body=bytes(1_000_000))
    advance(sender, peer)
    conn.disconnect()
    for crt in (reader, sender):
        with pytest.raises(ConnectionClosed):
            next(crt)


def test_disconnect_while_connecting(wire: Wire) -> None:
    """The handshake gets no answer, or the connection has only just been begun."""
    listener = wire.listen()
    conn = wire.dial(listener)
    crt = conn.co_connect()
    waiting = next(crt, None) is not None
    conn.disconnect()
    if waiting:
        with pytest.raises(ConnectionClosed):
            next(crt)


# -------------------------------------------------------------------------- looking on


def test_byte_counts(wire: Wire) -> None:
    conn, peer = wire.pair()
    peer.expect_request()
    peer.reply(CHUNKED.wire)
    drive(conn.co_send_request("PUT", "/", body=bytes(1000)), peer)
    sent = conn.bytes_sent
    assert sent > 1000
    assert conn.bytes_received == 0
    drive(conn.co_read_response(), peer)
    assert sent == len(peer.received)
    drive(conn.co_readall(), peer)
    assert (conn.bytes_sent, conn.bytes_received) == (sent, len(CHUNKED.wire))
    works(conn, peer)
    assert conn.bytes_sent == len(peer.received)
    assert conn.bytes_received == len(CHUNKED.wire) + len(OK)


def test_byte_counts_in_the_middle(wire: Wire) -> None:
    conn, peer = wire.pair()
    drive(conn.co_send_request("PUT", "/", body=dugong.BodyFollowing(10)), peer)
    before = conn.bytes_sent
    drive(conn.co_write(b"abcd"), peer)
    assert conn.bytes_sent == before + 4


def test_events(wire: Wire) -> None:
    listener = wire.listen()
    conn, peer = wire.dial(listener), listener.peer()
    events: list[str] = []
    conn.on_event = events.append
    peer.expect_request()
    peer.reply(LENGTH.wire, chunk=9)
    drive(conn.co_send_request("GET", "/"), peer)
    if events[0] == "resolved":  # there was nothing to resolve, it may be left out
        del events[0]
    assert events == (["connected", "secured", "sent"] if wire.tls else ["connected", "sent"])
    events.clear()
    response = drive(conn.co_read_response(), peer)
    assert response.status == 200
    assert events == ["first_byte"]
    assert drive(conn.co_readall(), peer) == PAYLOAD
    assert events == ["first_byte", "done"]
    events.clear()
    works(conn, peer)
    assert events == ["sent", "first_byte", "done"]


def test_events_when_a_name_is_resolved(wire: Wire) -> None:
    listener = wire.listen()
    port = listener.address[1]
    conn = wire.dial(listener, address=("localhost", port))
    peer = listener.peer()
    events: list[str] = []
    conn.on_event = events.append
    drive(conn.co_connect(), peer)
    assert events == ["resolved", "connected", "secured"][: 3 if wire.tls else 2]


def test_trace_file(wire: Wire, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DUGONG_TRACEFILE", str(tmp_path / "trace-%d"))
    for _ in range(2):
        conn, peer = wire.pair()
        works(conn, peer)
        conn.disconnect()
    files = sorted(tmp_path.iterdir())
    assert len(files) == 2
    for file in files:
        assert re.fullmatch(r"trace-\d+", file.name)
        text = file.read_bytes()
        assert b"GET /works HTTP/1.1" in text
        assert b"HTTP/1.1 200 OK" in text


def test_file_interface(wire: Wire) -> None:
    conn, peer = wire.pair()
    works(conn, peer)
    conn.flush()
    conn.close()
    assert not conn.closed
    assert (conn.readable(), conn.writable(), conn.seekable()) == (True, True, False)
    works(conn, peer)


# --------------------------------------------------------------------------------- TLS


def test_certificate_and_cipher(wire: Wire) -> None:
    conn, peer = wire.pair()
    certificate = drive(conn.co_get_ssl_peercert(), peer)
    binary = drive(conn.co_get_ssl_peercert(binary_form=True), peer)
    cipher = drive(conn.co_get_ssl_cipher(), peer)
    if not wire.tls:
        assert (certificate, binary, cipher) == (None, None, None)
    else:
        assert certificate is not None
        assert ("DNS", "localhost") in certificate["subjectAltName"]
        assert isinstance(binary, bytes)
        assert binary.startswith(b"\x30")
        assert cipher is not None
        assert isinstance(cipher[0], str)
    works(conn, peer)


def test_head_reply_without_a_body(wire: Wire) -> None:
    conn, peer = wire.pair()
    peer.expect_request()
    peer.reply(EMPTY)
    assert drive(ask(conn, "HEAD"), peer).status == 200
    works(conn, peer)
