"""How a torch model is run, as plain values: settings are read without torch, which is slow to import."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

from oracles.errors import InvalidSpec

Output: TypeAlias = Literal["auto", "logits", "probabilities", "labels"]
Precision: TypeAlias = Literal["float32", "bfloat16"]


@dataclass(frozen=True)
class TorchOptions:
    """How a torch model is run. Every option is part of a run's identity. Raises InvalidSpec."""

    output: Output = "auto"
    """What the model answers: `logits` or `probabilities`; `auto` decides by the first answer. A function may
    also answer `labels`, class numbers without scores."""
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

    def __post_init__(self) -> None:
        for name, value, allowed in (
            ("output", self.output, get_args(Output)),
            ("precision", self.precision, get_args(Precision)),
        ):
            if value not in allowed:
                raise InvalidSpec(f"{name} is {value!r}; give one of {', '.join(allowed)}")
        if self.chunk < 1:
            raise InvalidSpec(f"chunk is {self.chunk}; give 1 image or more")
        if (self.mean is None) != (self.std is None):
            raise InvalidSpec("give both mean and std, or neither")
        if not all(map(math.isfinite, (*(self.mean or ()), *(self.std or ())))) or min(self.std or (1.0,)) <= 0.0:
            raise InvalidSpec(f"mean {self.mean} and std {self.std} must be finite, and every std above 0")


PLAIN = TorchOptions()
"""A model as it is."""
