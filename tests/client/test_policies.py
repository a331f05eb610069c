"""Redirects, retries, cookies and credentials of whole calls: what is sent where.

The rules themselves are tested without I/O in `test_redirects`, `test_retries`, `test_cookies` and
`test_authentication`.
"""

from __future__ import annotations

import gzip
import http.cookiejar
import itertools
import re
import ssl
from base64 import b64encode
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from dugong import (
    AddressRefused,
    AsyncPool,
    Client,
    ConnectionClosed,
    ConnectionTimedOut,
    InvalidRequest,
    InvalidResponse,
    Multipart,
    Pool,
    RedirectError,
    Redirects,
    Retry,
)
from tests.client.styled import Style, styled
from tests.client.test_client import echo, free_port, idle
from tests.support.site import Reply, Seen, Site, redirect, site
from tests.support.wire import Certificates


def basic(user: str, password: str) -> str:
    return "Basic " + b64encode(f"{user}:{password}".encode()).decode()


# ----------------------------------------------------------------------------- redirects


@styled
async def test_redirects(style: Style, site: Site) -> None:
    site.on("/a", redirect("b#new"))
    site.on("/b", redirect("/c", 307))
    async with style.client(base_url=site.url) as client:
        response = await client.get("a#old")
        assert await response.readall() == b"ok"
        assert response.url == f"{site.url}/c#new"
        assert [each.url for each in response.history] == [f"{site.url}/a#old", f"{site.url}/b#new"]
        assert [each.status for each in response.history] == [302, 307]
        assert all(each.closed for each in response.history)
        assert idle(client) == 1
        response = await client.get("a", redirects=None)
        assert response.status == 302
        assert await response.readall() == b"moved"
        with pytest.raises(RedirectError, match="more than 1 redirects") as caught:
            await client.get("a", redirects=1)
        assert caught.value.response.status == 307
        assert caught.value.response.url == f"{site.url}/b#new"
        assert [each.status for each in caught.value.response.history] == [302]
    assert site.connections <= 2


@styled
async def test_methods_and_bodies_after_redirects(style: Style, site: Site) -> None:
    site.on("/x", echo)
    fields = {"Content-Type": "text/x", "X-Other": "1"}
    async with style.client(base_url=site.url) as client:
        for status, method, follow_up, body in [
            (301, "POST", "GET", b""),
            (302, "POST", "GET", b""),
            (302, "PUT", "PUT", b"body"),
            (303, "PUT", "GET", b""),
            (307, "POST", "POST", b"body"),
            (308, "PATCH", "PATCH", b"body"),
        ]:
            site.on("/from", redirect("/x", status))
            response = await client.request(method, "from", body=b"body", headers=fields)
            await response.discard()
            seen = site.seen[-1]
            assert (seen.method, seen.body) == (follow_up, body)
            assert seen["x-other"] == "1"
            assert seen["content-type"] == ("text/x" if body else None)


@styled
async def test_bodies_are_sent_again_from_their_start(
    style: Style, site: Site, tmp_path: Path
) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"0123456789")
    site.on("/from", redirect("/x", 307))
    async with style.client(base_url=site.url) as client:
        with path.open("rb") as file:
            file.seek(4)
            await (await client.put("from", body=file)).discard()
        assert [seen.body for seen in site.seen] == [b"456789"] * 2
        with path.open("rb") as file:
            await (await client.put("from", form=Multipart(None, {"f": file}))).discard()
        first, second = site.seen[-2:]
        assert first.body == second.body
        with pytest.raises(RedirectError, match="cannot be sent twice"):
            await client.put("from", body=iter([b"x"]))
        assert len(site.seen) == 5


