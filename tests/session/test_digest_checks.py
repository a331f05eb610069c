"""`hash_body` with ``check``: the digests of RFC 9530 that a body has to have."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from dugong import ConnectionClosed, DigestMismatch
from tests.session.digests import (
    EVERY_WAY,
    MD5,
    SHA256,
    SHA512,
    WRONG256,
    WRONG512,
    announcing,
    member,
)
from tests.support.drive import drive
from tests.support.exchanges import (
    CHUNKED,
    CLOSED,
    LENGTH,
    OK,
    PAYLOAD,
    READERS,
    SAMPLES,
    SELF_DELIMITED,
    Reader,
    Sample,
    works,
)
from tests.support.in_turn import in_turn
from tests.support.styles import StyledWire
from tests.support.wire import Wire

# ------------------------------------------------------------------------------- checking


def checked(
    plain: Wire, sample: Sample, reader: Reader = READERS["readall"], method: str = "GET"
) -> tuple[Any, Any]:
    conn, peer = plain.pair()
    peer.expect_request()
    peer.reply(sample.wire)
    if sample.closes:
        peer.close()
    drive(conn.co_request(method, "/"), peer)
    conn.hash_body(check=True)
    drive(reader(conn), peer)
    return conn, peer


RIGHT: list[tuple[str, ...]] = [
    ("Content-Digest", SHA256),
    ("Content-Digest", SHA512),
    ("Repr-Digest", SHA256),
    ("content-digest", SHA256, "REPR-DIGEST", SHA512),
    ("Content-Digest", f"{SHA256}, {SHA512}"),
    ("Content-Digest", f"{SHA256},{SHA512}"),
    ("Content-Digest", f"{SHA256}\t ,  {SHA512}"),
    ("Content-Digest", SHA256, "Content-Digest", SHA512),
    ("Content-Digest", f"{MD5}, {SHA256}"),
    ("Content-Digest", f"md5=:AAAA:, {SHA256}, sha=:AAA=:"),
    ("Content-Digest", f'{SHA256};a="b, c";d=1.5;e=?0;f, md5=:AAAA:'),
    ("Content-Digest", f"{WRONG256}, {SHA256}"),  # the last of one name counts
    ("Content-Digest", "sha=:AAAA:", "Repr-Digest", SHA256),
]

ADVERSE: list[tuple[str, ...]] = [
    ("Content-Digest", WRONG256),
    ("Content-Digest", WRONG512),
    ("Repr-Digest", WRONG256),
    ("Content-Digest", f"{SHA256}, {WRONG512}"),
    ("Content-Digest", f"{WRONG512}, {SHA256}"),
    ("Content-Digest", SHA256, "Repr-Digest", WRONG256),
    ("Content-Digest", WRONG256, "Repr-Digest", SHA256),
    ("Content-Digest", SHA256, "Content-Digest", WRONG512),
    ("Content-Digest", SHA256[:-5] + ":"),
    ("Content-Digest", "sha-256=::"),
    ("Content-Digest", f"{SHA256}, {WRONG256}"),
]


@in_turn("fields", RIGHT)
@in_turn("sample", SAMPLES, ids=str)
def test_right(plain: Wire, sample: Sample, fields: tuple[str, ...]) -> None:
    conn, peer = checked(plain, announcing(sample, *fields))
    if not sample.closes:
        works(conn, peer)


@in_turn("fields", ADVERSE)
@in_turn("sample", SAMPLES, ids=str)
def test_wrong(plain: Wire, sample: Sample, fields: tuple[str, ...]) -> None:
    with pytest.raises(DigestMismatch) as caught:
        checked(plain, announcing(sample, *fields))
    assert isinstance(caught.value, ValueError)


@in_turn("sample", SAMPLES, ids=str)
@in_turn("reader", EVERY_WAY.values(), ids=EVERY_WAY)
def test_wrong_in_every_way_of_reading(plain: Wire, sample: Sample, reader: Reader) -> None:
    """Also where nobody reads once more to see the end."""
    checked(plain, announcing(sample, "Content-Digest", SHA256), reader)
    with pytest.raises(DigestMismatch):
        checked(plain, announcing(sample, "Content-Digest", WRONG256), reader)


async def test_after_a_mismatch(wire: StyledWire) -> None:
    """The last bytes are kept back, and the connection is of no use any more."""
    listener = wire.listen()
    conn, first = wire.dial(listener), listener.peer()
    first.expect_request()
    first.reply(announcing(LENGTH, "Content-Digest", WRONG256).wire)
    await conn.request("PUT", "/", body=b"a")
    digest = hashlib.sha256()
    conn.hash_body(digest, check=True)
    assert await conn.read(len(PAYLOAD) - 1) == PAYLOAD[:-1]
    with pytest.raises(DigestMismatch) as caught:
        await conn.read(1)
    assert digest.digest() == hashlib.sha256(PAYLOAD).digest()
    assert caught.value.response_started
    assert caught.value.safe_to_retry
    assert caught.value.bytes_sent == conn.bytes_sent
    for part in (conn.read(1), conn.send_request("GET", "/again")):
        with pytest.raises((ConnectionClosed, DigestMismatch)):
            await part
    conn.disconnect()
    second = listener.peer()
    second.expect_request(b"GET /again")
    second.reply(OK)
    await conn.request("GET", "/again")
    second.check()
    assert b"/again" not in first.received


TRAILERS: list[tuple[bool, tuple[str, ...], str]] = [
    (True, (), f"Content-Digest: {SHA256}"),
    (True, (), f"X-Sum: 7\r\nRepr-Digest: {SHA512}"),
    (True, ("Content-Digest", SHA256), f"Content-Digest: {SHA512}"),
    (True, ("Content-Digest", SHA256), "X-Sum: 7"),
    (False, (), f"Content-Digest: {WRONG256}"),
    (False, ("Content-Digest", SHA256), f"Repr-Digest: {WRONG512}"),
    (False, ("Content-Digest", SHA256), f"Content-Digest: {WRONG256}"),
    (False, ("Content-Digest", WRONG256), f"Content-Digest: {SHA256}"),
    (False, (), "X-Sum: 7"),
    (False, (), f"Content-Digest: {MD5}"),
    (False, (), ""),
]


@in_turn(("right", "fields", "trailer"), TRAILERS)
@in_turn("reader", EVERY_WAY.values(), ids=EVERY_WAY)
def test_trailers(
    plain: Wire, reader: Reader, right: bool, fields: tuple[str, ...], trailer: str
) -> None:
    sample = announcing(CHUNKED, *fields, trailer=trailer)
    if right:
        works(*checked(plain, sample, reader))
    else:
        with pytest.raises(DigestMismatch):
            checked(plain, sample, reader)


# ------------------------------------------------------------------------ nothing to check by


NOTHING: list[tuple[str, ...]] = [
    (),
    ("Content-Digest", MD5),
    ("Content-Digest", ""),
    ("Content-Digest", "sha-256"),
    ("Content-Digest", "sha-256=7"),
    ("Content-MD5", "Q2hlY2sgSW50ZWdyaXR5IQ=="),
    ("Digest", SHA256),
]


@in_turn("fields", NOTHING)
@in_turn("sample", [LENGTH, CLOSED], ids=str)
def test_no_digest_and_no_trailers(plain: Wire, sample: Sample, fields: tuple[str, ...]) -> None:
    """It is said at once, not after a long download."""
    conn, peer = plain.pair()
    peer.expect_request()
    peer.reply(announcing(sample, *fields).head)
    drive(conn.co_request("GET", "/"), peer)
    with pytest.raises(DigestMismatch):
        conn.hash_body(check=True)


@pytest.mark.parametrize("fields", NOTHING)
def test_no_digest_in_the_end(plain: Wire, fields: tuple[str, ...]) -> None:
    with pytest.raises(DigestMismatch):
        checked(plain, announcing(CHUNKED, *fields))


@pytest.mark.parametrize("sample", SELF_DELIMITED, ids=str)
def test_without_check_nothing_is_compared(plain: Wire, sample: Sample) -> None:
    conn, peer = plain.pair()
    peer.expect_request()
    peer.reply(announcing(sample, "Content-Digest", WRONG256).wire)
    drive(conn.co_request("GET", "/"), peer)
    conn.hash_body(hashlib.sha256())
    assert drive(conn.co_readall(), peer) == PAYLOAD
    works(conn, peer)


def test_part_of_a_representation(plain: Wire) -> None:
    """With 206 Repr-Digest is that of the whole, which is not there."""
    part = "206 Partial Content"
    both = ("Content-Digest", SHA256, "Repr-Digest", WRONG256)
    works(*checked(plain, announcing(LENGTH, *both, status=part)))
    works(*checked(plain, announcing(
        CHUNKED, "Content-Digest", SHA256, status=part, trailer=f"Repr-Digest: {WRONG256}"
    )))  # fmt: skip
    for sample in (LENGTH, CHUNKED):
        with pytest.raises(DigestMismatch):
            checked(plain, announcing(sample, "Repr-Digest", SHA256, status=part))
        with pytest.raises(DigestMismatch):
            checked(plain, announcing(sample, "Content-Digest", WRONG256, status=part))


@pytest.mark.parametrize(
    ("method", "status"), [("HEAD", "200 OK"), ("GET", "204 No"), ("GET", "304 Not Modified")]
)
@pytest.mark.parametrize("fields", [(), ("Content-Digest", WRONG256), ("Repr-Digest", WRONG256)])
def test_responses_without_a_body(
    plain: Wire, method: str, status: str, fields: tuple[str, ...]
) -> None:
    bare = Sample("bare", b"HTTP/1.1 200 OK\r\n\r\n", b"", b"", 0)
    works(*checked(plain, announcing(bare, *fields, status=status), method=method))


def test_a_body_of_no_bytes(plain: Wire) -> None:
    """It has a digest like any other."""
    empty = Sample("empty", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", b"", b"", 0)
    works(*checked(plain, announcing(empty, "Content-Digest", member("sha-256", b""))))
    with pytest.raises(DigestMismatch):
        checked(plain, announcing(empty, "Content-Digest", SHA256))


def test_a_body_cut_off_is_no_mismatch(plain: Wire) -> None:
    conn, peer = plain.pair()
    peer.expect_request()
    peer.reply(announcing(LENGTH, "Content-Digest", SHA256).wire[:-1])
    peer.close()
    drive(conn.co_request("GET", "/"), peer)
    conn.hash_body(check=True)
    with pytest.raises(ConnectionClosed):
        drive(conn.co_readall(), peer)
