"""How a torch model is run, as plain values: settings are read without torch, which is slow to import."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

from oracles.errors import InvalidSpec

Output: TypeAlias = Literal["auto", "logits", "probabilities", "labels"]
Precision: TypeAlias = Literal["float32", "bfloat16"]
InputLayout: TypeAlias = Literal["nchw", "nhwc"]
InputDtype: TypeAlias = Literal["float32", "uint8"]


@dataclass(frozen=True)
class TorchOptions:
    """How a torch model is run. Every option is part of a run's identity. Raises InvalidSpec."""

    output: Output = "auto"
    """What the model answers: `logits` or `probabilities`; `auto` decides by the first answer. A function may
    also answer `labels`, class numbers without scores.

    One number per image is that of class 1 of two, and `auto` does not tell which it is.
    """
    mean: tuple[float, ...] | None = None
    """Per-channel mean, subtracted from pixels in [0, 1]."""
    std: tuple[float, ...] | None = None
    """Per-channel standard deviation, by which the pixels are divided after the mean is subtracted."""
    precision: Precision = "float32"
    """Precision of weights and images: `float32` or `bfloat16`; scores are always float32."""
    chunk: int = 50
    """Images per forward pass; with about 50 the activations stay in the cache of a CPU."""
    device: str = "cpu"
    """The device as torch names it: `cpu`, `cuda`, `cuda:0`."""
    input_layout: InputLayout = "nchw"
    """What the model takes: images (N, C, H, W), or `nhwc`."""
    input_dtype: InputDtype = "float32"
    """What the model takes: pixels in [0, 1], or `uint8`, the nearest of 0..255."""
    output_item: str | None = None
    """Which output has the scores, where the model returns several: the position in a tuple, or the key in a dict."""

    def __post_init__(self) -> None:
        for name, value, allowed in (
            ("output", self.output, get_args(Output)),
            ("precision", self.precision, get_args(Precision)),
            ("input_layout", self.input_layout, get_args(InputLayout)),
            ("input_dtype", self.input_dtype, get_args(InputDtype)),
        ):
            if value not in allowed:
                raise InvalidSpec(f"{name} is {value!r}; give one of {', '.join(allowed)}")
        if self.input_dtype == "uint8" and (self.mean, self.precision) != (None, "float32"):
            raise InvalidSpec("a model that takes uint8 normalises its own input; leave out mean, std and precision")
        if self.output == "labels" and self.output_item is not None:
            raise InvalidSpec("a function with output='labels' answers class numbers alone; leave out output_item")
        if self.chunk < 1:
            raise InvalidSpec(f"chunk is {self.chunk}; give 1 image or more")
        if (self.mean is None) != (self.std is None):
            raise InvalidSpec("give both mean and std, or neither")
        if not all(map(math.isfinite, (*(self.mean or ()), *(self.std or ())))) or min(self.std or (1.0,)) <= 0.0:
            raise InvalidSpec(f"mean {self.mean} and std {self.std} must be finite, and every std above 0")


PLAIN = TorchOptions()
"""A model as it is."""
