"""The scripted peer: the other end of a connection, doing what a test tells it.

A test writes the peer's script first, one call a step, and then drives a coroutine of the client
(`tests.support.drive`). The script advances only while the client waits: at each `PollNeeded` whose
readiness has not come, the peer takes one step, or one piece of one. So nothing here needs a
thread or a sleep, and where one packet ends and the next begins is the test's decision::

    peer.expect_request(b'GET / HTTP/1.1')
    peer.reply(b'HTTP/1.1 200 OK\\r\\n')     # arrives while the client waits for the first time
    peer.reply(b'Content-Length: 0\\r\\n\\r\\n')  # arrives when it has come back for more
    peer.close()

The two ends are a real TCP connection on 127.0.0.1, so a reset is a reset. Over TLS the same
script runs: the peer's side of the handshake is no step of the script, it happens by itself.
"""

from __future__ import annotations

import enum
import select
import socket
import ssl
import struct
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tests.support.farend import GUARD, FarEnd
from tests.support.received import ReceivedRequest, parse_head, parse_request


class Progress(enum.Enum):
    """What one attempt at a step came to."""

    WAITING = enum.auto()  # nothing could be done: the client or the kernel has to move first
    MOVED = enum.auto()  # something was done, the step is not finished
    DONE = enum.auto()


@dataclass
class Step:
    text: str
    act: Callable[[], Progress]


