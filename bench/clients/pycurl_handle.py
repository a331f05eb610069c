"""pycurl: one handle."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import BinaryIO

import pycurl

from bench.clients import Closing, Target
from bench.content import BUFFER_SIZE, FIELD

PREFIX = FIELD.encode() + b":"


def version() -> str:
    """Return the version of pycurl, and those of libcurl and its TLS library."""
    own, libraries = pycurl.version.removeprefix("PycURL/").split(" ", 1)
    return f"{own} ({libraries.split(' zlib')[0]})"


class Client(Closing):
    takes_framing = False

    def __init__(self, target: Target) -> None:
        self.target = target
        self.lines: list[bytes] = []
        self.handle = handle = pycurl.Curl()
        handle.setopt(pycurl.NOSIGNAL, 1)
        handle.setopt(pycurl.NOPROXY, "*")
        handle.setopt(pycurl.HTTP_VERSION, pycurl.CURL_HTTP_VERSION_1_1)
        handle.setopt(pycurl.BUFFERSIZE, BUFFER_SIZE)
        handle.setopt(pycurl.HTTPHEADER, ["Accept-Encoding: identity"])
        handle.setopt(pycurl.HEADERFUNCTION, self.lines.append)
        if target.cafile is not None:
            handle.setopt(pycurl.CAINFO, target.cafile)
            handle.setopt(pycurl.SSL_SESSIONID_CACHE, target.resume)

    def close(self) -> None:
        self.handle.close()

    def _perform(self, path: str, take: Callable[[bytes], object]) -> int:
        handle = self.handle
        self.lines.clear()
        handle.setopt(pycurl.URL, self.target.url(path))
        handle.setopt(pycurl.WRITEFUNCTION, take)
        handle.perform()
        return handle.getinfo(pycurl.RESPONSE_CODE)

    def get(self, path: str) -> tuple[int, str | None, bytes]:
        pieces: list[bytes] = []
        status = self._perform(path, pieces.append)
        for line in self.lines:
            if line.lower().startswith(PREFIX):
                value = line[len(PREFIX) :].strip().decode("latin-1")
                return status, value, b"".join(pieces)
        return status, None, b"".join(pieces)

    def get_anew(self, path: str) -> tuple[int, str | None, bytes]:
        self.handle.setopt(pycurl.FORBID_REUSE, 1)
        return self.get(path)

    def read(self, path: str, take: Callable[[bytes], None]) -> None:
        self._perform(path, take)

    def upload_file(self, path: str, file: BinaryIO, size: int) -> tuple[int, bytes]:
        pieces: list[bytes] = []
        self.handle.setopt(pycurl.UPLOAD, 1)
        self.handle.setopt(pycurl.UPLOAD_BUFFERSIZE, BUFFER_SIZE)
        self.handle.setopt(pycurl.INFILESIZE_LARGE, size)
        self.handle.setopt(pycurl.READFUNCTION, file.read)
        return self._perform(path, pieces.append), b"".join(pieces)

    def upload_memory(self, path: str, data: bytes) -> tuple[int, bytes]:
        return self.upload_file(path, io.BytesIO(data), len(data))
