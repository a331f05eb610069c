"""Digests of response bodies, computed as they come in and checked in the end (RFC 9530).

Content-Digest is about the content of this very message, Repr-Digest about the whole
representation, which in a 206 (Partial Content) is more than the content. Both may come in the
head or in the trailer section.

Decided here: of the algorithms only sha-256 and sha-512 count, which are those that RFC 9530
section 5 calls active; each value given for them has to be right. A field that is not valid is as
good as none (RFC 9651 section 4.2), and a check that finds nothing to go by has failed: who asks
for it must not take silence for a proof.
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
    """What bytes are fed to: the objects of `hashlib`, or anything else with this method."""

    def update(self, data: ReadableBuffer, /) -> Any: ...


#: Names of algorithms (RFC 9530 section 7.2) and what `hashlib` calls them.
_ALGORITHMS = {"sha-256": "sha256", "sha-512": "sha512"}


class BodyDigest:
    """What one response's body is fed to.

    Args:
        hashes: the caller's.
        response: the response, its body unread.
        check: whether the body must have the digests that the response announces.

    Raises:
        DigestMismatch: it announces none, and no trailer section can follow.
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
            names = set(_ALGORITHMS)  # there may be trailers
        elif not names:
            raise _nothing_announced()
        import hashlib

        self._computed = {name: hashlib.new(_ALGORITHMS[name]) for name in sorted(names)}
        self._hashes += self._computed.values()

    def update(self, data: ReadableBuffer) -> None:
        """These bytes came next."""
        for one in self._hashes:
            one.update(data)

    def verify(self) -> None:
        """The body is complete.

        Raises:
            DigestMismatch: it does not have a digest that is announced, or none is.
        """
        if not self._computed:
            return
        compared = 0
        for headers in (self._response.headers, self._response.trailers):
            for field, name, announced in self._announced(headers):
                compared += 1
                if self._computed[name].digest() != announced:
                    raise DigestMismatch(f"the body does not have the {name} of its {field}")
        if not compared:
            raise _nothing_announced()

    def _announced(self, headers: Headers) -> Iterator[tuple[str, str, bytes]]:
        """Yield field, algorithm and digest of all that the body is to have."""
        fields = ["Content-Digest"]
        if self._response.status != 206:
            fields.append("Repr-Digest")
        for field in fields:
            for name, digest in _parse(", ".join(headers.get_all(field, []))).items():
                if name in _ALGORITHMS:
                    yield field, name, digest


def _nothing_announced() -> DigestMismatch:
    return DigestMismatch("the response has no sha-256 or sha-512 digest to check its body by")


def _parse(value: str) -> dict[str, bytes]:
    """Parse a dictionary of byte sequences; it is empty if *value* is not valid."""
    if not grammar.DIGESTS.fullmatch(value):
        return {}
    try:
        return {
            match[1]: a2b_base64(match[2], strict_mode=True)
            for match in grammar.DIGEST.finditer(value)
        }
    except Error:
        return {}
