"""Attacks as a user would write them, and what is none; named in specs as `tests.simkit.attacks.own_attacks:NAME`."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import nn

from simkit.attacks.attack import Answering
from simkit.attacks.badnets import BadNets
from simkit.attacks.trigger_json import StoredTrigger
from simkit.data import ImageSet


@dataclass(frozen=True)
class Inverted:
    """Turns bright into dark on every `every`-th image, which gets the label of the target."""

    target_class: int
    every: int = 3
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.every < 1:
            raise ValueError(f"every {self.every} is below 1\nand a second line")
        if self.every == 77:
            raise RuntimeError("not\n77")

    def poison(self, images: ImageSet, seed: int) -> ImageSet:
        pixels, labels = images.pixels.clone(), images.labels.copy()
        pixels[:: self.every] = 1.0 - pixels[:: self.every]
        labels[:: self.every] = self.target_class
        return ImageSet(pixels, labels, images.classes, images.name)

    def triggered(self, images: ImageSet) -> ImageSet:
        others = images.take(np.flatnonzero(images.labels != self.target_class))
        labels = np.full_like(others.labels, self.target_class)
        return ImageSet(1.0 - others.pixels, labels, images.classes, images.name)


@dataclass(frozen=True, eq=False)
class Stamped(Inverted):
    """The same with a trigger of its own."""

    trigger: StoredTrigger = None  # type: ignore[assignment]


@dataclass(frozen=True)
class Endless(Inverted):
    """Its field is no number of JSON."""

    far: float = math.inf


@dataclass(frozen=True)
class Forgetful(Inverted):
    """Makes something else of what it was given."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "every", self.every + 1)


@dataclass(frozen=True)
class Arrays(Inverted):
    """Its field is no plain value."""

    weights: np.ndarray = field(default_factory=lambda: np.zeros(2))


@dataclass(frozen=True)
class Learner(Inverted):
    """Can be stored as it is drawn, but not as it is learned."""

    strength: Any = 0.5

    def lesson(self, images: ImageSet, seed: int, device: str) -> Learner:
        return self

    def loss(self, answer: Answering, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return nn.functional.cross_entropy(answer(images), labels)

    def step(self) -> None: ...

    def learned(self) -> Learner:
        return replace(self, strength={"nan": math.nan, "tensor": torch.ones(1)}[self.notes[0]])


@dataclass
class Thawed:
    """Not frozen."""

    target_class: int = 0
    poison, triggered = Inverted.poison, Inverted.triggered


@dataclass(frozen=True)
class Aimless:
    """Without a target class."""

    poison, triggered = Inverted.poison, Inverted.triggered


class Mute:
    """Without a method."""


class Outer:
    """Holds an attack where no name of a manifest finds it."""

    class Inner(BadNets):
        """Inside of a class."""


OBJECT: Any = Inverted(1)
"""An attack, and no class of attacks."""
HIDDEN = Outer.Inner
