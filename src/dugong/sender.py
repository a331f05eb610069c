"""The sending half of a link: request heads and bodies."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .errors import ConnectionClosed, ConnectionTimedOut
from .link import Link, Turn
from .protocol.exchange import Exchange
from .protocol.request import Outgoing, serialise_trailers
from .transport.poll import Co

if TYPE_CHECKING:
    from .protocol.messages import HeadersArgument


class Sender:
    """Sends requests over one link."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._turn = Turn("writing to")

    def co_send(self, outgoing: Outgoing) -> Co[None]:
        """Send a request's head, with the body if that is there; connect first if need be.

        Raises:
            StateError: another request, or its body, is unfinished.
            ConnectionClosed, ConnectionTimedOut, OSError: connecting or sending failed.
        """
        link = self._link
        exchange = link.exchanges.accept(outgoing)
        pieces = [memoryview(outgoing.head)]
        if outgoing.body:
            pieces.append(outgoing.body)
        try:
            yield from link.co_connect()
            yield from self._co_send_all(exchange, pieces)
        except BaseException as exc:
            self._request_failed(exchange, exc)
            raise
        finally:
            outgoing.body = None  # the caller may change or resize the buffer again
            pieces.clear()
        link.exchanges.request_sent(exchange)
        link.wake_reader()
        if not outgoing.follows:
            link.activity.event("sent")

    def _co_send_all(self, exchange: Exchange, pieces: list[memoryview]) -> Co[None]:
        def account(count: int) -> None:
            exchange.bytes_sent += count

        return self._link.require_stream().co_send_all(pieces, account)

    def _request_failed(self, exchange: Exchange, exc: BaseException) -> None:
        """Decide what a request that was not sent whole leaves behind."""
        link, exchanges = self._link, self._link.exchanges
        exchanges.describe(exc, exchange)
        stream = link.stream
        if stream is None:
            exchanges.withdraw(exchange)  # never connected
        elif exchange.bytes_sent or stream.mid_write or isinstance(exc, ConnectionTimedOut):
            exchanges.cut_off(exchange, exc)
        elif not isinstance(exc, ConnectionClosed):
            exchanges.withdraw(exchange)  # cancelled, and nothing of it is on the wire
        elif len(exchanges.queue) > 1:
            exchanges.cut_off(exchange, exc)
        else:
            exchanges.withdraw(exchange)  # the connection was dead already, and nothing is lost
            link.close()
        link.wake_reader()

    def co_write(self, data: memoryview) -> Co[None]:
        """Send a part of the body that is due; in a chunked body it becomes one chunk.

        Raises:
            StateError, ExcessBodyData: as `Exchanges.check_write`. Nothing was sent.
            ConnectionClosed, ConnectionTimedOut: sending failed, and has ended.
        """
        exchange = self._link.exchanges.check_write(len(data))
        if not data:
            return
        pieces = [data]
        if exchange.body_left is None:
            pieces = [memoryview(b"%x\r\n" % len(data)), data, memoryview(b"\r\n")]
        yield from self._co_send_body(exchange, pieces, len(data))

    def co_end_body(self, trailers: HeadersArgument | None) -> Co[None]:
        """End a chunked body; do nothing for a body of known length that is complete.

        Raises:
            StateError, ValueError: as `Exchanges.check_end`. Nothing was sent.
            ConnectionClosed, ConnectionTimedOut: sending failed, and has ended.
        """
        end = serialise_trailers(trailers)
        exchange = self._link.exchanges.check_end(bool(trailers))
        if exchange is not None:
            yield from self._co_send_body(exchange, [memoryview(end)], 0, last=True)

    def _co_send_body(
        self, exchange: Exchange, pieces: list[memoryview], count: int, last: bool = False
    ) -> Co[None]:
        link = self._link
        with self._turn:
            exchange.body_touched = True
            try:
                yield from self._co_send_all(exchange, pieces)
            except BaseException as exc:
                link.exchanges.describe(exc, exchange)
                link.exchanges.cut_off(exchange, exc)
                raise
            link.exchanges.body_sent(exchange, count, last)
        if not link.exchanges.body_pending:
            link.activity.event("sent")
