"""Honest clients: whoever augments images, and whoever explains answers; generators of calls."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from oracles.answers import FloatArray

COPIES = 8
"""Augmented copies of each image."""

PATCH, STRIDE = 0.25, 0.125
"""Side and step of the occluding square, as shares of the image's side."""

Client = Callable[[FloatArray, int], Iterator[FloatArray]]
"""Calls, each float32 (N, C, H, W), from natural images and a seed."""


def augmenting(images: FloatArray, seed: int) -> Iterator[FloatArray]:
    """Each image and 8 copies of it, mirrored at random, moved by up to a sixteenth and 20 % brighter or darker."""
    rng = np.random.default_rng(seed)
    for image in images:
        most = max(1, image.shape[1] // 16)
        wide = np.pad(image, ((0, 0), (most, most), (most, most)), "reflect")
        copies = [image]
        for _ in range(COPIES):
            down, right = rng.integers(0, 2 * most + 1, 2)
            moved = wide[:, down : down + image.shape[1], right : right + image.shape[2]]
            moved = moved[:, :, ::-1] if rng.random() < 0.5 else moved
            copies.append(np.clip(moved * np.float32(rng.uniform(0.8, 1.2)), np.float32(0.0), np.float32(1.0)))
        yield np.stack(copies).astype(np.float32)


def explaining(images: FloatArray, seed: int) -> Iterator[FloatArray]:
    """Each image, and the same with a grey square at each place of a grid, as for a map of occlusion. seed: unused."""
    for image in images:
        side, step = (max(1, round(share * image.shape[1])) for share in (PATCH, STRIDE))
        hidden = [image]
        for row in range(0, image.shape[1] - side + 1, step):
            for column in range(0, image.shape[2] - side + 1, step):
                copy = image.copy()
                copy[:, row : row + side, column : column + side] = np.float32(0.5)
                hidden.append(copy)
        yield np.stack(hidden)


CLIENTS: dict[str, Client] = {"augmenting": augmenting, "explaining": explaining}
