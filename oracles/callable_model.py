"""Turns a plain function into an oracle: a served model, another framework, anything that answers a batch."""

from __future__ import annotations

import sys
from dataclasses import replace

from oracles.errors import InvalidSpec
from oracles.foreign import Answering, ForeignModel
from oracles.oracle import ImageShape
from oracles.torch_model import TorchOracle
from oracles.torch_options import TorchOptions

DEFAULTS = TorchOptions()


def callable_oracle(
    function: Answering,
    image_shape: ImageShape,
    n_classes: int,
    batch_limit: int | None = None,
    options: TorchOptions = DEFAULTS,
) -> TorchOracle:
    """An oracle that calls `function` in the caller's thread, one batch after another.

    function: takes its own float32 numpy array (N, C, H, W) with 1 <= N <= batch_limit and pixels in [0, 1] (normalised
    if the options set `mean` and `std`), and returns scores (N, n_classes) as an array, a tensor or nested lists. It is
    never called with an empty batch. batch_limit: the most images per call that a service allows; None sends each query
    in one call.

    A query of 200 images with a batch limit of 50 becomes four calls. If the third fails or answers a wrong shape, the
    query raises ModelError; the 100 images that were answered are charged and recorded, and the same query, repeated or
    resumed, asks for the other 100 only (see `oracles.partial`). Raises InvalidSpec on a batch limit below 1.
    """
    if batch_limit is not None and batch_limit < 1:
        raise InvalidSpec(f"batch_limit is {batch_limit}; give 1 image or more")
    model = ForeignModel(function, n_classes, thread_safe=False)
    return TorchOracle(model, image_shape, replace(options, chunk=batch_limit or sys.maxsize), n_classes)
