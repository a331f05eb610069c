"""A server that does everything in small pieces, so that a client of it waits often.

Run as ``python -m tests.support.piecemeal PORT TLS_PORT CHAIN KEY``. It answers
``/length/SIZE/TOKEN`` and ``/chunked/SIZE/TOKEN``, whatever the method, with `answer`: what belongs
to this path and this request body, and to no other.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import sys
from hashlib import sha256

#: Segments this small, and buffers to match, let a client's sending block soon.
_SEGMENT = 1400
_BUFFER = 4096

_PIECES = 5


def answer(path: str, body: bytes) -> bytes:
    """Return the body of the response to a request with this path and *body*."""
    size = int(path.split("/")[2])
    line = f"{path} {len(body)} {sha256(body).hexdigest()}\n".encode()
    return (line * (size // len(line) + 1))[:size]


async def _read_body(
    fields: dict[str, str], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> bytes:
    if "expect" in fields:
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    parts = []
    if "transfer-encoding" in fields:
        while size := int(await reader.readline(), 16):
            parts.append(await reader.readexactly(size))
            await reader.readline()
            await asyncio.sleep(0)
        await reader.readline()
    left = int(fields.get("content-length", 0))
    while left > 0:
        part = await reader.read(min(left, _BUFFER))
        if not part:
            raise EOFError
        parts.append(part)
        left -= len(part)
        await asyncio.sleep(0)
    return b"".join(parts)


async def _exchange(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("ascii")
    line, *lines = head.rstrip().split("\r\n")
    fields = {name.lower(): value for name, _, value in (text.partition(": ") for text in lines)}
    path = line.split(" ")[1]
    content = answer(path, await _read_body(fields, reader, writer))
    chunked = path.startswith("/chunked/")
    size = len(content) // _PIECES + 1
    pieces = [content[i : i + size] for i in range(0, len(content), size)]
    framing = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {len(content)}"
    writer.write(f"HTTP/1.1 200 OK\r\nX-Path: {path}\r\n".encode())
    await asyncio.sleep(0)
    writer.write(f"{framing}\r\n\r\n".encode())
    for piece in pieces:
        await asyncio.sleep(0)
        writer.write(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
        await writer.drain()
    if chunked:
        await asyncio.sleep(0)
        writer.write(b"0\r\n\r\n")


async def _serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while True:
            await _exchange(reader, writer)
    except (EOFError, OSError):  # the client has gone, which is what it is here to do
        pass
    finally:
        writer.transport.abort()


def _listen(family: int, address: str, port: int) -> socket.socket:
    sock = socket.socket(family)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, _SEGMENT)
    sock.bind((address, port))
    return sock


async def _main(port: int, tls_port: int, chain: str, key: str) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain, key)
    for number, tls in ((port, None), (tls_port, context)):
        sock = _listen(socket.AF_INET, "127.0.0.1", number)
        await asyncio.start_server(_serve, sock=sock, ssl=tls, backlog=1024)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_main(int(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:]))
