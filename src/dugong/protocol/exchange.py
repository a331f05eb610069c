"""One exchange: a request, how much of it was sent, and what is known of its response.

`state.ConnectionState` holds the exchanges of a whole connection.

The hardest question an exchange has to answer is whether its request can be sent again without
doing anything twice (`Exchange.safe_to_retry`). `bytes_sent` alone cannot answer it, because an
exception may end a sending call after the system call has sent bytes and before they are counted:

1. A signal handler raises right after the system call returns. So the writer sets `send_uncertain`
   before each system call and clears it when the bytes are counted.
2. OpenSSL has encrypted a record and written part of it, and then reports that it would block. It
   counts nothing until the record is complete. So `send_uncertain` stays set while
   `Stream.mid_write` is true.

In both cases the request counts as sent, although `bytes_sent` may be 0.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .content import Content
from .messages import IDEMPOTENT_METHODS, HTTPResponse, Request

if TYPE_CHECKING:
    from ..transport.within import ExchangeLimits


class Exchange:
    """One request, ready to be sent, and the progress of its exchange.

    Attributes:
        request: the caller's request.
        head: request line and fields, with the empty line, as bytes.
        content: a body that was passed with the request; ``None`` if there is none, or if the
            caller writes it later.
        length: the number of bytes in the body; ``None`` if it is unknown.
        chunked: whether the body is sent in chunks (RFC 9112 section 7.1).
        follows: whether the body is sent separately from the head.
        expect_continue: whether the body awaits a 100 (Continue).
        may_drop_expect: whether the request can be sent again without Expect: the caller did not
            set that field, and the body is replayable.
        closes: whether this is the connection's last exchange.
        upgrades: whether a 101 (Switching Protocols) is a valid response.
        headers_used_up: whether the caller passed the headers as an iterator, which is now empty.
        limits: the exchange's own time limits, or ``None``.
        bytes_sent: bytes of head and body that were given to the system.
        body_left: bytes of the body not yet sent, if it follows; ``None`` if unknown (chunked).
        body_touched: whether any of a `BodyFollowing` body was given to the system.
        informational: the interim responses so far.
        response_started: whether any byte of the final response has arrived.
        refused: whether the response arrived early and ended sending.
        receive_tried: whether a call has tried to receive its response.
        send_uncertain: whether bytes may have been sent that `bytes_sent` does not count.
        connection_lost: whether the system reported, while the request was being sent, that the
            connection is gone.
        received_before: bytes that the connection had received (`ResponseReader.total`) before
            the first byte of the request was sent. Its response cannot begin among them (RFC 9112
            section 9.2).
    """

    # Defaults are class attributes, because most exchanges never change them.
    head = b""
    chunked = False
    may_drop_expect = False
    closes = False
    upgrades = False
    headers_used_up = False
    limits: ExchangeLimits | None = None
    bytes_sent = 0
    body_touched = False
    response_started = False
    refused = False
    receive_tried = False
    send_uncertain = False
    connection_lost = False
    received_before = 0
    informational: tuple[HTTPResponse, ...] = ()

    def __init__(
        self, request: Request, content: Content | None, length: int | None, expect: bool
    ) -> None:
        self.request = request
        self.content = content
        self.length = self.body_left = length
        self.expect_continue = expect and length != 0
        self.follows = length != 0 and (self.expect_continue or content is None)

    @property
    def safe_to_retry(self) -> bool:
        """Whether the caller can send the request again without doing anything twice.

        Either no byte of it can have been sent, or its method is idempotent (RFC 9110 section
        9.2.2) and the caller has not written any of a `BodyFollowing`. Also, the headers are not a
        used-up iterator, and the body is replayable or was never taken. A one-shot body that was
        taken does not count against a request of which nothing was sent.
        """
        unsent = self.bytes_sent == 0 and not self.send_uncertain
        if not unsent and (self.body_touched or self.request.method not in IDEMPOTENT_METHODS):
            return False
        content = self.content
        if content is None or content.repeatable:
            return not self.headers_used_up
        return unsent and not content.replayable

    @property
    def body_failed(self) -> bool:
        """Whether the caller's own iterable or file has raised an exception."""
        content = self.content
        return content is not None and content.failed

    def restore(self) -> bool:
        """Release the body. If the request is safe to retry, restore it for the caller first.

        Returns:
            The final value of `safe_to_retry`. It is False after all if a file fails to seek back.
        """
        content, safe = self.content, self.safe_to_retry
        if content is None:
            return safe
        if not safe:
            content.finish()
            return False
        return content.restore() or not content.replayable
