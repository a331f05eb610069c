"""boto3 with our session."""

from __future__ import annotations

from typing import Any

from bench.clients import boto3_client
from dugong.adapters.botocore import use


class Client(boto3_client.Client):
    def adapted(self, client: Any) -> Any:
        return use(client)
