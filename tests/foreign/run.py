"""Runs foreign test suites with our adapters.

Each suite runs twice: without the adapter, and with it. Whatever passes without it has to pass with
it, except for the tests in `Suite.excluded`, each with its reason. An exception that is no longer
needed is reported as well.

::

    python -m tests.foreign.run            # all suites
    python -m tests.foreign.run httpx2
"""

from __future__ import annotations

import fnmatch
import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

#: Where source distributions are kept.
CACHE = Path(__file__).parents[2] / ".cache" / "foreign"


@dataclass(frozen=True)
class Suite:
    """One suite.

    Attributes:
        adapter: the name of the adapter.
        distribution: the source distribution with the tests, in the version that is installed.
        excluded: from a pattern for the names of tests to the reason why they fail with the
            adapter.
        renamed: words to replace in the tests.
        options: options of pytest, and which tests to run.
        needs_s3: whether the tests need a server with buckets.
        tools: packages that the suite needs but that exclude some of ours. Then it runs in an
            separate environment.
    """

    adapter: str
    distribution: str
    excluded: dict[str, str]
    renamed: dict[str, str] = field(default_factory=dict)
    options: tuple[str, ...] = ()
    needs_s3: bool = False
    tools: tuple[str, ...] = ()


_PRIVATE = "looks at private attributes of the transport that is replaced"
_HTTP2 = "uses HTTP/2, which the adapter refuses"

_HTTPX = {
    "tests/client/test_proxies.py::test_proxies_environ*": _PRIVATE,
    "tests/client/test_proxies.py::test_transport_for_request*": _PRIVATE,
    "tests/client/test_proxies.py::test_socks_proxy": _PRIVATE,
    "tests/client/test_client.py::test_get": _HTTP2,
    "tests/client/test_client.py::test_server_extensions": _HTTP2,
    "tests/client/test_async_client.py::test_get[[]*": _HTTP2,
    "tests/client/test_async_client.py::test_server_extensions*": _HTTP2,
    "tests/test_timeouts.py::test_write_timeout*": (
        "depends on when the replaced code looks: the server answers at once and does not read the"
        " body; by the time the first write has to wait, the answer has arrived and is delivered"
    ),
}

_LAZY = {
    "tests/test_api.py::test_httpcore_lazy_loading": (
        "the adapter, and so httpcore, is imported before the test"
    ),
}

#: Tests that need an address on the Internet that does not answer.
_OFFLINE = ("-m", "not network")

_NAMES = {"httpcore": "httpcore2", "httpx": "httpx2"}

#: Without a network, the adapter cannot look up the name that a SOCKS proxy is to connect to, and
#: does not get as far as the proxy.
_LOOKUP = ("--deselect", "tests/test_lowlevel.py::test_use_proxy_from_environment")

_AIOHTTP = "looks at private attributes of the session that is replaced, or at its `aiohttp` client"

_AIOBOTOCORE = {
    f"tests/test_httpsession.py::{name}": _AIOHTTP
    for name in (
        "test_ssl_context_built_off_loop_on_first_request[[]asyncio-aiohttp]",
        "test_ssl_context_built_inline_without_file_io[[]asyncio-aiohttp]",
        "test_read_timeout_*[[]asyncio-aiohttp]",
        "test_aiohttp_session_close_is_idempotent[[]asyncio]",
    )
} | {
    "tests/test_httpsession.py::test_cannot_create_client_sessions_outside_context[[]asyncio]": (
        "looks for the text of an `AttributeError` inside the session that is replaced"
    ),
}

#: What the tests of requests need, and its extra `socks`. httpbin and gevent exclude each other.
_HTTPBIN = ("pytest>=9", "pytest-httpbin==2.1.0", "httpbin~=0.10.0", "pytest-mock", "trustme",
            "PySocks")  # fmt: skip

#: These tests wait more than they compute. `cache_dir`: the suite would write to /tmp.
_PARALLEL = ("-n", "6", "-o", "cache_dir=.cache")

_AIOBOTOCORE_OPTIONS = (
    *_PARALLEL,
    "--http-backend=all",  # asyncio with our session, asyncio and trio with our transport
    "-m",
    "not localonly",  # those are for Amazon's servers
    "tests/test_basic_s3.py",
    "tests/test_config.py",
    "tests/test_eventstreams.py",
    "tests/test_httpsession.py",
    "tests/test_httpx_compat.py",
    "tests/test_proxy.py",
    "tests/test_response.py",
    "tests/test_tee.py",
    "tests/test_tls.py",
)

