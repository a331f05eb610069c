"""httpx with our transports."""

from __future__ import annotations

from typing import Any

from bench.clients import httpx_client
from dugong.adapters.httpx import AsyncDugongTransport, DugongTransport


class Client(httpx_client.Client):
    def transport(self, **options: Any) -> Any:
        return DugongTransport(**options)


class AsyncioClient(httpx_client.AsyncioClient):
    def transport(self, **options: Any) -> Any:
        return AsyncDugongTransport(**options)
