"""Transports for httpx: its clients then use dugong's connections.

::

    import httpx
    from dugong.adapters.httpx import DugongTransport

    with httpx.Client(transport=DugongTransport()) as client:
        client.get("https://www.example.org/")

`httpx_family` explains how they work.
"""

from __future__ import annotations

from .httpx_family.library import Library, missing
from .httpx_family.network import AwaitedNetworkStream, BlockingNetworkStream
from .httpx_family.transport import AwaitedBody, AwaitedTransport, BlockingBody, BlockingTransport

try:
    import httpcore
    import httpx
except ImportError as exc:
    raise missing("httpx", "httpx") from exc

__all__ = ["AsyncDugongTransport", "DugongTransport"]


class _Body(BlockingBody, httpx.SyncByteStream):
    pass


class _AsyncBody(AwaitedBody, httpx.AsyncByteStream):
    pass


class _NetworkStream(BlockingNetworkStream, httpcore.NetworkStream):
    pass


class _AsyncNetworkStream(AwaitedNetworkStream, httpcore.AsyncNetworkStream):
    pass


class DugongTransport(BlockingTransport, httpx.BaseTransport):
    __doc__ = BlockingTransport.__doc__
    _library = Library(httpx, httpcore, _Body, _NetworkStream)


class AsyncDugongTransport(AwaitedTransport, httpx.AsyncBaseTransport):
    __doc__ = AwaitedTransport.__doc__
    _library = Library(httpx, httpcore, _AsyncBody, _AsyncNetworkStream)
