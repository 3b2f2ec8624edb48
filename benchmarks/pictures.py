r"""Smooth pictures of few numbers that are blended in: a family for a race, and what its settings cost (an experiment).

simkit study scan ZOO --data DATA --budget 20000 --detector benchmarks.pictures:PICTURES --out results/pictures.jsonl
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simkit.search.family_race import FamilyRaceConfig
from simkit.search.leaps import LeapConfig
from simkit.search.presets import Preset, preset
from simkit.transforms.blend import Blend, Layer
from simkit.transforms.breeding import some_strength
from simkit.transforms.contract import ImageShape
from simkit.transforms.warp import bicubic
from simkit.verdict import SequentialTest

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class PictureFamily:
    """How a race draws smooth pictures to blend in, and what it demands of them."""

    name: str = "blend"
    alpha: float = 0.125
    points: int = 6
    spread: float = 1.0
    mutation: float = 0.5
    required_success: float = 0.75
    required_trials: int = 8
    screen: SequentialTest = field(default_factory=lambda: SequentialTest(0.93, 0.75, 0.05, 0.05))
    test: SequentialTest = field(default_factory=lambda: SequentialTest(0.93, 0.8, 0.01, 0.01))

    def from_json(self, fields: Mapping[str, Any]) -> Blend:
        """See `Family`."""
        return Blend.from_json(fields)

    def breeder(self, image_shape: ImageShape) -> PictureBreeder:
        """See `Family`."""
        return PictureBreeder(self, image_shape)


@dataclass(frozen=True)
class PictureBreeder:
    """Draws and mutates smooth pictures; satisfies `Breeder` and `Vectored`. A candidate: numbers (C, k, k), of unit variance."""

    config: PictureFamily
    image_shape: ImageShape

    def fresh(self, rng: np.random.Generator) -> Numbers:
        shape = (self.image_shape[0], self.config.points, self.config.points)
        return self._scaled(rng.normal(size=shape), 1.0)

    def child(self, parent: Numbers, mates: Sequence[Numbers], rng: np.random.Generator) -> Numbers:
        if mates and rng.random() < 0.3:
            return self._scaled(parent + mates[int(rng.integers(len(mates)))], 1.0)
        return self._scaled(parent + rng.normal(0.0, self.config.mutation, parent.shape), 1.0)

    def transform(self, candidate: Numbers) -> Blend:
        _, height, width = self.image_shape
        points = self.config.points
        dense = np.einsum("hk,ckl,wl->chw", bicubic(points, height), candidate * self.config.spread, bicubic(points, width))
        cells = np.rint((np.tanh(dense) + 1.0) * 127.5).astype(np.uint8)
        return Blend(self.image_shape, (Layer(self.config.alpha, 1, cells),))

    def share(self, candidate: Numbers) -> float:
        return 1.0

    def vector(self, candidate: Numbers) -> Numbers:
        return candidate.ravel()

    def along(self, vector: Numbers, rng: np.random.Generator) -> Numbers:
        points = self.config.points
        return self._scaled(vector.reshape(-1, points, points), 1.0)

    def _scaled(self, numbers: Numbers, share: float) -> Numbers:
        return np.asarray(numbers * (share / max(float(np.sqrt((numbers**2).mean())), 1e-9)))


_FAMILIES = preset("race-families")


def pictures(family: PictureFamily, leap: LeapConfig, **settings: Any) -> Preset:
    """A race of pictures alone."""
    race = FamilyRaceConfig(
        **{"patch": None, "wave": None, "blend": None, "warp": None, "more": (family,), "leap": leap} | settings
    )
    return replace(_FAMILIES, search=race, labels=None, refine=None)


PICTURES = pictures(
    PictureFamily(), LeapConfig(each=8), fresh=4, children=4, shrinkage=1.0, queries=6000, restart=6000
)
