"""boto3: a client for S3. In a path, the first part is the bucket, and the rest is the key."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import boto3
from botocore.config import Config

from bench.clients import Closing, Target
from bench.content import BUFFER_SIZE


class Client(Closing):
    takes_framing = False

    def __init__(self, target: Target) -> None:
        self.client = self.adapted(
            boto3.client(
                "s3",
                endpoint_url=target.url(),
                region_name="us-east-1",
                aws_access_key_id="key",
                aws_secret_access_key="secret",  # noqa: S106 - it is made up
                verify=target.cafile,
                config=Config(s3={"addressing_style": "path"}),
            )
        )
        self.answer = b""
        self.client.meta.events.register("after-call.s3.PutObject", self._keep_answer)

    def adapted(self, client: Any) -> Any:
        """Return the client, perhaps changed."""
        return client

    def _keep_answer(self, http_response: Any, **_: Any) -> None:
        self.answer = http_response.content

    def close(self) -> None:
        self.client.close()

    def read(self, path: str, take: Callable[[bytes], None]) -> None:
        bucket, _, key = path[1:].partition("/")
        body = self.client.get_object(Bucket=bucket, Key=key)["Body"]
        while piece := body.read(BUFFER_SIZE):
            take(piece)

    def upload_memory(self, path: str, data: bytes) -> tuple[int, bytes]:
        bucket, _, key = path[1:].partition("/")
        # botocore takes an answer that is not XML for an error.
        response = self.client.put_object(Bucket=bucket, Key=f"{key}/xml", Body=data)
        answer = self.answer.removeprefix(b"<xml>").removesuffix(b"</xml>")
        return response["ResponseMetadata"]["HTTPStatusCode"], answer
