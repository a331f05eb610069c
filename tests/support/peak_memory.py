"""Download in a separate process and print what it cost: ``python -m tests.support.peak_memory``.

Arguments are the port, the path and the way of reading: ``readall`` or ``readinto``. Prints as
JSON the number of bytes of body, their SHA-256, and by how many bytes reading them made the
process's peak grow.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
from pathlib import Path

from dugong import HTTPConnection

BUFFER = 64 * 1024


def peak() -> int:
    """Return the largest resident set this process has had, in bytes.

    Not `resource.getrusage`: its figure survives exec, and so begins with the parent's.
    """
    status = Path("/proc/self/status").read_text()
    found = re.search(r"^VmHWM:\s+([0-9]+) kB$", status, re.MULTILINE)
    assert found
    return int(found[1]) * 1024


def main(port: str, path: str, way: str) -> None:
    with HTTPConnection("127.0.0.1", int(port)) as conn:
        # Everything that is made once is made before counting begins.
        conn.send_request("GET", "/doc/1.txt")
        conn.read_response()
        conn.readall()
        digest = hashlib.sha256()

        conn.send_request("GET", path)
        conn.read_response()
        before = peak()
        if way == "readall":
            body = conn.readall()
            growth = peak() - before
            size = len(body)
            digest.update(body)
        else:
            size = 0
            buf = bytearray(BUFFER)
            while count := conn.readinto(buf):
                digest.update(memoryview(buf)[:count])
                size += count
            growth = peak() - before
    json.dump({"size": size, "sha256": digest.hexdigest(), "growth": growth}, sys.stdout)


if __name__ == "__main__":
    main(*sys.argv[1:])
