"""HTTP Archives: what `dugong time --har` writes."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from dugong.cli.har import har
from tests.cli.command import Done, Listener, ended, failure, run, start
from tests.cli.exchanges import ANSWERED, CONNECTING, exchange
from tests.cli.har_schema import HAR
from tests.support.apps import document
from tests.support.servers import HOST, Endpoint, NginxEndpoints


def checked(data: bytes) -> dict[str, Any]:
    """Return the log of an archive, which has to be as the format says, inside and out."""
    whole = json.loads(data)
    jsonschema.validate(whole, HAR)
    log: dict[str, Any] = whole["log"]
    assert {entry["pageref"] for entry in log["entries"]} == {page["id"] for page in log["pages"]}
    for entry in log["entries"]:
        timings = dict(entry["timings"])
        ssl = timings.pop("ssl")
        assert ssl <= timings["connect"]
        assert entry["time"] == pytest.approx(sum(ms for ms in timings.values() if ms >= 0))
        assert datetime.fromisoformat(entry["startedDateTime"]).tzinfo is not None
    return log


def read(path: Path) -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = checked(path.read_bytes())["entries"]
    return entries


# --------------------------------------------------------------------- in detail


def test_timings() -> None:
    first = exchange(took={**CONNECTING, **ANSWERED})
    second = exchange(start=84, took=ANSWERED)
    log = checked(har([first, second]))
    entries = log["entries"]
    assert entries[0]["timings"] == pytest.approx(
        {"blocked": -1, "dns": 10, "connect": 60, "ssl": 40, "send": 1, "wait": 8, "receive": 5}
    )
    assert entries[0]["time"] == pytest.approx(84)
    assert entries[1]["timings"] == pytest.approx(
        {"blocked": -1, "dns": -1, "connect": -1, "ssl": -1, "send": 1, "wait": 8, "receive": 5}
    )
    assert entries[1]["time"] == pytest.approx(14)
    assert entries[0]["startedDateTime"] == "2026-02-03T04:05:06.007-03:00"
    assert entries[1]["startedDateTime"] == "2026-02-03T04:05:06.091-03:00"
    assert log["pages"][0]["startedDateTime"] == entries[0]["startedDateTime"]


def test_without_tls() -> None:
    [entry] = checked(har([exchange(took={"connecting": 20, **ANSWERED})]))["entries"]
    assert entry["timings"]["dns"] == -1
    assert entry["timings"]["ssl"] == -1
    assert entry["timings"]["connect"] == pytest.approx(20)


def test_request() -> None:
    one = exchange("/é b?q=1&q=%C3%A9+x&empty=&r#top")
    one.request_head_size = 123
    [entry] = checked(har([one]))["entries"]
    assert entry["request"] == {
        "method": "GET",
        "url": "https://example.org:8443/%C3%A9%20b?q=1&q=%C3%A9+x&empty=&r",
        "httpVersion": "HTTP/1.1",
        "cookies": [],
        "headers": [{"name": "Host", "value": "example.org:8443"}],
        "queryString": [
            {"name": "q", "value": "1"},
            {"name": "q", "value": "é x"},
            {"name": "empty", "value": ""},
            {"name": "r", "value": ""},
        ],
        "headersSize": 123,
        "bodySize": 0,
    }


def test_response() -> None:
    fields = [("Content-Type", "text/html; charset=x"), ("Location", "/b"), ("X", '"é"'), ("X", "")]
    one = exchange(fields=fields)
    [entry] = checked(har([one]))["entries"]
    assert entry["response"] == {
        "status": 200,
        "statusText": "OK",
        "httpVersion": "HTTP/1.1",
        "cookies": [],
        "headers": [{"name": name, "value": value} for name, value in fields],
        "content": {"size": 7, "mimeType": "text/html; charset=x"},
        "redirectURL": "/b",
        "headersSize": -1,
        "bodySize": 7,
    }
    [entry] = checked(har([exchange()]))["entries"]
    assert entry["response"]["content"]["mimeType"] == "application/octet-stream"
    assert entry["response"]["redirectURL"] == ""


def test_secrets_are_left_out() -> None:
    one = exchange(fields=[("Set-Cookie", "walrus")])
    one.fields += [("authorization", "walrus"), ("Cookie", "walrus")]
    data = har([one])
    checked(data)
    assert b"walrus" not in data
    assert data.count(b"(left out)") == 3


def test_connection() -> None:
    one = exchange()
    one.connection, one.address = 3, "192.0.2.1"
    [entry] = checked(har([one]))["entries"]
    assert (entry["connection"], entry["serverIPAddress"]) == ("3", "192.0.2.1")
    [entry] = checked(har([exchange()]))["entries"]
    assert "serverIPAddress" not in entry


@pytest.mark.parametrize("server", ["http://[::1]:80", "https://example.org", "http://é.org"])
def test_address(server: str) -> None:
    [entry] = checked(har([exchange(server=server)]))["entries"]
    assert entry["request"]["url"] == server.replace("é", "xn--9ca") + "/a.txt"


# --------------------------------------------------------------------- from real servers


def test_exchanges(endpoint: Endpoint, tmp_path: Path) -> None:
    scheme = "https" if endpoint.context else "http"
    server = f"{scheme}://localhost:{endpoint.port}"
    urls = [f"{server}/doc/{n}.txt" for n in (7, 8)] + [f"{server}/chunked/9.txt"]
    done = run("time", "--har", tmp_path / "x.har", *urls)
    assert (done.status, done.err) == (0, "")
    entries = read(tmp_path / "x.har")
    assert [entry["request"]["url"] for entry in entries] == urls
    for n, entry in zip((7, 8, 9), entries, strict=True):
        response = entry["response"]
        assert response["status"] == 200
        assert response["bodySize"] == response["content"]["size"] == len(document(n))
        assert (response["headersSize"] == -1) == (n == 9)
        sent = "".join(f"{h['name']}: {h['value']}\r\n" for h in entry["request"]["headers"])
        line = f"GET {entry['request']['url'].removeprefix(server)} HTTP/1.1\r\n"
        assert entry["request"]["headersSize"] == len(f"{line}{sent}\r\n")
        assert entry["serverIPAddress"] == HOST
        assert entry["connection"] == "1"
        is_first = n == 7
        assert (entry["timings"]["dns"] >= 0) == is_first
        assert (entry["timings"]["connect"] >= 0) == is_first
        assert (entry["timings"]["ssl"] >= 0) == (is_first and scheme == "https")
    starts = [datetime.fromisoformat(entry["startedDateTime"]) for entry in entries]
    assert starts == sorted(starts)


def test_unix_socket(nginx: NginxEndpoints, tmp_path: Path) -> None:
    done = run("time", "--unix-socket", nginx.unix_socket, "--har", tmp_path / "x", "http://app/no")
    assert (done.status, done.err) == (0, "")
    [entry] = read(tmp_path / "x")
    assert "serverIPAddress" not in entry
    assert entry["response"]["status"] == 404
    assert entry["timings"]["dns"] == -1


def test_sizes_of_heads(listener: Listener, tmp_path: Path) -> None:
    heads = [
        b"HTTP/1.1 200 OK\r\nA:  b\t\r\nContent-Length: 5\r\n\r\n",
        b"HTTP/1.1 103 Hints\r\nA: b\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
    ]
    urls = [listener.url(), listener.url("/b")]
    with start("time", "--har", tmp_path / "x", *urls) as process:
        listener.serve(*(head + b"hello" for head in heads))
        assert ended(process).status == 0
    sizes = [entry["response"]["headersSize"] for entry in read(tmp_path / "x")]
    assert sizes == [len(heads[0]), -1]


def test_what_failed_is_not_in_it(nginx: NginxEndpoints, refused: str, tmp_path: Path) -> None:
    good, bad = f"http://{HOST}:{nginx.plain.port}/doc/1.txt", f"http://{refused}/"
    done = run("time", "--har", tmp_path / "x", bad, good)
    assert (done.status, done.err) == (
        1,
        f"dugong: {bad}: cannot connect to {refused}: Connection refused\n",
    )
    [entry] = read(tmp_path / "x")
    assert entry["request"]["url"] == good
    done = run("time", "--har", tmp_path / "y", bad)
    assert done.status == 1
    assert not (tmp_path / "y").exists()


def test_to_standard_output(nginx: NginxEndpoints) -> None:
    done = run("time", "--har", "-", f"http://{HOST}:{nginx.plain.port}/doc/1.txt")
    assert (done.status, done.err) == (0, "")
    assert len(checked(done.out)["entries"]) == 1


def test_cannot_write(nginx: NginxEndpoints, tmp_path: Path) -> None:
    url = f"http://{HOST}:{nginx.plain.port}/doc/1.txt"
    name = f"{tmp_path}/none/x.har"
    done = run("time", "--har", name, url)
    message = f"cannot write {name}: No such file or directory"
    assert Done(done.status, b"", done.err) == failure(message)
