"""Triggers that are a mask and a pattern, the family `patch` of triggers, and how they are stamped on images."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch

FloatArray: TypeAlias = NDArray[np.float32]
IntArray: TypeAlias = NDArray[np.int32]

_BLOCK = 256
"""Number of images stamped at a time."""


@dataclass(frozen=True, eq=False)
class Trigger:
    """One trigger: mask float32 (1, H, W) in [0, 1], shared by all channels; pattern float32 (C, H, W) in [0, 1].

    Satisfies `simkit.transforms.contract.Transform`.
    """

    mask: FloatArray
    pattern: FloatArray

    family: ClassVar[str] = "patch"
    unit: ClassVar[str] = "pixels"

    def __post_init__(self) -> None:
        check_trigger_shapes(self.mask[None], self.pattern[None])

    def __repr__(self) -> str:
        shape = "x".join(map(str, self.pattern.shape))
        return f"Trigger({shape}, mask of {self.mask_size:.1f} pixels)"

    @property
    def mask_size(self) -> float:
        """The L1 norm of the mask, in pixels."""
        return float(self.mask.sum(dtype=np.float64))

    @property
    def strength(self) -> float:
        """The mask size."""
        return self.mask_size

    @property
    def words(self) -> str:
        """The trigger in words, such as `a patch of 9 pixels`."""
        return f"a patch of {in_short(self.mask_size)} {'pixel' if self.mask_size == 1.0 else 'pixels'}"

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """The shape (C, H, W) of the images that it is for."""
        channels, height, width = self.pattern.shape
        return channels, height, width

    @property
    def as_patch(self) -> Trigger:
        """The trigger itself."""
        return self

    @property
    def arrows(self) -> None:
        """It moves nothing."""

    def on(self, images: FloatArray) -> FloatArray:
        """The images with the trigger, float32 (N, C, H, W), as a copy."""
        stamped = images.copy()
        Triggers(self.mask[None], self.pattern[None]).put_on(stamped, np.zeros(len(images), np.int32))
        return stamped

    def copied(self) -> Trigger:
        """An equal trigger with arrays of its own."""
        return Trigger(self.mask.copy(), self.pattern.copy())

    def to_json(self) -> dict[str, Any]:
        """Plain values: the shape, and base64 of the float32 values of mask and pattern."""
        mask, pattern = (base64.b64encode(a.astype("<f4").tobytes()).decode() for a in (self.mask, self.pattern))
        return {"family": self.family, "image_shape": [*self.image_shape], "mask": mask, "pattern": pattern}

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> Trigger:
        """The trigger that `to_json` wrote. Raises KeyError, TypeError or ValueError where it is none."""
        channels, height, width = map(int, fields["image_shape"])
        if min(channels, height, width) < 1:
            raise ValueError(f"images of {channels}x{height}x{width}")
        mask, pattern = (
            np.frombuffer(base64.b64decode(fields[name], validate=True), "<f4").reshape(depth, height, width)
            for name, depth in (("mask", 1), ("pattern", channels))
        )
        if not all(((a >= 0.0) & (a <= 1.0)).all() for a in (mask, pattern)):
            raise ValueError("mask and pattern must lie in [0, 1]")
        return cls(mask.astype(np.float32), pattern.astype(np.float32))


@dataclass(frozen=True, eq=False)
class Triggers:
    """K candidate triggers: masks float32 (K, 1, H, W), patterns float32 (K, C, H, W), both in [0, 1]."""

    masks: FloatArray
    patterns: FloatArray

    def __post_init__(self) -> None:
        check_trigger_shapes(self.masks, self.patterns)

    def __len__(self) -> int:
        return len(self.masks)

    def __repr__(self) -> str:
        return f"Triggers({len(self)} of {'x'.join(map(str, self.patterns.shape[1:]))})"

    def __getitem__(self, index: int) -> Trigger:
        return Trigger(self.masks[index], self.patterns[index])

    def put_on(self, images: FloatArray, candidates: IntArray) -> None:
        """Put candidate `candidates[i]` on image i, in place. images: float32 (N, C, H, W). candidates: (N,)."""
        # block by block, since gathering all masks and patterns at once would need three times the memory
        for start in range(0, len(images), _BLOCK):
            some = slice(start, start + _BLOCK)
            put_on(images[some], self.masks[candidates[some]], self.patterns[candidates[some]])

    @classmethod
    def of(cls, triggers: list[Trigger]) -> Triggers:
        """Stack single triggers of one shape."""
        return cls(np.stack([t.mask for t in triggers]), np.stack([t.pattern for t in triggers]))


def in_short(amount: float) -> str:
    """A strength in words: a whole number from 10 on, one decimal from 1 on, two digits below."""
    if amount >= 10 or amount == round(amount):
        return f"{amount:.0f}"
    return f"{amount:.1f}" if amount >= 1 else f"{amount:.2g}"


def check_trigger_shapes(masks: FloatArray, patterns: FloatArray) -> None:
    """Raise ValueError unless masks are float32 (K, 1, H, W) and patterns float32 (K, C, H, W)."""
    if masks.dtype != np.float32 or patterns.dtype != np.float32:
        raise ValueError(f"masks are {masks.dtype}, patterns {patterns.dtype}; both must be float32")
    fits = masks.ndim == patterns.ndim == 4 and masks.shape[1] == 1
    if not fits or masks.shape[0] != patterns.shape[0] or masks.shape[2:] != patterns.shape[2:]:
        raise ValueError(f"masks {masks.shape} and patterns {patterns.shape}; need (K, 1, H, W) and (K, C, H, W)")


def stamp(images: torch.Tensor, masks: torch.Tensor, patterns: torch.Tensor) -> torch.Tensor:
    """x' = (1 - m) * x + m * p (slides, "Backdoor Attacks").

    images: float32 (N, C, H, W). masks: (N or 1, 1, H, W). patterns: (N or 1, C, H, W). Where m is 0 the result is
    exactly the image, where m is 1 exactly the pattern.
    """
    return images.lerp(patterns, masks)


def put_on(images: FloatArray, masks: FloatArray, patterns: FloatArray) -> None:
    """`stamp` for numpy arrays, in place and bitwise equal; without torch if all masks are 0 or 1."""
    inside = masks == 1.0
    if (inside | (masks == 0.0)).all():
        np.copyto(images, patterns, where=inside)
        return
    import torch  # slow to import; needed for bitwise equal results

    images[...] = stamp(*map(torch.from_numpy, (images, masks, patterns))).numpy()
