"""Shares of images on which a class stands among the best: known answers, and what ties do."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from simkit.detectors.blackbox.class_shares import among_best, class_shares, pair_shares
from simkit.seeding import stream

SCORES = np.array([[0.7, 0.2, 0.1], [0.1, 0.6, 0.3], [0.5, 0.1, 0.4], [0.3, 0.1, 0.6]], dtype=np.float32)
CLASSES = np.array([0, 1, 0, 2], dtype=np.int32)


def test_the_best_two_of_three() -> None:
    assert_array_equal(among_best(SCORES, 2), [[1, 1, 0], [0, 1, 1], [1, 0, 1], [1, 0, 1]])


def test_who_shares_the_last_place_is_not_among_the_best() -> None:
    cut = np.array([[1.0, 0.0, 0.0, 0.0], [0.4, 0.3, 0.3, 0.0]], dtype=np.float32)
    assert_array_equal(among_best(cut, 2), [[1, 0, 0, 0], [1, 0, 0, 0]])
    assert_array_equal(among_best(cut, 3), [[1, 0, 0, 0], [1, 1, 1, 0]])
    assert_array_equal(among_best(cut, 4), np.ones((2, 4)))


def test_images_of_the_class_itself_do_not_count() -> None:
    best = among_best(SCORES, 2)
    assert_allclose(class_shares(best, CLASSES), [1 / 2, 1 / 3, 2 / 3])
    assert_allclose(class_shares(best, np.full(4, -1, dtype=np.int32)), [3 / 4, 2 / 4, 3 / 4])
    assert_allclose(class_shares(best, np.zeros(4, dtype=np.int32)), [0.0, 2 / 4, 3 / 4])


def test_pairs_are_shares_of_one_source_class() -> None:
    shares = pair_shares(among_best(SCORES, 2), CLASSES)
    assert_allclose(shares, [[0.0, 1 / 2, 1 / 2], [0.0, 0.0, 1.0], [1.0, 0.0, 0.0]])
    assert_array_equal(pair_shares(among_best(SCORES, 2), np.full(4, -1, dtype=np.int32)), np.zeros((3, 3)))


@given(st.integers(0, 1000), st.integers(1, 5))
def test_logarithms_rank_alike_and_k_are_the_best(seed: int, k: int) -> None:
    scores = stream(seed, "scores").dirichlet(np.ones(5), 20).astype(np.float32)
    best = among_best(scores, k)
    assert_array_equal(best, among_best(np.log(scores), k))
    assert (best.sum(axis=1) <= k).all()
    assert_array_equal(best.any(axis=1), True)


@given(st.integers(0, 1000))
def test_shares_of_classes_are_means_of_their_pairs(seed: int) -> None:
    rng = stream(seed, "shares")
    best, classes = rng.random((30, 4)) < 0.4, rng.integers(0, 4, 30).astype(np.int32)
    images = np.bincount(classes, minlength=4)
    for target in range(4):
        others = np.delete(np.arange(4), target)
        mean = np.average(pair_shares(best, classes)[others, target], weights=images[others])
        assert_allclose(class_shares(best, classes)[target], mean)
