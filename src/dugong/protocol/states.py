"""The states of both directions of a connection, and what leads from one to the next.

What they mean is told in `exchange`, which goes through them.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class Sending(StrEnum):
    """What the sending direction is at."""

    __hash__ = str.__hash__  # that of an enum takes longer than all that a transition does

    READY = "ready"  # for a request
    REQUEST = "request"  # connecting, or sending a head and the body given with it
    CONTINUE = "continue"  # awaiting the server's word before a body
    BODY = "body"  # of a BodyFollowing, between the calls of write
    REFUSED = "refused"  # a final response came before the end of the body
    CUT_OFF = "cut off"  # a request was not sent whole


class Receiving(StrEnum):
    """What the receiving direction is at."""

    __hash__ = str.__hash__

    HEAD = "head"  # next comes a head, if any request is in flight
    BODY = "body"  # of the oldest exchange's response
    SWITCHED = "switched"  # to another protocol (101), or to a tunnel (CONNECT)
    FAILED = "failed"


SENDING: Final[dict[Sending, dict[str, Sending]]] = {
    Sending.READY: {"accepted": Sending.REQUEST},
    Sending.REQUEST: {
        "withdrawn": Sending.READY,
        "sent": Sending.READY,
        "sent, body follows": Sending.BODY,
        "sent, 100 awaited": Sending.CONTINUE,
        "final response": Sending.REFUSED,
        "cut off": Sending.CUT_OFF,
    },
    Sending.CONTINUE: {
        "100": Sending.BODY,
        "time passed": Sending.BODY,
        "final response": Sending.REFUSED,
        "cut off": Sending.CUT_OFF,
    },
    Sending.BODY: {
        "sent": Sending.READY,
        "final response": Sending.REFUSED,
        "cut off": Sending.CUT_OFF,
    },
    Sending.REFUSED: {},
    Sending.CUT_OFF: {"response after all": Sending.REFUSED},
}

RECEIVING: Final[dict[Receiving, dict[str, Receiving]]] = {
    Receiving.HEAD: {
        "head, body follows": Receiving.BODY,
        "head, switches": Receiving.SWITCHED,
        "failed": Receiving.FAILED,
    },
    Receiving.BODY: {"end of body": Receiving.HEAD, "failed": Receiving.FAILED},
    Receiving.SWITCHED: {"failed": Receiving.FAILED},
    Receiving.FAILED: {},
}

#: With the request, or its body, not yet sent whole.
UNSENT: Final = frozenset((Sending.REQUEST, Sending.CONTINUE, Sending.BODY))

# The members by themselves: to look one up at its class takes three times as long.
READY, REQUEST, CONTINUE, REQUEST_BODY, REFUSED, CUT_OFF = Sending
HEAD, RESPONSE_BODY, SWITCHED, FAILED = Receiving
