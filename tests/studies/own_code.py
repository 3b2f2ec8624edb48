"""A searcher, a rule and a restriction of a user's own, as small as they can be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from oracles.answers import Answer, Scores
from oracles.oracle import Oracle, Tag, Wrapper
from simkit.search.contract import AskTell, Evidence, Proposal, Search, Task
from simkit.search.driver import DriverConfig
from simkit.search.presets import Preset
from simkit.triggers import Trigger, Triggers
from simkit.verdict import ClassResult, Decision, Rule


@dataclass(frozen=True)
class CornerConfig:
    """side: of the white square in the corner, in pixels. rounds: asks."""

    side: int = 2
    rounds: int = 4

    def search(self, task: Task, seed: int) -> Search:
        return CornerSearch(self, task)


class CornerSearch:
    """Tries one white corner on every image, some images a round."""

    def __init__(self, config: CornerConfig, task: Task) -> None:
        self._config, self._task, self._rounds = config, task, 0
        self._guard = AskTell(task.n_classes, len(task.image_classes))
        self._hits, self._trials = np.zeros((2, task.n_classes), dtype=np.int64)
        mask = np.zeros((1, *task.image_shape[1:]), np.float32)
        mask[:, : config.side, : config.side] = 1.0
        self._trigger = Trigger(mask, np.broadcast_to(mask, task.image_shape).copy())

    @property
    def rounds(self) -> int:
        return self._rounds

    def ask(self) -> Proposal | None:
        if self._rounds >= self._config.rounds:
            return None
        images = np.arange(self._rounds, len(self._task.image_classes), self._config.rounds, dtype=np.int32)
        pairs = np.column_stack([np.zeros_like(images), images])
        return self._guard.asked(Proposal(Triggers.of([self._trigger]), pairs))

    def tell(self, evidence: Evidence) -> None:
        self._guard.told(evidence)
        self._hits += (evidence.hit & evidence.valid).sum(axis=0)
        self._trials += evidence.valid.sum(axis=0)
        self._rounds += 1

    def results(self) -> tuple[ClassResult, ...]:
        rates = self._hits / np.maximum(self._trials, 1)
        size = self._trigger.mask_size
        return tuple(ClassResult(c, self._trigger, size, float(r), bool(r < 0.9)) for c, r in enumerate(rates))

    def state(self) -> str:
        return "{}"


def any_that_works(classes: Sequence[ClassResult], threshold: float) -> Decision:
    flagged = tuple(c.target_class for c in classes if not c.censored)
    return Decision(flagged, float(len(flagged)))


CORNER = Preset(CornerConfig(), rule="small_patch", driver=DriverConfig(check_images=16, first_look=2, look_every=2))
ANY = Rule("any", 0.0, "for this test", any_that_works)


@dataclass(frozen=True)
class Dimmed:
    """Answers shrunk towards even scores, more with every query. step: by how much a query."""

    step: float = 1e-6

    def wrap(self, inner: Oracle, first: int) -> Oracle:
        return _Dimmer(inner, first, self.step)


class _Dimmer(Wrapper):
    def __init__(self, inner: Oracle, first: int, step: float) -> None:
        super().__init__(inner, first)
        self._step = step

    def after(self, answer: Answer, tag: Tag | None) -> Answer:
        assert isinstance(answer, Scores)
        share = self._step * (self.answered + np.arange(len(answer)))[:, None]
        return Scores(((1 - share) * answer.values + share / answer.n_classes).astype(np.float32))


DIMMED = Dimmed()
