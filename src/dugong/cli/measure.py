"""The measurements of ``dugong time``: the time of each event in an exchange."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from ..connection.blocking import HTTPConnection
from ..connection.settings import HTTP_PORT, HTTPS_PORT
from ..errors import ConnectionClosed, DugongError
from ..protocol.authority import authority
from ..protocol.headers import Headers
from ..protocol.messages import HTTPResponse, Request
from ..protocol.proxy import parse_proxy
from ..transport.resolve import numeric
from .arguments import Document
from .output import Failure
from .servers import why

#: The phases of an exchange, and the event that ends each (see `HTTPConnection.on_event`).
PHASES = {
    "resolving": "resolved",
    "connecting": "connected",
    "TLS": "secured",
    "sending": "sent",
    "waiting": "first_byte",
    "transfer": "done",
}

#: The events that occur before there is a connection.
_CONNECTING = frozenset({"resolved", "connected", "secured"})

_BLOCK_SIZE = 256 * 1024

Fields = list[tuple[str, str]]


@dataclass
class Exchange:
    """A request and its response.

    Attributes:
        document: the requested document.
        fields: the fields of the request.
        started: the date and time at which the exchange began.
        start: the same in seconds of the monotonic clock, as are the `marks`.
        marks: the time of each event.
        connection: the number of its connection, from 1.
        address: the IP address of the server, ``None`` if it is unknown.
        response: the head of the response.
        body_size: the size of the response body in bytes.
        request_head_size: the size of the request head in bytes, ``None`` if it is unknown.
        response_head_size: the size of the response head in bytes, ``None`` if it is unknown.
    """

    document: Document
    fields: Fields
    started: datetime
    start: float
    response: HTTPResponse
    marks: dict[str, float] = field(default_factory=dict)
    connection: int = 0
    address: str | None = None
    body_size: int = 0
    request_head_size: int | None = None
    response_head_size: int | None = None

    def phases(self) -> dict[str, tuple[float, float]]:
        """Return the beginning and the end of each phase that occurred."""
        found = {}
        at = self.start
        for phase, event in PHASES.items():
            if event in self.marks:
                found[phase] = (at, self.marks[event])
                at = self.marks[event]
        return found

    @property
    def end(self) -> float:
        return self.marks["done"]

    @property
    def duration(self) -> float:
        """Seconds from the beginning to the end of the exchange."""
        return self.end - self.start


class Stopwatch:
    """Records the time of each event on a connection.

    Args:
        conn: the connection. This sets its `on_event`.
        args: the arguments that were passed to `servers.connection`.
    """

    def __init__(self, conn: HTTPConnection, args: argparse.Namespace) -> None:
        self._conn = conn
        self._is_direct = args.proxy is None  # whether its peer is the server
        looked_up = [conn.hostname]
        if args.proxy is not None:
            proxy = parse_proxy(args.proxy)
            looked_up = [proxy.host, *(looked_up if proxy.scheme == "socks5" else ())]
        self._has_name = any(numeric(host, conn.port) is None for host in looked_up)
        self._exchanges: list[Exchange] = []
        self._done = self._sent = 0  # how many exchanges are complete, or have been sent
        self._connections = 0
        self._ready = 0.0  # when the connection was established
        self._before = 0, 0  # bytes sent and received before the exchange
        conn.on_event = self._on_event

    def begin(self, document: Document, fields: Fields) -> Exchange:
        """Begin an exchange behind those that are in progress."""
        started = datetime.now().astimezone()
        pending = HTTPResponse("GET", document.target, 0, "", Headers())
        exchange = Exchange(document, fields, started, time.monotonic(), pending)
        self._exchanges.append(exchange)
        self._before = self._conn.bytes_sent, self._conn.bytes_received
        return exchange

    def give_up(self) -> None:
        """Drop the incomplete exchanges."""
        del self._exchanges[self._done :]
        self._sent = self._done

    def _on_event(self, name: str) -> None:
        now = time.monotonic()
        exchange = self._exchanges[self._done]
        if name in _CONNECTING:
            self._connections += name == "connected"
            self._ready = now
            self._sent = self._done  # all unanswered requests are sent (again)
            self._before = self._conn.bytes_sent, self._conn.bytes_received
            if name == "resolved" and not self._has_name:
                return  # an address: no name was looked up
        elif name == "sent":
            exchange = self._exchanges[self._sent]
            if self._sent > self._done:  # only the first one includes connecting
                exchange.start = max(exchange.start, self._ready)
            self._sent += 1
            exchange.connection = self._connections
            exchange.address = self._peer() if self._is_direct else None
            exchange.request_head_size = self._conn.bytes_sent - self._before[0]
        elif name == "done":
            self._done += 1
            exchange.response_head_size = self._conn.bytes_received - self._before[1]
        exchange.marks[name] = now

    def _peer(self) -> str | None:
        address = self._conn.peer_address
        return address[0].partition("%")[0] if isinstance(address, tuple) else None


def fetch_one(
    conn: HTTPConnection, watch: Stopwatch, document: Document, args: argparse.Namespace
) -> Exchange:
    """Fetch a document in a separate exchange.

    Raises:
        Failure, DugongError: the document could not be fetched.
    """
    kept = conn.bytes_received > 0
    fields = fields_of(document, args.headers)
    exchange = watch.begin(document, fields)
    try:
        try:
            response = conn.request("GET", document.target, fields)
        except ConnectionClosed as exc:
            if not kept or not exc.safe_to_retry or exc.response_started:
                raise
            conn.disconnect()  # the server has closed the idle connection
            watch.give_up()
            exchange = watch.begin(document, fields)
            response = conn.request("GET", document.target, fields)
        exchange.response = response
        exchange.body_size = _body_size(conn)
    except OSError as exc:
        watch.give_up()
        conn.disconnect()
        if isinstance(exc, DugongError):
            raise
        raise Failure(why(exc, conn, args)) from exc
    except DugongError:
        watch.give_up()
        conn.disconnect()
        raise
    if response.status < 200:  # a 101: the server has switched to another protocol
        conn.disconnect()
    assert exchange.response_head_size is not None
    exchange.response_head_size -= exchange.body_size
    if response.length is None or response.informational:
        exchange.response_head_size = None  # would include chunk headers and interim responses
    return exchange


def fetch_pipelined(
    conn: HTTPConnection, documents: Sequence[Document], args: argparse.Namespace
) -> list[Exchange]:
    """Fetch URLs of one server in a pipeline, on a new connection.

    Raises:
        Failure, DugongError: one of them could not be fetched.
    """
    conn.disconnect()
    requests = _Requests(documents, args, Stopwatch(conn, args))
    exchanges = requests.exchanges
    try:
        for number, response in enumerate(conn.pipeline(requests)):
            exchanges[number].response = response
            exchanges[number].body_size = _body_size(conn)
    except OSError as exc:
        if isinstance(exc, DugongError):
            raise
        raise Failure(why(exc, conn, args)) from exc
    for exchange in exchanges:
        # The events only give the bytes of several exchanges together.
        exchange.request_head_size = exchange.response_head_size = None
    return exchanges


class _Requests:
    """The requests for several URLs. Each exchange begins when a pipeline takes its request.

    It has a length, because a pipeline then sends the requests together.
    """

    def __init__(
        self, documents: Sequence[Document], args: argparse.Namespace, watch: Stopwatch
    ) -> None:
        self._documents = documents
        self._given: Fields = args.headers
        self._watch = watch
        self.exchanges: list[Exchange] = []

    def __len__(self) -> int:
        return len(self._documents)

    def __iter__(self) -> Iterator[Request]:
        for document in self._documents:
            fields = fields_of(document, self._given)
            self.exchanges.append(self._watch.begin(document, fields))
            yield Request("GET", document.target, fields)


def _body_size(conn: HTTPConnection) -> int:
    buffer = memoryview(bytearray(_BLOCK_SIZE))
    size = 0
    while count := conn.readinto(buffer):
        size += count
    return size


def address_of(document: Document) -> str:
    """Return the URL of a document as it was requested."""
    host = authority(document.host, document.port)
    return f"{'https' if document.tls else 'http'}://{host}{document.target}"


def fields_of(document: Document, given: Fields) -> Fields:
    """Return all fields of a request: the user's, and those of every request."""
    usual = HTTPS_PORT if document.tls else HTTP_PORT
    port = None if document.port == usual else document.port
    fields = [
        ("Host", authority(document.host, port)),
        ("Accept-Encoding", "identity"),
        ("Connection", "keep-alive"),
    ]
    names = {name.lower() for name, _ in given}
    return [*(one for one in fields if one[0].lower() not in names), *given]
