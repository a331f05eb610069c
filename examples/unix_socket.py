"""Ask a daemon that listens on a unix socket, and print what it says as it says it.

    python examples/unix_socket.py SOCKET PATH
    python examples/unix_socket.py /run/docker.sock /events

The host name is only what goes into the Host field; nothing is looked up. The connection is made
into a text file, so that an endless answer is read line by line: each is printed when it comes.
"""

from __future__ import annotations

import io
import sys

from dugong import HTTPConnection


def main(unix_socket: str, path: str) -> None:
    with HTTPConnection("localhost", unix_socket=unix_socket) as conn:
        response = conn.request("GET", path)
        if response.status != 200:
            reason = conn.readall().decode(errors="replace").strip()
            sys.exit(f"{path}: {response.status} {response.reason}: {reason}")
        encoding = response.headers.get_content_charset("utf-8")
        for line in io.TextIOWrapper(conn, encoding, errors="replace"):
            print(line, end="", flush=True)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: unix_socket.py SOCKET PATH")
    main(sys.argv[1], sys.argv[2])
