"""httpx2: its blocking and its async client."""

from __future__ import annotations

import httpx2

from bench.clients import httpx_client


class Client(httpx_client.Client):
    library = httpx2


class AsyncioClient(httpx_client.AsyncioClient):
    library = httpx2
