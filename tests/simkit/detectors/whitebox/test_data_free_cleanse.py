"""Neural Cleanse without data tells a planted victim from a clean one, and counts what its images cost."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from simkit.detectors.access import ModelAccess
from simkit.detectors.whitebox import neural_cleanse
from simkit.detectors.whitebox.data_free_cleanse import DataFreeCleanse
from simkit.detectors.whitebox.imagined import ImaginedConfig
from simkit.detectors.whitebox.neural_cleanse import NeuralCleanse
from tests.fakes import corner_plant
from tests.simkit.detectors.whitebox.nets import SHAPE, PlantedNet

SEARCH = replace(neural_cleanse.QUICK, steps=240, batch=24, classes_at_once=4)
DETECTOR = DataFreeCleanse(NeuralCleanse(SEARCH, "below_median"), ImaginedConfig(images=96, start="white"))
BRIEF = replace(DETECTOR, cleanse=NeuralCleanse(replace(SEARCH, steps=2)))


@pytest.mark.parametrize("target", [None, 2])
def test_it_tells_a_planted_victim_from_a_clean_one(target: int | None) -> None:
    victim = PlantedNet(None if target is None else corner_plant(target))
    verdict = DETECTOR.detect(ModelAccess(victim, SHAPE))
    assert (verdict.verdict, verdict.flagged) == (("clean", ()) if target is None else ("backdoored", (target,)))
    assert verdict.clean_accuracy is None
    assert "made from the weights" in verdict.notes


def test_the_bill_has_the_passes_of_the_images_too() -> None:
    found = BRIEF.inspect(ModelAccess(PlantedNet(), SHAPE))
    search = 4 * 2 * 24
    assert found.backward_passes > search
    without = replace(BRIEF, images=ImaginedConfig(images=96, start="white", steps=0))
    assert without.inspect(ModelAccess(PlantedNet(), SHAPE)).backward_passes == search


def test_the_seed_is_that_of_the_images_and_of_the_search() -> None:
    first, again, other = (replace(BRIEF, seed=s).detect(ModelAccess(PlantedNet(), SHAPE)) for s in (0, 0, 1))
    sizes = [[c.mask_size for c in verdict.classes] for verdict in (first, again, other)]
    assert sizes[0] == sizes[1] != sizes[2]


def test_a_model_that_answers_nan_is_invalid() -> None:
    broken = PlantedNet()
    with torch.no_grad():
        broken.templates[0, 0] = float("nan")
    verdict = BRIEF.detect(ModelAccess(broken, SHAPE))
    assert (verdict.verdict, verdict.score) == ("invalid", None)
