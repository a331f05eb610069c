"""One request in flight; `exchange` has the state of all those of a connection."""

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
        looked_for: whether its response was looked for.
        in_doubt: whether bytes may be on their way that `bytes_sent` does not count: set before
            and cleared after each call of the system, so that an interrupt in between shows.
        connection_lost: whether the system said, while it was being sent, that there is no
            connection any more.
        received_before: how many bytes had been received before any of it was sent, on whatever
            scale. Its response cannot be among them.
    """

    bytes_sent = 0
    body_touched = False
    response_started = False
    refused = False
    looked_for = False
    in_doubt = False
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
        unsent = self.bytes_sent == 0 and not self.in_doubt
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

    def give_back(self) -> bool:
        """Let go of the body. If the request is safe to retry, the caller gets it as it was given.

        Returns:
            `safe_to_retry`, which is now certain: a file may turn out not to seek any more.
        """
        content, safe = self.outgoing.content, self.safe_to_retry
        if content is None:
            return safe
        if not safe:
            content.settle()
            return False
        return content.give_back() or not content.replayable
