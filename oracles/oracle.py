"""The `Oracle` protocol with its one method, `query`, and the base class of all wrappers around a model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeAlias

import numpy as np

from oracles.answers import MISSING, Answer, FloatArray, IntArray, Labels, Scores, TopK
from oracles.errors import InvalidImages, ModelError
from oracles.partial import carried, carrying

if TYPE_CHECKING:
    import torch

ImageShape: TypeAlias = tuple[int, int, int]


@dataclass(frozen=True, eq=False)
class Tag:
    """The purpose of each query. Only `Recorded` and `Replayed` read it; all other wrappers pass it on.

    step: the id that the recorder returned when the step was opened. rows: int32 (N, 2), image and candidate per query.
    """

    step: int
    rows: IntArray


class Oracle(Protocol):
    """A classifier with query access only. One answered image is one query, the only unit of cost.

    `n_classes` and `image_shape` (C, H, W) are known from a service's documentation; reading them costs nothing.
    """

    @property
    def n_classes(self) -> int: ...

    @property
    def image_shape(self) -> ImageShape: ...

    def query(self, images: torch.Tensor, tag: Tag | None = None) -> Answer:
        """Answer a batch: images float32 (N, C, H, W) in [0, 1], N >= 1.

        Raises InvalidImages, Refused, ModelError. Nothing was spent, unless the error carries a `PartialAnswer` to the
        first images; that is charged, and an oracle made by `oracles.spec.build` asks only for the rest next time.
        """
        ...


class Wrapper:
    """An oracle around an oracle. Subclasses override `before`, `after`, `partly` or `failed`, and not `query`.

    The exceptions are `Replayed`, which may answer without its inner oracle, and `Patient`, which may repeat a call. No
    attribute of the inner oracle is forwarded implicitly. `answered` counts the images answered since the run began,
    `first` of them by earlier processes; noise is a function of it, so that a resumed run sees the same noise.
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
        """See `Oracle.query`; raises ModelError if the inner oracle's answer fails `check_answer`."""
        sent = self.before(images, tag)
        try:
            answer = self._inner.query(sent, tag)
            check_answer(answer, len(sent), self.n_classes)
        except BaseException as error:
            self._carry_on(error, sent, tag)
            self.failed(images, tag, error)
            raise
        answer = self.after(answer, tag)
        self._answered += len(images)
        return answer

    def before(self, images: torch.Tensor, tag: Tag | None) -> torch.Tensor:
        """The images that the inner oracle gets instead."""
        return images

    def after(self, answer: Answer, tag: Tag | None) -> Answer:
        """The answer that the caller gets instead."""
        return answer

    def partly(self, answer: Answer, tag: Tag | None) -> Answer:
        """The answer that the caller gets to the first images of a call whose rest failed.

        Inside `Replayed` the next call brings the rest only, so that these images are done with; outside of it, the
        whole call comes again, and a wrapper there does nothing.
        """
        answer = self.after(answer, tag)
        self._answered += len(answer)
        return answer

    def failed(self, images: torch.Tensor, tag: Tag | None, error: BaseException) -> None:
        """Undo what `before` did; the error is raised to the caller afterwards. It may carry a `PartialAnswer`."""

    def _carry_on(self, error: BaseException, sent: torch.Tensor, tag: Tag | None) -> None:
        """Let the error carry what the inner oracle answered before it, as this wrapper's caller may see it."""
        part = carried(error, self._inner)
        if part is None or not 0 < len(part) < len(sent):
            return
        try:
            check_answer(part, len(part), self.n_classes)
        except ModelError:
            return  # the call has failed already; its part is then worth nothing
        carrying(error, self.partly(part, tag), self)


class Restriction(Protocol):
    """A restriction of your own on what a service answers: a frozen dataclass of plain values that wraps an oracle."""

    def wrap(self, inner: Oracle, first: int) -> Oracle:
        """`inner` behind this restriction, usually a `Wrapper`.

        first: queries of this run that earlier processes sent; pass it to `Wrapper`, and draw noise from `answered`.
        """
        ...


def check_shape(images: torch.Tensor | FloatArray, shape: ImageShape, dtype: str = "torch.float32") -> None:
    """Raise InvalidImages unless images are float32 (N, *shape) with N >= 1. dtype: by its name, since importing torch
    for a comparison is slow."""
    kind = type(images)
    if dtype.startswith("torch.") and not any((c.__module__, c.__name__) == ("torch", "Tensor") for c in kind.__mro__):
        how = "torch.from_numpy(images)" if isinstance(images, np.ndarray) else "torch.stack of the images, for example"
        raise InvalidImages(f"images are a {kind.__module__}.{kind.__name__}; send a torch tensor of float32: {how}")
    if str(images.dtype) != dtype:
        raise InvalidImages(f"images are {images.dtype}; send {dtype} in [0, 1]")
    if images.ndim != 4 or tuple(images.shape[1:]) != shape:
        wanted = ", ".join(map(str, shape))
        raise InvalidImages(f"images have shape {tuple(images.shape)}; this oracle takes (N, {wanted})")
    if len(images) == 0:
        raise InvalidImages("an empty batch; send at least one image")


def check_range(images: torch.Tensor) -> None:
    """Raise InvalidImages unless every pixel is finite and in [0, 1]."""
    low, high = (float(v) for v in images.aminmax())
    if not (low >= 0.0 and high <= 1.0):
        values = "NaN" if low != low or high != high else f"values from {low:g} to {high:g}"
        raise InvalidImages(f"images hold {values}; pixels must lie in [0, 1]: divide 8-bit images by 255 and clip")


def check_answer(answer: object, images: int, n_classes: int) -> None:
    """Raise ModelError unless `answer` is an `Answer` of the right types for this number of images and classes."""
    if isinstance(answer, Scores):
        _check_array("values", answer.values, np.float32, (images, n_classes))
    elif isinstance(answer, TopK):
        k = np.shape(answer.classes)[1] if np.ndim(answer.classes) == 2 else 1
        _check_array("classes", answer.classes, np.int32, (images, k))
        _check_array("values", answer.values, np.float32, answer.classes.shape)
        _check_classes(answer.classes, answer.n_classes, n_classes)
    elif isinstance(answer, Labels):
        _check_array("labels", answer.labels, np.int32, (images,))
        _check_classes(answer.labels, answer.n_classes, n_classes)
    else:
        raise ModelError(f"the oracle answers a {type(answer).__name__}; it must be Scores, TopK or Labels")


def _check_array(name: str, array: object, dtype: type[np.generic], shape: tuple[int, ...]) -> None:
    wanted = f"a numpy {dtype.__name__} array {shape}"
    if not isinstance(array, np.ndarray):
        raise ModelError(f"the oracle answers {name} as {type(array).__name__}; give {wanted}")
    if array.dtype != dtype or array.shape != shape:
        raise ModelError(f"the oracle answers {name} {array.dtype} {array.shape}; give {wanted}")


def _check_classes(ids: IntArray, stated: int, n_classes: int) -> None:
    if stated != n_classes:
        raise ModelError(f"the oracle answers for {stated} classes, not {n_classes}; give the right n_classes")
    if ids.size == 0 or ids.min() < MISSING or ids.max() >= n_classes:
        raise ModelError(f"the oracle names classes beyond 0 to {n_classes - 1}; {MISSING} stands for none")
