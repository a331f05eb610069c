"""The server that `demo.py` talks to: an ASGI application for granian."""

from __future__ import annotations

import gzip
from collections.abc import Awaitable, Callable, MutableMapping
from functools import lru_cache
from hashlib import sha256
from typing import Any

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

FILM_SIZE = 128 << 20
_BLOCK = bytes(range(256)) * 4096


def document(number: int) -> bytes:
    """Return the content of ``/documents/<number>``. No two documents are equal."""
    return f"This is document {number}.\n".encode() * (1 + number % 40)


def page(number: int) -> bytes:
    """Return the content of ``/pages/<number>``, which is sent compressed."""
    return document(number) * 100


@lru_cache
def _compressed_page(number: int) -> bytes:
    return gzip.compress(page(number))


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Serve documents, pages and one film, redirect, and accept uploads in one place."""
    if scope["type"] != "http":
        return
    path = scope["path"]
    if path.startswith("/documents/"):
        await _answer(send, 200, document(int(path.rpartition("/")[2])))
    elif path.startswith("/old/"):
        target = f"/documents/{path.rpartition('/')[2]}"
        await _answer(send, 302, b"It has moved.\n", (b"location", target.encode()))
    elif path.startswith("/pages/"):
        body = _compressed_page(int(path.rpartition("/")[2]))
        await _answer(send, 200, body, (b"content-encoding", b"gzip"))
    elif path == "/film":
        await _head(send, 200, FILM_SIZE)
        for _ in range(FILM_SIZE // len(_BLOCK)):
            await send({"type": "http.response.body", "body": _BLOCK, "more_body": True})
        await send({"type": "http.response.body"})
    elif path.startswith("/inbox/"):
        digest, more = sha256(), True
        while more:
            part = await receive()  # the first of these makes the server say 100 (Continue)
            digest.update(part.get("body", b""))
            more = part.get("more_body", False)
        await _answer(send, 200, digest.hexdigest().encode())
    else:
        await _answer(send, 403, b"Not here.\n")


async def _head(send: Send, status: int, length: int, *more: tuple[bytes, bytes]) -> None:
    fields = [(b"content-length", b"%d" % length), *more]
    await send({"type": "http.response.start", "status": status, "headers": fields})


async def _answer(send: Send, status: int, body: bytes, *more: tuple[bytes, bytes]) -> None:
    await _head(send, status, len(body), *more)
    await send({"type": "http.response.body", "body": body})
