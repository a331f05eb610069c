"""Upload a file to an S3-compatible server, signed by botocore, sent by dugong.

    export AWS_ACCESS_KEY_ID=... AWS_SECRET_ACCESS_KEY=...
    python examples/s3_upload.py https://s3.eu-central-1.amazonaws.com BUCKET FILE

The key is the file's name, the region AWS_REGION or us-east-1. A file of 1 MiB or more is sent only
after the server has agreed (100-continue), so a wrong key costs a request head, not an upload. The
server's MD5 (the ETag) is compared with that of the file.

It needs botocore (`pip install botocore`).
"""

from __future__ import annotations

import hashlib
import os
import ssl
import sys
from pathlib import Path
from urllib.parse import quote, urlsplit

from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from dugong import HTTPConnection


def connection_to(endpoint: str) -> HTTPConnection:
    """Return a connection to a server given by its URL."""
    url = urlsplit(endpoint)
    if url.scheme not in ("http", "https") or not url.hostname or url.path not in ("", "/"):
        sys.exit(f"not the URL of a server: {endpoint}")
    context = ssl.create_default_context() if url.scheme == "https" else None
    return HTTPConnection(url.hostname, url.port, context, timeout=60)


def signed_fields(url: str, sha256: str) -> dict[str, str]:
    """Return the fields that sign a PUT to *url*, of a body with this digest."""
    credentials = Credentials(
        os.environ["AWS_ACCESS_KEY_ID"],
        os.environ["AWS_SECRET_ACCESS_KEY"],
        os.environ.get("AWS_SESSION_TOKEN"),
    )
    request = AWSRequest("PUT", url, headers={"X-Amz-Content-SHA256": sha256})
    region = os.environ.get("AWS_REGION", "us-east-1")
    S3SigV4Auth(credentials, "s3", region).add_auth(request)
    return dict(request.headers.items())


def main(endpoint: str, bucket: str, file: Path) -> None:
    path = f"/{quote(bucket)}/{quote(file.name)}"
    with connection_to(endpoint) as conn, file.open("rb") as body:
        digest = hashlib.file_digest(body, "sha256").hexdigest()
        body.seek(0)
        md5 = hashlib.file_digest(body, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
        body.seek(0)
        fields = signed_fields(endpoint.rstrip("/") + path, digest)
        response = conn.request("PUT", path, fields, body)
        answer = conn.readall()
    if response.status != 200:
        sys.exit(f"{response.status} {response.reason}: {answer.decode(errors='replace')}")
    if response.headers["ETag"] != f'"{md5}"':
        sys.exit(f"the server has something else: {response.headers['ETag']}, not {md5}")
    print(f"{path}: {file.stat().st_size} bytes, MD5 {md5}")


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit("usage: s3_upload.py ENDPOINT BUCKET FILE")
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