@styled
async def test_redirects_that_are_not_followed(
    style: Style, site: Site, certificates: Certificates
) -> None:
    with site_over_tls(certificates) as secure:
        async with style.client(verify=certificates.client) as client:
            for location in ("ftp://h/", "http://h:0/", "//[/", "http:///x", "/\\evil.test/"):
                site.on("/from", redirect(location))
                with pytest.raises(RedirectError, match="Location") as caught:
                    await client.get(f"{site.url}/from")
                assert caught.value.response.status == 302
                assert idle(client) == 0
            secure.on("/down", redirect(site.url))
            with pytest.raises(RedirectError, match="from https to http"):
                await client.get(f"{secure.url}/down")
            response = await client.get(f"{secure.url}/down", redirects=Redirects(downgrade=True))
            assert await response.readall() == b"ok"
            for status, headers in [(300, {"Location": "/x"}), (304, {"Location": "/x"}),
                                    (305, {"Location": "/x"}), (301, {})]:  # fmt: skip
                site.on("/from", Reply(status, b"", headers))
                response = await client.get(f"{site.url}/from")
                assert response.status == status
                await response.discard()


def site_over_tls(certificates: Certificates) -> Any:
    return site(certificates.new_server(), "127.0.0.1")


@styled
async def test_the_body_of_a_redirect(style: Style, site: Site) -> None:
    """It is not decoded, and up to 64 KiB are received so that the connection can be kept."""
    corrupt = {"Location": "/x", "Content-Encoding": "gzip"}
    chunked = b"HTTP/1.1 302 X\r\nLocation: /x\r\nTransfer-Encoding: chunked\r\n\r\n"
    for reply, connections in [
        (Reply(302, b"not gzip", corrupt), 1),
        (Reply(302, b"x" * 65_536, {"Location": "/x"}), 1),
        (Reply(302, b"x" * 65_537, {"Location": "/x"}), 2),
        (Reply(raw=chunked + b"10001\r\n" + b"x" * 65_537 + b"\r\n0\r\n\r\n"), 2),
        (Reply(raw=chunked + b"nonsense", close=True), 2),
        (Reply(raw=b"HTTP/1.1 302 X\r\nLocation: /x\r\nContent-Length: 9\r\n\r\n", close=True), 2),
    ]:
        site.on("/from", reply)
        before = site.connections
        async with style.client(base_url=site.url) as client:
            assert await (await client.get("from")).readall() == b"ok"
        assert site.connections - before == connections


# -------------------------------------------------------------------------------- retries


@styled
async def test_retries_of_responses(style: Style, site: Site) -> None:
    site.on("/", Reply(503, b"later"), Reply(429, b"later"), Reply(body=b"now"))
    events: list[Any] = []
    retry = Retry(2, backoff=0)
    async with style.client(base_url=site.url, retries=retry, on_event=events.append) as client:
        response = await client.get("")
        assert await response.readall() == b"now"
        assert response.history == []
        assert [event.error for event in events if event.name == "retry"] == [None, None]
        site.on("/", Reply(503, b"later"))
        response = await client.get("")
        assert (response.status, await response.readall()) == (503, b"later")
        assert len(site.seen) == 6
        response = await client.post("", body=b"x")  # not idempotent
        assert response.status == 503
        await response.discard()
        response = await client.put("", body=iter([b"x"]))  # cannot be sent again
        assert response.status == 503
        await response.discard()
        assert len(site.seen) == 8
        response = await client.put("", body=b"x", retries=Retry(1, backoff=0))
        await response.discard()
        assert [seen.body for seen in site.seen[8:]] == [b"x", b"x"]
    assert site.connections == 1


@styled
async def test_retry_after(style: Style, site: Site) -> None:
    site.on("/", Reply(503, b"", {"Retry-After": "61"}))
    async with style.client(base_url=site.url, retries=5) as client:
        response = await client.get("")
        assert response.status == 503
        site.on("/", Reply(503, b"", {"Retry-After": "9"}))
        response = await client.get("", deadline=5)  # the delay would exceed the deadline
        assert response.status == 503
    assert len(site.seen) == 2


@styled
async def test_retries_of_errors(style: Style, site: Site) -> None:
    cut = Reply(raw=b"", close=True)
    retry = Retry(2, backoff=0)
    async with style.client(base_url=site.url, retries=retry) as client:
        site.on("/", cut, cut, Reply(body=b"now"))
        assert await (await client.get("")).readall() == b"now"
        site.on("/", cut)
        with pytest.raises(ConnectionClosed):
            await client.get("")
        assert len(site.seen) == 7  # one more, because the first connection was used before
        with pytest.raises(ConnectionClosed):
            await client.post("", body=b"x")
        assert len(site.seen) == 8
        with pytest.raises(ConnectionRefusedError):
            await client.get(f"http://127.0.0.1:{free_port()}/", retries=Retry(1, backoff=0))
        assert idle(client) == 0


