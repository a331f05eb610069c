"""Transports for httpx2: its clients then use dugong's connections.

::

    import httpx2
    from dugong.adapters.httpx2 import DugongTransport

    with httpx2.Client(transport=DugongTransport()) as client:
        client.get("https://www.example.org/")

`httpx_family` explains how they work.
"""

from __future__ import annotations

from .httpx_family.library import Library, missing
from .httpx_family.network import AwaitedNetworkStream, BlockingNetworkStream
from .httpx_family.transport import AwaitedBody, AwaitedTransport, BlockingBody, BlockingTransport

try:
    import httpcore2
    import httpx2
except ImportError as exc:
    raise missing("httpx2", "httpx2") from exc

__all__ = ["AsyncDugongTransport", "DugongTransport"]


class _Body(BlockingBody, httpx2.SyncByteStream):
    pass


class _AsyncBody(AwaitedBody, httpx2.AsyncByteStream):
    pass


class _NetworkStream(BlockingNetworkStream, httpcore2.NetworkStream):
    pass


class _AsyncNetworkStream(AwaitedNetworkStream, httpcore2.AsyncNetworkStream):
    pass


class DugongTransport(BlockingTransport, httpx2.BaseTransport):
    __doc__ = BlockingTransport.__doc__
    _library = Library(httpx2, httpcore2, _Body, _NetworkStream)


class AsyncDugongTransport(AwaitedTransport, httpx2.AsyncBaseTransport):
    __doc__ = AwaitedTransport.__doc__
    _library = Library(httpx2, httpcore2, _AsyncBody, _AsyncNetworkStream)
