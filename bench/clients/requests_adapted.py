"""requests with our adapter."""

from __future__ import annotations

from typing import Any

from bench.clients import requests_session
from dugong.adapters.requests import DugongAdapter


class Client(requests_session.Client):
    def new_session(self) -> Any:
        session = super().new_session()
        session.mount("https://", DugongAdapter())
        session.mount("http://", DugongAdapter())
        return session
