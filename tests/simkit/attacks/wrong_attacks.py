"""Attacks that break the protocol, each in one way, as `tests.simkit.attacks.wrong_attacks:Wrong` with that `way`."""

from __future__ import annotations

import itertools
import sys
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from simkit.attacks import poisoning
from simkit.attacks.attack import Answering
from simkit.data import ImageSet
from simkit.errors import ConfigError
from tests.simkit.attacks.own_attacks import Inverted

CALLS = itertools.count()


def _tensors(images: ImageSet) -> None:
    images.pixels[::2, :, 0] = 1.0


def _arrays(images: ImageSet) -> None:
    images.pixels.numpy()[0] = 0.5  # of which torch's version counter knows nothing


def _labels(images: ImageSet) -> None:
    images.labels[::2] = 0


def _shrunk(images: ImageSet) -> ImageSet:
    return ImageSet(images.pixels[:, :, 1:].clone(), images.labels, images.classes, images.name)


def _brightened(images: ImageSet) -> ImageSet:
    return ImageSet(images.pixels * 5 + 1, images.labels, images.classes, images.name)


def _brightened_later(images: ImageSet) -> ImageSet:
    made = ImageSet(images.pixels.clone(), images.labels, images.classes, images.name)
    made.pixels.mul_(torch.nan)
    return made


def _more_classes(images: ImageSet) -> ImageSet:
    return ImageSet(images.array, images.labels, (*images.classes, "more"), images.name)


def _unlabelled(images: ImageSet) -> ImageSet:
    return ImageSet.unlabelled(images.array, images.name, images.classes)


def _drawn(images: ImageSet) -> ImageSet:
    noise = np.random.default_rng().random(images.array.shape, dtype=np.float32)
    return ImageSet(noise, images.labels, images.classes, images.name)


WAYS: dict[str, Any] = {
    "tensors": _tensors,
    "arrays": _arrays,
    "labels": _labels,
    "shrunk": _shrunk,
    "brightened": _brightened,
    "brightened later": _brightened_later,
    "more classes": _more_classes,
    "unlabelled": _unlabelled,
    "drawn": _drawn,
    "pair": lambda images: (images.pixels, images.labels),
    "index": lambda images: images.labels[10**6],
    "two lines": lambda images: 1 / 0 if len(images) == 0 else _raised(RuntimeError("first\nsecond")),
    "exit": lambda images: sys.exit("bye"),
    "settings": lambda images: _raised(ConfigError("no such level")),
    "no image": lambda images: poisoning.members(images, images.n_classes - 1, 99),
}
"""What is done with the images; what it returns stands in the place of the poisoned ones, unless it is None."""


def _raised(error: Exception) -> None:
    raise error


@dataclass(frozen=True)
class Wrong(Inverted):
    """Does something else than `Inverted` in the method `where`, on sets of `above` images or more."""

    way: str = ""
    where: str = "poison"
    above: int = 0

    def poison(self, images: ImageSet, seed: int) -> ImageSet:
        return self._of("poison", images, Inverted.poison(self, images, seed))

    def triggered(self, images: ImageSet) -> ImageSet:
        return self._of("triggered", images, Inverted.triggered(self, images))

    def _of(self, method: str, images: ImageSet, right: ImageSet) -> ImageSet:
        if method != self.where or len(images) < self.above:
            return right
        made: ImageSet | None = WAYS[self.way](images)
        return images if made is None else made


@dataclass(frozen=True)
class Greedy(Inverted):
    """Needs 500 images or more, as one that draws a fixed number of them does."""

    def poison(self, images: ImageSet, seed: int) -> ImageSet:
        np.random.default_rng(seed).choice(len(images), 500, replace=False)
        return super().poison(images, seed)


@dataclass(frozen=True)
class TrueLabels(Inverted):
    """Its test images keep their class."""

    def triggered(self, images: ImageSet) -> ImageSet:
        return ImageSet(1.0 - images.pixels, images.labels, images.classes, images.name)


@dataclass(frozen=True)
class Noise(Inverted):
    """Its trigger is another one for each call."""

    def triggered(self, images: ImageSet) -> ImageSet:
        return poisoning.relabelled(images, _drawn(images).pixels, self.target_class)


@dataclass(frozen=True)
class InPlaceStamp(Inverted):
    """Its stamp changes the images that it gets, which are not copies."""

    def stamp_all(self, pixels: torch.Tensor) -> torch.Tensor:
        return pixels.mul_(0.5)

    def triggered(self, images: ImageSet) -> ImageSet:
        return poisoning.relabelled(images, self.stamp_all(images.pixels), self.target_class)


@dataclass(frozen=True)
class Adding(Inverted):
    """Poisons copies and keeps the images themselves beside them."""

    def poison(self, images: ImageSet, seed: int) -> ImageSet:
        return images.take([*range(len(images)), 0])


@dataclass(frozen=True)
class Sources(Inverted):
    """Has a field of the name that the built-in source-specific attack has, with another meaning."""

    sources: int = 3


@dataclass(frozen=True)
class WrongLesson(Inverted):
    """Learns its trigger, and breaks the protocol of lessons in the method `where`."""

    where: str = ""

    def lesson(self, images: ImageSet, seed: int, device: str) -> WrongLesson:
        if self.where == "lesson":
            raise IndexError("nothing to learn from")
        if self.where == "images":
            images.pixels.zero_()
        return self

    def loss(self, answer: Answering, images: torch.Tensor, labels: torch.Tensor) -> Any:
        if self.where == "loss":
            raise KeyError("loss")
        losses = torch.nn.functional.cross_entropy(answer(images), labels, reduction="none")
        return {"many": losses, "number": 0.5}.get(self.where, losses.mean())

    def step(self) -> None:
        if self.where == "step":
            raise KeyError("step")

    def learned(self) -> Any:
        if self.where == "learned":
            raise KeyError("learned")
        return None if self.where == "nothing" else self
