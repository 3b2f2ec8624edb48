"""Images in memory without labels, and what sizes may look like."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter, ValidationError

from simkit.data import unlabelled
from simkit.data.size import ImageSize
from simkit.errors import DataError

BYTES = np.random.default_rng(0).integers(0, 256, (5, 3, 6, 4)).astype(np.uint8)


@pytest.mark.parametrize(
    "images",
    [
        BYTES,
        BYTES.transpose(0, 2, 3, 1),
        BYTES / 255.0,
        torch.from_numpy(BYTES),
        torch.from_numpy(BYTES) / 255.0,
        torch.from_numpy(BYTES / 255.0).requires_grad_(),
    ],
)
def test_every_layout_and_type_gives_the_same_images(images: Any) -> None:
    actual = unlabelled(images)
    assert torch.allclose(actual.pixels, torch.from_numpy(BYTES) / 255.0, atol=1e-7)
    assert not actual.labelled


@pytest.mark.parametrize(
    ("images", "complaint"),
    [
        (BYTES.astype(np.int64), "array: images are int64"),
        (torch.from_numpy(BYTES).long(), "tensor: pixels are torch.int64"),
        (torch.zeros(3, 4, 4), "tensor: pixels are"),
        (np.zeros((2, 5, 5, 5)), "array: .*no axis of 1 or 3"),
        (np.full((2, 5, 5), 2.0), "array: pixels are from 2"),
        ([[1, 2], [3, 4]], r"array: images have shape \(2, 2\)"),
    ],
)
def test_what_is_no_batch_of_images_is_refused(images: Any, complaint: str) -> None:
    with pytest.raises(DataError, match=complaint):
        unlabelled(images)


@pytest.mark.parametrize(
    ("told", "size"), [(32, (32, 32)), ("32", (32, 32)), ("32,48", (32, 48)), ([32, 48], (32, 48)), ((1, 2), (1, 2))]
)
def test_sizes_are_told_in_several_ways(told: object, size: tuple[int, int]) -> None:
    assert TypeAdapter(ImageSize).validate_python(told) == size


@pytest.mark.parametrize("told", [0, -1, 5000, "32x48", "1,2,3", [3], None, 3.5, ""])
def test_other_sizes_are_refused(told: object) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(ImageSize).validate_python(told)


@pytest.mark.parametrize("shape", [(3, 4, 4), (3, 1, 4, 4), (3, 4, 4, 3)])
def test_bytes_of_only_0_and_1_are_refused_with_what_to_do(shape: tuple[int, ...]) -> None:
    ones = np.random.default_rng(0).integers(0, 2, shape).astype(np.uint8)
    tensor = torch.from_numpy(ones.reshape(3, -1, 4, 4)[:, :1])
    for images in (ones, tensor):
        with pytest.raises(DataError, match=r"hold only 0 and 1, .* store black and white as 0 and 255"):
            unlabelled(images)
    assert set(np.unique(unlabelled(ones.astype(np.float32)).array)) == {0.0, 1.0}
    assert unlabelled(255 * ones).array.max() == 1.0
    assert unlabelled(np.zeros(shape, np.uint8)).array.max() == 0.0, "black says nothing"
