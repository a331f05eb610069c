"""Connections and pipelines cannot be copied or pickled, and say so without leaving anything."""

from __future__ import annotations

import asyncio
import copy
import gc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dugong import AioFuture, AsyncHTTPConnection, HTTPConnection
from tests.support.copies import every_way
from tests.support.drive import drive
from tests.support.wire import Wire


@pytest.mark.parametrize("kind", [HTTPConnection, AsyncHTTPConnection])
@pytest.mark.parametrize("used", [False, True])
@every_way
def test_connection_cannot_be_copied(
    wire: Wire, kind: Any, used: bool, copied: Callable[[Any], Any], capfd: Any
) -> None:
    class Own(kind):  # type: ignore[misc]
        pass

    listener = wire.listen()
    peer = listener.peer()
    options = {"address": listener.address, "ssl_context": wire.client_context}
    for conn in (kind("localhost", **options), Own("localhost", **options)):
        if used and conn.__class__ is kind:
            drive(conn.co_connect(), peer)
        for value in (conn, conn.pipeline([]), [conn], {"conn": conn}):
            if copied is copy.copy and isinstance(value, list | dict):
                continue
            with pytest.raises(TypeError, match="cannot be copied or pickled"):
                copied(value)
        gc.collect()  # finalizers of what was half made
        assert conn.__class__ is Own or conn._session is None or not conn._session.closed
        conn.disconnect()
    assert capfd.readouterr() == ("", "")


def test_message_names_the_class() -> None:
    with pytest.raises(TypeError, match="AsyncHTTPConnection"):
        copy.copy(AsyncHTTPConnection("h"))


@every_way
def test_future_cannot_be_copied(copied: Callable[[Any], Any], tmp_path: Path, capfd: Any) -> None:
    async def main() -> None:
        conn = AsyncHTTPConnection("h", unix_socket=str(tmp_path / "nothing"))
        future = AioFuture(conn.co_connect())
        with pytest.raises(TypeError):
            copied(future)
        gc.collect()
        with pytest.raises(FileNotFoundError):
            await future

    asyncio.run(main())
    assert capfd.readouterr() == ("", "")
