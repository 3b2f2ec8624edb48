"""The embedded digits."""

from __future__ import annotations

import numpy as np
import torch
from sklearn.datasets import load_digits  # type: ignore[import-untyped]

from simkit.data import load


def test_the_two_parts_are_as_told_and_share_no_row() -> None:
    train, test = load("digits", "train"), load("digits", "test")
    assert (len(train), len(test)) == (1297, 500)
    assert train.image_shape == test.image_shape == (1, 8, 8)
    assert train.classes == test.classes == tuple("0123456789")
    rows = torch.cat([train.pixels, test.pixels]).flatten(1)
    assert len(torch.unique(rows, dim=0)) == 1797  # no image of the set occurs twice


def test_they_are_those_of_scikit_learn() -> None:
    reference, classes = load_digits(return_X_y=True)
    observed = {
        image.tobytes(): int(label) for image, label in zip((reference / 16.0).astype(np.float32), classes, strict=True)
    }
    for part in (load("digits", "train"), load("digits", "test")):
        assert [observed[image.tobytes()] for image in part.array] == part.labels.tolist()


def test_every_class_is_in_the_test_in_proportion() -> None:
    assert set(np.bincount(load("digits", "test").labels).tolist()) <= {48, 49, 50, 51}


def test_the_whole_grey_scale_is_used() -> None:
    pixels = load("digits", "train").pixels
    assert (float(pixels.min()), float(pixels.max())) == (0.0, 1.0)


def test_a_limit_takes_images_out_of_the_same_part() -> None:
    whole, few = load("digits", "test"), load("digits", "test", limit=30, seed=4)
    reference = {image.numpy().tobytes(): label for image, label in zip(whole.pixels, whole.labels, strict=True)}
    assert [reference[image.numpy().tobytes()] for image in few.pixels] == few.labels.tolist()
    assert load("digits", "test", limit=30, seed=4).sha256() == few.sha256()
    assert load("digits", "test", limit=30, seed=5).sha256() != few.sha256()
