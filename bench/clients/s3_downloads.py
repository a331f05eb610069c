"""s3transfer, through boto3: the folder in each URL is the bucket."""

from __future__ import annotations

import sys
from pathlib import Path

from bench.clients import Command


def download(urls: list[str], connections: int) -> Command:
    program = str(Path(__file__).parent.with_name("downloading_s3.py"))
    return Command([sys.executable, program, str(connections)], "\n".join(urls))
