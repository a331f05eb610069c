"""`dugong check`: which documents are not there.

The servers are real ones, or the test itself.
"""

from __future__ import annotations

import json

import pytest

from tests.cli.addresses import check, objects
from tests.cli.command import COMMAND, Done, Listener, ended, head, start
from tests.support.servers import HOST, NginxEndpoints, Proxies

pytestmark = pytest.mark.slow

# --------------------------------------------------------------------- results


@pytest.mark.parametrize(
    ("path", "line", "status", "strict"),
    [
        ("/doc/1.txt", "ok            {}: 200 OK", 0, 0),
        ("/status/204", "ok            {}: 204 No Content", 0, 0),
        ("/doc/1.txt?a=b#c", "ok            {}: 200 OK", 0, 0),
        ("/no-head", "ok            {}: 200 OK", 0, 0),
        ("/status/301", "redirected    {}: 301 Moved Permanently -> {root}/doc/1.txt", 0, 1),
        ("/status/302", "redirected    {}: 302 Moved Temporarily -> http://other/a?b", 0, 1),
        ("/status/307", "redirected    {}: 307 Temporary Redirect -> {root}/doc/1.txt", 0, 1),
        ("/status/308", "redirected    {}: 308 Permanent Redirect -> {root}/doc/1.txt", 0, 1),
        ("/status/401", "denied        {}: 401 Unauthorized", 0, 1),
        ("/status/403", "denied        {}: 403 Forbidden", 0, 1),
        ("/status/451", "denied        {}: 451", 0, 1),
        ("/doc/no", "missing       {}: 404 Not Found", 1, 1),
        ("/status/410", "missing       {}: 410 Gone", 1, 1),
        ("/status/400", "failed        {}: 400 Bad Request", 1, 1),
        ("/status/500", "failed        {}: 500 Internal Server Error", 1, 1),
    ],
)
def test_statuses(url: str, path: str, line: str, status: int, strict: int) -> None:
    expected = line.format(url + path, root=url) + "\n"
    assert check("--all", url + path) == Done(status, expected.encode(), "")
    done = check("--strict", url + path)
    assert done == Done(strict, b"" if line.startswith("ok") else expected.encode(), "")


def test_json(url: str, port: int) -> None:
    """Each line is an object with the same keys, and the URL as it was given."""
    urls = [
        f"{url}/doc/1.txt#é",
        f"{url}/status/301",
        f"HTTP://{HOST}:{port}/a b",
        "http://",
        "\udcff",
    ]
    given = f"\n  {urls[0]}\r\n\n" + "\n".join(urls[1:])
    done = check("--json", "--all", "-", given=given)
    assert (done.status, done.err) == (1, "")
    for one in objects(done):  # a lone surrogate is no JSON text
        json.dumps(one, ensure_ascii=False).encode()
    urls[-1] = "\ufffd"
    found = {one["url"]: one for one in objects(done)}
    assert (
        list(map(tuple, found.values())) == [("url", "result", "status", "location", "message")] * 5
    )
    ok, moved, missing, *invalid = (list(found[one].values())[1:] for one in urls)
    assert ok == ["ok", 200, None, "OK"]
    assert moved == ["redirected", 301, f"{url}/doc/1.txt", "Moved Permanently"]
    assert missing == ["missing", 404, None, "Not Found"]
    assert invalid == [
        ["invalid", None, None, "url 'http://' has no valid host and port"],
        [
            "invalid",
            None,
            None,
            "url must be a URL such as 'https://www.example.org', not '\\udcff'",
        ],
    ]


def test_nothing_that_moves_a_terminal(listener: Listener) -> None:
    with start("check", listener.url("/\x1b[2J"), listener.url("/a"), "--retries", "0") as process:
        listener.serve(*[b"HTTP/1.1 404 \x9b2J\r\nContent-Length: 0\r\n\r\n"] * 2)
        done = ended(process)
    assert done.status == 1
    reason = "a URL cannot contain control characters"
    assert sorted(done.out.splitlines()) == [
        f"invalid       {listener.url('/')}\\x1b[2J: {reason}".encode(),
        f"missing       {listener.url('/a')}: 404 \\x9b2J".encode(),
    ]


def test_connection_refused(refused: str, url: str) -> None:
    urls = [f"http://{refused}/{i}" for i in range(3)]
    done = check(*urls, f"{url}/doc/1.txt", "--retry-delay", "0.01")
    lines = [
        f"broken        {one}: cannot connect to {refused}: Connection refused" for one in urls
    ]
    assert (done.status, done.err) == (1, "")
    assert sorted(done.out.decode().splitlines()) == lines


