"""Using a model on in spite of its backdoor: an input that the reversed trigger hardly changes is turned away.

S(x) = KL(f(x) || f(A(x, m, p))), with the trigger (m, p) that a search found: an input that carries the trigger already
is answered alike with a second one on top, while one without it turns into the target class. The score, and the
threshold, are one unofficial implementation's reading of the paper's mitigation, which nobody here has read.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from oracles.answers import MISSING, Answer, Labels, TopK, is_finite, top_label
from oracles.errors import ModelError
from oracles.meter import Steps
from oracles.oracle import Oracle, Tag
from simkit.errors import DataError
from simkit.search.evidence import TINY
from simkit.triggers import IntArray, Triggers, stamp

Probabilities: TypeAlias = NDArray[np.float64]
Combined: TypeAlias = Literal["least", "mean"]

THRESHOLD = 0.5
"""In nats: the value of one unofficial implementation; nothing here fitted it.

Too low where scores are noisy: no two answers are alike then, and most triggered inputs score above it.
"""

_BLOCK = 64
"""Images that are asked about in one call, each also under every trigger."""


def completed(answer: Answer) -> Probabilities:
    """A probability of every class that agrees with the answer, float64 (N, C); rows sum to 1, none is below 1e-7.

    What the service kept to itself is spread evenly over the classes that it left out. A label alone has it all, so
    that of two labels it can only be said whether they agree.
    """
    if isinstance(answer, Labels):
        named = (answer.labels[:, None] != MISSING).astype(np.float32)
        answer = TopK(answer.labels[:, None], named, answer.n_classes)
    told, left_out = _told(answer)
    rest = np.clip(1.0 - told.sum(axis=1, keepdims=True), 0.0, 1.0)
    spread = rest / np.maximum(left_out.sum(axis=1, keepdims=True), 1)
    whole = np.maximum(np.where(left_out, spread, told), TINY)
    normal: Probabilities = whole / whole.sum(axis=1, keepdims=True)
    return normal


def _told(answer: Answer) -> tuple[Probabilities, NDArray[np.bool_]]:
    """The probabilities that were told, 0 elsewhere, and which classes were left out, both (N, C)."""
    if not isinstance(answer, TopK):
        assert not isinstance(answer, Labels)
        return answer.values.astype(np.float64), (answer.values <= 0.0) & (answer.floor > 0.0)
    told = np.zeros((len(answer), answer.n_classes))
    left_out = np.ones_like(told, dtype=np.bool_)
    rows, columns = np.nonzero(answer.classes != MISSING)
    classes = answer.classes[rows, columns]
    told[rows, classes], left_out[rows, classes] = answer.values[rows, columns], False
    return told, left_out


def divergence(plain: Answer, stamped: Answer) -> Probabilities:
    """KL(f(x) || f(A(x, m, p))) of N inputs in nats, float64 (N,), from 0 to log(1e7).

    plain, stamped: what the model said of them, and of them with the trigger. Of labels it is 0 where they agree and
    log(1e7), about 16, where they do not: any threshold in between asks whether the trigger changes the label.
    """
    return _divergence(completed(plain), completed(stamped))


def _divergence(plain: Probabilities, stamped: Probabilities) -> Probabilities:
    total: Probabilities = (plain * np.log(plain / stamped)).sum(axis=-1)
    return np.maximum(total, 0.0)


@dataclass(frozen=True, eq=False)
class Screened:
    """What was asked about N inputs under K triggers.

    labels: int32 (N,), the model's answers to the inputs as they are. divergences: float64 (N, K), see `divergence`.
    """

    labels: IntArray
    divergences: Probabilities

    def scores(self, combined: Combined = "least") -> Probabilities:
        """One score an input, (N,), small where it is suspicious.

        `least`: by the trigger that changes it least. `mean`: over all triggers, as the unofficial implementation has
        it; of several backdoors that misses an input which carries one of them, since the other triggers change it.
        """
        scores: Probabilities = self.divergences.min(axis=1)
        return scores if combined == "least" else self.divergences.mean(axis=1)


class Screener:
    """Asks about inputs as they are and under every trigger, 1 + K queries an input.

    steps: where steps are opened, one a block of inputs; None sends queries without a tag. In the ledger inputs are
    counted on from call to call, and the candidate of an input as it is is -1. Raises DataError if the triggers are of
    another shape than the model's images.
    """

    def __init__(self, oracle: Oracle, triggers: Triggers, steps: Steps | None = None) -> None:
        if (shape := triggers.patterns.shape[1:]) != oracle.image_shape:
            raise DataError(f"triggers of {shape}, but the model takes {oracle.image_shape}; give those found in it")
        self._oracle, self._triggers, self._opened = oracle, triggers, steps
        self._steps = self._images = 0

    def screen(self, pixels: torch.Tensor) -> Screened:
        """What the model says of images float32 (N, C, H, W) in [0, 1]. Raises Refused; ModelError on NaN."""
        parts = [self._block(block) for block in torch.split(pixels, _BLOCK)]
        labels = np.concatenate([part.labels for part in parts])
        return Screened(labels, np.concatenate([part.divergences for part in parts]))

    def _block(self, pixels: torch.Tensor) -> Screened:
        masks, patterns = torch.from_numpy(self._triggers.masks), torch.from_numpy(self._triggers.patterns)
        asked = [pixels]
        asked += [stamp(pixels, mask[None], pattern[None]) for mask, pattern in zip(masks, patterns, strict=True)]
        answer = self._oracle.query(torch.cat(asked), self._tag(len(pixels)))
        if not is_finite(answer):
            raise ModelError("the model answered NaN or infinity; is it trained, and its input scaled?")
        told = completed(answer).reshape(len(asked), len(pixels), -1)
        return Screened(top_label(answer)[: len(pixels)], _divergence(told[:1], told[1:]).T)

    def _tag(self, images: int) -> Tag | None:
        first, candidates = self._images, np.arange(-1, len(self._triggers), dtype=np.int32)
        self._images += images
        if self._opened is None:
            return None
        step = self._opened.open_step(self._steps, "verify", "{}")
        self._steps += 1
        numbers = np.arange(first, first + images, dtype=np.int32)
        return Tag(step, np.column_stack([np.tile(numbers, len(candidates)), np.repeat(candidates, images)]))
