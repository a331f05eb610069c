"""Runs all cases and clients in turn, several rounds, and reports.

Called by ``make bench``; see ``python -m bench --help`` for what can be chosen.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench import machine, plot, report
from bench.cases import CASES, GIB, Case
from bench.clients import Target
from bench.peers import DUGONG, LIMIT, LOOPS, PEERS, Peer
from bench.results import Figures, Results
from bench.servers import HOST, ROOT, Servers, serving

ENVIRONMENTS = ROOT / ".bench"
DOCS = ROOT / "docs"

#: Fewer rounds than this, or a smaller scale than 1, is a trial.
ENOUGH_ROUNDS = 3

#: Seconds that one process may take.
PATIENCE = 600


class Failure(Exception):
    """A client did not do its work."""


@dataclass
class Bench:
    """One run.

    Attributes:
        cpu: the processor for clients, or None.
    """

    servers: Servers
    scale: float
    cpu: int | None

    def once(self, case: Case, peer: Peer) -> Figures:
        """Have one client do one case, in a fresh process."""
        cpu = "" if self.cpu is None else str(self.cpu)
        if case.work == "import":
            script = str(Path(__file__).with_name("importing.py"))
            return run(peer, [script, peer.imports, cpu])
        target = Target(
            HOST,
            self.servers.ports[case.server, case.tls],
            str(self.servers.cafile) if case.tls else None,
            case.resume,
        )
        fraction = peer.fraction if case.work in (*LOOPS, "client_asyncio") else 1
        spec: dict[str, Any] = {
            "module": peer.module,
            "work": case.work,
            "cpu": self.cpu,
            "target": asdict(target),
            "job": case.job(self.scale, str(self.servers.file), fraction),
        }
        figures: Figures = run(peer, ["-m", "bench.child", json.dumps(spec)])
        made_up = case.scaled(self.scale)[0] / spec["job"]["count"]
        return {**figures, "wall": figures["wall"] * made_up, "cpu": figures["cpu"] * made_up}


def python_of(peer: Peer) -> str:
    """Return the interpreter of the client's environment."""
    if peer.environment == "peers":
        return sys.executable
    return str(ENVIRONMENTS / peer.environment / "bin" / "python")


