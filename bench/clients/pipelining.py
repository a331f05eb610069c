"""Sending and reading side by side in one thread, with the coroutines of either dugong."""

from __future__ import annotations

from collections.abc import Callable, Generator
from select import select
from typing import Any

from bench.content import FIELD

POLLIN = 1


def run(
    conn: Any, path: str, count: int, depth: int, check: Callable[[tuple[int, str, bytes]], None]
) -> None:
    """Make *count* requests, with at most *depth* in flight.

    Both generators yield what they wait for: ``None`` if that is the other one.
    """
    sent = received = 0

    def send() -> Generator[Any, None, None]:
        nonlocal sent
        while sent < count:
            while sent - received >= depth:
                yield None
            yield from conn.co_send_request("GET", path)
            sent += 1

    def read() -> Generator[Any, None, None]:
        nonlocal received
        while received < count:
            while received == sent:
                yield None
            response = yield from conn.co_read_response()
            body = yield from conn.co_readall()
            check((response.status, response.headers[FIELD], body))
            received += 1

    sender, reader = send(), read()
    while received < count:
        send_need = next(sender, None)
        read_need = next(reader, None)
        if send_need is None and sent < count and sent - received < depth:
            continue  # responses have come since the sender stopped
        needs = [need for need in (send_need, read_need) if need is not None]
        if needs:
            select(
                [fd for fd, mask in needs if mask & POLLIN],
                [fd for fd, mask in needs if mask & ~POLLIN],
                [],
            )
