"""URLs: what is refused, quoting, base URLs, parameters, redirect targets."""

from __future__ import annotations

import copy
import itertools
import shutil
import subprocess
import threading
from base64 import b64encode
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar
from urllib.parse import parse_qsl, unquote, unquote_to_bytes, urlsplit

import ada_url
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dugong import InvalidRequest
from dugong.client.url import URL, encode_params, join, parse, parse_base
from dugong.protocol.authority import check_host
from tests.support.copies import WAYS
from tests.support.in_turn import in_turn

# ------------------------------------------------------- browsers and urllib.parse disagree

#: Beginnings, with ``{}`` for user information, host and port.
SCHEMES = [
    "http://{}", "HTTPS://{}", "http:{}", "http:/{}", "http:///{}", "http:\\\\{}", "http:/\\{}",
    " http://{}", "ht\ntp://{}", "http\t://{}", "//{}", "http//{}", "http ://{}", "http:/\t/{}",
    "ftp://{}", "file://{}", "ws://{}", "{}", "http:// {}", "\x00http://{}", "http://\\{}",
]  # fmt: skip

USERS = [
    "", "u@", "u:p@", "@", ":@", ":p@", "u:@", "u:p:q@", "u@v@", "u%40v:p%2F@", "u%3Av:p@", "ü:p@",
    "u^v:p w@", "u:100%@", "[u]:p@", "u\\v:p@", "u/v:p@", "u?v@", "u#v@", "\uff55:p@", "u\uff20v@",
    "u:p\t@", "u%00@", "h;x@", "http://@", "u\ufe55p@", "u:p\u2100@",
]  # fmt: skip

HOSTS = [
    "h", "EXAMPLE.org", "example.org.", "a..b", ".a", "a.", "", "_a.b", "-a.b", "a-.b", "ex%61mple",
    "h%2Fx", "h%00", "h\\x", "h x", "h\tx", "h\nx", "h^x", "h|x", "h<x>", "h'x", "h\"x", "h;x",
    "h,x", "h=x", "h&x", "h*x", "h(x", "127.0.0.1", "127.1", "2130706433", "0x7f.1", "0177.0.0.1",
    "127.0.0.1.", "127.0.0.01", "256.0.0.1", "1.2.3.4.5", "a.1", "a.0x1f", "a.1.", "1.a", "0x",
    "0xg", "1e3", "[::1]", "[::1", "::1", "[::1]x", "[1.2.3.4]", "[::ffff:1.2.3.4]", "[::1%25eth0]",
    "[::1%eth0]", "[v1.x]", "[]", "[:]", "[fe80::1]", "[0:0:0:0:0:0:0:1]", "bücher.example",
    "xn--bcher-kva.example", "faß.example", "\uff45xample.org", "a\u3002b",
    "127\u30020\u30020\u30021", "\uff11\uff12\uff17.0.0.1", "a\xadb", "a\u200db", "a\u2100b",
    "h\uff0fx", "h\uff1a80", "\xad", "😀.example", "h\x7f", "h\x00", "h\ud800", "h@",
    "a" * 64, "a.b" * 100,
]  # fmt: skip

PORTS = [
    "", ":", ":80", ":443", ":8080", ":0", ":00080", ":65535", ":65536", ":99999", ":000080",
    ":+80", ":-1", ":8_0", ": 80", ":80 ", ":\uff18\uff10", ":80:80", ":8\t0", ":x", ":80\\",
    ":0x50",
]  # fmt: skip

RESTS = [
    "", "/", "/a", "?q", "#f", "/@v", "?@v", "#@v", "\\", "\\@v", "/\\v", ";", "@v", "/a b",
    "/a\nb", " ", "/ ", "/../..", "//v", "/:80", "/#a#b", "\t/x", "\x00",
]  # fmt: skip


def sample() -> list[str]:
    plain = [
        *(("http://{}", user, host, "", "/a") for user, host in itertools.product(USERS, HOSTS)),
        *(("http://{}", "u:p@", host, port, "/") for host, port in itertools.product(HOSTS, PORTS)),
        *((scheme, user, "h", "", "/") for scheme, user in itertools.product(SCHEMES, USERS)),
        *(("https://{}", user, "h", port, rest)
          for user, port, rest in itertools.product(USERS, PORTS, RESTS)),
        *(("http://{}", "", host, port, rest)
          for host, port, rest in itertools.product(HOSTS, PORTS[:4], RESTS)),
    ]  # fmt: skip
    urls = (scheme.format(user + host + port) + rest for scheme, user, host, port, rest in plain)
    return list(dict.fromkeys(urls))


