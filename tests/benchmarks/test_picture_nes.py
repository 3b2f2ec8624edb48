"""The climb of a picture for each class: what it finds, what comparing classes saves, and what it may cost."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from benchmarks import picture_nes
from benchmarks.picture_nes import PictureNesConfig, Sweeps
from simkit.errors import ConfigError, ContractError
from simkit.search.contract import Evidence, Proposal, Search, Task
from simkit.search.picture_race import PictureRaceConfig
from simkit.search.presets import Preset, preset
from simkit.transforms.contract import Transform
from simkit.transforms.picture import Picture

TASK = Task((3, 24, 24), 4, (np.arange(80) % 4).astype(np.int32))
CONFIG = PictureNesConfig(queries=6000)
OUTLINE = np.random.default_rng(4).normal(size=(3, 8, 8))
NEEDED = 0.45
"""The correlation with the outline from which a picture turns every image."""
VARIANTS = {name: value for name, value in vars(picture_nes).items() if isinstance(value, Preset)}


def likeness(trigger: Transform) -> float:
    """The correlation of a picture with the one that the model was trained with; 0 for one that is even."""
    assert isinstance(trigger, Picture)
    points = trigger.points.ravel().astype(np.float64)
    return float(np.corrcoef(points, OUTLINE.ravel())[0, 1]) if points.std() else 0.0


def answered(proposal: Proposal, rises: float, rng: np.random.Generator) -> Evidence:
    """Class 2 rises with the likeness, beneath the noise of single answers; else an image is what it is."""
    own = TASK.image_classes[proposal.pairs[:, 1]]
    alike = np.array([likeness(proposal.triggers[k]) for k in range(len(proposal.triggers))])[proposal.pairs[:, 0]]
    hit = np.where(rises * alike >= NEEDED, 2, own)[:, None] == np.arange(4)
    score = np.where(hit, -0.1, -6.0 + rng.normal(0.0, 0.5, hit.shape))
    score[:, 2] += np.where(hit[:, 2], 0.0, 6.0 * rises * alike)
    return Evidence(score.astype(np.float32), hit, own[:, None] != np.arange(4))


def climbed(rises: float, config: PictureNesConfig, seed: int = 0) -> tuple[Search, int]:
    """The search where a class has passed or at its end, and its queries."""
    search, rng, queries = config.search(TASK, seed), np.random.default_rng(seed), 0
    while all(c.censored for c in search.results()) and (proposal := search.ask()) is not None:
        queries += len(proposal.pairs)
        search.tell(answered(proposal, rises, rng))
    return search, queries


@pytest.mark.parametrize("shared", [True, False])
def test_the_class_that_was_trained_with_a_picture_is_found(shared: bool) -> None:
    results = climbed(1.0, replace(CONFIG, shared=shared))[0].results()
    assert [c.target_class for c in results if not c.censored] == [2]
    assert likeness(results[2].trigger) >= NEEDED
    assert results[2].test == CONFIG.picture.test
    assert results[2].trigger.strength == CONFIG.picture.largest_alpha


def test_classes_that_are_compared_cost_fewer_queries() -> None:
    equal = replace(CONFIG, halving=False, shared=False)
    halved = replace(equal, halving=True)
    costs = [[climbed(1.0, config, seed)[1] for seed in range(3)] for config in (halved, equal)]
    assert sum(costs[0]) < 0.8 * sum(costs[1])


def test_nothing_is_found_where_nothing_is_and_the_search_keeps_to_its_queries() -> None:
    search, queries = climbed(0.0, replace(CONFIG, queries=900))
    assert all(c.censored for c in search.results())
    assert 900 <= queries < 900 + len(search.results()) * CONFIG.samples
    assert search.ask() is None


def test_ask_and_tell_alternate_and_a_search_is_a_function_of_its_seed() -> None:
    search = CONFIG.search(TASK, 3)
    with pytest.raises(ContractError):
        search.tell(Evidence(np.zeros((1, 4), np.float32), np.zeros((1, 4), np.bool_), np.ones((1, 4), np.bool_)))
    proposal = search.ask()
    assert proposal is not None
    with pytest.raises(ContractError):
        search.ask()
    states = {seed: climbed(1.0, CONFIG, seed)[0].state() for seed in (3, 4)}
    assert states[3] == climbed(1.0, CONFIG, 3)[0].state() != states[4]


def test_both_of_a_pair_are_opposite_and_on_the_same_image_of_another_class() -> None:
    proposal = CONFIG.search(TASK, 0).ask()
    assert proposal is not None
    half = CONFIG.samples // 2
    for target in range(4):
        own = proposal.pairs[target * CONFIG.samples :][: CONFIG.samples]
        assert (own[:half, 1] == own[half:, 1]).all()
        assert (TASK.image_classes[own[:, 1]] != target).all()
        first, second = (proposal.triggers[int(own[row, 0])] for row in (0, half))
        assert isinstance(first, Picture)
        assert isinstance(second, Picture)
        assert np.abs(first.points.astype(int) + second.points - 255).max() <= 1


def test_the_better_half_goes_on_with_twice_the_steps_and_then_all_do() -> None:
    sweeps, there = Sweeps([0, 1, 2, 3], 1), []
    for _ in range(9):
        there.append(sweeps.there)
        sweeps.stepped({c: float(c) for c in sweeps.there})
    assert there == [[0, 1, 2, 3], *[[2, 3]] * 2, *[[3]] * 4, *[[0, 1, 2, 3]] * 2]


@pytest.mark.parametrize(
    "changed", [{"samples": 3}, {"samples": 0}, {"queries": 0}, {"sigma": 0.0}, {"test_share": 1.0}, {"smoothing": 1.0}]
)
def test_settings_out_of_range_are_refused(changed: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        replace(CONFIG, **changed)
    with pytest.raises(ConfigError, match="two search images or more"):
        CONFIG.search(Task((3, 24, 24), 4, TASK.image_classes[:1]), 0)


def test_every_variant_can_be_searched_under_the_rule_of_the_race() -> None:
    assert len(VARIANTS) >= 5
    race = preset("race-pictures")
    for variant in VARIANTS.values():
        assert variant.search.search(TASK, 0).ask() is not None
        assert (variant.rule, variant.driver) == (race.rule, race.driver)
    longer = VARIANTS["LONG_RACE"].search
    assert isinstance(longer, PictureRaceConfig)
    assert replace(longer, queries=1500) == race.search
