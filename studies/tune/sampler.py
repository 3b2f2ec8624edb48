"""Draws settings as a function of the seed, the trial's number and the trials before it only.

A sampler of Optuna continues one random stream, so an interrupted study would draw other settings than one that was
not interrupted. Here every trial has its own stream.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from optuna import Study
from optuna.distributions import BaseDistribution
from optuna.pruners import BasePruner, MedianPruner, NopPruner, SuccessiveHalvingPruner
from optuna.samplers import BaseSampler, NSGAIISampler, RandomSampler, TPESampler
from optuna.trial import FrozenTrial, TrialState

from simkit.seeding import subseed
from studies.study.tune_config import TuneConfig, Value

Make: TypeAlias = Callable[[int], BaseSampler]
_SEEDS = 2**32
"""The seeds of numpy's generators are below this."""


class SeededSampler(BaseSampler):
    """Uses a fresh sampler for each trial, with a seed of its own.

    make: makes a sampler from a seed. first: the values of trial 0, None to draw them as well.
    """

    def __init__(self, make: Make, seed: int, first: Mapping[str, Value] | None = None) -> None:
        self._make, self._seed, self._first = make, seed, first

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return self._of(trial, "together").infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        if self._is_first(trial):
            return {}
        return self._of(trial, "together").sample_relative(study, trial, search_space)

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """Draw with a stream per setting, so that a trial interrupted between two settings draws the second again."""
        if self._first is not None and self._is_first(trial):
            return self._first[param_name]
        return self._of(trial, param_name).sample_independent(study, trial, param_name, param_distribution)

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        self._of(trial, "before").before_trial(study, trial)

    def after_trial(self, study: Study, trial: FrozenTrial, state: TrialState, values: Any) -> None:
        self._of(trial, "after").after_trial(study, trial, state, values)

    def _is_first(self, trial: FrozenTrial) -> bool:
        return self._first is not None and trial.number == 0

    def _of(self, trial: FrozenTrial, purpose: str) -> BaseSampler:
        return self._make(subseed(self._seed, "tune", trial.number, purpose) % _SEEDS)


def sampler(config: TuneConfig, first: Mapping[str, Value] | None) -> BaseSampler:
    """The sampler of a study. first: the values of its first trial, None to draw them as well."""

    def make(seed: int) -> BaseSampler:
        if config.sampler == "random":
            return RandomSampler(seed)
        if config.sampler == "nsga2":
            return NSGAIISampler(population_size=config.population, seed=seed)
        # constant_liar: with several processes, an unfinished trial counts as bad, so that others try other settings
        return TPESampler(n_startup_trials=config.startup, multivariate=True, constant_liar=True, seed=seed)

    return SeededSampler(make, config.seed, first)


def pruner(config: TuneConfig, first_checkpoint: int | None) -> BasePruner:
    """The pruner of a study. first_checkpoint: in queries, None where nothing is pruned."""
    if config.pruner == "none" or first_checkpoint is None:
        return NopPruner()
    if config.pruner == "halving":
        return SuccessiveHalvingPruner(min_resource=first_checkpoint, reduction_factor=2)
    return MedianPruner(n_startup_trials=config.startup, n_warmup_steps=0)
