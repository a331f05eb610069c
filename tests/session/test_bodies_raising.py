"""Exceptions of the caller's own iterables and files: they arrive as they are.

Of whatever class they are, they are the body's failure, and never mistaken for one of the
connection.
"""

from __future__ import annotations

import errno
import io
import os
import tempfile
from collections.abc import Callable
from typing import Any

import pytest

from dugong import (
    BodyChanged,
    ConnectionClosed,
    ConnectionTimedOut,
    InvalidResponse,
    Request,
    StateError,
)
from tests.support.drive import drive
from tests.support.exchanges import OK, works
from tests.support.in_turn import in_turn
from tests.support.pipeline_server import Server
from tests.support.styles import StyledWire
from tests.support.uploads import WAYS, complete, raising
from tests.support.wire import Wire


class Own(Exception):
    """Of the program's own."""


ERRORS: dict[str, Callable[[], Exception]] = {
    "own": Own,
    "closed": lambda: ConnectionClosed("mine"),
    "timed out": lambda: ConnectionTimedOut("mine"),
    "state": lambda: StateError("mine"),
    "response": lambda: InvalidResponse("mine"),
    "changed": lambda: BodyChanged("mine"),
    "reset": lambda: ConnectionResetError(errno.ECONNRESET, "mine"),
    "blocking": lambda: BlockingIOError(errno.EAGAIN, "mine"),
    "type": lambda: TypeError("mine"),
}


class Failing(io.BytesIO):
    """A file that fails when it is read, at once or behind its first block."""

    def __init__(self, error: Exception, first: bytes) -> None:
        super().__init__(first)
        self._error = error

    def read(self, size: int | None = -1) -> bytes:
        block = super().read(size)
        if not block:
            raise self._error
        return block

    def seekable(self) -> bool:
        return False


class FailingLater(Failing):
    """The same, that can seek, and so is sent with its length."""

    def seekable(self) -> bool:
        return True

    def read(self, size: int | None = -1) -> bytes:
        return super().read(3)


BODIES: dict[str, Callable[[Exception, list[bytes]], Any]] = {
    "generator": lambda error, blocks: raising(blocks, error),
    "file": lambda error, blocks: Failing(error, b"".join(blocks)),
    "file that seeks": lambda error, blocks: FailingLater(error, b"".join(blocks)),
}


@in_turn("blocks", [[], [b"abc"]], ids=["at once", "later"])
@in_turn("kind", BODIES)
@in_turn("name", ERRORS)
async def test_it_passes_through(
    wire: StyledWire, name: str, kind: str, blocks: list[bytes]
) -> None:
    for ask in WAYS.values():
        for headers in ({}, {"Content-Length": 9}):
            conn, peer = wire.pair()
            error = ERRORS[name]()
            body = BODIES[kind](error, blocks)
            with pytest.raises(type(error)) as caught:
                await ask(conn, "PUT", headers=headers, body=body, expect100=False)
            assert caught.value is error
            assert str(error).endswith("mine") or name == "own"
            assert error.__cause__ is None
            found = vars(error)
            assert found["bytes_sent"] == conn.bytes_sent
            assert found["unanswered"][0].body is body
            assert not complete(peer)


@in_turn("name", ERRORS)
async def test_before_anything_is_sent(wire: StyledWire, name: str) -> None:
    """The request was never made, and the connection is as good as before."""
    for ask in WAYS.values():
        conn, peer = wire.pair()
        peer.expect_request()
        peer.reply(OK)
        await conn.request("GET", "/")
        assert await conn.readall() == b"hi"
        error = ERRORS[name]()
        with pytest.raises(type(error)) as caught:
            await ask(conn, "PUT", headers={"Content-Length": 0}, body=raising([], error))
        assert caught.value is error
        assert vars(error)["bytes_sent"] == 0
        await works(conn, peer)


@in_turn("name", ERRORS)
@in_turn("kind", BODIES)
async def test_in_a_pipeline(wire: StyledWire, name: str, kind: str) -> None:
    """It is raised in its place, and costs no other request a repetition."""
    server = Server(wire)
    conn = wire.dial(server.listener)
    error = ERRORS[name]()
    body = BODIES[kind](error, [b"abc"])
    requests: list[Any] = ["/0", Request("PUT", "/1", body=body), "/2", "/3"]
    pipeline = conn.pipeline(requests)
    assert (await anext(pipeline)).path == "/0"
    with pytest.raises(type(error)) as caught:
        await anext(pipeline)
    assert caught.value is error
    assert vars(error)["unanswered"][0] is requests[1]
    assert [response.path async for response in pipeline] == ["/2", "/3"]
    assert server.targets == ["/0", "/2", "/3"]


@pytest.mark.parametrize("code", [errno.EIO, errno.ESTALE, errno.EACCES, errno.ENOMEM])
def test_sendfile_fails(plain: Wire, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    """Reading the file works, or fails with the file's own error: the connection is not broken."""

    def fails(*args: Any) -> int:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "sendfile", fails)
    for ask in WAYS.values():
        with tempfile.TemporaryFile() as file:
            file.write(b"abc")
            file.seek(0)
            conn, peer = plain.pair()
            peer.expect_request(body=b"abc")
            peer.reply(OK)
            drive(ask(conn, "PUT", body=file), peer)
            works(conn, peer)
            file.seek(0)
            conn, peer = plain.pair()
            with monkeypatch.context() as patch:
                patch.setattr(os, "pread", fails)
                with pytest.raises(OSError, match=os.strerror(code)) as caught:
                    drive(ask(conn, "PUT", body=file), peer)
            assert not isinstance(caught.value, ConnectionClosed)
            assert file.tell() == 0
