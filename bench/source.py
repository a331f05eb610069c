"""A server for what nginx cannot do, at the speed of bare system calls.

    GET /chunked/SIZE/TOTAL   TOTAL bytes in chunks of SIZE
    GET /bytes/N/0            N bytes
    GET /fields/N             the document, with N fields in the head, one of which is always new
    GET /drip/SIZE/TOTAL      TOTAL bytes in segments of SIZE, each sent on its own
    HEAD /slow/MS/N           sends the head of the document after MS milliseconds
    PUT /sink                 receives the body and says how long it was
    PUT /digest               says its SHA-256 instead

A path of PUT that ends with ``/xml`` gets its answer in an element of that name.

Run as ``python -m bench.source CHAIN KEY``; prints the ports, the second of which speaks TLS.
"""

from __future__ import annotations

import socket
import ssl
import sys
import time
from contextlib import suppress
from functools import cache
from hashlib import sha256
from itertools import count
from threading import Thread

from bench.content import BLOCK, DOCUMENT, FIELD, MIB, VALUE, WIRE_LENGTH

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"

#: Seconds between two segments of a drip: longer than a client takes to receive one.
DRIP = 20e-6


def head(*fields: str) -> bytes:
    """Return the head of a response."""
    lines = ["HTTP/1.1 200 OK", "Content-Type: application/octet-stream", f"{FIELD}: {VALUE}"]
    return ("\r\n".join([*lines, *fields]) + "\r\n\r\n").encode()


@cache
def chunked_mib(size: int) -> bytes:
    """Return one MiB of body in chunks of *size*."""
    starts = range(0, MIB, size)
    return b"".join(b"%x\r\n%b\r\n" % (size, BLOCK[i : i + size]) for i in starts)


def send_chunked(sock: socket.socket, size: int, total: int) -> None:
    """Send *total* bytes, which is a number of MiB or less than one."""
    block = chunked_mib(size)
    end = b"0\r\n\r\n"
    if rest := total % MIB:
        end = b"%x\r\n%b\r\n" % (rest, BLOCK[:rest]) + end
    length = total // MIB * len(block) + len(end)
    sock.sendall(head("Transfer-Encoding: chunked", f"{WIRE_LENGTH}: {length}"))
    for _ in range(total // MIB):
        sock.sendall(block)
    sock.sendall(end)


def send_bytes(sock: socket.socket, size: int, _: int) -> None:
    """Send *size* bytes; the second number only gives the path another part."""
    sock.sendall(head(f"Content-Length: {size}") + BLOCK[: size % MIB])
    for _ in range(size // MIB):
        sock.sendall(BLOCK)


@cache
def many_fields(fields: int) -> bytes:
    """Return a head with so many *fields*, to be formatted with a number."""
    more = [f"X-Field-{n}: value of field number {n}" for n in range(fields - 4)]
    return head(f"Content-Length: {len(DOCUMENT)}", "X-Request: %08d", *more)


#: No two heads are alike: a client may remember what it has parsed.
responses = count()


def send_fields(sock: socket.socket, fields: int) -> None:
    sock.sendall(many_fields(fields) % next(responses) + DOCUMENT)


def send_drip(sock: socket.socket, size: int, total: int) -> None:
    segment = BLOCK[:size]
    sock.sendall(head(f"Content-Length: {total}"))
    for start in range(0, total, size):
        until = time.perf_counter() + DRIP
        while time.perf_counter() < until:
            pass
        sock.sendall(segment[: total - start])


def send_slowly(sock: socket.socket, milliseconds: int, _: int) -> None:
    """Send a head, as to a HEAD request; the second number only makes the URL unique."""
    time.sleep(milliseconds / 1000)
    sock.sendall(head(f"Content-Length: {len(DOCUMENT)}"))


RESOURCES = {
    "bytes": send_bytes,
    "chunked": send_chunked,
    "fields": send_fields,
    "drip": send_drip,
    "slow": send_slowly,
}


def receive(sock: socket.socket, began: bytes, length: int, digest: bool) -> str:
    """Receive a body and return what to report about it."""
    buffer = bytearray(MIB)
    view = memoryview(buffer)
    hashing = sha256(began)
    left = length - len(began)
    # On Linux these bytes are thrown away without having been copied (tcp(7)), so that receiving
    # never takes longer than sending. TLS has to decrypt them.
    discard = not digest and not isinstance(sock, ssl.SSLSocket) and sys.platform == "linux"
    flags = socket.MSG_TRUNC if discard else 0
    while left:
        count = sock.recv_into(buffer, min(left, MIB), flags)
        if not count:
            raise ConnectionError
        left -= count
        if digest:
            hashing.update(view[:count])
    return hashing.hexdigest() if digest else str(length)


def answer(sock: socket.socket, request: bytes, began: bytes) -> bytes:
    """Answer one request; return what came after it."""
    line, *lines = request.decode("latin-1").split("\r\n")
    method, path, _ = line.split(" ")
    name, *numbers = path[1:].split("/")
    if method in ("GET", "HEAD"):
        RESOURCES[name](sock, *map(int, numbers))
        return began
    fields = {key.lower(): value.strip() for key, _, value in (x.partition(":") for x in lines)}
    length = int(fields["content-length"])
    if "expect" in fields:
        sock.sendall(CONTINUE)
    body = receive(sock, began[:length], length, name == "digest").encode()
    if path.endswith("/xml"):
        body = b"<xml>%b</xml>" % body
    sock.sendall(head(f"Content-Length: {len(body)}") + body)
    return began[length:]


def serve(sock: socket.socket, context: ssl.SSLContext | None) -> None:
    """Answer all requests of one connection."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)
    with suppress(OSError):  # the client goes when it has what it wants
        if context is not None:
            sock = context.wrap_socket(sock, server_side=True)
        with sock:
            data = b""
            while True:
                while b"\r\n\r\n" not in data:
                    more = sock.recv(MIB)
                    if not more:
                        return
                    data += more
                request, _, data = data.partition(b"\r\n\r\n")
                data = answer(sock, request, data)


def accept(listener: socket.socket, context: ssl.SSLContext | None) -> None:
    """Serve every connection in its own thread."""
    while True:
        sock, _ = listener.accept()
        Thread(target=serve, args=(sock, context), daemon=True).start()


def main(chain: str, key: str) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain, key)
    plain, tls = (socket.create_server(("127.0.0.1", 0), backlog=1024) for _ in range(2))
    print(plain.getsockname()[1], tls.getsockname()[1], flush=True)
    Thread(target=accept, args=(plain, None), daemon=True).start()
    accept(tls, context)


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        main(*sys.argv[1:])
