"""What the snippets talk to: a page, a large file, uploads, and a few doors that stay shut."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

PAGE = "<p>Gr\xfc\xdfe von der Seekuh</p>"
LARGE = hashlib.shake_128(b"large").digest(1_000_000)
PASSWORD = "Basic " + base64.b64encode(b"user:secret").decode()


class Handler(BaseHTTPRequestHandler):
    """One request after another; `log` gets method, target and body of each."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1  # a response is one piece
    log: list[list[str]]
    over: threading.Event

    def _answer(self, status: int, body: bytes, **fields: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        for name, value in fields.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _body(self) -> bytes:
        if self.headers["Transfer-Encoding"] != "chunked":
            return self.rfile.read(int(self.headers["Content-Length"] or 0))
        data = b""
        while size := int(self.rfile.readline(), 16):
            data += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return data

    def do_GET(self) -> None:
        body = self._body()
        text = body.decode() if len(body) < 200 else hashlib.sha256(body).hexdigest()
        self.log.append([self.command, self.path, text])
        path = self.path.partition("?")[0]
        if path == "/page":
            self._answer(200, PAGE.encode(), Content_Type="text/html; charset=utf-8")
        elif path == "/large":
            self._answer(200, LARGE)
        elif path == "/data":
            shown = ("Content-Type", "X-Name", "Cookie")
            fields = {name: self.headers[name] for name in shown if name in self.headers}
            answer = {"method": self.command, "path": self.path, "body": text, "fields": fields}
            self._answer(200, json.dumps(answer).encode(), Content_Type="application/json")
        elif path == "/old":
            self._answer(302, b"moved", Location="/page")
        elif path == "/private":
            allowed = self.headers["Authorization"] == PASSWORD
            self._answer(200 if allowed else 401, b"welcome" if allowed else b"who?")
        elif path == "/zipped" and "gzip" in self.headers.get("Accept-Encoding", ""):
            self._answer(200, gzip.compress(PAGE.encode()), Content_Encoding="gzip")
        elif path == "/cut":
            self.send_response(200)
            self.send_header("Content-Length", "10")
            self.end_headers()
            self.wfile.write(b"half")
            self.close_connection = True
        elif path == "/silent":
            self.over.wait()  # nothing at all, until the client has gone
            self.close_connection = True
        elif self.command in ("PUT", "DELETE"):
            self._answer(204, b"")
        else:
            self._answer(404, b"no such thing")

    do_HEAD = do_POST = do_PUT = do_DELETE = do_GET  # noqa: N815 (the names http.server wants)

    def log_request(self, *args: Any) -> None:
        """Say nothing."""


class Server:
    """A running server.

    Attributes:
        log: of each request, method, target and body.
    """

    def __init__(self) -> None:
        self.log: list[list[str]] = []
        self._over = threading.Event()
        handler = type("Handler", (Handler,), {"log": self.log, "over": self._over})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True  # clients may leave their connections open
        self.port = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._over.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
