"""The race of pictures: what it finds that no random picture shows, and what its settings refuse."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from simkit.errors import ConfigError
from simkit.search.contract import Evidence, Proposal, Search, Task
from simkit.search.leaps import LeapConfig
from simkit.search.picture_race import PictureRaceConfig
from simkit.transforms.contract import Transform
from simkit.transforms.picture import Picture, PictureFamily

TASK = Task((3, 24, 24), 4, (np.arange(80) % 4).astype(np.int32))
CONFIG = PictureRaceConfig(first=300, queries=700)
OUTLINE = np.random.default_rng(4).normal(size=(3, 8, 8))
NEEDED = 0.45
"""The correlation with the outline from which a picture turns every image; that of 300 random ones is below 0.3."""


def likeness(trigger: Transform) -> float:
    """The correlation of a picture with the one that the model was trained with."""
    assert isinstance(trigger, Picture)
    return float(np.corrcoef(trigger.points.ravel(), OUTLINE.ravel())[0, 1])


def answered(proposal: Proposal, rises: float, rng: np.random.Generator) -> Evidence:
    """Class 2 rises with the likeness, beneath the noise of single answers; else an image is what it is."""
    own = TASK.image_classes[proposal.pairs[:, 1]]
    alike = np.array([likeness(proposal.triggers[k]) for k in range(len(proposal.triggers))])[proposal.pairs[:, 0]]
    hit = np.where(rises * alike >= NEEDED, 2, own)[:, None] == np.arange(4)
    score = np.where(hit, -0.1, -6.0 + rng.normal(0.0, 0.5, hit.shape))
    score[:, 2] += np.where(hit[:, 2], 0.0, 6.0 * rises * alike)
    return Evidence(score.astype(np.float32), hit, own[:, None] != np.arange(4))


def raced(rises: float, config: PictureRaceConfig = CONFIG, seed: int = 0) -> tuple[Search, int]:
    """The race at its end, and its queries."""
    search, rng, queries = config.search(TASK, seed), np.random.default_rng(seed), 0
    while (proposal := search.ask()) is not None:
        queries += len(proposal.pairs)
        search.tell(answered(proposal, rises, rng))
    return search, queries


@pytest.mark.parametrize("seed", range(3))
def test_a_picture_is_found_that_no_random_one_is_like(seed: int) -> None:
    breeder = CONFIG.picture.breeder(TASK.image_shape)
    rng = np.random.default_rng(seed)
    assert max(likeness(breeder.transform(breeder.fresh(rng))) for _ in range(300)) < NEEDED - 0.1
    results = raced(1.0, seed=seed)[0].results()
    assert [result.target_class for result in results if not result.censored] == [2]
    found = results[2]
    assert likeness(found.trigger) >= NEEDED
    assert found.test == CONFIG.picture.test
    assert found.trigger.strength == CONFIG.picture.largest_alpha


def test_nothing_is_found_where_nothing_is_and_the_race_keeps_to_its_queries() -> None:
    search, queries = raced(0.0)
    assert all(result.censored for result in search.results())
    assert CONFIG.queries <= queries < CONFIG.queries + 50
    assert CONFIG.full_length(4) == CONFIG.queries


def test_without_leaps_the_same_picture_is_missed() -> None:
    none = replace(CONFIG, leap=LeapConfig(each=0))
    assert all(result.censored for result in raced(1.0, none)[0].results())


def test_small_images_are_refused() -> None:
    small = Task((1, 8, 8), 4, TASK.image_classes)
    assert not CONFIG.takes(small.image_shape)
    for refused in (lambda: CONFIG.search(small, 0), lambda: CONFIG.lacking(small)):
        with pytest.raises(ConfigError, match=r"images of 8x8 are too small for pictures; lower search\.whole_from"):
            refused()
    assert replace(CONFIG, whole_from=8).search(small, 0).ask() is not None


@pytest.mark.parametrize(
    "changed",
    [
        {"queries": 0},
        {"first": 0},
        {"whole_from": 0},
        {"shrinkage": 0.0},
        {"picture": PictureFamily(required_success=2.0)},
    ],
)
def test_settings_out_of_range_are_refused(changed: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        replace(CONFIG, **changed)


def test_what_is_wrong_is_said_in_the_words_of_pictures() -> None:
    for changed in ({"queries": 0}, {"fresh": 0}, {"shrinkage": 0.0}):
        with pytest.raises(ConfigError, match="of a race of pictures must be 1 or more, shrinkage above 0"):
            PictureRaceConfig(**changed)
    with pytest.raises(ConfigError, match="required_success of the family picture"):
        replace(CONFIG, picture=PictureFamily(required_success=2.0))


@pytest.mark.parametrize("changed", [{"largest_alpha": 1.0}, {"side": 1}, {"side": 65}, {"contrast": 0.0}])
def test_a_family_out_of_range_is_refused(changed: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        replace(PictureFamily(), **changed)