@styled
async def test_a_connection_that_ends_when_it_is_used_again(style: Style, site: Site) -> None:
    """Without any retries: a server may close an idle connection at any time."""
    cut = Reply(raw=b"", close=True)
    async with style.client(base_url=site.url) as client:
        await (await client.get("")).discard()
        site.on("/x", cut, Reply(body=b"again"))
        assert await (await client.put("x", body=b"abc")).readall() == b"again"
        assert [seen.body for seen in site.seen[1:]] == [b"abc", b"abc"]
        assert site.connections == 2
        site.on("/x", cut)
        with pytest.raises(ConnectionClosed):  # on a new connection, once is enough
            await client.get("x")
        assert len(site.seen) == 5
        await (await client.get("")).discard()
        with pytest.raises(ConnectionClosed):
            await client.post("x", body=b"abc")  # not idempotent
        assert len(site.seen) == 7
        await (await client.get("")).discard()
        site.on("/x", Reply(raw=b"HTTP/1.1 2", close=True))
        with pytest.raises(ConnectionClosed):  # the response had begun
            await client.get("x")
        assert len(site.seen) == 9


@styled
async def test_authentication_is_computed_for_each_attempt(style: Style, site: Site) -> None:
    requests: list[Any] = []

    def sign(request: Any) -> dict[str, str]:
        requests.append(request)
        return {"Authorization": f"Signed {len(requests)}", "X-Date": "now", "x-given": "replaced"}

    site.on("/", Reply(503), Reply(503), Reply(body=b"now"))
    async with style.client(base_url=site.url, retries=Retry(2, backoff=0), auth=sign) as client:
        response = await client.put("?a=1", body=b"data", headers={"X-Given": "1"})
        await response.discard()
    assert [seen["authorization"] for seen in site.seen] == ["Signed 1", "Signed 2", "Signed 3"]
    assert {seen["x-given"] for seen in site.seen} == {"replaced"}
    request = requests[0]
    assert (request.method, request.url, request.body) == ("PUT", f"{site.url}/?a=1", b"data")
    assert request.headers["user-agent"].startswith("dugong/")


# ------------------------------------------------------------------------------- cookies


@styled
async def test_cookies(style: Style, site: Site) -> None:
    site.on("/set", Reply(302, b"", {"Location": "/x", "Set-Cookie": "a=1; Path=/"}))
    async with style.client(base_url=site.url) as client:
        await (await client.get("set")).discard()
        assert site.seen[-1]["cookie"] == "a=1"
        await (await client.get("", headers={"Cookie": "mine=2"})).discard()
        assert site.seen[-1]["cookie"] == "mine=2"
        await (await client.get("", headers={"Cookie": None})).discard()
        assert "cookie" not in site.seen[-1]
        jar = client.cookies
        assert [cookie.name for cookie in jar] == ["a"]
    async with style.client(base_url=site.url, cookies=jar) as client:
        await (await client.get("")).discard()
        assert site.seen[-1]["cookie"] == "a=1"
    async with style.client(base_url=site.url, cookies=None) as client:
        await (await client.get("set")).discard()
        assert "cookie" not in site.seen[-1]
        assert client.cookies is None
    async with style.client(base_url=site.url, cookies=http.cookiejar.CookieJar()) as client:
        await (await client.get("set")).discard()
        assert site.seen[-1]["cookie"] == "a=1"


# --------------------------------------------------------------------------- credentials
#
# One test for each promise. A and B are two origins: the same host with two ports.


class Origins:
    """Sites, and a client that knows them by names.

    Attributes:
        sites: by the letter in their names, such as ``a.test``.
    """

    def __init__(self, stack: ExitStack, letters: str = "ab") -> None:
        self.sites = {letter: stack.enter_context(site()) for letter in letters}
        self.resolve = {f"{letter}.test": "127.0.0.1" for letter in letters}

    def url(self, letter: str, path: str = "/") -> str:
        return self.sites[letter].at(f"{letter}.test") + path

    def chain(self, *steps: str) -> str:
        """Have the sites redirect along these steps. Returns the first URL."""
        for number, (here, there) in enumerate(itertools.pairwise(steps)):
            self.sites[here].on(f"/{number}", redirect(self.url(there, f"/{number + 1}")))
        return self.url(steps[0], "/0")

    def seen(self) -> list[tuple[str, Seen]]:
        """Return all requests, with the letter of their site, in order of their numbers."""
        found = [(letter, seen) for letter, site in self.sites.items() for seen in site.seen]
        return sorted(found, key=lambda pair: pair[1].target)


