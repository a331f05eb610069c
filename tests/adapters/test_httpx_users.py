"""Libraries that use httpx or httpx2, on top of the transports."""

from __future__ import annotations

import asyncio
import json
import socket
from pathlib import Path
from types import ModuleType
from typing import Any

import hishel
import hishel.httpx
import hishel.httpx2
import httpx
import httpx2
import huggingface_hub
import openai
import pytest

import dugong.adapters.httpx
import dugong.adapters.httpx2
from tests.adapters.raw import serving
from tests.support.site import Reply, Site

BOTH = pytest.mark.parametrize(
    ("library", "adapter"),
    [(httpx, dugong.adapters.httpx), (httpx2, dugong.adapters.httpx2)],
    ids=["httpx", "httpx2"],
)

JSON = {"Content-Type": "application/json"}
QUESTION: Any = {"model": "m", "messages": [{"role": "user", "content": "Hello?"}]}


def _completion(kind: str, **choice: Any) -> dict[str, Any]:
    choices = [{"index": 0, "finish_reason": None, **choice}]
    return {"id": "1", "object": kind, "created": 1, "model": "m", "choices": choices}


def _answer() -> Reply:
    message = {"role": "assistant", "content": "Hello!"}
    answer = _completion("chat.completion", message=message)
    return Reply(200, json.dumps(answer).encode(), JSON)


def _events() -> Reply:
    chunks = [
        json.dumps(_completion("chat.completion.chunk", delta={"content": word}))
        for word in ("Hel", "lo!")
    ]
    text = "".join(f"data: {chunk}\n\n" for chunk in [*chunks, "[DONE]"]).encode()
    size = f"{len(text):x}\r\n".encode()
    head = (
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    return Reply(raw=head + size + text + b"\r\n0\r\n\r\n")


@BOTH
def test_openai(library: Any, adapter: ModuleType, site: Site) -> None:
    answers = "/v1/chat/completions"
    site.on(answers, _answer(), _events(), Reply(429), Reply(raw=b"", close=True), _answer())
    with library.Client(transport=adapter.DugongTransport()) as client:
        api = openai.OpenAI(api_key="k", base_url=f"{site.url}/v1", http_client=client)
        answer = api.chat.completions.create(**QUESTION)
        assert answer.choices[0].message.content == "Hello!"
        assert site.seen[-1]["authorization"] == "Bearer k"
        events = api.chat.completions.create(**QUESTION, stream=True)
        assert "".join(each.choices[0].delta.content or "" for each in events) == "Hello!"
        few = api.with_options(max_retries=0)
        with pytest.raises(openai.RateLimitError):
            few.chat.completions.create(**QUESTION)
        with pytest.raises(openai.APIConnectionError) as info:
            few.chat.completions.create(**QUESTION)
        assert isinstance(info.value.__cause__, library.RemoteProtocolError)
    assert site.connections == 1


@BOTH
def test_openai_async(library: Any, adapter: ModuleType, site: Site) -> None:
    site.on("/v1/chat/completions", _answer(), _events())

    async def main() -> None:
        async with library.AsyncClient(transport=adapter.AsyncDugongTransport()) as client:
            api = openai.AsyncOpenAI(api_key="k", base_url=f"{site.url}/v1", http_client=client)
            answer = await api.chat.completions.create(**QUESTION)
            assert answer.choices[0].message.content == "Hello!"
            events = await api.chat.completions.create(**QUESTION, stream=True)
            words = [each.choices[0].delta.content or "" async for each in events]
            assert "".join(words) == "Hello!"

    asyncio.run(main())
    assert site.connections == 1


def test_openai_times_out() -> None:
    def silent(sock: socket.socket) -> None:
        while sock.recv(1000):
            pass

    with (
        serving(silent) as port,
        httpx2.Client(transport=dugong.adapters.httpx2.DugongTransport()) as client,
    ):
        api = openai.OpenAI(
            api_key="k",
            base_url=f"http://127.0.0.1:{port}/v1",
            http_client=client,
            timeout=0.01,
            max_retries=0,
        )
        with pytest.raises(openai.APITimeoutError):
            api.chat.completions.create(**QUESTION)


def test_huggingface_hub(site: Site, tmp_path: Path) -> None:
    fields = {"X-Repo-Commit": "c" * 40, "ETag": '"e"', "Accept-Ranges": "bytes"}
    site.on("/owner/model/resolve/main/weights.bin", Reply(200, bytes(100_000), fields))
    huggingface_hub.set_client_factory(
        lambda: httpx2.Client(
            transport=dugong.adapters.httpx2.DugongTransport(), follow_redirects=True
        )
    )
    try:
        path = huggingface_hub.hf_hub_download(
            "owner/model", "weights.bin", endpoint=site.url, cache_dir=tmp_path, token=False
        )
        assert Path(path).read_bytes() == bytes(100_000)
    finally:
        huggingface_hub.close_session()
        huggingface_hub.set_client_factory(httpx2.Client)
    assert [seen.method for seen in site.seen] == ["HEAD", "GET"]
    assert site.connections == 1


@pytest.mark.parametrize(
    ("library", "adapter", "cache"),
    [
        (httpx, dugong.adapters.httpx, hishel.httpx),
        (httpx2, dugong.adapters.httpx2, hishel.httpx2),
    ],
    ids=["httpx", "httpx2"],
)
def test_hishel_caches(library: Any, adapter: Any, cache: Any, site: Site, tmp_path: Path) -> None:
    site.on("/", Reply(body=b"cached", headers={"Cache-Control": "max-age=1000"}))
    storage = hishel.SqliteStorage(database_path=tmp_path / "cache.db")
    transport = cache.CacheTransport(adapter.DugongTransport(), storage, rfc=True)
    with library.Client(transport=transport) as client:
        for _ in range(2):
            assert client.get(site.url).text == "cached"
    assert len(site.seen) == 1
