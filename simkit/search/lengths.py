"""How many candidates a search tries, and how many answers one of them may get, from its settings alone."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from simkit.search.contract import SearchConfig, Task

_LEAST_CANDIDATES = 200
"""Candidates that a search tries at the least to call a model clean (ours; no preset tries fewer than 300)."""


@dataclass(frozen=True)
class Breadth:
    """How many candidates a search tries: of what, and which of its settings are raised for more."""

    count: int
    of: str
    raised: str


@runtime_checkable
class Broad(Protocol):
    """Settings of a search that know how many candidates it tries."""

    def breadth(self, task: Task) -> Breadth:
        """The candidates for one class where each has its own, those of one family where there are several."""
        ...


def narrow(search: SearchConfig, task: Task) -> str:
    """The note that the search tries too few candidates to call a model clean; empty where it tries enough."""
    if not isinstance(search, Broad) or (tried := search.breadth(task)).count >= _LEAST_CANDIDATES:
        return ""
    few = f"{tried.count} {tried.of} are too few to call a model clean, which takes {_LEAST_CANDIDATES}"
    return f"{few}; raise {tried.raised}"


@dataclass(frozen=True)
class Retests:
    """How often a search tries one pair of patch and class, and what it requires of the answers.

    required: answers. success: rate (hits + 0.5) / (trials + 1). most: answers after which a pair is not tried again.
    each: further answers per round.
    """

    required: int
    success: float
    most: int
    each: int

    def needed(self, there: int) -> int:
        """The least number of answers with which a pair that works on every one of `there` images is accepted."""
        least = max(0, math.floor((self.success - 0.5) / (1.0 - self.success)) - 1)
        while (least + 0.5) / (least + 1) < self.success:
            least += 1
        return max(min(self.required, there), least, 1)

    def rounds(self, answers: int) -> int | None:
        """Rounds after its first in which a pair gets so many answers; None if it never does."""
        if answers > 1 and (self.each < 1 or answers > self.most - 1 + self.each):
            return None
        return 0 if answers <= 1 else math.ceil((answers - 1) / self.each)


@dataclass(frozen=True)
class Rounds:
    """How a race spends its queries: `first` at once, then in each round `new` candidates and `again` retests.

    queries, restart: those from which no further round begins, and those from which all candidates are dropped.
    clean_from, clean_rounds: queries and rounds from which it may end early, None if it does not.
    """

    first: int
    new: int
    again: int
    queries: int
    restart: int
    clean_from: int | None = None
    clean_rounds: int = 0

    def short(self, pair: Retests, answers: int, of: str) -> str:
        """What is missing for a pair to get so many answers before the race ends, or drops it; empty if nothing is."""
        rounds = pair.rounds(answers)
        if rounds is None:
            return f"{answers} answers per {of}; raise search.{'most_trials' if pair.each else 'retests'}"
        before = self._before(rounds)
        low = " and ".join(f"search.{name}" for name, queries in self._ends.items() if before >= queries)
        return f"{answers} answers per {of}, after more than {before:,} queries; raise {low}" if low else ""

    def breadth(self, of: str) -> Breadth:
        """How many candidates are tried, at the least; a restart does not end the race."""
        ends = {name: queries for name, queries in self._ends.items() if name != "restart"}
        soonest = min(ends, key=lambda name: ends[name])
        rounds = max(0, math.ceil((ends[soonest] - self.first) / (self.new + self.again)))
        return Breadth(self.first + self.new * rounds, of, f"search.{soonest}")

    @property
    def _ends(self) -> dict[str, int]:
        """The queries from which no candidate goes on, by the name of the setting that says so."""
        ends = {"queries": self.queries} | ({"restart": self.restart} if self.restart < self.queries else {})
        if self.clean_from is None:
            return ends
        return ends | {"clean_from": max(self.clean_from, self._before(self.clean_rounds + 1))}

    def _before(self, rounds: int) -> int:
        """The queries before the last of so many rounds after the first; 0 if there is none."""
        return self.first + (rounds - 1) * (self.new + self.again) if rounds else 0
