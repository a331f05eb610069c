"""httpx2 with our transports."""

from __future__ import annotations

from bench.clients import httpx2_client
from dugong.adapters.httpx2 import AsyncDugongTransport, DugongTransport


class Client(httpx2_client.Client):
    transport = DugongTransport


class AsyncioClient(httpx2_client.AsyncioClient):
    transport = AsyncDugongTransport
