"""A proxy that breaks one connection at one byte, and drives the client that meets it.

The proxy stands between a client and a real server, in the test's own thread. `FaultyProxy.drive`
resumes the client's coroutine, and while that waits moves what there is to move. At its fault's
offset it closes or resets the connection, passes nothing on from there (a stall), or changes a
byte (a flip). Connections that the client makes after the first are passed on as they are.

Nothing here measures time. That nothing will move any more is known, not guessed, even though
the server is another process: it serves in one thread, which answers other requests of ours only
after it has done all it could for this one (`Upstream.finish`). The time limit that a client has
in real life then comes at once.
"""

from __future__ import annotations

import fcntl
import os
import select
import socket
import struct
import termios
import time
from collections.abc import Generator
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

from dugong import ConnectionTimedOut, PollNeeded
from tests.support.farend import GUARD, _find_socket

T = TypeVar("T")

#: What a client may be doing: it waits for something, or (None) goes on by itself, but lets the
#: other end have its turn first.
Client = Generator[PollNeeded | None, None, T]

#: More than any exchange here takes. A client that is resumed more often goes round in circles.
MAX_RESUMPTIONS = 1000

_HUNG_UP = select.POLLHUP | select.POLLERR | getattr(select, "POLLRDHUP", 0)


class Kind(StrEnum):
    """What happens."""

    CLOSE = "close"
    RESET = "reset"
    STALL = "stall"
    FLIP = "flip"


class Direction(StrEnum):
    """Which bytes are counted."""

    UP = "up"  # from the client to the server
    DOWN = "down"


@dataclass(frozen=True)
class Fault:
    """What is to happen instead of passing on the byte at this offset of this direction.

    Attributes:
        mask: the bits that a flip changes.
    """

    kind: Kind
    direction: Direction
    offset: int
    mask: int = 0

    def __str__(self) -> str:
        text = f"{self.kind} at offset {self.offset} {self.direction}"
        return f"{text}, bits {self.mask:#04x}" if self.mask else text


@dataclass(frozen=True)
class Upstream:
    """The server behind the proxy.

    Attributes:
        address: where it is: a path, or a host and port.
        idle: the same without TLS, for requests of our own.
    """

    address: str | tuple[str, int]
    idle: str | tuple[str, int]

    def connect(self) -> socket.socket:
        sock = _connected(self.address)
        sock.setblocking(False)
        return sock

    def settle(self) -> None:
        """Return when the server has done all it can do with what it was sent.

        It takes what has arrived on all connections in turns, and each of these requests takes it
        two of them: one to accept and one to answer.
        """
        for _ in range(2):
            with _connected(self.idle) as sock:
                sock.settimeout(GUARD)
                sock.sendall(b"HEAD /no-content HTTP/1.0\r\n\r\n")
                while sock.recv(1 << 12):
                    pass


def _connected(address: str | tuple[str, int]) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX if isinstance(address, str) else socket.AF_INET)
    if sock.family != socket.AF_UNIX:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.connect(address)
    return sock


class Line:
    """One connection of the client's, and the one to the server that was made for it.

    Args:
        near: the connection that the client has made.
        far: the one to the server.
        fault: what happens here, if anything.

    Attributes:
        arrived: what each side has sent.
        passed: how many bytes were passed on, by direction.
        tripped: whether the fault has happened.
    """

    def __init__(self, near: socket.socket, far: socket.socket, fault: Fault | None) -> None:
        self._near = near
        self._far = far
        self.fault = fault
        self.arrived = {direction: bytearray() for direction in Direction}
        self.passed = dict.fromkeys(Direction, 0)
        self.tripped = False
        self._over: set[Direction] = set()  # the end was met, or no more is taken
        self._client_fd = _find_socket(near.getpeername())
        self._client_inode = 0 if self._client_fd is None else os.fstat(self._client_fd).st_ino

    @property
    def is_cut(self) -> bool:
        return self._near.fileno() < 0

    @property
    def to_be_cut(self) -> bool:
        """Whether the fault has happened, and nothing is left but to end the connections."""
        fault = self.fault
        return (
            fault is not None
            and fault.kind in (Kind.CLOSE, Kind.RESET)
            and self.tripped
            and not self.is_cut
        )

    def watched(self) -> dict[Direction, socket.socket]:
        """The sockets from which something may come."""
        ends = {Direction.UP: self._near, Direction.DOWN: self._far}
        return {} if self.is_cut else {d: ends[d] for d in Direction if d not in self._over}

    def move(self, direction: Direction) -> bool:
        """Pass on what has come; whether anything had."""
        source = self.watched().get(direction)
        if source is None:
            return False
        try:
            data = source.recv(1 << 16)
        except BlockingIOError:
            return False
        except ConnectionResetError:
            data = b""
        self.arrived[direction] += data
        if not data:
            self._over.add(direction)
            with suppress(OSError):
                self._target(direction).shutdown(socket.SHUT_WR)
            return True
        fault = self.fault
        if fault is not None and not self.tripped and fault.direction is direction:
            before = fault.offset - self.passed[direction]
            if before < len(data):
                self.tripped = True
                data = self._broken(fault, data, before)
        self._pass(direction, data)
        return True

    def _broken(self, fault: Fault, data: bytes, before: int) -> bytes:
        """Return what is passed on of *data*, in which the fault's offset lies."""
        if fault.kind is Kind.FLIP:
            return data[:before] + bytes([data[before] ^ fault.mask]) + data[before + 1 :]
        self._over.add(fault.direction)
        return data[:before]

    def _target(self, direction: Direction) -> socket.socket:
        return self._far if direction is Direction.UP else self._near

    def _pass(self, direction: Direction, data: bytes) -> None:
        self.passed[direction] += len(data)
        here = self._backlog() if direction is Direction.DOWN else None
        with suppress(BrokenPipeError, ConnectionResetError):
            assert self._target(direction).send(data) == len(data), f"no room {direction}"
            if here is not None:
                self._until_arrived(here + len(data))

    def _until_arrived(self, count: int) -> None:
        give_up = time.monotonic() + GUARD
        while (self._backlog() or 0) < count:
            assert time.monotonic() < give_up, "what was passed on did not reach the client"

    def _backlog(self) -> int | None:
        """The bytes that the client has not taken, ``None`` if it has closed."""
        if not self._client_is_there():
            return None
        assert self._client_fd is not None
        (count,) = struct.unpack("i", fcntl.ioctl(self._client_fd, termios.FIONREAD, bytes(4)))
        return int(count)

    def _client_is_there(self) -> bool:
        if self._client_fd is None:
            return False
        try:
            return os.fstat(self._client_fd).st_ino == self._client_inode
        except OSError:
            return False

    def cut(self) -> None:
        """End both connections in the fault's way; return when the client can know of it."""
        assert self.fault is not None
        if self.fault.kind is Kind.RESET:
            _close_by_reset(self._near)
        else:  # to close on unread bytes would be a reset
            with suppress(BlockingIOError, ConnectionResetError):
                while self._near.recv(1 << 16):
                    pass
        self.close()
        if self._client_is_there():
            assert self._client_fd is not None
            poller = select.poll()
            poller.register(self._client_fd, _HUNG_UP)
            assert poller.poll(GUARD * 1000), "the end did not reach the client"

    def close(self) -> None:
        self._near.close()
        self._far.close()


