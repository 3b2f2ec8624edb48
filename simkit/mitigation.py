"""Using a backdoored model safely: an input whose answer the reconstructed trigger hardly changes is rejected.

S(x) = KL(f(x) || f(T(x))), with the reconstructed trigger T, of any family: the answer to an input that already carries
the trigger hardly changes under a second one, while an input without it turns into the target class. The score and the
threshold follow one unofficial implementation of the paper's mitigation; we have not read the paper.
"""

from __future__ import annotations

from collections.abc import Sequence
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
from simkit.transforms.contract import Transform
from simkit.triggers import IntArray

Probabilities: TypeAlias = NDArray[np.float64]
Combined: TypeAlias = Literal["least", "mean"]

THRESHOLD = 0.5
"""Threshold in nats: the value of one unofficial implementation, not fitted here.

It is too low for noisy scores: answers to the same input then differ, and most triggered inputs score above it.
"""

_BLOCK = 64
"""Number of images per call; each is also sent with every trigger."""


def completed(answer: Answer) -> Probabilities:
    """Class probabilities that are consistent with the answer, float64 (N, C); rows sum to 1, none is below 1e-7.

    The probability that the service does not report is spread evenly over the classes that it omits. A label-only
    answer gives its class all the probability, so two of them can only agree or differ.
    """
    if isinstance(answer, Labels):
        named = (answer.labels[:, None] != MISSING).astype(np.float32)
        answer = TopK(answer.labels[:, None], named, answer.n_classes)
    reported, left_out = _reported(answer)
    rest = np.clip(1.0 - reported.sum(axis=1, keepdims=True), 0.0, 1.0)
    spread = rest / np.maximum(left_out.sum(axis=1, keepdims=True), 1)
    whole = np.maximum(np.where(left_out, spread, reported), TINY)
    normal: Probabilities = whole / whole.sum(axis=1, keepdims=True)
    return normal


def _reported(answer: Answer) -> tuple[Probabilities, NDArray[np.bool_]]:
    """The reported probabilities, 0 elsewhere, and which classes were omitted, both (N, C)."""
    if not isinstance(answer, TopK):
        assert not isinstance(answer, Labels)
        return answer.values.astype(np.float64), (answer.values <= 0.0) & (answer.floor > 0.0)
    reported = np.zeros((len(answer), answer.n_classes))
    left_out = np.ones_like(reported, dtype=np.bool_)
    rows, columns = np.nonzero(answer.classes != MISSING)
    classes = answer.classes[rows, columns]
    reported[rows, classes], left_out[rows, classes] = answer.values[rows, columns], False
    return reported, left_out


def divergence(plain: Answer, stamped: Answer) -> Probabilities:
    """KL(f(x) || f(T(x))) of N inputs in nats, float64 (N,), from 0 to log(1e7).

    plain, stamped: the answers to the inputs without and with the trigger. For label-only answers it is 0 if they agree
    and log(1e7), about 16, if they differ, so any threshold in between tests whether the trigger changes the label.
    """
    return _divergence(completed(plain), completed(stamped))


def _divergence(plain: Probabilities, stamped: Probabilities) -> Probabilities:
    total: Probabilities = (plain * np.log(plain / stamped)).sum(axis=-1)
    return np.maximum(total, 0.0)


@dataclass(frozen=True, eq=False)
class Screened:
    """The answers for N inputs under K triggers.

    labels: int32 (N,), the model's answers to the unchanged inputs. divergences: float64 (N, K), see `divergence`.
    """

    labels: IntArray
    divergences: Probabilities

    def scores(self, combined: Combined = "least") -> Probabilities:
        """One score per input, (N,); a small score is suspicious.

        `least`: the smallest divergence over all triggers. `mean`: the mean over all triggers, as in the unofficial
        implementation; with several backdoors it misses inputs that carry one of them, since the other triggers change
        the answer.
        """
        scores: Probabilities = self.divergences.min(axis=1)
        return scores if combined == "least" else self.divergences.mean(axis=1)


class Screener:
    """Queries inputs without and with every trigger: 1 + K queries per input.

    steps: where steps are recorded, one per block of inputs; None sends queries without a tag. In the ledger the inputs
    are numbered over all calls, and an input without a trigger has candidate -1. Raises DataError if the triggers have
    another shape than the model's images.
    """

    def __init__(self, oracle: Oracle, triggers: Sequence[Transform], steps: Steps | None = None) -> None:
        if shapes := {trigger.image_shape for trigger in triggers} - {oracle.image_shape}:
            found = f"triggers of {min(shapes)}, but the model takes {oracle.image_shape}"
            raise DataError(f"{found}; give triggers found in this model")
        self._oracle, self._triggers, self._opened = oracle, triggers, steps
        self._steps = self._images = 0

    def screen(self, pixels: torch.Tensor) -> Screened:
        """The answers for images float32 (N, C, H, W) in [0, 1]. Raises Refused; ModelError on NaN."""
        parts = [self._block(block) for block in torch.split(pixels, _BLOCK)]
        labels = np.concatenate([part.labels for part in parts])
        return Screened(labels, np.concatenate([part.divergences for part in parts]))

    def _block(self, pixels: torch.Tensor) -> Screened:
        asked = [pixels, *(torch.from_numpy(trigger.on(pixels.numpy())) for trigger in self._triggers)]
        answer = self._oracle.query(torch.cat(asked), self._tag(len(pixels)))
        if not is_finite(answer):
            raise ModelError("the model answered NaN or infinity; is it trained, and its input scaled?")
        probabilities = completed(answer).reshape(len(asked), len(pixels), -1)
        divergences = _divergence(probabilities[:1], probabilities[1:]).T
        return Screened(top_label(answer)[: len(pixels)], divergences)

    def _tag(self, images: int) -> Tag | None:
        first, candidates = self._images, np.arange(-1, len(self._triggers), dtype=np.int32)
        self._images += images
        if self._opened is None:
            return None
        step = self._opened.open_step(self._steps, "verify", "{}")
        self._steps += 1
        numbers = np.arange(first, first + images, dtype=np.int32)
        return Tag(step, np.column_stack([np.tile(numbers, len(candidates)), np.repeat(candidates, images)]))
