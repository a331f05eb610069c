"""ConnectionState that never took place, with round times, for tests of how they are shown."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

from dugong import Headers, HTTPResponse
from dugong.cli.arguments import url
from dugong.cli.measure import PHASES, Exchange

BEGIN = datetime(2026, 2, 3, 4, 5, 6, 7000, timezone(timedelta(hours=-3)))

#: When the clock of `exchange` began, in seconds of that clock.
EPOCH = 1000.0


def exchange(
    target: str = "/a.txt",
    start: int = 0,
    *,
    took: dict[str, int] | None = None,
    fields: list[tuple[str, str]] | None = None,
    server: str = "https://example.org:8443",
) -> Exchange:
    """Return an exchange.

    Args:
        target: what was asked for.
        start: milliseconds after the beginning of all.
        took: milliseconds for each of the phases that there were.
        fields: of the response.
        server: whom was asked.
    """
    document = url(server + target)
    response = HTTPResponse("GET", document.target, 200, "OK", Headers(fields or []), 7)
    at = start
    marks = {}
    for phase, milliseconds in (took or {"sending": 1, "waiting": 2, "transfer": 3}).items():
        at += milliseconds
        marks[PHASES[phase]] = EPOCH + at / 1000
    return Exchange(
        document,
        [("Host", "example.org:8443")],
        BEGIN + timedelta(milliseconds=start),
        EPOCH + start / 1000,
        response,
        marks,
        connection=1,
        body_size=7,
    )


CONNECTING = {"resolving": 10, "connecting": 20, "TLS": 40}
ANSWERED = {"sending": 1, "waiting": 8, "transfer": 5}
