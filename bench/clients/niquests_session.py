"""niquests, which has an environment of its own."""

from __future__ import annotations

from typing import Any

import niquests

from bench.clients import AsyncClosing, Target, requests_session
from bench.content import FIELD


class Client(requests_session.Client):
    def new_session(self) -> Any:
        return niquests.Session()


class AsyncioClient(AsyncClosing):
    def __init__(self, target: Target, connections: int) -> None:
        self.target = target
        self.session = niquests.AsyncSession(pool_connections=connections, pool_maxsize=connections)
        self.session.trust_env = False
        self.session.headers["Accept-Encoding"] = "identity"

    async def get(self, worker: int, path: str) -> tuple[int, str | None, bytes]:
        response = await self.session.get(self.target.url(path))
        return response.status_code, response.headers[FIELD], response.content

    async def aclose(self) -> None:
        await self.session.close()
