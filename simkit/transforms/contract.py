"""The contract of a trigger: a transform x -> T(x) of images, of any family.

Nothing outside a family's own file asks what family a trigger is of.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from simkit.errors import ContractError
from simkit.triggers import FloatArray, IntArray, Trigger, in_short

ImageShape: TypeAlias = tuple[int, int, int]


class Transform(Protocol):
    """One trigger of any family: frozen, and made of plain numbers or arrays; a patch is a `Trigger`."""

    @property
    def family(self) -> str:
        """The name of the family, which is unique: `patch`, `wave`, `blend`, `warp`, `picture`, or a user's own."""
        ...

    @property
    def image_shape(self) -> ImageShape:
        """The shape (C, H, W) of the images that it is for."""
        ...

    @property
    def mask_size(self) -> float:
        """The pixels that it changes: the sum of a patch's mask, or all pixels of the image."""
        ...

    @property
    def strength(self) -> float:
        """How strong it is, in the unit of `unit`; 0 for a trigger that changes nothing."""
        ...

    @property
    def unit(self) -> str:
        """The unit of `strength` in words: `pixels`, `of 255`, `of the image` or `pixels of shift`."""
        ...

    @property
    def words(self) -> str:
        """The trigger in words, such as `a wave of 24 of 255, 5.8 cycles`; `described` writes the first part."""
        ...

    def on(self, images: FloatArray) -> FloatArray:
        """The images with the trigger, float32 (N, C, H, W) in [0, 1], as a copy."""
        ...

    @property
    def as_patch(self) -> Trigger | None:
        """The trigger as a mask and a pattern; None for one that these cannot describe."""
        ...

    @property
    def arrows(self) -> NDArray[np.float64] | None:
        """How far the image's content moves at every pixel, float64 (H, W, 2), across and down in pixels; None for a
        trigger that moves nothing."""
        ...

    def copied(self) -> Transform:
        """An equal trigger that shares no array with this one."""
        ...

    def to_json(self) -> dict[str, Any]:
        """Plain values, with the keys `family` and `image_shape`, from which the family makes an equal trigger."""
        ...


class Candidates(Protocol):
    """The K candidate triggers of a proposal."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Transform: ...

    def put_on(self, images: FloatArray, candidates: IntArray) -> None:
        """Put candidate `candidates[i]` on image i, in place. images: float32 (N, C, H, W). candidates: (N,)."""
        ...


@dataclass(frozen=True, eq=False)
class Transforms:
    """Candidates of any families; patches alone are faster as `simkit.triggers.Triggers`."""

    transforms: Sequence[Transform]

    def __len__(self) -> int:
        return len(self.transforms)

    def __getitem__(self, index: int) -> Transform:
        return self.transforms[index]

    def put_on(self, images: FloatArray, candidates: IntArray) -> None:
        """See `Candidates`; each candidate is put on all of its images at once."""
        for candidate in np.unique(candidates):
            rows = np.flatnonzero(candidates == candidate)
            images[rows] = self.transforms[candidate].on(images[rows])


def same(first: Transform, second: Transform) -> bool:
    """Whether two triggers are equal by value, since searches return copies."""
    return first is second or (first.family == second.family and first.to_json() == second.to_json())


def described(trigger: Transform, more: str = "") -> str:
    """The family and the strength in words, such as `a wave of 24 of 255`. more: what else the family says of it."""
    return f"a {trigger.family} of {in_short(trigger.strength)} {trigger.unit}{f', {more}' if more else ''}"


def check_images(images: FloatArray, image_shape: ImageShape) -> None:
    """Raise ContractError unless the images are (N, C, H, W) of this shape."""
    if images.shape[1:] != image_shape:
        raise ContractError(f"a trigger for images {image_shape} cannot be put on images {images.shape[1:]}")
