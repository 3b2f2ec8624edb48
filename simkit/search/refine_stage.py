"""The refinement of one trigger: its search, its query budget, and the comparison of both triggers on unseen images."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, replace

import numpy as np

from simkit.search.confirm import Confirmer
from simkit.search.contract import Proposal, Task
from simkit.search.driver import Checkpoint
from simkit.search.evaluator import Evaluator
from simkit.search.images import ScanImages
from simkit.search.refine import Refine, RefineConfig
from simkit.transforms.contract import Transforms
from simkit.verdict import ClassResult

_BATCH = 4
"""Unseen images per call where those of the trial do not decide whether a trigger stands."""


@dataclass(frozen=True)
class Refinement:
    """Refines the result of one class (`start`) on these images. seed: seed of the random draws."""

    config: RefineConfig
    start: ClassResult
    images: ScanImages
    seed: int

    def run(self, evaluator: Evaluator, limit: int | None) -> Generator[Checkpoint, None, ClassResult]:
        """The refined result, or `start` if that does better on unseen images; censored if it does not stand.

        limit: query budget of the evaluator.

        A trigger without a mask is returned as it is. Both triggers are tried on up to `verify_images` unseen images,
        for which queries are reserved. Raises Refused if the service refuses.
        """
        if self.start.trigger.as_patch is None:
            return self.start
        search_images = self.images.search
        task = Task(search_images.image_shape, evaluator.n_classes, search_images.labels)
        search, kept = Refine(self.config, task, self.start, self.seed), 2 * self.config.verify_images
        if limit is not None and evaluator.queries + self.config.least_queries + kept > limit:
            return self.start
        while (proposal := search.ask()) is not None:
            if limit is not None and evaluator.queries + len(proposal.pairs) + kept > limit:
                break
            search.tell(evaluator.evaluate(search_images, proposal, "search", search.state()))
            yield Checkpoint(evaluator.queries, search.rounds)
        if search.best is None:
            return self.start
        better = max(self._tried(self.start, evaluator), self._tried(search.best, evaluator), key=self._rank)
        return self._standing(better, evaluator)

    def _standing(self, result: ClassResult, evaluator: Evaluator) -> ClassResult:
        """The result of a refinement after what `config.standing` asks of it, see there."""
        standing = self.config.standing
        if standing is None or standing.small(result):
            return result
        confirmer = Confirmer(evaluator, self.images.verify, standing.test, _BATCH)
        tested = replace(result, test=None)
        confirmer.go_on(tested)
        stands, trial = confirmer.works(tested), confirmer.trial(tested)
        return replace(result, success_rate=trial.hits / trial.trials, trials=trial.trials, censored=not stands)

    def _tried(self, result: ClassResult, evaluator: Evaluator) -> ClassResult:
        """The result with the success rate on unseen images."""
        images = np.flatnonzero(self.images.verify.labels != result.target_class)[: self.config.verify_images]
        pairs = np.column_stack([np.zeros_like(images), images]).astype(np.int32)
        proposal = Proposal(Transforms([result.trigger]), pairs)
        evidence = evaluator.evaluate(self.images.verify, proposal, "verify")
        rate = float(evidence.hit[:, result.target_class].mean())
        return replace(result, success_rate=rate, trials=len(images), censored=False)

    def _rank(self, result: ClassResult) -> tuple[bool, float]:
        """Ranks the smaller of two working triggers higher, otherwise the one with the higher success rate."""
        rate = result.success_rate or 0.0
        works = rate >= self.config.b3d.required_success
        return works, -result.mask_size if works else rate
