"""A stratified split into train and test, identical to scikit-learn's, which takes as long as torch to import.

Same as `sklearn.model_selection.StratifiedShuffleSplit` with random_state=0. Data sets without a stored test split are
identified by it, so it must not change.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

IndexArray = NDArray[np.int64]


def stratified_split(labels: NDArray[np.integer], test_images: int) -> tuple[IndexArray, IndexArray]:
    """Sorted int64 indices of train and test, `test_images` for testing; each class has its share of both.

    Raises ValueError if a class has one image, or if a part would have no image or fewer images than classes.
    """
    _, positions = np.unique(labels, return_inverse=True)
    counts = np.bincount(positions)
    _check(counts, test_images)
    rng = np.random.RandomState(0)
    of_train = _shares(counts, len(labels) - test_images, rng)
    of_test = _shares(counts - of_train, test_images, rng)
    train, test = [], []
    for rows, first, second in zip(_rows_by_class(positions, counts), of_train, of_test, strict=True):
        shuffled = rows[rng.permutation(len(rows))]
        train.append(shuffled[:first])
        test.append(shuffled[first : first + second])
    return np.sort(np.concatenate(train)), np.sort(np.concatenate(test))


def _check(counts: IndexArray, test_images: int) -> None:
    train_images, classes = int(counts.sum()) - test_images, len(counts)
    if min(train_images, test_images) < 1:
        raise ValueError(f"{train_images} images would be left to train on and {test_images} to test with")
    if counts.min() < 2:
        raise ValueError("a class has only one image")
    if min(train_images, test_images) < classes:
        raise ValueError(f"{train_images} images to train on and {test_images} to test with for {classes} classes")


def _rows_by_class(positions: IndexArray, counts: IndexArray) -> list[IndexArray]:
    order: IndexArray = np.argsort(positions, kind="stable").astype(np.int64)
    return np.split(order, np.cumsum(counts)[:-1])


def _shares(counts: IndexArray, draws: int, rng: np.random.RandomState) -> IndexArray:
    """The number of images per class: proportional, rounded down, then by largest remainder with random ties."""
    exact = counts / counts.sum() * draws
    shares = np.floor(exact)
    remainders, missing = exact - shares, int(draws - shares.sum())
    for remainder in np.unique(remainders)[::-1]:
        if missing == 0:
            break
        (tied,) = np.where(remainders == remainder)
        lucky = rng.choice(tied, size=min(len(tied), missing), replace=False)
        shares[lucky] += 1
        missing -= len(lucky)
    whole: IndexArray = shares.astype(np.int64)
    return whole
