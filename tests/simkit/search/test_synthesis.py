"""Images made by asking: which random ones are taken, how they are moved, what is paid, and what comes out."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.testing import assert_allclose, assert_array_equal

from oracles.answers import Answer, Scores, TopK, top_label
from oracles.errors import BudgetExhausted
from oracles.meter import MemoryRecorder
from oracles.oracle import ImageShape, Tag
from oracles.restrict import KeepTopK, LabelOnly
from simkit.data import ImageSet
from simkit.errors import ConfigError
from simkit.search.b3d_settings import B3D_50
from simkit.search.evaluator import Evaluator
from simkit.search.presets import preset
from simkit.search.synthesis import SYNTHETIC, Synthesis, SynthesisConfig, spoken_for
from simkit.triggers import FloatArray
from tests.fakes import PlantedOracle
from tests.simkit.search.scans import Scan

SHAPE = (1, 12, 12)
SMALL = SynthesisConfig(
    draws=80,
    noise="smooth",
    samples=8,
    steps=2,
    learning_rate=0.1,
    unit_steps=True,
    baseline="leave_one_out",
    antithetic=True,
)
"""As the preset, but small."""


def made(config: SynthesisConfig, scan: Scan | None = None, images: int = 24, seed: int = 0) -> ImageSet:
    """All images, with the planted victim's answers."""
    *calls, last = Synthesis(config, seed).made((scan or Scan(PlantedOracle())).evaluator, images, SHAPE)
    assert set(calls) == {None}
    assert last is not None
    return last


def probabilities(images: ImageSet) -> FloatArray:
    """What the planted victim gives each image's class."""
    answer = PlantedOracle().query(images.pixels)
    assert isinstance(answer, Scores)
    return answer.values[np.arange(len(images)), images.labels]


def test_the_best_of_every_class_come_first_and_no_image_twice() -> None:
    scores = np.log(np.array([[0.9, 0.1], [0.6, 0.4], [0.7, 0.3], [0.2, 0.8]], np.float32))
    for images, chosen, targets in ((1, [0], [0]), (2, [0, 3], [0, 1]), (4, [0, 3, 2, 1], [0, 1, 0, 1])):
        actual = spoken_for(scores, images)
        assert [column.tolist() for column in actual] == [chosen, targets]


def test_of_labels_alone_hits_come_before_misses() -> None:
    labels = np.array([1, 1, 0, 1, 1])
    scores = (labels[:, None] == np.arange(3)).astype(np.float32) - 1.0
    chosen, targets = spoken_for(scores, 5)
    assert sorted(chosen) == [0, 1, 2, 3, 4]
    assert (targets == labels[chosen]).all()
    assert {2, 0} == set(chosen[:2]), "a class of its own for each of the first"


@given(
    arrays(np.float32, st.tuples(st.integers(1, 12), st.integers(2, 5)), elements=st.floats(-9, 0, width=32)), st.data()
)
def test_whatever_the_scores_are_so_many_images_are_taken_once(scores: FloatArray, data: st.DataObject) -> None:
    images = data.draw(st.integers(1, len(scores)))
    chosen, targets = spoken_for(scores, images)
    assert len(set(chosen.tolist())) == len(chosen) == len(targets) == images
    assert targets.max() < scores.shape[1]


def test_they_are_what_the_model_says_they_are_and_of_every_class() -> None:
    images = made(SMALL)
    assert (len(images), images.name, images.n_classes, images.labelled) == (24, SYNTHETIC, 4, True)
    assert_array_equal(images.labels, top_label(PlantedOracle().query(images.pixels)))
    assert np.bincount(images.labels, minlength=4).min() >= 4
    assert len({pixels.numpy().tobytes() for pixels in images.pixels}) == 24


@pytest.mark.parametrize("noise", ["white", "smooth"])
@pytest.mark.parametrize("baseline", ["none", "leave_one_out"])
def test_steps_lead_to_images_that_the_model_is_surer_of(noise: Any, baseline: Any) -> None:
    config = replace(SMALL, noise=noise, baseline=baseline, samples=40, antithetic=baseline != "none")
    before, after = (probabilities(made(replace(config, steps=steps), images=40)) for steps in (0, 4))
    assert after.mean() > before.mean() + 0.1


def test_the_defaults_begin_with_uniform_noise_and_descend_without_a_baseline() -> None:
    """As the one implementation, in fewer steps."""
    scan = Scan(PlantedOracle())
    images = made(SynthesisConfig(steps=1, learning_rate=1e-9), scan)
    assert {state["synthesis"] for state in states(scan.recorder)} == {"descend", "label"}
    assert float(images.pixels.std()) == pytest.approx(12**-0.5, abs=0.01)
    assert scan.recorded == SynthesisConfig(steps=1).most_queries(24) == 24 * 51
    assert probabilities(made(SynthesisConfig(steps=6))).mean() > probabilities(images).mean()


class Linear:
    """Log-probability of class 1: `slope` times the sum of the pixels; class 0 has the rest."""

    n_classes, image_shape = 2, (1, 2, 2)

    def __init__(self, slope: float) -> None:
        self.slope = slope

    def query(self, images: torch.Tensor, tag: Tag | None = None) -> Answer:
        """See `Oracle.query`."""
        first = np.exp(self.slope * (images.sum(dim=(1, 2, 3)).numpy() - 4.0))
        return Scores(np.column_stack([1.0 - first, first]).astype(np.float32))