def facts(scheme: str, user: str, password: str, host: str, port: int) -> tuple[Any, ...]:
    user, password = (unquote(part, errors="surrogateescape") for part in (user, password))
    return scheme, user, password, check_host(host.lower()).lower(), port


def of_browsers(url: str) -> tuple[Any, ...]:
    found = ada_url.URL(url)
    default = {"http:": 80, "https:": 443}[found.protocol]
    host = found.hostname.strip("[]")
    return facts(
        found.protocol[:-1], found.username, found.password, host, int(found.port or default)
    )


def of_urllib(url: str) -> tuple[Any, ...]:
    found = urlsplit(url)
    default = {"http": 80, "https": 443}[found.scheme]
    port = default if found.port is None else found.port
    host = found.hostname or ""
    if ":" in host:
        host = ada_url.URL(f"http://[{host}]").hostname.strip("[]")  # its shortest form
    return facts(found.scheme, found.username or "", found.password or "", host, port)


def test_what_browsers_and_urllib_see_is_what_we_see() -> None:
    accepted = 0
    for url in sample():
        try:
            ours = parse(url)
        except InvalidRequest:
            continue
        accepted += 1
        user, password = ours.credentials or ("", "")
        origin = ours.origin
        seen = origin.scheme, user, password, origin.host, origin.port
        assert of_browsers(url) == seen, url
        assert of_urllib(url) == seen, url
    assert accepted > 700


class Recorder(BaseHTTPRequestHandler):
    """A proxy that notes the request target and the credentials of each request."""

    seen: ClassVar[dict[int, tuple[str, str | None]]] = {}

    def do_GET(self) -> None:
        number = int(self.path.rpartition("/")[2])
        self.seen[number] = self.path, self.headers["Authorization"]
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args: object) -> None:
        pass


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_what_curl_sends_is_what_we_see() -> None:
    urls: list[str] = []
    parts = [
        *itertools.product(USERS, HOSTS[:4], [":8080"]),
        *itertools.product(["u:p@"], HOSTS, PORTS[:5]),
        *itertools.product(USERS, ["h"], PORTS),
    ]
    for user, host, port in dict.fromkeys(parts):
        url = f"http://{user}{host}{port}/"
        try:
            parse(url)
        except (InvalidRequest, UnicodeError):
            continue
        if url.isascii():  # curl takes the encoding of names from the locale
            urls.append(f"{url}{len(urls)}")
    Recorder.seen.clear()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Recorder)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        proxy = f"http://127.0.0.1:{server.server_port}"
        command = ["curl", "-q", "-s", "-g", "--path-as-is", "-x", proxy, "--config", "-"]
        config = "".join(f'url = "{url}"\n'.replace("\\", "\\\\") for url in urls)
        subprocess.run(command, input=config, text=True, check=False, capture_output=True)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    assert len(Recorder.seen) > 150
    for number, (target, authorization) in Recorder.seen.items():
        ours = parse(urls[number])
        theirs = parse(target)
        assert theirs.origin == ours.origin, urls[number]
        expected = None
        if ours.credentials is not None:
            user, password = ours.credentials
            expected = f"Basic {b64encode(f'{user}:{password}'.encode()).decode()}"
        if authorization != "Basic Og==":  # curl sends empty credentials
            assert authorization == expected, urls[number]


@given(st.text("htps:/\\@[].:?#%0189ax \t\nü\uff20\u3002-", max_size=30))
def test_any_text(text: str) -> None:
    url = f"http://{text}"
    try:
        ours = parse(url)
    except InvalidRequest:
        return
    user, password = ours.credentials or ("", "")
    seen = ours.origin.scheme, user, password, ours.origin.host, ours.origin.port
    assert of_browsers(url) == of_urllib(url) == seen


