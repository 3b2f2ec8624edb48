"""Unpacks answers into arrays, many calls at a time. `oracles.answers.encode` documents the codecs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from db.records import FloatArray, IntArray


@dataclass(frozen=True, eq=False)
class Unpacked:
    """N answers over n_classes.

    classes: int32 (N, k), the classes that were answered, -1 for none; None if all classes were answered, in order.
    scores: float32 (N, k) or (N, n_classes); None for label-only answers.
    """

    n_classes: int
    classes: IntArray | None
    scores: FloatArray | None

    def dense(self) -> FloatArray | None:
        """The scores by class, float32 (N, n_classes), NaN where missing; None for label-only answers."""
        if self.classes is None or self.scores is None:
            return self.scores
        values = np.full((len(self.classes), self.n_classes + 1), np.nan, dtype=np.float32)
        np.put_along_axis(values, self.classes.astype(np.int64) % (self.n_classes + 1), self.scores, axis=1)
        return np.ascontiguousarray(values[:, :-1])  # -1 (no class) is in the last column, which is cut off


def unpack(codec: str, answers: bytes) -> Unpacked:
    """Unpack `answers`, the records of one or more calls of one codec. Raises ValueError on an unknown codec."""
    kind, *numbers = codec.split("/")
    try:
        n_classes = int(numbers[0])
        ids = "<i2" if n_classes <= 2**15 else "<i4"
        if (kind, len(numbers)) == ("labels", 1):
            return Unpacked(n_classes, np.frombuffer(answers, ids).astype(np.int32).reshape(-1, 1), None)
        if (kind, len(numbers)) == ("scores", 2):
            return Unpacked(n_classes, None, np.frombuffer(answers, "<f4").reshape(-1, n_classes))
        if (kind, len(numbers)) == ("topk", 3):
            k = int(numbers[1])
            records = np.frombuffer(answers, np.dtype([("classes", ids, (k,)), ("scores", "<f4", (k,))]))
            return Unpacked(n_classes, records["classes"].astype(np.int32), records["scores"].astype(np.float32))
    except (ValueError, IndexError):
        pass  # reported below
    raise ValueError(f"{len(answers)} bytes of answers in codec {codec!r}: damaged, or written by a newer simkit")
