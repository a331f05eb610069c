"""A program that uses connections while it ends.

Run as ``python -m tests.ending WHERE STYLE SERVER``.

*SERVER* is `Answering.argument` (`tests.support.answering`). For each way of reaching it, the
program has two connections: a "warm" one that was used before, and a "cold" one. It prints the
result of a request on each of them: the body, or the error.
"""

# The order of what follows matters: handlers are registered before dugong is imported, or after.
# ruff: noqa: E402
from __future__ import annotations

import atexit
import logging
import sys
from collections.abc import Callable
from typing import Any

where, style, server = sys.argv[1:]


def at_the_end() -> None:
    ask_all()


if where == "atexit, registered before":
    atexit.register(at_the_end)

import json
import os
import ssl
import threading

import dugong

if style == "asyncio":
    import asyncio
if style == "trio":
    import trio

# ------------------------------------------------------------------------- styles


def ask_blocking(conn: Any) -> bytes:
    conn.request("GET", "/")
    body: bytes = conn.readall()
    return body


def ask_by_coroutines(conn: Any) -> bytes:
    dugong.eval_coroutine(conn.co_request("GET", "/"), 10)
    body: bytes = dugong.eval_coroutine(conn.co_readall(), 10)
    return body


async def co_ask(conn: Any) -> bytes:
    await conn.request("GET", "/")
    body: bytes = await conn.readall()
    return body


class Once:
    """Something to await that is made when it is run, and so never left without being awaited."""

    def __init__(self, conn: Any) -> None:
        self.conn = conn

    async def __call__(self) -> bytes:
        return await co_ask(self.conn)


def ask_in_asyncio(conn: Any) -> bytes:
    loop = asyncio.new_event_loop()
    try:
        return loop.run_until_complete(Once(conn)())
    finally:
        loop.close()


def ask_in_trio(conn: Any) -> bytes:
    return trio.run(Once(conn))


ask: Callable[[Any], bytes] = {
    "blocking": ask_blocking,
    "coroutines": ask_by_coroutines,
    "asyncio": ask_in_asyncio,
    "trio": ask_in_trio,
}[style]

# -------------------------------------------------------------------- connections


def connection(**arguments: Any) -> Any:
    if "ssl_context" in arguments:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(arguments["ssl_context"])
        arguments["ssl_context"] = context
    if style in ("asyncio", "trio"):
        return dugong.AsyncHTTPConnection(**arguments, timeout=10)
    return dugong.HTTPConnection(**arguments, timeout=10)


conns = {
    f"{how}, {state}": connection(**arguments)
    for how, arguments in json.loads(server).items()
    for state in ("warm", "cold")
}
for name, conn in conns.items():
    if name.endswith("warm"):
        ask(conn)
del conn


# Arguments, because modules are cleared in the end.
def ask_one(name: str, conn: Any, write: Callable[[int, bytes], object] = os.write) -> None:
    try:
        line = ask(conn).decode()
    except BaseException as exc:
        line = repr(exc)
    write(1, f"{name}: {line}\n".encode())


def ask_all() -> None:
    for name, conn in conns.items():
        ask_one(name, conn)


# ------------------------------------------------------------------------- places


class Handler(logging.Handler):
    """Sends what is logged, and says goodbye."""

    def emit(self, record: logging.LogRecord) -> None:
        ask_all()

    def close(self) -> None:
        super().close()
        ask_all()


class Session:
    """Logs out in the end."""

    def __init__(self, name: str, conn: Any) -> None:
        self.name = name
        self.conn = conn

    def __del__(self) -> None:
        ask_one(self.name, self.conn)


class Cyclic(Session):
    """The same, as garbage that only the collector finds."""

    def __init__(self, name: str, conn: Any) -> None:
        super().__init__(name, conn)
        self.me = self


def fork(run: Callable[[], object]) -> None:
    if (child := os.fork()) == 0:
        try:
            run()
        finally:
            os._exit(0)
    assert os.waitpid(child, 0)[1] == 0


def after_main() -> None:
    threading.main_thread().join()
    ask_all()


def ask_forever() -> None:
    while True:
        for conn in conns.values():
            ask(conn)


if where == "atexit, registered after":
    atexit.register(at_the_end)
elif where == "atexit, in a forked child":
    atexit.register(fork, ask_all)
elif where == "logging":
    logger = logging.getLogger("tests.ending")
    logger.addHandler(Handler())
    logger.warning("…")
elif where == "__del__ of a global":
    sessions = [Session(*item) for item in conns.items()]
    del conns
elif where == "__del__ in a cycle":
    sessions = [Cyclic(*item) for item in conns.items()]
    del conns
elif where == "__del__ in a cycle, let go":
    for item in conns.items():
        Cyclic(*item)
    del conns, item
elif where == "the last thread":
    threading.Thread(target=after_main).start()
elif where == "a daemon thread":
    threading.Thread(target=ask_forever, daemon=True).start()
elif where == "nowhere":
    pass
elif where == "a forked child":
    fork(ask_all)
    ask_all()
elif where == "a forked child that exits":
    if (child := os.fork()) == 0:
        atexit.register(at_the_end)
        sys.exit()
    assert os.waitpid(child, 0)[1] == 0
    ask_all()