@in_turn(
    "url",
    [
        "http:h", "http:///h", "http:\\\\h", " http://h", "http://h\\@v/", "http://u@v@h/",
        "http://ex%61mple.org/", "http://0x7f.1/", "http://a.1/", "http://h:0/", "http://h:65536/",
        "http://[fe80::1%25eth0]/", "http://127\u30020\u30020\u30021/", "http://u\uff20v@h/",
        "ftp://h/", "/a", "", "h", "http://", "http://u%3Av:p@h/", "http://u%0d:p@h/", "//h/",
        "http://\ud800:p@h/", "http://h/\ud800",
    ],
)  # fmt: skip
def test_refused(url: str) -> None:
    with pytest.raises(InvalidRequest, match="url"):
        parse(url)


@pytest.mark.parametrize("value", [None, 1, b"http://h/", ["http://h/"]])
def test_no_text(value: Any) -> None:
    with pytest.raises(TypeError, match="url must be a str"):
        parse(value)


def test_messages_and_representations_hide_user_information() -> None:
    for scheme, host, port, rest in itertools.product(SCHEMES, HOSTS, [":", ":x"], ["/", "\\"]):
        url = scheme.format(f"user:s3cret@{host}{port}") + rest
        try:
            parsed = parse(url)
            text = f"{parsed} {parsed!r}"
        except InvalidRequest as exc:
            text = str(exc)
        assert "s3cret" not in text


# ----------------------------------------------------------------------------------- quoting


@in_turn(
    ("url", "expected"),
    [
        ("http://h", "http://h/"),
        ("http://h?q", "http://h/?q"),
        ("http://h#f", "http://h/#f"),
        ("http://h?", "http://h/?"),
        ("http://h/#", "http://h/#"),
        ("HTTP://H:80/A", "http://h/A"),
        ("https://h:443", "https://h/"),
        ("http://h:443", "http://h:443/"),
        ("http://[::FFFF:1.2.3.4]/", "http://[::ffff:102:304]/"),
        ("http://u:p@h/", "http://h/"),
        ("http://h/a b/ü?ü ü#ü", "http://h/a%20b/%C3%BC?%C3%BC%20%C3%BC#%C3%BC"),
        ("http://h/%zz%2%%2B%2b%7E~", "http://h/%25zz%252%25%2B%2b%7E~"),
        ("http://h/a/../b/./c//d", "http://h/a/../b/./c//d"),
        ("http://h/a\\b", "http://h/a%5Cb"),
        ("http://h/\r\n\0\t", "http://h/%0D%0A%00%09"),
        (
            "http://h/:@!$&'()*+,;=[]?:@/?!$&'()*+,;=[]",
            "http://h/:@!$&'()*+,;=[]?:@/?!$&'()*+,;=[]",
        ),
        ('http://h/"<>^`{|}', "http://h/%22%3C%3E%5E%60%7B%7C%7D"),
        ("http://h/\udcff\udc80", "http://h/%FF%80"),
        ("http://bücher.example/", "http://xn--bcher-kva.example/"),
    ],
)
def test_quoting(url: str, expected: str) -> None:
    parsed = parse(url)
    assert str(parsed) == expected
    assert str(parse(expected)) == expected
    rest = expected.partition("://")[2].partition("#")[0]
    assert parsed.target == rest[rest.index("/") :]


@given(st.text())
def test_quoting_adds_nothing(text: str) -> None:
    url = parse(f"http://h/{text}")
    assert url.target.isascii()
    assert url.target.isprintable()
    assert not {" ", "#"} & set(url.target)
    assert unquote_to_bytes(str(url)) == unquote_to_bytes(f"http://h/{text}")


@in_turn(
    ("url", "credentials"),
    [
        ("http://u:p@h/", ("u", "p")),
        ("http://u@h/", ("u", "")),
        ("http://:p@h/", ("", "p")),
        ("http://@h/", None),
        ("http://:@h/", None),
        ("http://a%40b:c%3Ad:e@h/", ("a@b", "c:d:e")),
        ("http://ü:%C3%BC%@h/", ("ü", "ü%")),
        ("http://%FF@h/", ("\udcff", "")),
    ],
)
def test_credentials(url: str, credentials: tuple[str, str] | None) -> None:
    parsed = parse(url)
    assert parsed.credentials == credentials
    assert parsed.without_credentials().credentials is None
    assert parsed.without_credentials() == parse("http://h/")


