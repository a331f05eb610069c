"""Responses that announce digests of their bodies (RFC 9530)."""

from __future__ import annotations

import base64
import hashlib

from tests.support.exchanges import CUT_READERS, PAYLOAD, READERS, Sample

#: Every way of reading a body, or of throwing it away.
EVERY_WAY = {**READERS, "discard": CUT_READERS["discard"]}


def member(name: str, payload: bytes = PAYLOAD) -> str:
    """A digest as RFC 9530 writes it."""
    value = hashlib.new(name.replace("-", ""), payload).digest()
    return f"{name}=:{base64.b64encode(value).decode()}:"


SHA256, SHA512 = member("sha-256"), member("sha-512")
WRONG256, WRONG512 = member("sha-256", b"other"), member("sha-512", b"other")
MD5 = member("md5")


def announcing(sample: Sample, *fields: str, status: str = "200 OK", trailer: str = "") -> Sample:
    """The same response, with these names and values as fields of its head."""
    lines = b"".join(
        f"{name}: {value}\r\n".encode()
        for name, value in zip(fields[::2], fields[1::2], strict=True)
    )
    head = sample.head.replace(b"200 OK", status.encode())[:-2] + lines + b"\r\n"
    body = sample.body
    if trailer:
        assert body.endswith(b"0\r\n\r\n")
        body = body[:-2] + trailer.encode() + b"\r\n\r\n"
    return Sample(sample.name, head, body, sample.payload, sample.length, sample.closes)
