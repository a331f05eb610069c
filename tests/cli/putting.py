"""What the tests of `dugong put` share."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tests.cli.command import COMMAND, Listener, head
from tests.support.apps import MIB
from tests.support.servers import HOST, Endpoint
from tests.support.uploads import CONTINUE

CREATED = b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n"

#: More than sockets hold, and enough to be asked for first (100-continue).
LARGE = bytes(range(256)) * (24 * MIB // 256)


def url_of(endpoint: Endpoint, path: str) -> str:
    return f"{'https' if endpoint.context else 'http'}://{HOST}:{endpoint.port}{path}"


def fed(source: Path | str, redirection: str = "cat") -> Sequence[str]:
    """Return the command, with a pipe from *source* as its standard input."""
    return ["/bin/sh", "-c", f'{redirection} "$0" | "$@"', str(source), *COMMAND]


def fields_of(request: bytes) -> dict[str, str]:
    lines = request.decode().splitlines()[1:-1]
    return {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}


def uploaded(listener: Listener, response: bytes = CREATED) -> tuple[bytes, bytes]:
    """Answer one request with a body of known length. Returns its head and its body."""
    with listener.accept() as sock:
        request = head(sock)
        fields = fields_of(request)
        if "expect" in fields:
            sock.sendall(CONTINUE)
        body = b""
        while len(body) < int(fields["content-length"]):
            body += sock.recv(1 << 20)
        sock.sendall(response)
        return request, body
