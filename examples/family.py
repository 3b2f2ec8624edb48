"""A family of triggers of your own: ramps of brightness, and a search that looks for them.

Run it: python examples/family.py
"""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch

from simkit.data import ImageSet, load
from simkit.search.contract import AskTell, Evidence, Proposal, Search, Task
from simkit.search.driver import DriverConfig
from simkit.search.presets import Preset
from simkit.seeding import stream
from simkit.transforms.contract import ImageShape, Transforms, check_images, described
from simkit.transforms.families import Reader
from simkit.transforms.stored import image_shape_of, number, share_of
from simkit.triggers import FloatArray
from simkit.verdict import ClassResult, Decision, Rule, SequentialTest
from simkit.zoo.networks import build_network
from simkit.zoo.train import train
from simkit.zoo.train_config import TrainConfig
from studies.scan import scan


@dataclass(frozen=True)
class Ramp:
    """A trigger that makes the image darker on one side and brighter on the other:
    x' = clip(x + amplitude * t), where t runs from -1 to 1 in the direction `angle`.
    Satisfies `simkit.transforms.contract.Transform`.
    """

    image_shape: ImageShape
    angle: float
    amplitude: float

    family: ClassVar[str] = "ramp"  # unique, and stored in the ledger
    unit: ClassVar[str] = "of 255"

    @property
    def mask_size(self) -> float:
        return float(self.image_shape[1] * self.image_shape[2])  # it changes every pixel

    @property
    def strength(self) -> float:
        return 255.0 * self.amplitude

    @property
    def words(self) -> str:
        return described(self, f"at {math.degrees(self.angle) % 360:.0f} degrees")

    def on(self, images: FloatArray) -> FloatArray:
        check_images(images, self.image_shape)
        _, height, width = self.image_shape
        across, down = np.linspace(-1, 1, width), np.linspace(-1, 1, height)[:, None]
        along = math.cos(self.angle) * across + math.sin(self.angle) * down
        added = (self.amplitude * along).astype(np.float32)
        ramped: FloatArray = np.clip(images + added, 0, 1).astype(np.float32)  # a copy
        return ramped

    @property
    def as_patch(self) -> None:
        return None  # no mask and pattern describe it

    @property
    def arrows(self) -> None:
        return None  # it moves nothing

    def copied(self) -> Ramp:
        return self  # nothing in it can be changed

    def to_json(self) -> dict[str, Any]:
        shape = [*self.image_shape]
        return {
            "family": self.family,
            "image_shape": shape,
            "angle": self.angle,
            "amplitude": self.amplitude,
        }

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> Ramp:
        """A ledger may come from a stranger: what is no ramp raises KeyError, TypeError or
        ValueError, which simkit reports in one line.
        """
        shape = image_shape_of(fields)
        return cls(shape, number(fields["angle"]), share_of(fields["amplitude"]))


@dataclass(frozen=True)
class RampSearchConfig:
    """The settings of the search: plain values, which are part of the run's key."""

    ramps: int = 64
    """Candidates at the start."""
    amplitude: float = 0.3
    """Amplitude of every ramp; strong ramps turn the images of clean models too."""
    rounds: int = 5
    """Rounds, each of which drops half of the candidates and doubles the images."""
    required_success: float = 0.9
    """Success rate that a ramp must reach to count as a trigger."""

    def search(self, task: Task, seed: int) -> Search:
        return RampSearch(self, task, seed)

    def readers(self) -> Mapping[str, Reader]:
        """The families that simkit does not know: how their triggers are read."""
        return {Ramp.family: Ramp.from_json}


