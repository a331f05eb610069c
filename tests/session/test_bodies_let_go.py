"""No body stays alive because of us once its exchange is over, and no used-up one is sent again."""

from __future__ import annotations

import gc
import io
import weakref
from collections.abc import Awaitable, Callable
from typing import Any

from dugong import AsyncHTTPConnection, Request
from tests.support.exchanges import EMPTY, OK
from tests.support.in_turn import in_turn
from tests.support.peer import Peer
from tests.support.styles import StyledWire
from tests.support.uploads import CONTINUE, TOO_LARGE, Taken

Exchange = Callable[[AsyncHTTPConnection, Any], Awaitable[None]]


class Bytes(bytearray):
    """To which weak references are possible."""


class Big:
    """What an iterator without weak references refers to."""

    def lower(self) -> bytes:
        return b"abc"


def mapped() -> tuple[Any, Any]:
    big = Big()
    return map(Big.lower, [big]), big


def alone(body: Any) -> tuple[Any, Any]:
    return body, body


BODIES: dict[str, Callable[[], tuple[Any, Any]]] = {  # a body, and what it keeps alive
    "bytes": lambda: alone(Bytes(b"abc")),
    "file": lambda: alone(io.BytesIO(b"abc")),
    "generator": lambda: alone(block for block in [b"abc"]),
    "iterator": lambda: alone(Taken(b"abc")),
    "map": mapped,
}


async def by_request(conn: AsyncHTTPConnection, body: Any) -> None:
    await conn.request("PUT", "/", body=body, expect100=False)


async def by_asking_first(conn: AsyncHTTPConnection, body: Any) -> None:
    await conn.request("PUT", "/", {"Content-Length": 3}, body, expect100=True)


async def by_sending(conn: AsyncHTTPConnection, body: Any) -> None:
    await conn.send_request("PUT", "/", body=body)
    await conn.read_response()


async def by_pipeline(conn: AsyncHTTPConnection, body: Any) -> None:
    async for _ in conn.pipeline([Request("PUT", "/", body=body)]):
        pass


def taken(reply: bytes) -> Callable[[Peer], None]:
    def play(peer: Peer) -> None:
        peer.expect_request(body=b"abc")
        peer.reply(reply)

    return play


def accepted(peer: Peer) -> None:
    peer.expect_head()
    peer.reply(CONTINUE)
    peer.expect(b"abc")
    peer.reply(EMPTY)


def refused(peer: Peer) -> None:
    peer.expect_head()
    peer.reply(TOO_LARGE)


def answered_at_once(peer: Peer) -> None:
    """With something else than a refusal, so that the body is sent all the same."""
    peer.expect_head()
    peer.reply(EMPTY)


EXCHANGES: dict[str, tuple[Exchange, Callable[[Peer], None]]] = {
    "request": (by_request, taken(OK)),
    "no content": (by_request, taken(EMPTY)),
    "asked first": (by_asking_first, accepted),
    "refused": (by_asking_first, refused),
    "send_request": (by_sending, taken(EMPTY)),
    "pipeline": (by_pipeline, taken(OK)),
    "answered at once": (by_pipeline, answered_at_once),
}


@in_turn("kind", EXCHANGES)
async def test_nothing_stays_alive(wire: StyledWire, kind: str) -> None:
    """The connection is not even used again."""
    ask, play = EXCHANGES[kind]
    used: list[Any] = []
    for make in BODIES.values():
        conn, peer = wire.pair()
        play(peer)
        body, kept = make()
        used.append((conn, weakref.ref(kept)))
        del kept
        await ask(conn, body)
        await conn.discard()
        del body
    gc.collect()
    assert [ref() for _, ref in used] == [None] * len(BODIES)
