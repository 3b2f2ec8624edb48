"""Replays answers from a ledger: before the answers of a live oracle, or instead of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeAlias, TypeVar

import numpy as np

from oracles.answers import Answer, FloatArray, IntArray, decode
from oracles.errors import BudgetExhausted, ModelError, NotStored, Refused, ReplayMismatch
from oracles.oracle import ImageShape, Oracle, Tag, Wrapper, check_answer, check_shape

if TYPE_CHECKING:
    import torch


class StoredCall(Protocol):
    """One call as it is stored in a ledger; `step` is the id of its step, None for `external`."""

    @property
    def step(self) -> int | None: ...

    @property
    def rows(self) -> IntArray: ...

    @property
    def codec(self) -> str: ...

    @property
    def answers(self) -> bytes: ...


Refusals: TypeAlias = Mapping[int, str]
NOTHING_REFUSED: Refusals = MappingProxyType({})


class Replayed(Wrapper):
    """Answers from `stored` until it ends, then asks `inner`. Replayed queries are not charged again.

    Guards stand around it, so that they see replayed images as they saw the live ones, and `oracles.resume.Remembered`
    keeps replayed calls from being recorded twice. refused: the reason of a refusal by the id of the step; these steps
    are refused again. Raises ReplayMismatch when a stored call has another step, image or candidate than the present
    one.
    """

    def __init__(self, inner: Oracle, stored: Iterable[StoredCall], refused: Refusals = NOTHING_REFUSED) -> None:
        super().__init__(inner)
        self._stored: Iterator[StoredCall] = iter(stored)
        self._next: StoredCall | None = None
        self._ended = False
        self._refused = refused
        self.replayed, self.from_store = 0, False

    @property
    def replaying(self) -> bool:
        """Whether a stored answer is left."""
        if self._next is None and not self._ended:
            self._next = next(self._stored, None)
            self._ended = self._next is None
        return self._next is not None

    def query(self, images: torch.Tensor, tag: Tag | None = None) -> Answer:
        """The stored answer if one is left; otherwise see `Oracle.query`."""
        check_shape(images, self.image_shape)
        call = self._next if self.replaying else None
        _refuse_again(self._refused, call, tag, len(images))
        self.from_store = call is not None
        if call is None:
            return super().query(images, tag)
        if not _is_about(call, tag):
            raise ReplayMismatch(
                f"the stored call after query {self.replayed} is about other images or candidates than this scan; "
                "the ledger was written with other code or data: scan into a fresh --db"
            )
        self._next = None
        self.replayed += len(images)
        return decode(call.codec, call.answers)


Stored = TypeVar("Stored", bound=StoredCall)


class ReplayOracle(Generic[Stored]):
    """Answers from a ledger only, call by call in their order: no model is asked, nothing is charged or written.

    stored: the calls. n_classes, image_shape: of the service that gave the answers. refused: the reason of a refusal by
    the id of the step; these steps are refused again. watch: called with the images and the stored call before each
    answer, which shows the pixels of a stored query.
    """

    def __init__(
        self,
        stored: Iterable[Stored],
        n_classes: int,
        image_shape: ImageShape,
        refused: Refusals = NOTHING_REFUSED,
        watch: Callable[[Any, Stored], None] | None = None,
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

    def query(self, images: torch.Tensor | FloatArray, tag: Tag | None = None) -> Answer:
        """The next stored answer. Raises NotStored after the last, ReplayMismatch if it belongs to another query.

        No model computes anything with the images, so that an array will do.

        A query without a tag is answered from an `external` call with the same number of images; a ledger does not
        store which images those were.
        """
        check_shape(images, self._image_shape, "float32" if isinstance(images, np.ndarray) else "torch.float32")
        call = self._next
        _refuse_again(self._refused, call, tag, len(images))
        if call is None:
            raise NotStored(f"the ledger holds {self.replayed} queries of this run, but {len(images)} more were sent")
        external = call.step is None and tag is None
        if len(call.rows) != len(images) or not (external or _is_about(call, tag)):
            raise ReplayMismatch(f"the stored call after query {self.replayed} is about other images or candidates")
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


def _refuse_again(refused: Refusals, call: StoredCall | None, tag: Tag | None, queries: int) -> None:
    """Raise a step's stored refusal again, unless an answer of this step is still to be replayed."""
    if tag is None or tag.step not in refused or (call is not None and call.step == tag.step):
        return
    reason = refused[tag.step]
    raise BudgetExhausted("scan", queries, 0) if reason == "budget" else Refused(queries, reason)


def _is_about(call: StoredCall, tag: Tag | None) -> bool:
    return tag is not None and call.step == tag.step and np.array_equal(call.rows, tag.rows)
