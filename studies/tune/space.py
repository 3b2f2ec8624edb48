"""The values that settings are drawn from: as Optuna has them, as a detector takes them, and whether it does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import Trial

from simkit.errors import ConfigError
from studies.scan.config import ScanConfig
from studies.scan.overrides import put
from studies.study.detectors import Method
from studies.study.tune_config import Choices, Range, Value


def distributions(space: Mapping[str, Range]) -> dict[str, BaseDistribution]:
    """The space as Optuna has it, in the order of the names: the order of a file is no part of a study."""
    return {name: _distribution(space[name]) for name in sorted(space)}


def _distribution(values: Range) -> BaseDistribution:
    if isinstance(values, Choices):
        return CategoricalDistribution(values.choices)
    if values.whole:
        step = 1 if values.step is None else int(values.step)
        return IntDistribution(int(values.low), int(values.ends[1]), log=values.log, step=step)
    return FloatDistribution(float(values.low), float(values.ends[1]), log=values.log, step=values.step)


def suggested(trial: Trial, space: Mapping[str, Range]) -> dict[str, Value]:
    """The values of a trial; those that it has already are not drawn again."""
    return {name: _suggested(trial, name, known) for name, known in distributions(space).items()}


def _suggested(trial: Trial, name: str, known: BaseDistribution) -> Any:
    if isinstance(known, CategoricalDistribution):
        return trial.suggest_categorical(name, known.choices)
    if isinstance(known, IntDistribution):
        return trial.suggest_int(name, known.low, known.high, step=known.step, log=known.log)
    assert isinstance(known, FloatDistribution)
    return trial.suggest_float(name, known.low, known.high, step=known.step, log=known.log)


def with_values(settings: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Settings with these values, by dotted names, put over them. Raises ConfigError where a name does not fit."""
    told: dict[str, Any] = dict(settings)
    for name, value in values.items():
        told = put(told, name, value, "[tune] space")
    return told


def check_space(method: Method, settings: Mapping[str, Any], space: Mapping[str, Range]) -> None:
    """Raises ConfigError, InvalidSpec unless the detector takes each end of each range, everything else as it is."""
    for name, values in space.items():
        for value in values.ends:
            try:
                method.config(with_values(settings, {name: value}))
            except ConfigError as error:
                raise ConfigError(f"[tune] space: {name} = {value!r}: {error}") from error


def defaults(config: ScanConfig, space: Mapping[str, Range]) -> dict[str, Value] | None:
    """The values that a scan has by itself of what is tuned; None where one of them is not in the space."""
    found = {name: _value(config, name) for name in space}
    known = distributions(space)
    return found if all(_holds(known[name], value) for name, value in found.items()) else None


def _holds(distribution: BaseDistribution, value: Any) -> bool:
    try:
        inside = distribution._contains(distribution.to_internal_repr(value))
    except (TypeError, ValueError):
        return False
    whole = not isinstance(distribution, IntDistribution) or isinstance(value, int)
    return whole and bool(inside)


def _value(config: ScanConfig, name: str) -> Any:
    """The setting of that dotted name, the preset's where nothing is put over it; None for one that is nowhere."""
    first, *path = name.split(".")
    if not path:
        return getattr(config, first, None)
    held: Any = config.resolved_rule() if first == "rule" else getattr(config.resolved(), first, None)
    for part in path:
        held = getattr(held, part, None)
    return held
