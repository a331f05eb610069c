"""A web server for the examples in the documentation.

Start it with ``python practice_server.py``, or call `start` in a program of your own.
"""

import gzip
import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PAGE = "<p>Many greetings from the dugong, die Gabelschwanzseekühe grüßen!</p>\n"
MOVIE = bytes(range(256)) * 20_000  # 5 MB


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # a response goes out in one piece
    flaky_requests = 0

    def parse_request(self):
        parsed = super().parse_request()
        if parsed:  # the target may be the whole URL
            self.path = self.path.removeprefix(f"http://127.0.0.1:{self.server.server_port}")
        return parsed

    def do_GET(self):
        if self.path.startswith("/echo"):
            self.echo()
        elif self.path == "/old":
            self.answer(302, b"It has moved.\n", Location="/index.html")
        elif self.path == "/login":
            self.answer(200, b"Welcome.\n", Set_Cookie="session=1234")
        elif self.path == "/compressed":
            self.answer(200, gzip.compress(PAGE.encode()), "text/html", Content_Encoding="gzip")
        elif self.path == "/index.html":
            self.answer(200, PAGE.encode("utf-8"), "text/html; charset=utf-8")
        elif self.path == "/big_movie.mp4":
            self.answer(200, MOVIE, "video/mp4")
        elif self.path.startswith("/doc/") and int(self.path[5:]) < 100:
            self.answer(200, b"This is document %s.\n" % self.path[5:].encode())
        elif self.path == "/events":
            lines = b"".join(b'{"number":%d}\n' % number for number in range(3))
            self.answer(200, lines, "application/jsonl")
        elif self.path == "/flaky":
            if not self.fails():
                self.answer(200, b"This time it worked.\n")
        elif self.path == "/broken":  # is never answered
            self.close_connection = True
        else:
            self.answer(404, b"There is no such document.\n")

    def fails(self):  # every other request for /flaky is never answered
        Handler.flaky_requests += 1
        if Handler.flaky_requests % 2 == 0:
            return False
        self.close_connection = True
        return True

    def do_HEAD(self):
        self.do_GET()  # and `answer` leaves the body out

    def do_PUT(self):
        if self.path.startswith("/private/"):  # does not even read the body
            self.close_connection = True
            self.answer(403, b"You may not write here.\n")
        else:
            size = len(self.read_body())
            if self.path != "/flaky" or not self.fails():
                self.answer(200, b"%d bytes received\n" % size)

    def do_POST(self):
        if self.path.startswith("/echo"):
            self.echo()
        else:
            self.do_PUT()

    def echo(self):  # answers with the request, as JSON
        body = self.read_body().decode()
        fields = {name.lower(): value for name, value in self.headers.items()}
        shown = {"method": self.command, "target": self.path, "fields": fields, "body": body}
        self.answer(200, json.dumps(shown, indent=1).encode(), "application/json")

    def handle_expect_100(self):
        if not self.path.startswith("/private/"):
            self.send_response_only(100)
            self.end_headers()
            self.wfile.flush()
        return True

    def read_body(self):
        if "Content-Length" in self.headers:
            return self.rfile.read(int(self.headers["Content-Length"]))
        if "Transfer-Encoding" not in self.headers:
            return b""
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        while self.rfile.readline() != b"\r\n":
            pass  # the trailer section
        return body

    def answer(self, status, body, content_type="text/plain", **fields):
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        for name, value in fields.items():
            self.send_header(name.replace("_", "-"), value)
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_request(self, *args):
        pass


class Server(ThreadingHTTPServer):
    def handle_error(self, request, client_address):
        if not isinstance(sys.exception(), ConnectionError):  # else the client has left, no more
            super().handle_error(request, client_address)


def start():
    """Start a server on a free port of this machine, and return it."""
    server = Server(("localhost", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


if __name__ == "__main__":
    print("Serving http://localhost:8000 until you press Ctrl-C", flush=True)
    Server(("localhost", 8000), Handler).serve_forever()
