"""Ask and tell: what a search proposes, and what it is told.

A search owns all target classes. It chooses images by index and never sees a pixel, a model or a budget. One answer of
the oracle is evidence about every class at once, so a proposal is not bound to one class.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from simkit.errors import ContractError
from simkit.triggers import FloatArray, IntArray, Triggers
from simkit.verdict import ClassResult

BoolArray: TypeAlias = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Task:
    """What a search may know: shape (C, H, W), number of classes, class of each search image (int32, -1: unknown)."""

    image_shape: tuple[int, int, int]
    n_classes: int
    image_classes: IntArray


@dataclass(frozen=True, eq=False)
class Proposal:
    """Queries to send: each pair stamps one candidate on one image.

    triggers: K candidates. pairs: int32 (N, 2), candidate in [0, K) and index of a search image.
    Raises ContractError on anything else.
    """

    triggers: Triggers
    pairs: IntArray

    def __post_init__(self) -> None:
        if self.pairs.dtype != np.int32 or self.pairs.ndim != 2 or self.pairs.shape[1] != 2 or len(self.pairs) == 0:
            raise ContractError(f"pairs are {self.pairs.dtype} {self.pairs.shape}; need int32 (N, 2), N >= 1")
        if self.pairs.min() < 0 or self.pairs[:, 0].max() >= len(self.triggers):
            raise ContractError(f"pairs name a candidate outside the {len(self.triggers)} that were proposed")


@dataclass(frozen=True, eq=False)
class Evidence:
    """What the answers to one proposal say about every class, T of them.

    score: float32 (N, T), higher is closer to the class: log-probability (an upper bound where the answer leaves the
    class out), or hit - 1 from labels, so that -score is the loss. hit: bool (N, T), the class was the best.
    valid: bool (N, T), False where an image says nothing, being of that class itself.
    """

    score: FloatArray
    hit: BoolArray
    valid: BoolArray

    def __post_init__(self) -> None:
        if not self.score.shape == self.hit.shape == self.valid.shape or self.score.ndim != 2:
            shapes = self.score.shape, self.hit.shape, self.valid.shape
            raise ContractError(f"evidence of shapes {shapes}; need one (N, T) for all three")


class Search(Protocol):
    """A searcher for triggers of all classes; state is per search and never reset in place."""

    @property
    def rounds(self) -> int:
        """How many times every class still searched has been advanced; results are comparable at equal rounds."""
        ...

    def ask(self) -> Proposal | None:
        """The next queries, or None when the search has converged. Asking twice without a tell raises ContractError."""
        ...

    def tell(self, evidence: Evidence) -> None:
        """Evidence for the last proposal, row by row. Without an ask, or of another size: ContractError."""
        ...

    def results(self) -> tuple[ClassResult, ...]:
        """The best so far, one per class in order; copies, never live state. May be called before any tell."""
        ...

    def state(self) -> str:
        """What the search knows, in short, as JSON for the ledger."""
        ...


class SearchConfig(Protocol):
    """The settings of a search, a frozen dataclass of plain values; they are part of what a run is known by."""

    def search(self, task: Task, seed: int) -> Search:
        """A fresh search, a function of these settings, `task` and `seed` alone. Raises ConfigError if it cannot be."""
        ...


@runtime_checkable
class Cautious(Protocol):
    """Settings of a search that suit some images less than others."""

    def warnings(self, image_shape: tuple[int, int, int], *, alone: bool) -> tuple[str, ...]:
        """What to warn of before a query is spent, with what to set instead; empty where nothing speaks against it.

        image_shape: (C, H, W) of the images. alone: whether no other search follows in the same scan.
        """
        ...


@runtime_checkable
class Limited(Protocol):
    """Settings of a search for one kind of trigger alone, which a clean verdict is to say."""

    @property
    def only_sought(self) -> str:
        """That kind of trigger, in words that go on a sentence: `random patch of up to 4x4 pixels`."""
        ...


class AskTell:
    """The guard of the contract, held by a search: order and shapes are checked where ask meets tell."""

    def __init__(self, n_classes: int, n_images: int) -> None:
        self._n_classes, self._n_images = n_classes, n_images
        self._open: Proposal | None = None

    def asked(self, proposal: Proposal) -> Proposal:
        """Note a proposal as open. Raises ContractError if one is open already or names an image that is not there."""
        if self._open is not None:
            raise ContractError("ask was called twice; tell the evidence of the last proposal first")
        if proposal.pairs[:, 1].max() >= self._n_images:
            raise ContractError(f"the proposal names an image outside the {self._n_images} search images")
        self._open = proposal
        return proposal

    def told(self, evidence: Evidence) -> Proposal:
        """The proposal this evidence belongs to, now closed; ContractError if there is none or the shape differs."""
        if self._open is None:
            raise ContractError("tell was called without an ask")
        if evidence.score.shape != (len(self._open.pairs), self._n_classes):
            raise ContractError(f"evidence {evidence.score.shape}; expected {(len(self._open.pairs), self._n_classes)}")
        proposal, self._open = self._open, None
        return proposal
