"""Sockets that call a function of the test right behind each call of the system.

What happens between such a call and the next line of the client is otherwise a matter of luck: an
interrupt, an answer that comes at once.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable

import pytest

from tests.support.tapped import Tap

SENDING = frozenset(("send", "sendmsg", "sendfile"))
RECEIVING = frozenset(("recv", "recv_into", "read"))


class Hook(Tap):
    """The tap of such a socket.

    Attributes:
        call: is given the name of each call that did something.
    """

    def __init__(self) -> None:
        self.call: Callable[[str], object] = lambda name: None

    def behind(self, name: str, count: int) -> None:
        self.call(name)

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


def hook_sendfile(monkeypatch: pytest.MonkeyPatch, hook: Hook) -> None:
    """`os.sendfile` is no method of the socket."""
    system = os.sendfile

    def sendfile(out: int, file: int, offset: int, count: int) -> int:
        sent = system(out, file, offset, count)
        hook.behind("sendfile", sent)
        return sent

    monkeypatch.setattr(os, "sendfile", sendfile)
