"""What rejecting inputs does, counted: at one threshold and at others, with the intervals that so few images leave."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simkit.data import ImageSet
from simkit.errors import ConfigError
from simkit.mitigation import THRESHOLD, Combined, Probabilities, Screened
from simkit.triggers import IntArray
from studies.statistics import Ranking, Share, ranking, share

THRESHOLDS = (0.0, 0.01, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
"""Looked at besides the one in use; at 0 nothing is rejected."""


@dataclass(frozen=True)
class ScreenConfig:
    """How inputs are screened. Raises ConfigError outside the ranges.

    threshold: in nats, 0 or more; an input that scores below it is rejected. combined: see `Screened.scores`. images:
    clean test images, 1 or more; seed: which. budget: queries, None for as many as they need.
    """

    threshold: float = THRESHOLD
    combined: Combined = "least"
    images: int = 512
    budget: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.threshold) and self.threshold >= 0.0):
            raise ConfigError(f"a threshold of {self.threshold}; give a divergence in nats, 0 or more")
        if self.images < 1:
            raise ConfigError(f"{self.images} images; give 1 or more")


@dataclass(frozen=True, eq=False)
class Judged:
    """N images that were screened.

    scores: (N,), small where suspicious. hits: bool (N,), whether the answer was the label: the class of a clean image,
    the class that a triggered one should become. labels: int32 (N,).
    """

    scores: Probabilities
    hits: NDArray[np.bool_]
    labels: IntArray

    @classmethod
    def of(cls, screened: Screened, images: ImageSet, combined: Combined) -> Judged:
        """What was asked about `images`, against their labels."""
        return cls(screened.scores(combined), screened.labels == images.labels, images.labels)

    def __len__(self) -> int:
        return len(self.scores)


@dataclass(frozen=True)
class Point:
    """What rejecting all scores below a threshold does; None of triggered images where there are none.

    accuracy: of the clean images, those that are kept and rightly answered. clean_rejected: of the clean ones.
    triggered_rejected: of the triggered ones. success: triggered ones that are kept and answered with the target class.
    """

    threshold: float
    accuracy: Share
    clean_rejected: Share
    triggered_rejected: Share | None
    success: Share | None


@dataclass(frozen=True, eq=False)
class MitigationResult:
    """What screening with the triggers of `flagged` did to clean and to triggered images.

    without, at: nothing rejected, and the threshold in use; points: those and others. own_rejected, others_rejected: of
    the clean images of the flagged classes, and of the others. ranking: of triggered below clean scores, None without
    triggered ones. queries: of all processes, paid for once. db, run: where they are kept.
    """

    flagged: tuple[int, ...]
    clean: int
    triggered: int
    without: Point
    at: Point
    points: tuple[Point, ...]
    own_rejected: Share
    others_rejected: Share
    ranking: Ranking | None
    queries: int
    db: Path
    run: int

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        told = {name: value for name, value in vars(self).items() if name not in ("without", "at", "points")}
        plain = {name: asdict(value) if isinstance(value, Share | Ranking) else value for name, value in told.items()}
        shown = {"without": asdict(self.without), "at": asdict(self.at), "points": [asdict(p) for p in self.points]}
        return plain | shown | {"db": str(self.db), "flagged": list(self.flagged)}


@dataclass(frozen=True)
class Where:
    """Where the queries of a screening are kept, and how many there are."""

    queries: int
    db: Path
    run: int


def result_of(
    flagged: tuple[int, ...], clean: Judged, triggered: Judged | None, threshold: float, kept: Where
) -> MitigationResult:
    """Count what becomes of the images at `threshold` and at THRESHOLDS."""
    rejected, own = clean.scores < threshold, np.isin(clean.labels, flagged)
    return MitigationResult(
        flagged=flagged,
        clean=len(clean),
        triggered=0 if triggered is None else len(triggered),
        without=point(0.0, clean, triggered),
        at=point(threshold, clean, triggered),
        points=tuple(point(t, clean, triggered) for t in sorted({*THRESHOLDS, threshold})),
        own_rejected=_share(rejected[own]),
        others_rejected=_share(rejected[~own]),
        ranking=None if triggered is None else ranking((-triggered.scores).tolist(), (-clean.scores).tolist()),
        **vars(kept),
    )


def point(threshold: float, clean: Judged, triggered: Judged | None) -> Point:
    """What rejecting scores below `threshold` does to these images."""
    accuracy, rejected = _kept_and_rejected(threshold, clean)
    if triggered is None:
        return Point(threshold, accuracy, rejected, None, None)
    success, caught = _kept_and_rejected(threshold, triggered)
    return Point(threshold, accuracy, rejected, caught, success)


def _kept_and_rejected(threshold: float, judged: Judged) -> tuple[Share, Share]:
    """The images that are kept and answered with their label, and those that are rejected."""
    rejected = judged.scores < threshold
    return _share(judged.hits & ~rejected), _share(rejected)


def _share(holds: NDArray[np.bool_]) -> Share:
    return share(int(np.count_nonzero(holds)), len(holds))
