"""One request in flight; `state` has those of a whole connection."""

from __future__ import annotations

from .messages import IDEMPOTENT_METHODS, HTTPResponse
from .request import Outgoing


class Exchange:
    """One request and what has come of it so far.

    Attributes:
        outgoing: the request as it goes on the wire.
        bytes_sent: how much of it was given to the system, head and body.
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

    bytes_sent = 0
    body_touched = False
    response_started = False
    refused = False
    receive_tried = False
    send_uncertain = False
    connection_lost = False
    received_before = 0
    informational: tuple[HTTPResponse, ...] = ()

    def __init__(self, outgoing: Outgoing) -> None:
        self.outgoing = outgoing
        self.body_left = outgoing.length

    @property
    def safe_to_retry(self) -> bool:
        """Whether the caller can send the request again, and that cannot do anything twice."""
        outgoing = self.outgoing
        unsent = self.bytes_sent == 0 and not self.send_uncertain
        if not unsent and (self.body_touched or outgoing.request.method not in IDEMPOTENT_METHODS):
            return False
        content = outgoing.content
        if content is None or content.repeatable:
            return not outgoing.headers_used_up
        return unsent and not content.replayable

    @property
    def body_failed(self) -> bool:
        """Whether the caller's own iterable or file has raised an exception."""
        content = self.outgoing.content
        return content is not None and content.failed

    def restore(self) -> bool:
        """Let go of the body. If the request is safe to retry, the caller gets it as it was given.

        Returns:
            `safe_to_retry`, which is now certain: a file may turn out not to seek any more.
        """
        content, safe = self.outgoing.content, self.safe_to_retry
        if content is None:
            return safe
        if not safe:
            content.finish()
            return False
        return content.restore() or not content.replayable
