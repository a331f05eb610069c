"""Hostile and broken servers: the table in `tests.hostile`, run over sockets.

`tests/protocol/test_hostile.py` runs each row split at every offset. Here a sample of the offsets
shows, in blocking calls and in coroutines, what a connection does about it.
"""

from __future__ import annotations

import re
import socket
import tracemalloc
from collections.abc import Iterable
from contextlib import closing
from itertools import chain, pairwise
from typing import Any

import pytest

from dugong import ConnectionClosed, DugongError, HTTPConnection, InvalidResponse
from dugong.protocol import reader as reader_module
from dugong.protocol import response as response_module
from dugong.protocol.buffer import ReceiveBuffer
from dugong.protocol.limits import BUFFER_SIZE
from tests.hostile import chunks, exchanges, heads, lengths
from tests.hostile.arrival import Source, every, some_splits, splits
from tests.hostile.floods import FLOODS, Flood
from tests.hostile.play import READERS, STYLES, Call, Play
from tests.hostile.table import CHUNKED, OK, Case, Refused, case, cut_off, ok, wrong_cases
from tests.support.drive import drive
from tests.support.exchanges import works
from tests.support.wire import Wire

pytestmark = pytest.mark.slow

CASES = [*heads.CASES, *lengths.CASES, *chunks.CASES, *exchanges.CASES]

styles = pytest.mark.parametrize("call", STYLES.values(), ids=STYLES)


def by_id(cases: Iterable[Any]) -> list[Any]:
    return [pytest.param(row, id=getattr(row, "id", None) or row.case.id) for row in cases]


@styles
@pytest.mark.parametrize("row", by_id(CASES))
def test_row(row: Case, call: Call) -> None:
    for turn, boundaries in enumerate(some_splits(len(row.data), row.end)):
        try:
            Play(row, call, turn).run(boundaries)
        except BaseException as exc:
            exc.add_note(f"{row.data!r} split at {boundaries}")
            raise


@styles
@pytest.mark.parametrize("row", by_id(row for row in CASES if row.self_delimited))
def test_row_cut_off(row: Case, call: Call) -> None:
    """Whatever was delivered when it was whole is an error when its last byte is missing."""
    final = max(row.data.rfind(b"HTTP/1."), 0)
    for offset in (0, 1, *range(2, len(row.data) - 1, 16), len(row.data) - 1):
        outcome = cut_off(started=True if offset > final else None if offset else False)
        try:
            Play(row, call, offset).run((), row.data[:offset], "close", (outcome,))
        except BaseException as exc:
            exc.add_note(f"cut off behind {row.data[:offset]!r}")
            raise


BAD_ENDS = {
    "data": b"XX0\r\n\r\n",
    "chunk": b"\r\n+0\r\n\r\n",
    "trailer": b"\r\n0\r\nA : b\r\n\r\n",
    "response": b"\r\nHTTP/1.1 200 OK\r\n",
}


@styles
@pytest.mark.parametrize("end", BAD_ENDS.values(), ids=BAD_ENDS)
def test_bad_end_of_a_body_is_noticed_before_another_request(end: bytes, call: Call) -> None:
    """All of the payload was read, and what ends it has arrived: `send_request` consumes that."""
    with (
        closing(Source(CHUNKED + b"5\r\nhello" + end)) as source,
        HTTPConnection("localhost", sock=source.near, timeout=0) as conn,
    ):
        call(conn, "send_request", "GET", "/")
        call(conn, "read_response")
        assert call(conn, "read", 5) == b"hello"
        before = conn.bytes_sent
        with pytest.raises((InvalidResponse, ConnectionClosed)):
            call(conn, "send_request", "POST", "/again", None, b"body")
        assert conn.bytes_sent == before


# ------------------------------------------------------------------------------- the table


def test_ids_are_unique_and_sources_given() -> None:
    rows = [*CASES, *(flood.case for flood in FLOODS)]
    assert len({row.id for row in rows}) == len(rows) >= 400
    source = re.compile(
        r"RFC [0-9]{4} [0-9.]+|(CVE|GHSA|PYSEC)-[0-9a-z-]+ \([A-Z]?[A-Za-z0-9. ]+\)"
    )
    for row in rows:
        for part in row.source.split(", "):
            assert source.fullmatch(part), row


@pytest.mark.parametrize("head", [OK, CHUNKED])
def test_a_row_can_fail(head: bytes) -> None:
    """What is expected is compared: each of these is not what comes of the bytes."""
    for wrong in wrong_cases(head):
        for call in STYLES.values():
            with pytest.raises((AssertionError, pytest.fail.Exception, DugongError)):
                Play(wrong, call).run()


# ----------------------------------------------------------------------------- its arrival


@pytest.mark.parametrize("end", ["open", "close"])
@pytest.mark.parametrize("peek", [False, True])
def test_bytes_arrive_in_pieces(end: str, peek: bool) -> None:
    """Exactly those, with a pause at each boundary, which looking ahead does not end."""
    data = b"abcdef"
    for boundaries in splits(len(data), end):
        offsets = [0, *boundaries, len(data)]
        with closing(Source(data, boundaries, end)) as source:
            source.near.setblocking(False)
            for start, stop in pairwise(offsets):
                if start > 0:
                    pauses(source, peek)
                if peek:
                    next_byte = data[start : min(start + 1, stop)]
                    assert source.near.recv(1, socket.MSG_PEEK) == next_byte
                assert source.near.recv(100) == data[start:stop]
            if end == "open":
                pauses(source, peek)
            elif offsets[-2] < len(data):
                assert source.near.recv(100) == b""


