"""A prober that dodges detectors of probing: several keys, honest images in between, queries further apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from oracles.answers import Answer, FloatArray, Labels, Scores, TopK, codec_of, joined, top_label
from oracles.errors import BudgetExhausted, InvalidSpec, Refused
from oracles.oracle import ImageShape, Oracle, Tag, check_shape

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Dodge:
    """How a prober dodges. Raises InvalidSpec.

    keys: number of API keys, among which the images of a call are dealt in turn. honest: honest images sent for each
    image of the search, 0 or more; they are answered and charged. noise_std: standard deviation of noise on each image
    of the search, in units of the pixel range, which keeps queries further apart and blurs what the searcher learns.
    """

    keys: int = 1
    honest: float = 0.0
    noise_std: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.keys < 1 or not 0.0 <= self.honest <= 100.0 or not 0.0 <= self.noise_std <= 1.0 or self.seed < 0:
            raise InvalidSpec(
                f"{self}; give 1 key or more, honest in [0, 100], noise_std in [0, 1], a seed of 0 or more"
            )


class Dodged:
    """An oracle over the stacks of several keys of one service, for any searcher.

    keys: one oracle for each key, all on one budget of the prober. honest: float32 (M, C, H, W), sent in order, by each
    key from a place of its own. A key that is refused for good is left out, and its images go to the others; Refused is
    raised when none is left. Every draw is a function of the seed and the ordinal of the call. Tags are not passed on:
    the images of one call become several calls.
    """

    def __init__(self, keys: Sequence[Oracle], dodge: Dodge, honest: FloatArray) -> None:
        if len(keys) != dodge.keys or (dodge.honest > 0.0 and len(honest) == 0):
            raise InvalidSpec(f"{len(keys)} keys and {len(honest)} honest images for {dodge}; give as many as it says")
        self._dodge, self._honest = dodge, honest
        self._keys = dict(enumerate(keys))
        self._first = keys[0]
        self._places = [len(honest) * number // len(keys) for number in range(len(keys))]
        self._calls, self._turn, self._reason = 0, 0, ""
        self.searched, self.mixed = 0, 0
        """Images of the search, and honest images, that were answered."""

    @property
    def n_classes(self) -> int:
        return self._first.n_classes

    @property
    def image_shape(self) -> ImageShape:
        return self._first.image_shape

    def query(self, images: torch.Tensor, tag: Tag | None = None) -> Answer:
        """See `Oracle.query`. Where a call is refused in its middle, what was answered is charged and lost."""
        check_shape(images, self.image_shape)
        rng = np.random.Generator(np.random.Philox(key=self._dodge.seed, counter=[0, 0, 0, self._calls]))
        self._calls += 1
        sent = images.detach().cpu().numpy()
        if self._dodge.noise_std > 0.0:
            noise = rng.standard_normal(sent.shape, np.float32) * np.float32(self._dodge.noise_std)
            sent = np.clip(sent + noise, np.float32(0.0), np.float32(1.0))
        parts: list[tuple[NDArray[np.int64], Answer]] = []
        waiting = np.arange(len(sent))
        while len(waiting):
            waiting = self._dealt(sent, waiting, parts, rng)
        return _in_order(parts)

    def _dealt(
        self,
        sent: FloatArray,
        waiting: NDArray[np.int64],
        parts: list[tuple[NDArray[np.int64], Answer]],
        rng: np.random.Generator,
    ) -> NDArray[np.int64]:
        """Deal the waiting images among the keys, and add the answers to `parts`; those of refused keys wait again."""
        if not self._keys:
            raise Refused(len(sent), self._reason)
        alive, again = list(self._keys), [np.empty(0, np.int64)]
        for place, key in enumerate(alive):
            own = waiting[(np.arange(len(waiting)) + self._turn) % len(alive) == place]
            if len(own) == 0:
                continue
            try:
                parts.append((own, self._asked(key, sent[own], rng)))
            except BudgetExhausted:
                raise
            except Refused as error:
                self._keys.pop(key)
                self._reason = error.reason
                again.append(own)
        self._turn += len(waiting)
        return np.sort(np.concatenate(again))

    def _asked(self, key: int, images: FloatArray, rng: np.random.Generator) -> Answer:
        """The answer to these images, sent by this key among honest ones."""
        import torch  # slow to import; a caller has it by now

        wanted = len(images) * self._dodge.honest
        number = int(wanted) + int(rng.random() < wanted - int(wanted))
        places = (self._places[key] + np.arange(number)) % max(1, len(self._honest))
        together = np.concatenate([images, self._honest[places]]) if number else images
        order = rng.permutation(len(together)) if number else np.arange(len(together))
        answer = self._keys[key].query(torch.from_numpy(np.ascontiguousarray(together[order])))
        self._places[key] += number
        self.searched, self.mixed = self.searched + len(images), self.mixed + number
        return _rows(answer, np.argsort(order)[: len(images)])


def _rows(answer: Answer, rows: NDArray[np.int64]) -> Answer:
    if isinstance(answer, Labels):
        return Labels(answer.labels[rows], answer.n_classes)
    if isinstance(answer, TopK):
        return TopK(answer.classes[rows], answer.values[rows], answer.n_classes, answer.floor)
    return Scores(answer.values[rows], answer.floor)


def _in_order(parts: Sequence[tuple[NDArray[np.int64], Answer]]) -> Answer:
    """The parts as one answer: labels, where only some keys still get scores of one form."""
    order = np.argsort(np.concatenate([own for own, _ in parts]))
    answers = [answer for _, answer in parts]
    scores = [answer for answer in answers if isinstance(answer, Scores)]
    if len(scores) == len(answers):
        values = np.concatenate([answer.values for answer in scores])
        return Scores(values[order], max(answer.floor for answer in scores))
    if len({codec_of(answer) for answer in answers}) == 1:
        return _rows(joined(answers), order)
    return Labels(np.concatenate([top_label(answer) for answer in answers])[order], answers[0].n_classes)
