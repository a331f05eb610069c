"""The HTTP Archive format, version 1.2, as a JSON schema: what has to be there, and what may be.

Names that begin with an underscore are anybody's.
"""

from __future__ import annotations

from typing import Any

Schema = dict[str, Any]

TEXT: Schema = {"type": "string"}
DATE: Schema = {
    "type": "string",
    "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$",
}
SIZE: Schema = {"type": "integer", "minimum": -1}
COUNT: Schema = {"type": "integer", "minimum": 0}
TOOK: Schema = {"type": "number", "minimum": 0}
TOOK_IF_ANY: Schema = {"anyOf": [TOOK, {"const": -1}]}


def record(required: dict[str, Schema], **optional: Schema) -> Schema:
    return {
        "type": "object",
        "properties": {**required, **optional, "comment": TEXT},
        "required": list(required),
        "patternProperties": {"^_": {}},
        "additionalProperties": False,
    }


def records(required: dict[str, Schema], **optional: Schema) -> Schema:
    return {"type": "array", "items": record(required, **optional)}


PRODUCT = record({"name": TEXT, "version": TEXT})
PAIRS = records({"name": TEXT, "value": TEXT})
COOKIES = records(
    {"name": TEXT, "value": TEXT},
    path=TEXT, domain=TEXT, expires=DATE,
    httpOnly={"type": "boolean"}, secure={"type": "boolean"},
)  # fmt: skip
VERSION: Schema = {"type": "string", "pattern": r"^HTTP/\d\.\d$"}

REQUEST = record(
    {
        "method": TEXT,
        "url": {"type": "string", "pattern": "^https?://[^#]*$"},
        "httpVersion": VERSION,
        "cookies": COOKIES,
        "headers": PAIRS,
        "queryString": PAIRS,
        "headersSize": SIZE,
        "bodySize": SIZE,
    },
    postData=record({"mimeType": TEXT, "params": {"type": "array"}, "text": TEXT}),
)
RESPONSE = record(
    {
        "status": {"type": "integer", "minimum": 100, "maximum": 999},
        "statusText": TEXT,
        "httpVersion": VERSION,
        "cookies": COOKIES,
        "headers": PAIRS,
        "content": record(
            {"size": COUNT, "mimeType": TEXT}, compression=COUNT, text=TEXT, encoding=TEXT
        ),
        "redirectURL": TEXT,
        "headersSize": SIZE,
        "bodySize": SIZE,
    }
)
TIMINGS = record(
    {"send": TOOK, "wait": TOOK, "receive": TOOK},
    blocked=TOOK_IF_ANY, dns=TOOK_IF_ANY, connect=TOOK_IF_ANY, ssl=TOOK_IF_ANY,
)  # fmt: skip
ENTRY = record(
    {
        "startedDateTime": DATE,
        "time": TOOK,
        "request": REQUEST,
        "response": RESPONSE,
        "cache": record({}, beforeRequest={}, afterRequest={}),
        "timings": TIMINGS,
    },
    pageref=TEXT, serverIPAddress=TEXT, connection=TEXT,
)  # fmt: skip
PAGE = record(
    {
        "startedDateTime": DATE,
        "id": TEXT,
        "title": TEXT,
        "pageTimings": record({}, onContentLoad=TOOK_IF_ANY, onLoad=TOOK_IF_ANY),
    }
)
HAR: Schema = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "properties": {
        "log": record(
            {
                "version": {"const": "1.2"},
                "creator": PRODUCT,
                "entries": {"type": "array", "items": ENTRY},
            },
            browser=PRODUCT,
            pages={"type": "array", "items": PAGE},
        )
    },
    "required": ["log"],
    "additionalProperties": False,
}
