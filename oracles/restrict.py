"""Restrictions of a service's answers, one small wrapper each. `oracles.spec.build` fixes their order.

Noise depends only on the oracle's seed and on the ordinal of the query in the run: image number n of a run gets the
same noise for any batch size, and a resumed run continues at `first`.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from oracles.answers import MISSING, Answer, FloatArray, Labels, Scores, TopK, top_label
from oracles.errors import InvalidSpec
from oracles.oracle import Oracle, Tag, Wrapper, check_shape

if TYPE_CHECKING:
    import torch

SCORE_BLOCK = 64
IMAGE_BLOCK = 4
"""Number of queries whose noise is drawn together. Part of every noisy run's identity: another size gives other
noise."""

MAX_DECIMALS = 6
"""float32 probabilities have no more digits."""


class KeepTopK(Wrapper):
    """Answers the top `k` classes with their scores; ties go to the lowest class id.

    Of an answer that has at most k classes already, all are kept. A class whose score of 0 only means "below the floor"
    becomes MISSING. Raises InvalidSpec unless 1 <= k <= n_classes, and on labels.
    """

    def __init__(self, inner: Oracle, k: int) -> None:
        if not 1 <= k <= inner.n_classes:
            raise InvalidSpec(f"top_k is {k}; give 1 to {inner.n_classes}, the number of classes of this model")
        super().__init__(inner)
        self._k = k

    def after(self, answer: Answer, tag: Tag | None) -> Answer:
        return self.apply(_with_scores(answer, self), self._k)

    @staticmethod
    def apply(scores: Scores | TopK, k: int) -> TopK:
        """The top `k` classes of `scores`, 1 <= k <= n_classes."""
        if isinstance(scores, TopK):
            return replace(scores, classes=scores.classes[:, :k].copy(), values=scores.values[:, :k].copy())
        classes = np.argsort(-scores.values, axis=1, kind="stable")[:, :k].astype(np.int32)
        values = np.take_along_axis(scores.values, classes, axis=1)
        if scores.floor > 0.0:
            classes[values == 0.0] = MISSING
        return TopK(classes, values, scores.n_classes, scores.floor)


class LabelOnly(Wrapper):
    """Answers the top class only (label-only, hard-label); MISSING where the inner answer names no class."""

    def after(self, answer: Answer, tag: Tag | None) -> Answer:
        return Labels(top_label(answer), self.n_classes)


class Thresholded(Wrapper):
    """Sets scores below `minimum`, in [0, 1], to 0; of top classes, those below it become MISSING.

    The new floor is `minimum` plus the floor of the scores it gets, since a score that was rounded down was larger.
    """

    def __init__(self, inner: Oracle, minimum: float) -> None:
        if not 0.0 <= minimum <= 1.0:
            raise InvalidSpec(f"threshold is {minimum}; give a probability in [0, 1]")
        super().__init__(inner)
        self._minimum = minimum

    def after(self, answer: Answer, tag: Tag | None) -> Answer:
        return self.apply(_with_scores(answer, self), self._minimum)

    @staticmethod
    def apply(scores: Scores | TopK, minimum: float) -> Scores | TopK:
        """`scores` with those below `minimum` set to 0."""
        low = scores.values < np.float32(minimum)
        values = np.where(low, np.float32(0.0), scores.values)
        return _cut(scores, values, scores.floor + minimum, low)


class Rounded(Wrapper):
    """Rounds scores to `decimals` places, 0 to 6. A 0 then only means "at most half a unit of the last place", its
    floor; of top classes, those with 0 become MISSING."""

    def __init__(self, inner: Oracle, decimals: int) -> None:
        if not 0 <= decimals <= MAX_DECIMALS:
            raise InvalidSpec(f"decimals is {decimals}; give 0 to {MAX_DECIMALS}")
        super().__init__(inner)
        self._decimals = decimals

    def after(self, answer: Answer, tag: Tag | None) -> Answer:
        return self.apply(_with_scores(answer, self), self._decimals)

    @staticmethod
    def apply(scores: Scores | TopK, decimals: int) -> Scores | TopK:
        """`scores` rounded to `decimals` places."""
        values = _nearest(scores.values, decimals)
        return _cut(scores, values, max(scores.floor, 0.5 * 10.0**-decimals), values == 0.0)


def _cut(scores: Scores | TopK, values: FloatArray, floor: float, missing: NDArray[np.bool_]) -> Scores | TopK:
    """The answer with these values instead. missing: where a top class is no longer named."""
    if isinstance(scores, TopK):
        classes = np.where(missing, np.int32(MISSING), scores.classes)
        return replace(scores, classes=classes, values=values, floor=floor)
    return replace(scores, values=values, floor=floor)


def _nearest(values: FloatArray, decimals: int) -> FloatArray:
    """The float32 that is nearest to each decimal."""
    # In float64: numpy rounds by scaling, which in float32 can miss it.
    return np.round(values.astype(np.float64), decimals).astype(np.float32)


class ScoreNoise(Wrapper):
    """Adds Gaussian noise to the probabilities and clips them to [0, 1]; rows no longer sum to 1.

    A floor that a later wrapper sets bounds the noisy score only. noise_std: standard deviation of the noise, 0 or
    more, in units of probability. first: queries of this run answered before.
    """

    def __init__(self, inner: Oracle, noise_std: float, seed: int = 0, first: int = 0) -> None:
        _check_noise("score_noise", noise_std, seed, first)
        super().__init__(inner, first)
        self._noise_std, self._seed = noise_std, seed

    def after(self, answer: Answer, tag: Tag | None) -> Answer:
        scores = _all_scores(answer, self)
        noise = _noise(self._seed, "scores", self.answered, scores.values.shape, SCORE_BLOCK)
        values = np.clip(scores.values + np.float32(self._noise_std) * noise, 0.0, 1.0)
        return Scores(values.astype(np.float32, copy=False), scores.floor)


class InputNoise(Wrapper):
    """Adds Gaussian noise to the pixels and clips them to [0, 1].

    noise_std: standard deviation of the noise, 0 or more, in units of the pixel range. first: queries of this run
    answered before.
    """

    def __init__(self, inner: Oracle, noise_std: float, seed: int = 0, first: int = 0) -> None:
        _check_noise("input_noise", noise_std, seed, first)
        super().__init__(inner, first)
        self._noise_std, self._seed = noise_std, seed

    def before(self, images: torch.Tensor, tag: Tag | None) -> torch.Tensor:
        import torch  # slow to import; a caller has it by now

        check_shape(images, self.image_shape)
        noise = torch.from_numpy(_noise(self._seed, "images", self.answered, tuple(images.shape), IMAGE_BLOCK))
        return torch.add(images, noise.to(images.device), alpha=self._noise_std).clamp_(0.0, 1.0)


class Quantized(Wrapper):
    """Rounds images to 8 bits, as a service that takes PNG files sees them: round(255 * x) / 255."""

    def before(self, images: torch.Tensor, tag: Tag | None) -> torch.Tensor:
        check_shape(images, self.image_shape)  # otherwise the arithmetic would accept integer pixels silently
        return images.mul(255.0).round_().div_(255.0)


def _with_scores(answer: Answer, wrapper: Wrapper) -> Scores | TopK:
    if isinstance(answer, Labels):
        name = type(wrapper).__name__
        raise InvalidSpec(
            f"{name} needs scores, but the oracle behind it answers Labels; give the oracle spec `label` (--oracle "
            f"label) where the service withholds scores itself, or put {name} inside"
        )
    return answer


def _all_scores(answer: Answer, wrapper: Wrapper) -> Scores:
    if isinstance(answer, TopK):
        raise InvalidSpec(
            f"{type(wrapper).__name__} needs all scores, but the oracle behind it answers the top "
            f"{answer.classes.shape[1]}; leave the oracle spec (--oracle) out: the service withholds scores itself"
        )
    scores = _with_scores(answer, wrapper)
    assert isinstance(scores, Scores)
    return scores


def _check_noise(name: str, noise_std: float, seed: int, first: int) -> None:
    if not (math.isfinite(noise_std) and noise_std >= 0.0):
        raise InvalidSpec(f"{name} is {noise_std}; give a standard deviation of 0 or more")
    if seed < 0 or first < 0:
        raise InvalidSpec(f"{name} has seed {seed} and first {first}; both must be 0 or more")


def _noise(seed: int, purpose: str, first: int, shape: tuple[int, ...], block: int) -> FloatArray:
    """Standard normal float32 noise of `shape` (N, ...) for the queries from `first` to `first + N - 1`.

    Philox has a 256-bit counter; each block of queries has its own value of the counter's highest 64 bits.
    """
    key = int.from_bytes(hashlib.blake2b(f"{purpose}/{seed}".encode(), digest_size=16).digest(), "little")
    start = first // block
    stop = -(-(first + shape[0]) // block)
    noise = np.empty(((stop - start) * block, *shape[1:]), dtype=np.float32)
    for index in range(start, stop):
        generator = np.random.Generator(np.random.Philox(key=key, counter=[0, 0, 0, index]))
        at = (index - start) * block
        generator.standard_normal(dtype=np.float32, out=noise[at : at + block])
    skip = first - start * block
    return noise[skip : skip + shape[0]]
