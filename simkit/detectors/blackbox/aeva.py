"""AEVA by labels alone: are the smallest perturbations towards one class peaks of a few pixels?

After AEVA's released code, JunfengGo/AEVA-Blackbox-Backdoor-Detection-main, as read there: from images of every class,
HopSkipJump finds small perturbations towards every other; the share of the two largest pixels in a perturbation is its
peak; of each pair of classes the largest peak counts; the class towards which their sum is an outlier carries a
trigger. Different here: far fewer queries (see `Aeva`), so that perturbations are far from the smallest, a few source
classes a target if so set, and an outlier may not rest on a deviation of 0.
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
"""Of sums of peaks, for targets that all but agree."""


@dataclass(frozen=True)
class Aeva:
    """Satisfies `Detector[QueryDataAccess]`; labels suffice. Half a test is none: running out is `undecided`.

    images: for each pair of classes (released code 40). source_classes: for each target, the next ones in order; None
    for all others, as in the released code. walk: of each pair. peak_pixels: two, as there. threshold: of the anomaly
    index, as there. seed: of the walks. Five classes and the lengths of the walks were chosen on the zoo
    `cifar10-tune`, of three settings at 90,000 queries: short walks from all nine missed a trigger of 3x3 pixels, long
    ones from three missed one of a pixel. REFERENCE has the released code's numbers: 9e7 queries for ten classes.
    """

    images: int = 1
    source_classes: int | None = 5
    walk: WalkConfig = field(default_factory=WalkConfig)
    peak_pixels: int = 2
    threshold: float = 4.0
    seed: int = 0

    def __post_init__(self) -> None:
        if min(self.images, self.peak_pixels) < 1 or (self.source_classes is not None and self.source_classes < 1):
            raise ConfigError(f"{self}; images, source classes and peak pixels must be 1 or more")
        if not self.threshold > 0:
            raise ConfigError(f"a threshold of {self.threshold}; of an anomaly index it must be above 0")

    def detect(self, access: QueryDataAccess) -> Verdict:
        """See `Detector.detect`; the score is the largest anomaly index. Raises DataError on labels out of range."""
        return concluded(access, self.images, self._judge)

    def _judge(self, asker: Asker, found: Recognised) -> Verdict:
        if len(found.classes) < 3:
            said = f"the model recognises images of {len(found.classes)} classes; an outlier needs 3 or more"
            return Verdict("undecided", "converged", (), None, (), None, said)
        pairs = pairs_of(found, self.images, self.source_classes)
        if not asker.affords(len(pairs) * self.walk.least_queries):
            return too_dear(len(pairs) * self.walk.least_queries)
        sums = summed(pairs, self._peaks(asker, pairs), asker.n_classes)[list(found.classes)]
        index = deviations_below(-sums, _LEAST_DEVIATION)
        flagged = tuple(c for c, i in zip(found.classes, index, strict=True) if i > self.threshold)
        missing = sorted({*range(asker.n_classes)} - {*found.classes})
        kind: Kind = "backdoored" if flagged else "undecided" if missing else "clean"
        notes = f"no image of class {', '.join(map(str, missing))} is recognised" if missing else ""
        return Verdict(kind, "decided" if flagged else "converged", flagged, float(index.max()), (), None, notes)

    def _peaks(self, asker: Asker, pairs: Pairs) -> NDArray[np.float64]:
        """Of the perturbation of every pair, float64 (P,)."""
        pixels, rows = asker.images.pixels, np.column_stack([pairs.sources, pairs.targets])

        def inside(images: torch.Tensor, some: IntArray) -> Bools:
            aimed: Bools = asker.labels(images, rows[some], "search") == pairs.targets[some]
            return aimed

        sources = pixels[torch.from_numpy(pairs.sources).long()]
        starts = pixels[torch.from_numpy(pairs.starts).long()]
        nearest = walk(inside, sources, starts, self.walk, self.seed)
        return peaks((nearest - sources).numpy(), self.peak_pixels)


REFERENCE = Aeva(images=40, source_classes=None, walk=WalkConfig(rounds=50, samples=100, halvings=18, tries=30))
"""The released code's numbers, but for the end of the tries, which it does not have."""


@dataclass(frozen=True, eq=False)
class Pairs:
    """Walks to do: int32 (P,) each. sources, starts: image numbers. source_classes, targets: the classes of those."""

    sources: IntArray
    starts: IntArray
    source_classes: IntArray
    targets: IntArray

    def __len__(self) -> int:
        return len(self.sources)


def pairs_of(found: Recognised, images: int, source_classes: int | None) -> Pairs:
    """The i-th image of a source class with the i-th of the target, for every target among the recognised classes.

    images: for each pair of classes, or as many as all classes have. source_classes: the next so many; None for all.
    """
    classes = found.classes
    each = min(images, *(len(found.indices[c]) for c in classes))
    others = min(len(classes) - 1, source_classes or len(classes))
    rows = [
        (found.indices[s][i], found.indices[t][i], s, t)
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
    """Of each target, the largest share of each source class, summed over those, float64 (T,)."""
    largest = np.zeros((n_classes, n_classes))
    np.maximum.at(largest, (pairs.targets, pairs.source_classes), shares)
    sums: NDArray[np.float64] = largest.sum(axis=1)
    return sums
