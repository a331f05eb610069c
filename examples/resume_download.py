"""Download a large file, and resume after interruptions, also in a later run.

    python examples/resume_download.py URL FILE

The received data is kept in FILE.part, and the validator (ETag) of its version in FILE.part.etag.
The program requests the rest with Range and If-Range: if the file has changed meanwhile, the server
sends the whole new version (200) instead of a part (206), and the download restarts. FILE appears
when it is complete. `Client.download` does all of this; the example shows how it works.
"""

from __future__ import annotations

import re
import ssl
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

from dugong import HTTPConnection, HTTPResponse, is_temp_network_error

#: The most attempts in a row without a byte, and the seconds before the second of them.
ATTEMPTS = 5
DELAY = 1

CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+)")


class Download:
    """A file that is being downloaded."""

    def __init__(self, url: str, file: Path) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            sys.exit(f"not an http or https URL: {url}")
        context = ssl.create_default_context() if parts.scheme == "https" else None
        self.conn = HTTPConnection(parts.hostname, parts.port, context, timeout=60)
        self.path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self.file = file
        self.part = file.with_name(file.name + ".part")
        self.etag = file.with_name(file.name + ".part.etag")

    def size(self) -> int:
        """Return the number of bytes received."""
        return self.part.stat().st_size if self.part.exists() else 0

    def attempt(self) -> None:
        """Receive the rest. If that fails, raise, and keep the data received so far."""
        have = self.size() if self.etag.exists() else 0
        fields = {"Range": f"bytes={have}-", "If-Range": self.etag.read_text()} if have else {}
        response = self.conn.request("GET", self.path, fields)
        if response.status == 206 and have:
            self.check_range(response, have)
        elif response.status == 200:
            self.start_over(response.headers["ETag"])
        elif response.status == 416 and have:  # the file ends here, or is shorter
            self.conn.discard()
            self.start_over(None)
            return self.attempt()
        else:
            sys.exit(f"{self.path}: {response.status} {response.reason}")
        with self.part.open("ab") as out:
            buffer = memoryview(bytearray(1 << 18))
            while count := self.conn.readinto(buffer):
                out.write(buffer[:count])
        self.part.replace(self.file)
        self.etag.unlink(missing_ok=True)
        return None

    def check_range(self, response: HTTPResponse, have: int) -> None:
        """Check that the response contains the rest."""
        given = response.headers["Content-Range"] or ""
        match = CONTENT_RANGE.fullmatch(given)
        if match is None or int(match[1]) != have or int(match[2]) != int(match[3]) - 1:
            sys.exit(f"asked for the bytes from {have} on, and was sent {given or 'others'}")

    def start_over(self, etag: str | None) -> None:
        """Drop the received data, then store the new validator. The order matters."""
        self.part.write_bytes(b"")
        if etag is not None and not etag.startswith(
            "W/"
        ):  # a weak validator does not work for ranges
            self.etag.write_text(etag)
        else:
            self.etag.unlink(missing_ok=True)


def main(url: str, file: Path) -> None:
    download = Download(url, file)
    failures = 0
    with download.conn:
        while True:
            before = download.size()
            try:
                download.attempt()
            except Exception as exc:
                if not is_temp_network_error(exc):
                    raise
                failures = 0 if download.size() > before else failures + 1
                if failures == ATTEMPTS:
                    raise
                print(f"broken off at {download.size()} bytes: {exc}", file=sys.stderr)
                download.conn.disconnect()
                if failures:
                    time.sleep(DELAY << (failures - 1))
            else:
                break
    print(f"{file}: {file.stat().st_size} bytes")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: resume_download.py URL FILE")
    main(sys.argv[1], Path(sys.argv[2]))
