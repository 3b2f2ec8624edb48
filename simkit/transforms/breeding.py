"""How a race draws and mutates the candidates of a family: the contract, and what the families share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from simkit.errors import ConfigError
from simkit.transforms.contract import ImageShape, Transform
from simkit.verdict import SequentialTest

PART = 0.95
"""Probability that the child of a candidate with several parts is a random half of it (prototype)."""


class Breeder(Protocol):
    """Draws candidates of one family for images of one shape. What a candidate is, only its family knows."""

    def fresh(self, rng: np.random.Generator) -> Any:
        """A random candidate, usually of several parts."""
        ...

    def child(self, parent: Any, mates: Sequence[Any], rng: np.random.Generator) -> Any:
        """A half of the parent, or a mutant. mates: other good candidates of the family for the same class."""
        ...

    def transform(self, candidate: Any) -> Transform:
        """The trigger that the candidate stands for."""
        ...

    def share(self, candidate: Any) -> float:
        """The candidate's strength in multiples of the largest that may pass."""
        ...


@runtime_checkable
class Vectored(Protocol):
    """A breeder whose candidates are vectors of numbers, in which a class's margin may rise along a direction."""

    def vector(self, candidate: Any) -> NDArray[np.float64]:
        """The candidate as a vector (size,), about of length sqrt(size) at the largest strength."""
        ...

    def along(self, vector: NDArray[np.float64], rng: np.random.Generator) -> Any:
        """A candidate in this direction, of any length, with the largest strength or a little less."""
        ...


class Family(Protocol):
    """The settings of one family in a race: a frozen dataclass of plain values."""

    @property
    def name(self) -> str:
        """The name of the family, as in `Transform.family`."""
        ...

    @property
    def required_success(self) -> float:
        """Rate (hits + 0.5) / (trials + 1) that a candidate needs before it is tested."""
        ...

    @property
    def required_trials(self) -> int:
        """Answers that a candidate needs before it is tested; what is bred longer before has a higher success."""
        ...

    @property
    def screen(self) -> SequentialTest:
        """The race's own test, on search images that rank nothing; a candidate that passes is confirmed by `test`."""
        ...

    @property
    def test(self) -> SequentialTest:
        """The test on unseen images: a success that hardly any trigger of this family reaches on clean models."""
        ...

    def from_json(self, fields: Mapping[str, Any]) -> Transform:
        """The trigger that `to_json` of one of its triggers wrote. Raises KeyError, TypeError or ValueError."""
        ...

    def breeder(self, image_shape: ImageShape) -> Breeder:
        """How candidates for images of this shape, (C, H, W), are drawn and mutated."""
        ...


def check_testable(families: Sequence[Family], most_trials: int) -> None:
    """Raise ConfigError where no candidate of a family could come to be tested, so that it would never be found.

    most_trials: answers after which a candidate gets no more.
    """
    for family in families:
        if not 0 < family.required_success < 1 or not 1 <= family.required_trials <= most_trials:
            raise ConfigError(
                f"required_success of the family {family.name} must lie in (0, 1), and its required_trials from 1 to "
                f"most_trials {most_trials}"
            )


def kept(parts: int, rng: np.random.Generator) -> NDArray[np.intp] | None:
    """The parts that a child keeps, at random one half; None if it keeps all of them and is mutated instead."""
    if parts < 2 or rng.random() >= PART:
        return None
    return np.asarray(rng.permutation(parts)[: (parts + 1) // 2])


def some_strength(rng: np.random.Generator) -> float:
    """The share of the largest strength that a mutant has: all of it in four of five cases, else 0.7 or more."""
    return 1.0 if rng.random() < 0.8 else float(rng.uniform(0.7, 1.0))