def _close_by_reset(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


class FaultyProxy:
    """Listens for connections of one client at a time, and breaks the first of them.

    Args:
        upstream: the server.

    Attributes:
        lines: its connections so far.
        clock: is put forward when a client that waits wants to be resumed after some time anyway.
    """

    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.setblocking(False)
        self._fault: Fault | None = None
        self.lines: list[Line] = []
        self.clock = 0.0

    @property
    def address(self) -> tuple[str, int]:
        host, port = self._listener.getsockname()
        return host, port

    def begin(self, fault: Fault | None) -> None:
        """Let go of all connections; the next one meets this fault."""
        with suppress(BlockingIOError):
            while True:
                self._listener.accept()[0].close()
        for line in self.lines:
            line.close()
        self.lines.clear()
        self._fault = fault

    def close(self) -> None:
        self.begin(None)
        self._listener.close()

    @property
    def tripped(self) -> bool:
        return any(line.tripped for line in self.lines)

    def drive(self, client: Client[T]) -> T:
        """Resume the coroutine to its end, as a driver with a time limit does."""
        try:
            need = next(client)
            for _ in range(MAX_RESUMPTIONS):
                if need is None:
                    self._turn()
                    need = next(client)
                elif self._await(need):
                    need = next(client)
                elif need.timeout is not None:
                    self.clock += need.timeout
                    need = next(client)
                else:
                    need = client.throw(ConnectionTimedOut("nothing moves any more"))
            raise AssertionError(f"the client does not come to an end; it waits for {need}")
        except StopIteration as stop:
            result: T = stop.value
            return result
        finally:
            client.close()

    def co_move(self, client: Client[T]) -> Generator[PollNeeded, None, T]:
        """The client for a driver that waits in earnest: all that can move has moved before."""
        try:
            need = next(client)
            while True:
                if need is None:
                    self._turn()
                else:
                    self._await(need)
                    try:
                        yield need
                    except ConnectionTimedOut as exc:
                        need = client.throw(exc)
                        continue
                need = next(client)
        except StopIteration as stop:
            result: T = stop.value
            return result
        finally:
            client.close()

    def _await(self, need: PollNeeded) -> bool:
        """Return whether what the client needs has come; if not, nothing moves any more."""
        while not need.poll(0):
            if self._pump():
                continue
            if not self.tripped:
                self._sleep(need)
                continue
            self._upstream.settle()
            if not self._pump():
                return need.poll(0)
        return True

    def _turn(self) -> None:
        """Let the other end do what it can."""
        while self._pump():
            pass
        self._upstream.settle()
        while self._pump():
            pass

    def _sleep(self, need: PollNeeded) -> None:
        poller = select.poll()
        poller.register(need.fd, need.mask)
        poller.register(self._listener, select.POLLIN)
        for line in self.lines:
            for sock in line.watched().values():
                poller.register(sock, select.POLLIN)
        assert poller.poll(GUARD * 1000), f"stuck: the client waits for {need}"

    def _pump(self) -> bool:
        """Move what there is to move; whether there was anything."""
        moved = self._accept()
        for line in self.lines:
            for direction in Direction:
                moved = line.move(direction) or moved
            if line.to_be_cut and not moved:
                self._cut(line)
                moved = True
        return moved

    def _cut(self, line: Line) -> None:
        """End a line's connections, with all that was answered before passed on."""
        assert line.fault is not None
        if line.fault.direction is Direction.UP:
            self._upstream.settle()
            while line.move(Direction.DOWN):
                pass
        line.cut()

    def _accept(self) -> bool:
        try:
            near, _ = self._listener.accept()
        except BlockingIOError:
            return False
        near.setblocking(False)
        near.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        fault = self._fault if not self.lines else None
        self.lines.append(Line(near, self._upstream.connect(), fault))
        return True
