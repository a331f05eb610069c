"""httpx with our transports."""

from __future__ import annotations

from bench.clients import httpx_client
from dugong.adapters.httpx import AsyncDugongTransport, DugongTransport


class Client(httpx_client.Client):
    transport = DugongTransport


class AsyncioClient(httpx_client.AsyncioClient):
    transport = AsyncDugongTransport
