"""Label-only AEVA: are the smallest adversarial perturbations towards one class peaks of a few pixels?

This follows AEVA's released code, JunfengGo/AEVA-Blackbox-Backdoor-Detection-main: from images of every class,
HopSkipJump finds small perturbations towards every other class; the peak of a perturbation is the share of its two
largest pixels; the largest peak counts for each pair of classes; a class is flagged if the sum of its peaks as a target
is an outlier. Differences: far fewer queries (see `Aeva`), so that perturbations are far from the smallest, optionally
only some source classes per target, and a lower bound on the deviation.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from simkit.detectors.access import QueryDataAccess
from simkit.detectors.blackbox.asking import Asker, Recognised, concluded, too_dear
from simkit.detectors.blackbox.boundary import Bools, WalkConfig, walk
from simkit.errors import ConfigError
from simkit.triggers import IntArray
from simkit.verdict import Kind, Verdict, deviations_below

_LEAST_DEVIATION = 1e-6
"""Lower bound on the deviation of the sums of peaks, for targets that almost agree."""


@dataclass(frozen=True)
class Aeva:
    """Satisfies `Detector[QueryDataAccess]` with label-only answers. An incomplete test gives `undecided`.

    Five source classes and the lengths of the walks were chosen among three settings on the zoo `cifar10-tune` with
    90,000 queries: short walks from all nine classes missed a trigger of 3x3 pixels, long ones from three classes
    missed one of a single pixel. REFERENCE has the numbers of the released code: 9e7 queries for ten classes.
    """

    images: int = 1
    """Images per pair of classes (released code: 40)."""
    source_classes: int | None = 5
    """Source classes per target, the next ones in order; None for all others, as in the released code."""
    walk: WalkConfig = field(default_factory=WalkConfig)
    """The walk of each pair of images."""
    peak_pixels: int = 2
    """Pixels of a peak, as in the released code."""
    threshold: float = 4.0
    """Threshold of the anomaly index, as in the released code."""
    seed: int = 0
    """Seed of the walks."""

    def __post_init__(self) -> None:
        if min(self.images, self.peak_pixels) < 1 or (self.source_classes is not None and self.source_classes < 1):
            raise ConfigError(f"{self}; images, source classes and peak pixels must be 1 or more")
        if not self.threshold > 0:
            raise ConfigError(f"a threshold of {self.threshold}; a threshold of an anomaly index must be above 0")

    def detect(self, access: QueryDataAccess) -> Verdict:
        """See `Detector.detect`; the score is the largest anomaly index. Raises DataError on labels out of range."""
        return concluded(access, self.images, self._judge)

    def _judge(self, asker: Asker, recognition: Recognised) -> Verdict:
        if len(recognition.classes) < 3:
            reason = f"the model recognises images of {len(recognition.classes)} classes; an outlier needs 3 or more"
            return Verdict("undecided", "converged", (), None, (), None, reason)
        if self.peak_pixels >= (pixels := asker.images.image_shape[1] * asker.images.image_shape[2]):
            reason = f"{self.peak_pixels} peak pixels of {pixels} are all of every perturbation; lower peak_pixels"
            return Verdict("undecided", "converged", (), None, (), None, reason)
        pairs = pairs_of(recognition, self.images, self.source_classes)
        if not asker.affords(len(pairs) * self.walk.least_queries):
            return too_dear(len(pairs) * self.walk.least_queries)
        sums = summed(pairs, self._peaks(asker, pairs), asker.n_classes)[list(recognition.classes)]
        index = deviations_below(-sums, _LEAST_DEVIATION)
        flagged = tuple(c for c, i in zip(recognition.classes, index, strict=True) if i > self.threshold)
        missing = sorted({*range(asker.n_classes)} - {*recognition.classes})
        kind: Kind = "backdoored" if flagged else "undecided" if missing else "clean"
        notes = f"no image of class {', '.join(map(str, missing))} is recognised" if missing else ""
        return Verdict(kind, "decided" if flagged else "converged", flagged, float(index.max()), (), None, notes)

    def _peaks(self, asker: Asker, pairs: Pairs) -> NDArray[np.float64]:
        """The peak of every pair's perturbation, float64 (P,)."""
        pixels, rows = asker.images.pixels, np.column_stack([pairs.sources, pairs.targets])

        def inside(images: torch.Tensor, some: IntArray) -> Bools:
            aimed: Bools = asker.labels(images, rows[some], "search") == pairs.targets[some]
            return aimed

        sources = pixels[torch.from_numpy(pairs.sources).long()]
        starts = pixels[torch.from_numpy(pairs.starts).long()]
        nearest = walk(inside, sources, starts, self.walk, self.seed)
        return peaks((nearest - sources).numpy(), self.peak_pixels)


REFERENCE = Aeva(images=40, source_classes=None, walk=WalkConfig(rounds=50, samples=100, halvings=18, tries=30))
"""The numbers of the released code, except `tries`, which it does not limit."""


@dataclass(frozen=True, eq=False)
class Pairs:
    """The pairs to walk, int32 (P,) each. sources, starts: image numbers. source_classes, targets: their classes."""

    sources: IntArray
    starts: IntArray
    source_classes: IntArray
    targets: IntArray

    def __len__(self) -> int:
        return len(self.sources)


def pairs_of(recognition: Recognised, images: int, source_classes: int | None) -> Pairs:
    """The i-th image of a source class paired with the i-th of the target, for every recognised target class.

    images: pairs of images per pair of classes, at most as many as every class has. source_classes: number of source
    classes per target; None for all.
    """
    classes = recognition.classes
    each = min(images, *(len(recognition.indices[c]) for c in classes))
    others = min(len(classes) - 1, source_classes or len(classes))
    rows = [
        (recognition.indices[s][i], recognition.indices[t][i], s, t)
        for place, t in enumerate(classes)
        for s in (classes[(place + 1 + other) % len(classes)] for other in range(others))
        for i in range(each)
    ]
    return Pairs(*np.array(rows, np.int32).T.copy())


def peaks(perturbations: NDArray[np.float32], pixels: int) -> NDArray[np.float64]:
    """The share of the `pixels` largest pixels in each perturbation (P, C, H, W), summed over channels, in [0, 1]."""
    size = np.abs(perturbations).astype(np.float64).sum(axis=1).reshape(len(perturbations), -1)
    whole = size.sum(axis=1)
    largest = np.sort(size, axis=1)[:, -pixels:].sum(axis=1)
    share: NDArray[np.float64] = np.divide(largest, whole, out=np.zeros_like(whole), where=whole > 0)
    return share


def summed(pairs: Pairs, shares: NDArray[np.float64], n_classes: int) -> NDArray[np.float64]:
    """For each target, the largest share of each source class, summed over source classes, float64 (T,)."""
    largest = np.zeros((n_classes, n_classes))
    np.maximum.at(largest, (pairs.targets, pairs.source_classes), shares)
    sums: NDArray[np.float64] = largest.sum(axis=1)
    return sums
