"""Digests of bodies: what is computed, what is compared with what, and what is no proof."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from typing import Any

import pytest

from dugong import DigestMismatch, Headers, HTTPResponse
from dugong.protocol.digest import BodyDigest

BODY = b"swim like a sea cow"
SHA256 = f"sha-256=:{b64encode(hashlib.sha256(BODY).digest()).decode()}:"
SHA512 = f"sha-512=:{b64encode(hashlib.sha512(BODY).digest()).decode()}:"
WRONG256 = f"sha-256=:{b64encode(hashlib.sha256(b'x').digest()).decode()}:"
WRONG512 = f"sha-512=:{b64encode(hashlib.sha512(b'x').digest()).decode()}:"
MD5 = f"md5=:{b64encode(hashlib.md5(b'x', usedforsecurity=False).digest()).decode()}:"

CHUNKED = ("Transfer-Encoding", "chunked")


def digested(
    *fields: tuple[str, str], trailers: list[tuple[str, str]] | None = None, status: int = 200
) -> BodyDigest:
    """A check of `BODY`, come to its end."""
    length = None if CHUNKED in fields else len(BODY)
    response = HTTPResponse("GET", "/", status, "", Headers(fields), length)
    digest = BodyDigest([], response, check=True)
    digest.update(BODY[:3])
    digest.update(memoryview(BODY)[3:])
    response.trailers = Headers(trailers or [])
    return digest


RIGHT: list[tuple[list[tuple[str, str]], list[tuple[str, str]]]] = [
    ([("Content-Digest", SHA256)], []),
    ([("content-digest", SHA512)], []),
    ([("Repr-Digest", SHA256)], []),
    ([("Content-Digest", f"{MD5}, {SHA256} , {SHA512}")], []),
    ([("Content-Digest", SHA256), ("Content-Digest", SHA512)], []),
    ([("Content-Digest", SHA256), ("Repr-Digest", SHA512)], []),
    ([("Content-Digest", f'{SHA256};a=1;b="c, d"')], []),
    ([("Content-Digest", f"{WRONG256}, {SHA256}")], []),  # of equal keys the last one counts
    ([("Content-Digest", SHA256), ("Repr-Digest", "not valid")], []),
    ([CHUNKED], [("Content-Digest", SHA256)]),
    ([CHUNKED], [("Repr-Digest", SHA512)]),
    ([CHUNKED, ("Content-Digest", SHA256)], []),
]


@pytest.mark.parametrize(("fields", "trailers"), RIGHT)
def test_right(fields: list[tuple[str, str]], trailers: list[tuple[str, str]]) -> None:
    digested(*fields, trailers=trailers).verify()


MISMATCHES: list[tuple[list[tuple[str, str]], list[tuple[str, str]]]] = [
    ([("Content-Digest", WRONG256)], []),
    ([("Repr-Digest", WRONG512)], []),
    ([("Content-Digest", f"{SHA256}, {WRONG512}")], []),
    ([("Content-Digest", SHA256), ("Repr-Digest", WRONG256)], []),
    ([("Content-Digest", "sha-256=::")], []),
    ([CHUNKED, ("Content-Digest", SHA256)], [("Content-Digest", WRONG256)]),
    ([CHUNKED], [("Content-Digest", WRONG512)]),
    ([CHUNKED], []),
    ([CHUNKED], [("Content-Digest", MD5)]),
    ([CHUNKED], [("Content-Digest", SHA256.replace(":", ""))]),
]


@pytest.mark.parametrize(("fields", "trailers"), MISMATCHES)
def test_wrong(fields: list[tuple[str, str]], trailers: list[tuple[str, str]]) -> None:
    with pytest.raises(DigestMismatch):
        digested(*fields, trailers=trailers).verify()


@pytest.mark.parametrize(
    "value", ["", MD5, SHA256.upper(), SHA256[:-1], SHA256.replace("=:", "=:!"), "sha-256=:YQ=:"]
)
def test_nothing_to_go_by(value: str) -> None:
    """Said at once where no trailer section can follow."""
    with pytest.raises(DigestMismatch):
        digested(("Content-Digest", value))
    with pytest.raises(DigestMismatch):
        digested()


def test_part_of_a_representation() -> None:
    digested(("Content-Digest", SHA256), ("Repr-Digest", WRONG256), status=206).verify()
    with pytest.raises(DigestMismatch):
        digested(("Repr-Digest", SHA256), status=206)


def test_hashes_of_the_caller() -> None:
    class Sum:
        value = 0

        def update(self, data: Any, /) -> None:
            self.value += sum(data)

    sha1, total = hashlib.sha1(usedforsecurity=False), Sum()
    digest = BodyDigest(
        [sha1, total], HTTPResponse("GET", "/", 200, "", Headers(), 19), check=False
    )
    for i in range(len(BODY)):
        digest.update(memoryview(BODY)[i : i + 1])
    digest.verify()
    assert sha1.digest() == hashlib.sha1(BODY, usedforsecurity=False).digest()
    assert total.value == sum(BODY)
