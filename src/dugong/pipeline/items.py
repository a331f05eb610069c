"""What is asked of a pipeline, one by one."""

from __future__ import annotations

from typing import Any

from ..protocol.exchange import Exchange
from ..protocol.messages import IDEMPOTENT_METHODS, BodyFollowing, Request
from ..protocol.request import Outgoing


class NotYet(Exception):
    """An iterable may give more later, but has nothing now."""


class Item:
    """One request, from when it was taken from the caller's iterable until its response came.

    Attributes:
        request: the caller's object, or what was made of it.
        outgoing: how it goes on the wire; ``None`` before that is known.
        exchange: what it is in the session it was sent in; ``None`` if it is to be sent (again).
        failure: what to raise in place of a response.
    """

    __slots__ = ("exchange", "failure", "outgoing", "request")

    def __init__(self, request: Request) -> None:
        self.request = request
        self.outgoing: Outgoing | None = None
        self.exchange: Exchange | None = None
        self.failure: BaseException | None = None

    @property
    def alone(self) -> bool:
        """Whether nothing else may be in flight with it."""
        outgoing = self.outgoing
        return self.request.method not in IDEMPOTENT_METHODS or (
            outgoing is not None and (outgoing.closes or outgoing.upgrades)
        )


def as_item(given: Any) -> Item:
    """Return what the caller's iterable gave as an item, one that has failed if it is wrong."""
    if isinstance(given, str):
        return Item(Request("GET", given))
    if isinstance(given, tuple) and len(given) == 2:
        return Item(Request(*given))
    if not isinstance(given, Request):
        return failed(TypeError(
            f"pipeline() takes paths, (method, path) or Request objects, not {given!r}"
        ))  # fmt: skip
    if isinstance(given.body, BodyFollowing):
        return failed(TypeError("pipeline() sends whole bodies, no BodyFollowing"), given)
    return Item(given)


def failed(exc: BaseException, request: Request | None = None) -> Item:
    item = Item(request or Request("", ""))
    item.failure = exc
    return item
