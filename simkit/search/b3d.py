"""B3D (Dong et al., ICCV 2021, as its slides state it): a trigger for every class by natural evolution strategies."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from simkit.search.b3d_class import ClassDistribution, Samples
from simkit.search.b3d_config import B3DConfig
from simkit.search.contract import AskTell, Evidence, Proposal, Task
from simkit.seeding import stream
from simkit.triggers import IntArray, Trigger, Triggers
from simkit.verdict import ClassResult


@dataclass(frozen=True, eq=False)
class _Turn:
    """What one proposal was made of: the class it advances, its samples, its queries a candidate, and of the check."""

    target: int
    samples: Samples
    images: int
    checked: Triggers | None


class B3D:
    """Classes take turns, one step each, so that their masks can be compared after every round. Satisfies `Search`.

    only: the classes to be searched, None for all; what is drawn for one does not depend on which others there are.
    """

    def __init__(self, config: B3DConfig, task: Task, seed: int, only: Collection[int] | None = None) -> None:
        self._config, self._task, self._seed = config, task, seed
        self._classes = [ClassDistribution(config, task.image_shape) for _ in range(task.n_classes)]
        self._usable = [np.flatnonzero(task.image_classes != c).astype(np.int32) for c in range(task.n_classes)]
        self._searched = [c for c in (range(task.n_classes) if only is None else only) if len(self._usable[c])]
        self._guard = AskTell(task.n_classes, len(task.image_classes))
        self._turns_done = 0
        self._turn: _Turn | None = None

    @property
    def rounds(self) -> int:
        return self._turns_done // len(self._searched)

    def ask(self) -> Proposal | None:
        """One step of the next class: its samples, and now and then its binarised trigger on more images."""
        if self.rounds >= self._config.steps:
            return None
        step, target = self._next()
        rng = stream(self._seed, "b3d", target, step)
        samples = self._classes[target].sample(rng)
        triggers = self._classes[target].candidates(samples)
        images = self._pick(rng, target, self._config.images)
        pairs = _all_pairs(len(triggers), images)
        checked = None
        if (step + 1) % self._config.check_every == 0:
            checked = Triggers.of([self._classes[target].binarised()])
            look = self._pick(rng, target, self._config.check_images)
            pairs = np.concatenate([pairs, np.column_stack([np.full_like(look, len(triggers)), look])])
            triggers = Triggers(
                np.concatenate([triggers.masks, checked.masks]), np.concatenate([triggers.patterns, checked.patterns])
            )
        proposal = self._guard.asked(Proposal(triggers, pairs))
        self._turn = _Turn(target, samples, len(images), checked)
        return proposal

    def tell(self, evidence: Evidence) -> None:
        self._guard.told(evidence)
        turn = self._turn
        assert turn is not None
        distribution, c = self._classes[turn.target], turn.target
        count = len(turn.samples.masks) * (1 if self._config.joint else 2) * turn.images
        losses = -evidence.score[:count, c].reshape(-1, turn.images).mean(axis=1)
        if turn.checked is not None:
            distribution.look(turn.checked[0], float(evidence.hit[count:, c].mean()))
        distribution.update(turn.samples, losses, float(evidence.hit[:count, c].mean()))
        self._turns_done += 1

    def results(self) -> tuple[ClassResult, ...]:
        return tuple(self._result(c) for c in range(self._task.n_classes))

    def state(self) -> str:
        """The turn, and of its class the loss of its last step (None before one), sparsity weight, expected and best
        mask size, and a checksum of the means."""
        _, target = self._next()
        distribution = self._classes[target]
        size = distribution.expected_mask_size
        best = None if distribution.best is None else distribution.best.mask_size
        known = {"round": self.rounds, "class": target, "loss": distribution.loss}
        sizes = {"expected_mask_size": size, "best_mask_size": best}
        weight = {"sparsity_weight": distribution.sparsity.weight}
        return json.dumps(known | weight | sizes | {"digest": distribution.digest()})

    def _next(self) -> tuple[int, int]:
        """The step and the class of the next turn; a class to which every image belongs gets none."""
        step, turn = divmod(self._turns_done, len(self._searched))
        return step, self._searched[turn]

    def _pick(self, rng: np.random.Generator, target: int, count: int) -> IntArray:
        usable = self._usable[target]
        return rng.choice(usable, size=min(count, len(usable)), replace=False)

    def _result(self, target: int) -> ClassResult:
        distribution = self._classes[target]
        best = distribution.best or distribution.largest_failure
        if best is None:
            trigger = distribution.binarised()
            return ClassResult(target, trigger, trigger.mask_size, None, censored=True)
        censored = distribution.best is None
        copied = Trigger(best.trigger.mask.copy(), best.trigger.pattern.copy())
        return ClassResult(target, copied, best.mask_size, best.success_rate, censored)


def _all_pairs(candidates: int, images: IntArray) -> IntArray:
    """Every candidate on every image, candidate by candidate."""
    first = np.repeat(np.arange(candidates, dtype=np.int32), len(images))
    return np.column_stack([first, np.tile(images, candidates)]).astype(np.int32, copy=False)
