"""The command curl. It reads the URLs from its standard input, as lines of a configuration."""

from __future__ import annotations

import subprocess
from shutil import which

from bench.clients import Command

PATH = which("curl")
if PATH is None:
    raise ImportError("curl is not on PATH")

# -q: no configuration of the user's. It must be the first option.
QUIET = ["-q", "--silent", "--show-error", "--no-progress-meter"]
CURL = [PATH, *QUIET, "--fail", "--globoff", "--config", "-"]

#: A line for each URL, like those that dugong prints.
RESULT = "%{url_effective}: %{http_code}\n"


def version() -> str:
    """Return the version of the command."""
    done = subprocess.run([CURL[0], "--version"], capture_output=True, text=True, check=True)
    return done.stdout.removeprefix("curl ").split(" (")[0]


def command(urls: list[str], *options: str, output: str = "") -> Command:
    """Return the command with *options*; *output* is the option for the destination of bodies."""
    return Command([*CURL, *options], "".join(f"url = {url}\n{output}\n" for url in urls))


def get(urls: list[str]) -> Command:
    return command(urls)


def save(urls: list[str]) -> Command:
    return command(urls, output="remote-name")


def download(urls: list[str], connections: int) -> Command:
    parallel = ["--parallel", "--parallel-max", str(connections)] if connections > 1 else []
    return command(urls, *parallel, output="remote-name")


def check(urls: list[str]) -> Command:
    # Browsers, too, use up to six connections to a host.
    parallel = ["--parallel", "--parallel-max", "6"]
    return command(urls, "--head", *parallel, "--write-out", RESULT, output="output = /dev/null")
