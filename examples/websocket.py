"""Talk to a WebSocket server: dugong does the handshake, wsproto the frames.

    python examples/websocket.py HOST PORT PATH MESSAGE [MESSAGE ...]

Sends each message and prints the reply, as from an echo server. After the 101 (Switching
Protocols), `detach` returns the connected socket, and the bytes that arrived after the response:
they are the beginning of the new protocol.

It needs wsproto (`pip install wsproto`).
"""

from __future__ import annotations

import base64
import secrets
import socket
import sys
from collections.abc import Iterator
from hashlib import sha1

from wsproto import ConnectionType
from wsproto.connection import Connection, ConnectionState
from wsproto.events import CloseConnection, Event, Ping, TextMessage

from dugong import HTTPConnection

#: RFC 6455 section 1.3: shows that the server understands the handshake.
GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def upgrade(host: str, port: int, path: str) -> tuple[socket.socket, bytes]:
    """Switch to the WebSocket protocol. Returns the socket, and the bytes already received."""
    key = base64.b64encode(secrets.token_bytes(16)).decode()
    fields: dict[str, str | int] = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": 13,
        "Sec-WebSocket-Key": key,
    }
    with HTTPConnection(host, port, timeout=60) as conn:
        response = conn.request("GET", path, fields)
        if response.status != 101:
            sys.exit(f"the server does not switch: {response.status} {response.reason}")
        expected = base64.b64encode(sha1((key + GUID).encode()).digest()).decode()  # noqa: S324
        if response.headers["Sec-WebSocket-Accept"] != expected:
            sys.exit("the server did not understand the handshake")
        return conn.detach()


def receive(sock: socket.socket, ws: Connection) -> Iterator[Event]:
    """Yield what the server sends, and answer its pings, until it closes."""
    while True:
        for event in ws.events():
            if isinstance(event, Ping) and ws.state is ConnectionState.OPEN:
                sock.sendall(ws.send(event.response()))
            yield event
            if isinstance(event, CloseConnection):
                return
        ws.receive_data(sock.recv(65536) or None)  # None: the connection has ended


def main(host: str, port: int, path: str, messages: list[str]) -> None:
    sock, rest = upgrade(host, port, path)
    with sock:
        sock.settimeout(60)
        ws = Connection(ConnectionType.CLIENT, trailing_data=rest)
        events = receive(sock, ws)
        for message in messages:
            sock.sendall(ws.send(TextMessage(data=message)))
            finished = False
            while not finished:
                event = next(events)
                if isinstance(event, CloseConnection):
                    sys.exit(f"the server has closed: {event.code} {event.reason or ''}".rstrip())
                if isinstance(event, TextMessage):
                    print(event.data, end="\n" if event.message_finished else "")
                    finished = event.message_finished
        sock.sendall(ws.send(CloseConnection(code=1000)))
        for _ in events:  # until the server has closed, too
            pass


if __name__ == "__main__":
    if len(sys.argv) < 5:
        sys.exit("usage: websocket.py HOST PORT PATH MESSAGE [MESSAGE ...]")
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4:])
