"""Policies: which arm to pull next, with a common rule for stopping and for the verdict."""

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
"""The available arms, bool (T + 1,), the shared one last."""

Choose: TypeAlias = Callable[[Observation, Can], int]
"""Chooses one of the available arms, of which there is at least one."""


@dataclass(frozen=True)
class Policy:
    """From an observation and the info's `action_mask` to an action.

    choose: chooses the arm. belief: estimates the probability of a backdoor. budget: queries after which no further
    chunk is started; a confirmed trigger ends the episode earlier. levels: of the environment.
    """

    choose: Choose
    belief: Belief
    budget: int
    levels: tuple[float, ...] = LEVELS

    def __call__(self, observation: Observation, mask: NDArray[np.int8]) -> int:
        """The action: an arm while no trigger is confirmed and the budget lasts, then the verdict closest to the
        belief."""
        arms = len(observation["classes"]) + 1
        can = mask[:arms].astype(np.bool_)
        confirmed = observation["shared"][OfShared.FOUND] or observation["classes"][:, OfClass.FOUND].any()
        if not confirmed and can.any() and _asked(observation) < self.budget - 0.5:  # half a query: float32
            return self.choose(observation, can)
        believed = self.belief(observation)
        return arms + int(np.abs(np.array(self.levels) - believed).argmin())


def _asked(observation: Observation) -> float:
    """Queries so far, including the first check."""
    return budget_of(observation) * (1.0 - float(observation["episode"][OfEpisode.LEFT]))


def uniform(observation: Observation, can: Can) -> int:
    """The class with the fewest queries; the shared search only if no class arm is available."""
    return _least(observation["classes"][:, OfClass.SPENT], can)


def uniform_all(observation: Observation, can: Can) -> int:
    """The arm with the fewest queries, including the shared one."""
    every = np.append(observation["shared"][OfShared.SPENT], observation["classes"][:, OfClass.SPENT])
    return (int(np.where(np.roll(can, 1), every, np.inf).argmin()) - 1) % len(can)


def promise(observation: Observation) -> Costs:
    """How much a class looks like a target, (T,), in [0, 1]: one minus its scaled last loss, 0 before any.

    On tune victims the target class ranked higher by this than by any other column, such as size or success.
    """
    merit: Costs = 1.0 - observation["classes"][:, OfClass.LOSS].astype(np.float64)
    return merit


@dataclass(frozen=True)
class Halving:
    """Successive halving over the classes: all get `unit` queries, the better half twice as many, and so on.

    Source: Karnin et al., ICML 2013, with asynchronous rungs as in ASHA.
    """

    unit: int = 500
    """Queries of the first rung, at least one chunk."""

    def __call__(self, observation: Observation, can: Can) -> int:
        """A class to promote from the highest possible rung; else an untried class; else the most promising one."""
        _, queries = spent(observation)
        rungs = np.floor(np.log2(queries / self.unit + 1.0) + 1e-6).astype(int)  # sums of unit, 2 unit, 4 unit ...
        merit, open_ones = promise(observation), can[:-1]
        for rung in range(int(rungs.max()), 0, -1):
            reached = np.flatnonzero(rungs >= rung)
            best = reached[np.argsort(-merit[reached], kind="stable")[: max(len(queries) >> rung, 1)]]
            waiting = [int(c) for c in best if rungs[c] == rung and open_ones[c]]
            if waiting and (rungs >= rung).sum() >= max(len(queries) >> (rung - 1), 1):
                return waiting[0]
        if (unseen := open_ones & (rungs == 0)).any():
            return _least(queries, np.append(unseen, False))
        return _best(merit, can)


@dataclass(frozen=True)
class Ucb:
    """Upper confidence bounds on the promise of the classes (Auer et al., 2002)."""

    width: float = 0.1
    """Factor of the bound sqrt(ln(chunks of all classes) / chunks of the class)."""
    unit: int = 520
    """Queries that count as one chunk."""

    def __call__(self, observation: Observation, can: Can) -> int:
        """The class with the highest bound; each is tried once first."""
        chunks = spent(observation)[1] / self.unit
        if (chunks[can[:-1]] < 0.5).any():
            return uniform(observation, can)
        bound = np.sqrt(np.log(max(chunks.sum(), 1.0)) / np.maximum(chunks, 1.0))
        return _best(promise(observation) + self.width * bound, can)


@dataclass(frozen=True)
class RaceFirst:
    """The shared search for `queries`, then each class once in the order of its gain there, then `then`."""

    queries: int = 1_200  # of 600 to 2,800 the best on tune victims with 1,000 queries, and as good as any with 10,000
    """Queries of the shared search; it continues later only if no class arm is available."""
    then: Ucb = field(default_factory=Ucb)
    """The policy after each class was tried once."""

    def __call__(self, observation: Observation, can: Can) -> int:
        """The shared arm, the untried class with the largest gain, or the choice of `then`."""
        shared, classes = spent(observation)
        if can[-1] and (shared < self.queries or not can[:-1].any()):
            return len(can) - 1
        untried = can[:-1] & (classes < 1.0)
        if untried.any():
            return _best(observation["classes"][:, OfClass.GAIN], np.append(untried, False))
        return self.then(observation, can)


@dataclass(frozen=True)
class Greedy:
    """The arm with the highest probability of a confirmed trigger per query, estimated from the victims of `belief`."""

    belief: Belief
    """The fitted belief."""
    horizon: int = 6_000
    """Queries to look ahead, since an arm may be worth a long wait (as in Gittins' index)."""
    step: int = 250
    """Step of looking ahead, in queries."""

    def __call__(self, observation: Observation, can: Can) -> int:
        """Probabilities refer to the victims in which as many queries would not have confirmed a trigger either."""
        shared, classes = spent(observation)
        ahead = np.arange(self.step, self.horizon + 1, self.step, dtype=np.float64)
        left = (self.belief.shared > shared)[:, None] * (self.belief.of_class[:, None] > classes)  # (V, T)
        by_shared = self.belief.shared[:, None] <= shared + ahead  # (V, H)
        by_class = self.belief.of_class[:, None, None] <= (classes[:, None] + ahead)  # (V, T, H)
        of_shared = (left.sum(axis=1) @ by_shared / ahead).max()
        of_class = ((left[:, :, None] & by_class).sum(axis=0) / ahead).max(axis=1)
        chances = np.append(of_class, of_shared)
        if not chances[can].max() > 0.0:  # no trigger was ever confirmed so late: take the arm with the fewest queries
            return uniform_all(observation, can)
        index = chances + 1e-9 * np.append(observation["classes"][:, OfClass.GAIN], 0.0)  # ties go to the larger gain
        return int(np.where(can, index, -np.inf).argmax())


def _least(values: NDArray[np.floating], can: Can) -> int:
    """The available class with the lowest value; the shared arm if there is none."""
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
"""Policies by name, each made from a belief."""


def policy(name: str, belief: Belief, budget: int, levels: tuple[float, ...] = LEVELS) -> Policy:
    """The policy of that name. Raises ConfigError if there is none."""
    if name not in POLICIES:
        raise ConfigError(f"no policy {name!r}; choose from {', '.join(POLICIES)}")
    return Policy(POLICIES[name](belief), belief, budget, levels)