#: Runs the command where some names cannot be looked up. Nobody else is asked.
NAMES = """
import socket, sys
def getaddrinfo(host, *args, system=socket.getaddrinfo, flags=0, **kwargs):
    if flags & socket.AI_NUMERICHOST:
        return system(host, *args, flags=flags, **kwargs)
    name = host.decode() if isinstance(host, bytes) else host
    if name == sys.argv[1]:
        return system("127.0.0.1", *args, **kwargs)
    raise socket.gaierror(socket.EAI_NONAME, "unknown")
socket.getaddrinfo = getaddrinfo
import dugong
dugong.DNS_TEST_HOSTNAMES = (("up.example", 80),)
from dugong.cli import main
sys.exit(main(sys.argv[2:]))
"""


@pytest.mark.parametrize(
    ("known", "message"),
    [
        ("up.example", "host name 'gone.example' has no address: check its spelling"),
        ("", "cannot look up 'gone.example': the domain name system does not answer"),
    ],
)
def test_unresolvable(url: str, known: str, message: str) -> None:
    command = [*COMMAND[:-2], "-c", NAMES, known]
    urls = ["http://gone.example/a", "https://gone.example/b", f"{url}/doc/1.txt"]
    done = check(*urls, "--json", "--all", "--retry-delay", "0.01", command=command)
    assert (done.status, done.err) == (1, "")
    found = {one["url"]: (one["result"], one["message"]) for one in objects(done)}
    assert found == dict.fromkeys(urls[:2], ("unresolvable", message)) | {urls[2]: ("ok", "OK")}


def test_tls(nginx: NginxEndpoints, monkeypatch: pytest.MonkeyPatch) -> None:
    address = f"{HOST}:{nginx.tls.port}"
    assert check(f"https://{address}/doc/1.txt") == Done(0, b"", "")
    done = check(f"https://{HOST}:{nginx.plain.port}/doc/1.txt")
    assert b"does not speak TLS" in done.out
    monkeypatch.delenv("SSL_CERT_FILE")
    done = check(f"https://{address}/1", f"https://{address}/2")
    assert (done.status, done.out.count(b"broken"), done.err) == (1, 2, "")
    assert done.out.count(f"the certificate of {address} is not trusted".encode()) == 2


def test_silent_server(listener: Listener) -> None:
    with start("check", listener.url(), "--timeout", "0.2", "--retry-delay", "0.01") as process:
        done = ended(process)
    reason = "no data transferred for 0.2 seconds (phase 'response', timeout=0.2)"
    line = f"broken        {listener.url()}: {reason}\n"
    assert done == Done(1, line.encode(), "")


def test_not_http(listener: Listener) -> None:
    with start("check", listener.url()) as process:
        for _ in range(2):
            with listener.accept() as sock:
                head(sock)
                sock.sendall(b"SSH-2.0-x\r\n")
        done = ended(process)
    assert done.status == 1
    assert done.out.startswith(f"broken        {listener.url()}: ".encode())
    assert b"SSH" in done.out


def test_proxy(tinyproxy: Proxies, nginx: NginxEndpoints) -> None:
    proxy = "http://{}:{}".format(*tinyproxy.open)
    url = f"https://{HOST}:{nginx.tls.port}"
    done = check("--proxy", proxy, f"{url}/doc/1.txt", f"{url}/no")
    assert done == Done(1, f"missing       {url}/no: 404 Not Found\n".encode(), "")
    done = check("--proxy", "http://{}:{}".format(*tinyproxy.guarded), f"{url}/doc/1.txt")
    assert b"the proxy refused the tunnel: 407" in done.out


def test_unix_socket(nginx: NginxEndpoints) -> None:
    done = check("--unix-socket", nginx.unix_socket, "http://a/doc/1.txt", "http://b/no")
    assert done == Done(1, b"missing       http://b/no: 404 Not Found\n", "")


def test_fields(listener: Listener) -> None:
    with start("check", "-H", "Authorization: x", listener.url("/a?b#c")) as process:
        [request] = listener.serve(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")
        assert ended(process) == Done(0, b"", "")
    assert request.startswith(b"HEAD /a?b HTTP/1.1\r\n")
    assert b"\r\nAuthorization: x\r\n" in request
