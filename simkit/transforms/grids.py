"""Values at k x k points from corner to corner of an image, and what lies between: fields of warps, and pictures."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

MOST_POINTS = 64
"""Most points per side of a stored grid."""

_AT_ONCE = 1 << 24
"""Products that are held at once, 128 MiB: larger images are interpolated in bands of rows."""


@lru_cache(maxsize=64)
def bicubic(points: int, pixels: int) -> NDArray[np.float64]:
    """The weights (pixels, points) of bicubic interpolation from corner to corner (a = -0.75, repeated at the edges).

    This is torch's `interpolate` with mode bicubic and align_corners, with which WaNet's code makes its fields.
    All grids of a size share the array, which cannot be written to.
    """
    at = np.arange(pixels) * ((points - 1) / max(pixels - 1, 1))
    first = np.floor(at).astype(np.intp)
    weights = np.zeros((pixels, points))
    for offset in (-1, 0, 1, 2):
        distance = np.abs(at - first - offset)
        near = (1.25 * distance - 2.25) * distance**2 + 1.0
        far = -0.75 * (((distance - 5.0) * distance + 8.0) * distance - 4.0)
        np.add.at(
            weights,
            (np.arange(pixels), np.clip(first + offset, 0, points - 1)),
            np.where(distance <= 1.0, near, np.where(distance < 2.0, far, 0.0)),
        )
    weights.flags.writeable = False
    return weights


def interpolated(
    down: NDArray[np.float64], shifts: NDArray[np.float64], across: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The einsum "hk,klc,wl->hwc" of the three, in its order of sums.

    Products of matrices are faster still but round differently, and a ledger is replayed to the last bit. At 32x32
    pixels this takes an eighth of the einsum's time, whose innermost loop is over the two directions only.
    """
    bands = _bands(down, shifts.size * len(across))
    return np.concatenate([_interpolated(band, shifts, across) for band in bands])


def _interpolated(
    down: NDArray[np.float64], shifts: NDArray[np.float64], across: NDArray[np.float64]
) -> NDArray[np.float64]:
    rows = np.einsum("hk,klc->klch", down, shifts)[..., None]
    parts = (rows * across.T[:, None, None, :]).reshape(-1, 2, len(down), len(across))
    # the first axis is summed one after the other, unlike the last one, which numpy sums in pairs
    return np.ascontiguousarray(np.add.reduce(parts, axis=0, initial=0.0).transpose(1, 2, 0))


def enlarged(grid: NDArray[np.float64], height: int, width: int) -> NDArray[np.float64]:
    """The values (C, k, k) of a grid at all pixels, (C, height, width)."""
    down, across = bicubic(grid.shape[1], height), bicubic(grid.shape[2], width)
    bands = _bands(down, grid.shape[0] * grid.shape[2] * width)
    return np.concatenate([_enlarged(grid, band, across) for band in bands], axis=1)


def _bands(down: NDArray[np.float64], products: int) -> list[NDArray[np.float64]]:
    """The rows in parts of which each needs no more than is held at once. products: of one row."""
    rows = max(_AT_ONCE // products, 1)
    return [down[top : top + rows] for top in range(0, len(down), rows)]


def _enlarged(grid: NDArray[np.float64], down: NDArray[np.float64], across: NDArray[np.float64]) -> NDArray[np.float64]:
    rows = np.add.reduce(down.T[:, None, :, None] * grid.swapaxes(0, 1)[:, :, None, :], axis=0)
    whole: NDArray[np.float64] = np.add.reduce(across.T[:, None, None, :] * np.moveaxis(rows, 2, 0)[..., None], axis=0)
    return whole
