"""Send a request to a daemon on a Unix socket, and print the response as it arrives.

    python examples/unix_socket.py SOCKET PATH
    python examples/unix_socket.py /run/docker.sock /events

The host name is sent in the Host field only; nothing is looked up. A text file wraps the
connection, so an endless response is read line by line, and each line is printed when it arrives.
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
