"""The probability that a model carries a backdoor, given the verdict of a scan, fitted on `calibrate` victims.

A verdict is worth its likelihood ratio: how much more often the detector gives it to backdoored victims than to clean
ones. With a prior, the share of models that carry a backdoor, Bayes' rule makes it a probability. The score beyond the
verdict is not used: the scores of the stages of a scan are on different scales, on either side of the threshold they
lie close together, and a slope fitted to some tens of victims that the threshold separates would be infinite.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from simkit.data.images import ImageShape
from simkit.errors import ConfigError
from studies.scan.calibrated import CALIBRATED
from studies.scan.calibration import Calibration, deciding_settings
from studies.statistics import likelihood_ratio

PRIOR = 0.5
"""The share of backdoored models that is assumed where none is stated."""

_LEAST_PRIOR = 1e-6


@dataclass(frozen=True)
class Probability:
    """The probability of a backdoor, strictly between 0 and 1.

    low, high: its 95 % interval, from that of the likelihood ratio. prior: the share of backdoored models that it
    assumes. backdoored, clean: numbers of victims that it was fitted on. zoos: those of the victims.
    """

    value: float
    low: float
    high: float
    prior: float
    backdoored: int
    clean: int
    zoos: tuple[str, ...]

    def at(self, prior: float) -> Probability:
        """The probability where this share of all models is backdoored. Raises as `checked_prior`."""
        value, low, high = (moved(chance, self.prior, prior) for chance in (self.value, self.low, self.high))
        return replace(self, value=value, low=low, high=high, prior=prior)

    @property
    def words(self) -> str:
        """The probability with its interval and what it is based on."""
        return (
            f"{chance_words(self.value)} (95 % interval {chance_words(self.low)} to {chance_words(self.high)}) if "
            f"{100 * self.prior:g} % of all models have a backdoor; fitted on {self.backdoored} backdoored and "
            f"{self.clean} clean models of {', '.join(self.zoos)}"
        )

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self) | {"zoos": list(self.zoos)}


def probability(
    settings: Mapping[str, Any], environment: Mapping[str, Any], verdict: str | None, image_shape: ImageShape | None
) -> Probability | None:
    """The probability of a backdoor under the prior of one half.

    settings, environment: of a stored run or a result line. verdict: None while there is none. image_shape: (C, H, W).
    None for a verdict other than `backdoored` and `clean`, and where nothing was calibrated with exactly these
    settings and answers on images of this size, or the model answers elsewhere, so that nobody knows what its
    service changes.
    """
    if verdict not in ("backdoored", "clean") or image_shape is None or "output" not in environment:
        return None  # only a model that is run here has its output type in the environment
    known = [one for one in CALIBRATED if one.size == tuple(image_shape[1:])]
    wanted = deciding_settings(settings) if known else None
    found = next((one for one in known if one.settings == wanted), None)
    return None if found is None else of_verdict(found, verdict)


def of_verdict(calibration: Calibration, verdict: str) -> Probability:
    """What a verdict `backdoored` or `clean` of this detector says under the prior of one half.

    `backdoored` is never below the prior and `clean` never above it, whatever few victims say.
    """
    backdoored, clean = calibration.backdoored, calibration.clean
    flagged = verdict == "backdoored"
    hits = (backdoored.flagged, clean.flagged) if flagged else (backdoored.clean, clean.clean)
    found = likelihood_ratio((hits[0], backdoored.victims), (hits[1], clean.victims))
    ratio = max(found.value, 1.0) if flagged else min(found.value, 1.0)  # the odds, under a prior of one half
    return Probability(
        value=_chance(ratio),
        low=_chance(min(found.low, ratio)),
        high=_chance(max(found.high, ratio)),
        prior=PRIOR,
        backdoored=backdoored.victims,
        clean=clean.victims,
        zoos=calibration.zoos,
    )


def moved(chance: float, prior: float, other: float) -> float:
    """A probability of a backdoor under one prior as it is under another, by Bayes' rule. Raises as `checked_prior`."""
    return _chance(_odds(checked_prior(other)) / _odds(prior) * _odds(chance))


def checked_prior(prior: float) -> float:
    """`prior`, if it is a share of models that a verdict can change. Raises ConfigError."""
    if not _LEAST_PRIOR <= prior <= 1 - _LEAST_PRIOR:
        raise ConfigError(f"prior {prior:g}: give the share of backdoored models, above 0 and below 1")
    return prior


def chance_words(value: float) -> str:
    """A probability with two digits, or three near the ends, and never as certain: `0.96`, `more than 0.999`."""
    if value > 0.999:
        return "more than 0.999"
    if value < 0.001:
        return "less than 0.001"
    return f"{value:.2f}" if 0.01 <= value <= 0.99 else f"{value:.3f}"


def _odds(chance: float) -> float:
    return chance / (1.0 - chance)


def _chance(odds: float) -> float:
    return odds / (1.0 + odds)
