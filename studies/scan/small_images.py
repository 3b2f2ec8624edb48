"""Says before the first query that images are so small that a scan searches for very small patches only."""

from __future__ import annotations

from simkit.data.images import ImageShape
from studies.render.formats import pixel_words
from studies.scan.config import ScanConfig
from studies.scan.ruled_out import largest_patch

_FEW = 9
"""Pixels of the largest patch below which it is said: 3x3, up to which the main figures are measured."""


class SmallPatches(UserWarning):
    """The largest patches that the scan searches for have fewer than 3x3 pixels."""


def small_patches(config: ScanConfig, image_shape: ImageShape) -> str:
    """The warning that a scan of images of this shape, (C, H, W), searches for very small patches only.

    Empty where it does not, where it searches for no patches, and where the limit was set for it.
    """
    if "threshold" in config.rule or any(name.startswith("largest_") for name in config.search):
        return ""
    course = config.course(image_shape)
    rules = map(course.rule_of, range(len(course.stages)))
    largest = max(largest_patch(*both, image_shape) for both in zip(course.stages, rules, strict=True))
    if not 0 < largest < _FEW:
        return ""
    return (
        f"on images of {image_shape[1]}x{image_shape[2]} {config.preset_name} searches for patches of up to "
        f"{pixel_words(largest)} only, since its limits are shares of the image, chosen on 32x32: a model with a "
        "larger one may be called clean; --preset random-patch with search.largest_side searches for larger ones, and "
        "so does race with search.largest_share and rule.threshold"
    )