def run(peer: Peer, arguments: list[str]) -> Any:
    """Run a process in the client's environment and return what it prints, which is JSON."""
    env = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    try:
        done = subprocess.run(
            [python_of(peer), *arguments],
            cwd=ROOT, env=env, capture_output=True, text=True, timeout=PATIENCE, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as exc:
        raise Failure(str(exc)) from exc
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
        raise Failure(lines[-1])
    return json.loads(done.stdout)


def present(names: list[str]) -> tuple[list[Peer], dict[str, str]]:
    """Return those of the clients that are installed, and all versions."""
    found, versions = [], {}
    for name in names:
        peer = PEERS[name]
        try:
            said = run(peer, ["-m", "bench.child", "--probe", peer.module, peer.distribution])
        except Failure as exc:
            print(f"{name} is left out: {exc}", file=sys.stderr)
            versions[name] = "left out: not installed"
        else:
            found.append(peer)
            versions[name] = said.get("version", f"Python {said['python']}")
            versions["TLS in Python"] = said["openssl"]
    return found, versions


def takers(case: Case, peers: list[Peer]) -> list[Peer]:
    """Return who takes part in a case."""
    return [
        peer for peer in peers
        if case.work in peer.work
        and (not case.clients or peer.name in case.clients)
        and peer.name not in case.without
    ]  # fmt: skip


def plan(
    cases: list[Case], peers: list[Peer], rounds: int
) -> Iterator[tuple[int, Case, list[Peer]]]:
    """Yield in which round which case is done by whom, in which order: each is first in turn."""
    for number in range(rounds):
        for case in cases:
            who = takers(case, peers)
            if who:
                first = number % len(who)
                yield number, case, who[first:] + who[:first]


def measure(
    bench: Bench, cases: list[Case], peers: list[Peer], rounds: int, results: Results
) -> list[str]:
    """Do everything; return what failed. Who failed once is left out of that case altogether."""
    failed: dict[tuple[str, str], str] = {}
    for number, case, who in plan(cases, peers, rounds):
        print(f"round {number + 1}/{rounds}: {case.name}", file=sys.stderr)
        runs: dict[str, list[Figures]] = {}
        for _ in range(max(1, round(case.processes * bench.scale))):
            for peer in who:
                if (case.name, peer.name) in failed:
                    continue
                try:
                    figures = bench.once(case, peer)
                except Failure as exc:
                    failed[case.name, peer.name] = str(exc)
                    print(f"  {peer.name} failed: {exc}", file=sys.stderr)
                else:
                    runs.setdefault(peer.name, []).append(figures)
        for name, taken in runs.items():
            results.add(case.name, name, taken)
    for case_name, name in failed:
        results.measured.get(case_name, {}).pop(name, None)
    return [f"{name}, {case}: {why}" for (case, name), why in failed.items()]


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--scale", type=float, default=1.0, help="of the work; for trials")
    parser.add_argument("--cases", default="", help="names or groups, with commas")
    parser.add_argument("--clients", default="", help="names, with commas")
    parser.add_argument("--out", type=Path, default=ENVIRONMENTS / "out", help="for the results")
    parser.add_argument("--list", action="store_true", help="print names of cases and clients")
    given = parser.parse_args(arguments)
    groups = tuple(name.rstrip("/") + "/" for name in given.cases.split(",") if name)
    given.chosen = [case for case in CASES if not groups or f"{case.name}/".startswith(groups)]
    given.peers = list(filter(None, given.clients.split(","))) or list(PEERS)
    for name in given.peers:
        if name not in PEERS:
            parser.error(f"there is no client {name!r}: choose among {', '.join(PEERS)}")
    if not given.chosen:
        parser.error("there is no such case: see --list")
    if given.rounds < 1 or not 0 < given.scale <= 1:
        parser.error("at least one round, and a scale above 0, at most 1")
    given.whole = (
        given.rounds >= ENOUGH_ROUNDS and given.scale == 1 and not groups and not given.clients
    )
    return given


def main(arguments: list[str] | None = None) -> int:
    given = parse(arguments)
    if given.list:
        print("cases:", *(case.name for case in CASES), "\nclients:", *PEERS, sep="\n  ")
        return 0
    given.out.mkdir(parents=True, exist_ok=True)
    load = os.getloadavg()[0]
    peers, versions = present(given.peers)
    client_cpu, server_cpu = machine.cpus()
    if server_cpu is not None:
        os.sched_setaffinity(0, {server_cpu})  # the servers inherit it; clients choose their own
    results = Results(given.scale)
    with tempfile.TemporaryDirectory(prefix="bench-", dir=given.out) as directory:
        size = max(4096, int(GIB * given.scale))
        with serving(Path(directory).resolve(), size) as servers:
            bench = Bench(servers, given.scale, client_cpu)
            failed = measure(bench, given.chosen, peers, given.rounds, results)

    (given.out / "results.json").write_text(json.dumps(results.measured, indent=1))
    report.show(results)
    described = machine.description(server_cpu is not None, given.rounds, load)
    docs = DOCS if given.whole else given.out
    report.write(docs / "performance.md", report.markdown(results, described, versions))
    report.write(docs / "performance-details.md", report.details(results))
    try:
        plot.draw(results, docs / "performance.svg")
    except ImportError as exc:
        print(f"no plot: {exc}", file=sys.stderr)
    print(f"written: {docs / 'performance.md'}")
    if not given.whole:
        print("This was a trial: its figures are not worth much.")
    for text in failed:
        print(f"failed: {text}", file=sys.stderr)
    return any(text.startswith((f"{DUGONG},", f"{LIMIT},")) for text in failed)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # and stop the servers
    with suppress(KeyboardInterrupt):
        sys.exit(main())
    sys.exit(130)
