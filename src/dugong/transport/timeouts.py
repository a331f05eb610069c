"""`Timeouts`: a limit for each kind of wait."""

from __future__ import annotations

from typing import Any, NoReturn

from ..protocol.arguments import check_seconds

#: Seconds for each limit that is not passed.
_DEFAULT = 30


class Timeouts:
    """A limit for each kind of wait, to be passed as *timeout*. Immutable.

    Each limit is a number of seconds, or ``None`` for no limit. The default of each is 30 seconds.

    Args:
        pool: the limit for waiting until a pool has a connection to lease. A connection ignores it.
        connect: one limit for resolving the name, connecting, opening a tunnel and the TLS
            handshake together.
        send: the limit for one wait in which no byte can be sent.
        receive: the limit for one wait in which no byte arrives.

    Raises:
        TypeError: a limit is neither a number nor ``None``.
        InvalidRequest: a limit is negative or NaN.
    """

    __slots__ = ("_limits",)

    _limits: tuple[float | None, float | None, float | None, float | None]

    def __init__(
        self,
        *,
        pool: float | None = _DEFAULT,
        connect: float | None = _DEFAULT,
        send: float | None = _DEFAULT,
        receive: float | None = _DEFAULT,
    ) -> None:
        limits = (
            check_seconds(pool, "pool"),
            check_seconds(connect, "connect"),
            check_seconds(send, "send"),
            check_seconds(receive, "receive"),
        )
        object.__setattr__(self, "_limits", limits)

    @property
    def pool(self) -> float | None:
        """Seconds to wait for a pool's connection."""
        return self._limits[0]

    @property
    def connect(self) -> float | None:
        """Seconds to resolve the name, connect, open a tunnel and perform the TLS handshake."""
        return self._limits[1]

    @property
    def send(self) -> float | None:
        """Seconds for one wait in which no byte can be sent."""
        return self._limits[2]

    @property
    def receive(self) -> float | None:
        """Seconds for one wait in which no byte arrives."""
        return self._limits[3]

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"Timeouts cannot be changed: make a new one with another {name}")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError("Timeouts cannot be changed")

    def __eq__(self, other: object) -> bool:
        return self._limits == other._limits if isinstance(other, Timeouts) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._limits)

    def __repr__(self) -> str:
        pool, connect, send, receive = self._limits
        return f"Timeouts({pool=}, {connect=}, {send=}, {receive=})"

    def __reduce__(self) -> tuple[Any, ...]:
        return _unpickled, self._limits


def _unpickled(
    pool: float | None, connect: float | None, send: float | None, receive: float | None
) -> Timeouts:
    return Timeouts(pool=pool, connect=connect, send=send, receive=receive)


def check_timeout(timeout: Any) -> float | Timeouts | None:
    """Return the argument *timeout*, checked.

    Raises:
        TypeError: *timeout* is neither a number, nor `Timeouts`, nor ``None``.
        InvalidRequest: *timeout* is negative or NaN.
    """
    if isinstance(timeout, Timeouts):
        return timeout
    return check_seconds(timeout, "timeout", "a number of seconds, Timeouts(...)")
