"""The default limits of `Client.many`, which is loaded only when it is used."""

from __future__ import annotations

#: Requests in flight, of all hosts, and of one.
LIMIT = 64
PER_HOST = 8

#: Bytes of a body, decoded.
MAX_BODY = 16 << 20

#: Requests that were read and have not ended.
WINDOW = 10_000
