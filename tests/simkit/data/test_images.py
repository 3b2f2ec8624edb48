"""ImageSet: what it refuses, what it takes, what its hash tells apart."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from simkit.data import ImageSet
from simkit.errors import DataError
from simkit.triggers import IntArray

CLASSES = ("a", "b", "c")


def _labels(*labels: int) -> IntArray:
    return np.array(labels, dtype=np.int32)


def _three() -> ImageSet:
    pixels = torch.arange(3.0).reshape(3, 1, 1, 1).expand(3, 1, 2, 2) / 4.0
    return ImageSet(pixels.contiguous(), _labels(0, 1, 2), CLASSES, "three")


def test_it_tells_its_size_and_shape() -> None:
    images = _three()
    assert (len(images), images.n_classes, images.image_shape) == (3, 3, (1, 2, 2))


@pytest.mark.parametrize(
    ("pixels", "labels", "complaint"),
    [
        (torch.zeros(1, 1, 2, 2, dtype=torch.float64), _labels(0), "float64"),
        (torch.zeros(1, 2, 2), _labels(0), r"need float32 \(N, C, H, W\)"),
        (torch.zeros(0, 1, 2, 2), _labels(), "no images"),
        (torch.full((1, 1, 2, 2), 255.0), _labels(0), "divide 8-bit images by 255"),
        (torch.full((1, 1, 2, 2), -0.1), _labels(0), r"\[0, 1\]"),
        (torch.full((1, 1, 2, 2), float("nan")), _labels(0), "NaN"),
        (torch.zeros(1, 1, 2, 2), np.zeros(1, np.int64), "int32"),
        (torch.zeros(2, 1, 2, 2), _labels(0), "one per image"),
        (torch.zeros(2, 1, 2, 2), _labels(0, 3), "row 1 is 3"),
        (torch.zeros(2, 1, 2, 2), _labels(-2, 0), "row 0 is -2"),
    ],
)
def test_it_refuses_what_is_no_image_set(pixels: torch.Tensor, labels: IntArray, complaint: str) -> None:
    with pytest.raises(DataError, match=complaint) as caught:
        ImageSet(pixels, labels, CLASSES, "bad")
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("bad: ")


def test_an_array_does_as_well_as_a_tensor_and_both_are_views_of_it() -> None:
    tensor = _three()
    images = ImageSet(tensor.array, tensor.labels, CLASSES, "three")
    assert images.sha256() == tensor.sha256()
    images.pixels.fill_(0.5)
    assert (tensor.array == 0.5).all()
    with pytest.raises(DataError, match="bad: pixels are float64"):
        ImageSet(np.zeros((1, 1, 2, 2)), _labels(0), CLASSES, "bad")  # type: ignore[arg-type]


@given(st.lists(st.integers(0, 2), min_size=1, max_size=8))
def test_take_keeps_order_and_repeats(indices: list[int]) -> None:
    taken = _three().take(indices)
    assert taken.labels.tolist() == indices
    assert torch.equal(taken.pixels[:, 0, 0, 0], torch.tensor(indices) / 4.0)


def test_labels_may_be_unknown_and_be_told_later() -> None:
    unknown = ImageSet.unlabelled(torch.zeros(3, 1, 2, 2), "loose")
    assert (unknown.labelled, unknown.n_classes, unknown.labels.tolist()) == (False, 0, [-1, -1, -1])
    observed = unknown.with_labels(_labels(3, 0, 1), 4)
    assert (observed.labelled, observed.classes, observed.name) == (True, ("0", "1", "2", "3"), "loose")
    named = ImageSet.unlabelled(unknown.pixels, "loose", CLASSES).with_labels(_labels(2, -1, 0), 3)
    assert (named.labelled, named.classes) == (False, CLASSES)
    assert len({unknown.sha256(), observed.sha256(), named.sha256()}) == 3
    with pytest.raises(DataError, match="no classes are named"):
        ImageSet(unknown.pixels, _labels(0, 1, 2), (), "loose")


def test_take_copies() -> None:
    images = _three()
    images.take([0, 1, 2]).pixels.fill_(1.0)
    assert torch.equal(images.pixels, _three().pixels)


def test_a_part_is_a_view() -> None:
    images = _three()
    part = images.part(1, 3)
    assert np.shares_memory(part.array, images.array)
    assert (part.labels.tolist(), part.classes, part.name) == ([1, 2], CLASSES, "three")
    assert part.sha256() == images.take([1, 2]).sha256()
    with pytest.raises(DataError, match="no images"):
        images.part(2, 2)


def test_the_hash_takes_no_memory_to_speak_of() -> None:
    images = ImageSet.unlabelled(np.zeros((64, 3, 64, 64), np.float32), "large")
    tracemalloc.start()
    images.sha256()
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < images.array.nbytes / 100


@pytest.mark.parametrize("indices", [[], [3], [-1], [[0]]])
def test_take_refuses_other_indices(indices: list[int]) -> None:
    with pytest.raises(DataError, match="three: take"):
        _three().take(indices)


def test_the_hash_is_of_the_content() -> None:
    images = _three()
    assert images.sha256() == ImageSet(images.pixels.clone(), images.labels.copy(), CLASSES, "renamed").sha256()
    others = [
        images.take([0, 1]),
        images.take([1, 0, 2]),
        ImageSet(images.pixels, _labels(0, 1, 1), CLASSES, "three"),
        ImageSet(images.pixels, images.labels, ("a", "b", "z"), "three"),
        ImageSet(images.pixels.reshape(3, 1, 1, 4), images.labels, CLASSES, "three"),
    ]
    assert len({images.sha256(), *(other.sha256() for other in others)}) == 6


def test_the_hash_does_not_depend_on_the_memory_layout() -> None:
    pixels = torch.rand(2, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    other = pixels.contiguous(memory_format=torch.channels_last)
    labels = _labels(0, 1)
    assert ImageSet(pixels, labels, CLASSES, "x").sha256() == ImageSet(other, labels, CLASSES, "x").sha256()
