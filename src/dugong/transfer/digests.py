"""Digests of whole files: the argument *digest*, and the field ``Repr-Digest`` (RFC 9530)."""

from __future__ import annotations

import hashlib
import re
from base64 import b64decode
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..errors import DigestMismatch, InvalidRequest
from ..protocol.arguments import exactly_str, shown

if TYPE_CHECKING:
    from typing import TypeAlias

    from ..protocol.headers import Headers

    Digests: TypeAlias = Mapping[str, str | bytes]

#: Algorithms of ``Repr-Digest`` that are not broken (RFC 9530 section 5).
_SECURE = ("sha-256", "sha-512")

# A dictionary's member with a byte sequence: sha-256=:...:   (RFC 9530 section 3, RFC 8941)
_MEMBER = re.compile(r"[ \t]*([a-z][a-z0-9_.*-]*)=:([A-Za-z0-9+/]*={0,2}):[ \t]*")


def new_hash(name: str) -> Any:
    """Return a hash object for an algorithm such as ``sha-256``."""
    return hashlib.new(name.replace("-", ""), usedforsecurity=False)


def check_digest(digest: Any) -> dict[str, bytes]:
    """Return the argument *digest*: from the names of algorithms to the expected values.

    Raises:
        TypeError: it is not a mapping, or a value is neither `str` nor `bytes`.
        InvalidRequest: an algorithm is unknown, or a value has the wrong form.
    """
    if digest is None:
        return {}
    if not isinstance(digest, Mapping):
        raise TypeError(
            f"digest must be a mapping such as {{'sha-256': …}}, not {type(digest).__name__}"
        )
    found = {}
    for given, expected in digest.items():
        name = exactly_str(given, "an algorithm in digest").lower()
        try:
            size = new_hash(name).digest_size
        except (ValueError, TypeError):
            raise InvalidRequest(f"digest has an unknown algorithm: {shown(given)}") from None
        value = expected
        if isinstance(expected, str):
            try:
                value = bytes.fromhex(expected)
            except ValueError:
                raise InvalidRequest(f"the digest {name} is not hexadecimal") from None
        if not isinstance(value, bytes):
            raise TypeError(f"the digest {name} must be str or bytes, not {type(value).__name__}")
        if not size or len(value) != size:
            raise InvalidRequest(f"the digest {name} must have {size} bytes, not {len(value)}")
        found[name] = value
    return found


def announced(headers: Headers) -> dict[str, bytes]:
    """Return the digests in ``Repr-Digest`` that can be checked."""
    found = {}
    for value in headers.get_all("repr-digest", []):
        for member in value.split(","):
            match = _MEMBER.fullmatch(member)
            if match is not None and match[1] in _SECURE:
                found[match[1]] = b64decode(match[2])
    return found


def compare(computed: Mapping[str, bytes], expected: Mapping[str, bytes]) -> None:
    """Compare digests.

    Raises:
        DigestMismatch: one is different.
    """
    for name, value in expected.items():
        if computed[name] != value:
            raise DigestMismatch(
                f"the file has the {name} digest {computed[name].hex()}, not {value.hex()}"
            )