@pytest.mark.parametrize("unit_steps", [True, False])
def test_a_step_follows_the_gradient(unit_steps: bool) -> None:
    """The loss of class 1 falls by 0.5 a pixel: a step adds learning_rate * 0.5, or learning_rate where it is unit."""
    config = replace(SMALL, draws=0, noise="white", samples=4000, sigma=0.01, unit_steps=unit_steps)
    shape: ImageShape = (1, 2, 2)
    begun, moved = (
        list(Synthesis(replace(config, steps=taken)).made(Evaluator(Linear(0.5), None), 8, shape))[-1]
        for taken in (0, 1)
    )
    assert begun is not None
    assert moved is not None
    length, steps = 0.1 if unit_steps else 0.05, (moved.pixels - begun.pixels).numpy().reshape(8, 4)
    inside = (begun.pixels.numpy().reshape(8, 4) < 1 - length - 0.01) & (begun.pixels.numpy().reshape(8, 4) > 0.02)
    rising = steps.mean(axis=1) > 0  # images of class 1; those of class 0 go down
    assert 0 < rising.sum() < 8
    assert_allclose(steps[rising][inside[rising]], length, atol=0.02)


def test_where_all_losses_are_equal_nothing_moves() -> None:
    config = replace(SMALL, draws=0, steps=1)
    still, begun = (
        list(Synthesis(replace(config, steps=steps)).made(Evaluator(Linear(0.0), None), 4, (1, 2, 2)))[-1]
        for steps in (1, 0)
    )
    assert still is not None
    assert begun is not None
    assert_array_equal(still.pixels.numpy(), begun.pixels.numpy())


def states(recorder: MemoryRecorder) -> list[dict[str, Any]]:
    assert {purpose for _, purpose, _ in recorder.steps} == {"check"}
    return [json.loads(state) for _, _, state in recorder.steps]


def test_every_query_is_paid_and_says_what_it_was_for() -> None:
    scan = Scan(PlantedOracle())
    made(SMALL, scan, images=30)
    assert scan.recorded == scan.budget.spent == SMALL.most_queries(30) == 80 + 30 * 17
    told = [state["synthesis"] for state in states(scan.recorder)]
    assert len({state["digest"] for state in states(scan.recorder)}) == len(told), "each about images of its own"
    assert told == sorted(told, key=["draw", "descend", "label"].index)
    rows = {kind: np.concatenate([c.rows for c, k in zip(scan.recorder.calls, told, strict=True) if k == kind])
            for kind in set(told)}  # fmt: skip
    assert rows["draw"].tolist() == [[image, -1] for image in range(80)]
    assert rows["label"].tolist() == [[image, -1] for image in range(30)]
    assert rows["descend"].tolist() == [[image, sample] for _ in range(2) for image in range(30) for sample in range(8)]


def test_an_image_that_is_sure_enough_is_moved_no_further_and_not_asked_about_again() -> None:
    scan = Scan(PlantedOracle())
    sure = made(replace(SMALL, enough=1e-6), scan)
    assert scan.recorded == 80
    assert_array_equal(sure.pixels.numpy(), made(replace(SMALL, steps=0)).pixels.numpy())


def test_more_random_images_are_asked_about_than_are_wanted() -> None:
    scan = Scan(PlantedOracle())
    made(replace(SMALL, draws=10, steps=0), scan)
    assert scan.recorded == replace(SMALL, draws=10).drawn(24) == 24


def test_labels_alone_cost_the_random_images() -> None:
    victim = PlantedOracle()
    scan = Scan(victim, told=LabelOnly(victim))
    images = made(SMALL, scan)
    assert scan.recorded == 80
    assert np.bincount(images.labels, minlength=4).min() >= 4


def test_the_best_k_serve_too() -> None:
    victim = PlantedOracle()
    images = made(SMALL, Scan(victim, told=KeepTopK(victim, 2)))
    assert_array_equal(images.labels, top_label(victim.query(images.pixels)))


class Silent(PlantedOracle):
    """Names no class."""

    def query(self, images: torch.Tensor, tag: Tag | None = None) -> Answer:
        none = np.full((len(super().query(images)), 1), -1, np.int32)
        return TopK(none, np.zeros_like(none, dtype=np.float32), self.n_classes, floor=1.0)


def test_a_service_that_names_no_class_leaves_them_unlabelled() -> None:
    assert set(made(SMALL, Scan(Silent())).labels) == {-1}


def test_equal_seeds_make_the_same_and_others_do_not() -> None:
    first, again, other = (made(SMALL, seed=seed).sha256() for seed in (3, 3, 4))
    assert first == again != other


def test_the_end_of_the_budget_is_told() -> None:
    scan = Scan(PlantedOracle(), cap=300)
    with pytest.raises(BudgetExhausted):
        made(SMALL, scan)
    assert 80 < scan.budget.spent <= 300


def test_the_preset_costs_a_twentieth_of_a_search() -> None:
    chosen = preset("b3d-ss")
    assert chosen.synthesis is not None
    assert chosen.synthesis.most_queries(256) <= 0.06 * 122_784
    assert chosen.search == B3D_50


@pytest.mark.parametrize(
    "wrong",
    [
        {"draws": -1},
        {"steps": -1},
        {"samples": 3},
        {"samples": 5, "antithetic": True},
        {"sigma": 0.0},
        {"learning_rate": 0.0},
        {"enough": 0.0},
        {"enough": 1.1},
        {"sigma": float("nan")},
    ],
    ids=str,
)
def test_settings_that_cannot_be(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="synthesis"):
        SynthesisConfig(**wrong)