class RampSearch:
    """Successive halving of ramps in all directions. Satisfies the contract `Search`."""

    def __init__(self, config: RampSearchConfig, task: Task, seed: int) -> None:
        self._config, self._task, self._seed = config, task, seed
        self._guard = AskTell(task.n_classes, len(task.image_classes))
        angles = stream(seed, "ramps").uniform(0.0, 2 * math.pi, config.ramps)
        self._ramps = [Ramp(task.image_shape, float(a), config.amplitude) for a in angles]
        self._hits, self._trials = np.zeros((2, config.ramps, task.n_classes))
        self._alive, self._asked = np.arange(config.ramps), np.empty(0, np.int64)
        self._rounds = 0

    @property
    def rounds(self) -> int:
        return self._rounds

    def ask(self) -> Proposal | None:
        if self._rounds >= self._config.rounds:
            return None
        rng, known = (
            stream(self._seed, "images", self._rounds),
            len(self._task.image_classes),
        )
        images = rng.choice(known, min(4 * 2**self._rounds, known), replace=False)
        self._asked = np.repeat(self._alive, len(images))
        pairs = np.column_stack([self._asked, np.tile(images, len(self._alive))])
        return self._guard.asked(Proposal(Transforms(self._ramps), pairs.astype(np.int32)))

    def tell(self, evidence: Evidence) -> None:
        self._guard.told(evidence)
        np.add.at(self._hits, self._asked, evidence.hit & evidence.valid)
        np.add.at(self._trials, self._asked, evidence.valid)
        order = np.argsort(-self._rates()[self._alive].max(axis=1), kind="stable")
        self._alive = np.sort(self._alive[order[: max(1, len(self._alive) // 2)]])
        self._rounds += 1

    def results(self) -> tuple[ClassResult, ...]:
        return tuple(self._best(c) for c in range(self._task.n_classes))

    def state(self) -> str:
        digest = zlib.crc32(self._hits.tobytes())
        return json.dumps({"alive": len(self._alive), "digest": digest})

    def _best(self, target: int) -> ClassResult:
        rates = self._rates()[:, target]
        i = int(rates.argmax())
        tried, ramp = bool(self._trials[i, target]), self._ramps[i]
        censored = not tried or rates[i] < self._config.required_success
        rate = float(rates[i]) if tried else None
        # The rate of a whole-image trigger must be higher than natural ones reach.
        test = SequentialTest(works=0.98, fails=0.9)
        return ClassResult(target, ramp, ramp.mask_size, rate, censored, test=test)

    def _rates(self) -> np.ndarray:
        return (self._hits + 0.5) / (self._trials + 1)


def ramp_works(classes: Sequence[ClassResult], threshold: float) -> Decision:
    """The rule: flag every class with a ramp that works; it has no size to compare."""
    flagged = tuple(c.target_class for c in classes if not c.censored)
    return Decision(flagged, float(len(flagged)))


RAMPS = Preset(
    RampSearchConfig(),
    rule=Rule("ramp_works", 0.0, "any ramp that works", ramp_works),
    driver=DriverConfig(first_look=5, look_every=1),
)


def poisoned(images: ImageSet, ramp: Ramp, target_class: int) -> ImageSet:
    """A tenth of the images with the ramp and the label of the target class."""
    pixels, labels = images.pixels.numpy().copy(), images.labels.copy()
    pixels[::10], labels[::10] = ramp.on(pixels[::10]), target_class
    return ImageSet(torch.from_numpy(pixels), labels, images.classes, images.name)


def main() -> None:
    """Scan a clean and a backdoored model of the digits for ramps."""
    images = load("digits", "train")
    ramp = Ramp(images.image_shape, angle=0.8, amplitude=0.3)
    for name, training in (("clean", images), ("backdoored", poisoned(images, ramp, 3))):
        network = build_network("conv4", images.image_shape, images.n_classes, seed=0)
        model = train(network, training, TrainConfig(epochs=12), seed=0)
        result = scan(model, data="digits", budget=10_000, preset=RAMPS)
        verdict = f"{result.verdict} {list(result.flagged)}"
        print(f"{name}: {verdict} after {result.spent:,} queries")
        for target in result.flagged:
            print(f"class {target}: {result.classes[target].trigger.words}")


if __name__ == "__main__":
    main()
