"""The effect of rejecting inputs, at the threshold in use and at others, with confidence intervals."""

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
"""The thresholds evaluated besides the one in use; at 0 nothing is rejected."""


@dataclass(frozen=True)
class ScreenConfig:
    """How inputs are screened. Raises ConfigError outside the ranges.

    threshold: in nats, at least 0; an input that scores below it is rejected. combined: see `Screened.scores`. images:
    number of clean test images, at least 1. budget: maximum number of queries, None for as many as needed. seed: of the
    choice of images.
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
            raise ConfigError(f"images = {self.images}; give 1 or more")


@dataclass(frozen=True, eq=False)
class Judged:
    """N images that were screened.

    scores: (N,), small where suspicious. hits: bool (N,), whether the answer equals the label. labels: int32 (N,), the
    class of a clean image, and the target class of a triggered one.
    """

    scores: Probabilities
    hits: NDArray[np.bool_]
    labels: IntArray

    @classmethod
    def of(cls, screened: Screened, images: ImageSet, combined: Combined) -> Judged:
        """The screened images compared with their labels."""
        return cls(screened.scores(combined), screened.labels == images.labels, images.labels)

    def __len__(self) -> int:
        return len(self.scores)


@dataclass(frozen=True)
class Point:
    """The effect of rejecting all scores below a threshold.

    accuracy: share of clean images that are kept and classified correctly. clean_rejected: share of clean images
    rejected. triggered_rejected: share of triggered images rejected. success: share of triggered images that are kept
    and classified as the target class (ASR). The latter two are None without triggered images.
    """

    threshold: float
    accuracy: Share
    clean_rejected: Share
    triggered_rejected: Share | None
    success: Share | None


@dataclass(frozen=True, eq=False)
class MitigationResult:
    """The effect of screening clean and triggered images with the triggers of the classes `flagged`.

    without: nothing rejected. at: the threshold in use. points: all thresholds. own_rejected, others_rejected: share of
    rejected clean images of the flagged classes, and of the other classes. ranking: AUROC of triggered images scoring
    below clean ones, None without triggered images. queries: number of queries, each charged once. db, run: where they
    are stored.
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
        """The result as plain values for JSON."""
        rest = {name: value for name, value in vars(self).items() if name not in ("without", "at", "points")}
        plain = {name: asdict(value) if isinstance(value, Share | Ranking) else value for name, value in rest.items()}
        shown = {"without": asdict(self.without), "at": asdict(self.at), "points": [asdict(p) for p in self.points]}
        return plain | shown | {"db": str(self.db), "flagged": list(self.flagged)}


@dataclass(frozen=True)
class Where:
    """The number of queries of a screening, and the ledger and run that store them."""

    queries: int
    db: Path
    run: int


def result_of(
    flagged: tuple[int, ...], clean: Judged, triggered: Judged | None, threshold: float, kept: Where
) -> MitigationResult:
    """Evaluate `threshold` and THRESHOLDS on the images."""
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
    """The effect of rejecting scores below `threshold` on these images."""
    accuracy, rejected = _kept_and_rejected(threshold, clean)
    if triggered is None:
        return Point(threshold, accuracy, rejected, None, None)
    success, triggered_rejected = _kept_and_rejected(threshold, triggered)
    return Point(threshold, accuracy, rejected, triggered_rejected, success)


def _kept_and_rejected(threshold: float, judged: Judged) -> tuple[Share, Share]:
    """The share of images that are kept and answered with their label, and the share that is rejected."""
    rejected = judged.scores < threshold
    return _share(judged.hits & ~rejected), _share(rejected)


def _share(holds: NDArray[np.bool_]) -> Share:
    return share(int(np.count_nonzero(holds)), len(holds))
