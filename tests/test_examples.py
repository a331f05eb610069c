"""The examples, and what the README shows, run as they are."""

from __future__ import annotations

import ast
import importlib.util
import os
import re
import socket
import ssl
import subprocess
import sys
import tomllib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import trustme

from tests.cli.command import OK, PATIENCE, Listener, head
from tests.cli.terminal import Terminal
from tests.support.servers import ROOT, unavailable

pytestmark = pytest.mark.slow

DEMO = ROOT / "examples" / "demo.py"


@pytest.fixture
def rich() -> None:
    if importlib.util.find_spec("rich") is None:
        unavailable("rich is not installed (dependency group: demo)")


@pytest.mark.usefixtures("rich")
def test_demo() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-X", "dev", DEMO],
        capture_output=True, timeout=100, check=False, start_new_session=True,
    )  # fmt: skip
    out = done.stdout.decode()
    assert (done.returncode, done.stderr.decode()) == (0, ""), out
    assert [trouble for trouble in ("WRONG", "INCOMPLETE") if trouble in out] == []
    (head,) = [line for line in out.splitlines() if "http.client" in line and "┃" in line]
    assert [cell.strip() for cell in head.split("┃")[2:-1]] == ["http.client", "requests", "dugong"]
    times = re.findall(r"^│ .*?│ +(\S+)(?: s)? │ +(\S+)(?: s)? │ +([\d.]+) s │$", out, re.MULTILINE)
    assert len(times) == 6
    assert times[-1][:2] == ("-", "-")
    for word in ("complete", "200, digest right", "403, 1"):
        assert f"│ {word}" in out
    assert out.startswith("$ dugong time http")
    # What the command prints into a pipe is for programs, and wide.
    tables = out[out.index("The same work") :]
    assert max(map(len, tables.splitlines())) <= 80


def test_demo_imports_only_what_it_installs() -> None:
    """``make demo`` has a separate environment, with the group `demo` and no other one."""
    imported = set()
    for path in DEMO.parent.glob("demo*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                imported |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                imported.add(node.module or "")
    others = {name.partition(".")[0] for name in imported} - sys.stdlib_module_names
    with (ROOT / "pyproject.toml").open("rb") as file:
        group = tomllib.load(file)["dependency-groups"]["demo"]
    installed = {re.split(r"[^\w-]", requirement)[0] for requirement in group}
    assert others - {"demo_server"} == {"dugong"} | installed - {"granian"}


@pytest.mark.usefixtures("rich")
def test_demo_interrupted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    with Terminal(sys.executable, "-X", "dev", DEMO) as terminal:
        terminal.await_words("Fetching")  # so the server runs
        os.killpg(terminal.process.pid, 0)
        terminal.type(b"\x03")
        status, shown = terminal.ended()
        assert status == 130
        assert "Traceback" not in shown
        with pytest.raises(ProcessLookupError):  # nothing of it runs any more
            os.killpg(terminal.process.pid, 0)


def test_readme(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The client fetches over https, the connection over http."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "authority.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))
    monkeypatch.setenv("no_proxy", "*")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("www.example.org").configure_cert(context)
    codes = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert len(codes) == 2
    client = run_readme(codes[0], monkeypatch, 443, context)
    connection = run_readme(codes[1], monkeypatch, 80, None)
    assert client["text"] == "hello"
    assert (connection["resp"].status, connection["body"]) == (200, b"hello")


def run_readme(
    code: str, monkeypatch: pytest.MonkeyPatch, expected_port: int, tls: ssl.SSLContext | None
) -> dict[str, Any]:
    with Listener() as listener, ThreadPoolExecutor() as pool:

        def here(host: str | bytes, port: int, *, type: int, flags: int) -> list[Any]:  # noqa: A002
            assert host in ("www.example.org", b"www.example.org")
            assert port == expected_port
            if flags & socket.AI_NUMERICHOST:
                raise socket.gaierror(socket.EAI_NONAME, "it is a name")
            return [(socket.AF_INET, type, 0, "", listener.sock.getsockname())]

        def serve() -> bytes:
            accepted = listener.accept()
            with tls.wrap_socket(accepted, server_side=True) if tls else accepted as sock:
                request = head(sock)
                sock.sendall(OK)
                return request

        monkeypatch.setattr(socket, "getaddrinfo", here)
        serving = pool.submit(serve)
        names: dict[str, Any] = {}
        exec(code, names)  # noqa: S102
        request = serving.result(PATIENCE)
    assert request.startswith(b"GET /index.html HTTP/1.1\r\nHost: www.example.org\r\n")
    return names
