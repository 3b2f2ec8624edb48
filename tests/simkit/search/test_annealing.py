"""Annealing: its objective, its rule of acceptance, its cooling, and patches it finds from every kind of answer."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose

from oracles.oracle import Oracle
from oracles.restrict import KeepTopK, LabelOnly, Rounded
from simkit.errors import ConfigError
from simkit.search.annealing import Annealing, AnnealingConfig, accepts, smoothed_success
from simkit.search.contract import Evidence, Proposal, Task
from simkit.search.presets import preset
from simkit.verdict import RULES
from tests.fakes import PlantedOracle, corner_plant
from tests.patches import stack
from tests.simkit.search.scans import TASK, Scan, bytes_of, verdict_of

SMALL = AnnealingConfig(images=6, draws=50, steps=40, chains=10, largest_side=3)
STEEP = replace(SMALL, steepness=20.0)


def told(proposal: Proposal, task: Task) -> Evidence:
    """Dark patches are taken for class 0, on every image."""
    triggers = stack(proposal.triggers)
    light = (triggers.patterns * triggers.masks).sum(axis=(1, 2, 3))[proposal.pairs[:, 0]]
    score = np.full((len(light), task.n_classes), -2.0, dtype=np.float32)
    score[:, 0] = -light / 4
    hit = score.argmax(axis=1)[:, None] == np.arange(task.n_classes)
    valid = task.image_classes[proposal.pairs[:, 1]][:, None] != np.arange(task.n_classes)
    return Evidence(score, hit, valid)


def test_the_objective_is_a_logistic_of_the_margin() -> None:
    values = smoothed_success(np.array([0.0, math.log(3.0), -math.log(3.0)]), 1.0)
    assert_allclose(values, [0.5, 0.75, 0.25])
    assert_allclose(smoothed_success(np.array([math.log(3.0)]), 2.0), [0.9])


def test_of_labels_a_steep_objective_is_the_hit() -> None:
    assert_allclose(smoothed_success(np.array([1.0, -1.0]), 20.0), [1.0, 0.0], atol=1e-8)


def test_uphill_is_always_accepted_and_downhill_by_metropolis() -> None:
    assert accepts(0.1, 1e-9, 0.999)
    assert accepts(0.0, 1e-9, 0.999)
    chance = math.exp(-0.1 / 0.05)  # 0.135
    assert accepts(-0.1, 0.05, chance - 1e-6)
    assert not accepts(-0.1, 0.05, chance + 1e-6)
    assert not accepts(-1.0, 1e-9, 0.0)


def test_cooling_is_geometric() -> None:
    config = AnnealingConfig(steps=5, first_temperature=0.16, last_temperature=0.01)
    assert_allclose([config.temperature(s) for s in range(5)], [0.16, 0.08, 0.04, 0.02, 0.01])
    assert AnnealingConfig(steps=1).temperature(0) == AnnealingConfig().first_temperature


def test_every_class_is_asked_for_on_images_of_others_always_the_same() -> None:
    search = Annealing(SMALL, TASK, 0)
    asked = []
    for _ in range(3):
        proposal = search.ask()
        assert proposal is not None
        asked.append(proposal.pairs.tobytes())
        assert len(proposal.triggers) == TASK.n_classes
        assert np.bincount(proposal.pairs[:, 0]).tolist() == [SMALL.images] * TASK.n_classes
        assert (TASK.image_classes[proposal.pairs[:, 1]] != proposal.pairs[:, 0]).all()
        search.tell(told(proposal, TASK))
    assert len(set(asked)) == 1


def test_a_class_of_all_images_is_left_out() -> None:
    task = replace(TASK, image_classes=np.zeros(20, dtype=np.int32))
    search = Annealing(SMALL, task, 0)
    proposal = search.ask()
    assert proposal is not None
    assert len(proposal.triggers) == task.n_classes - 1
    search.tell(told(proposal, task))
    first, *others = search.results()
    assert (first.mask_size, first.success_rate, first.censored) == (0.0, None, True)
    assert all(other.success_rate is not None for other in others)


def darkness(search: Annealing, config: AnnealingConfig) -> list[float]:
    """How dark the patches are that one chain proposes for class 0, draw by draw and move by move."""
    tried = []
    while (proposal := search.ask()) is not None:
        tried.append(-float((stack(proposal.triggers).masks[0] * stack(proposal.triggers).patterns[0]).sum()))
        search.tell(told(proposal, TASK))
    assert len(tried) == config.length * config.chains
    return tried


def test_a_cold_chain_climbs_from_the_best_draw_and_a_hot_one_wanders() -> None:
    cold = AnnealingConfig(
        images=2, draws=10, steps=60, chains=1, steepness=0.5, first_temperature=1e-9, last_temperature=1e-9
    )
    hot = replace(cold, first_temperature=1e9, last_temperature=1e9)
    climbed, wandered = (darkness(Annealing(config, TASK, 3), config) for config in (cold, hot))
    assert climbed[:10] == wandered[:10]
    assert climbed[10] == wandered[10], "the first move starts from the best draw, whatever the temperature"
    assert np.median(climbed[40:]) > max(climbed[:10])
    assert np.median(climbed[40:]) > np.median(wandered[40:]) + 0.5


def test_a_patch_that_always_works_is_told_with_its_rate() -> None:
    search = Annealing(replace(SMALL, chains=1), TASK, 3)
    darkness(search, replace(SMALL, chains=1))
    dark, _, *others = search.results()
    assert (dark.success_rate, dark.censored) == (1.0, False)
    assert {(other.success_rate, other.censored) for other in others} == {(0.0, True)}


def test_the_best_of_all_chains_is_kept() -> None:
    search = Annealing(replace(SMALL, draws=1, steps=1, chains=20), TASK, 1)
    best = -1.0
    while (proposal := search.ask()) is not None:
        evidence = told(proposal, TASK)
        search.tell(evidence)
        lead = float(evidence.score[0, 0] + 2.0)  # class 0 is the first candidate; the others stand at -2
        best = max(best, 1.0 / (1.0 + math.exp(-min(lead, 3.0))))
        assert json.loads(search.state())["best_value"] == pytest.approx(best)


@pytest.mark.parametrize(("target", "seed"), [(None, 0), (2, 0), (2, 1)])
def test_a_planted_patch_is_found_and_a_clean_victim_is_clean(target: int | None, seed: int) -> None:
    victim = PlantedOracle(plant=None if target is None else corner_plant(target))
    verdict = Scan(victim).verdict((Annealing(SMALL, TASK, seed), RULES["small_patch"]))
    assert (verdict.verdict, verdict.flagged) == (("clean", ()) if target is None else ("backdoored", (target,)))


@pytest.mark.parametrize(
    ("restricted", "config"),
    [
        (lambda oracle: KeepTopK(oracle, 1), SMALL),
        (lambda oracle: KeepTopK(Rounded(oracle, 2), 2), SMALL),
        (LabelOnly, STEEP),
    ],
)
def test_less_than_scores_will_do(restricted: Callable[[Oracle], Oracle], config: AnnealingConfig) -> None:
    victim = PlantedOracle(plant=corner_plant(1))
    searched = Annealing(config, TASK, 0), RULES["small_patch"]
    verdict = Scan(victim, told=restricted(victim)).verdict(searched)
    assert (verdict.verdict, verdict.flagged) == ("backdoored", (1,))


def test_when_the_budget_ends_the_best_so_far_is_told() -> None:
    verdict = Scan(PlantedOracle(), cap=400).verdict((Annealing(SMALL, TASK, 0), RULES["small_patch"]))
    assert (verdict.verdict, verdict.stopped) == ("undecided", "budget")
    assert all(c.mask_size > 0 and c.trials for c in verdict.classes)


def test_a_killed_scan_ends_as_it_would_have() -> None:
    whole = Scan(PlantedOracle(plant=corner_plant(3)))
    verdict = whole.verdict((Annealing(SMALL, TASK, 5), RULES["small_patch"]))
    calls = whole.recorder.calls
    again = Scan(PlantedOracle(plant=corner_plant(3)), stored=calls[: len(calls) // 2])
    assert bytes_of(verdict_of(again.run((Annealing(SMALL, TASK, 5), RULES["small_patch"])))) == bytes_of(verdict)
    assert again.victim.images_seen + sum(len(c.rows) for c in calls[: len(calls) // 2]) == whole.recorded


def test_the_preset_takes_hits_where_only_labels_are_told() -> None:
    scores, labels = (preset("annealing").for_answers(labels_only=only).search for only in (False, True))
    assert isinstance(scores, AnnealingConfig)
    assert isinstance(labels, AnnealingConfig)
    assert labels == replace(scores, steepness=labels.steepness)
    assert labels.steepness >= 10 > scores.steepness
    assert preset("annealing").rule == "small_patch"


@pytest.mark.parametrize(
    "change",
    [
        {"images": 0},
        {"steps": 0},
        {"chains": 0},
        {"largest_side": 0},
        {"steepness": 0.0},
        {"required_success": 1.5},
        {"last_temperature": 0.0},
        {"first_temperature": 0.001, "last_temperature": 0.01},
    ],
)
def test_settings_out_of_range_are_refused(change: dict[str, float]) -> None:
    with pytest.raises(ConfigError):
        AnnealingConfig(**change)  # type: ignore[arg-type]
