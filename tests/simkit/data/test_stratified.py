"""The stratified split is scikit-learn's, whatever the labels."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.model_selection import train_test_split  # type: ignore[import-untyped]

from simkit.data.stratified import stratified_split


@given(st.lists(st.integers(0, 6), min_size=1, max_size=80), st.integers(0, 80))
def test_it_is_the_split_of_scikit_learn(numbers: list[int], test_images: int) -> None:
    labels = 3 * np.array(numbers, dtype=np.int32)
    try:
        reference = train_test_split(np.arange(len(labels)), test_size=test_images, stratify=labels, random_state=0)
    except ValueError:
        with pytest.raises(ValueError, match="image"):
            stratified_split(labels, test_images)
        return
    for part, rows in zip(stratified_split(labels, test_images), reference, strict=True):
        assert part.tolist() == sorted(rows.tolist())


@pytest.mark.parametrize(
    ("labels", "test_images", "complaint"),
    [
        ([0, 0, 1], 1, "a class has only one image"),
        ([0, 0, 1, 1], 1, "3 images to train on and 1 to test with for 2 classes"),
        ([0, 0, 1, 1], 4, "0 images would be left to train on and 4 to test with"),
    ],
)
def test_what_cannot_be_split_is_said(labels: list[int], test_images: int, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        stratified_split(np.array(labels), test_images)


def test_classes_share_in_proportion_and_no_row_is_lost() -> None:
    train, test = stratified_split(np.repeat([4, 9], [30, 10]), 8)
    assert sorted([*train, *test]) == list(range(40))
    assert np.bincount(np.repeat([0, 1], [30, 10])[test]).tolist() == [6, 2]
