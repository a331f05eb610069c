"""The states of both directions of a connection, and the tables of their transitions.

`state.ConnectionState` goes through them. Its module describes the rules. An event that a state's
row does not list is a bug of ours and raises `KeyError`.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class Sending(StrEnum):
    """The state of the sending direction."""

    __hash__ = str.__hash__  # an enum's own hash takes longer than the rest of a transition

    READY = "ready"  # a request may be accepted
    REQUEST = "request"  # connecting, or sending a head and the body passed with it
    CONTINUE = "continue"  # awaiting a 100 (Continue) or a final response before the body
    REQUEST_BODY = "body"  # the body follows: a BodyFollowing, or one that awaited its 100
    REFUSED = "refused"  # a final response arrived before the end of the body
    CUT_OFF = "cut off"  # a request was sent only in part


class Receiving(StrEnum):
    """The state of the receiving direction."""

    __hash__ = str.__hash__

    HEAD = "head"  # a head is next, if any request is in flight
    RESPONSE_BODY = "body"  # inside the body of the oldest exchange's response
    SWITCHED = "switched"  # another protocol (101) or a tunnel (CONNECT)
    FAILED = "failed"  # nothing more can be received


SENDING: Final[dict[Sending, dict[str, Sending]]] = {
    Sending.READY: {"accepted": Sending.REQUEST},
    Sending.REQUEST: {
        "withdrawn": Sending.READY,
        "sent": Sending.READY,
        "sent, body follows": Sending.REQUEST_BODY,
        "sent, 100 awaited": Sending.CONTINUE,
        "final response": Sending.REFUSED,
        "cut off": Sending.CUT_OFF,
    },
    Sending.CONTINUE: {
        "100": Sending.REQUEST_BODY,
        "time passed": Sending.REQUEST_BODY,
        "final response": Sending.REFUSED,
        "cut off": Sending.CUT_OFF,
    },
    Sending.REQUEST_BODY: {
        "sent": Sending.READY,
        "final response": Sending.REFUSED,
        "cut off": Sending.CUT_OFF,
    },
    Sending.REFUSED: {},
    Sending.CUT_OFF: {"response after all": Sending.REFUSED},
}

RECEIVING: Final[dict[Receiving, dict[str, Receiving]]] = {
    Receiving.HEAD: {
        "head, body follows": Receiving.RESPONSE_BODY,
        "head, switches": Receiving.SWITCHED,
        "failed": Receiving.FAILED,
    },
    Receiving.RESPONSE_BODY: {"end of body": Receiving.HEAD, "failed": Receiving.FAILED},
    Receiving.SWITCHED: {"failed": Receiving.FAILED},
    Receiving.FAILED: {},
}

#: The states in which a request or its body is not completely sent, and may still be.
UNSENT: Final = frozenset((Sending.REQUEST, Sending.CONTINUE, Sending.REQUEST_BODY))

# Module-level names, because looking up a member in its class takes three times as long.
READY, REQUEST, CONTINUE, REQUEST_BODY, REFUSED, CUT_OFF = Sending
HEAD, RESPONSE_BODY, SWITCHED, FAILED = Receiving
