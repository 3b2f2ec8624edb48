"""The shared search: where it begins, which images it draws, what it keeps, when it ends."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from simkit.detectors.whitebox.inversion import (
    Batch,
    ClassInversion,
    InversionConfig,
    Terms,
    attack,
    invert,
    squash,
)
from simkit.detectors.whitebox.neural_cleanse import objective
from simkit.detectors.whitebox.regularisers import LogProbabilities
from simkit.detectors.whitebox.white_model import WhiteModel
from simkit.errors import ConfigError
from simkit.search.sparsity import SparsityConfig
from simkit.verdict import ClassResult
from tests.fakes import corner_plant, planted_images
from tests.patches import patch
from tests.simkit.detectors.whitebox.nets import PlantedNet

IMAGES = planted_images(48)
SPARSITY = SparsityConfig(weight=1e-2, patience=2, required_success=0.9)
SMALL = InversionConfig(steps=8, batches=2, batch=6, learning_rate=0.1, sparsity=SPARSITY)
CPU = torch.device("cpu")


def _inverted(targets: list[int], config: InversionConfig = SMALL, seed: int = 0) -> list[ClassResult]:
    return invert(WhiteModel(PlantedNet(corner_plant(2))), IMAGES, targets, objective, config, seed)


def _one(target: int = 1, config: InversionConfig = SMALL, seed: int = 0) -> ClassInversion:
    return ClassInversion(target, IMAGES, config, seed, CPU)


def _same(single: ClassResult, other: ClassResult) -> bool:
    equal = np.array_equal(patch(single.trigger).mask, patch(other.trigger).mask)
    return equal and np.array_equal(patch(single.trigger).pattern, patch(other.trigger).pattern)


def test_squash_is_half_of_one_plus_tanh() -> None:
    assert squash(torch.tensor([0.0, math.atanh(0.5), -9.0])).tolist() == pytest.approx([0.5, 0.75, 0.0], abs=1e-6)


def test_the_first_trigger_is_uniform_in_the_unit_interval_and_its_class_s_own() -> None:
    big = planted_images(4, image_shape=(3, 64, 64))
    first = ClassInversion(0, big, SMALL, 0, CPU)
    for values in (first.mask(), first.pattern()):
        counts = torch.histc(values.detach(), bins=4, min=0.0, max=1.0) / values.numel()
        assert counts.tolist() == pytest.approx([0.25] * 4, abs=0.03)
    other = ClassInversion(1, big, SMALL, 0, CPU)
    assert not torch.equal(first.mask(), other.mask())


def test_a_step_s_images_are_of_other_classes_and_each_comes_once_before_any_comes_again() -> None:
    config = replace(SMALL, batches=5, batch=10)  # 50 draws of the 36 images of other classes
    drawn = _one(1, config).draw(0)
    assert drawn.shape == (5, 10)
    assert not (IMAGES.labels[drawn] == 1).any()
    assert sorted(drawn.ravel()[:36]) == np.flatnonzero(IMAGES.labels != 1).tolist()
    assert not np.array_equal(drawn, _one(1, config).draw(1))


def test_attack_is_the_mean_cross_entropy_of_the_stamped_images_and_their_hits() -> None:
    def brightness(images: torch.Tensor) -> torch.Tensor:
        bright = images.flatten(1).mean(dim=1)
        return torch.stack([1.0 - bright, bright], dim=1).log()

    images = torch.tensor([0.2, 0.9]).reshape(1, 2, 1, 1, 1).expand(2, 2, 1, 1, 2)
    masks = torch.tensor([[[[1.0, 0.0]]], [[[0.5, 0.5]]]])
    patterns = torch.tensor([[[[0.4, 0.0]]], [[[1.0, 1.0]]]])
    batch = Batch(images, torch.zeros(2, 2, dtype=torch.int64), torch.tensor([0, 1]), masks, patterns)
    loss, success = attack(brightness, batch)
    expected = [-(math.log(0.7) + math.log(0.35)) / 2, -(math.log(0.6) + math.log(0.95)) / 2]
    assert loss.tolist() == pytest.approx(expected)
    assert success.tolist() == [0.5, 1.0]


def test_a_class_carries_nothing_to_the_next() -> None:
    alone, together = _inverted([3])[0], _inverted([2, 0, 3])[2]
    assert _same(alone, together)


def test_equal_seeds_give_equal_triggers_and_others_do_not() -> None:
    assert _same(*_inverted([1]), *_inverted([1]))
    assert not _same(*_inverted([1]), *_inverted([1], seed=1))


def test_several_classes_in_one_pass_give_the_same_but_for_rounding() -> None:
    """Adam's first steps go by the sign of the gradient, so that rounding moves pixels whose gradient is near 0."""
    one_by_one, at_once = _inverted([0, 1, 2]), _inverted([0, 1, 2], replace(SMALL, classes_at_once=2))
    for single, other in zip(one_by_one, at_once, strict=True):
        assert single.target_class == other.target_class
        apart = np.abs(patch(single.trigger).mask - patch(other.trigger).mask)
        assert apart.mean() < 0.005, "of other seeds the mean is 0.3"
        assert apart.max() < 0.1
        assert (apart < 1e-3).mean() > 0.8


