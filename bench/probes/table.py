"""The probes: a question, what the server does, and what is made of what the client did.

An outcome is "yes" or "no", and in parentheses how that showed.
"""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import socket
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from bench.probes.clients import Client, Reply, Setting
from bench.probes.server import Script, Server, answers, answers_and_closes, head, reset

OK = b"HTTP/1.1 200 OK\r\n"
HELLO = OK + b"Content-Length: 5\r\n\r\nhello"
LARGE = bytes(8 << 20)

Outcome = str


@dataclass(frozen=True)
class Probe:
    """A row of the table.

    Attributes:
        id: its name.
        question: to be answered with yes or no.
        ask: puts it to a client.
    """

    id: str
    question: str
    ask: Callable[[type[Client]], Outcome]


PROBES: list[Probe] = []


def probe(question: str) -> Callable[[Callable[[type[Client]], Outcome]], None]:
    def add(function: Callable[[type[Client]], Outcome]) -> None:
        PROBES.append(Probe(function.__name__.replace("_", "-"), question, function))

    return add


@contextmanager
def session(kind: type[Client], script: Script, **options: Any) -> Iterator[tuple[Client, Server]]:
    with Server(script, options.pop("server_context", None)) as server:
        client = kind(Setting(server.port, **options))
        try:
            yield client, server
        finally:
            with contextlib.suppress(Exception):  # not what is probed
                client.close()


def attempt(
    client: Client, method: str = "GET", path: str = "/", fields: Mapping[str, str] | None = None,
    body: bytes | None = None,
) -> Reply | Exception:  # fmt: skip
    try:
        return client.do(method, path, fields or {}, body)
    except Exception as exc:
        return exc


def named(exc: Exception) -> str:
    """Return the class of an error; of those that have but one, the message."""
    return str(exc.args[-1]) if type(exc).__module__ == "pycurl" else type(exc).__name__


def refused(reply: Reply | Exception) -> Outcome:
    if isinstance(reply, Exception):
        return f"yes ({named(reply)})"
    return f"no ({reply.status}, {reply.body[:20]!r})"


def _refuses(name: str, question: str, script: Callable[[], Script]) -> None:
    def ask(kind: type[Client]) -> Outcome:
        with session(kind, script()) as (client, _):
            return refused(attempt(client))

    PROBES.append(Probe(name, question, ask))


CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"

for _name, _question, _script in [
    (
        "two-lengths", "Refuses two different lengths?",
        lambda: answers(OK + b"Content-Length: 5\r\nContent-Length: 3\r\n\r\nhello"),
    ),
    (
        "length-and-chunks", "Refuses a response with both a length and chunks?",
        lambda: answers(
            OK + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
        ),
    ),
    (
        "signed-length", "Refuses `Content-Length: +5`?",
        lambda: answers(HELLO.replace(b": 5", b": +5")),
    ),
    (
        "prefixed-chunk-size", "Refuses the chunk size `0x5`?",
        lambda: answers(CHUNKED + b"0x5\r\nhello\r\n0\r\n\r\n"),
    ),
    (
        "cut-off-length", "Notices that a body is shorter than its length?",
        lambda: answers_and_closes(HELLO[:-1]),
    ),
    (
        "cut-off-chunks", "Notices that a body lacks its last chunk?",
        lambda: answers_and_closes(CHUNKED + b"5\r\nhello\r\n"),
    ),
]:  # fmt: skip
    _refuses(_name, _question, _script)


@probe("Notices that a TLS connection was cut off, where only its end ends the body?")
def cut_off_tls(kind: type[Client]) -> Outcome:
    import tempfile

    import trustme

    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with tempfile.NamedTemporaryFile(suffix=".pem") as file:
        authority.cert_pem.write_to_path(file.name)
        script = answers_and_closes(OK + b"Connection: close\r\n\r\nhel")
        with session(kind, script, server_context=context, cafile=file.name) as (client, _):
            return refused(attempt(client))


STRAY = HELLO.replace(b"hello", b"stray")


