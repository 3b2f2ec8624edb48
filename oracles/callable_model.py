"""A plain function as an oracle: a served model, another framework, anything that answers a batch."""

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
    """An oracle that asks `function`, in the caller's thread, one call after the other.

    function: takes a private float32 numpy array (N, C, H, W), 1 <= N <= batch_limit, pixels in [0, 1] (or as `mean`
    and `std` of the options make them), and gives scores (N, n_classes) as an array, a tensor or nested lists. It is
    never called without images. batch_limit: images a call, as a service allows; None sends each query whole.

    A query of 200 images with a batch limit of 50 is four calls. If the third raises, or answers another shape, the
    query is a ModelError and none of the 200 is charged or recorded, though 100 were answered: a call that may fail and
    be tried again is for the function to try again. Raises InvalidSpec on a batch limit below 1.
    """
    if batch_limit is not None and batch_limit < 1:
        raise InvalidSpec(f"batch_limit is {batch_limit}; give 1 image or more")
    model = ForeignModel(function, n_classes, thread_safe=False)
    return TorchOracle(model, image_shape, replace(options, chunk=batch_limit or sys.maxsize), n_classes)