SECRETS = {
    "Authorization": "secret 1",
    "Cookie": "secret=2",
    "Proxy-Authorization": "secret 3",
}


def secrets_in(seen: Seen) -> list[str]:
    return [name for name, value in seen.fields if "secret" in value or "authorization" in name]


@styled
async def test_fields_of_a_request_do_not_reach_another_origin(style: Style) -> None:
    with ExitStack() as stack:
        origins = Origins(stack)
        async with style.client(resolve=origins.resolve) as client:
            url = origins.chain("a", "a", "b", "a")
            await (await client.get(url, headers={**SECRETS, "X-Kept": "1"})).discard()
        assert [(letter, secrets_in(seen)) for letter, seen in origins.seen()] == [
            ("a", ["authorization", "cookie"]),
            ("a", ["authorization", "cookie"]),
            ("b", []),
            ("a", []),  # not even when the chain comes back
        ]
        assert {seen["x-kept"] for _, seen in origins.seen()} == {"1"}


@pytest.mark.parametrize("where", ["request", "client", "url", "callable"])
def test_auth_does_not_reach_another_origin(where: str) -> None:
    @styled
    async def run(style: Style) -> None:
        auth: Any = ("u", "p") if where != "callable" else lambda request: {"Authorization": "x"}
        with ExitStack() as stack:
            origins = Origins(stack)
            settings: dict[str, Any] = {"auth": auth} if where == "client" else {}
            options: dict[str, Any] = {"auth": auth} if where in ("request", "callable") else {}
            async with style.client(resolve=origins.resolve, **settings) as client:
                url = origins.chain("a", "a", "b", "a")
                if where == "url":
                    url = url.replace("://", "://u:p@")
                await (await client.get(url, **options)).discard()
            expected = "x" if where == "callable" else basic("u", "p")
            assert [seen["authorization"] for _, seen in origins.seen()] == [
                expected, expected, None, None
            ]  # fmt: skip

    run()


@styled
async def test_credentials_of_a_client_belong_to_its_base_url(style: Style) -> None:
    with ExitStack() as stack:
        origins = Origins(stack)
        async with style.client(
            base_url=origins.url("a"),
            resolve=origins.resolve,
            headers={**SECRETS, "X-Kept": "1"},
        ) as client:
            await (await client.get("0")).discard()
            await (await client.get(origins.url("b", "/1"))).discard()
        async with style.client(
            base_url=origins.url("a"), resolve=origins.resolve, auth=("u", "p")
        ) as client:
            await (await client.get("2")).discard()
            await (await client.get(origins.url("b", "/3"))).discard()
        assert [(letter, secrets_in(seen)) for letter, seen in origins.seen()] == [
            ("a", ["authorization", "cookie"]), ("b", []), ("a", ["authorization"]), ("b", [])
        ]  # fmt: skip
        assert [seen["x-kept"] for _, seen in origins.seen()] == ["1", "1", None, None]


@styled
async def test_credentials_do_not_go_from_https_to_http(
    style: Style, site: Site, certificates: Certificates
) -> None:
    with site_over_tls(certificates) as secure:
        secure.on("/", redirect(site.url))
        async with style.client(
            verify=certificates.client, redirects=Redirects(downgrade=True)
        ) as client:
            await (await client.get(secure.url, headers=SECRETS, auth=("u", "p"))).discard()
            site.on("/", redirect(f"{secure.url}/x"))
            await (await client.get(site.url, headers=SECRETS)).discard()
        assert secrets_in(site.seen[0]) == []
        assert secrets_in(site.seen[1]) == ["authorization", "cookie"]
        assert secrets_in(secure.seen[1]) == []