def _answer_to_second(kind: type[Client], script: Script, pause: float) -> Outcome:
    with session(kind, script) as (client, server):
        attempt(client)
        time.sleep(pause)
        reply = attempt(client)
        if isinstance(reply, Reply):
            return f"{'no' if reply.body == b'stray' else 'yes'} ({reply.body.decode()!r})"
        return f"yes ({'a new connection' if server.connections > 1 else named(reply)})"


@probe("Is not fooled by a second response that comes along with the first?")
def stray_along(kind: type[Client]) -> Outcome:
    return _answer_to_second(kind, answers(HELLO + STRAY, HELLO), 0)


@probe("Is not fooled by a response that comes before the request?")
def stray_later(kind: type[Client]) -> Outcome:
    def script(sock: socket.socket) -> None:
        head(sock)
        sock.sendall(HELLO)
        time.sleep(0.2)
        sock.sendall(STRAY)
        answers(HELLO)(sock)

    return _answer_to_second(kind, script, 0.4)


def _sent(kind: type[Client], path: str, fields: Mapping[str, str]) -> bytes | Exception:
    """Return what the server was sent, or what the client raised instead of sending it."""
    heads: list[bytes] = []

    def script(sock: socket.socket) -> None:
        if data := head(sock)[0]:
            heads.append(data)
            sock.sendall(HELLO)

    with session(kind, script) as (client, _):
        reply = attempt(client, path=path, fields=fields)
    return heads[0] if heads or isinstance(reply, Reply) else reply


@probe("Refuses a line end in a field value?")
def injected_field(kind: type[Client]) -> Outcome:
    sent = _sent(kind, "/", {"X-Name": "a\r\nX-Admin: yes"})
    if isinstance(sent, Exception):
        return f"yes ({named(sent)})"
    return "no (sent as another field)" if b"\r\nX-Admin: yes" in sent else "yes (taken out)"


@probe("Refuses, or quotes, a space in a request target?")
def space_in_target(kind: type[Client]) -> Outcome:
    sent = _sent(kind, "/a HTTP/1.1", {})
    if isinstance(sent, Exception):
        return f"yes ({named(sent)})"
    line = sent.split(b"\r\n")[0].decode()
    return f"no ({line!r})" if line.count(" ") > 2 else f"yes ({line!r})"


@probe("Delivers the response to an upload that the server refuses and resets?")
def early_refusal(kind: type[Client]) -> Outcome:
    def script(sock: socket.socket) -> None:
        head(sock)
        sock.sendall(
            b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 9\r\nConnection: close\r\n\r\n"
            b"too large"
        )
        time.sleep(0.3)  # so that the response is there before the reset
        reset(sock)

    with session(kind, script) as (client, _):
        reply = attempt(client, "PUT", body=LARGE)
    return f"yes ({reply.status})" if isinstance(reply, Reply) else f"no ({named(reply)})"


@probe("Can ask before it sends a body (100-continue)?")
def asks_first(kind: type[Client]) -> Outcome:
    came: list[int] = []

    def script(sock: socket.socket) -> None:
        before, after = head(sock)
        came.append(len(after) if b"\r\nexpect: 100-continue" in before.lower() else -1)
        sock.settimeout(0.3)
        with contextlib.suppress(TimeoutError):
            came[0] += len(sock.recv(1))
        sock.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")

    with session(kind, script, expect=True) as (client, _):
        attempt(client, "PUT", body=LARGE)
    if came[0] < 0:
        return "no (does not ask)"
    return f"no (asks, and does not wait: {came[0]:,} bytes)" if came[0] else "yes"


@probe("Shows interim responses such as 103 (Early Hints)?")
def interim(kind: type[Client]) -> Outcome:
    early = b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n"
    with session(kind, answers(early + HELLO)) as (client, _):
        reply = attempt(client)
    if isinstance(reply, Exception):
        return f"no ({named(reply)})"
    if reply.status != 200:
        return f"no (takes it for the response: {reply.status})"
    return "yes" if reply.interim == [103] else "no (skipped)"


