"""PIHA: queries whose perceptual hash nearly equals that of one earlier query."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from oracles.answers import FloatArray, IntArray
from oracles.watch.detector import Found

BLOCK = 7
"""Side of a block in pixels: as for 32x32x3 in the source."""

THRESHOLD = 0.95 - 1e-9
"""An alarm needs a share of equal blocks above this: a normalised Hamming distance of at most 0.05."""

MEMORY = 10_000
"""Number of earlier queries that are remembered. Our own choice: 25 bytes each for 32x32."""

_EQUAL = 1e-6
_NEIGHBOURS = [(0, 1), (-1, 1), (-1, 0), (-1, -1), (0, -1), (1, -1), (1, 0), (1, 1)]

Hashes = NDArray[np.uint8]


class PIHA:
    """Scores a query by the share of blocks, 0 to 1, whose hash equals that of the earlier query most like it.

    Source: `models/statefuldefense.py` of nmangaokar/ccs_23_oars_stateful_attacks, the reimplementation of PIHA (Choi
    et al. 2023) by Feng et al. 2023; we have not read the papers. Simplified: numpy in place of OpenCV and
    scikit-image; two sums of hue that differ by less than a millionth of the larger count as equal in the binary
    patterns; an image that is not RGB has its mean over the channels in place of the hue, which the source does not
    define; the latest `memory` queries are remembered. Of equally similar queries the earliest is named.
    """

    def __init__(self, memory: int = MEMORY) -> None:
        self._memory, self._seen = memory, 0
        self._ring: Hashes | None = None

    def observe(self, images: FloatArray, labels: IntArray) -> Found:
        """See `Detector.observe`; the labels do not matter."""
        rows = hashes(images)
        if self._ring is None:
            self._ring = np.empty((min(self._memory, 256), rows.shape[1]), np.uint8)
        return Found.of([self._one(row) for row in rows])

    def _one(self, row: Hashes) -> tuple[float, int]:
        assert self._ring is not None
        known = min(self._seen, self._memory)
        score, nearest = 0.0, -1
        if known:
            first = self._seen - known
            equal = np.roll((self._ring[:known] == row).sum(axis=1), -(first % self._memory))
            best = int(equal.argmax())
            score, nearest = float(equal[best] / len(row)), first + best
        if self._seen == len(self._ring) < self._memory:
            more = np.empty((min(self._memory, 2 * len(self._ring)) - len(self._ring), len(row)), np.uint8)
            self._ring = np.concatenate([self._ring, more])
        self._ring[self._seen % self._memory] = row
        self._seen += 1
        return score, nearest


def hashes(images: FloatArray) -> Hashes:
    """The local binary pattern of each block of 7x7 pixels, uint8 (N, blocks)."""
    hue = _hue(_blurred(images.astype(np.float64)))
    rows, columns = (BLOCK - n % BLOCK for n in hue.shape[1:])  # a full block more where none is needed, as the source
    hue = np.pad(hue, ((0, 0), (0, rows), (0, columns)))
    n, height, width = hue.shape
    sums = hue.reshape(n, height // BLOCK, BLOCK, width // BLOCK, BLOCK).sum(axis=(2, 4))
    return _binary_patterns(sums).reshape(n, -1)


def _blurred(images: NDArray[np.float64]) -> NDArray[np.float64]:
    """A Gaussian of 3x3 pixels and standard deviation 1, mirrored at the edges."""
    side = math.exp(-0.5) / (1.0 + 2.0 * math.exp(-0.5))
    for axis in (2, 3):
        width = [(0, 0)] * 4
        width[axis] = (1, 1)
        wide = np.moveaxis(np.pad(images, width, "reflect" if images.shape[axis] > 1 else "edge"), axis, 0)
        images = np.moveaxis(side * (wide[:-2] + wide[2:]) + (1.0 - 2.0 * side) * wide[1:-1], 0, axis)
    return images


def _hue(images: NDArray[np.float64]) -> NDArray[np.float64]:
    """The hue in degrees, 0 for grey, (N, H, W); the mean over the channels if there are not three."""
    if images.shape[1] != 3:
        return np.asarray(images.mean(axis=1))
    red, green, blue = images[:, 0], images[:, 1], images[:, 2]
    high = images.max(axis=1)
    span = high - images.min(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        hue = 60.0 * np.select(
            [high == red, high == green], [(green - blue) / span, 2.0 + (blue - red) / span], 4.0 + (red - green) / span
        )
    hue = np.where(span > 0.0, hue, 0.0)
    return np.where(hue < 0.0, hue + 360.0, hue)


def _binary_patterns(values: NDArray[np.float64]) -> Hashes:
    """Which of the 8 points at distance 1 are no smaller than the centre, as bits; 0 beyond the edge.

    A point between the centres of blocks is interpolated from four of them.
    """
    wide = np.pad(values, ((0, 0), (1, 1), (1, 1)))
    height, width = values.shape[1:]

    def shifted(down: int, right: int) -> NDArray[np.float64]:
        return wide[:, 1 + down : 1 + down + height, 1 + right : 1 + right + width]

    codes = np.zeros(values.shape, np.uint8)
    near = math.sqrt(0.5)
    far = 1.0 - near
    for bit, (down, right) in enumerate(_NEIGHBOURS):
        point = shifted(down, right)
        if down and right:
            sides = shifted(down, 0) + shifted(0, right)
            point = near * near * point + near * far * sides + far * far * values
        codes |= (point >= values - _EQUAL * np.maximum(values, 1.0)).astype(np.uint8) << np.uint8(bit)
    return codes
