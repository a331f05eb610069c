"""Runs the examples of these pages, from the top of each page, as a reader would.

Blocks of Python are run, and so are those in HTML comments, which check the results or prepare
what an example needs. Blocks of ``console`` are sessions in a terminal: each must look as on the
page, where ``…`` stands for any text.

The examples of a page run in a new folder with a copy of the practice server. The practice server
also runs in a thread and answers for ``localhost:8000``. Another server answers for `PUBLIC`.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import re
import shlex
import shutil
import socket
import ssl
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from unittest import SkipTest

import pytest
import trustme
from sybil import Example, Sybil
from sybil.integration.pytest import SybilItem
from sybil.parsers.myst import CodeBlockParser, PythonCodeBlockParser, SkipParser

from dugong import Client, HTTPConnection, StateError

#: A server on the Internet that some examples talk to, at ports 80 and 443.
PUBLIC = "www.example.org"


class PublicPage(BaseHTTPRequestHandler):
    """What is at `PUBLIC`."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "5")
        self.end_headers()
        self.wfile.write(b"Hello")

    def log_request(self, *args: Any) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Prepare the folder and the network of a page."""
    folder = tmp_path_factory.mktemp("reader")
    shutil.copy(Path(__file__).with_name("practice_server.py"), folder)
    with pytest.MonkeyPatch.context() as patch, contextlib.chdir(folder):
        patch.syspath_prepend(folder)
        for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
            patch.delenv(name)
        practice = importlib.import_module("practice_server").start()
        with public_server(patch, practice.server_port):
            yield
        practice.shutdown()
        practice.server_close()
    sys.modules.pop("practice_server", None)


@contextlib.contextmanager
def public_server(patch: pytest.MonkeyPatch, practice: int) -> Iterator[None]:
    """Run servers for `PUBLIC`, whose certificate is trusted; port *practice* is localhost:8000."""
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(PUBLIC).configure_cert(context)
    authority.cert_pem.write_to_path("authority.pem")
    patch.setenv("SSL_CERT_FILE", str(Path("authority.pem").resolve()))
    getaddrinfo = socket.getaddrinfo

    with serve(None) as plain, serve(context) as tls:
        ports = {80: plain, 443: tls}

        def look_up(host: Any, port: Any, *args: Any, **kwargs: Any) -> Any:
            if host == PUBLIC and not kwargs.get("flags", 0) & socket.AI_NUMERICHOST:
                host, port = "127.0.0.1", ports[port]
            elif (host, port) == ("localhost", 8000):
                port = practice
            return getaddrinfo(host, port, *args, **kwargs)

        patch.setattr(socket, "getaddrinfo", look_up)
        yield


@contextlib.contextmanager
def serve(context: ssl.SSLContext | None) -> Iterator[int]:
    """Run a server; gives its port."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), PublicPage)
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server.server_port
    server.shutdown()
    thread.join()
    server.server_close()


def run_session(example: Example) -> None:
    """Run a block of ``console``. A command may fail if the next one is ``echo $?``."""
    from tests.cli.command import COMMAND  # not before pytest has loaded its plugins from there
    from tests.cli.terminal import Terminal

    shown = example.parsed.rstrip()
    commands = re.findall(r"^\$ (.*(?<!\\)(?:\\\n.*)*)", shown, re.MULTILINE)
    port = str(example.namespace["server"].server_port)
    script = f'dugong() {{ {shlex.join(COMMAND)} "$@"; }}; status=0\n'
    for command in commands:
        if command != "echo $?":
            script += "[ $status = 0 ] || exit $status\n"
        script += f"echo {shlex.quote('$ ' + command)}; (exit $status)\n"
        script += command.replace("localhost:8000", f"localhost:{port}") + "\nstatus=$?\n"
    with Terminal("/bin/bash", "-c", script + "exit $status", columns=150) as terminal:
        status, _ = terminal.ended()
        screen = "\n".join(terminal.screen()).replace(f"localhost:{port}", "localhost:8000")
    expected = ".*".join(map(re.escape, shown.split("…")))
    assert re.fullmatch(expected, screen, re.DOTALL), screen
    assert status == 0, screen


#: The lines of the examples that were run in each page's namespace, by the identity of that.
RAN: dict[int, set[int]] = {}


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """Run the examples above this one first, unless that was done.

    They may have run in another process, because pytest-xdist splits pages, or before this process
    ran another page and came back.
    """
    if isinstance(item, SybilItem):
        document = item.example.document
        ran = RAN.setdefault(id(document.namespace), set())
        for example in document.examples():
            if example.line < item.example.line and example.line not in ran:
                ran.add(example.line)
                with contextlib.suppress(SkipTest):
                    example.evaluate()
        ran.add(item.example.line)
    return (yield)


def clean_up(namespace: dict[str, Any]) -> None:
    """Close what a page's examples have left open."""
    for value in namespace.values():
        if isinstance(value, HTTPConnection):
            with contextlib.suppress(StateError):  # its lease has ended
                value.disconnect()
        elif isinstance(value, Client):
            value.close()
    if "server" in namespace:
        namespace["server"].shutdown()
        namespace["server"].server_close()
    namespace.clear()
    RAN.pop(id(namespace), None)


pytest_collect_file = Sybil(
    parsers=[PythonCodeBlockParser(), CodeBlockParser("console", run_session), SkipParser()],
    patterns=["*.md"],
    excludes=["coming-from/*.md"],
    fixtures=["reader"],
    teardown=clean_up,
).pytest()
