"""`Event`: what a client reports to `on_event`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..pool.origin import Origin
    from .request import ClientRequest


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened during a request of a client.

    The names, in the order of a request, are ``waiting`` (for a connection of the pool),
    ``resolved``, ``connecting``, ``connected``, ``secured``, ``sent`` (the whole request),
    ``first_byte`` (the head of the response) and ``done`` (the last byte of the response). The
    first five are missing on a connection that is used again. ``redirect`` and ``retry`` come
    before the next request.

    Attributes:
        name: the name of the event, a `str`.
        time: when it happened, in seconds of `time.monotonic`.
        request: the request, with its method and URL.
        origin: the `Origin` that the request goes to.
        address: the remote address in the form that `socket` uses, that of the proxy if there is
            one; ``None`` without a connection.
        reused: whether the connection has served another request before.
        error: the error that is the reason for a ``retry``; ``None`` if that is a response.
    """

    name: str
    time: float
    request: ClientRequest
    origin: Origin
    address: Any = None
    reused: bool = False
    error: BaseException | None = None
