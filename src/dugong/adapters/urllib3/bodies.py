"""Request bodies: what urllib3 accepts and dugong does not."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from typing import Any
from weakref import WeakSet

from ...errors import StateError
from ...protocol.limits import BLOCK_SIZE

#: Iterators that were used up. Sending one again, as after a redirect, would send an empty body.
_used_up: WeakSet[Any] = WeakSet()


def sendable(body: Any) -> Any:
    """Return *body* in a form that dugong can send: `str` is encoded as UTF-8.

    Args:
        body: bytes, `str`, a file or an iterable of either, or ``None``.
    """
    if body is None or isinstance(body, (bytes, bytearray, memoryview)):
        return body
    if isinstance(body, str):
        return body.encode()
    if isinstance(body, io.TextIOBase):
        return _Encoded(iter(lambda: body.read(BLOCK_SIZE), ""), body)
    if hasattr(body, "read") or not isinstance(body, Iterable):
        return body
    return body if isinstance(body, (list, tuple)) else _Encoded(body, body)


class _Encoded:
    """An iterable of bytes, from one of `str` or bytes.

    Args:
        items: the iterable.
        owner: what is used up by iterating.
    """

    def __init__(self, items: Iterable[str | bytes], owner: Any) -> None:
        self._items = items
        self._owner = owner

    def __iter__(self) -> Iterator[bytes]:
        if isinstance(self._owner, Iterator):
            try:
                if self._owner in _used_up:
                    raise StateError("the body is an iterator that was used up: pass a new one")
                _used_up.add(self._owner)
            except TypeError:  # built-in iterators do not support weak references
                pass
        for item in self._items:
            yield item.encode() if isinstance(item, str) else item
