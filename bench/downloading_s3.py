"""Download the URLs on standard input with s3transfer, over as many connections as the argument."""

from __future__ import annotations

import sys
from urllib.parse import urlsplit

import boto3
from botocore import UNSIGNED
from botocore.config import Config
from s3transfer.manager import TransferConfig, TransferManager

urls, connections = [urlsplit(url) for url in sys.stdin.read().split()], int(sys.argv[1])
client = boto3.client(
    "s3", "us-east-1", endpoint_url=f"http://{urls[0].netloc}",
    config=Config(signature_version=UNSIGNED, s3={"addressing_style": "path"}, proxies={}),
)  # fmt: skip
config = TransferConfig(max_request_concurrency=connections, max_submission_concurrency=connections)
with TransferManager(client, config) as manager:
    for url in urls:
        _, bucket, key = url.path.split("/")
        manager.download(bucket, key, key)
