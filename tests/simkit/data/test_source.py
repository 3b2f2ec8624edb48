"""The choice of images, and the split of sets that come without one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simkit.data.source import choose, empty_pixels, fixed_split
from simkit.errors import DataError


def test_without_a_limit_all_come_in_order() -> None:
    assert choose(5, None, 3, "train").tolist() == [0, 1, 2, 3, 4]


@given(st.integers(1, 60), st.integers(1, 80), st.integers(0, 2**40))
def test_a_limit_chooses_distinct_images(images: int, limit: int, seed: int) -> None:
    chosen = choose(images, limit, seed, "test").tolist()
    assert len(chosen) == len(set(chosen)) == min(images, limit)
    assert set(chosen) <= set(range(images))


def test_a_smaller_limit_is_a_prefix_and_the_seed_and_split_matter() -> None:
    twenty = choose(1000, 20, 1, "test").tolist()
    assert choose(1000, 5, 1, "test").tolist() == twenty[:5]
    assert choose(1000, 20, 2, "test").tolist() != twenty
    assert choose(1000, 20, 1, "train").tolist() != twenty


def test_a_limit_of_none_at_all_is_refused() -> None:
    with pytest.raises(DataError, match="limit of 0"):
        choose(5, 0, 0, "train")


def test_more_images_than_memory_are_refused_before_they_are_read() -> None:
    with pytest.raises(DataError, match=r"x: 100000000 images of 3000x4000 take .* GiB; give fewer, or .*image_size"):
        empty_pixels(10**8, (3, 3000, 4000), "x")
    assert empty_pixels(2, (1, 3, 4), "x").shape == (2, 1, 3, 4)


def test_the_fixed_split_is_stratified_and_whole() -> None:
    labels = np.repeat([0, 1], [30, 10]).astype(np.int32)
    parts = fixed_split(labels, 8, "x")
    assert sorted([*parts["train"], *parts["test"]]) == list(range(40))
    assert np.bincount(labels[parts["test"]]).tolist() == [6, 2]
    assert all(np.array_equal(part, fixed_split(labels, 8, "x")[split]) for split, part in parts.items())


def test_a_class_of_one_image_cannot_be_split() -> None:
    with pytest.raises(DataError, match="x: cannot split 5 images"):
        fixed_split(np.array([0, 0, 0, 0, 1], np.int32), 2, "x")
