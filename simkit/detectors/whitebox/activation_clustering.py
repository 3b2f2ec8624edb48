"""Activation clustering (Chen et al., 2018, arXiv 1811.03728): poisoned training images as a cluster of their class.

We have read implementations, not the paper: Trusted-AI/adversarial-robustness-toolbox, activation_defence.py and
clustering_analyzer.py (`analyze_by_silhouette_score`), and TrojanZoo's
training_filtering/activation_clustering.py, which has the same thresholds. The activations of the last hidden layer of
all training images with one label are reduced to ten principal components and split by 2-means. The smaller cluster is
suspected if it holds less than 35 % of the class's images and the silhouette score is above 0.1. Both implementations
also cluster independent components; BackdoorBench (detection_pretrain/ac.py) does so without the silhouette score.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from simkit.data import ImageSet
from simkit.detectors.access import TrainingDataAccess, check_access
from simkit.detectors.whitebox.hidden import Hidden, hidden
from simkit.detectors.whitebox.inspection import schedule_name
from simkit.errors import ConfigError, DataError
from simkit.search.evaluator import NotFinite
from simkit.search.recognition import at_chance
from simkit.triggers import FloatArray, IntArray
from simkit.verdict import Verdict, is_chance

LEAST = 20
"""Fewest training images of a class that are clustered (ours)."""

_SILHOUETTES = 3000
"""Most images of a class on which the silhouette score is computed, whose cost is quadratic (ours)."""


@dataclass(frozen=True)
class ClusteredClass:
    """One class of the training images.

    images: how many have this label. share: the share of them in the smaller cluster, in [0, 0.5]. silhouette: of both
    clusters, in [-1, 1]; large where they lie apart. suspicious: whether the smaller cluster is suspected.
    """

    label: int
    images: int
    share: float
    silhouette: float
    suspicious: bool


@dataclass(frozen=True, eq=False)
class Clustering:
    """A verdict on a model and its training images.

    suspected: bool (N,), the images in suspicious clusters. classes: one per class. forward_passes: number of images.
    """

    verdict: Verdict
    suspected: NDArray[np.bool_]
    classes: tuple[ClusteredClass, ...]
    forward_passes: int


@dataclass(frozen=True)
class ActivationClustering:
    """Satisfies `Detector[TrainingDataAccess]`. Raises ConfigError outside the ranges."""

    components: int = 10
    """Principal components that are clustered, 1 or more."""
    largest_share: float = 0.35
    """The smaller cluster of a class is suspected only below this share of its images; in (0, 1]."""
    silhouette: float = 0.1
    """And only if the silhouette score is above this; in [-1, 1]."""
    seed: int = 0
    """Seed of the clustering."""

    def __post_init__(self) -> None:
        if self.components < 1 or not (0.0 < self.largest_share <= 1.0 and -1.0 <= self.silhouette <= 1.0):
            raise ConfigError("components must be 1 or more, largest_share in (0, 1], silhouette in [-1, 1]")

    @property
    def schedule(self) -> str:
        """`reference`, `tuned`, or `custom` for any other settings."""
        return schedule_name(self, PRESETS)

    def detect(self, access: TrainingDataAccess) -> Verdict:
        """The verdict alone; see `inspect`."""
        return self.inspect(access).verdict

    def inspect(self, access: TrainingDataAccess) -> Clustering:
        """The verdict, the suspected images and what was found in each class.

        `invalid` on NaN, or if the model does not recognise its training images. Raises ConfigError for any other
        access, ModelError, and DataError as `judged`.
        """
        check_access(access, TrainingDataAccess)
        images = access.training.images
        try:
            seen = hidden(access.model, images.pixels)
        except NotFinite as error:
            return Clustering(_invalid(str(error)), np.zeros(len(images), dtype=np.bool_), (), 0)
        return self.judged(seen, images)

    def judged(self, seen: Hidden, images: ImageSet) -> Clustering:
        """The same from the hidden layer on the training images.

        The score is the largest silhouette score of a class whose smaller cluster is small enough, and -1 without one.
        Raises DataError for a class with too few images or that the model does not have.
        """
        if images.labels.max() >= seen.n_classes:
            raise DataError(f"{images.name}: label {images.labels.max()}, but the model has {seen.n_classes} classes")
        correct = int((seen.answers == images.labels).sum())
        if is_chance(correct, len(images), seen.n_classes):
            nothing = np.zeros(len(images), dtype=np.bool_)
            return Clustering(_invalid(at_chance(images.labels, seen.answers)), nothing, (), len(images))
        classes, suspected = self._clustered(seen.activations, images.labels, images.name)
        return Clustering(self._verdict(classes, suspected), suspected, classes, len(images))

    def _clustered(
        self, activations: FloatArray, labels: IntArray, name: str
    ) -> tuple[tuple[ClusteredClass, ...], NDArray[np.bool_]]:
        suspected, classes = np.zeros(len(labels), dtype=np.bool_), []
        for label in np.unique(labels):
            rows = np.flatnonzero(labels == label)
            if len(rows) < LEAST:
                raise DataError(f"{name}: {len(rows)} training images of class {label}; give {LEAST} or more per class")
            smaller, silhouette = split_in_two(activations[rows], self.components, self.seed)
            share = float(smaller.mean())
            suspicious = share < self.largest_share and silhouette > self.silhouette
            classes.append(ClusteredClass(int(label), len(rows), share, silhouette, suspicious))
            suspected[rows] = smaller & suspicious
        return tuple(classes), suspected

    def _verdict(self, classes: tuple[ClusteredClass, ...], suspected: NDArray[np.bool_]) -> Verdict:
        flagged = tuple(c.label for c in classes if c.suspicious)
        score = max((c.silhouette for c in classes if c.share < self.largest_share), default=-1.0)
        count = f"{int(suspected.sum()):,} of {len(suspected):,} training images are suspected"
        notes = f"schedule {self.schedule}: {count}; {len(suspected):,} images forward"
        if flagged:
            return Verdict("backdoored", "decided", flagged, score, (), None, notes)
        return Verdict("clean", "converged", (), score, (), None, notes)


def split_in_two(activations: FloatArray, components: int, seed: int) -> tuple[NDArray[np.bool_], float]:
    """Which of N images are in the smaller cluster, bool (N,), and the silhouette score of both, in [-1, 1].

    activations: float32 (N, D). Nothing is in the smaller cluster, and the score is -1, where all rows are equal.
    """
    # slow to import, and needed here only
    from sklearn.cluster import KMeans  # type: ignore[import-untyped]
    from sklearn.decomposition import PCA  # type: ignore[import-untyped]
    from sklearn.metrics import silhouette_score  # type: ignore[import-untyped]

    if not np.ptp(activations, axis=0).any():
        return np.zeros(len(activations), dtype=np.bool_), -1.0
    fewer = min(components, *activations.shape)
    reduced = activations if activations.shape[1] <= fewer else PCA(fewer, random_state=seed).fit_transform(activations)
    cluster = KMeans(2, n_init=10, random_state=seed).fit_predict(reduced)
    smaller: NDArray[np.bool_] = cluster == int(np.bincount(cluster, minlength=2).argmin())
    rows = np.random.RandomState(seed).permutation(len(reduced))[:_SILHOUETTES]  # as scikit-learn would sample
    if smaller[rows].all() or not smaller[rows].any():  # of a cluster of few images the sample may hold none
        rows = np.append(rows, np.flatnonzero(smaller != smaller[rows[0]])[0])
    return smaller, float(silhouette_score(reduced[rows], cluster[rows]))


def _invalid(why: str) -> Verdict:
    return Verdict("invalid", "decided", (), None, (), None, why)


PRESETS: Mapping[str, ActivationClustering] = MappingProxyType(
    {"reference": ActivationClustering(), "tuned": ActivationClustering(largest_share=1.0, silhouette=0.3)}
)
"""The detector's named settings. `tuned` is ours: where a tenth of all images is poisoned, the poison is almost half of
its class and no small cluster, so that only the silhouette score counts. On seven victims of the zoo `cifar10-tune` it
was 0.47 or more in the target class, and 0.21 or less in any other."""
