"""Images from the weights alone: each class is recognised in its images, and nothing but the arguments counts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from simkit.detectors.whitebox.imagined import ImaginedConfig, imagined
from simkit.detectors.whitebox.white_model import WhiteModel
from simkit.errors import ConfigError
from tests.simkit.detectors.whitebox.nets import SHAPE, PlantedNet

CONFIG = ImaginedConfig(images=24, start="white", steps=60)


def test_every_class_is_recognised_in_its_share_of_the_images() -> None:
    images = imagined(model := WhiteModel(PlantedNet()), SHAPE, CONFIG, seed=0)
    assert (len(images), images.image_shape, images.labelled) == (24, SHAPE, False)
    scores = model.log_probabilities(images.pixels).exp()
    assert torch.bincount(scores.argmax(dim=1), minlength=4).tolist() == [6, 6, 6, 6]
    assert float(scores.max(dim=1).values.min()) >= CONFIG.enough


def test_the_images_are_a_function_of_the_arguments() -> None:
    first, again, other = (imagined(WhiteModel(PlantedNet()), SHAPE, CONFIG, seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first.array, again.array)
    assert not np.array_equal(first.array, other.array)


def test_no_step_leaves_the_random_images_and_no_gradient() -> None:
    model = WhiteModel(PlantedNet())
    images = imagined(model, SHAPE, replace(CONFIG, steps=0), seed=0)
    assert (model.forward_passes, model.backward_passes) == (1, 0)
    assert abs(float(images.pixels.mean()) - 0.5) < 0.02


def test_an_image_that_is_sure_enough_is_not_changed_any_further() -> None:
    model = WhiteModel(PlantedNet())
    easy = imagined(model, SHAPE, replace(CONFIG, enough=1e-6), seed=0)
    start = imagined(WhiteModel(PlantedNet()), SHAPE, replace(CONFIG, steps=0), seed=0)
    sure = model.log_probabilities(start.pixels).exp().min(dim=1).values >= 1e-6
    np.testing.assert_array_equal(easy.array[sure.numpy()], start.array[sure.numpy()])


def test_settings_outside_their_ranges_are_refused() -> None:
    for wrong in ({"images": 1}, {"steps": -1}, {"learning_rate": 0.0}, {"enough": 0.0}):
        with pytest.raises(ConfigError, match="images must be 2 or more"):
            replace(CONFIG, **wrong)
