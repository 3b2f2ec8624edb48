"""Replays answers from a ledger: before the answers of a live oracle, or instead of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeAlias, TypeVar

import numpy as np

from oracles.answers import Answer, FloatArray, IntArray, decode
from oracles.errors import BudgetExhausted, ModelError, NotStored, Refused, ReplayMismatch
from oracles.oracle import ImageShape, Oracle, Tag, Wrapper, check_answer, check_shape
from oracles.partial import carried, carrying
from oracles.parts import one_answer

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

    Where a call failed after its first images were answered, these are told from what is stored, or, if the same call
    comes again in this process, from memory; `inner` is asked for the rest.

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
        self._begun: _Begun | None = None
        self.replayed, self.known = 0, 0
        """`replayed`: queries answered from `stored`. `known`: how many of the present call were answered before."""

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
        begun, self._begun = self._begun, None
        parts = [begun.answer] if begun is not None and begun.is_start_of(images, tag) else []
        self.known = sum(map(len, parts))
        while self.known < len(images) and (call := self._stored_for(images, tag)) is not None:
            parts.append(decode(call.codec, call.answers))
            self.known += len(call.rows)
        if self.known < len(images):
            parts.append(self._live(images, tag, parts))
        return one_answer(parts)

    def _stored_for(self, images: torch.Tensor, tag: Tag | None) -> StoredCall | None:
        """The next stored call, which must be about the images after the known ones; None if none is left."""
        call = self._next if self.replaying else None
        _refuse_again(self._refused, call, tag, len(images))
        if call is None:
            return None
        if not _is_about(call, tag, self.known):
            raise ReplayMismatch(
                f"the stored call after query {self.replayed} is about other images or candidates than this scan; "
                "the ledger was written with other code or data: scan into a fresh --db"
            )
        self._next = None
        self.replayed += len(call.rows)
        return call

    def _live(self, images: torch.Tensor, tag: Tag | None, parts: Sequence[Answer]) -> Answer:
        """The live answer to the images after the known ones. Where that fails, all that is answered is kept."""
        rest = tag if tag is None or not self.known else Tag(tag.step, tag.rows[self.known :])
        try:
            return super().query(images[self.known :], rest)
        except BaseException as error:
            part = carried(error, self)
            if answered := [*parts, *([] if part is None else [part])]:
                answer = one_answer(answered)
                self._begun = _Begun(images[: len(answer)].clone(), tag, answer)
                carrying(error, answer, self)
            raise


@dataclass(frozen=True, eq=False)
class _Begun:
    """The answer to the first images of a call that failed, until the next call."""

    images: torch.Tensor
    tag: Tag | None
    answer: Answer

    def is_start_of(self, images: torch.Tensor, tag: Tag | None) -> bool:
        same = len(images) > len(self.images) and bool((images[: len(self.images)] == self.images).all())
        if tag is None or self.tag is None:
            return same and tag is self.tag
        return same and tag.step == self.tag.step and np.array_equal(tag.rows, self.tag.rows)


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
        known, parts = 0, []
        while known < len(images):
            parts.append(self._part(images, tag, known))
            known += len(parts[-1])
        return one_answer(parts)

    def _part(self, images: torch.Tensor | FloatArray, tag: Tag | None, known: int) -> Answer:
        """The next stored answer: to all images after the known ones, or to the first of them if the rest failed."""
        call, rest = self._next, images[known:]
        _refuse_again(self._refused, call, tag, len(images))
        if call is None:
            raise NotStored(f"the ledger holds {self.replayed} queries of this run, but {len(rest)} more were sent")
        external = call.step is None and tag is None and len(call.rows) <= len(rest)
        if not (external or _is_about(call, tag, known)):
            raise ReplayMismatch(f"the stored call after query {self.replayed} is about other images or candidates")
        answer = self._answer(call)
        if self._watch is not None:
            self._watch(images if len(answer) == len(images) else rest[: len(answer)], call)
        self._next = next(self._stored, None)
        self.replayed += len(answer)
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


def _is_about(call: StoredCall, tag: Tag | None, known: int) -> bool:
    """Whether the call is about the images after the known ones, or about the first of them."""
    if tag is None or call.step != tag.step:
        return False
    return np.array_equal(call.rows, tag.rows[known : known + len(call.rows)])
