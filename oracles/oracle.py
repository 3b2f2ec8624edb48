"""The one verb, `query`, and the base of everything that stands between a caller and a model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, TypeAlias

import torch

from oracles.answers import Answer, IntArray
from oracles.errors import InvalidImages

ImageShape: TypeAlias = tuple[int, int, int]


@dataclass(frozen=True, eq=False)
class Tag:
    """Why an image is asked about; only `Recorded` looks inside.

    step: the id that the recorder gave when the step was opened. rows: int32 (N, 2), image and candidate of each query.
    """

    step: int
    rows: IntArray


class Oracle(Protocol):
    """A classifier that one may only ask. One image answered is one query, the only unit of cost.

    `n_classes` and `image_shape` (C, H, W) are what a service's documentation states; reading them costs nothing.
    """

    @property
    def n_classes(self) -> int: ...

    @property
    def image_shape(self) -> ImageShape: ...

    def query(self, images: torch.Tensor, tag: Tag | None = None) -> Answer:
        """Answer a batch: images float32 (N, C, H, W) in [0, 1], N >= 1.

        Raises InvalidImages, BudgetExhausted, ModelError; in each case nothing was spent.
        """
        ...


class Wrapper:
    """An oracle around an oracle. Subclasses override `before`, `after` or `failed`, never `query`.

    Nothing is forwarded implicitly. `answered` counts the images that went through since the run began, `first` of them
    before this process; randomness is drawn from it, so that a resumed run sees the same noise.
    """

    def __init__(self, inner: Oracle, first: int = 0) -> None:
        self._inner = inner
        self._answered = first

    @property
    def n_classes(self) -> int:
        return self._inner.n_classes

    @property
    def image_shape(self) -> ImageShape:
        return self._inner.image_shape

    @property
    def answered(self) -> int:
        return self._answered

    def query(self, images: torch.Tensor, tag: Tag | None = None) -> Answer:
        """See `Oracle.query`."""
        sent = self.before(images, tag)
        try:
            answer = self._inner.query(sent, tag)
        except BaseException as error:
            self.failed(images, tag, error)
            raise
        answer = self.after(answer, tag)
        self._answered += len(images)
        return answer

    def before(self, images: torch.Tensor, tag: Tag | None) -> torch.Tensor:
        """What the next oracle is asked instead."""
        return images

    def after(self, answer: Answer, tag: Tag | None) -> Answer:
        """What the caller is told instead."""
        return answer

    def failed(self, images: torch.Tensor, tag: Tag | None, error: BaseException) -> None:
        """Undo what `before` did; the error goes on to the caller."""


def check_shape(images: torch.Tensor, shape: ImageShape) -> None:
    """Raise InvalidImages unless images are float32 (N, *shape) with N >= 1."""
    if images.dtype != torch.float32:
        raise InvalidImages(f"images are {images.dtype}; send torch.float32 in [0, 1]")
    if images.ndim != 4 or tuple(images.shape[1:]) != shape:
        wanted = ", ".join(map(str, shape))
        raise InvalidImages(f"images have shape {tuple(images.shape)}; this oracle takes (N, {wanted})")
    if len(images) == 0:
        raise InvalidImages("an empty batch; send at least one image")


def check_range(images: torch.Tensor) -> None:
    """Raise InvalidImages unless every pixel is finite and in [0, 1]."""
    low, high = (float(v) for v in torch.aminmax(images))
    if not (low >= 0.0 and high <= 1.0):
        found = "NaN" if low != low or high != high else f"values from {low:g} to {high:g}"
        raise InvalidImages(f"images hold {found}; pixels must lie in [0, 1]: divide 8-bit images by 255 and clip")
