"""A noise test (CBD-like): does one class receive most noisy copies of images, whatever their own class?

This follows the statistic of CBD's released code, zhenxianglance/CBD, get_stats.py: one recognised image per class,
1024 noisy copies of each, the shares of the classes among their labels, averaged over the images; the largest share is
the statistic. Differences: the threshold is a fixed number, since there are no benign shadow models to calibrate it, so
no error rate is guaranteed; noisy copies are clipped to [0, 1], as an oracle requires, and the noise is weaker; the
first recognised images are used instead of random ones; the flagged class, which that code does not name, is the one
with the largest share. Nothing is certified.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from simkit.detectors.access import QueryDataAccess
from simkit.detectors.blackbox.asking import Asker, Recognised, concluded, too_dear
from simkit.errors import ConfigError
from simkit.seeding import stream
from simkit.triggers import FloatArray, IntArray
from simkit.verdict import Verdict

_BATCH = 256
"""Number of noisy copies per call."""


@dataclass(frozen=True)
class LabelNoise:
    """Satisfies `Detector[QueryDataAccess]` with label-only answers. An incomplete test gives `undecided`.

    A model that recognises images of only one class is `undecided` as well.
    """

    sigma: float = 0.5  # ours, from {0.06 .. 2} on the zoo `cifar10-tune`, where no value separated its victims
    """Standard deviation of the noise before clipping (released code: 1.14 to 2, unclipped)."""
    copies: int = 1024
    """Noisy copies per image, as in the released code."""
    images_per_class: int = 1
    """Recognised images per class, as in the released code."""
    threshold: float = 0.8  # the two clean victims of `cifar10-tune`, of one architecture, reach 0.75
    """Threshold of the statistic, in (0, 1); fit it on clean models like yours."""
    seed: int = 0
    """Seed of the noise."""

    def __post_init__(self) -> None:
        if not self.sigma > 0 or min(self.copies, self.images_per_class) < 1 or not 0 < self.threshold < 1:
            raise ConfigError(f"{self}; need sigma > 0, copies and images of 1 or more, and a threshold in (0, 1)")

    def detect(self, access: QueryDataAccess) -> Verdict:
        """See `Detector.detect`; the score is the statistic. Raises DataError on labels out of range."""
        return concluded(access, self.images_per_class, self._judge)

    def _judge(self, asker: Asker, recognition: Recognised) -> Verdict:
        if len(recognition.classes) < 2:  # the largest share would be that of the images' own class
            reason = "the model recognises images of only one class; the test needs images of 2 classes or more"
            return Verdict("undecided", "converged", (), None, (), None, reason)
        images = np.concatenate([indices[: self.images_per_class] for indices in recognition.indices])
        if not asker.affords(len(images) * self.copies):
            return too_dear(len(images) * self.copies)
        shares = mean_shares(np.stack([self._labels(asker, int(image)) for image in images]), asker.n_classes)
        score, target = float(shares.max()), int(shares.argmax())
        missing = sorted({*range(asker.n_classes)} - {*recognition.classes})
        notes = f"no image of class {', '.join(map(str, missing))} is recognised" if missing else ""
        if score > self.threshold:
            return Verdict("backdoored", "decided", (target,), score, (), None, notes)
        return Verdict("clean", "converged", (), score, (), None, notes)

    def _labels(self, asker: Asker, image: int) -> IntArray:
        """The labels of all noisy copies of one image, int32 (copies,)."""
        parts = []
        for first in range(0, self.copies, _BATCH):
            numbers = np.arange(first, min(first + _BATCH, self.copies), dtype=np.int32)
            noise = stream(self.seed, "label-noise", image, first).standard_normal(
                (len(numbers), *asker.images.image_shape), np.float32
            )
            rows = np.column_stack([np.full_like(numbers, image), numbers])
            copies = noisy(asker.images.pixels[image], np.float32(self.sigma) * noise)
            parts.append(asker.labels(copies, rows, "search"))
        return np.concatenate(parts)


def noisy(image: torch.Tensor, noise: FloatArray) -> torch.Tensor:
    """The image (C, H, W) with each noise (N, C, H, W) added, clipped to [0, 1]."""
    return (image + torch.from_numpy(noise)).clip(0.0, 1.0)


def mean_shares(labels: IntArray, n_classes: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """The share of each class among the labels of an image's copies, averaged over the images, float64 (T,).

    labels: int32 (images, copies), -1 where the service named no class, which counts for none.
    """
    counts = np.stack([np.bincount(row[row >= 0], minlength=n_classes) for row in labels])
    shares: np.ndarray[tuple[int], np.dtype[np.float64]] = counts.mean(axis=0) / labels.shape[1]
    return shares
