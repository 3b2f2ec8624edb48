"""What an oracle may answer, and its lossless form in bytes.

A service answers scores, the top k classes, or one label. Nothing else reaches a searcher.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

FloatArray: TypeAlias = NDArray[np.float32]
IntArray: TypeAlias = NDArray[np.int32]

MISSING = -1
"""The class id that stands for "no class": in a `TopK` row of fewer than k classes, and in `Labels`."""


@dataclass(frozen=True, eq=False)
class Scores:
    """One probability per class.

    values: float32 (N, C) in [0, 1]. floor: a value of 0 only means that the score was at most `floor` before a
    threshold or rounding of the service set it to 0; the floor is 0 where the values are exact. With noise on the
    scores, the floor bounds the noisy score and says nothing about the true one.
    """

    values: FloatArray
    floor: float = 0.0

    def __len__(self) -> int:
        return len(self.values)

    @property
    def n_classes(self) -> int:
        return int(self.values.shape[1])


@dataclass(frozen=True, eq=False)
class TopK:
    """The top k classes and their probabilities, the most probable first.

    classes: int32 (N, k), MISSING where the service named fewer than k. values: float32 (N, k), 0 where missing.
    floor: as in `Scores`.
    """

    classes: IntArray
    values: FloatArray
    n_classes: int
    floor: float = 0.0

    def __len__(self) -> int:
        return len(self.classes)


@dataclass(frozen=True, eq=False)
class Labels:
    """The top class only (label-only, hard-label): int32 (N,), MISSING where the service named none."""

    labels: IntArray
    n_classes: int

    def __len__(self) -> int:
        return len(self.labels)


Answer: TypeAlias = Scores | TopK | Labels


def top_label(answer: Answer) -> IntArray:
    """The top class of every image, int32 (N,); MISSING where the service named none."""
    if isinstance(answer, Labels):
        return answer.labels
    if isinstance(answer, TopK):
        return np.ascontiguousarray(answer.classes[:, 0])
    labels: IntArray = answer.values.argmax(axis=1).astype(np.int32)
    labels[answer.values.max(axis=1) <= 0.0] = MISSING
    return labels


def top_score(answer: Answer) -> FloatArray | None:
    """The probability of the top class, float32 (N,); None where the service gives no scores."""
    if isinstance(answer, Labels):
        return None
    values: FloatArray = answer.values[:, 0] if isinstance(answer, TopK) else answer.values.max(axis=1)
    return values


def joined(parts: Sequence[Answer]) -> Answer:
    """The answers to the parts of one call, at least one part, as one answer. Raises ValueError if they differ in
    kind, classes or floor."""
    first = parts[0]
    if len(parts) == 1:
        return first
    codec, data = encode(first)
    encoded = [data]
    for part in parts[1:]:
        other, data = encode(part)
        if other != codec:
            raise ValueError(f"the parts of one call are answered as {codec} and as {other}")
        encoded.append(data)
    return decode(codec, b"".join(encoded))


def is_finite(answer: Answer) -> bool:
    """Whether every number in the answer is finite. A model that overflows answers NaN."""
    return isinstance(answer, Labels) or bool(np.isfinite(answer.values).all())


def _class_dtype(n_classes: int) -> str:
    return "<i2" if n_classes <= 2**15 else "<i4"


def _top_k_dtype(n_classes: int, k: int) -> np.dtype[np.void]:
    return np.dtype([("classes", _class_dtype(n_classes), (k,)), ("values", "<f4", (k,))])


def codec_of(answer: Answer) -> str:
    """The codec under which `encode` stores an answer: its kind, sizes and floor."""
    if isinstance(answer, Labels):
        return f"labels/{answer.n_classes}"
    if isinstance(answer, TopK):
        return f"topk/{answer.n_classes}/{answer.classes.shape[1]}/{float(answer.floor)!r}"
    return f"scores/{answer.n_classes}/{float(answer.floor)!r}"


_TOP_K = re.compile(r"topk/[1-9]\d{0,8}/([1-9]\d{0,8})/[^/]+", re.ASCII)


def top_of(codec: str) -> int | None:
    """How many classes the answers of this codec name, if it is one of top-k answers; None for any other text."""
    found = _TOP_K.fullmatch(codec)
    return None if found is None else int(found[1])


def encode(answer: Answer) -> tuple[str, bytes]:
    """The answer as (codec, bytes), without loss: little-endian, one record of fixed length per image.

    Codecs: `scores/C/floor` (C float32), `topk/C/k/floor` (k class ids, k float32), `labels/C` (one class id). Class
    ids are int16, or int32 if C is larger than 32,768.
    """
    codec = codec_of(answer)
    if isinstance(answer, Labels):
        return codec, answer.labels.astype(_class_dtype(answer.n_classes)).tobytes()
    if isinstance(answer, TopK):
        records = np.empty(len(answer), dtype=_top_k_dtype(answer.n_classes, answer.classes.shape[1]))
        records["classes"], records["values"] = answer.classes, answer.values
        return codec, records.tobytes()
    return codec, answer.values.astype("<f4").tobytes()


def decode(codec: str, data: bytes) -> Answer:
    """The answer that `encode` was given. Raises ValueError on an unknown codec or a wrong length."""
    kind, *numbers = codec.split("/")
    if kind == "labels" and len(numbers) == 1:
        return Labels(np.frombuffer(data, _class_dtype(int(numbers[0]))).astype(np.int32), int(numbers[0]))
    if kind == "topk" and len(numbers) == 3:
        records = np.frombuffer(data, _top_k_dtype(int(numbers[0]), int(numbers[1])))
        classes, values = records["classes"].astype(np.int32), records["values"].astype(np.float32)
        return TopK(classes, values, int(numbers[0]), float(numbers[2]))
    if kind == "scores" and len(numbers) == 2:
        values = np.frombuffer(data, "<f4").astype(np.float32).reshape(-1, int(numbers[0]))
        return Scores(values, float(numbers[1]))
    raise ValueError(f"unknown answer codec {codec!r}")
