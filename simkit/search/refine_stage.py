"""The refinement of one trigger: its search, its query budget, and the comparison of both triggers on unseen images."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, replace

import numpy as np

from simkit.search.contract import Proposal, Task
from simkit.search.driver import Checkpoint
from simkit.search.evaluator import Evaluator
from simkit.search.images import ScanImages
from simkit.search.refine import Refine, RefineConfig
from simkit.transforms.contract import Transforms
from simkit.verdict import ClassResult


@dataclass(frozen=True)
class Refinement:
    """Refines the result of one class (`start`) on these images. seed: seed of the random draws."""

    config: RefineConfig
    start: ClassResult
    images: ScanImages
    seed: int

    def run(self, evaluator: Evaluator, limit: int | None) -> Generator[Checkpoint, None, ClassResult]:
        """The refined result, or `start` if that does better on unseen images. limit: query budget of the evaluator.

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
        return max(self._tried(self.start, evaluator), self._tried(search.best, evaluator), key=self._rank)

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
