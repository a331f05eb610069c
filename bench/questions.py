"""The questions that the figures answer: one table of the documentation each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Question:
    """One table: a row for each client, a column for each case.

    Attributes:
        title: its heading.
        columns: names of cases, and the heading of each.
    """

    title: str
    columns: Mapping[str, str]


QUESTIONS = [
    Question("Small requests, one by one", {
        "sequential": "10,000 GETs", "new-heads/sequential": "no two heads alike",
        "pool/sequential": "through a pool", "client/sequential": "by URL",
    }),
    Question("Many requests in flight", {
        "pipelined": "50,000 GETs, 100 in flight", "new-heads/pipelined": "no two heads alike",
    }),
    Question("Downloading 1 GiB with read", {
        "download/plain/read": "plain", "download/tls/read": "TLS",
        "download/chunked-8k/read": "8 KiB chunks", "download/chunked-1m/read": "1 MiB chunks",
    }),
    Question("Downloading 1 GiB with readinto", {
        "download/plain/readinto": "plain", "download/tls/readinto": "TLS",
        "download/chunked-8k/readinto": "8 KiB chunks",
        "download/chunked-1m/readinto": "1 MiB chunks",
    }),
    Question("Uploading 1 GiB", {
        "upload/file/plain": "file, plain", "upload/file/tls": "file, TLS",
        "upload/memory/plain": "memory, plain", "upload/memory/tls": "memory, TLS",
    }),
    Question("20,000 GETs in asyncio", {
        "asyncio/50": "50 connections", "asyncio/1000": "1,000 connections",
        "client/asyncio/50": "by URL",
    }),
    Question("20,000 GETs in trio", {
        "trio/50": "50 connections", "trio/1000": "1,000 connections",
    }),
    Question("Connecting", {
        "connect/plain": "1,000, plain", "connect/tls": "300, TLS",
        "connect/resumed": "300, TLS resumed",
    }),
    Question("Connecting through a pool", {
        "pool/connect/plain": "1,000, plain", "pool/connect/tls": "300, TLS resumed",
    }),
    Question("Waiting for a pool: processor time per request", {
        "pool/asyncio/50": "50 tasks", "pool/asyncio/5000": "5,000 tasks",
    }),
    Question("Below other libraries", {
        "adapter/get/1k": "2,000 GETs of 1 KiB", "adapter/put/1k": "2,000 PUTs of 1 KiB",
        "adapter/get/64m": "16 GETs of 64 MiB", "adapter/put/64m": "16 PUTs of 64 MiB",
    }),
    Question("Importing", {"import": "import"}),
    Question("Requests in flight: processor time per request", {
        "growth/requests/1": "1", "growth/requests/100": "100", "growth/requests/10000": "10,000",
    }),
    Question("Fields: processor time per field", {
        "growth/fields/5": "5", "growth/fields/50": "50", "growth/fields/500": "500",
    }),
    Question("Dripping bodies: processor time per byte", {
        "growth/drip/10000": "10,000 bytes", "growth/drip/100000": "100,000 bytes",
        "growth/drip/1000000": "1,000,000 bytes",
    }),
    Question("The command", {
        "command/get/tiny": "get 100 bytes", "command/get/large": "get 1 GiB",
        "command/get/small": "get 2,000 files", "command/get/hosts": "get from 20 hosts",
        "command/check": "check 300 URLs",
    }),
    Question("Downloading onto a disk", {
        "transfer/large": "1 GiB", "transfer/parts": "1 GiB in four parts",
        "transfer/small": "2,000 small files",
    }),
]  # fmt: skip
