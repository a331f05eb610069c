"""What a scripted peer makes of the bytes a client sent: requests."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class ReceivedRequest:
    """One request as it came over the wire."""

    line: str
    fields: tuple[tuple[str, str], ...]
    body: bytes
    head: bytes
    chunks: tuple[bytes, ...] = ()
    trailers: bytes = b""

    @property
    def method(self) -> str:
        return self.line.split(" ")[0]

    @property
    def target(self) -> str:
        return self.line.split(" ")[1]

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.fields if key.lower() == name.lower()]

    def get(self, name: str) -> str | None:
        """The one value of this field, None if absent."""
        values = self.all(name)
        assert len(values) <= 1, f"{name} was sent {len(values)} times"
        return values[0] if values else None


def parse_head(head: bytes) -> tuple[str, tuple[tuple[str, str], ...]]:
    line, *rest = head.decode("latin-1").split("\r\n")
    fields = []
    for text in rest:
        name, colon, value = text.partition(":")
        assert colon, f"no field line: {text!r}"
        fields.append((name, value.strip(" \t")))
    return line, tuple(fields)


def parse_request(data: bytes) -> tuple[ReceivedRequest, int] | None:
    """The request that *data* begins with and its size, or None if more is needed."""
    head, end, rest = data.partition(b"\r\n\r\n")
    if not end:
        return None
    line, fields = parse_head(head)
    lower = {name.lower(): value for name, value in fields}
    start = len(head) + 4
    if "transfer-encoding" in lower:
        assert lower["transfer-encoding"].lower() == "chunked"
        return _parse_chunked(line, fields, head, data, start)
    size = int(lower.get("content-length", "0"))
    if len(rest) < size:
        return None
    return ReceivedRequest(line, fields, rest[:size], head), start + size


def _parse_chunked(
    line: str, fields: tuple[tuple[str, str], ...], head: bytes, data: bytes, pos: int
) -> tuple[ReceivedRequest, int] | None:
    chunks: list[bytes] = []
    while True:
        hit = re.compile(rb"([0-9a-f]+)\r\n").match(data, pos)
        if hit is None:
            assert len(data) - pos < 20, f"no chunk line: {data[pos : pos + 20]!r}"
            return None
        size = int(hit[1], 16)
        if size == 0:
            break
        pos = hit.end() + size + 2
        if len(data) < pos:
            return None
        assert data[pos - 2 : pos] == b"\r\n", "a chunk is not followed by CRLF"
        chunks.append(data[hit.end() : pos - 2])
    end = data.find(b"\r\n\r\n", hit.end() - 2)
    if end < 0:
        return None
    trailers = data[hit.end() : end + 2]
    body = b"".join(chunks)
    return ReceivedRequest(line, fields, body, head, tuple(chunks), trailers), end + 4
