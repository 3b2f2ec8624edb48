"""Compares policies on the same victims at equal mean queries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from simkit.env.belief import Belief
from simkit.env.config import EnvConfig
from simkit.env.policies import POLICIES, policy
from simkit.env.recording import Recording
from simkit.env.rollout import Outcome, play
from simkit.errors import ConfigError
from studies.scan.canonical import canonical
from studies.scan.run_key import environment

KNOBS = 60
"""Number of budgets that a policy is tried with to meet a mean number of queries; about one per chunk."""

RESAMPLES = 9_999

FEWEST = 6
"""Least number of victims for an interval: with fewer, even differences of one sign are within chance (two-sided sign
test, p above 0.05)."""

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """The mean paired difference over victims, and its 95 % bootstrap interval; None for fewer than FEWEST victims."""

    mean: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Side:
    """The result of a policy. budget: see `Policy`. queries, score, accuracy, undecided: means over the victims."""

    policy: str
    budget: int
    queries: float
    score: float
    accuracy: float
    undecided: float


@dataclass(frozen=True)
class Comparison:
    """One policy compared with the baseline.

    target, tune: wanted and actual mean queries on the tune victims. score, accuracy: the policy's minus the
    baseline's, paired by victim.
    """

    target: int
    tune: float
    policy: Side
    baseline: Side
    score: Interval
    accuracy: Interval

    @property
    def better(self) -> bool:
        """Whether the interval of the score lies above 0 with no more queries than the baseline."""
        return self.score.low is not None and self.score.low > 0.0 and self.policy.queries <= self.baseline.queries


class Field:
    """Policies on one set of victims; each policy is played once per budget."""

    def __init__(self, recordings: Sequence[Recording], belief: Belief) -> None:
        self._recordings, self._belief = list(recordings), belief
        most = max(r.queries for r in self._recordings)
        slack = max(sum(r.header.largest_chunks) for r in self._recordings)
        self._config = EnvConfig(budget=most + slack)  # only the policy's own budget ends an episode
        least = min(r.header.check_queries for r in self._recordings)
        self.budgets: list[int] = np.unique(np.geomspace(2 * least, most, KNOBS).astype(int)).tolist()
        self.outcomes = lru_cache(maxsize=None)(self._played)

    def _played(self, name: str, budget: int) -> tuple[Outcome, ...]:
        return tuple(play(self._recordings, policy(name, self._belief, budget), self._config))

    def mean_queries(self, name: str, budget: int) -> float:
        """The mean queries of a policy with this budget."""
        return float(np.mean([outcome.queries for outcome in self.outcomes(name, budget)]))

    def largest_budget(self, name: str, mean: float) -> int:
        """The largest budget with at most `mean` queries on average; the smallest where all are above."""
        return max((b for b in self.budgets if self.mean_queries(name, b) <= mean), default=self.budgets[0])

    def least_budget(self, name: str, mean: float) -> int:
        """The smallest budget with at least `mean` queries on average; the largest where all are below."""
        return min((b for b in self.budgets if self.mean_queries(name, b) >= mean), default=self.budgets[-1])

    def side(self, name: str, budget: int) -> Side:
        """The means of a policy over the victims."""
        score, right = self.by_victim(name, budget, "score"), self.by_victim(name, budget, "right")
        undecided = float(np.mean([outcome.stated == 0.5 for outcome in self.outcomes(name, budget)]))
        return Side(name, budget, self.mean_queries(name, budget), float(score.mean()), float(right.mean()), undecided)

    def by_victim(self, name: str, budget: int, what: str) -> Numbers:
        """An attribute of the outcomes by victim, averaged over its recordings, which may differ in the seed."""
        values = np.array([float(getattr(outcome, what)) for outcome in self.outcomes(name, budget)])
        _, victim = np.unique([r.header.model_hash for r in self._recordings], return_inverse=True)
        means: Numbers = np.bincount(victim, values) / np.bincount(victim)
        return means


def compare(
    recordings: Sequence[Recording],
    tune: Sequence[Recording],
    policies: Sequence[str],
    targets: Sequence[int],
    baseline: str = "uniform",
) -> list[Comparison]:
    """Each policy compared with the baseline at each target, in order.

    The policy gets the largest budget with which its mean queries on the tune victims are at most the target. The
    baseline gets the smallest budget with which its mean queries on the compared victims are at least those of the
    policy, so that it never has fewer; this uses queries only, not verdicts. The belief is fitted on `tune`. Raises
    ConfigError for an unknown policy or an invalid target, for tune victims among the compared ones, and for compared
    recordings of several splits, services or arms; DataError.
    """
    _check_names((*policies, baseline), targets)
    _check_apart(recordings, tune)
    belief = Belief.fitted(tune)
    fields = Field(tune, belief), Field(recordings, belief)
    return [_compared(fields, name, target, baseline) for name in policies if name != baseline for target in targets]


def _check_names(policies: Sequence[str], targets: Sequence[int]) -> None:
    for name in policies:
        if name not in POLICIES:
            raise ConfigError(f"no policy {name!r}; choose from {', '.join(POLICIES)}")
    if not targets or min(targets) < 1:
        raise ConfigError("give one or more mean numbers of queries, each 1 or more")


def _check_apart(recordings: Sequence[Recording], tune: Sequence[Recording]) -> None:
    if {r.header.model_hash for r in recordings} & {r.header.model_hash for r in tune}:
        raise ConfigError("some victims are in both folders; compare on other victims than those of --tune")
    classes = {r.n_classes for r in (*recordings, *tune)}
    if len(classes) > 1:
        raise ConfigError(f"some victims have {min(classes)} classes and some {max(classes)}; compare within one task")
    splits = sorted({r.header.split for r in recordings})
    if len(splits) > 1:
        raise ConfigError(f"the victims are of the splits {' and '.join(splits)}; compare on one split at a time")
    for part in ("oracle", "arms"):
        if len({_recorded_with(r, part) for r in (*recordings, *tune)}) > 1:
            raise ConfigError(f"the recordings differ in their {part} settings; compare recordings with equal ones")


def _recorded_with(recording: Recording, part: str) -> str:
    """Settings as text, without the seed of an oracle's noise, since repetitions are of one service."""
    settings = recording.header.settings.get(part) or {}
    return canonical({name: value for name, value in settings.items() if name != "seed"})