def test_a_url_is_a_value() -> None:
    url = parse("http://u:p@h/a?b#c")
    for twin in (parse("http://u:p@h/a?b#c"), WAYS["pickle-4"](url), copy.copy(url)):
        assert twin == url
        assert hash(twin) == hash(url)
    for other in (
        "http://v:p@h/a?b#c",
        "http://u:p@h/a?b",
        "http://u:p@h/a#c",
        "http://u:p@g/a?b#c",
    ):
        assert parse(other) != url
    assert url != "http://h/a?b#c"
    assert (url.path, url.is_secure) == ("/a", False)
    with pytest.raises(AttributeError):
        url.target = "/"
    with pytest.raises(AttributeError):
        del url.target
    assert parse(url) is url


# --------------------------------------------------------------------------------- base URLs


@in_turn(
    ("base", "url", "expected"),
    [
        ("https://h/api", "", "https://h/api"),
        ("https://h/api/", "", "https://h/api/"),
        ("https://h/api", "?q", "https://h/api?q"),
        ("https://h/api", "#f", "https://h/api#f"),
        ("https://h/api", "users", "https://h/api/users"),
        ("https://h/api/", "users", "https://h/api/users"),
        ("https://h/api", "/users", "https://h/api/users"),
        ("https://h/api/", "/users/?a=/../..#f", "https://h/api/users/?a=/../..#f"),
        ("https://h", "users", "https://h/users"),
        ("https://h", "", "https://h/"),
        ("https://h/api", "/", "https://h/api/"),
        ("https://h/api", "a/../b", "https://h/api/a/../b"),
        ("https://h/api", "a/..", "https://h/api/a/.."),
        ("https://h/api", "..a", "https://h/api/..a"),
        ("https://h/api", "a//b", "https://h/api/a//b"),
        ("https://h/api", "/a:b", "https://h/api/a:b"),
        ("https://h/api", "a/b:c", "https://h/api/a/b:c"),
        ("https://h/api", "?a:b//", "https://h/api?a:b//"),
        ("https://h/api", "ü ", "https://h/api/%C3%BC%20"),
        ("https://h/api", "http://other/x", "http://other/x"),
        ("https://h/a%2Fb", "c", "https://h/a%2Fb/c"),
    ],
)
def test_join(base: str, url: str, expected: str) -> None:
    assert str(join(parse_base(base), url)) == expected


@in_turn(
    "url",
    [
        "//other/x", "\\\\other", "/\\other", "\\/other", "/\t/other", " //other", "\t/\n\\other",
        "..", "../x", "a/../../x", "/..", "%2e%2e/x", ".%2E/x", "..%2fx", "..%5Cx", "..\\x",
        "a//../../x", "./..", "a:b", "javascript:x", "http:x", "http:/x", " http://x/", "ht\ntp://x/",
        "\nx", "ftp://h/", "http://u@v@h/", ":a",
    ],
)  # fmt: skip
def test_not_joined(url: str) -> None:
    with pytest.raises(InvalidRequest):
        join(parse_base("https://h/api/v1"), url)


def test_relative_without_base() -> None:
    with pytest.raises(InvalidRequest, match=r"https://www\.example\.org"):
        join(None, "/users")
    assert str(join(None, "http://h/a")) == "http://h/a"


@pytest.mark.parametrize("url", ["http://h/?q", "http://h/#f", "/a", "http://h/a?"])
def test_not_a_base(url: str) -> None:
    with pytest.raises(InvalidRequest, match="base_url"):
        parse_base(url)


def test_a_relative_url_has_the_credentials_of_the_base() -> None:
    base = parse_base("https://u:p@h/api")
    assert join(base, "x").credentials == ("u", "p")
    assert join(base, "https://h/api/x").credentials is None


# -------------------------------------------------------------------------------- parameters


