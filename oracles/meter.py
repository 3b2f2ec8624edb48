"""Charging and recording queries, by two small protocols that a database implements."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from oracles.answers import Answer, FloatArray, IntArray, encode, top_label, top_score
from oracles.errors import InvalidImages, Refused
from oracles.oracle import Oracle, Tag, Wrapper, check_range, check_shape
from oracles.partial import carried

if TYPE_CHECKING:
    import torch


class Allowance(Protocol):
    """What queries are reserved from: a `Budget`, or something that leases from one."""

    def reserve(self, queries: int) -> None: ...

    def release(self, queries: int) -> None: ...


class Steps(Protocol):
    """Where a caller states the purpose of its next queries; the part of a `Recorder` that a searcher may use."""

    def open_step(self, number: int, purpose: str, state: str) -> int:
        """The id of step `number` of this run; opening it again gives the same id.

        purpose: why queries are sent (`check`, `search`, `verify`). state: the searcher's state as JSON.
        """
        ...


class Recorder(Steps, Protocol):
    """Where steps, calls and refusals are written, as numbers, text and bytes only."""

    def check_step(self, step: int | None) -> None:
        """Raise unless a call of `step` (None for `external`) could be recorded now. Called before queries are
        charged."""
        ...

    def record(self, call: CallRecord) -> None:
        """Store one answered call. Committing it charges its queries."""
        ...

    def refuse(self, step: int | None, queries: int, reason: str) -> None:
        """Store a call that was refused and cost nothing."""
        ...

    def alarm(self, *alarms: AlarmRecord) -> None:
        """Store what a detector of probing found about queries that are recorded."""
        ...


@dataclass(frozen=True)
class AlarmRecord:
    """An alarm of a detector of probing.

    score: of the query, above the threshold. first, queries: the range of the run's queries that it is about. action:
    what the service does about it.
    """

    detector: str
    score: float
    first: int
    queries: int
    action: str


@dataclass(frozen=True, eq=False)
class CallRecord:
    """One answered call.

    step: the id of the step, or None (`external`). rows: int32 (N, 2), image and candidate, -1 where unknown. labels:
    int32 (N,), the top class. scores: float32 (N,), its probability, or None. codec, answers: see `encode`.
    """

    step: int | None
    rows: IntArray
    labels: IntArray
    scores: FloatArray | None
    codec: str
    answers: bytes

    def after(self, queries: int) -> CallRecord:
        """The same call without its first `queries`, fewer than it has."""
        length = len(self.answers) // len(self.rows)
        scores = None if self.scores is None else self.scores[queries:]
        rest = self.answers[queries * length :]
        return CallRecord(self.step, self.rows[queries:], self.labels[queries:], scores, self.codec, rest)


def unknown_rows(queries: int) -> IntArray:
    """Rows for queries without a tag: image and candidate are -1."""
    return np.full((queries, 2), -1, dtype=np.int32)


class MemoryRecorder:
    """A recorder that keeps everything in lists: for tests, notebooks, and scans that need no database."""

    def __init__(self) -> None:
        self.steps: list[tuple[int, str, str]] = []
        self._opened: set[int] = set()
        self.calls: list[CallRecord] = []
        self.refusals: list[tuple[int | None, int, str]] = []
        self.alarms: list[AlarmRecord] = []

    def open_step(self, number: int, purpose: str, state: str) -> int:
        self.steps.append((number, purpose, state))
        self._opened.add(number)
        return number

    def check_step(self, step: int | None) -> None:
        if step is not None and step not in self._opened:
            raise InvalidImages(f"a tag of step {step}, which was not opened; use the id that open_step returned")

    def record(self, call: CallRecord) -> None:
        self.calls.append(call)

    def refuse(self, step: int | None, queries: int, reason: str) -> None:
        self.refusals.append((step, queries, reason))

    def alarm(self, *alarms: AlarmRecord) -> None:
        self.alarms += alarms


class Metered(Wrapper):
    """Checks the images and charges them before the model or any other wrapper inside it runs.

    Where a call fails, its queries are given back, except for those that were answered before.
    """

    def __init__(self, inner: Oracle, allowance: Allowance) -> None:
        super().__init__(inner)
        self._allowance = allowance

    def before(self, images: torch.Tensor, tag: Tag | None) -> torch.Tensor:
        check_shape(images, self.image_shape)
        check_range(images)
        self._allowance.reserve(len(images))
        return images

    def failed(self, images: torch.Tensor, tag: Tag | None, error: BaseException) -> None:
        answered = carried(error, self)
        self._allowance.release(len(images) - (0 if answered is None else len(answered)))


class Recorded(Wrapper):
    """Records every answer as the caller sees it, and every refusal. A query without a tag has purpose `external`.

    Of a call whose rest failed, what was answered is recorded as a call of its own.

    A call that could not be recorded fails before it is charged: InvalidImages on rows that are not int32 (N, 2), and
    whatever the recorder's `check_step` raises. alarms: those of the present call, which a wrapper inside adds; they
    are recorded, and removed, after its answer.
    """

    def __init__(self, inner: Oracle, recorder: Recorder, alarms: list[AlarmRecord] | None = None) -> None:
        super().__init__(inner)
        self._recorder = recorder
        self._alarms = [] if alarms is None else alarms

    def before(self, images: torch.Tensor, tag: Tag | None) -> torch.Tensor:
        if tag is not None and (tag.rows.shape != (len(images), 2) or tag.rows.dtype != np.int32):
            given = f"{tag.rows.dtype} {tag.rows.shape} for {len(images)} images"
            raise InvalidImages(f"a tag with rows {given}; give one row per image, int32 (N, 2)")
        self._recorder.check_step(None if tag is None else tag.step)
        return images

    def after(self, answer: Answer, tag: Tag | None) -> Answer:
        self._kept(answer, tag)
        if self._alarms:
            self._recorder.alarm(*self._alarms)
            self._alarms.clear()
        return answer

    def partly(self, answer: Answer, tag: Tag | None) -> Answer:
        return self._kept(answer, tag)

    def _kept(self, answer: Answer, tag: Tag | None) -> Answer:
        step, rows = (None, unknown_rows(len(answer))) if tag is None else (tag.step, tag.rows[: len(answer)])
        codec, data = encode(answer)
        self._recorder.record(CallRecord(step, rows, top_label(answer), top_score(answer), codec, data))
        return answer

    def failed(self, images: torch.Tensor, tag: Tag | None, error: BaseException) -> None:
        if isinstance(error, Refused):
            self._recorder.refuse(None if tag is None else tag.step, len(images), error.reason)
