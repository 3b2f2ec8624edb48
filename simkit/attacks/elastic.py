"""Elastic: the image is deformed along smoothed noise, turned, or both, and always in the same way."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict

from simkit.attacks import poisoning
from simkit.data.images import ImageSet
from simkit.errors import ConfigError
from simkit.seeding import stream
from simkit.transforms.contract import ImageShape
from simkit.transforms.grids import MOST_POINTS
from simkit.transforms.warp import Warp

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Elastic:
    """Deforms a share of the images and relabels them. Satisfies `Attack`.

    Noise in [-1, 1] at every pixel is smoothed by a Gaussian and scaled, and pixels are taken bilinearly from the
    shifted places: `elastic_transform` in HeSunPU/cosense:data_augmentation.py, one of many copies of the recipe of
    Simard et al. (ICDAR 2003), there to augment images. Ours states a mean shift in place of the factor alpha, turns
    the image before that, and repeats the edge. Beside `Warping` a second description of the same kind of trigger,
    written without the code with which a race draws warps. Raises ConfigError outside the ranges.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    target_class: int
    """The class to which triggered images are assigned."""
    rate: float = 0.1
    """Poisoning rate, as in `BadNets`."""
    field_seed: int = 0
    """Seed of the noise."""
    sigma: float = 4.0
    """Standard deviation of the Gaussian, in pixels: a larger one makes smoother fields."""
    strength: float = 2.0
    """Mean length of a pixel's shift by the noise, in pixels; 0 for none."""
    angle: float = 0.0
    """Degrees by which the image is turned about its middle, clockwise; 0 for none."""

    def __post_init__(self) -> None:
        poisoning.check_target_and_rate(self.target_class, self.rate)
        if self.field_seed < 0 or not (0.0 < self.sigma < math.inf and 0.0 <= self.strength < math.inf):
            given = f"field_seed {self.field_seed}, sigma {self.sigma}, strength {self.strength}"
            raise ConfigError(f"{given}; need 0 or more, above 0, and 0 or more")
        if not math.isfinite(self.angle) or (self.strength == 0.0 and self.angle % 360.0 == 0.0):
            raise ConfigError(f"strength {self.strength} and angle {self.angle} move nothing; raise one of them")

    def poison(self, images: ImageSet, seed: int) -> ImageSet:
        """See `Attack.poison`: the chosen images are deformed and relabelled."""
        rows = poisoning.outsiders(images, self.target_class)
        return poisoning.stamped_share(images, rows, self, stream(seed, "elastic", "poison"))

    def triggered(self, images: ImageSet) -> ImageSet:
        """See `Attack.triggered`: every image that is not of the target class."""
        return poisoning.all_stamped(images, poisoning.outsiders(images, self.target_class), self)

    def stamp_all(self, pixels: torch.Tensor) -> torch.Tensor:
        """Every image deformed, float32 (N, C, H, W), as a copy."""
        import torch  # slow to import; manifests are read without it
        from scipy.ndimage import map_coordinates

        height, width = pixels.shape[2:]
        places = np.indices((height, width)) + self._shifts(height, width)
        planes = pixels.numpy().reshape(-1, height, width)
        deformed = np.empty_like(planes)
        for plane, out in zip(planes, deformed, strict=True):
            map_coordinates(plane, places, out, order=1, mode="nearest")
        return torch.from_numpy(deformed).reshape(pixels.shape)

    def as_warp(self, image_shape: ImageShape) -> Warp:
        """The deformation as a trigger for images of this shape, (C, H, W): exact on square ones of 2 to 64 pixels a
        side, since a warp's points are then the pixels, else interpolated."""
        _, height, width = image_shape
        points = min(MOST_POINTS, max(height, width))
        rows, columns = (np.linspace(0, side - 1, points).round().astype(np.intp) for side in (height, width))
        down, across = self._shifts(height, width)[:, rows][:, :, columns]
        return Warp(image_shape, np.stack((across, down), -1))

    def _shifts(self, height: int, width: int) -> NDArray[np.float64]:
        """How far from each pixel the one that replaces it lies, float64 (2, H, W), down and across in pixels."""
        from scipy.ndimage import gaussian_filter

        noise = stream(self.field_seed, "elastic", "field").uniform(-1.0, 1.0, (2, height, width))
        smooth = np.stack([gaussian_filter(one, self.sigma, mode="constant") for one in noise])
        smooth *= self.strength / max(float(np.hypot(*smooth).mean()), 1e-12)
        at = np.indices((height, width)) - np.array([(height - 1) / 2.0, (width - 1) / 2.0])[:, None, None]
        cos, sin = math.cos(math.radians(self.angle)), math.sin(math.radians(self.angle))
        turned = np.stack((cos * at[0] - sin * at[1], sin * at[0] + cos * at[1]))
        shifts: NDArray[np.float64] = turned - at + smooth
        return shifts
