"""Inputs turned away: the score's known answers, what answers leave open, and a planted victim made usable."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from oracles.answers import MISSING, Answer, Labels, Scores, TopK
from oracles.budget import Budget
from oracles.errors import BudgetExhausted, ModelError
from oracles.meter import MemoryRecorder
from oracles.oracle import Oracle
from oracles.spec import OracleSpec, build, load
from simkit.errors import DataError
from simkit.mitigation import THRESHOLD, Screener, completed, divergence
from simkit.search.evidence import TINY
from simkit.transforms.contract import Transform
from simkit.triggers import Trigger, stamp
from tests.fakes import NotANumberOracle, PlantedOracle, corner_plant, planted_images
from tests.studies.marked import TRIGGERS as MARKS
from tests.studies.marked import MarkedOracle

MOST = math.log(1.0 / TINY)
PLANT = corner_plant(2)
IMAGES = planted_images(96)


def scores(*rows: list[float], floor: float = 0.0) -> Scores:
    return Scores(np.array(rows, np.float32), floor)


def triggered() -> torch.Tensor:
    """The images that are not of class 2, with its trigger."""
    trigger = PLANT.trigger
    return stamp(
        IMAGES.pixels[IMAGES.labels != 2],
        torch.from_numpy(trigger.mask)[None],
        torch.from_numpy(trigger.pattern)[None],
    )


def screener(oracle: Oracle, *triggers: Transform) -> Screener:
    return Screener(oracle, triggers)


def test_the_divergence_of_known_distributions() -> None:
    plain, stamped = scores([0.5, 0.25, 0.25], [1.0, 0.0, 0.0]), scores([0.25, 0.5, 0.25], [0.5, 0.5, 0.0])
    expected = [0.5 * math.log(2.0) - 0.25 * math.log(2.0), math.log(2.0)]
    assert divergence(plain, stamped) == pytest.approx(expected, abs=1e-5)


def test_it_is_not_symmetric_and_the_plain_answer_comes_first() -> None:
    sure, open_ = scores([1.0, 0.0]), scores([0.5, 0.5])
    assert divergence(sure, open_)[0] == pytest.approx(math.log(2.0), abs=1e-5)
    assert divergence(open_, sure)[0] == pytest.approx(0.5 * math.log(0.5) + 0.5 * math.log(0.5 / TINY), abs=1e-5)


rows = st.lists(st.floats(0.0, 1.0, width=32), min_size=4, max_size=4).filter(lambda row: sum(row) > 0.1)


@given(rows, rows)
def test_it_is_never_negative_nor_more_than_the_least_probability_allows(
    single: list[float], other: list[float]
) -> None:
    first, second = (scores([value / sum(row) for value in row]) for row in (single, other))
    assert 0.0 <= divergence(first, second)[0] <= MOST + 1e-6
    assert divergence(first, first)[0] == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize(
    ("answer", "whole"),
    [
        (scores([0.7, 0.2, 0.1, 0.0]), [0.7, 0.2, 0.1, 0.0]),
        (scores([0.7, 0.1, 0.0, 0.0], floor=0.15), [0.7, 0.1, 0.1, 0.1]),  # cut: what is missing is shared
        (scores([0.7, 0.4, 0.0, 0.0], floor=0.005), [0.7 / 1.1, 0.4 / 1.1, 0.0, 0.0]),  # rounded up beyond 1
        (TopK(np.array([[3, 1]], np.int32), np.array([[0.6, 0.2]], np.float32), 4), [0.1, 0.2, 0.1, 0.6]),
        (TopK(np.array([[3, MISSING]], np.int32), np.array([[0.7, 0.0]], np.float32), 4), [0.1, 0.1, 0.1, 0.7]),
        (Labels(np.array([1], np.int32), 4), [0.0, 1.0, 0.0, 0.0]),
        (Labels(np.array([MISSING], np.int32), 4), [0.25, 0.25, 0.25, 0.25]),
    ],
)
def test_what_was_not_told_is_spread_over_what_was_left_out(answer: Answer, whole: list[float]) -> None:
    actual = completed(answer)
    assert actual[0] == pytest.approx(whole, abs=1e-5)
    assert actual.sum(axis=1) == pytest.approx(1.0)
    assert actual.min() > 0.0


def test_of_labels_it_says_whether_they_agree() -> None:
    plain, stamped = (Labels(np.array(labels, np.int32), 3) for labels in ([0, 1, 2], [0, 2, 2]))
    assert divergence(plain, stamped) == pytest.approx([0.0, MOST, 0.0], abs=1e-5)


@pytest.mark.parametrize("service", ["scores", "top1", "top3", "label", '{"decimals": 2}'])
def test_triggered_inputs_are_turned_away_whatever_the_service_tells(service: str) -> None:
    oracle = build(load(service), PlantedOracle(plant=PLANT), Budget(None))
    clean = screener(oracle, PLANT.trigger).screen(IMAGES.pixels)
    carrying = screener(oracle, PLANT.trigger).screen(triggered())
    others = IMAGES.labels != 2
    assert (carrying.labels == 2).mean() > 0.95
    assert (carrying.scores() < THRESHOLD).mean() > 0.95
    assert (clean.scores()[others] >= THRESHOLD).mean() > 0.95
    # the price: an image of the target class itself is answered alike with and without the trigger
    assert (clean.scores()[~others] < THRESHOLD).mean() > 0.5


@pytest.mark.parametrize("family", MARKS)
def test_a_trigger_of_any_family_turns_away_the_inputs_that_carry_it(family: str) -> None:
    trigger, plain = MARKS[family], IMAGES.pixels[IMAGES.labels != 2]
    screened = screener(MarkedOracle(trigger), trigger)
    carrying = screened.screen(torch.from_numpy(trigger.on(plain.numpy())))
    assert (carrying.labels == 2).mean() > 0.9
    assert (carrying.scores() < THRESHOLD).mean() > 0.9
    assert (screened.screen(plain).scores() >= THRESHOLD).mean() > 0.9


def test_of_several_triggers_the_least_change_counts_and_the_mean_misses_it() -> None:
    oracle = PlantedOracle(plant=PLANT)
    away = Trigger(np.ones_like(PLANT.trigger.mask), IMAGES.pixels[1].numpy())  # any image becomes this one of class 1
    actual = screener(oracle, PLANT.trigger, away).screen(triggered())
    assert actual.divergences.shape == (len(triggered()), 2)
    assert np.array_equal(actual.scores(), actual.divergences.min(axis=1))
    assert (actual.scores() < THRESHOLD).all()
    assert (actual.scores("mean") >= THRESHOLD).all()


def test_every_query_is_paid_and_recorded_with_its_image_and_trigger() -> None:
    recorder, budget = MemoryRecorder(), Budget(1000)
    oracle = build(OracleSpec(), PlantedOracle(plant=PLANT), budget, recorder)
    asked = Screener(oracle, [PLANT.trigger, PLANT.trigger], recorder)
    whole = asked.screen(IMAGES.pixels[:70])
    asked.screen(IMAGES.pixels[70:])
    assert budget.spent == 3 * 96
    assert [purpose for _, purpose, _ in recorder.steps] == ["verify"] * 3
    observed = np.concatenate([call.rows for call in recorder.calls])
    wanted = {(image, candidate) for image in range(96) for candidate in (-1, 0, 1)}
    assert len(observed) == len(wanted)
    assert set(map(tuple, observed.tolist())) == wanted
    alone = screener(PlantedOracle(plant=PLANT), PLANT.trigger).screen(IMAGES.pixels[69:70])
    assert whole.divergences[69] == pytest.approx(list(alone.divergences[0]) * 2, rel=1e-3)
    assert alone.labels[0] == whole.labels[69]


def test_a_budget_that_ends_and_answers_that_are_no_numbers() -> None:
    oracle = build(OracleSpec(), model := PlantedOracle(), Budget(127))
    with pytest.raises(BudgetExhausted):
        screener(oracle, PLANT.trigger).screen(IMAGES.pixels)
    assert model.images_seen == 0
    with pytest.raises(ModelError, match="NaN"):
        screener(NotANumberOracle(), PLANT.trigger).screen(IMAGES.pixels)
    with pytest.raises(DataError, match=r"triggers of \(3, 12, 12\), but the model takes \(1, 12, 12\)"):
        screener(model, corner_plant(2, (3, 12, 12)).trigger)
