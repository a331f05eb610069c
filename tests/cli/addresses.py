"""nginx at many addresses, and `dugong check` with standard input."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.cli.command import COMMAND, PATIENCE, Done, start
from tests.support.servers import HOST, Documents, serving_by_nginx

#: Other addresses of this machine.
HOSTS = [HOST, "127.0.0.2", "127.0.0.3", "127.0.0.4"]

CONF = """
    server {{
        listen 127.0.0.1:{ports[0]};
        listen 127.0.0.2:{ports[0]};
        listen 127.0.0.3:{ports[0]};
        listen 127.0.0.4:{ports[0]};
        location /doc/ {{ alias {documents}/; }}
        location /status/200 {{ return 200; }}
        location /status/204 {{ return 204; }}
        location /status/301 {{ return 301 /doc/1.txt; }}
        location /status/302 {{ return 302 http://other/a?b; }}
        location /status/307 {{ return 307 /doc/1.txt; }}
        location /status/308 {{ return 308 /doc/1.txt; }}
        location /status/400 {{ return 400; }}
        location /status/401 {{ return 401; }}
        location /status/403 {{ return 403; }}
        location /status/410 {{ return 410; }}
        location /status/451 {{ return 451; }}
        location /status/500 {{ return 500; }}
        location /no-head {{
            if ($request_method = HEAD) {{ return 405; }}
            return 200 "hello";
        }}
        location /page {{
            default_type "text/html; charset=iso-8859-1";
            return 200 "<a href=doc/1.txt><img src=/caf\xe9.png><a href=#top>";
        }}
        location /moved {{ return 302 /page; }}
    }}
"""


@contextmanager
def many_addresses(documents: Documents) -> Iterator[int]:
    """Run nginx. Yields the port at which it listens at all of `HOSTS`."""
    with serving_by_nginx("nginx at many addresses", CONF, documents=documents.directory) as (
        server,
        _,
    ):
        yield server.ports[0]


def check(*args: str | Path, given: str = "", command: Sequence[str] = COMMAND) -> Done:
    """Run ``dugong check`` with *given* on standard input."""
    with start("check", *args, command=command, stdin=subprocess.PIPE) as process:
        out, err = process.communicate(given.encode("utf-8", "surrogateescape"), timeout=PATIENCE)
        return Done(process.returncode, out, err.decode())


def objects(done: Done) -> list[dict[str, Any]]:
    return [json.loads(line) for line in done.out.splitlines()]
