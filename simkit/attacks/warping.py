"""WaNet: the image is warped slightly by a smooth field that is always the same (Nguyen and Tran, ICLR 2021)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict

from simkit.attacks import poisoning
from simkit.attacks.poisoning import Rows
from simkit.data.images import ImageSet
from simkit.errors import ConfigError, DataError
from simkit.seeding import stream
from simkit.transforms.contract import ImageShape
from simkit.transforms.warp import Warp
from simkit.triggers import IntArray

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Warping:
    """Warps a share of the images and relabels them; warps others with a noisy field, which keep their labels.

    Satisfies `Attack`. Raises ConfigError outside the ranges. Grid 4, strength 0.5, covers 2 and rate 0.1 are those of
    VinAIResearch/Warping-based_Backdoor_Attack-release:config.py, the rest follows its train.py. Simplified: images and
    noise are drawn once and not for each batch, and images of the target class are not poisoned.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    target_class: int
    """The class to which triggered images are assigned."""
    rate: float = 0.1
    """Poisoning rate, as in `BadNets`."""
    field_seed: int = 0
    """Seed of the warping field."""
    grid: int = 4
    """Points per side on which the field is drawn; it is interpolated in between."""
    strength: float = 0.5
    """The mean shift on these points is strength * (side - 1) / (2 side): about half of `strength`, in pixels."""
    covers: float = 2.0
    """Cover images (warped with a noisy field, not relabelled) per poisoned image."""

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
        """See `Attack.poison`: the chosen images are warped and relabelled, the cover images only warped."""
        chosen = poisoning.pick(self._others(images), self.rate, stream(seed, "warping", "poison"))
        poisoned = poisoning.replaced(images, chosen, self.stamp_all(images.take(chosen).pixels), self.target_class)
        covers = self._covers(len(images), chosen, seed)
        if len(covers) == 0:
            return poisoned
        noise = _noise(len(covers), images.image_shape[1:], stream(seed, "warping", "noise"))
        return poisoning.replaced(poisoned, covers, warp(images.take(covers).pixels, self._field(images) + noise))

    def triggered(self, images: ImageSet) -> ImageSet:
        """See `Attack.triggered`: every image that is not of the target class."""
        return poisoning.all_stamped(images, self._others(images), self)

    def stamp_all(self, pixels: torch.Tensor) -> torch.Tensor:
        """Every image warped, float32 (N, C, H, W), as a copy."""
        height, width = pixels.shape[2:]
        return warp(pixels, warping_field((height, width), self.grid, self.strength, self.field_seed))

    def as_warp(self, image_shape: ImageShape) -> Warp:
        """The warp as a trigger for images of this shape, (C, H, W), of 2 or more pixels per side."""
        _, height, width = image_shape
        of_pixels = np.array([(width - 1) / (2 * width), (height - 1) / (2 * height)])
        drawn = _points(self.grid, self.field_seed)[0].transpose(1, 2, 0).astype(np.float64)
        return Warp(image_shape, drawn * self.strength * of_pixels)

    def _field(self, images: ImageSet) -> torch.Tensor:
        return warping_field(images.image_shape[1:], self.grid, self.strength, self.field_seed)

    def _covers(self, images: int, chosen: IntArray, seed: int) -> IntArray:
        rest = np.setdiff1d(np.arange(images), chosen)
        number = min(len(rest), round(self.covers * len(chosen)))
        return stream(seed, "warping", "covers").choice(rest, number, replace=False).astype(np.int32)

    def _others(self, images: ImageSet) -> Rows:
        if min(images.image_shape[1:]) < 2:
            raise DataError(
                f"{images.name}: images {images.image_shape} cannot be warped; need 2 pixels per side or more"
            )
        return poisoning.outsiders(images, self.target_class)


def warping_field(size: tuple[int, int], grid: int, strength: float, seed: int) -> torch.Tensor:
    """The displacement of every pixel of the warped image: float32 (1, H, W, 2), across and down, in pixels.

    size: (H, W). The draws on the grid are divided by their mean magnitude and interpolated bicubically, as in WaNet's
    code; in its units, where an image spans -1 to 1, they are `strength` / side.
    """
    import torch  # slow to import; manifests are read without it
    from torch.nn import functional

    points = torch.from_numpy(_points(grid, seed))
    smooth = functional.interpolate(points, size=size, mode="bicubic", align_corners=True).permute(0, 2, 3, 1)
    return smooth * strength * _pixels_in_a_share(size)


def _points(grid: int, seed: int) -> NDArray[np.float32]:
    """The drawn displacements on the grid, float32 (1, 2, grid, grid), of mean magnitude 1."""
    drawn = stream(seed, "warping", "field").uniform(-1.0, 1.0, (1, 2, grid, grid))
    points: NDArray[np.float32] = (drawn / np.abs(drawn).mean()).astype(np.float32)
    return points


def warp(pixels: torch.Tensor, field: torch.Tensor) -> torch.Tensor:
    """Every pixel taken from its displaced position, with bilinear interpolation; positions outside use the edge.

    pixels: float32 (N, C, H, W), 2 or more per side. field: float32 (1 or N, H, W, 2), across and down, in pixels.
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
    """The field noise of cover images: uniform per pixel, at most 1 / side in WaNet's units; float32 (N, H, W, 2)."""
    import torch  # slow to import; manifests are read without it

    drawn = rng.random((images, *size, 2), dtype=np.float32) * 2.0 - 1.0
    return torch.from_numpy(drawn) * _pixels_in_a_share(size)


def _pixels_in_a_share(size: tuple[int, int]) -> torch.Tensor:
    """1 / side in pixels, across and down, if an image spans -1 to 1."""
    import torch  # slow to import; manifests are read without it

    height, width = size
    return torch.tensor([(width - 1) / (2.0 * width), (height - 1) / (2.0 * height)])
