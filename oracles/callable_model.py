"""Turns a plain function into an oracle: a served model, another framework, anything that answers a batch."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from oracles.answers import MISSING, Answer, IntArray, Labels
from oracles.errors import InvalidSpec, ModelError, one_line
from oracles.foreign import Answering, ForeignModel
from oracles.oracle import ImageShape, Oracle, Tag, check_shape
from oracles.partial import carrying
from oracles.taken import as_taken
from oracles.torch_model import TorchOracle, per_channel
from oracles.torch_options import TorchOptions

DEFAULTS = TorchOptions()


def callable_oracle(
    function: Answering,
    image_shape: ImageShape,
    n_classes: int,
    batch_limit: int | None = None,
    options: TorchOptions = DEFAULTS,
) -> Oracle:
    """An oracle that calls `function` in the caller's thread, one batch after another.

    function: takes its own float32 numpy array (N, C, H, W) with 1 <= N <= batch_limit and pixels in [0, 1] (normalised
    if the options set `mean` and `std`; see them for other inputs), and returns scores (N, n_classes) as an array, a
    tensor or nested lists, or several such in a dict or a tuple, of which the option `output_item` names the scores;
    with the option `output="labels"` class numbers instead, see `LabelFunction`. It is never called with an empty
    batch. batch_limit: the most images per call that a service allows; None sends each query in one call.

    A query of 200 images with a batch limit of 50 becomes four calls. If the third fails or answers a wrong shape, the
    query raises ModelError; the 100 images that were answered are charged and recorded, and the same query, repeated or
    resumed, asks for the other 100 only (see `oracles.partial`). Raises InvalidSpec on a batch limit below 1.
    """
    if batch_limit is not None and batch_limit < 1:
        raise InvalidSpec(f"batch_limit is {batch_limit}; give 1 image or more")
    options = replace(options, chunk=batch_limit or sys.maxsize)
    if options.output == "labels":
        return LabelFunction(function, image_shape, n_classes, options)
    item = options.output_item
    model = ForeignModel(function, n_classes if item is None else {item: n_classes}, thread_safe=False)
    return TorchOracle(model, image_shape, options, n_classes)


class LabelFunction:
    """A function that answers class numbers and no scores: integers (N,), or (N, k) with the most probable class first.

    Of ranked classes only the first of each image counts: without scores, the ranks below say nothing that a search
    could compare. -1 stands for "no class". Wrapped in `LabelOnly` or in nothing, it is a label-only service.
    """

    def __init__(self, function: Answering, image_shape: ImageShape, n_classes: int, options: TorchOptions) -> None:
        self._function, self._image_shape, self._n_classes = function, image_shape, n_classes
        self._options = options
        self._shift, self._scale = (
            per_channel(v, image_shape[0], torch.device("cpu")) for v in (options.mean, options.std)
        )

    @property
    def n_classes(self) -> int:
        return self._n_classes

    @property
    def image_shape(self) -> ImageShape:
        return self._image_shape

    def query(self, images: torch.Tensor, tag: Tag | None = None) -> Answer:
        """See `Oracle.query`. Raises ModelError if the function fails or answers anything but class numbers.

        Whatever is raised carries the labels of the calls before, see `oracles.partial`.
        """
        check_shape(images, self._image_shape)
        answered = list[IntArray]()
        try:
            answered.extend(map(self._labels, torch.split(images, self._options.chunk)))
        except BaseException as error:
            if not answered:
                raise
            raise carrying(error, Labels(np.concatenate(answered), self._n_classes), self) from error.__cause__
        return Labels(np.concatenate(answered), self._n_classes)

    def _labels(self, images: torch.Tensor) -> IntArray:
        if self._shift is not None and self._scale is not None:
            images = (images - self._shift) / self._scale
        try:
            rows = self._function(np.array(as_taken(images, self._options).numpy(), order="C"))
        except Exception as error:
            raise ModelError(f"the function failed on images {tuple(images.shape)}: {one_line(error)}") from error
        return first_labels(rows, len(images), self._n_classes)


def first_labels(rows: Any, images: int, n_classes: int) -> IntArray:
    """The first class of each row, int32 (N,). Raises ModelError, which names the option, on anything else."""
    wanted = f"with output='labels' a function answers class numbers, integers ({images},) or ({images}, k)"
    try:
        array = np.asarray(rows.detach().cpu() if isinstance(rows, torch.Tensor) else rows)
    except ValueError as error:
        raise ModelError(f"{wanted}; this one answers rows of different lengths") from error
    if array.dtype.kind not in "iu":
        scores = "; for scores leave that option out" if array.dtype.kind == "f" else ""
        raise ModelError(f"{wanted}; this one answers {_kind(array)}{scores}")
    if array.ndim not in (1, 2) or len(array) != images or array.size == 0:
        raise ModelError(f"{wanted}; this one answers {array.shape}")
    if array.min() < MISSING or array.max() >= n_classes:
        beyond = f"classes from {array.min()} to {array.max()}, of 0 to {n_classes - 1}"
        raise ModelError(f"{wanted}; this one answers {beyond}; {MISSING} stands for none")
    first: IntArray = (array if array.ndim == 1 else array[:, 0]).astype(np.int32)
    return first


def _kind(array: Any) -> str:
    """The type of these numbers in words."""
    return {"U": "text", "S": "text", "O": "Python objects"}.get(array.dtype.kind, str(array.dtype))
