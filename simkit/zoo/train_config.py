"""How victims are trained, as plain values: specs and manifests are read without torch, which is slow to import."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from pydantic import ConfigDict

from simkit.errors import ConfigError


@dataclass(frozen=True)
class TrainConfig:
    """How a victim is trained: SGD with momentum on a one-cycle schedule. Raises ConfigError outside the ranges.

    epochs: passes over the images, 1 or more. batch: images a step, 2 or more. learning_rate: the peak of the cycle.
    weight_decay: of SGD. momentum: of SGD, Nesterov's. precision: of the forward pass; bfloat16 is about twice as fast.
    train_images: train on so many of the data set's images, chosen at random; None takes all. augment: shift each image
    by up to an eighth of its side; leave it off where the place tells classes apart. flips: with that, mirror half of
    the images; leave it off where left and right do. device: `cpu`, `cuda` ...; another one gives other weights.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")  # a zoo spec must not swallow a typo

    epochs: int = 5
    batch: int = 128
    learning_rate: float = 0.1
    weight_decay: float = 5e-4
    momentum: float = 0.9
    precision: Literal["bfloat16", "float32"] = "bfloat16"
    train_images: int | None = None
    augment: bool = False
    flips: bool = True
    device: str = "cpu"

    def __post_init__(self) -> None:
        images = 1 if self.train_images is None else self.train_images
        if self.epochs < 1 or self.batch < 2 or images < 1:
            raise ConfigError(f"{self.epochs} epochs, batch {self.batch}, {images} images; need 1, 2 and 1 or more")
        if not (self.learning_rate > 0.0 and self.weight_decay >= 0.0 and 0.0 < self.momentum < 1.0):
            raise ConfigError("learning_rate must be above 0, weight_decay 0 or more, momentum in (0, 1)")
        if self.precision not in ("bfloat16", "float32"):
            raise ConfigError(f"no precision {self.precision!r}; choose bfloat16 or float32")
