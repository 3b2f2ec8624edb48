"""How a torch model is run, as plain values: settings are read without torch, which is slow to import."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

from oracles.errors import InvalidSpec

Output: TypeAlias = Literal["auto", "logits", "probabilities"]
Precision: TypeAlias = Literal["float32", "bfloat16"]


@dataclass(frozen=True)
class TorchOptions:
    """How a torch model is run; all of it belongs to a run's identity. Raises InvalidSpec.

    output: what the model answers; `auto` decides at the first answer. mean, std: one number a channel, subtracted from
    and divided into pixels in [0, 1] before the model. precision: of weights and images; scores are float32 always.
    chunk: images a forward pass, about 50 on CPUs, where the activations stay in the cache. device: as torch writes it.
    """

    output: Output = "auto"
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    precision: Precision = "float32"
    chunk: int = 50
    device: str = "cpu"

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
