"""Driving coroutines against scripted peers, without threads and without sleeps.

`drive` is the loop a user of the coroutine API would write, except that where a user's loop
would sleep, the peer takes its next step. Readiness is honoured: a coroutine is resumed when
what it asked for has come, and never otherwise.

A coroutine is a generator here, or the coroutine of an ``async def`` that awaits one.
"""

from __future__ import annotations

import select
import time
from collections import abc
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from types import CoroutineType, FrameType, GeneratorType
from typing import Any, Generic, Protocol, TypeAlias, TypeVar

from tests.support.farend import GUARD
from tests.support.peer import Peer

T = TypeVar("T")
U = TypeVar("U")


class Need(Protocol):
    """What a coroutine yields; `dugong.PollNeeded` is one."""

    @property
    def fd(self) -> int: ...
    @property
    def mask(self) -> int: ...
    @property
    def timeout(self) -> float | None: ...


Coroutine = Generator[Need, None, T]
#: What can be driven.
Crt: TypeAlias = Generator[Any, None, T] | abc.Coroutine[Any, None, T]


@dataclass
class Outcome(Generic[T]):
    """How a coroutine ended: with a value, or with an error."""

    value: T | None = None
    error: BaseException | None = None

    def get(self) -> T:
        if self.error is not None:
            raise self.error
        return self.value  # type: ignore[return-value]


def drive(crt: Crt[T], *peers: Peer) -> T:
    """Resume the coroutine to its end; the peers step while it waits. Returns its result."""
    (outcome,) = drive_all([crt], *peers)
    return outcome.get()  # type: ignore[no-any-return]


def drive_both(first: Crt[T], second: Crt[U], *peers: Peer) -> tuple[Outcome[T], Outcome[U]]:
    """Drive two coroutines, say a sender and a reader, side by side."""
    one, two = drive_all([first, second], *peers)
    return one, two


def drive_all(crts: Sequence[Crt[Any]], *peers: Peer) -> list[Outcome[Any]]:
    """Drive any number of coroutines side by side until all have ended."""
    return drive_among(crts, peers)


def drive_among(crts: Sequence[Crt[Any]], peers: Sequence[Peer]) -> list[Outcome[Any]]:
    """The same; peers may be added to the sequence while it goes on."""
    outcomes: dict[int, Outcome[Any]] = {}
    needs: dict[int, Need] = {}
    ready = list(range(len(crts)))
    while True:
        for i in ready:
            needs.pop(i, None)
            try:
                needs[i] = crts[i].send(None)
            except StopIteration as exc:
                outcomes[i] = Outcome(value=exc.value)
            except Exception as exc:
                outcomes[i] = Outcome(error=exc)
        if not needs:
            return [outcomes[i] for i in range(len(crts))]
        ready = _wait(needs, crts, peers)


def advance(crt: Crt[Any], *peers: Peer) -> Need:
    """Resume the coroutine until it waits for something that no peer is going to do.

    The peers have then played their whole scripts. A coroutine that ends before is a failure.
    """
    while True:
        try:
            need: Need = crt.send(None)
        except StopIteration as exc:
            raise AssertionError(f"not blocked, but finished with {exc.value!r}") from None
        while not _is_ready(need):
            if any(peer.step() for peer in peers):
                continue
            if all(peer.done for peer in peers):
                return need
            _wait({0: need}, [crt], peers, until_played=True)


def _wait(
    needs: dict[int, Need],
    crts: Sequence[Crt[Any]],
    peers: Sequence[Peer],
    *,
    until_played: bool = False,
) -> list[int]:
    """Let the peers step until something is ready; return whose need it is.

    With *until_played*, return also when the scripts are at their end.
    """
    give_up = time.monotonic() + GUARD
    while True:
        ready = [i for i, need in needs.items() if _is_ready(need)]
        if ready:
            return ready
        if any(peer.step() for peer in peers):
            continue
        if until_played and all(peer.done for peer in peers):
            return []
        limits = {i: need.timeout for i, need in needs.items() if need.timeout is not None}
        masks: dict[int, int] = {}
        for need in needs.values():
            masks[need.fd] = masks.get(need.fd, 0) | need.mask
        poller = poller_for(peers, masks)
        seconds = min([give_up - time.monotonic(), *limits.values()])
        if poller.poll(max(0.0, seconds) * 1000):
            continue
        if limits:
            first = min(limits.values())
            return [i for i, limit in limits.items() if limit == first]
        raise AssertionError(_describe(needs, crts, peers))


def poller_for(peers: Sequence[Peer], masks: dict[int, int]) -> select.poll:
    """Something to sleep on until a peer's next step may be due, or one of these is ready."""
    poller = select.poll()
    for fd, mask in masks.items():
        poller.register(fd, mask)
    for peer in reversed(
        peers
    ):  # whether it is one's turn is asked of the one before, which accepts
        if not peer.done and peer.fd is not None:
            poller.register(peer.fd, peer.mask)
    return poller


def _is_ready(need: Need) -> bool:
    poller = select.poll()
    poller.register(need.fd, need.mask)
    return bool(poller.poll(0))


def describe(peers: Sequence[Peer]) -> str:
    """Where the scripts stand when nothing moves any more."""
    return "\n".join(["stuck", *(f"  {peer}" for peer in peers)])


def _describe(needs: dict[int, Need], crts: Sequence[Crt[Any]], peers: Sequence[Peer]) -> str:
    lines = [describe(peers)]
    for i, need in needs.items():
        waits = {select.POLLIN: "readable", select.POLLOUT: "writable"}.get(need.mask, need.mask)
        lines.append(f"  waits for descriptor {need.fd} to be {waits}, in")
        lines += [f"    {frame}" for frame in _frames(crts[i])]
    return "\n".join(lines)


def _frames(crt: Crt[Any]) -> list[str]:
    """Where the coroutine stands, outermost first."""
    found = []
    current: object = crt
    while isinstance(current, GeneratorType | CoroutineType):
        frame: FrameType | None
        if isinstance(current, GeneratorType):
            frame, inner = current.gi_frame, current.gi_yieldfrom
        else:
            frame, inner = current.cr_frame, current.cr_await
        if frame is not None:
            found.append(f"{current.__qualname__}, {frame.f_code.co_filename}:{frame.f_lineno}")
        current = inner
    return found