@styled
async def test_user_information_in_a_location_is_ignored(style: Style, site: Site) -> None:
    site.on("/from", redirect(f"http://u:p@127.0.0.1:{site.port}/x"))
    async with style.client(base_url=site.url) as client:
        response = await client.get("from")
        await response.discard()
        assert response.url == f"{site.url}/x"
    assert "authorization" not in site.seen[1]


def test_netrc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is used for the host of the first request only."""
    path = tmp_path / "netrc"
    path.write_text("machine a.test login u password p\ndefault login d password d\n")
    path.chmod(0o600)
    monkeypatch.setenv("NETRC", str(path))

    @styled
    async def run(style: Style) -> None:
        with ExitStack() as stack:
            origins = Origins(stack)
            async with style.client(resolve=origins.resolve, auth="netrc") as client:
                await (await client.get(origins.chain("a", "a", "b", "a"))).discard()
            assert [seen["authorization"] for _, seen in origins.seen()] == [
                basic("u", "p"), basic("u", "p"), None, None
            ]  # fmt: skip

    run()


@styled
async def test_cookies_stay_with_their_host(style: Style) -> None:
    with ExitStack() as stack:
        origins = Origins(stack)
        a = origins.sites["a"]
        a.on("/0", Reply(302, b"", {"Location": origins.url("b", "/1"), "Set-Cookie": "k=a"}))
        async with style.client(resolve=origins.resolve) as client:
            await (await client.get(origins.url("a", "/0"))).discard()
            await (await client.get(origins.url("a", "/2"))).discard()
        assert [seen["cookie"] for _, seen in origins.seen()] == [None, None, "k=a"]


@styled
async def test_secure_cookies_need_https(
    style: Style, site: Site, certificates: Certificates
) -> None:
    with site_over_tls(certificates) as secure:
        secure.on("/set", Reply(200, b"", {"Set-Cookie": "k=a; Secure"}))
        async with style.client(verify=certificates.client) as client:
            await (await client.get(f"{secure.url}/set")).discard()
            await (await client.get(f"{site.url}/")).discard()
            await (await client.get(f"{secure.url}/")).discard()
        assert site.seen[0]["cookie"] is None
        assert secure.seen[1]["cookie"] == "k=a"


@styled
async def test_an_explicit_authorization_wins(style: Style, site: Site) -> None:
    url = site.url.replace("://", "://url:p@")
    async with style.client(auth=("client", "p")) as client:
        rows: list[tuple[dict[str, Any], str | None]] = [
            ({"headers": {"authorization": "mine"}}, "mine"),
            ({"headers": {"authorization": "mine"}, "auth": ("call", "p")}, "mine"),
            ({"headers": {"Authorization": None}}, None),
            ({"auth": ("call", "p")}, basic("call", "p")),
            ({"auth": None}, None),
            ({}, basic("client", "p")),
        ]
        for options, expected in rows:
            await (await client.get(url, **options)).discard()
            assert site.seen[-1]["authorization"] == expected
    async with style.client() as client:
        await (await client.get(url)).discard()
        assert site.seen[-1]["authorization"] == basic("url", "p")


@styled
async def test_proxy_authorization_reaches_no_server(style: Style, site: Site) -> None:
    settings = {"headers": {"Proxy-Authorization": "secret"}}
    async with style.client(base_url=site.url, **settings) as client:
        await (await client.get("")).discard()
        await (await client.get("", headers={"proxy-authorization": "secret"})).discard()
    assert ["proxy-authorization" in seen for seen in site.seen] == [False, False]


@styled
async def test_no_url_shows_user_information(style: Style, site: Site) -> None:
    events: list[Any] = []
    url = site.url.replace("://", "://user:secret@")
    site.on("/moved", redirect(f"{url}/404"))
    site.on("/404", Reply(404))
    async with style.client(on_event=events.append) as client:
        response = await client.get(f"{url}/moved")
        texts = [response.url, repr(response.request), *(each.url for each in response.history)]
        with pytest.raises(Exception, match="404") as caught:
            await response.raise_for_status()
        texts += [str(caught.value), repr(caught.value)]
        for bad in (f"{url}:x/", f"{url}/\0".replace("127", "12 7"), "user:secret@host/path"):
            with pytest.raises(InvalidRequest) as failed:
                await client.get(bad)
            texts.append(str(failed.value))
        with pytest.raises(ConnectionRefusedError) as refused:
            await client.get(f"http://user:secret@127.0.0.1:{free_port()}/")
        texts.append(str(refused.value))
        site.on("/loop", redirect(f"{url}/loop"))
        with pytest.raises(RedirectError) as looped:
            await client.get(f"{url}/loop", redirects=0)
        texts.append(str(looped.value))
    texts += [repr(event) for event in events] + [event.request.url for event in events]
    for text in texts:
        assert "secret" not in text


# -------------------------------------------------------------------------- address guard


@styled
async def test_the_guard_refuses_what_a_redirect_leads_to(style: Style) -> None:
    with ExitStack() as stack:
        origins = Origins(stack)
        a, b = origins.sites["a"], origins.sites["b"]
        resolve = {"a.test": "127.0.0.1", "b.test": "127.0.0.2"}
        asked: list[str] = []

        def allow(address: Any) -> bool:
            asked.append(str(address))
            return str(address) == "127.0.0.1"

        async with style.client(resolve=resolve, allow=allow) as client:
            await (await client.get(origins.url("a"))).discard()
            a.on("/0", redirect(origins.url("b")))
            with pytest.raises(AddressRefused) as caught:
                await client.get(origins.url("a", "/0"))
            assert (caught.value.name, caught.value.addresses) == ("b.test", ("127.0.0.2",))
            assert idle(client) == 1
        assert asked == ["127.0.0.1", "127.0.0.2"]
        assert b.connections == 0
        async with style.client(resolve=resolve, allow="public") as client:
            for url in (origins.url("a"), a.url, f"http://[::ffff:127.0.0.1]:{a.port}/"):
                with pytest.raises(AddressRefused):
                    await client.get(url)
            for notation in ("2130706433", "127.1", "0x7f000001", "017700000001", "127.0.1"):
                with pytest.raises((AddressRefused, InvalidRequest)):
                    await client.get(f"http://{notation}:{a.port}/")
        assert a.connections == 1


def test_the_guard_holds_with_proxies_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    with site() as proxy, site() as server, Client(allow="public") as before:
        for name in ("http_proxy", "all_proxy"):
            monkeypatch.setenv(name, proxy.url)
        with Client(allow="public") as client:
            for each in (before, client):
                with pytest.raises(AddressRefused):
                    each.get(server.url)
        assert proxy.connections == server.connections == 0
        with Client() as client:  # to see that it would have been used
            client.get("http://any.test/").discard()
        assert proxy.seen[0].target == "http://any.test/"


def test_an_upper_case_http_proxy_is_ignored(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with site() as proxy, site() as server:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        with Client() as client:
            client.get(server.url).discard()
        assert (proxy.connections, server.connections) == (0, 1)


@styled
async def test_a_client_certificate_does_not_reach_another_origin(
    style: Style, certificates: Certificates, tmp_path: Path
) -> None:
    file = tmp_path / f"{style.name}.pem"
    issued = certificates.authority.issue_cert("client@example.org")
    issued.private_key_and_cert_chain_pem.write_to_path(file)
    ca = tmp_path / f"ca-{style.name}.pem"
    certificates.authority.cert_pem.write_to_path(ca)
    with ExitStack() as stack:
        sites = []
        for _ in "ab":
            context = certificates.new_server()
            context.verify_mode = ssl.CERT_OPTIONAL
            certificates.authority.configure_trust(context)
            sites.append(stack.enter_context(site(context)))
        a, b = sites
        a.on("/0", redirect(f"{a.url}/1"))
        a.on("/1", redirect(f"{b.url}/2"))
        b.on("/2", redirect(f"{a.url}/3"))
        settings = {"verify": str(ca), "cert": (str(file), str(file))}
        async with style.client(**settings) as client:
            await (await client.get(f"{a.url}/0")).discard()
        assert [(seen.target, seen.has_certificate) for seen in [*a.seen, *b.seen]] == [
            ("/0", True), ("/1", True), ("/3", False), ("/2", False)
        ]  # fmt: skip
        async with style.client(base_url=a.url, **settings) as client:
            await (await client.get("x")).discard()
            await (await client.get(f"{b.url}/x")).discard()
        assert a.seen[-1].has_certificate
        assert not b.seen[-1].has_certificate


# -------------------------------------------------------------------------- pools and TLS


@styled
async def test_a_client_that_verifies_gets_no_connection_of_one_that_does_not(
    style: Style, certificates: Certificates
) -> None:
    pool = AsyncPool() if style.is_async else Pool()
    with site_over_tls(certificates) as secure:
        async with style.client(base_url=secure.url, pool=pool, verify=False) as client:
            await (await client.get("")).discard()
        async with style.client(base_url=secure.url, pool=pool) as client:
            with pytest.raises(OSError, match="certificate verify failed"):
                await client.get("")
        async with style.client(base_url=secure.url, pool=pool, verify=False) as client:
            await (await client.get("")).discard()
    pool.close()


# ---------------------------------------------------------------------------- injection

NASTY = [
    "a\r\nX-Evil: 1",
    "a\nb",
    "a\rb",
    "a\0b",
    'a"; x="b',
    "a\r\n\r\nGET /evil HTTP/1.1\r\n\r\n",
]


@styled
async def test_params_add_no_field_and_no_request(style: Style, site: Site) -> None:
    async with style.client(base_url=site.url) as client:
        for text in NASTY:
            await (await client.get("p", params={text: text})).discard()
            await (await client.post("p", form={text: text})).discard()
    assert len(site.seen) == 2 * len(NASTY)
    for seen in site.seen:
        assert "x-evil" not in seen
        assert re.fullmatch(r"/p(\?[A-Za-z0-9%._~=-]+)?", seen.target)
        assert re.fullmatch(rb"[A-Za-z0-9%._*=+-]*", seen.body)


@styled
async def test_multipart_names_add_no_part(style: Style, site: Site) -> None:
    async with style.client(base_url=site.url) as client:
        for text in NASTY:
            form = Multipart({text: "v"}, {text: (text, b"content")})
            await (await client.post("", form=form)).discard()
            body = site.seen[-1].body
            assert body.count(b"\r\n\r\n") == 2
            heads = [part.partition(b"\r\n\r\n")[0] for part in body.split(b"\r\n--")]
            for head in heads:
                assert b"X-Evil: " not in head.replace(b"%0D%0AX-Evil: ", b"")
                assert b"\0" not in head


@styled
async def test_auth_adds_no_field(style: Style, site: Site) -> None:
    async with style.client(base_url=site.url) as client:
        for text in NASTY:
            if set(text) & set("\r\n\0"):
                with pytest.raises(InvalidRequest):
                    await client.get("", auth=(text, text))
                with pytest.raises(InvalidRequest):
                    await client.get("", auth=lambda request, text=text: {"X-A": text})
            for name in (text, f"{text}:"):
                with pytest.raises(InvalidRequest):
                    await client.get("", auth=lambda request, name=name: {name: "x"})
        assert idle(client) == 0
    assert site.seen == []


def test_a_response_is_decoded_in_bounded_memory() -> None:
    """`discard` decodes nothing. `test_coding` has the bombs."""
    corrupt = Reply(body=b"not gzip", headers={"Content-Encoding": "gzip"})
    with site() as server, Client(base_url=server.url) as client:
        server.on("/", corrupt)
        client.get("").discard()
        assert idle(client) == 1
        with pytest.raises(InvalidResponse):
            client.get("").text()
        server.on("/", Reply(body=gzip.compress(b"x" * 10_000_000),
                             headers={"Content-Encoding": "gzip"}))  # fmt: skip
        response = client.get("")
        assert sum(len(piece) for piece in response) == 10_000_000


@styled
async def test_a_full_pool_names_the_leases(style: Style, site: Site) -> None:
    pool = AsyncPool(per_host=1) if style.is_async else Pool(per_host=1)
    site.on("/", Reply(body=b"x" * 100_000))
    async with style.client(base_url=site.url, pool=pool) as client, client.get("secret?q=1"):
        with pytest.raises(ConnectionTimedOut) as caught:
            await client.get("", timeout=0.05)
        assert caught.value.phase == "pool"
        assert "q=1" not in str(caught.value)
    pool.close()
