"""`dugong get -L`: redirects, as servers see them followed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.command import OK, ONCE, Done, Listener, ended, failure, run, start
from tests.cli.relay import Relay
from tests.support.apps import document
from tests.support.servers import HOST, Documents, Endpoint, NginxEndpoints

pytestmark = pytest.mark.slow


def redirect(target: str, status: int = 302) -> bytes:
    return (
        f"HTTP/1.1 {status} There\r\nLocation: {target}\r\nContent-Length: 4\r\n\r\nback".encode()
    )


def test_followed(endpoint: Endpoint) -> None:
    scheme = "https" if endpoint.context else "http"
    url = f"{scheme}://localhost:{endpoint.port}/redirect"
    assert run("get", "-L", url) == Done(0, document(1), "")
    assert run("get", url).status == 1


def test_from_http_to_https(listener: Listener, nginx: NginxEndpoints) -> None:
    target = f"https://{HOST}:{nginx.tls.port}/doc/3.txt"
    with start("get", "-L", listener.url()) as process:
        listener.serve(redirect(target))
        assert ended(process) == Done(0, document(3), "")


def test_secrets_stay(listener: Listener) -> None:
    """What was said to one server is not said to another, nor to the first one after that."""
    secrets = ["-H", "Authorization: a", "-H", "Cookie: b", "-H", "X: c"]
    with Listener() as other:
        with start("get", "-L", *secrets, listener.url("/1")) as process:
            [first] = listener.serve(redirect("/2"))
            [second] = listener.serve(redirect(other.url("/3")))
            [third] = other.serve(redirect(listener.url("/4")))
            [fourth] = listener.serve(OK)
            assert ended(process) == Done(0, b"hello", "")
    for request in (first, second):
        assert b"\r\nAuthorization: a\r\n" in request
        assert b"\r\nCookie: b\r\n" in request
    for request in (third, fourth):
        assert b"\r\nX: c\r\n" in request
        assert b"Authorization" not in request
        assert b"Cookie" not in request
    assert f"\r\nHost: {other.authority}\r\n".encode() in third


def test_target_is_asked_for_as_it_was_given(listener: Listener) -> None:
    given = ["/ad;", "?", "/en?", "/q;?a=1", "/a/./../b;x=1/?%3f", "/c\\d/%2E%2e/é"]
    with start("get", "-L", listener.url("/")) as process:
        requests = listener.serve(*map(redirect, given), OK)
        assert ended(process) == Done(0, b"hello", "")
    targets = [request.split()[1].decode() for request in requests]
    assert targets == [
        "/",
        "/ad;",
        "/ad;?",
        "/en?",
        "/q;?a=1",
        "/b;x=1/?%3f",
        "/c%5Cd/%2E%2e/%C3%A9",
    ]


def test_location_repeated(listener: Listener) -> None:
    url = listener.url("/1")
    several = b"HTTP/1.1 302 There\r\nLocation: /2\r\nLocation: /3\r\nContent-Length: 0\r\n\r\n"
    with start("get", "-L", url) as process:
        listener.serve(several)
        assert ended(process) == failure(f"{url}: the 302 response has several different Locations")
    assert listener.is_left_alone()


def test_circle(listener: Listener) -> None:
    url = listener.url("/1")
    with start("get", "-L", "--max-redirs", "2", url) as process:
        listener.serve(redirect("/2"), redirect("/1"), redirect("/2"))
        message = f"{url}: more than 2 redirects, the last to '{listener.url('/2')}'"
        assert ended(process) == failure(message)
    assert listener.is_left_alone()


def test_leads_to_nothing(listener: Listener, tmp_path: Path) -> None:
    url = listener.url("/1")
    with start("get", "-L", "-O", url, cwd=tmp_path) as process:
        listener.serve(redirect("/2"), b"HTTP/1.1 404 Gone\r\nContent-Length: 0\r\n\r\n")
        assert ended(process) == failure(f"{url}: the server responded with 404 Gone")
    with start("get", "-L", url) as process:
        listener.serve(b"HTTP/1.1 302 Whither\r\nContent-Length: 0\r\n\r\n")
        assert ended(process) == failure(f"{url}: the server responded with 302 Whither")
    assert not (tmp_path / "1").exists()


def test_heads(listener: Listener) -> None:
    with start("get", "-L", "--show-headers", listener.url("/1")) as process:
        first = redirect("/2")
        listener.serve(first, OK)
        assert ended(process) == Done(0, first.removesuffix(b"back") + OK, "")


def test_several(listener: Listener, nginx: NginxEndpoints) -> None:
    """The order of the documents is that of the URLs, and the connection is kept."""
    urls = [listener.url(path) for path in ("/1", "/2", "/3", "/4")]
    target = f"http://{HOST}:{nginx.plain.port}/redirect"
    with start("get", "-L", *urls) as process:
        requests = listener.serve(OK, redirect(target), OK, OK)
        assert ended(process) == Done(0, b"hello" + document(1) + b"hellohello", "")
    assert [request.split()[1] for request in requests] == [b"/1", b"/2", b"/3", b"/4"]
    assert listener.is_left_alone()


def test_rest(
    nginx: NginxEndpoints, listener: Listener, documents: Documents, tmp_path: Path
) -> None:
    """The rest comes from where the beginning came from, whatever the query; or all anew."""
    url = listener.url("/large.bin")
    with Relay(nginx.plain.port, [1_000_000]) as relay:
        there = relay.url("/doc/large.bin")
        with start("get", "-L", "-O", *ONCE, url, cwd=tmp_path) as process:
            listener.serve(redirect(f"{there}?key=1"))
            assert ended(process).status == 1
        assert (tmp_path / "large.bin.part").exists()
        with start("get", "-L", "-O", "--continue", url, cwd=tmp_path) as process:
            listener.serve(redirect(f"{there}?key=2"))
            assert ended(process) == Done(0, b"", "")
    assert b"\r\nRange: bytes=" in relay.requests[1]
    assert (tmp_path / "large.bin").read_bytes() == (documents.directory / "large.bin").read_bytes()
