"""What dugong 3.8 and dugong 4 do differently: a program that runs on both.

    python -m tests.coming_from.dugong3 [NAME ...]

Prints what came of each difference, as JSON. Which dugong it is, the interpreter says. The server
is a thread, and each function gives it its lines.
"""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import dugong
from dugong import HTTPConnection

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"

#: Seconds after which something that has not happened is taken to be waiting.
ENOUGH = 2.0

PROBES: dict[str, Callable[[], Any]] = {}


def probe(function: Callable[[], Any]) -> Callable[[], Any]:
    PROBES[function.__name__] = function
    return function


class Server:
    """Answers requests without a body, over any number of connections.

    Args:
        connections: for each connection its responses; it is closed after the last one, or left
            open if that is ``None``.
    """

    def __init__(self, *connections: list[bytes | None]) -> None:
        self.heads: list[bytes] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        self._thread = threading.Thread(target=self._serve, args=(connections,))
        self._thread.start()
        self.port: int = self._listener.getsockname()[1]

    def _serve(self, connections: tuple[list[bytes | None], ...]) -> None:
        for responses in connections:
            try:
                sock = self._listener.accept()[0]
            except OSError:  # nobody has connected, and nobody will
                return
            self._open.append(sock)
            for response in responses:
                if response is None:
                    break
                if not (data := self._head(sock)):
                    break
                self.heads.append(data)
                sock.sendall(response)
            else:
                sock.close()

    @staticmethod
    def _head(sock: socket.socket) -> bytes:
        data = b""
        while b"\r\n\r\n" not in data and (more := sock.recv(4096)):
            data += more
        return data

    def close(self) -> None:
        for sock in self._open:
            sock.close()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes the thread
        self._thread.join()
        self._listener.close()


@contextmanager
def exchange(*connections: list[bytes | None]) -> Iterator[tuple[HTTPConnection, Server]]:
    server = Server(*connections)
    conn = HTTPConnection("127.0.0.1", server.port)
    try:
        yield conn, server
    finally:
        conn.disconnect()
        server.close()


def outcome(function: Callable[[], Any]) -> Any:
    """Return what a call returns, or the name of the exception that it raises."""
    try:
        return function()
    except Exception as exc:
        return type(exc).__name__


def fetch(conn: HTTPConnection) -> str:
    conn.send_request("GET", "/")
    conn.read_response()
    return bytes(conn.readall()).decode()


@contextmanager
def silent_server() -> Iterator[int]:
    """A listener that accepts connections and says nothing for a while; then it hangs up."""
    listener = socket.create_server(("127.0.0.1", 0))
    over = threading.Event()

    def serve() -> None:
        with listener.accept()[0]:
            over.wait(ENOUGH)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        over.set()
        thread.join()
        listener.close()


# What the migration guide lists, in its order.


@probe
def content_md5() -> Any:
    """Whether a body's MD5 is sent along."""
    with exchange([OK, None]) as (conn, server):
        conn.send_request("PUT", "/", body=b"data")
        conn.read_response()
        return b"Content-MD5" in server.heads[0]


@probe
def length_of_get() -> Any:
    """Whether a GET without a body has a Content-Length."""
    with exchange([OK, None]) as (conn, server):
        fetch(conn)
        return b"Content-Length" in server.heads[0]


@probe
def until_close() -> Any:
    """A response without a length, and without ``Connection: close``."""
    with exchange([b"HTTP/1.1 200 OK\r\n\r\nhello"]) as (conn, _):
        return outcome(lambda: fetch(conn))


@probe
def connecting_waits() -> Any:
    """Whether a coroutine gives way while the TLS handshake waits for the server."""
    context = ssl.create_default_context()
    with silent_server() as port:
        conn = HTTPConnection("127.0.0.1", port, ssl_context=context)
        crt = conn.co_send_request("GET", "/")
        first = outcome(lambda: type(next(crt)).__name__)
        crt.close()
        conn.disconnect()
    return first


@probe
def timeout_while_connecting() -> Any:
    """Whether `timeout` ends a handshake to which the server says nothing."""
    context = ssl.create_default_context()
    with silent_server() as port:
        conn = HTTPConnection("127.0.0.1", port, ssl_context=context)
        conn.timeout = 0.1
        result = outcome(lambda: conn.send_request("GET", "/"))
        conn.disconnect()
    return result


@probe
def timeout_zero() -> Any:
    """Whether a timeout of 0 waits for a response that has not come."""
    with silent_server() as port:
        conn = HTTPConnection("127.0.0.1", port)
        conn.send_request("GET", "/")
        conn.timeout = 0
        result = outcome(conn.read_response)
        conn.disconnect()
    return result


@probe
def read_returns() -> Any:
    """The type of what `read` returns."""
    with exchange([OK, None]) as (conn, _):
        conn.send_request("GET", "/")
        conn.read_response()
        return type(conn.read(3)).__name__


def _answered(response: bytes) -> Any:
    with exchange([response, None]) as (conn, _):
        return outcome(lambda: fetch(conn))


@probe
def two_lengths() -> Any:
    """A response with two different lengths."""
    fields = b"Content-Length: 5\r\nContent-Length: 3\r\n"
    return _answered(b"HTTP/1.1 200 OK\r\n" + fields + b"\r\nhello")


