"""An HTTP/1.1 client: blocking calls, coroutines for any event loop, asyncio and trio.

It is for programs that must not lose a byte, must not wait without need, and must not guess. The
names in ``__all__`` are the public interface.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

from .connection.blocking import HTTPConnection
from .connection.settings import HTTP_PORT, HTTPS_PORT
from .errors import (
    AddressRefused,
    BodyChanged,
    ConnectionClosed,
    ConnectionTimedOut,
    DigestMismatch,
    DNSUnavailable,
    DugongError,
    ExcessBodyData,
    HostnameNotResolvable,
    InvalidRequest,
    InvalidResponse,
    RedirectError,
    StateError,
    StatusError,
    TunnelRefused,
    UnsupportedResponse,
    is_temp_network_error,
)
from .protocol.headers import CaseInsensitiveDict, Headers
from .protocol.limits import BUFFER_SIZE, MAX_HEADER_SIZE, MAX_LINE_SIZE
from .protocol.messages import BodyFollowing, HTTPResponse, Request
from .transport import resolve
from .transport.poll import POLLIN, POLLOUT, PollNeeded, eval_coroutine
from .transport.timeouts import Timeouts
from .version import __version__

__all__ = [
    "BUFFER_SIZE",
    "DNS_TEST_HOSTNAMES",
    "HTTPS_PORT",
    "HTTP_PORT",
    "MAX_HEADER_SIZE",
    "MAX_LINE_SIZE",
    "POLLIN",
    "POLLOUT",
    "AddressRefused",
    "AioFuture",
    "AsyncClient",
    "AsyncHTTPConnection",
    "AsyncPool",
    "AsyncResponse",
    "BodyChanged",
    "BodyFollowing",
    "CaseInsensitiveDict",
    "Client",
    "ConnectionClosed",
    "ConnectionTimedOut",
    "DNSUnavailable",
    "DigestMismatch",
    "Download",
    "DugongError",
    "Event",
    "ExcessBodyData",
    "HTTPConnection",
    "HTTPResponse",
    "Headers",
    "HostnameNotResolvable",
    "InvalidRequest",
    "InvalidResponse",
    "Multipart",
    "Origin",
    "PollNeeded",
    "Pool",
    "RedirectError",
    "Redirects",
    "Request",
    "Response",
    "Retry",
    "StateError",
    "StatusError",
    "Timeouts",
    "TunnelRefused",
    "UnsupportedResponse",
    "__version__",
    "eval_coroutine",
    "is_temp_network_error",
    "run_all",
]


class _Package(ModuleType):
    """The type of this package. It passes assignments to `DNS_TEST_HOSTNAMES` on.

    Programs assign to ``dugong.DNS_TEST_HOSTNAMES``, but the resolver reads the name in its own
    module. A plain module attribute would be a second copy.
    """

    @property
    def DNS_TEST_HOSTNAMES(self) -> tuple[tuple[str, int], ...]:  # noqa: N802 - the name users know
        """Names that resolve if the DNS works: pairs of host name and port."""
        return resolve.DNS_TEST_HOSTNAMES

    @DNS_TEST_HOSTNAMES.setter
    def DNS_TEST_HOSTNAMES(self, names: tuple[tuple[str, int], ...]) -> None:  # noqa: N802
        resolve.DNS_TEST_HOSTNAMES = names


DNS_TEST_HOSTNAMES: tuple[tuple[str, int], ...]

#: Where the names are that are loaded on their first use, so that ``import dugong`` is fast.
_LATER = {
    "AioFuture": "connection.aio",
    "AsyncClient": "transfer.aio",
    "AsyncHTTPConnection": "connection.aio",
    "AsyncPool": "pool.aio",
    "AsyncResponse": "client.aio",
    "Client": "transfer.client",
    "Download": "transfer.download",
    "Event": "client.events",
    "Multipart": "client.forms",
    "Origin": "pool.origin",
    "Pool": "pool.pool",
    "Redirects": "client.redirects",
    "Response": "client.response",
    "Retry": "client.retries",
    "run_all": "drivers.many",
}

if TYPE_CHECKING:
    from .client.aio import AsyncResponse
    from .client.events import Event
    from .client.forms import Multipart
    from .client.redirects import Redirects
    from .client.response import Response
    from .client.retries import Retry
    from .connection.aio import AioFuture, AsyncHTTPConnection
    from .drivers.many import run_all
    from .pool.aio import AsyncPool
    from .pool.origin import Origin
    from .pool.pool import Pool
    from .transfer.aio import AsyncClient
    from .transfer.client import Client
    from .transfer.download import Download
else:  # type checkers would otherwise accept any name

    def __getattr__(name: str) -> Any:
        """Load a name on its first use."""
        module = _LATER.get(name)
        if module is None:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module

        return getattr(import_module(f".{module}", __name__), name)


sys.modules[__name__].__class__ = _Package
