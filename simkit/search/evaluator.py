"""Puts the candidates that a search proposes on images, queries the oracle once, and turns the answer into evidence."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from oracles.answers import Answer, Labels, Scores, TopK, is_finite
from oracles.meter import Steps
from oracles.oracle import Oracle, Tag
from simkit.data import ImageSet
from simkit.errors import SimkitError
from simkit.search.contract import Evidence, Proposal
from simkit.search.evidence import evidence_of
from simkit.transforms.contract import Candidates
from simkit.triggers import FloatArray, IntArray


class NotFinite(SimkitError):
    """The model answered NaN or infinity, from which nothing can be concluded."""


def as_tensor(*parts: FloatArray) -> Any:
    """The images as oracles take them: one tensor of its own, in memory that torch has aligned."""
    import torch  # slow to import; a run is read off its ledger without it

    return torch.cat([torch.from_numpy(part) for part in parts])


def as_it_is(*parts: FloatArray) -> FloatArray:
    """The images themselves, for an oracle that holds all its answers: nothing is computed with them."""
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _not_finite(answer: Scores | TopK, step: int, before: int) -> str:
    """What is said of an answer with NaN or infinity. before: queries that were answered before it."""
    row = int(np.isfinite(answer.values).all(axis=1).argmin())
    where = f"the model answered NaN or infinity in step {step}, at query {before + row + 1}"
    if before:
        return f"{where}, after finite answers; scan again where it answers as before"
    return f"{where}; is it trained, and its input scaled?"


class Evaluator:
    """The only place where images, triggers and the oracle meet. `queries` counts the answered queries.

    steps: where steps are recorded; None sends queries without a tag. send: turns float32 arrays (N, C, H, W) into
    what the oracle takes; an oracle that replays stored answers may take the array itself, which needs no torch. admit:
    is given the candidates of every proposal before they are queried, and raises where they must not be.
    """

    def __init__(
        self,
        oracle: Oracle,
        steps: Steps | None,
        send: Callable[..., Any] = as_tensor,
        admit: Callable[[Candidates], None] | None = None,
    ) -> None:
        self._oracle, self._opened, self._send, self._admit = oracle, steps, send, admit
        self._steps = 0
        self.queries = 0

    @property
    def n_classes(self) -> int:
        """The number of classes that the service states."""
        return self._oracle.n_classes

    def evaluate(self, images: ImageSet, proposal: Proposal, purpose: str, state: str = "{}") -> Evidence:
        """Evidence for every pair of the proposal, (N, T). Raises Refused, NotFinite."""
        if self._admit is not None:
            self._admit(proposal.triggers)
        candidate, image = proposal.pairs.T
        stamped = images.array[image]
        proposal.triggers.put_on(stamped, candidate)
        rows = np.ascontiguousarray(proposal.pairs[:, ::-1])
        return evidence_of(self._ask([stamped], rows, purpose, state), images.labels[proposal.pairs[:, 1]])

    def clean(self, images: ImageSet, indices: IntArray, purpose: str) -> Evidence:
        """Evidence for unstamped images; their candidate is -1 in the ledger."""
        rows = np.column_stack([indices, np.full_like(indices, -1)])
        return evidence_of(self._ask([images.array[indices]], rows, purpose, "{}"), images.labels[indices])

    def unlabelled(self, *parts: FloatArray, rows: IntArray, purpose: str, state: str = "{}") -> Evidence:
        """Evidence for images without a class, (N, T), queried in one call. rows: image and candidate for the ledger.

        parts: arrays (n, C, H, W), which are joined only once, since images may take most of the memory.
        """
        return evidence_of(self._ask(parts, rows, purpose, state), np.full(len(rows), -1, dtype=np.int32))

    def _ask(self, parts: Sequence[FloatArray], rows: IntArray, purpose: str, state: str) -> Answer:
        step = None if self._opened is None else self._opened.open_step(self._steps, purpose, state)
        self._steps += 1  # a refused step keeps its number, which must not be used for another purpose
        answer = self._oracle.query(self._send(*parts), None if step is None else Tag(step, rows))
        self.queries += len(rows)
        if not isinstance(answer, Labels) and not is_finite(answer):
            raise NotFinite(_not_finite(answer, self._steps - 1, self.queries - len(rows)))
        return answer
