"""Where a tile lies, and how large it is: moves of a tile by a pixel or two, of which the best takes its place.

A network that pools its features answers to a patch at other places as well, but only where its grid of pooling lies as
it did under the patch that it was trained with, so that a pixel or two can decide (ours).
"""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np

from simkit.search.collages import Collage
from simkit.search.mosaics import THINNEST
from simkit.search.patch_moves import Patch, inside

PLACES = 11
"""Number of places that `places` gives."""


def places(collage: Collage, by: int, most: int, image_shape: tuple[int, int, int]) -> list[Collage]:
    """A collage of one tile: as it is, shifted by `by` pixels in eight directions, and smaller and larger by `by`.

    most: the largest side of a tile. A move that would leave the image, or make a side longer, goes as far as it can.
    """
    tile = collage.patches[0]
    shifts = [(down * by, right * by) for down, right in product((0, -1, 1), repeat=2)]
    moved = [replace(tile, top=tile.top + down, left=tile.left + right) for down, right in shifts]
    found = [inside(patch, image_shape) for patch in moved]
    found += [_resized(tile, sign * by, most, image_shape) for sign in (-1, 1)]
    return [Collage((patch,)) for patch in found]


def _resized(tile: Patch, by: int, most: int, image_shape: tuple[int, int, int]) -> Patch:
    """A tile with `by` pixels more on each side, or less; new pixels have the colours of the nearest ones."""
    _, height, width = image_shape
    tall, wide = (min(max(side + 2 * by, THINNEST), most) for side in (tile.height, tile.width))
    top = min(max(tile.top + (tile.height - tall) // 2, 0), max(height - tall, 0))
    left = min(max(tile.left + (tile.width - wide) // 2, 0), max(width - wide, 0))
    tall, wide = min(tall, height), min(wide, width)
    rows, columns = (
        np.clip(np.arange(first, first + side) - old, 0, long - 1)
        for first, side, old, long in ((top, tall, tile.top, tile.height), (left, wide, tile.left, tile.width))
    )
    colours = np.ascontiguousarray(tile.colours[:, rows][:, :, columns])
    return Patch(top, left, tall, wide, colours)


def windows(collage: Collage, side: int) -> list[Collage]:
    """A collage of one tile cut to `side` x `side` pixels: at its corners, and in the middle of its sides and of it."""
    tile = collage.patches[0]
    tall, wide = min(side, tile.height), min(side, tile.width)
    rows, columns = (sorted({0, spare // 2, spare}) for spare in (tile.height - tall, tile.width - wide))
    return [
        Collage((Patch(tile.top + d, tile.left + r, tall, wide, tile.colours[:, d : d + tall, r : r + wide]),))
        for d, r in product(rows, columns)
    ]
