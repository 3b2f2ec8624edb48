"""Poisoned training images are a cluster of their class: found by size and distance, and not where there is none."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from simkit.data import ImageSet
from simkit.detectors.access import TrainingDataAccess, TrainingSet
from simkit.detectors.whitebox.activation_clustering import PRESETS, ActivationClustering, Clustering, split_in_two
from simkit.errors import ConfigError, DataError

CLASSES, EACH, TARGET = 3, 60, 1


def model() -> nn.Module:
    """Pixel c of 4x4 speaks for class c, and pixel 5 for the target: the last hidden layer is the image itself."""
    linear = nn.Linear(16, CLASSES, bias=False)
    nn.init.zeros_(linear.weight)
    with torch.no_grad():
        linear.weight[range(CLASSES), range(CLASSES)] = 1.0
        linear.weight[TARGET, 5] = 5.0
    return nn.Sequential(nn.Flatten(), linear)


def training_images(poisoned: int) -> ImageSet:
    """60 noisy images a class; of class 0, `poisoned` more have pixel 5 lit and the label of the target."""
    rng = np.random.default_rng(0)
    classes = np.concatenate([np.repeat(np.arange(CLASSES), EACH), np.zeros(poisoned, int)])
    pixels = 0.2 * rng.random((len(classes), 16), dtype=np.float32)
    pixels[np.arange(len(classes)), classes] += 0.6
    pixels[CLASSES * EACH :, 5] = 0.9
    classes[CLASSES * EACH :] = TARGET
    return ImageSet(pixels.reshape(-1, 1, 4, 4), classes.astype(np.int32), ("a", "b", "c"), "training")


def inspected(
    images: ImageSet, detector: ActivationClustering | None = None, net: nn.Module | None = None
) -> Clustering:
    access = TrainingDataAccess(net or model(), TrainingSet(images))
    return (detector or ActivationClustering()).inspect(access)


def test_a_small_cluster_is_suspected_image_by_image() -> None:
    found = inspected(training_images(12))
    assert (found.verdict.verdict, found.verdict.flagged) == ("backdoored", (TARGET,))
    np.testing.assert_array_equal(np.flatnonzero(found.suspected), np.arange(CLASSES * EACH, CLASSES * EACH + 12))
    target = found.classes[TARGET]
    assert (target.images, target.share, target.suspicious) == (72, 12 / 72, True)
    assert found.verdict.score == target.silhouette > 0.5
    assert found.forward_passes == 192
    assert "12 of 192 training images are suspected" in found.verdict.notes


def test_noise_has_no_cluster() -> None:
    found = inspected(training_images(0))
    assert (found.verdict.verdict, found.verdict.flagged) == ("clean", ())
    assert not found.suspected.any()
    assert all(c.silhouette < 0.3 for c in found.classes)


def test_poison_that_is_half_of_its_class_is_missed_by_size_and_found_by_distance() -> None:
    many = training_images(58)
    published, tuned = (inspected(many, PRESETS[name]) for name in ("reference", "tuned"))
    assert (published.verdict.verdict, published.verdict.score) == ("clean", -1.0)
    assert tuned.verdict.flagged == (TARGET,)
    assert int(tuned.suspected.sum()) == 58


def test_the_score_is_above_the_threshold_just_when_a_class_is_flagged() -> None:
    for poisoned in (0, 12, 58):
        for detector in PRESETS.values():
            verdict = inspected(training_images(poisoned), detector).verdict
            assert verdict.score is not None
            assert (verdict.score > detector.silhouette) == bool(verdict.flagged)


def test_the_published_thresholds_are_those_of_the_sources() -> None:
    reference = PRESETS["reference"]
    assert (reference.components, reference.largest_share, reference.silhouette) == (10, 0.35, 0.1)
    assert [PRESETS[name].schedule for name in PRESETS] == list(PRESETS)
    assert replace(reference, silhouette=0.2).schedule == "custom"


def test_a_model_that_does_not_know_its_training_images_is_invalid() -> None:
    images = training_images(0)
    wrong = ImageSet(images.array, ((images.labels + 1) % 3).astype(np.int32), images.classes, "wrong")
    verdict = inspected(wrong).verdict
    assert (verdict.verdict, verdict.score) == ("invalid", None)
    assert "chance" in verdict.notes


def test_a_model_that_answers_nan_is_invalid() -> None:
    broken = model()
    nn.init.constant_(broken[1].weight, float("nan"))  # type: ignore[index]
    assert inspected(training_images(0), net=broken).verdict.verdict == "invalid"


def test_what_cannot_be_clustered_is_refused_in_words() -> None:
    images = training_images(0)
    with pytest.raises(DataError, match="9 training images of class 2; give 20 or more"):
        inspected(images.take(np.arange(2 * EACH + 9)))
    more = ImageSet(images.array, images.labels + 1, (*images.classes, "d"), "more")
    with pytest.raises(DataError, match="label 3, but the model has 3 classes"):
        inspected(more)
    for wrong in ({"components": 0}, {"largest_share": 0.0}, {"silhouette": 2.0}):
        with pytest.raises(ConfigError, match="components"):
            replace(ActivationClustering(), **wrong)


def test_equal_activations_are_one_cluster() -> None:
    smaller, silhouette = split_in_two(np.ones((30, 4), np.float32), 10, 0)
    assert not smaller.any()
    assert silhouette == -1.0


def test_two_points_apart_are_split_at_any_number_of_features() -> None:
    for features in (2, 30):
        rows = np.zeros((40, features), np.float32)
        rows[:7] = 1.0
        smaller, silhouette = split_in_two(rows, 10, 0)
        assert np.flatnonzero(smaller).tolist() == list(range(7))
        assert silhouette == pytest.approx(1.0)


@pytest.mark.parametrize("where", [0, 1, 2, 3])
def test_one_image_apart_is_split_off_a_class_that_is_too_large_for_all_silhouettes(where: int) -> None:
    """The silhouette score is of a sample, which mostly does not hold this image."""
    rows = np.random.default_rng(0).standard_normal((9_000, 2)).astype(np.float32)
    rows[where] = 1_000.0
    smaller, silhouette = split_in_two(rows, 10, 0)
    assert np.flatnonzero(smaller).tolist() == [where]
    assert silhouette > 0.9
