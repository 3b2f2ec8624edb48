"""Answers that are already in a ledger: before the live oracle's, or instead of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Generic, Protocol, TypeVar

import numpy as np
import torch

from oracles.answers import Answer, IntArray, decode
from oracles.errors import BudgetExhausted, ModelError, NotStored, ReplayMismatch
from oracles.oracle import ImageShape, Oracle, Tag, Wrapper, check_answer, check_shape


class StoredCall(Protocol):
    """One call as a ledger keeps it; `step` is the id of its step, None for `external`."""

    @property
    def step(self) -> int | None: ...

    @property
    def rows(self) -> IntArray: ...

    @property
    def codec(self) -> str: ...

    @property
    def answers(self) -> bytes: ...


class Replayed(Wrapper):
    """Answers from `stored` as long as it lasts, then asks `inner`. Outermost: nothing replayed is paid or recorded.

    Raises ReplayMismatch when the stored call is about another step, image or candidate than the one now asked.
    """

    def __init__(self, inner: Oracle, stored: Iterable[StoredCall]) -> None:
        super().__init__(inner)
        self._stored: Iterator[StoredCall] = iter(stored)
        self._replaying = True
        self.replayed = 0

    def query(self, images: torch.Tensor, tag: Tag | None = None) -> Answer:
        """The stored answer if there is one left; else see `Oracle.query`."""
        check_shape(images, self.image_shape)
        call = next(self._stored, None) if self._replaying else None
        if call is None:
            self._replaying = False
            return super().query(images, tag)
        if not _is_about(call, tag):
            raise ReplayMismatch(
                f"the stored call after query {self.replayed} asks about other images or candidates than this scan; "
                "the ledger is of other code or data: scan into a fresh --db"
            )
        self.replayed += len(images)
        return decode(call.codec, call.answers)


Stored = TypeVar("Stored", bound=StoredCall)


class ReplayOracle(Generic[Stored]):
    """Answers from a ledger alone, call by call in their order: no model is asked, nothing is paid or written.

    stored: the calls. n_classes, image_shape: of the service that gave the answers. refused: ids of the steps that were
    refused, which are refused again. watch: told the images and the stored call before each answer, so that a stored
    query can be seen as the pixels it was.
    """

    def __init__(
        self,
        stored: Iterable[Stored],
        n_classes: int,
        image_shape: ImageShape,
        refused: frozenset[int] = frozenset(),
        watch: Callable[[torch.Tensor, Stored], None] | None = None,
    ) -> None:
        self._stored: Iterator[Stored] = iter(stored)
        self._n_classes, self._image_shape = n_classes, image_shape
        self._refused, self._watch = refused, watch
        self._next = next(self._stored, None)
        self.replayed = 0

    @property
    def n_classes(self) -> int:
        return self._n_classes

    @property
    def image_shape(self) -> ImageShape:
        return self._image_shape

    def query(self, images: torch.Tensor, tag: Tag | None = None) -> Answer:
        """The next stored answer. Raises NotStored after the last, ReplayMismatch if it answers another question.

        A query without a tag is answered from an `external` call of as many images; which images, no ledger knows.
        """
        check_shape(images, self._image_shape)
        call = self._next
        if tag is not None and tag.step in self._refused and (call is None or call.step != tag.step):
            raise BudgetExhausted("scan", len(images), 0)
        if call is None:
            raise NotStored(f"the ledger holds {self.replayed} queries of this run, {len(images)} more are asked")
        external = call.step is None and tag is None
        if len(call.rows) != len(images) or not (external or _is_about(call, tag)):
            raise ReplayMismatch(f"the stored call after query {self.replayed} asks about other images or candidates")
        answer = self._answer(call)
        if self._watch is not None:
            self._watch(images, call)
        self._next = next(self._stored, None)
        self.replayed += len(images)
        return answer

    def _answer(self, call: StoredCall) -> Answer:
        try:
            answer = decode(call.codec, call.answers)
            check_answer(answer, len(call.rows), self._n_classes)
        except (ValueError, ModelError) as error:
            raise ReplayMismatch(f"the answer stored after query {self.replayed} cannot be read: {error}") from error
        return answer


def _is_about(call: StoredCall, tag: Tag | None) -> bool:
    return tag is not None and call.step == tag.step and np.array_equal(call.rows, tag.rows)
