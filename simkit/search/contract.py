"""The ask-and-tell contract between a search, which proposes queries, and the evaluator, which returns evidence.

A search covers all target classes. It chooses images by index and never sees a pixel, a model or a budget. One answer
of the oracle is evidence about every class at once, so a proposal is not bound to one class.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from simkit.errors import ContractError
from simkit.transforms.contract import Candidates
from simkit.transforms.families import Reader
from simkit.triggers import FloatArray, IntArray
from simkit.verdict import ClassResult

BoolArray: TypeAlias = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Task:
    """What a search knows: image shape (C, H, W), number of classes, class of each search image (int32, -1 unknown)."""

    image_shape: tuple[int, int, int]
    n_classes: int
    image_classes: IntArray


@dataclass(frozen=True, eq=False)
class Proposal:
    """Queries to send: each pair puts one candidate on one image.

    triggers: K candidates of any family. pairs: int32 (N, 2), candidate in [0, K) and index of a search image. Raises
    ContractError on other pairs.
    """

    triggers: Candidates
    pairs: IntArray

    def __post_init__(self) -> None:
        if self.pairs.dtype != np.int32 or self.pairs.ndim != 2 or self.pairs.shape[1] != 2 or len(self.pairs) == 0:
            raise ContractError(f"pairs are {self.pairs.dtype} {self.pairs.shape}; need int32 (N, 2), N >= 1")
        if self.pairs.min() < 0 or self.pairs[:, 0].max() >= len(self.triggers):
            raise ContractError(f"pairs name a candidate outside the {len(self.triggers)} that were proposed")


@dataclass(frozen=True, eq=False)
class Evidence:
    """The evidence in the answers to one proposal about each of the T classes.

    score: float32 (N, T), higher is closer to the class: the log-probability (an upper bound where the answer omits the
    class), or hit - 1 for label-only answers, so that -score is the loss. hit: bool (N, T), the class was the top
    class. valid: bool (N, T), False where the image belongs to that class itself and so gives no evidence.
    """

    score: FloatArray
    hit: BoolArray
    valid: BoolArray

    def __post_init__(self) -> None:
        if not self.score.shape == self.hit.shape == self.valid.shape or self.score.ndim != 2:
            shapes = self.score.shape, self.hit.shape, self.valid.shape
            raise ContractError(f"evidence of shapes {shapes}; need one (N, T) for all three")


class Search(Protocol):
    """A search for triggers of all classes. Its state is never reset; a new search is a new object."""

    @property
    def rounds(self) -> int:
        """How many steps every class has been advanced; results of classes are comparable after a full round."""
        ...

    def ask(self) -> Proposal | None:
        """The next queries, or None when the search has converged. Asking twice without a tell raises ContractError."""
        ...

    def tell(self, evidence: Evidence) -> None:
        """Take the evidence for the last proposal, row by row. Raises ContractError without an ask or on a wrong
        shape."""
        ...

    def results(self) -> tuple[ClassResult, ...]:
        """The best result so far, one per class in order, as copies. May be called before any tell."""
        ...

    def state(self) -> str:
        """A short summary of the search's state as JSON, for the ledger."""
        ...


class SearchConfig(Protocol):
    """The settings of a search: a frozen dataclass of plain values, which are part of a run's key."""

    def search(self, task: Task, seed: int) -> Search:
        """A new search, a function of these settings, `task` and `seed` only. Raises ConfigError if they do not fit."""
        ...


@runtime_checkable
class Cautious(Protocol):
    """Settings of a search that do not suit all images equally well."""

    def warnings(self, image_shape: tuple[int, int, int], *, alone: bool) -> tuple[str, ...]:
        """Warnings before the first query, each with what to set instead; empty if the settings suit the images.

        image_shape: (C, H, W) of the images. alone: whether no other search follows in the same scan.
        """
        ...


@runtime_checkable
class Choosy(Protocol):
    """Settings of a search that has nothing to look for on images of some shapes."""

    def takes(self, image_shape: tuple[int, int, int]) -> bool:
        """Whether it has something to look for on images of this shape, (C, H, W)."""
        ...


@runtime_checkable
class OwnFamilies(Protocol):
    """Settings of a search for triggers of families that do not come with simkit."""

    def readers(self) -> Mapping[str, Reader]:
        """What makes a trigger of its stored form, by the name of its family; the ledger is read with these."""
        ...


@runtime_checkable
class Bounded(Protocol):
    """Settings of a search whose length is known before it begins."""

    def full_length(self, n_classes: int) -> int:
        """The queries of the search where it runs to its end without detecting anything."""
        ...


@runtime_checkable
class Limited(Protocol):
    """Settings of a search for only one kind of trigger, which a clean verdict must state."""

    @property
    def only_sought(self) -> str:
        """That kind of trigger as part of a sentence: `random patch of up to 4x4 pixels`."""
        ...


@runtime_checkable
class Narrower(Protocol):
    """Settings of a search that looks for less in some places, which a clean verdict must state."""

    def narrower(self, image_shape: tuple[int, int, int]) -> str:
        """What it looks for there, on images of this shape, (C, H, W), as part of a sentence."""
        ...


class AskTell:
    """Checks for a search that ask and tell alternate and that the evidence has the shape of the proposal."""

    def __init__(self, n_classes: int, n_images: int) -> None:
        self._n_classes, self._n_images = n_classes, n_images
        self._open: Proposal | None = None

    def asked(self, proposal: Proposal) -> Proposal:
        """Store the open proposal. Raises ContractError if one is already open or names an image that does not
        exist."""
        if self._open is not None:
            raise ContractError("ask was called twice; tell the evidence of the last proposal first")
        if proposal.pairs[:, 1].max() >= self._n_images:
            raise ContractError(f"the proposal names an image outside the {self._n_images} search images")
        self._open = proposal
        return proposal

    def told(self, evidence: Evidence) -> Proposal:
        """Close the open proposal and return it. Raises ContractError if there is none or the evidence does not fit."""
        if self._open is None:
            raise ContractError("tell was called without an ask")
        if evidence.score.shape != (len(self._open.pairs), self._n_classes):
            raise ContractError(f"evidence {evidence.score.shape}; expected {(len(self._open.pairs), self._n_classes)}")
        proposal, self._open = self._open, None
        return proposal
