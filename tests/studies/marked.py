"""Victims with a backdoor of any family in closed form, and a search that tries one trigger of that family."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from oracles.answers import Answer, Scores
from oracles.oracle import Tag
from simkit.search.contract import AskTell, Evidence, Proposal, Search, Task
from simkit.search.driver import DriverConfig
from simkit.search.presets import Preset
from simkit.seeding import stream
from simkit.transforms.blend import Blend, Layer
from simkit.transforms.contract import Transform, Transforms
from simkit.transforms.picture import Picture
from simkit.transforms.warp import Warp
from simkit.transforms.wave import Wave, Waves
from simkit.verdict import ClassResult
from tests.fakes import templates
from tests.studies.own_code import ANY
from tests.studies.scans import Count

SHAPE = (1, 12, 12)
TRIGGERS: Mapping[str, Transform] = {
    "wave": Waves(SHAPE, (Wave((2.0, 1.0), 0.3, (0.12,)),)),
    "blend": Blend(SHAPE, (Layer(0.2, 2, stream(1, "cells").integers(0, 256, (1, 6, 6)).astype(np.uint8)),)),
    "picture": Picture(SHAPE, 0.3, stream(1, "points").integers(0, 256, (1, 4, 4)).astype(np.uint8)),
    "warp": Warp(SHAPE, stream(1, "shifts").normal(0.0, 1.5, (4, 4, 2))),
}


class MarkedOracle:
    """Names the class whose template is nearest, and `target` where an image is nearer to a template with the trigger
    than to any without. Counts what was asked; the call number `stop_at` is interrupted."""

    n_classes = 4
    image_shape = SHAPE

    def __init__(self, trigger: Transform, target: int | None = 2, stop_at: int = 0) -> None:
        self._plain = (0.5 + 0.1 * templates(4, SHAPE)).astype(np.float32)
        self._marked, self._target, self.stop_at = trigger.on(self._plain), target, stop_at
        self.images_seen = self.calls = 0

    def query(self, images: torch.Tensor, tag: Tag | None = None) -> Answer:
        """See `Oracle.query`."""
        self.calls += 1
        if self.calls == self.stop_at:
            raise KeyboardInterrupt
        self.images_seen += len(images)
        pixels = images.numpy().reshape(len(images), 1, -1)
        plain, marked = (((pixels - t.reshape(4, -1)) ** 2).sum(axis=2) for t in (self._plain, self._marked))
        logits = -5.0 * plain.astype(np.float64)
        if self._target is not None:
            nearer = np.clip(plain.min(axis=1) - marked.min(axis=1), -2.0, 2.0)
            logits[:, self._target] += 40.0 / (1.0 + np.exp(-20.0 * nearer))
        scores = np.exp(logits - logits.max(axis=1, keepdims=True))
        return Scores((scores / scores.sum(axis=1, keepdims=True)).astype(np.float32))


class MarkedNet(nn.Module):
    """A network that answers as `MarkedOracle`, and is known by its weights. Counts the images that are forwarded."""

    def __init__(self, trigger: Transform, target: int = 2) -> None:
        super().__init__()
        plain = (0.5 + 0.1 * templates(4, SHAPE)).astype(np.float32)
        self.seen = Count()
        self.plain = nn.Parameter(torch.from_numpy(plain.reshape(4, -1)))
        self.marked = nn.Parameter(torch.from_numpy(trigger.on(plain).reshape(4, -1)))
        self.target = nn.Parameter(nn.functional.one_hot(torch.tensor(target), 4).float())

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.seen.images += len(images)
        plain, marked = (((images.flatten(1)[:, None] - t) ** 2).sum(-1) for t in (self.plain, self.marked))
        nearer = torch.sigmoid(20.0 * (plain.min(1).values - marked.min(1).values))
        return -5.0 * plain + 40.0 * nearer[:, None] * self.target


@dataclass(frozen=True)
class OneTriggerConfig:
    """family: of the trigger that is tried. rounds: asks."""

    family: str = "wave"
    rounds: int = 4

    def search(self, task: Task, seed: int) -> Search:
        return OneTrigger(self, task)


class OneTrigger:
    """Tries one trigger on every image, some images a round."""

    def __init__(self, config: OneTriggerConfig, task: Task) -> None:
        self._config, self._task, self._rounds = config, task, 0
        self._guard = AskTell(task.n_classes, len(task.image_classes))
        self._hits, self._trials = np.zeros((2, task.n_classes), dtype=np.int64)

    @property
    def rounds(self) -> int:
        return self._rounds

    def ask(self) -> Proposal | None:
        if self._rounds >= self._config.rounds:
            return None
        images = np.arange(self._rounds, len(self._task.image_classes), self._config.rounds, dtype=np.int32)
        pairs = np.column_stack([np.zeros_like(images), images])
        return self._guard.asked(Proposal(Transforms([TRIGGERS[self._config.family]]), pairs))

    def tell(self, evidence: Evidence) -> None:
        self._guard.told(evidence)
        self._hits += (evidence.hit & evidence.valid).sum(axis=0)
        self._trials += evidence.valid.sum(axis=0)
        self._rounds += 1

    def results(self) -> tuple[ClassResult, ...]:
        trigger, rates = TRIGGERS[self._config.family], self._hits / np.maximum(self._trials, 1)
        return tuple(ClassResult(c, trigger, trigger.mask_size, float(r), bool(r < 0.9)) for c, r in enumerate(rates))

    def state(self) -> str:
        return "{}"


def preset(family: str) -> Preset:
    """The search for the trigger of this family, under a rule that flags what works."""
    return Preset(OneTriggerConfig(family), rule=ANY, driver=DriverConfig(check_images=16, first_look=2, look_every=2))
