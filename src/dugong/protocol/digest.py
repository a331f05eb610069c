"""Digests of response bodies, computed while receiving and checked at the end (RFC 9530).

Content-Digest is the digest of the content of this message. Repr-Digest is the digest of the whole
representation, which in a 206 (Partial Content) is larger than the content. Either field may be in
the head or in the trailer section.

Decisions:

* Only sha-256 and sha-512 count, which RFC 9530 section 5 registers as active. Every value for
  them must be correct.
* A field that is not valid is ignored (RFC 9651 section 4.2).
* If there is no digest to check against, the check fails: an unchecked body must not pass for a
  checked one.
"""

from __future__ import annotations

from binascii import Error, a2b_base64
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from ..errors import DigestMismatch
from . import grammar
from .headers import Headers
from .messages import HTTPResponse

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


class Hash(Protocol):
    """An object that bytes are fed to: one of `hashlib`, or any other with this method."""

    def update(self, data: ReadableBuffer, /) -> Any: ...


#: From the names of algorithms (RFC 9530 section 7.2) to their names in `hashlib`.
_ALGORITHMS = {"sha-256": "sha256", "sha-512": "sha512"}


class BodyDigest:
    """The hashes that one response's body is fed to.

    Args:
        hashes: the caller's own hashes.
        response: the response. None of its body was read.
        check: whether the body must have the digests that the response announces.

    Raises:
        DigestMismatch: the response announces no digest, and no trailer section can follow.
    """

    __slots__ = ("_computed", "_hashes", "_response")

    def __init__(self, hashes: Sequence[Hash], response: HTTPResponse, check: bool) -> None:
        self._hashes: list[Hash] = list(hashes)
        self._response = response
        self._computed: dict[str, Any] = {}
        if not check:
            return
        names = {name for _, name, _ in self._announced(response.headers)}
        if "Transfer-Encoding" in response.headers:
            names = set(_ALGORITHMS)  # the trailer section may announce any of them
        elif not names:
            raise _nothing_announced()
        import hashlib

        self._computed = {name: hashlib.new(_ALGORITHMS[name]) for name in sorted(names)}
        self._hashes += self._computed.values()

    def update(self, data: ReadableBuffer) -> None:
        """Feed the next bytes of the body to all hashes."""
        for one in self._hashes:
            one.update(data)

    def verify(self) -> None:
        """Check the digests of the complete body.

        Raises:
            DigestMismatch: an announced digest is not that of the body, or none is announced.
        """
        if not self._computed:
            return
        compared = 0
        for headers in (self._response.headers, self._response.trailers):
            for field, name, announced in self._announced(headers):
                compared += 1
                if self._computed[name].digest() != announced:
                    raise DigestMismatch(
                        f"the {name} digest of the body does not match its {field}"
                    )
        if not compared:
            raise _nothing_announced()

    def _announced(self, headers: Headers) -> Iterator[tuple[str, str, bytes]]:
        """Yield field, algorithm and digest for each digest that the body must have."""
        fields = ["Content-Digest"]
        if self._response.status != 206:
            fields.append("Repr-Digest")
        for field in fields:
            for name, digest in _parse(", ".join(headers.get_all(field, []))).items():
                if name in _ALGORITHMS:
                    yield field, name, digest


def _nothing_announced() -> DigestMismatch:
    return DigestMismatch("the response has no sha-256 or sha-512 digest to check its body against")


def _parse(value: str) -> dict[str, bytes]:
    """Parse a dictionary of byte sequences (RFC 9651). Return ``{}`` if *value* is not valid."""
    if not grammar.DIGESTS.fullmatch(value):
        return {}
    try:
        return {
            match[1]: a2b_base64(match[2], strict_mode=True)
            for match in grammar.DIGEST.finditer(value)
        }
    except Error:
        return {}
