"""SOCKS 5 without I/O (RFC 1928, RFC 1929): each message whole, in pieces, cut off, too long."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Iterable, Iterator
from typing import Any

import pytest

from dugong import InvalidResponse, TunnelRefused, is_temp_network_error
from dugong.protocol.socks import MAX_REPLY, SocksHandshake
from tests.support.in_turn import in_turn

USER = (b"walrus", b"sea-cow.2")

BOUND = b"\x01\x7f\x00\x00\x01\x04\x38"
OPENED = b"\x05\x00\x00" + BOUND

#: What a proxy sends, message by message, and what the client sends before each of them.
DIALOGUES: list[tuple[tuple[bytes, bytes] | None, list[bytes], list[bytes]]] = [
    (None, [b"\x05\x00", OPENED], [b"\x05\x01\x00", b"\x05\x01\x00\x03\x01h\x01\xbb"]),
    (USER, [b"\x05\x00", OPENED], [b"\x05\x02\x00\x02", b"\x05\x01\x00\x03\x01h\x01\xbb"]),
    (
        USER,
        [b"\x05\x02", b"\x01\x00", OPENED],
        [b"\x05\x02\x00\x02", b"\x01\x06walrus\x09sea-cow.2", b"\x05\x01\x00\x03\x01h\x01\xbb"],
    ),
    (
        (b"u" * 255, b""),
        [b"\x05\x02", b"\x01\x00", OPENED],
        [b"\x05\x02\x00\x02", b"\x01\xff" + b"u" * 255 + b"\x00", b"\x05\x01\x00\x03\x01h\x01\xbb"],
    ),
]

BOUND_ADDRESSES = [
    BOUND,
    b"\x04" + bytes(15) + b"\x01\x00\x50",
    b"\x03\x00\x00\x50",
    b"\x03\x04here\x00\x50",
    b"\x03\xff" + b"n" * 255 + b"\x00\x50",
]


def play(
    credentials: tuple[bytes, bytes] | None, messages: Iterable[Iterable[bytes]], host: str = "h"
) -> list[bytes]:
    """Return what the client sends when it receives these messages, each in pieces."""
    handshake = SocksHandshake(host, 443, credentials)
    sent = [handshake.output]
    for pieces in messages:
        for piece in pieces:
            assert not handshake.is_open
            handshake.received(piece)
        sent.append(handshake.output)
    assert handshake.is_open
    assert sent.pop() == b""
    return sent


def one_by_one(message: bytes) -> list[bytes]:
    return [message[at : at + 1] for at in range(len(message))]


def splits(message: bytes) -> Iterator[list[bytes]]:
    for at in range(1, len(message)):
        yield [message[:at], message[at:]]


@in_turn(("credentials", "messages", "sent"), DIALOGUES)
def test_dialogues(
    credentials: tuple[bytes, bytes] | None, messages: list[bytes], sent: list[bytes]
) -> None:
    whole = [[message] for message in messages]
    assert play(credentials, whole) == sent
    assert play(credentials, map(one_by_one, messages)) == sent
    for number, message in enumerate(messages):
        for split in splits(message):
            assert play(credentials, [*whole[:number], split, *whole[number + 1 :]]) == sent


@in_turn("bound", BOUND_ADDRESSES)
def test_bound_addresses(bound: bytes) -> None:
    """Their content counts for nothing, and neither does the reserved byte."""
    for reserved in (b"\x00", b"\xff"):
        message = b"\x05\x00" + reserved + bound
        assert len(message) <= MAX_REPLY
        for pieces in ([message], one_by_one(message), *splits(message)):
            play(None, [[b"\x05\x00"], pieces])


@in_turn(
    ("host", "address"),
    [
        ("example.com", b"\x03\x0bexample.com"),
        ("example.com.", b"\x03\x0cexample.com."),
        ("a" * 63 + ".example", b"\x03\x47" + b"a" * 63 + b".example"),
        ("127.0.0.1", b"\x01\x7f\x00\x00\x01"),
        ("255.0.10.1", b"\x01\xff\x00\x0a\x01"),
        ("::1", b"\x04" + bytes(15) + b"\x01"),
        ("fe80::2%eth0", b"\x04\xfe\x80" + bytes(13) + b"\x02"),
        ("::ffff:1.2.3.4", b"\x04" + bytes(10) + b"\xff\xff\x01\x02\x03\x04"),
    ],
)
def test_requested_addresses(host: str, address: bytes) -> None:
    request = play(None, [[b"\x05\x00"], [OPENED]], host)[1]
    assert request == b"\x05\x01\x00" + address + b"\x01\xbb"


def after(credentials: Any, *messages: bytes) -> SocksHandshake:
    handshake = SocksHandshake("h", 443, credentials)
    for message in messages:
        handshake.received(message)
    return handshake


#: What the proxy has sent before its last message, and that message.
LAST = [
    (None, [], b"\x05\x00"),
    (USER, [], b"\x05\x02"),
    (USER, [b"\x05\x02"], b"\x01\x00"),
    *((None, [b"\x05\x00"], b"\x05\x00\x00" + bound) for bound in BOUND_ADDRESSES),
]


@in_turn(("credentials", "before", "message"), LAST)
def test_incomplete_messages(
    credentials: tuple[bytes, bytes] | None, before: list[bytes], message: bytes
) -> None:
    for size in range(1, len(message)):
        handshake = after(credentials, *before, message[:size])
        assert not handshake.is_open
        assert handshake.output == b""


@in_turn(("credentials", "before", "message"), LAST)
def test_data_after_a_message(
    credentials: tuple[bytes, bytes] | None, before: list[bytes], message: bytes
) -> None:
    for pieces in ([message + b"H"], [*one_by_one(message)[:-1], message[-1:] + b"HTTP/1.1"]):
        handshake = after(credentials, *before)
        with pytest.raises(InvalidResponse, match="before it was asked") as info:
            for piece in pieces:
                handshake.received(piece)
        assert info.value.part == "early"


#: By reply code: the status code that means the same, and whether a retry may succeed.
STATUSES = {
    1: (502, True), 2: (403, False), 3: (502, True), 4: (502, True), 5: (502, True), 6: (504, True),
    7: (501, False), 8: (501, False),
}  # fmt: skip


@in_turn("code", range(1, 256))
def test_refusals(code: int) -> None:
    """Each code, also when the proxy sends nothing but the code."""
    status, temporary = STATUSES.get(code, (500, False))
    for rest in (b"", b"\x00", b"\x00" + BOUND):
        with pytest.raises(TunnelRefused) as info:
            after(None, b"\x05\x00", b"\x05" + bytes([code]) + rest)
        exc = info.value
        assert (exc.status, exc.reply, exc.body, list(exc.headers)) == (status, code, b"", [])
        assert f"{exc.reason} (SOCKS reply {code})" in str(exc)
        assert ("unassigned" in exc.reason) is (code not in STATUSES)
        assert is_temp_network_error(exc) is temporary
        again = pickle.loads(pickle.dumps(exc))  # noqa: S301 (our own bytes)
        assert (str(again), again.reply) == (str(copy.copy(exc)), exc.reply) == (str(exc), code)


def test_byte_by_byte_refusal() -> None:
    handshake = after(None, b"\x05\x00", b"\x05")
    with pytest.raises(TunnelRefused, match="refused"):
        handshake.received(b"\x05")


@in_turn(
    ("credentials", "messages", "reply", "reason"),
    [
        (None, [b"\x05\xff"], 255, "authentication required"),
        (USER, [b"\x05\xff"], 255, "no common method"),
        (USER, [b"\x05\x02", b"\x01\x01"], 1, "rejected"),
        (USER, [b"\x05\x02", b"\x01\xff"], 255, "rejected"),
    ],
)
def test_refused_credentials(
    credentials: tuple[bytes, bytes] | None, messages: list[bytes], reply: int, reason: str
) -> None:
    with pytest.raises(TunnelRefused, match=reason) as info:
        after(credentials, *messages)
    assert (info.value.status, info.value.reply) == (407, reply)
    assert not is_temp_network_error(info.value)
    assert b"walrus".decode() not in repr(info.value)
    assert "sea-cow" not in repr(info.value)


@in_turn(
    ("credentials", "messages", "part", "text"),
    [
        (None, [b"HTTP/1.1 400"], "status-line", "does not speak SOCKS 5"),
        (None, [b"\x04"], "status-line", "byte 0x04"),
        (None, [b"\x00\x5a"], "status-line", "does not speak"),
        (None, [b"\x05\x01"], "head", "method of authentication 1"),
        (None, [b"\x05\x02"], "head", "not offered"),
        (USER, [b"\x05\x01"], "head", "not offered"),
        (USER, [b"\x05\x03"], "head", "not offered"),
        (USER, [b"\x05\x02", b"\x05"], "head", "user name and password"),
        (USER, [b"\x05\x02", b"\x00\x00"], "head", "user name and password"),
        (None, [b"\x05\x00", b"\x04"], "head", "not a SOCKS 5 reply"),
        (None, [b"\x05\x00", b"H"], "head", "not a SOCKS 5 reply"),
        (None, [b"\x05\x00", b"\x05\x00\x00\x00\x00"], "head", "unknown type of address, 0"),
        (None, [b"\x05\x00", b"\x05\x00\x00\x02\x00"], "head", "unknown type of address, 2"),
        (None, [b"\x05\x00", b"\x05\x00\x00\xff\x00"], "head", "unknown type of address, 255"),
    ],
)
def test_invalid_answers(
    credentials: tuple[bytes, bytes] | None, messages: list[bytes], part: str, text: str
) -> None:
    with pytest.raises(InvalidResponse, match=text) as info:
        after(credentials, *messages)
    assert info.value.part == part
    assert not is_temp_network_error(info.value)