def test_every_step_of_every_class_is_a_pass_forward_and_backward() -> None:
    model = WhiteModel(PlantedNet())
    invert(model, IMAGES, [0, 1, 2], objective, replace(SMALL, classes_at_once=2), 0)
    assert model.forward_passes == model.backward_passes == 3 * 8 * 2 * 6


def test_the_penalty_shrinks_the_mask() -> None:
    light, heavy = (
        _inverted([2], replace(SMALL, steps=1, batches=20, from_zero=False, sparsity=replace(SPARSITY, weight=w)))[0]
        for w in (1e-6, 1.0)
    )
    assert heavy.mask_size < 0.5 * light.mask_size


def _size(inversion: ClassInversion) -> float:
    return float(inversion.mask().detach().sum())


def _shrunk(inversion: ClassInversion) -> None:
    """One update of Adam that makes the mask smaller, whatever the model says."""
    inversion.mask().sum().backward()  # type: ignore[no-untyped-call]
    (0.0 * inversion.pattern()).sum().backward()  # type: ignore[no-untyped-call]
    inversion.update()


def test_the_smallest_trigger_that_worked_is_kept_and_does_not_move_on() -> None:
    inversion = _one()
    sizes = []
    for rate in (0.5, 0.9, 1.0, 0.89):
        _shrunk(inversion)
        inversion.look(rate)
        sizes.append(_size(inversion))
    assert sizes == sorted(sizes, reverse=True)
    kept = inversion.result()
    assert (kept.success_rate, kept.censored) == (1.0, False)
    assert kept.mask_size == pytest.approx(sizes[2])
    assert patch(kept.trigger).mask.sum() == pytest.approx(sizes[2])


def test_a_lucky_step_makes_no_trigger_count_where_steps_are_remembered() -> None:
    inversion = _one(config=replace(SMALL, memory=3))
    sizes = []
    for rate in (0.9, 1.0, 0.5, 1.0, 1.0, 1.0):  # means of three: 0.9, 0.95, 0.8, 0.83, 0.83, 1.0
        _shrunk(inversion)
        inversion.look(rate)
        sizes.append(_size(inversion))
        kept = inversion.result()
        wanted = sizes[-1] if len(sizes) in (1, 2, 6) else sizes[1]
        assert kept.mask_size == pytest.approx(wanted)
    assert kept.success_rate == pytest.approx(1.0)


def test_where_none_worked_it_is_the_largest_that_failed() -> None:
    inversion = _one()
    first = _size(inversion)
    for _ in range(3):
        inversion.look(0.5)
        _shrunk(inversion)
    assert inversion.result().censored
    assert inversion.result().mask_size == pytest.approx(first)


def test_a_class_ends_when_its_weight_went_both_ways_and_its_mask_stays() -> None:
    inversion = _one(config=replace(SMALL, stop_patience=5, from_zero=False))
    ended = []
    for rate in [1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0]:  # raised after 2, lowered after 4; the mask never moves
        inversion.look(rate)
        ended.append(inversion.finished)
    assert ended == [False] * 5 + [True] * 2


def test_a_class_whose_weight_went_one_way_alone_does_not_end() -> None:
    inversion = _one(config=replace(SMALL, stop_patience=1, from_zero=False))
    for _ in range(20):
        inversion.look(1.0)
    assert not inversion.finished


def test_classes_that_have_ended_cost_nothing_more() -> None:
    asked: list[int] = []

    def counted(log_probabilities: LogProbabilities, batch: Batch) -> Terms:
        asked.append(len(batch.targets))
        terms = objective(log_probabilities, batch)
        step = (len(asked) - 1) // 2  # one success, then failures: raised at once, lowered at once, never smaller
        success = torch.full_like(terms.success, 1.0 if step == 0 else 0.0)
        return Terms(terms.loss, terms.penalty, success)

    sparsity = replace(SPARSITY, patience=1)
    config = replace(SMALL, steps=50, from_zero=False, sparsity=sparsity, stop_patience=3, classes_at_once=2)
    invert(WhiteModel(PlantedNet()), IMAGES, [0, 1], counted, config, 0)
    assert asked == [2] * 8  # the first success, and three steps that were no better


@pytest.mark.parametrize(
    "change",
    [{"steps": 0}, {"batch": 0}, {"classes_at_once": 0}, {"learning_rate": 0.0}, {"betas": (1.0, 0.9)}],
)
def test_settings_out_of_range_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        replace(SMALL, **change)