class Peer(FarEnd):
    """The far end of one connection. Each public verb adds a step to the script.

    Args:
        sock: a connected socket, or None together with *listener*: accepted from there when due.
        client_fd: the descriptor of the client's end, if known.
        context: a server-side context to speak TLS, else plain.
        after: with *listener*, whether it is this peer's turn to accept.
        chunk: deliver what `reply` is given in pieces of this many bytes, each when asked for.
    """

    def __init__(
        self,
        sock: socket.socket | None = None,
        *,
        listener: socket.socket | None = None,
        after: Callable[[], bool] | None = None,
        client_fd: int | None = None,
        context: ssl.SSLContext | None = None,
        chunk: int | None = None,
    ) -> None:
        super().__init__(sock, listener, after, client_fd, context)
        self.requests: list[ReceivedRequest] = []
        self._chunk = chunk
        self._steps: deque[Step] = deque()

    # ---------------------------------------------------------------- the script

    def expect(self, data: bytes) -> None:
        """Read exactly these bytes; anything else fails the test."""

        def act() -> Progress:
            got = bytes(self._unread[: len(data)])
            assert data.startswith(got), f"peer expected {data!r}, got {bytes(self._unread)!r}"
            if len(got) == len(data):
                del self._unread[: len(data)]
                return Progress.DONE
            return self._receive_more(f"expecting {data!r}")

        self._add(f"expect({_short(data)})", act)

    def expect_request(self, start: bytes = b"", *, body: bytes | None = None) -> None:
        """Read one whole request, head and body; it is appended to `requests`."""

        def act() -> Progress:
            parsed = parse_request(bytes(self._unread))
            if parsed is None:
                return self._receive_more("in the middle of a request")
            request, size = parsed
            assert request.head.startswith(start), f"expected {start!r}, got {request.head!r}"
            assert body is None or request.body == body, f"unexpected body {request.body!r}"
            del self._unread[:size]
            self.requests.append(request)
            return Progress.DONE

        self._add(f"expect_request({_short(start)})", act)

    def expect_head(self, start: bytes = b"") -> None:
        """Read a request's head and leave its body, if any, to later steps."""

        def act() -> Progress:
            head, end, _ = bytes(self._unread).partition(b"\r\n\r\n")
            if not end:
                return self._receive_more("in the middle of a request head")
            assert head.startswith(start), f"expected {start!r}, got {head!r}"
            del self._unread[: len(head) + 4]
            line, fields = parse_head(head)
            self.requests.append(ReceivedRequest(line, fields, b"", head))
            return Progress.DONE

        self._add(f"expect_head({_short(start)})", act)

    def expect_eof(self) -> None:
        """Wait until the client has closed, in whatever way, having sent nothing more."""

        def act() -> Progress:
            assert not self._unread, f"expected the end, got {bytes(self._unread)!r}"
            if self.saw_eof:
                return Progress.DONE
            return Progress.MOVED if self._receive() else Progress.WAITING

        self._add("expect_eof()", act)

    def reply(self, data: bytes, *, chunk: int | None = None) -> None:
        """Send these bytes, *chunk* at a time, each piece when the client has come to wait."""
        size = chunk or self._chunk or len(data) or 1
        pieces = deque(data[i : i + size] for i in range(0, len(data), size))

        def act() -> Progress:
            if not self._out:
                if not pieces:
                    return Progress.DONE
                self._encode(pieces.popleft())
            if not self._flush():
                return Progress.WAITING
            return Progress.MOVED if pieces or self._out else Progress.DONE

        self._add(f"reply({_short(data)})", act)

    def garble(self, data: bytes) -> None:
        """Send these few bytes as they are, past TLS."""

        def act() -> Progress:
            self._out += data
            assert self._flush(), "there is no room for the garbage"
            return Progress.DONE

        self._add(f"garble({_short(data)})", act)

    def reply_pieces(self, pieces: list[bytes]) -> None:
        """Send these, one packet each."""
        for piece in pieces:
            self.reply(piece, chunk=len(piece) or 1)

    def close(self, *, notify: bool = True) -> None:
        """Close in an orderly way; over TLS with a close_notify before the end."""
        noted = False

        def act() -> Progress:
            nonlocal noted
            if notify and self._tls is not None and not noted:
                self._say_goodbye()
                noted = True
            if self._out and not self._flush():
                return Progress.WAITING
            if self._out:
                return Progress.MOVED
            self._drain()
            self._hang_up()
            return Progress.DONE

        self._add(f"close(notify={notify})", act)

    def close_without_notify(self) -> None:
        """Close the TCP connection in an orderly way, over TLS without a close_notify."""
        self.close(notify=False)

    def reset(self) -> None:
        """Tear the connection down with a TCP reset."""

        def act() -> Progress:
            linger = struct.pack("ii", 1, 0)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self._hang_up()
            return Progress.DONE

        self._add("reset()", act)

    def start_tls(self, context: ssl.SSLContext) -> None:
        """Speak TLS from here on, say behind the head that opened a tunnel.

        If TLS was spoken before, that of an https proxy, the new one is inside it.
        """

        def act() -> Progress:
            if self._tls is None:
                self._incoming.write(bytes(self._unread))
                self._unread.clear()
            self._begin_tls(context)
            return Progress.DONE

        self._add("start_tls()", act)

    def end_outer_tls(self) -> None:
        """As the proxy: end its TLS properly, but not the one inside."""

        def act() -> Progress:
            assert self._outer is not None
            self._out += self._outer.goodbye()
            return Progress.DONE if self._flush() else Progress.WAITING

        self._add("end_outer_tls()", act)

    def call(self, function: Callable[[], object]) -> None:
        """Do something of the test's own at this point of the script."""

        def act() -> Progress:
            function()
            return Progress.DONE

        self._add(f"call({function!r})", act)

    # ---------------------------------------------------------------- carrying it out

    @property
    def done(self) -> bool:
        """Whether the script is finished."""
        return not self._steps and self._shaken

    @property
    def idle(self) -> bool:
        """Whether there is nothing to do but to shake hands with a client that may never come."""
        return not self._steps and (self._shaken or self._sock is None)

    def step(self) -> bool:
        """Take the next step or a piece of it; False if that has to wait for something."""
        self._mask = select.POLLIN
        if self._sock is None:
            return self.accept()
        if self._sock.fileno() < 0 and not self._steps:
            return False
        if not self._shaken:
            return self._shake()
        if not self._steps:
            return False
        progress = self._steps[0].act()
        if progress is Progress.DONE:
            self._steps.popleft()
        return progress is not Progress.WAITING

    def run(self) -> None:
        """Go through the rest of the script now: for a peer that needs nothing of the client."""
        give_up = time.monotonic() + GUARD
        while not self.done:
            if self.step():
                continue
            poller = select.poll()
            assert self.fd is not None, f"the peer has closed before {self}"
            poller.register(self.fd, self.mask)
            if not poller.poll(max(0, give_up - time.monotonic()) * 1000):
                raise AssertionError(f"stuck: {self}")

    @contextmanager
    def in_company(self) -> Iterator[None]:
        """For a step while the client moves too: it does not wait to see its bytes arrive."""
        self._alone = False
        try:
            yield
        finally:
            self._alone = True

    @contextmanager
    def in_thread(self) -> Iterator[None]:
        """Carry the script out in a thread, for the blocking methods that need it."""
        self._alone = False
        errors: list[BaseException] = []

        def run() -> None:
            try:
                self.run()
            except BaseException as exc:
                errors.append(exc)
                self.abandon()

        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield
        finally:
            thread.join()
            if errors:
                raise errors[0]

    def abandon(self) -> None:
        """Close whatever is open, script or no script."""
        self._steps.clear()
        self._shaken = True
        if self._sock is not None:
            self._sock.close()

    def check(self) -> None:
        """Assert that the whole script was played and the client said nothing beyond it."""
        assert self.done, f"not played to the end: {self}"
        assert not self._unread, f"not expected: {bytes(self._unread)!r}"

    def __str__(self) -> str:
        steps = ", ".join(step.text for step in self._steps) or "no step left"
        tls = "" if self._shaken else ", TLS handshake unfinished"
        return f"peer(to do: {steps}{tls}; unread: {_short(bytes(self._unread))})"

    def _add(self, text: str, act: Callable[[], Progress]) -> None:
        self._steps.append(Step(text, act))

    def _receive_more(self, where: str) -> Progress:
        assert not self.saw_eof, f"the client has gone, {where}; {self}"
        return Progress.MOVED if self._receive() else Progress.WAITING


def _short(data: bytes) -> str:
    return repr(data) if len(data) <= 60 else f"{data[:50]!r}… {len(data)} bytes"
