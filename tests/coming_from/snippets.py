"""Runs one column of a page's tables, against a server of its own.

    python -m tests.coming_from.snippets PAGE COLUMN        COLUMN is 0 (wrote) or 1 (write)

Prints, as JSON, for each row: the code; what its variables were in the end, as far as they are
plain values; its output; and the requests that the server got. In the code, port 8000 of localhost
is where the server listens, and port 3128 is the same server as a proxy. At port 8443, a server
with TLS wants a client certificate. The environment configures no proxies and no certificate
authorities, except for what the code sets.
"""

from __future__ import annotations

import io
import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
from contextlib import ExitStack, redirect_stdout
from pathlib import Path
from typing import Any

from tests.coming_from.pages import PAGES, rows_of
from tests.coming_from.server import Server, private_tls

#: For the code, in the directory that it runs in.
FILES = {"data.bin": bytes(range(256)) * 8192}

#: Environment variables that replace the certificate authorities, also those of a session.
AUTHORITIES = ("CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "SSL_CERT_DIR", "SSL_CERT_FILE")


def plain(value: object) -> Any:
    """Return *value* as JSON can have it, or ``None`` if it is not a plain value."""
    if isinstance(value, (bytes, bytearray)):
        return f"{len(value)} bytes: {bytes(value[:60])!r}"
    if isinstance(value, (str, int, bool)):
        return value
    if isinstance(value, (list, dict)):
        try:
            return json.loads(json.dumps(value))
        except TypeError:
            return None
    return None


def run_python(code: str) -> tuple[dict[str, Any], str]:
    names: dict[str, Any] = {"__name__": "__main__"}
    output = io.StringIO()
    with redirect_stdout(output):
        exec(compile(code, "snippet", "exec"), names)  # noqa: S102
    values = {name: plain(value) for name, value in names.items() if not name.startswith("__")}
    return {name: value for name, value in values.items() if value is not None}, output.getvalue()


def run_shell(code: str) -> tuple[dict[str, Any], str]:
    code = code.replace("dugong ", f"{shlex.quote(sys.executable)} -m dugong ")
    done = subprocess.run(
        ["sh", "-c", code],  # noqa: S607
        capture_output=True, check=False, timeout=60,
    )  # fmt: skip
    values = {
        "succeeded": done.returncode == 0,
        "files": {
            path.name: plain(path.read_bytes())
            for path in sorted(Path.cwd().iterdir())
            if path.name not in FILES
        },
    }
    return values, done.stdout.decode()


def run_row(language: str, code: str) -> dict[str, Any]:
    """Run the code of a cell in a new directory."""
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        server = stack.enter_context(Server())
        ports, log = {"8000": server.port, "3128": server.port}, server.log
        if "8443" in code:
            secure = stack.enter_context(Server(private_tls(directory)))
            ports["8443"], log = secure.port, secure.log
        for name, data in FILES.items():
            (directory / name).write_bytes(data)
        code = re.sub("|".join(ports), lambda match: str(ports[match[0]]), code)
        run = run_python if language == "python" else run_shell
        home, environment = Path.cwd(), dict(os.environ)
        os.chdir(directory)
        try:
            values, output = run(code)
        finally:
            os.chdir(home)
            os.environ.clear()
            os.environ.update(environment)
        text = json.dumps({"values": values, "output": output})
        for port, real in ports.items():
            text = text.replace(str(real), port)
        in_order = "concurrent.futures" not in code
        results: dict[str, Any] = json.loads(text)
        return results | {"requests": log if in_order else sorted(log)}


def main(page: str, column: int) -> None:
    for name in list(os.environ):
        if name.lower().endswith("_proxy") or name in AUTHORITIES:
            del os.environ[name]
    results = {}
    for row in rows_of(PAGES / page):
        cell = row.cells[column]
        assert cell is not None
        try:
            results[row.title] = {"code": cell[1], **run_row(*cell)}
        except BaseException as exc:
            exc.add_note(f"in {page}, {row.title}:\n{cell[1]}")
            raise
    sys.stdout.write(json.dumps(results, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
