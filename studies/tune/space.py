"""The tuning space: as Optuna's distributions, and as settings of a detector, checked for validity."""

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
    """The space as Optuna's distributions, sorted by name, so that the order in a file does not matter."""
    return {name: _distribution(space[name]) for name in sorted(space)}


def _distribution(values: Range) -> BaseDistribution:
    if isinstance(values, Choices):
        return CategoricalDistribution(values.choices)
    if values.whole:
        step = 1 if values.step is None else int(values.step)
        return IntDistribution(int(values.low), int(values.ends[1]), log=values.log, step=step)
    return FloatDistribution(float(values.low), float(values.ends[1]), log=values.log, step=values.step)


def suggested(trial: Trial, space: Mapping[str, Range]) -> dict[str, Value]:
    """The values of a trial; values that it has already are not drawn again."""
    return {name: _suggested(trial, name, values) for name, values in distributions(space).items()}


def _suggested(trial: Trial, name: str, values: BaseDistribution) -> Any:
    if isinstance(values, CategoricalDistribution):
        return trial.suggest_categorical(name, values.choices)
    if isinstance(values, IntDistribution):
        return trial.suggest_int(name, values.low, values.high, step=values.step, log=values.log)
    assert isinstance(values, FloatDistribution)
    return trial.suggest_float(name, values.low, values.high, step=values.step, log=values.log)


def with_values(settings: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """The settings with these values, by dotted name, in their place. Raises ConfigError where a name does not fit."""
    merged: dict[str, Any] = dict(settings)
    for name, value in values.items():
        merged = put(merged, name, value, "[tune] space")
    return merged


def check_space(method: Method, settings: Mapping[str, Any], space: Mapping[str, Range]) -> None:
    """Raise ConfigError or InvalidSpec unless the detector accepts both ends of each range with the other settings."""
    for name, values in space.items():
        for value in values.ends:
            try:
                method.config(with_values(settings, {name: value}))
            except ConfigError as error:
                raise ConfigError(f"[tune] space: {name} = {value!r}: {error}") from error


def defaults(config: ScanConfig, space: Mapping[str, Range]) -> dict[str, Value] | None:
    """The detector's own values of the tuned settings; None where one of them is not in the space."""
    values = {name: _value(config, name) for name in space}
    drawn = distributions(space)
    return values if all(_holds(drawn[name], value) for name, value in values.items()) else None


def _holds(distribution: BaseDistribution, value: Any) -> bool:
    try:
        inside = distribution._contains(distribution.to_internal_repr(value))
    except (TypeError, ValueError):
        return False
    whole = not isinstance(distribution, IntDistribution) or isinstance(value, int)
    return whole and bool(inside)


def _value(config: ScanConfig, name: str) -> Any:
    """The value of a setting by its dotted name, by default that of the preset; None for an unknown setting."""
    first, *path = name.split(".")
    if not path:
        return getattr(config, first, None)
    held: Any = config.resolved_rule() if first == "rule" else getattr(config.resolved(), first, None)
    for part in path:
        held = getattr(held, part, None)
    return held