def _compared(fields: tuple[Field, Field], name: str, target: int, baseline: str) -> Comparison:
    tune, victims = fields
    budget = tune.largest_budget(name, target)
    given = victims.least_budget(baseline, victims.mean_queries(name, budget))
    score, accuracy = (
        paired(victims.by_victim(name, budget, what), victims.by_victim(baseline, given, what))
        for what in ("score", "right")
    )
    sides = victims.side(name, budget), victims.side(baseline, given)
    return Comparison(target, tune.mean_queries(name, budget), *sides, score, accuracy)


def paired(ours: Numbers, theirs: Numbers) -> Interval:
    """The mean difference and its percentile bootstrap interval (95 %, 9,999 resamples of victims, seed 0).

    Fewer than FEWEST victims have none.
    """
    differences = ours - theirs
    mean = float(differences.mean())
    if len(differences) < FEWEST:
        return Interval(mean, None, None)
    if np.ptp(differences) == 0.0:  # bootstrap fails without variation
        return Interval(mean, mean, mean)
    result = stats.bootstrap((differences,), np.mean, n_resamples=RESAMPLES, method="percentile", random_state=0)
    return Interval(mean, float(result.confidence_interval.low), float(result.confidence_interval.high))


def line(comparison: Comparison, recordings: Sequence[Recording], tune: Sequence[Recording]) -> dict[str, Any]:
    """A comparison as one JSON object, with its victims and environment."""
    return {
        "zoos": _zoos(recordings),
        "split": "+".join(sorted({r.header.split for r in recordings})),
        "tune_zoos": _zoos(tune),
        "victims": len({r.header.model_hash for r in recordings}),
        "clean": len({r.header.model_hash for r in recordings if r.header.truth == "clean"}),
        "target": comparison.target,
        "tune_queries": comparison.tune,
        "policy": vars(comparison.policy),
        "baseline": vars(comparison.baseline),
        "score_difference": vars(comparison.score),
        "accuracy_difference": vars(comparison.accuracy),
        "better": comparison.better,
        "environment": environment(),
    }


def _zoos(recordings: Sequence[Recording]) -> Mapping[str, int]:
    """The number of recordings of each zoo."""
    names = [r.header.zoo for r in recordings]
    return {name: names.count(name) for name in sorted(set(names))}
