"""A provider that watches its callers for probing, and what it does to one after an alarm."""

from __future__ import annotations

import copy
from collections import deque
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from oracles.answers import Answer, FloatArray, Labels, decode, encode, top_label
from oracles.errors import Refused
from oracles.guard import Clock
from oracles.meter import AlarmRecord
from oracles.oracle import Oracle, Tag, Wrapper, check_shape
from oracles.restrict import KeepTopK, Rounded
from oracles.watch.detector import Found
from oracles.watch.settings import WatchSpec

if TYPE_CHECKING:
    import torch


class Suspicion:
    """What a service holds against one caller: whether it raised an alarm, and the alarms not recorded yet.

    The alarms of a call are recorded after its answer, so that none is about a query that is not stored.
    """

    def __init__(self, alarmed: bool = False) -> None:
        self.alarmed = alarmed
        self.waiting: list[AlarmRecord] = []


class Watched(Wrapper):
    """Shows every answered query to a detector, and acts on its alarms as `WatchSpec.action` says.

    A call is watched once it is answered as a whole, in the order of its images; `slow`, `coarse` and `ban` begin with
    the call after the first alarm, so that they depend on the calls before, never on how a call was cut. Stands outside
    `Replayed`, so that a resumed run comes to the same state by the same code. first: see `Wrapper`.
    """

    def __init__(self, inner: Oracle, settings: WatchSpec, suspicion: Suspicion, clock: Clock, first: int = 0) -> None:
        super().__init__(inner, first)
        self._settings, self._suspicion, self._clock = settings, suspicion, clock
        self._detector = settings.made()
        self._cache = _Cache(settings.remembered) if settings.action == "cached" else None
        self._images: FloatArray = np.empty((0, 0, 0, 0), np.float32)

    def before(self, images: torch.Tensor, tag: Tag | None) -> torch.Tensor:
        check_shape(images, self.image_shape)
        if self._suspicion.alarmed and self._settings.action == "ban":
            raise Refused(len(images), "banned")
        self._images = images.detach().cpu().numpy()
        return images

    def after(self, answer: Answer, tag: Tag | None) -> Answer:
        found = self._detector.observe(self._images, top_label(answer))
        flagged = found.scores > self._settings.limit
        if self._cache is not None:
            answer = self._cache.answer(answer, found, flagged)
        if self._suspicion.alarmed and self._settings.seconds is not None:
            self._clock.advance(self._settings.seconds)
        self._suspicion.waiting += [self._alarm(int(at), float(found.scores[at])) for at in np.flatnonzero(flagged)]
        self._suspicion.alarmed |= bool(flagged.any())
        return answer

    def partly(self, answer: Answer, tag: Tag | None) -> Answer:
        if self._cache is None:
            return answer
        detector, cache = copy.deepcopy((self._detector, self._cache))  # the whole call comes again
        found = detector.observe(self._images[: len(answer)], top_label(answer))
        return cache.answer(answer, found, found.scores > self._settings.limit)

    def _alarm(self, at: int, score: float) -> AlarmRecord:
        return AlarmRecord(self._settings.detector, score, self.answered + at, 1, self._settings.action)


class Coarsened(Wrapper):
    """Answers more coarsely while the caller is under suspicion: scores of `decimals`, or the top class only.

    Stands inside `Replayed`, so that the parts of a call are of one kind.
    """

    def __init__(self, inner: Oracle, decimals: int | None, suspicion: Suspicion) -> None:
        super().__init__(inner)
        self._decimals, self._suspicion = decimals, suspicion

    def after(self, answer: Answer, tag: Tag | None) -> Answer:
        if not self._suspicion.alarmed or isinstance(answer, Labels):
            return answer
        return KeepTopK.apply(answer, 1) if self._decimals is None else Rounded.apply(answer, self._decimals)


class _Cache:
    """The latest answers as the caller saw them, one record of bytes each."""

    def __init__(self, memory: int) -> None:
        self._rows: deque[bytes] = deque(maxlen=memory + 1)
        self._seen = 0

    def answer(self, answer: Answer, found: Found, flagged: NDArray[np.bool_]) -> Answer:
        codec, data = encode(answer)
        length, given = len(data) // len(answer), []
        for at, (alarm, nearest) in enumerate(zip(flagged, found.nearest, strict=True)):
            row = data[at * length : (at + 1) * length]
            if alarm and nearest >= 0:
                row = self._rows[int(nearest) - self._seen + len(self._rows)]
            self._rows.append(row)
            self._seen += 1
            given.append(row)
        return decode(codec, b"".join(given))