@probe("Shows the trailer section?")
def trailers(kind: type[Client]) -> Outcome:
    script = answers(CHUNKED + b"5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n")
    with session(kind, script) as (client, _):
        reply = attempt(client)
    if isinstance(reply, Exception):
        return f"no ({named(reply)})"
    return "yes" if reply.trailers.get("X-Sum") == "1" else "no (skipped)"


@probe("Can send requests before the response to the first has come (pipelining)?")
def pipelining(kind: type[Client]) -> Outcome:
    came: list[int] = []

    def script(sock: socket.socket) -> None:
        data = b""
        sock.settimeout(0.5)
        with contextlib.suppress(TimeoutError):
            while data.count(b"\r\n\r\n") < 2 and (more := sock.recv(65536)):
                data += more
        came.append(data.count(b"\r\n\r\n"))
        sock.sendall(HELLO * came[0])

    with session(kind, script) as (client, server):
        try:
            client.twice()
        except Exception as exc:
            return f"no ({named(exc)})"
        if came == [2]:
            return "yes"
        return "no (connects again)" if server.connections > 1 else "no (waits)"


@probe("Can limit the total time of a request, up to the last byte of the body?")
def total_time(kind: type[Client]) -> Outcome:
    def script(sock: socket.socket) -> None:
        head(sock)
        sock.sendall(OK + b"Content-Length: 20\r\n\r\n")
        for _ in range(20):
            time.sleep(0.1)
            sock.sendall(b"x")

    with session(kind, script, limit=0.5) as (client, _):
        reply = attempt(client)
    return f"yes ({named(reply)})" if isinstance(reply, Exception) else "no (took 2 s)"


def _fetched(kind: type[Client], run: Callable[..., Any]) -> Outcome:
    """Whether its async methods work, run by *run*."""
    with Server(answers(HELLO)) as server:
        try:
            status = run(kind.fetch, f"http://127.0.0.1:{server.port}")
        except NotImplementedError:
            return "no (has no async methods)"
        except Exception as exc:
            return f"no ({named(exc)})"
    return f"yes ({status})"


@probe("Has async methods that run in asyncio?")
def in_asyncio(kind: type[Client]) -> Outcome:
    return _fetched(kind, lambda function, url: asyncio.run(function(url)))


@probe("Has async methods that run in trio?")
def in_trio(kind: type[Client]) -> Outcome:
    import trio

    return _fetched(kind, trio.run)


def _in_browser(kind: type[Client], *responses: bytes) -> tuple[Reply | Exception, list[bytes]]:
    """Make two exchanges with everything switched on; the second's reply, and all heads."""
    heads: list[bytes] = []

    def script(sock: socket.socket) -> None:
        for response in responses:
            heads.append(head(sock)[0].lower())
            sock.sendall(response)

    with session(kind, script, browser=True) as (client, _):
        first = attempt(client)
        return (attempt(client) if len(heads) < len(responses) else first), heads


@probe("Follows redirects?")
def redirects(kind: type[Client]) -> Outcome:
    moved = b"HTTP/1.1 302 Found\r\nLocation: /new\r\nContent-Length: 0\r\n\r\n"
    _, heads = _in_browser(kind, moved, HELLO)
    return "yes" if heads[-1].startswith(b"get /new ") else "no"


@probe("Keeps cookies?")
def cookies(kind: type[Client]) -> Outcome:
    _, heads = _in_browser(kind, HELLO.replace(b"OK\r\n", b"OK\r\nSet-Cookie: a=1\r\n"), HELLO)
    return "yes" if b"\r\ncookie: a=1" in heads[-1] else "no"


@probe("Decompresses (gzip)?")
def decompression(kind: type[Client]) -> Outcome:
    data = gzip.compress(b"hello")
    fields = b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(data)
    reply, _ = _in_browser(kind, OK + fields + data)
    return "yes" if isinstance(reply, Reply) and reply.body == b"hello" else "no"


@probe("Can receive a body into a buffer of the caller's?")
def readinto(kind: type[Client]) -> Outcome:
    return "yes" if kind.can_readinto() else "no"


@probe("Needs no other package?")
def no_dependencies(kind: type[Client]) -> Outcome:
    needed = kind.dependencies()
    return f"no ({len(needed)})" if needed else "yes"
