"""What the real servers serve: the same resources whoever serves them.

Test data is computed, so that a test knows what it must receive without asking anybody:
`document(n)` is the content of ``/doc/n.txt``, and `large_blocks()` that of ``/doc/large.bin``.

`app` is an ASGI application with the resources that nginx gets by its configuration (see
`tests.support.servers`):

- ``/doc/…``         with a Content-Length, from the directory named by ``DOCUMENTS``
- ``/chunked/…``     the same content, chunked
- ``/upload``        reads the body and reports it as JSON: what arrived and how it was framed
- ``/echo``          sends the body back as it comes in
- ``/denied``        403, without looking at the body
- ``/no-content``    204
- ``/redirect``      302 to ``/doc/1.txt``
"""

from __future__ import annotations

import hashlib
import json
import os
import random
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from functools import cache
from pathlib import Path
from typing import Any

MIB = 1 << 20

DOCUMENTS = 1200
LARGE_SIZE = 32 * MIB
HUGE_SIZE = 128 * MIB

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


@cache
def document(n: int) -> bytes:
    """Return the content of document *n*: text of 0 to 16 KiB that no other document has.

    A thousand of them are more than the buffers between two sockets hold, so a client that stops
    reading while it sends comes to a halt.
    """
    size = n * 7919 % 16384
    line = b"document %d line %%d\n" % n
    text = b"".join(line % i for i in range(size // len(line) + 1))
    return text[:size]


def large_blocks() -> Iterator[bytes]:
    """Yield the content of the large file: no block is like another, so none can be mixed up."""
    for i in range(LARGE_SIZE // MIB):
        yield random.Random(i).randbytes(MIB)


def write_documents(directory: Path) -> None:
    """Lay out the files that all servers serve."""
    for n in range(DOCUMENTS):
        (directory / f"{n}.txt").write_bytes(document(n))
    with (directory / "large.bin").open("wb") as fh:
        fh.writelines(large_blocks())
    # Sparse, but each MiB begins with its number.
    with (directory / "huge.bin").open("wb") as fh:
        fh.truncate(HUGE_SIZE)
        for i in range(HUGE_SIZE // MIB):
            fh.seek(i * MIB)
            fh.write(b"%08d" % i)


async def _body(receive: Receive) -> list[bytes]:
    parts = []
    while True:
        event = await receive()
        parts.append(event.get("body", b""))
        if not event.get("more_body", False):
            return parts


async def _reply(send: Send, status: int, fields: dict[str, str], body: bytes = b"") -> None:
    await send(
        {
            "type": "http.response.start",
            "status": status,
            "headers": [(k.encode(), v.encode()) for (k, v) in fields.items()],
        }
    )
    await send({"type": "http.response.body", "body": body})


async def _send_file(scope: Scope, send: Send, path: Path, *, chunked: bool) -> None:
    if not path.is_file():
        await _reply(send, 404, {"content-length": "0"})
        return
    headers = [] if chunked else [(b"content-length", b"%d" % path.stat().st_size)]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    if scope["method"] != "HEAD":
        with path.open("rb") as fh:
            while block := fh.read(64 * 1024):
                await send({"type": "http.response.body", "body": block, "more_body": True})
    await send({"type": "http.response.body"})


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Serve the resources that the module's docstring lists."""
    assert scope["type"] == "http"
    path = scope["path"]
    (_, room, *rest) = path.split("/")
    if room in ("doc", "chunked") and len(rest) == 1:
        file = Path(os.environ["DOCUMENTS"], rest[0])
        await _send_file(scope, send, file, chunked=room == "chunked")
    elif path == "/upload":
        fields = {k.decode(): v.decode() for (k, v) in scope["headers"]}
        body = b"".join(await _body(receive))
        report = {
            "method": scope["method"],
            "length": len(body),
            "sha256": hashlib.sha256(body).hexdigest(),
            "content_length": fields.get("content-length"),
            "transfer_encoding": fields.get("transfer-encoding"),
        }
        text = json.dumps(report).encode()
        await _reply(send, 200, {"content-length": str(len(text))}, text)
    elif path == "/echo":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for part in await _body(receive):
            await send({"type": "http.response.body", "body": part, "more_body": True})
        await send({"type": "http.response.body"})
    elif path == "/denied":
        await _reply(send, 403, {"content-length": "6"}, b"denied")
    elif path == "/no-content":
        await _reply(send, 204, {})
    elif path == "/redirect":
        await _reply(send, 302, {"location": "/doc/1.txt", "content-length": "0"})
    else:
        await _reply(send, 404, {"content-length": "0"})
