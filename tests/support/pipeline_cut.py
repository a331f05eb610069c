"""Client sockets that have the server act when a certain byte has been sent, in mid-send."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Iterable
from typing import Any

import pytest

from tests.support.wire import AnyWire


class Cut:
    """What is to happen on a connection, and when.

    Args:
        left: so many bytes of the client's are sent before it happens.
        act: does it.
    """

    def __init__(self, left: int, act: Callable[[], object]) -> None:
        self._left = left
        self._act = act

    def room(self, count: int) -> int:
        """How many of *count* bytes may be sent in one go."""
        if self._left <= 0:
            return count
        return min(count, self._left)

    def sent(self, count: int) -> int:
        if self._left > 0:
            self._left -= count
            if self._left == 0:
                self._act()
        return count


NEVER = Cut(0, lambda: None)


class CutSocket(socket.socket):
    """A socket that, if it connects, is subject to the next cut."""

    coming: list[Cut]
    cut = NEVER

    def connect_ex(self, address: Any, /) -> int:
        if self.coming:
            self.cut = self.coming.pop(0)
        return super().connect_ex(address)

    def send(self, data: Any, flags: int = 0) -> int:
        view = memoryview(data).cast("B")
        return self.cut.sent(super().send(view[: self.cut.room(len(view))], flags))

    def sendmsg(self, buffers: Iterable[Any], *args: Any) -> int:
        return self.send(b"".join(bytes(buffer) for buffer in buffers))


class CutSSLSocket(ssl.SSLSocket):
    coming: list[Cut]
    cut: Cut | None = None

    def send(self, data: Any, flags: int = 0) -> int:
        if self.cut is None:
            self.cut = self.coming.pop(0) if self.coming else NEVER
        view = memoryview(data).cast("B")
        return self.cut.sent(super().send(view[: self.cut.room(len(view))], flags))


def cutting(wire: AnyWire[Any], monkeypatch: pytest.MonkeyPatch, cuts: list[Cut]) -> dict[str, Any]:
    """Make the connections to come subject to these cuts; returns options to dial with."""
    if not wire.tls:
        monkeypatch.setattr(socket, "socket", type("Socket", (CutSocket,), {"coming": cuts}))
        return {}
    context = wire.certificates.new_client()
    context.sslsocket_class = type("Socket", (CutSSLSocket,), {"coming": cuts})
    return {"ssl_context": context}
