"""Blacklight: queries that share many hashes of short runs of pixels with one earlier query."""

from __future__ import annotations

from array import array
from collections import deque

import numpy as np
from numpy.typing import NDArray

from oracles.answers import FloatArray, IntArray
from oracles.watch.detector import Found

WINDOW, QUANTISATION, KEPT = 20, 50, 50
"""Values of a window, levels of 255 that become one, and hashes kept per image: as for 32x32x3 in the source."""

THRESHOLD = 25.0
"""An alarm needs more shared hashes than this."""

MEMORY = 10_000
"""Number of earlier queries that are remembered. Our own choice: about 7 kB each."""

_BITS = 3
_BLOCK = 32
_SPARE = 14
_MIX = (np.uint64(0x9E3779B97F4A7C15), np.uint64(0xD6E8FEB86659FD93))

Hashes = NDArray[np.uint64]


class Blacklight:
    """Scores a query by the number of hashes, 0 to 50, that it shares with the earlier query most like it.

    Source: `models/statefuldefense.py` of nmangaokar/ccs_23_oars_stateful_attacks, the reimplementation of Blacklight
    (Li et al. 2022) by Feng et al. 2023; we have not read the papers. Simplified: a window of 20 quantised values fits
    into 60 bits, so it is mixed by an invertible function where the source takes SHA-256; the salt is drawn from
    `seed`; the latest `memory` queries are remembered where the source forgets all at once, now and then. Images are
    flattened by channel, as in the source. Of equally similar queries the earliest is named.
    """

    def __init__(self, memory: int = MEMORY, seed: int = 0) -> None:
        self._memory, self._seed = memory, seed
        self._rows: deque[list[int]] = deque()
        self._index: dict[int, int | array[int]] = {}
        self._seen = 0

    def observe(self, images: FloatArray, labels: IntArray) -> Found:
        """See `Detector.observe`; the labels do not matter."""
        found = []
        for row in hashes(images, self._seed).tolist():
            row = [value for value in row if value]
            found.append(self._most_shared(row))
            self._remember(row)
        return Found.of(found)

    def _most_shared(self, row: list[int]) -> tuple[float, int]:
        once: list[int] = []
        often = []
        for value in row:
            entry = self._index.get(value)
            if isinstance(entry, int):
                once.append(entry)
            elif entry is not None:
                often.append(np.frombuffer(entry, np.int64))
        if not once and not often:
            return 0.0, -1
        first = self._seen - len(self._rows)
        counts = np.bincount(np.concatenate([np.array(once, np.int64), *often]) - first)
        nearest = int(counts.argmax())
        return float(counts[nearest]), first + nearest

    def _remember(self, row: list[int]) -> None:
        for value in row:
            entry = self._index.get(value)
            if entry is None:
                self._index[value] = self._seen
            elif isinstance(entry, int):
                self._index[value] = array("q", (entry, self._seen))
            else:
                entry.append(self._seen)
        self._rows.append(row)
        self._seen += 1
        if len(self._rows) > self._memory:
            self._forget(self._rows.popleft())

    def _forget(self, row: list[int]) -> None:
        for value in row:
            entry = self._index[value]
            if isinstance(entry, int) or len(entry) == 1:
                del self._index[value]
            else:
                entry.pop(0)


def hashes(images: FloatArray, seed: int = 0) -> Hashes:
    """The largest 50 different hashes of each image, uint64 (N, 50), in no order; 0 where an image has fewer."""
    flat = images.reshape(len(images), -1)
    if flat.shape[1] < WINDOW:
        return np.zeros((len(images), KEPT), np.uint64)
    salt = np.random.Generator(np.random.Philox(key=seed)).integers(0, 255, flat.shape[1]).astype(np.float32)
    parts = [_largest(_windows(flat[at : at + _BLOCK], salt)) for at in range(0, len(flat), _BLOCK)]
    return np.concatenate(parts)


def _windows(flat: FloatArray, salt: FloatArray) -> Hashes:
    """One hash for each run of 20 values; equal runs, and only these, have equal hashes."""
    values = flat * np.float32(255.0) + salt
    values -= np.float32(255.0) * (values >= 255.0)
    one = np.rint(values / np.float32(QUANTISATION)).astype(np.uint8)  # 0 to 5, in 3 bits
    two = _side_by_side(one, one, 1, np.uint8)
    four = _side_by_side(two, two, 2, np.uint16)
    eight = _side_by_side(four, four, 4, np.uint32)
    sixteen = _side_by_side(eight, eight, 8, np.uint64)
    mixed = sixteen[:, :-4] << np.uint64(4 * _BITS) | four[:, 16:]
    mixed *= _MIX[0]
    mixed ^= mixed >> np.uint64(32)
    mixed *= _MIX[1]
    return mixed


def _side_by_side(
    left: NDArray[np.unsignedinteger], right: NDArray[np.unsignedinteger], length: int, kind: type
) -> Hashes:
    """Runs of `length` values as runs of twice the length."""
    joined: Hashes = left[:, :-length].astype(kind)
    joined <<= kind(length * _BITS)
    joined |= right[:, length:]
    return joined


def _largest(values: Hashes) -> Hashes:
    """The largest 50 different values of each row, 0 where there are fewer."""
    columns = values.shape[1]
    top = np.sort(
        np.partition(values, columns - KEPT - _SPARE, axis=1)[:, -KEPT - _SPARE :]
        if columns > KEPT + _SPARE
        else values
    )
    top[:, :-1][top[:, 1:] == top[:, :-1]] = 0
    chosen = np.zeros((len(top), KEPT), np.uint64)
    for row, line in enumerate(top):
        different = line[line > 0]
        if len(different) < KEPT and columns > KEPT + _SPARE:
            different = np.unique(values[row])  # many equal runs, as in an image of one colour
        different = different[-KEPT:]
        chosen[row, : len(different)] = different
    return chosen
