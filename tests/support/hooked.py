"""Connections whose socket calls a function of the test right behind each call of the system.

What happens between such a call and the next line of the client is otherwise a matter of luck: an
interrupt, an answer that comes at once.
"""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import Callable, Iterable
from typing import Any

import pytest

from dugong import HTTPConnection
from tests.support.peer import Peer
from tests.support.wire import HOST, Wire, tcp_pair

SENDING = frozenset(("send", "sendmsg", "sendfile"))
RECEIVING = frozenset(("recv", "recv_into"))


class Hook:
    """What the sockets call.

    Attributes:
        call: is given the name of each call that did something.
    """

    def __init__(self) -> None:
        self.call: Callable[[str], object] = lambda name: None

    def behind(self, name: str, result: Any) -> Any:
        self.call(name)
        return result

    def interrupt(self, calls: Iterable[str], after: int = 0) -> None:
        """Raise `KeyboardInterrupt` behind one of these calls, once, *after* so many of them."""
        names, left = frozenset(calls), after

        def call(name: str) -> None:
            nonlocal left
            if name in names:
                left -= 1
                if left < 0:
                    self.call = lambda name: None
                    raise KeyboardInterrupt

        self.call = call


class HookedSocket(socket.socket):
    hook: Hook

    def send(self, data: Any, flags: int = 0) -> int:
        return int(self.hook.behind("send", super().send(data, flags)))

    def sendmsg(self, buffers: Iterable[Any], *args: Any) -> int:
        return int(self.hook.behind("sendmsg", super().sendmsg(buffers, *args)))

    def recv(self, bufsize: int, flags: int = 0) -> bytes:
        return bytes(self.hook.behind("recv", super().recv(bufsize, flags)))

    def recv_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> int:
        return int(self.hook.behind("recv_into", super().recv_into(buffer, nbytes, flags)))


class HookedSSLSocket(ssl.SSLSocket):
    hook: Hook

    def send(self, data: Any, flags: int = 0) -> int:
        return int(self.hook.behind("send", super().send(data, flags)))

    def read(self, size: int = 1024, buffer: Any = None) -> Any:  # behind recv and recv_into too
        return self.hook.behind("recv", super().read(size, buffer))


def hooked_pair(wire: Wire, hook: Hook, **options: Any) -> tuple[HTTPConnection, Peer]:
    """A connection that was handed such a socket, and the peer at the other end."""
    near, far = tcp_pair(small=False)
    context = wire.client_context
    if context is None:
        kind: Any = type("Socket", (HookedSocket,), {"hook": hook})
        near = kind(fileno=near.detach())
    else:
        context = wire.certificates.new_client()
        context.sslsocket_class = type("Socket", (HookedSSLSocket,), {"hook": hook})
    server = wire.certificates.server if wire.tls else None
    peer = Peer(far, client_fd=near.fileno(), context=server)
    wire.adopt_peer(peer)
    wire.adopt(near.close)
    return wire.connection(HOST, sock=near, ssl_context=context, **options), peer


def hook_sendfile(monkeypatch: pytest.MonkeyPatch, hook: Hook) -> None:
    """`os.sendfile` is no method of the socket."""
    sendfile = os.sendfile
    monkeypatch.setattr(os, "sendfile", lambda *args: int(hook.behind("sendfile", sendfile(*args))))
