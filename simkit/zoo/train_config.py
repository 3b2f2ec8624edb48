"""The training settings of victims as plain values, which are read without torch, since torch is slow to import."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from pydantic import ConfigDict

from simkit.errors import ConfigError


@dataclass(frozen=True)
class TrainConfig:
    """How a victim is trained: SGD with momentum on a one-cycle schedule. Raises ConfigError outside the ranges."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")  # a typo in a zoo spec must be an error

    epochs: int = 5
    """Passes over the images, 1 or more."""
    batch: int = 128
    """Images per step, 2 or more."""
    learning_rate: float = 0.1
    """Peak learning rate of the cycle."""
    weight_decay: float = 5e-4
    """Weight decay of SGD."""
    momentum: float = 0.9
    """Nesterov momentum of SGD."""
    precision: Literal["bfloat16", "float32"] = "bfloat16"
    """Precision of the forward pass; `bfloat16` is faster on processors that multiply it fast, and slower on others."""
    train_images: int | None = None
    """Number of training images, chosen at random; None takes all."""
    augment: bool = False
    """Shift each image by up to an eighth of its side; leave it off if the position distinguishes classes."""
    flips: bool = True
    """With `augment`, also mirror half of the images; turn it off if left and right distinguish classes."""
    device: str = "cpu"
    """The device of the training: `cpu`, `cuda`, ...; different devices give different weights."""

    def __post_init__(self) -> None:
        images = 1 if self.train_images is None else self.train_images
        if self.epochs < 1 or self.batch < 2 or images < 1:
            raise ConfigError(f"{self.epochs} epochs, batch {self.batch}, {images} images; need 1, 2 and 1 or more")
        if not (self.learning_rate > 0.0 and self.weight_decay >= 0.0 and 0.0 < self.momentum < 1.0):
            raise ConfigError("learning_rate must be above 0, weight_decay 0 or more, momentum in (0, 1)")
        if self.precision not in ("bfloat16", "float32"):
            raise ConfigError(f"no precision {self.precision!r}; choose bfloat16 or float32")