#: The functional tests stub HTTP. Of the integration tests, these two files are left out: the first
#: is for another implementation of HTTP. The second is for a pool of processes: two of its tests
#: have a limit of five seconds, which they exceeded with the adapter on a busy machine.
_S3TRANSFER_OPTIONS = (
    *_PARALLEL,
    "--ignore=tests/integration/test_crt.py",
    "--ignore=tests/integration/test_processpool.py",
    "tests/integration",
)

SUITES = {
    "httpx": Suite("httpx", "httpx", {**_HTTPX, **_LAZY}, options=_OFFLINE),
    # The source distribution of httpx2 has no tests.
    "httpx2": Suite("httpx2", "httpx", _HTTPX, _NAMES, _OFFLINE),
    "requests": Suite("requests", "requests", {}, options=_LOOKUP, tools=_HTTPBIN),
    "s3transfer": Suite("botocore", "s3transfer", {}, options=_S3TRANSFER_OPTIONS, needs_s3=True),
    "aiobotocore": Suite("aiobotocore", "aiobotocore", _AIOBOTOCORE, options=_AIOBOTOCORE_OPTIONS),
}


def _unpacked(suite: Suite, directory: Path) -> Path:
    """Unpack the source distribution, and return its directory, without the package itself."""
    version = importlib.metadata.version(suite.distribution)
    requirement = f"{suite.distribution}=={version}"
    archives = f"{suite.distribution}-{version}.tar.gz"
    if not (CACHE / archives).exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "pip", "download", "-qq", "--no-deps"]
        subprocess.run(
            [*command, "--no-binary", ":all:", "--dest", str(CACHE), requirement], check=True
        )
    with tarfile.open(CACHE / archives) as archive:
        archive.extractall(directory, filter="data")
    (root,) = directory.iterdir()
    for place in (root, root / "src"):  # the installed one is tested
        if (place / suite.distribution).exists():
            shutil.rmtree(place / suite.distribution)
    for path in root.rglob("*.py"):
        text = path.read_text("utf-8")
        for old, new in suite.renamed.items():
            text = text.replace(old, new)
        path.write_text(text, "utf-8")
    return root


def _python(suite: Suite) -> str:
    """Return the Python to run the suite with."""
    if not suite.tools:
        return sys.executable
    environment = CACHE / suite.adapter
    python = str(environment / "bin" / "python")
    version = importlib.metadata.version(suite.distribution)
    if not (environment / "ready").exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(environment)], check=True)
        command = [python, "-m", "pip", "install", "-qq", "--editable", str(CACHE.parents[1])]
        subprocess.run([*command, f"{suite.distribution}=={version}", *suite.tools], check=True)
        (environment / "ready").touch()
    return python


def _failures(suite: Suite, root: Path, *, adapted: bool) -> dict[str, str]:
    """Run the suite. Returns the names of the tests that failed, and why."""
    with tempfile.TemporaryDirectory() as directory:
        failed = Path(directory) / "failed.json"
        environment = {
            **os.environ,
            "FOREIGN_ADAPTER": suite.adapter if adapted else "",
            "FOREIGN_FAILED": str(failed),
            "FOREIGN_S3": "1" if suite.needs_s3 else "",
            "PYTHONPATH": str(Path(__file__).parent),
        }
        command = [_python(suite), "-m", "pytest", "-q", "--tb=short", "-p", "plugin"]
        command += suite.options
        done = subprocess.run(
            command, cwd=root, env=environment, capture_output=True, text=True, check=False
        )
        if done.returncode > 1:  # not just failed tests
            raise SystemExit(f"{done.stdout}\n{done.stderr}")
        print("  ", done.stdout.strip().splitlines()[-1])
        found: dict[str, str] = json.loads(failed.read_text())
        return found


def run(suite: Suite) -> bool:
    """Run a suite both ways. Returns whether all is as it should be."""
    with tempfile.TemporaryDirectory() as directory:
        root = _unpacked(suite, Path(directory))
        print("without the adapter:")
        without = _failures(suite, root, adapted=False)
        print("with it:")
        adapted = _failures(suite, root, adapted=True)
    new = {name: why for name, why in adapted.items() if name not in without}
    used = {
        pattern: [name for name in adapted if fnmatch.fnmatchcase(name, pattern)]
        for pattern in suite.excluded
    }
    known = {name for names in used.values() for name in names}
    unexpected = {name: why for name, why in new.items() if name not in known}
    for name, why in unexpected.items():
        print(f"FAILED {name}\n{why}\n")
    unused = [pattern for pattern, names in used.items() if not names]
    for pattern in unused:
        print(f"no longer excluded: {pattern}")
    return not unexpected and not unused


def main() -> None:
    succeeded = True
    for name in sys.argv[1:] or SUITES:
        print(f"=== {name}")
        succeeded = run(SUITES[name]) and succeeded
    sys.exit(not succeeded)


if __name__ == "__main__":
    main()
