"""A link with its two halves: what is exchanged as a whole when the connection is made anew."""

from __future__ import annotations

from .errors import ConnectionClosed
from .link import Link
from .receiver import Receiver
from .sender import Sender
from .transport.activity import Activity
from .transport.connect import Route
from .transport.poll import Co, T
from .transport.stream import UNREQUESTED, unusable
from .transport.within import co_within


class Session:
    """One connection: `Link`, `Sender` and `Receiver`.

    Attributes:
        pipelined: whether a `Pipeline` sends and receives here. Nobody else knows which response
            would be next, so whoever comes to do the same disconnects if any is outstanding.
    """

    __slots__ = ("link", "pipelined", "receiver", "sender")

    def __init__(self, route: Route, activity: Activity) -> None:
        self.link = Link(route, activity)
        self.sender = Sender(self.link)
        self.receiver = Receiver(self.link)
        self.pipelined = False

    @property
    def owes(self) -> bool:
        """Whether closing the connection now loses a response, and no call notices.

        A call that is reading or sending raises `ConnectionClosed`, which is notice enough. So is
        the exception that has ended receiving, or that has cut a request off.
        """
        link = self.link
        if link.closed or self.pipelined or not link.exchanges.outstanding:
            return False
        return not (self.receiver.turn.taken or link.send_turn.taken)

    def to_send(self, crt: Co[T]) -> Co[T]:
        """Return *crt*, which sends, within the time limits of its exchange if that has any."""
        exchanges = self.link.exchanges
        return co_within(exchanges.sending_limits, crt) if exchanges.limited else crt

    def to_receive(self, crt: Co[T]) -> Co[T]:
        """Return *crt*, which receives, within the time limits of its exchange if that has any."""
        exchanges = self.link.exchanges
        return co_within(exchanges.receiving_limits, crt) if exchanges.limited else crt

    def idle_fault(self) -> ConnectionClosed | None:
        """Return why no further request should be sent, if nothing is outstanding; or ``None``."""
        link = self.link
        if not link.exchanges.idle:
            return None
        fault = link.idle_fault()
        if fault is None and self.receiver.buffer.end:
            fault = unusable(UNREQUESTED)
        return fault
