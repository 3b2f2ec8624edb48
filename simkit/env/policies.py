"""Policies: where to spend next, and one rule for all of them when to stop and what to say."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from simkit.env.belief import Belief, Costs, budget_of, spent
from simkit.env.config import LEVELS
from simkit.env.observation import Observation, OfClass, OfEpisode, OfShared
from simkit.errors import ConfigError

Can: TypeAlias = NDArray[np.bool_]
"""The arms that can be had, (T + 1,), the shared one last."""

Choose: TypeAlias = Callable[[Observation, Can], int]
"""Which of the arms that can be had; there is one at least."""


@dataclass(frozen=True)
class Policy:
    """From an observation and the info's `action_mask` to an action.

    choose: the arm. belief: the chance of a backdoor. budget: queries after which no further chunk is begun; a trigger
    that unseen images confirmed ends the episode before. levels: of the environment.
    """

    choose: Choose
    belief: Belief
    budget: int
    levels: tuple[float, ...] = LEVELS

    def __call__(self, observation: Observation, mask: NDArray[np.int8]) -> int:
        """The action: an arm while nothing is found and the budget lasts, then the verdict nearest to belief."""
        arms = len(observation["classes"]) + 1
        can = mask[:arms].astype(np.bool_)
        found = observation["shared"][OfShared.FOUND] or observation["classes"][:, OfClass.FOUND].any()
        if not found and can.any() and _asked(observation) < self.budget - 0.5:  # half a query: float32
            return self.choose(observation, can)
        believed = self.belief(observation)
        return arms + int(np.abs(np.array(self.levels) - believed).argmin())


def _asked(observation: Observation) -> float:
    """Queries so far, the first check among them."""
    return budget_of(observation) * (1.0 - float(observation["episode"][OfEpisode.LEFT]))


def uniform(observation: Observation, can: Can) -> int:
    """The classes in turn: the one with the fewest queries. The shared search only where no class can be had."""
    return _least(observation["classes"][:, OfClass.SPENT], can)


def uniform_all(observation: Observation, can: Can) -> int:
    """All arms in turn, the shared one among them: the one with the fewest queries."""
    every = np.append(observation["shared"][OfShared.SPENT], observation["classes"][:, OfClass.SPENT])
    return (int(np.where(np.roll(can, 1), every, np.inf).argmin()) - 1) % len(can)


def promise(observation: Observation) -> Costs:
    """How much a class looks like a target, (T,), in [0, 1]: how little its last samples cost, 0 before any.

    On tune victims the target ranked better by this, of all that is seen of a class, than by size or success.
    """
    merit: Costs = 1.0 - observation["classes"][:, OfClass.LOSS].astype(np.float64)
    return merit


@dataclass(frozen=True)
class Halving:
    """Successive halving over the classes: all get `unit` queries, the better half twice as many, and so on.

    unit: queries of the first rung, a chunk or more (Karnin et al., ICML 2013; in rungs that none waits for, as ASHA).
    """

    unit: int = 500

    def __call__(self, observation: Observation, can: Can) -> int:
        """The highest rung with a class to be promoted; else one that is on none; else the most promising."""
        _, queries = spent(observation)
        rungs = np.floor(np.log2(queries / self.unit + 1.0) + 1e-6).astype(int)  # sums of unit, 2 unit, 4 unit ...
        merit, open_ones = promise(observation), can[:-1]
        for rung in range(int(rungs.max()), 0, -1):
            there = np.flatnonzero(rungs >= rung)
            best = there[np.argsort(-merit[there], kind="stable")[: max(len(queries) >> rung, 1)]]
            waiting = [int(c) for c in best if rungs[c] == rung and open_ones[c]]
            if waiting and (rungs >= rung).sum() >= max(len(queries) >> (rung - 1), 1):
                return waiting[0]
        if (unseen := open_ones & (rungs == 0)).any():
            return _least(queries, np.append(unseen, False))
        return _best(merit, can)


@dataclass(frozen=True)
class Ucb:
    """Upper confidence bounds over the classes, of their promise (Auer et al., 2002).

    width: of the bound, sqrt(ln(chunks of all) / chunks of it). unit: queries that count as a chunk.
    """

    width: float = 0.1
    unit: int = 520

    def __call__(self, observation: Observation, can: Can) -> int:
        """The class with the highest bound; each is tried once first."""
        chunks = spent(observation)[1] / self.unit
        if (chunks[can[:-1]] < 0.5).any():
            return uniform(observation, can)
        bound = np.sqrt(np.log(max(chunks.sum(), 1.0)) / np.maximum(chunks, 1.0))
        return _best(promise(observation) + self.width * bound, can)


@dataclass(frozen=True)
class RaceFirst:
    """The shared search for `queries`; then each class once, those first of which it has seen most; then `then`.

    queries: after which the race is left, to come back to where no class can be had. Of 600 to 2,800 this did best on
    tune victims with 1,000 queries, and as well as any with 10,000.
    """

    queries: int = 1_200
    then: Ucb = field(default_factory=Ucb)

    def __call__(self, observation: Observation, can: Can) -> int:
        """The shared arm, the untried class with the largest gain, or what `then` says."""
        shared, classes = spent(observation)
        if can[-1] and (shared < self.queries or not can[:-1].any()):
            return len(can) - 1
        untried = can[:-1] & (classes < 1.0)
        if untried.any():
            return _best(observation["classes"][:, OfClass.GAIN], np.append(untried, False))
        return self.then(observation, can)


@dataclass(frozen=True)
class Greedy:
    """The arm with the best chance of a find for a query, by what the same queries found in the victims of `belief`.

    horizon: queries that it looks ahead, in steps of `step`: an arm may be worth a long wait (as Gittins' index).
    """

    belief: Belief
    horizon: int = 6_000
    step: int = 250

    def __call__(self, observation: Observation, can: Can) -> int:
        """Chances are those of the victims that as many queries would not have found either."""
        shared, classes = spent(observation)
        ahead = np.arange(self.step, self.horizon + 1, self.step, dtype=np.float64)
        left = (self.belief.shared > shared)[:, None] * (self.belief.of_class[:, None] > classes)  # (V, T)
        by_shared = self.belief.shared[:, None] <= shared + ahead  # (V, H)
        by_class = self.belief.of_class[:, None, None] <= (classes[:, None] + ahead)  # (V, T, H)
        of_shared = (left.sum(axis=1) @ by_shared / ahead).max()
        of_class = ((left[:, :, None] & by_class).sum(axis=0) / ahead).max(axis=1)
        chances = np.append(of_class, of_shared)
        if not chances[can].max() > 0.0:  # nothing was ever found so late: what is cheapest to have tried
            return uniform_all(observation, can)
        index = chances + 1e-9 * np.append(observation["classes"][:, OfClass.GAIN], 0.0)  # of equals, the larger gain
        return int(np.where(can, index, -np.inf).argmax())


def _least(values: NDArray[np.floating], can: Can) -> int:
    """The class that can be had with the lowest value; the shared arm where there is none."""
    return int(np.where(can[:-1], values, np.inf).argmin()) if can[:-1].any() else len(can) - 1


def _best(values: NDArray[np.floating], can: Can) -> int:
    return _least(-values, can)


Made: TypeAlias = Callable[[Belief], Choose]

POLICIES: Mapping[str, Made] = MappingProxyType(
    {
        "uniform": lambda _: uniform,
        "uniform-all": lambda _: uniform_all,
        "halving": lambda _: Halving(),
        "ucb": lambda _: Ucb(),
        "race-first": lambda _: RaceFirst(),
        "greedy": Greedy,
    }
)
"""Policies by name, each with what it learns from."""


def policy(name: str, belief: Belief, budget: int, levels: tuple[float, ...] = LEVELS) -> Policy:
    """The policy of that name. Raises ConfigError if there is none."""
    if name not in POLICIES:
        raise ConfigError(f"no policy {name!r}; choose from {', '.join(POLICIES)}")
    return Policy(POLICIES[name](belief), belief, budget, levels)
