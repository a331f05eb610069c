"""What the snippets talk to: a page, a large file, uploads, and a few doors that stay shut.

It is also a proxy: it answers a request in absolute-form as if the target's host were its own.
"""

from __future__ import annotations

import base64
import email
import gzip
import hashlib
import json
import ssl
import threading
from email.policy import HTTP
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

PAGE = "<p>Gr\xfc\xdfe von der Seekuh</p>"
LARGE = hashlib.shake_128(b"large").digest(1_000_000)
PASSWORD = "Basic " + base64.b64encode(b"user:secret").decode()


class Handler(BaseHTTPRequestHandler):
    """One request after another; `log` gets method, target and body of each.

    Attributes:
        over: set when the server ends.
        seen: targets that were requested before.
    """

    protocol_version = "HTTP/1.1"
    wbufsize = -1  # a response is one piece
    log: list[list[str]]
    over: threading.Event
    seen: set[str]

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

    def _shown(self, body: bytes) -> str:
        """Return a body for the log, without what may differ in two equal forms or JSON texts."""
        kind = self.headers.get("Content-Type", "")
        if kind == "application/json":
            return json.dumps(json.loads(body))
        if kind.startswith("multipart/form-data"):
            head = f"Content-Type: {kind}\r\n\r\n".encode()
            message: Any = email.message_from_bytes(head + body, policy=HTTP)
            parts = []
            for part in message.iter_parts():
                names = part["Content-Disposition"].params
                parts.append([dict(names), _digest(part.get_payload(decode=True))])
            return json.dumps(parts)
        return _digest(body)

    def do_GET(self) -> None:
        text = self._shown(self._body())
        self.log.append([self.command, self.path, text])
        path = urlsplit(self.path).path
        is_first = self.path not in self.seen
        self.seen.add(self.path)
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
        elif path == "/login":
            self._answer(200, b"welcome", Set_Cookie="session=1234; Path=/")
        elif path == "/busy":
            self._answer(503 if is_first else 200, b"busy" if is_first else b"free")
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
        elif path == "/endless":
            self._drip()
        elif self.command in ("POST", "PUT", "DELETE"):
            self._answer(204, b"")
        else:
            self._answer(404, b"no such thing")

    def _drip(self) -> None:
        """Send a body that never ends, byte after byte, until the client has gone."""
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.close_connection = True
        try:
            while not self.over.wait(0.01):
                self.wfile.write(b"1\r\n.\r\n")
                self.wfile.flush()
        except ConnectionError:
            pass

    do_HEAD = do_POST = do_PUT = do_DELETE = do_GET  # noqa: N815 (the names http.server wants)

    def handle_expect_100(self) -> bool:
        asked = super().handle_expect_100()
        self.wfile.flush()  # the client waits for it
        return asked

    def log_request(self, *args: Any) -> None:
        """Say nothing."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True  # clients may leave their connections open

    def finish_request(self, request: Any, client_address: Any) -> None:
        try:
            super().finish_request(request, client_address)
        except ConnectionError:
            pass  # the client has gone


def _digest(body: bytes) -> str:
    return body.decode() if len(body) < 200 else hashlib.sha256(body).hexdigest()


class Server:
    """A running server.

    Args:
        context: for TLS.

    Attributes:
        log: of each request, method, target and body.
    """

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        self.log: list[list[str]] = []
        self._over = threading.Event()
        members = {"log": self.log, "over": self._over, "seen": set()}
        self._server = _Server(("127.0.0.1", 0), type("Handler", (Handler,), members))
        if context is not None:
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
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


def private_tls(folder: Path) -> ssl.SSLContext:
    """Return a context that wants a client certificate, and write the client's files.

    They are ``ca.pem``, ``client.pem`` and ``client.key``.
    """
    import trustme  # not installed where no snippet uses TLS

    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    client = authority.issue_cert("client@example.org")
    client.private_key_pem.write_to_path(str(folder / "client.key"))
    client.cert_chain_pems[0].write_to_path(str(folder / "client.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    authority.configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED
    return context
