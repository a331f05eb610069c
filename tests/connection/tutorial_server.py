"""The server that the tutorial's examples talk to: a page, a movie, documents and uploads."""

from __future__ import annotations

import hashlib
import re
import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

PAGE = "<p>Gr\xfc\xdfe von der Seekuh</p>"
MOVIE = hashlib.shake_128(b"a big movie").digest(700_000)


class Handler(BaseHTTPRequestHandler):
    """Serves a page, a movie and any number of documents; takes uploads, refuses some."""

    protocol_version = "HTTP/1.1"
    uploads: dict[str, bytes]
    wbufsize = -1  # a response is one piece

    def _answer(self, status: int, body: bytes, kind: str = "application/octet-stream") -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_GET(self) -> None:
        if self.path == "/index.html":
            self._answer(200, PAGE.encode("utf-8"), "text/html; charset=utf-8")
        elif self.path == "/plain.html":
            self._answer(200, PAGE.encode("latin-1"), "text/html")
        elif self.path == "/big_movie.mp4":
            self._answer(200, MOVIE)
        elif hit := re.fullmatch(r"/doc/(\d+)", self.path):
            self._answer(200, document(int(hit[1])))
        else:
            self._answer(404, b"no such document")

    do_HEAD = do_GET  # noqa: N815 (the names http.server wants)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.uploads[self.path] = body
        self._answer(200 if self.command == "POST" else 204, b"")

    do_PUT = do_POST  # noqa: N815

    def handle_expect_100(self) -> bool:
        if self.path.startswith("/public/"):
            super().handle_expect_100()
            self.wfile.flush()
            return True
        self.close_connection = True
        self._answer(403, b"not yours")
        return False

    def log_request(self, *args: Any) -> None:
        """Say nothing."""


def document(number: int) -> bytes:
    return b"document %d\n" % number * (1 + number % 50)


class Server:
    """A running server; a test that has many paths to ask for finds them here."""

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        self.uploads: dict[str, bytes] = {}
        handler = type("Handler", (Handler,), {"uploads": self.uploads})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        if context is not None:
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.address = ("127.0.0.1", self._server.server_port)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
