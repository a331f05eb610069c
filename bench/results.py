"""The figures of a run."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from statistics import median

from bench.cases import CASES, Case
from bench.peers import DUGONG, NOT_PEERS

BY_NAME = {case.name: case for case in CASES}

Figures = dict[str, float]


@dataclass
class Results:
    """What was measured: for each case and client, one set of figures a round."""

    scale: float
    measured: dict[str, dict[str, list[Figures]]] = field(default_factory=dict)

    def add(self, case: str, client: str, runs: list[Figures]) -> None:
        """Add the figures of one round, medians if there are several."""
        figures = {key: median(run[key] for run in runs) for key in runs[0]}
        self.measured.setdefault(case, {}).setdefault(client, []).append(figures)

    def has(self, case: str, client: str = DUGONG) -> bool:
        return client in self.measured.get(case, {})

    def cases(self) -> list[Case]:
        """Return the cases that were measured, in their order."""
        return [case for case in CASES if case.name in self.measured]

    def all(self, case: str, client: str, key: str) -> list[float]:
        return [figures[key] for figures in self.measured[case][client]]

    def middle(self, case: str, client: str, key: str = "wall") -> float:
        return median(self.all(case, client, key))

    def ratio(self, case: str, client: str, key: str = "wall", to: str = DUGONG) -> float:
        """Return by how much *to* is better than *client*: the median of each round's ratio."""
        pairs = zip(self.all(case, client, key), self.all(case, to, key), strict=True)
        return median(theirs / max(ours, 1e-9) for theirs, ours in pairs)

    def shown(self, case: Case, client: str) -> tuple[float, float]:
        """Return the figure that is shown, and its ratio: for growth processor time, else time."""
        if case.per_request:
            return self.unit_cost(case.name, client), self.ratio(case.name, client, "cpu")
        return self.middle(case.name, client), self.ratio(case.name, client)

    def unit_cost(self, case: str, client: str) -> float:
        """Return the seconds of processor time that one unit takes."""
        return self.middle(case, client, "cpu") / BY_NAME[case].units(self.scale)

    def peers(self, case: str) -> Iterable[str]:
        """Return who is to be compared with: all but dugong and the limit."""
        return (client for client in self.measured[case] if client not in NOT_PEERS)

    def best_peer(self, case: str) -> tuple[str, float]:
        """Return the peer that is nearest to dugong, and the ratio."""
        return min(((peer, self.ratio(case, peer)) for peer in self.peers(case)),
                   key=lambda found: found[1])  # fmt: skip

    def rate(self, case: str, client: str) -> float:
        """Return requests in a second."""
        count, _ = BY_NAME[case].scaled(self.scale)
        return count / self.middle(case, client)