@in_turn(
    ("params", "expected"),
    [
        (None, ""),
        ({}, ""),
        ({"a": None}, ""),
        ({"a": "b c"}, "a=b%20c"),
        ({"a": [1, 2.5, None, True, False]}, "a=1&a=2.5&a=true&a=false"),
        ([("a", 1), ("b", 2), ("a", 3)], "a=1&b=2&a=3"),
        ({"a": ("x", "y")}, "a=x&a=y"),
        ({"a": []}, ""),
        ({"a&b=c": "d&e=f#g+h%20/?"}, "a%26b%3Dc=d%26e%3Df%23g%2Bh%2520%2F%3F"),
        ({"\r\n\0": '"\r\n\0'}, "%0D%0A%00=%22%0D%0A%00"),
        ({"ü": b"\xff\xc3\xbc"}, "%C3%BC=%FF%C3%BC"),
        ({"": ""}, "="),
    ],
)
def test_params(params: Any, expected: str) -> None:
    assert encode_params(params) == expected


@given(st.lists(st.tuples(st.text(), st.text() | st.binary())))
def test_params_arrive(params: list[tuple[str, str | bytes]]) -> None:
    query = encode_params(params)
    url = parse("http://h/").with_params(query)
    got = parse_qsl(url.target[2:], keep_blank_values=True, errors="surrogateescape")
    texts = [
        (name, value if isinstance(value, str) else value.decode("utf-8", "surrogateescape"))
        for name, value in params
    ]
    assert got == texts


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://h/a", "http://h/a?p=1"),
        ("http://h/a?", "http://h/a?p=1"),
        ("http://h/a?q", "http://h/a?q&p=1"),
        ("http://h/a?q&", "http://h/a?q&p=1"),
        ("http://h/a#f", "http://h/a?p=1#f"),
        ("http://u:p@h/a?q#f?", "http://h/a?q&p=1#f?"),
    ],
)
def test_params_follow_the_query(url: str, expected: str) -> None:
    parsed = parse(url)
    assert str(parsed.with_params("", "p=1")) == expected
    assert parsed.with_params("p=1").credentials == parsed.credentials
    assert parsed.with_params("", "") is parsed


def test_params_of_client_and_request() -> None:
    assert parse("http://h").with_params("a=1", "b=2").target == "/?a=1&b=2"


class Text(str):
    __slots__ = ()

    def __str__(self) -> str:
        return "other"


@in_turn(
    "params", ["a=1", b"a=1", 1, [1], [("a",)], {1: "a"}, {"a": object()}, {"a": {}}, {"a": [[1]]}]
)
def test_params_of_the_wrong_kind(params: Any) -> None:
    with pytest.raises(TypeError, match="params"):
        encode_params(params)


def test_subclasses_of_str_and_int() -> None:
    assert encode_params({Text("a"): Text("b")}) == "a=b"
    with pytest.raises(InvalidRequest, match="too large"):
        encode_params({"a": 10**5000})
    with pytest.raises(InvalidRequest, match="UTF-8"):
        encode_params({"a": "\ud800"})


# -------------------------------------------------------------------------- redirect targets


@in_turn(
    ("location", "expected"),
    [
        ("/x", "https://h/x#f"),
        ("x?y", "https://h/a/x?y#f"),
        ("?y", "https://h/a/b?y#f"),
        ("#g", "https://h/a/b?q#g"),
        ("", "https://h/a/b?q#f"),
        ("../x", "https://h/x#f"),
        ("//other:81/x", "https://other:81/x#f"),
        ("http://v:w@other/x#", "http://other/x#"),
        ("/x y%z", "https://h/x%20y%25z#f"),
        ("/\xc3\xbc\xff", "https://h/%C3%BC%FF#f"),
        ("/a\\b", "https://h/a%5Cb#f"),
        ("x\\\\y", "https://h/a/x%5C%5Cy#f"),
    ],
)
def test_redirected(location: str, expected: str) -> None:
    target = parse("https://u:p@h/a/b?q#f").redirected(location)
    assert str(target) == expected
    assert target.credentials is None


@in_turn(
    "location",
    [
        "/\\other", "\\\\other", "\\/other", "/\t/other", "\t//other", "http:\\\\other",
        "http:other", "http:/other", "http:///other", "//", "http://", "ftp://h/", "mailto:x",
        "javascript:x", "//u@v@h/", "//h:0/", "http://ex%61mple/", "/a\tb", "data:,",
    ],
)  # fmt: skip
def test_not_redirected(location: str) -> None:
    with pytest.raises(InvalidRequest):
        parse("https://h/a").redirected(location)


def test_type() -> None:
    assert isinstance(parse("http://h/"), URL)
