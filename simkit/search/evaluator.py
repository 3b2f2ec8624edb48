"""Stamps what a search proposes, asks the oracle once, and turns the answer into evidence."""

from __future__ import annotations

import numpy as np
import torch

from oracles.answers import Answer, is_finite
from oracles.meter import Steps
from oracles.oracle import Oracle, Tag
from simkit.data import ImageSet
from simkit.errors import SimkitError
from simkit.search.contract import Evidence, Proposal
from simkit.search.evidence import evidence_of
from simkit.triggers import IntArray, stamp

_BLOCK = 256
"""Images stamped at a time."""


class NotFinite(SimkitError):
    """The model answered NaN or infinity; nothing can be concluded from it."""


class Evaluator:
    """The only place where images, triggers and the oracle meet. `queries` counts what was asked here.

    steps: where steps are opened; None sends queries without a tag.
    """

    def __init__(self, oracle: Oracle, steps: Steps | None) -> None:
        self._oracle, self._opened = oracle, steps
        self._steps = 0
        self.queries = 0

    @property
    def n_classes(self) -> int:
        """How many classes the service states that it has."""
        return self._oracle.n_classes

    def evaluate(self, images: ImageSet, proposal: Proposal, purpose: str, state: str = "{}") -> Evidence:
        """Evidence for every pair of the proposal, (N, T). Raises Refused, NotFinite."""
        masks, patterns = torch.from_numpy(proposal.triggers.masks), torch.from_numpy(proposal.triggers.patterns)
        candidate, image = (torch.from_numpy(column) for column in proposal.pairs.T.astype(np.int64))
        stamped = torch.empty(len(image), *images.image_shape)
        # block by block: gathered whole, masks and patterns would take twice the memory again
        for start in range(0, len(image), _BLOCK):
            some = slice(start, start + _BLOCK)
            stamped[some] = stamp(images.pixels[image[some]], masks[candidate[some]], patterns[candidate[some]])
        rows = np.ascontiguousarray(proposal.pairs[:, ::-1])
        return evidence_of(self._ask(stamped, rows, purpose, state), images.labels[proposal.pairs[:, 1]])

    def clean(self, images: ImageSet, indices: IntArray, purpose: str) -> Evidence:
        """Evidence of the images as they are; their candidate is -1 in the ledger."""
        rows = np.column_stack([indices, np.full_like(indices, -1)])
        return evidence_of(self._ask(images.pixels[indices], rows, purpose, "{}"), images.labels[indices])

    def unlabelled(self, pixels: torch.Tensor, rows: IntArray, purpose: str, state: str) -> Evidence:
        """Evidence of images that belong to no set, (N, T); rows: image and candidate as the ledger is to have them."""
        return evidence_of(self._ask(pixels, rows, purpose, state), np.full(len(rows), -1, dtype=np.int32))

    def _ask(self, pixels: torch.Tensor, rows: IntArray, purpose: str, state: str) -> Answer:
        step = None if self._opened is None else self._opened.open_step(self._steps, purpose, state)
        self._steps += 1  # a refused step keeps its number: another purpose must not come under it
        answer = self._oracle.query(pixels, None if step is None else Tag(step, rows))
        self.queries += len(rows)
        if not is_finite(answer):
            raise NotFinite(
                f"the model answered NaN or infinity in step {self._steps - 1}; is it trained, and its input scaled?"
            )
        return answer
