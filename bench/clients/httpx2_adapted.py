"""httpx2 with our transports."""

from __future__ import annotations

from typing import Any

from bench.clients import httpx2_client
from dugong.adapters.httpx2 import AsyncDugongTransport, DugongTransport


class Client(httpx2_client.Client):
    def transport(self, **options: Any) -> Any:
        return DugongTransport(**options)


class AsyncioClient(httpx2_client.AsyncioClient):
    def transport(self, **options: Any) -> Any:
        return AsyncDugongTransport(**options)