@probe
def odd_length() -> Any:
    """A length with a sign."""
    return _answered(OK.replace(b": 5", b": +5"))


@probe
def odd_chunk_size() -> Any:
    """A chunk size with a prefix."""
    body = b"0x5\r\nhello\r\n0\r\n\r\n"
    return _answered(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + body)


@probe
def stray_response() -> Any:
    """A second response, sent along with the first, to one request. Who gets it?"""
    stray = OK.replace(b"hello", b"other")
    with exchange([OK + stray, None]) as (conn, _):
        first = fetch(conn)
        return [first, outcome(lambda: fetch(conn))]


@probe
def injected_field() -> Any:
    """A line end in a value of the caller's: a field that nobody set, or an error."""
    with exchange([OK, None]) as (conn, server):

        def request() -> Any:
            conn.send_request("GET", "/", headers={"X-Name": "a\r\nX-Admin: yes"})
            conn.read_response()
            return "sent" if b"\r\nX-Admin: yes\r\n" in server.heads[0] else "not sent"

        return outcome(request)


@probe
def target_with_space() -> Any:
    """A request target that is not quoted."""
    with exchange([OK, None]) as (conn, server):

        def request() -> Any:
            conn.send_request("GET", "/a file")
            conn.read_response()
            return server.heads[0].split(b"\r\n")[0].decode()

        return outcome(request)


@probe
def field_values() -> Any:
    """What becomes of fields that the `email` package thinks it knows."""
    fields = {
        "Content-Disposition": "attachment; filename=a+b.txt; size=3",
        "Content-Type": "text/html;charset=utf-8",
        "Date": "Thu,  1 Jan 1970 00:00:00 GMT",
    }
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items()).encode()
    with exchange([OK.replace(b"OK\r\n", b"OK\r\n" + lines), None]) as (conn, _):
        conn.send_request("GET", "/")
        response = conn.read_response()
        as_sent = {name: response.headers[name] == value for name, value in fields.items()}
        return as_sent | {"datetime": hasattr(response.headers["Date"], "datetime")}


@probe
def callers_fields() -> Any:
    """Whether the caller's Host and Accept-Encoding are sent, and the mapping stays as it was."""
    with exchange([OK, None]) as (conn, server):
        given = {"Host": "example.com", "Accept-Encoding": "gzip"}
        fields = dugong.CaseInsensitiveDict(given)
        conn.send_request("GET", "/", headers=fields)
        conn.read_response()
        lines = server.heads[0].decode().split("\r\n")
        kept = {
            name: [line for line in lines if line.lower().startswith(name.lower() + ":")]
            == [f"{name}: {value}"]
            for name, value in given.items()
        }
        return kept | {"mapping untouched": dict(fields) == given}


@probe
def http10() -> Any:
    """The next request after a response of HTTP/1.0 that does not mention keep-alive."""
    response = OK.replace(b"1.1", b"1.0")
    with exchange([response, response, None]) as (conn, _):
        fetch(conn)
        return outcome(lambda: fetch(conn))


@probe
def framing_error() -> Any:
    """Which call raises when the framing cannot be understood."""
    response = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nhello"
    with exchange([response]) as (conn, _):
        conn.send_request("GET", "/")
        first = outcome(lambda: conn.read_response().status)
        return {"read_response": first, "read": outcome(lambda: bytes(conn.read(10)).decode())}


# What it lists besides.


@probe
def closed_while_idle() -> Any:
    """What raises when the server has closed the connection between two requests."""
    with exchange([OK]) as (conn, server):
        fetch(conn)
        server._thread.join()
        first = outcome(lambda: conn.send_request("GET", "/"))
        return {"send_request": first, "read_response": outcome(conn.read_response)}


@probe
def error_classes() -> Any:
    """What `ConnectionClosed` and `ConnectionTimedOut` are also instances of."""
    closed, timed_out = dugong.ConnectionClosed, dugong.ConnectionTimedOut
    return [issubclass(closed, ConnectionError), issubclass(timed_out, TimeoutError)]


@probe
def read_too_early() -> Any:
    """Reading a body before the head of its response."""
    with exchange([OK, None]) as (conn, _):
        conn.send_request("GET", "/")
        return outcome(lambda: bytes(conn.read(5)).decode())


#: Public names of 3.8's module that are gone, most of which it had only imported.
GONE = (
    "Encodings", "Enum", "HostnameNotResolvableOrDNSUnavailable", "Mapping", "MutableMapping",
    "NOT_MODIFIED", "NO_CONTENT", "READ_UNTIL_EOF", "RESPONSE_BODY_ERROR", "Symbol",
    "WAITING_FOR_100c", "asyncio", "b64encode", "create_socket", "deque", "email", "errno",
    "getdoc", "hashlib", "log", "logging", "os", "select", "socket", "ssl", "textwrap",
)  # fmt: skip


@probe
def gone_names() -> Any:
    """Which of these names there are."""
    return [name for name in GONE if hasattr(dugong, name)]


def main(names: list[str]) -> None:
    results = {}
    for name in names or PROBES:
        with contextlib.redirect_stdout(sys.stderr):
            results[name] = PROBES[name]()
    sys.stdout.write(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