def pauses(source: Source, peek: bool) -> None:
    for flags in (socket.MSG_PEEK, 0) if peek else (0,):
        with pytest.raises(BlockingIOError):
            source.near.recv(1, flags)


def test_reader_of_whole_heads_would_be_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that gives up on a head which is not there at once: some way of arriving shows it."""

    def impatient(data: bytearray, start: int, end: int, scanned: int) -> int:
        found = response_module.find_head(data, start, end, scanned)
        return end if found < 0 else found

    monkeypatch.setattr(reader_module, "find_head", impatient)
    row = case("", "", OK + b"Content-Length: 2\r\n\r\nhi", ok(200, b"hi"))
    for call in STYLES.values():
        Play(row, call).run()
        for boundary in range(1, row.data.index(b"hi")):
            with pytest.raises((InvalidResponse, AssertionError)):
                Play(row, call).run((boundary,))


# ---------------------------------------------------------------------------------- floods


@styles
@pytest.mark.parametrize("flood", by_id(FLOODS))
def test_flood(flood: Flood, call: Call) -> None:
    """Refused when the limit is met, however it arrives, and with no more memory than that."""
    pieces = ((), every(1 << 14), every(4099), chain(range(1, 200), every(1 << 13)))
    for turn, boundaries in enumerate(pieces):
        tracemalloc.start()
        try:
            received = Play(flood.case, call, turn).run(boundaries, unit=flood.unit)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        # What is received at once goes into the rest of the buffer, whatever it is.
        assert received <= flood.most + BUFFER_SIZE * (2 if flood.most < BUFFER_SIZE else 4)
        assert peak < 4_000_000


class Searched:
    """Counts the bytes that the receiver lets be searched for the end of a head or a line."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        find_head, find_line = response_module.find_head, ReceiveBuffer.find_line

        def counting_head(data: bytearray, start: int, end: int, scanned: int) -> int:
            self.count += end - scanned
            return find_head(data, start, end, scanned)

        def counting_line(buffer: ReceiveBuffer, limit: int) -> int:
            self.count += min(buffer.end, buffer.start + limit) - buffer.scanned
            return find_line(buffer, limit)

        monkeypatch.setattr(reader_module, "find_head", counting_head)
        monkeypatch.setattr(ReceiveBuffer, "find_line", counting_line)


EMPTY = b"Content-Length: 0\r\n\r\n"
TRAILERS = [("A", "b")] * 900

LONG = [
    case("head", "", OK + b"A: b\r\n" * 900 + EMPTY, ok()),
    case("line", "", OK + b"A: " + b"x" * 9000 + b"\r\n" + EMPTY, ok()),
    case("chunk-line", "", CHUNKED + b"1;" + b"a" * 4000 + b"\r\nh\r\n0\r\n\r\n", ok(body=b"h")),
    case("chunks", "", CHUNKED + b"1\r\nh\r\n" * 900 + b"0\r\n\r\n", ok(body=b"h" * 900)),
    case("trailers", "", CHUNKED + b"0\r\n" + b"A: b\r\n" * 900 + b"\r\n", ok(trailers=TRAILERS)),
    case("interim", "", b"HTTP/1.1 103 X\r\n\r\n" * 20 + OK + EMPTY, ok(interim=[103] * 20)),
]


@styles
@pytest.mark.parametrize("row", by_id(LONG))
def test_single_bytes_are_searched_once(
    row: Case, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long a head or line is, each byte that arrives costs the same."""
    searched = Searched(monkeypatch)
    Play(row, call).run(range(1, len(row.data)))
    assert len(row.data) / 2 < searched.count < 3 * len(row.data) + 500


# ------------------------------------------------------------------------------------- TLS

OVER_TLS = {
    "cl-plus", "cl-te-zero", "te-chunked-twice", "line-space-before-colon", "ext-lf", "101-unasked",
    "chunk-end-any-two-bytes", "stray-length-408", "stray-chunked-response", "204-with-body",
    "chunk-no-last", "trailer-two", "1xx-mixed", "10", "until-close", "first-invalid",
}  # fmt: skip


@pytest.mark.parametrize("row", by_id(row for row in CASES if row.id in OVER_TLS))
def test_over_tls(tls: Wire, row: Case) -> None:
    conn, peer = tls.pair()
    peer.expect_request()
    peer.reply(row.data)
    if row.end == "close":
        peer.close()
    outcome = row.outcomes[0]

    def call(conn: HTTPConnection, name: str, *args: Any) -> Any:
        return drive(getattr(conn, f"co_{name}")(*args), peer)

    call(conn, "send_request", row.method, "/")
    got = bytearray()
    if isinstance(outcome, Refused):
        with pytest.raises(outcome.errors) as info:
            call(conn, "read_response")
            READERS[1](call, conn, got)
        assert getattr(info.value, "part", None) == outcome.part
        assert bytes(got) == (outcome.body or b"")
        with pytest.raises(ConnectionClosed):
            call(conn, "read_response")
        return
    response = call(conn, "read_response")
    READERS[0](call, conn, got)
    assert (response.status, bytes(got)) == (outcome.status, outcome.body)
    assert response.trailers.items() == outcome.trailers
    if not (outcome.dropped or outcome.will_close):
        works(conn, peer)
        return
    before = conn.bytes_sent
    with pytest.raises(ConnectionClosed) as info:
        call(conn, "send_request", "GET", "/again")
    assert (info.value.bytes_sent, conn.bytes_sent) == (0, before)


def test_all_rows_chosen_for_tls_exist() -> None:
    assert {row.id for row in CASES} >= OVER_TLS
