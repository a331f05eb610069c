"""requests: a session. niquests has the same interface, and runs the same code."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, BinaryIO

from bench.clients import Closing, Target
from bench.content import BUFFER_SIZE, FIELD

CLOSE = {"Connection": "close"}


class Client(Closing):
    takes_framing = False

    def __init__(self, target: Target) -> None:
        self.target = target
        self.session = self.new_session()
        self.session.trust_env = False
        self.session.headers["Accept-Encoding"] = "identity"
        if target.cafile is not None:
            self.session.verify = target.cafile

    def new_session(self) -> Any:
        import requests

        return requests.Session()

    def close(self) -> None:
        self.session.close()

    def get(self, path: str) -> tuple[int, str | None, bytes]:
        response = self.session.get(self.target.url(path))
        return response.status_code, response.headers[FIELD], response.content

    def get_anew(self, path: str) -> tuple[int, str | None, bytes]:
        response = self.session.get(self.target.url(path), headers=CLOSE)
        return response.status_code, response.headers[FIELD], response.content

    def read(self, path: str, take: Callable[[bytes], None]) -> None:
        with self.session.get(self.target.url(path), stream=True) as response:
            for piece in response.iter_content(BUFFER_SIZE):
                take(piece)

    def upload_file(self, path: str, file: BinaryIO, size: int) -> tuple[int, bytes]:
        response = self.session.put(self.target.url(path), data=file)
        return response.status_code, response.content

    def upload_memory(self, path: str, data: bytes) -> tuple[int, bytes]:
        response = self.session.put(self.target.url(path), data=data)
        return response.status_code, response.content
