"""One exchange: a request and its response. `state` has those of a whole connection."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .content import Content
from .messages import IDEMPOTENT_METHODS, HTTPResponse, Request

if TYPE_CHECKING:
    from ..transport.within import ExchangeLimits


class Exchange:
    """One request, ready to be sent, and what has become of it.

    Attributes:
        request: what the caller asked for.
        head: request line and fields, with the empty line, as bytes.
        content: a body that was passed with the request; ``None`` if there is none, or if the
            caller writes it later.
        length: the number of bytes in the body; ``None`` if it is unknown.
        chunked: whether the body is sent in chunks (RFC 9112 section 7.1).
        follows: whether the body is not sent at once with the head.
        expect_continue: whether a 100 (Continue) is awaited before the body.
        may_drop_expect: whether the request can be sent again without Expect: the caller did not
            set that field, and the body is replayable.
        closes: whether this is the connection's last exchange.
        upgrades: whether a 101 (Switching Protocols) is a valid answer.
        headers_used_up: whether the caller passed the headers as an iterator, and has only that.
        limits: the time limits of the exchange, if it has its own.
        bytes_sent: how many of its bytes were given to the system, head and body.
        body_left: bytes of the body not yet sent, if it follows; ``None`` if unknown (chunked).
        body_touched: whether any of a `BodyFollowing` body was given to the system.
        informational: the interim responses so far.
        response_started: whether any byte of the final response has arrived.
        refused: whether its response has ended the sending of it.
        receive_tried: whether a call has tried to receive its response.
        send_uncertain: whether bytes may have been sent that `bytes_sent` does not count. It is set
            before each system call that sends, and cleared when the bytes are counted. A signal
            handler may raise in between, and the request must not be taken for an unsent one then.
        connection_lost: whether the system reported, while the request was being sent, that the
            connection is gone.
        received_before: how many bytes the connection had received (`ResponseReader.total`) before
            the first byte of the request was sent. Its response cannot be among them.
    """

    # The values that most exchanges keep are those of the class.
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
        """Whether the caller can send the request again, and that cannot do anything twice."""
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
        """Let go of the body. If the request is safe to retry, the caller gets it as it was given.

        Returns:
            `safe_to_retry`, which is now certain: a file may turn out not to seek any more.
        """
        content, safe = self.content, self.safe_to_retry
        if content is None:
            return safe
        if not safe:
            content.finish()
            return False
        return content.restore() or not content.replayable
