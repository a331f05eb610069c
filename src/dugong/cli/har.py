"""Exchanges as an HTTP Archive, version 1.2: a file for the developer tools of browsers.

Values that are required by the format but not known here are left out or -1, as the format
specifies. The archive has no bodies. It also has no values of confidential fields: those that
browsers leave out when they export an archive.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any
from urllib.parse import parse_qsl

from .. import __version__
from .measure import Exchange, address_of

_PAGE = "page_1"

#: Fields whose values are secret.
_CONFIDENTIAL = frozenset({"authorization", "cookie", "proxy-authorization", "set-cookie"})
_LEFT_OUT = "(left out)"


def har(exchanges: Sequence[Exchange]) -> bytes:
    """Return an archive of *exchanges*, of which there is at least one."""
    first = exchanges[0]
    page = {
        "startedDateTime": _date(first),
        "id": _PAGE,
        "title": address_of(first.document),
        "pageTimings": {"onContentLoad": -1, "onLoad": -1},
    }
    log = {
        "version": "1.2",
        "creator": {"name": "dugong", "version": __version__},
        "pages": [page],
        "entries": [_entry(exchange) for exchange in exchanges],
    }
    return json.dumps({"log": log}, indent=2).encode() + b"\n"


def _entry(exchange: Exchange) -> dict[str, Any]:
    timings = _timings(exchange)
    entry = {
        "pageref": _PAGE,
        "startedDateTime": _date(exchange),
        # "ssl" is a part of "connect".
        "time": sum(ms for name, ms in timings.items() if name != "ssl" and ms >= 0),
        "request": _request(exchange),
        "response": _response(exchange),
        "cache": {},
        "timings": timings,
        "connection": str(exchange.connection),
    }
    if exchange.address is not None:
        entry["serverIPAddress"] = exchange.address
    return entry


def _date(exchange: Exchange) -> str:
    return exchange.started.isoformat(timespec="milliseconds")


def _timings(exchange: Exchange) -> dict[str, float]:
    """Return the duration of each phase in milliseconds, -1 for phases that did not occur."""
    took = {name: 1000 * (end - begin) for name, (begin, end) in exchange.phases().items()}
    tls, connecting = took.get("TLS", -1.0), took.get("connecting", -1.0)
    return {
        "blocked": -1,
        "dns": took.get("resolving", -1),
        "connect": connecting + max(tls, 0),
        "ssl": tls,
        "send": took["sending"],
        "wait": took["waiting"],
        "receive": took["transfer"],
    }


def _request(exchange: Exchange) -> dict[str, Any]:
    address = address_of(exchange.document)
    query = exchange.document.target.partition("?")[2]
    return {
        "method": "GET",
        "url": address,
        "httpVersion": "HTTP/1.1",
        "cookies": [],
        "headers": _headers(exchange.fields),
        "queryString": _pairs(parse_qsl(query, keep_blank_values=True)),
        "headersSize": _size(exchange.request_head_size),
        "bodySize": 0,
    }


def _response(exchange: Exchange) -> dict[str, Any]:
    response = exchange.response
    return {
        "status": response.status,
        "statusText": response.reason,
        "httpVersion": f"HTTP/{response.version}",
        "cookies": [],
        "headers": _headers(response.headers.items()),
        "content": {
            "size": exchange.body_size,
            "mimeType": response.headers["Content-Type"] or "application/octet-stream",
        },
        "redirectURL": response.headers["Location"] or "",
        "headersSize": _size(exchange.response_head_size),
        "bodySize": exchange.body_size,
    }


def _size(count: int | None) -> int:
    return -1 if count is None else count


def _headers(fields: Iterable[tuple[str, str]]) -> list[dict[str, str]]:
    return _pairs(
        (name, _LEFT_OUT if name.lower() in _CONFIDENTIAL else value) for name, value in fields
    )


def _pairs(pairs: Iterable[tuple[str, str]]) -> list[dict[str, str]]:
    return [{"name": name, "value": value} for name, value in pairs]
