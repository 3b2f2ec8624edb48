"""Both detectors on planted victims, end to end: verdicts, unseen images, bills, labels, and what is refused."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from torch import nn

from oracles.errors import ModelError
from oracles.foreign import ForeignModel
from simkit.data import ImageSet
from simkit.detectors.access import Detector, QueryDataAccess, WeightAccess
from simkit.detectors.whitebox import neural_cleanse, tabor
from simkit.detectors.whitebox.inspection import Inspection
from simkit.detectors.whitebox.inversion import InversionConfig
from simkit.detectors.whitebox.neural_cleanse import NeuralCleanse
from simkit.detectors.whitebox.tabor import Tabor
from simkit.errors import ConfigError, DataError
from simkit.search.sparsity import SparsityConfig
from tests.fakes import corner_plant, planted_images
from tests.patches import patch
from tests.simkit.detectors.whitebox.nets import PlantedNet

if TYPE_CHECKING:
    # see tests/simkit/detectors/test_access.py
    def a_white_box_is_no_black_box(detector: NeuralCleanse, other: Tabor) -> None:
        fits: tuple[Detector[WeightAccess], ...] = (detector, other)
        queries: Detector[QueryDataAccess] = detector  # type: ignore[assignment]
        del fits, queries


IMAGES = planted_images(96)
SEARCH = replace(neural_cleanse.QUICK, steps=60, batch=24, classes_at_once=4)
DETECTORS: dict[str, NeuralCleanse | Tabor] = {
    "neural cleanse": NeuralCleanse(SEARCH),
    "tabor": Tabor(SEARCH, tabor.QUICK_WEIGHTS),
}
BRIEF = NeuralCleanse(replace(SEARCH, steps=2))


def _inspected(detector: NeuralCleanse | Tabor, model: nn.Module, images: ImageSet = IMAGES) -> Inspection:
    return detector.inspect(WeightAccess(model, images))


@pytest.mark.parametrize("detector", DETECTORS.values(), ids=list(DETECTORS))
@pytest.mark.parametrize("target", [None, 2])
def test_it_tells_a_planted_victim_from_a_clean_one(detector: NeuralCleanse | Tabor, target: int | None) -> None:
    victim = PlantedNet(None if target is None else corner_plant(target))
    verdict = detector.detect(WeightAccess(victim, IMAGES))
    assert (verdict.verdict, verdict.flagged) == (("clean", ()) if target is None else ("backdoored", (target,)))
    assert verdict.clean_accuracy == 1.0
    assert [c.target_class for c in verdict.classes] == [0, 1, 2, 3]


def test_success_is_counted_on_images_that_the_search_did_not_see() -> None:
    results = _inspected(BRIEF, PlantedNet()).verdict.classes
    unseen = IMAGES.take(range(48, 96))
    assert [c.trials for c in results] == [int((unseen.labels != c.target_class).sum()) for c in results]
    first = results[1]
    mask, pattern = torch.from_numpy(patch(first.trigger).mask), torch.from_numpy(patch(first.trigger).pattern)
    others = unseen.pixels[torch.from_numpy(unseen.labels != 1)]
    hits = PlantedNet()((1 - mask) * others + mask * pattern).argmax(dim=1) == 1
    assert first.success_rate == pytest.approx(float(hits.float().mean()))


def test_a_trigger_that_fails_on_unseen_images_is_censored_and_not_flagged() -> None:
    searched, unseen = IMAGES.take(range(48)), IMAGES.take(range(48, 96))
    seen = ImageSet(searched.pixels * 0.5, searched.labels, IMAGES.classes, "dark")
    both = ImageSet(torch.cat([seen.pixels, unseen.pixels]), IMAGES.labels, IMAGES.classes, "dark, then not")

    class InTheDark(PlantedNet):
        """Its backdoor opens on dark images only."""

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            dark = torch.sigmoid(60.0 * (0.35 - images.mean(dim=(1, 2, 3))))[:, None]
            corner = torch.sigmoid(20.0 * (images[:, :, :2, :2].mean(dim=(1, 2, 3)) - 0.7))[:, None]
            seen = PlantedNet.forward(self, torch.where(dark[:, :, None, None] > 0.5, 2.0 * images, images))
            return seen + 30.0 * dark * corner * (torch.arange(4) == 2)

    verdict = _inspected(DETECTORS["neural cleanse"], InTheDark(), both).verdict
    assert verdict.classes[2].mask_size < min(verdict.classes[c].mask_size for c in (0, 1, 3))
    assert verdict.classes[2].censored
    assert 2 not in verdict.flagged


def test_the_bill_counts_every_image_both_ways() -> None:
    result = _inspected(BRIEF, PlantedNet())
    backward, unseen = 4 * 2 * 24, 3 * 48
    assert (result.forward_passes, result.backward_passes) == (96 + backward + unseen, backward)
    assert f"{result.forward_passes:,} images forward, 192 backward" in result.verdict.notes


@pytest.mark.parametrize(
    ("weights", "images_a_step"),
    [
        (tabor.Weights(), 24 + 1),
        (tabor.Weights(overlaying=0.0), 24),
        (tabor.Weights(blocking=1.0), 24 + 24 + 1),
    ],
)
def test_a_regulariser_of_no_weight_costs_no_pass(weights: tabor.Weights, images_a_step: int) -> None:
    result = _inspected(Tabor(BRIEF.search, weights), PlantedNet())
    assert result.backward_passes == 4 * 2 * images_a_step


@pytest.mark.parametrize(
    ("detector", "schedule"),
    [
        (neural_cleanse.PRESETS["reference"], "reference"),
        (replace(neural_cleanse.PRESETS["quick"], seed=7), "quick"),
        (replace(neural_cleanse.PRESETS["quick"], rule="below_median"), "custom"),
        (tabor.PRESETS["reference"], "reference"),
        (tabor.PRESETS["quick"], "quick"),
        (Tabor(neural_cleanse.QUICK), "custom"),
    ],
)
def test_a_schedule_has_its_name_only_while_nothing_in_it_is_changed(
    detector: NeuralCleanse | Tabor, schedule: str
) -> None:
    assert detector.schedule == schedule


def test_the_schedules_are_those_of_the_sources() -> None:
    authors = InversionConfig(
        steps=1000,
        batches=31,
        batch=32,
        learning_rate=0.1,
        betas=(0.5, 0.9),
        sparsity=SparsityConfig(
            weight=1e-3, raise_by=2.0, lower_by=2.0**1.5, mode="patience", patience=5, required_success=0.99
        ),
        memory=1,
        from_zero=True,
        stop_ratio=1.0,
        stop_patience=25,
    )
    assert neural_cleanse.PRESETS["reference"] == NeuralCleanse(authors, "anomaly_index")
    public = tabor.Weights(1e-6, 1e-5, 1e-7, 1e-8, 0.0, 1e-2, 255.0)
    assert tabor.PRESETS["reference"].weights == public
    search = tabor.PRESETS["reference"].search
    assert (search.steps, search.learning_rate, search.sparsity.required_success) == (200, 1e-3, 0.99)
    assert (search.sparsity.least, search.sparsity.most) == (1.0, 1.0)


def test_every_result_says_its_schedule() -> None:
    short = _inspected(BRIEF, PlantedNet())
    assert short.schedule == "custom"
    assert short.verdict.notes.startswith("schedule custom: ")


def test_images_without_labels_are_labelled_by_the_model() -> None:
    loose = ImageSet.unlabelled(IMAGES.pixels, "loose")
    observed, reference = _inspected(BRIEF, PlantedNet(), loose).verdict, _inspected(BRIEF, PlantedNet()).verdict
    assert observed.clean_accuracy is None
    assert [c.mask_size for c in observed.classes] == [c.mask_size for c in reference.classes]


def test_a_model_that_does_not_know_its_images_is_invalid_and_not_searched() -> None:
    wrong = ImageSet(IMAGES.pixels, ((IMAGES.labels + 1) % 4).astype(np.int32), IMAGES.classes, "wrong")
    result = _inspected(BRIEF, PlantedNet(), wrong)
    assert (result.verdict.verdict, result.backward_passes) == ("invalid", 0)
    assert "chance" in result.verdict.notes


def test_a_model_that_answers_nan_is_invalid() -> None:
    broken = PlantedNet()
    with torch.no_grad():
        broken.templates[0, 0] = float("nan")
    verdict = _inspected(BRIEF, broken).verdict
    assert (verdict.verdict, verdict.score) == ("invalid", None)
    assert "NaN" in verdict.notes


def test_a_flagged_class_that_too_few_images_can_confirm_is_undecided() -> None:
    few = planted_images(16)
    verdict = _inspected(NeuralCleanse(replace(SEARCH, batch=6)), PlantedNet(corner_plant(2)), few).verdict
    assert (verdict.verdict, verdict.flagged) == ("undecided", ())
    assert re.search(r"too few images to confirm the trigger of class 2, which turned \d+% of \d+$", verdict.notes)


def test_what_cannot_be_searched_is_refused_in_words() -> None:
    one_class = IMAGES.take(np.flatnonzero(IMAGES.labels == 1))
    with pytest.raises(DataError, match="one class"):
        _inspected(BRIEF, PlantedNet(), one_class)
    with pytest.raises(DataError, match="label 3"):
        _inspected(BRIEF, PlantedNet(n_classes=3))
    with pytest.raises(ConfigError, match="no rule"):
        _inspected(replace(BRIEF, rule="none"), PlantedNet())
    foreign = ForeignModel(lambda images: PlantedNet()(torch.from_numpy(images)).detach().numpy(), 4, False)
    with pytest.raises(ModelError, match=r"numpy|no gradients"):
        _inspected(BRIEF, foreign)
