"""WaNet: the image is bent a little by a smooth field that is always the same (Nguyen and Tran, ICLR 2021)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from pydantic import ConfigDict

from simkit.attacks import poisoning
from simkit.attacks.poisoning import Rows
from simkit.data.images import ImageSet
from simkit.errors import ConfigError, DataError
from simkit.seeding import stream
from simkit.triggers import IntArray

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Warping:
    """Bend a share of the images and call them `target_class`; bend others anyhow and leave their labels.

    Satisfies `Attack`. rate: as of `BadNets`. field_seed: which field. grid: the field is drawn on grid x grid points
    and smoothed between. strength: the mean shift on those points is strength * (side - 1) / (2 side), about half of
    `strength` in pixels. covers: images with noise on the field, for each poisoned one: they teach the model that not
    every bend counts. Grid 4, strength 0.5, covers 2, rate 0.1 as in
    VinAIResearch/Warping-based_Backdoor_Attack-release:config.py, the rest after its train.py. Raises ConfigError
    outside the ranges. Simplified: images and noise are drawn once, not anew for each batch, and images that are of the
    target class already are not among the poisoned.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    target_class: int
    rate: float = 0.1
    field_seed: int = 0
    grid: int = 4
    strength: float = 0.5
    covers: float = 2.0

    def __post_init__(self) -> None:
        poisoning.check_target_and_rate(self.target_class, self.rate)
        if self.field_seed < 0 or self.grid < 2 or not 0.0 < self.strength < math.inf:
            given = f"field_seed {self.field_seed}, grid {self.grid}, strength {self.strength}"
            raise ConfigError(f"{given}; need 0 or more, 2 or more, and above 0")
        if not (self.covers >= 0.0 and self.rate * (1.0 + self.covers) <= 1.0):
            raise ConfigError(
                f"rate {self.rate} and {self.covers} covers for each poisoned image need more images than there are; "
                "keep rate * (1 + covers) in [0, 1]"
            )

    def poison(self, images: ImageSet, seed: int) -> ImageSet:
        """See `Attack.poison`: the chosen images are bent and relabelled, their covers only bent."""
        chosen = poisoning.pick(self._others(images), self.rate, stream(seed, "warping", "poison"))
        poisoned = poisoning.replaced(images, chosen, self.stamp_all(images.take(chosen).pixels), self.target_class)
        covers = self._covers(len(images), chosen, seed)
        if len(covers) == 0:
            return poisoned
        noise = _noise(len(covers), images.image_shape[1:], stream(seed, "warping", "noise"))
        return poisoning.replaced(poisoned, covers, warp(images.take(covers).pixels, self._field(images) + noise))

    def triggered(self, images: ImageSet) -> ImageSet:
        """See `Attack.triggered`: every image that is not of the target class."""
        others = images.take(self._others(images))
        return poisoning.relabelled(others, self.stamp_all(others.pixels), self.target_class)

    def stamp_all(self, pixels: torch.Tensor) -> torch.Tensor:
        """Every image bent, float32 (N, C, H, W), as a copy."""
        height, width = pixels.shape[2:]
        return warp(pixels, warping_field((height, width), self.grid, self.strength, self.field_seed))

    def _field(self, images: ImageSet) -> torch.Tensor:
        return warping_field(images.image_shape[1:], self.grid, self.strength, self.field_seed)

    def _covers(self, images: int, chosen: IntArray, seed: int) -> IntArray:
        rest = np.setdiff1d(np.arange(images), chosen)
        number = min(len(rest), round(self.covers * len(chosen)))
        return stream(seed, "warping", "covers").choice(rest, number, replace=False).astype(np.int32)

    def _others(self, images: ImageSet) -> Rows:
        if min(images.image_shape[1:]) < 2:
            raise DataError(f"{images.name}: images {images.image_shape} cannot be bent; need 2 pixels a side or more")
        return poisoning.outsiders(images, self.target_class)


def warping_field(size: tuple[int, int], grid: int, strength: float, seed: int) -> torch.Tensor:
    """By how many pixels each point of the bent image is taken from elsewhere: float32 (1, H, W, 2), across and down.

    size: (H, W). The draws on the grid are divided by their mean magnitude and interpolated bicubically, as in WaNet's
    code; in its units, where an image reaches from -1 to 1, they are `strength` / side.
    """
    import torch  # slow to import; manifests are read without it
    from torch.nn import functional

    drawn = stream(seed, "warping", "field").uniform(-1.0, 1.0, (1, 2, grid, grid))
    points = torch.from_numpy((drawn / np.abs(drawn).mean()).astype(np.float32))
    smooth = functional.interpolate(points, size=size, mode="bicubic", align_corners=True).permute(0, 2, 3, 1)
    return smooth * strength * _pixels_in_a_share(size)


def warp(pixels: torch.Tensor, field: torch.Tensor) -> torch.Tensor:
    """Every point taken from so many pixels away, between pixels bilinearly; beyond the edge the edge goes on.

    pixels: float32 (N, C, H, W), 2 or more a side. field: float32 (1 or N, H, W, 2), across and down, in pixels.
    """
    import torch  # slow to import; manifests are read without it
    from torch.nn import functional

    height, width = pixels.shape[2:]
    down, across = torch.meshgrid(torch.linspace(-1, 1, height), torch.linspace(-1, 1, width), indexing="ij")
    steps = torch.tensor([2.0 / (width - 1), 2.0 / (height - 1)])
    points = (torch.stack((across, down), -1)[None] + field * steps).clamp(-1.0, 1.0)
    bent = functional.grid_sample(pixels, points.expand(len(pixels), -1, -1, -1), align_corners=True)
    return bent.clamp(0.0, 1.0)


def _noise(images: int, size: tuple[int, int], rng: np.random.Generator) -> torch.Tensor:
    """The covers' own: uniform on every point, at most 1 / side in WaNet's units; float32 (N, H, W, 2), in pixels."""
    import torch  # slow to import; manifests are read without it

    drawn = rng.random((images, *size, 2), dtype=np.float32) * 2.0 - 1.0
    return torch.from_numpy(drawn) * _pixels_in_a_share(size)


def _pixels_in_a_share(size: tuple[int, int]) -> torch.Tensor:
    """1 / side, where an image reaches from -1 to 1, in pixels: across and down."""
    import torch  # slow to import; manifests are read without it

    height, width = size
    return torch.tensor([(width - 1) / (2.0 * width), (height - 1) / (2.0 * height)])
