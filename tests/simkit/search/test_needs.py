"""What a search needs to be able to flag a class: where it is missing, `clean` is not said."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from simkit.data import ImageSet
from simkit.detectors.access import QueryDataAccess
from simkit.detectors.blackbox.trigger_search import TriggerSearch
from simkit.errors import ConfigError
from simkit.search.annealing import AnnealingConfig
from simkit.search.b3d import B3DConfig
from simkit.search.contract import SearchConfig, Task
from simkit.search.images import ScanImages
from simkit.search.needs import lacking, least_trials, others, told
from simkit.search.presets import PRESETS, Preset
from simkit.search.race import RaceConfig
from simkit.search.random_patch import RandomPatchConfig
from simkit.search.relay import Course, Relay
from simkit.verdict import RULES, SequentialTest
from tests.fakes import PlantedOracle, corner_plant, planted_images
from tests.simkit.search.scans import Scan

SHAPE = (1, 12, 12)
PATCHES = Preset(RandomPatchConfig(largest_side=2, rounds=40), "small_patch", PRESETS["random-patch"].driver)


def images(searched: int, unseen: int) -> ScanImages:
    return ScanImages(planted_images(searched, seed=1), planted_images(unseen, seed=2))


def lack(search: SearchConfig, labels: list[int], rule: str = "small_share", unseen: int = 60) -> dict[int, str]:
    task, verify = Task(SHAPE, 4, np.array(labels, np.int32)), planted_images(unseen, seed=2)
    return dict(lacking(search, RULES[rule], SequentialTest(), task, verify))


@pytest.mark.parametrize(
    "test", [SequentialTest(), SequentialTest(0.95, 0.8), SequentialTest(0.51, 0.5), SequentialTest(0.9, 0.1, 0.4, 0.4)]
)
def test_the_least_number_of_trials_is_where_the_test_first_accepts(test: SequentialTest) -> None:
    first = next(n for n in range(1, 1000) if test.decide(n, n))
    assert least_trials(test) == first


def test_the_default_test_needs_14_images_and_the_strict_one_41() -> None:
    assert (least_trials(SequentialTest()), least_trials(SequentialTest(0.95, 0.8))) == (14, 41)


def test_an_image_of_an_unknown_class_counts_for_every_class() -> None:
    assert others(np.array([0, 0, 1, -1], np.int32), 3).tolist() == [2, 3, 4]


@pytest.mark.parametrize(
    ("search", "few", "enough"),
    [
        (RandomPatchConfig(), [1] * 7 + [0] * 20, [1] * 8 + [0] * 20),
        (RandomPatchConfig(required_success=0.9, required_trials=2), [1] * 3 + [0] * 9, [1] * 4 + [0] * 9),
        (AnnealingConfig(), [0] * 20, [1] + [0] * 19),
        (B3DConfig(), [0] * 20, [1] + [0] * 19),
        (RaceConfig(), [1] * 15 + [0] * 5, [1] * 16 + [0] * 4 + [1]),  # the last quarter is kept for the test
        (RaceConfig(required_success=0.9), [0] * 12 + [1] * 3 + [0, 0, 0, 0, 1], [0] * 11 + [1] * 4 + [0, 0, 0, 0, 1]),
    ],
)
def test_a_class_needs_enough_search_images_of_others(search: SearchConfig, few: list[int], enough: list[int]) -> None:
    assert set(lack(search, few)) & {0}
    assert not lack(search, enough).keys() & {0}


def test_a_class_needs_enough_verification_images_of_others() -> None:
    labels, test = np.array([0] * 30 + [1] * 13, np.int32), SequentialTest()
    verify = planted_images(43, seed=2).with_labels(labels, 4)
    task = Task(SHAPE, 4, np.arange(64, dtype=np.int32) % 4)
    found = lacking(RandomPatchConfig(), RULES["small_patch"], test, task, verify)
    assert list(found) == [0]
    assert found[0] == "14 verify_images of other classes, of which class 0 has 13; raise verify_images"
    verify = verify.with_labels(np.array([0] * 29 + [1] * 14, np.int32), 4)
    assert not lacking(RandomPatchConfig(), RULES["small_patch"], test, task, verify)


@pytest.mark.parametrize(
    ("search", "said"),
    [
        (RandomPatchConfig(rounds=4), "8 answers per patch; raise search.most_trials, retests or rounds"),
        (RandomPatchConfig(retests=0), "8 answers per patch"),
        (RandomPatchConfig(required_success=0.99), "49 answers per patch"),
        (RaceConfig(queries=100), "5 answers per collage, after more than 128 queries; raise search.queries"),
        (RaceConfig(queries=128), "5 answers per collage, after more than 128 queries; raise search.queries"),
        (RaceConfig(restart=100), "5 answers per collage, after more than 128 queries; raise search.restart"),
        (RaceConfig(queries=90, restart=80), "raise search.queries and search.restart"),
        (RaceConfig(clean_from=1, clean_rounds=1), "after more than 128 queries; raise search.clean_from"),
        (RaceConfig(required_success=0.99), "49 answers per collage; raise search.most_trials"),
        (RaceConfig(retests=0), "5 answers per collage; raise search.retests"),
        (B3DConfig(steps=9), "10 steps, the first check; raise search.steps"),
        (B3DConfig(steps=29), "24 steps, for a mask to have a pixel; raise search.steps"),
        (B3DConfig(learning_rate=1e-4), "11,401 steps, for a mask to have a pixel"),
        (B3DConfig(learning_rate=5e-324), "1,000,000,001 steps"),
    ],
)
def test_settings_under_which_nothing_is_ever_reported(search: SearchConfig, said: str) -> None:
    labels = [0, 1, 2, 3] * 100
    assert all(said in what for what in lack(search, labels).values())
    assert len(lack(search, labels)) == 4


@pytest.mark.parametrize("search", [RandomPatchConfig(rounds=5), RaceConfig(queries=129), B3DConfig(steps=30)])
def test_the_least_settings_that_suffice(search: SearchConfig) -> None:
    assert not lack(search, [0, 1, 2, 3] * 20)


ANY_SIZE = {
    name: preset for name, preset in PRESETS.items() if name not in ("race-warps", "race-pictures", "race-sources")
}
"""Without those that need larger images, or more of them: see test_source_race.py."""


@pytest.mark.parametrize("name", ANY_SIZE)
def test_every_preset_can_flag_every_class_of_the_default_number_of_images(name: str) -> None:
    plenty = images(128, 128)
    course = Course(PRESETS[name].on(plenty.search.image_shape), 0, None)
    assert not any(course.lacking(stage, plenty, 4) for stage in range(len(course.stages)))
    course.check(plenty, 4)


@pytest.mark.parametrize(
    ("search", "rule", "threshold", "n_classes", "flags"),
    [
        (RandomPatchConfig(), "small_patch", 1.0, 4, True),
        (RandomPatchConfig(), "small_patch", 0.9, 4, False),
        (RaceConfig(), "small_share", 1e-9, 4, True),  # a pixel is always small enough
        (B3DConfig(), "below_median", 0.25, 2, True),
        (B3DConfig(), "below_median", 0.0, 4, False),
        (B3DConfig(grid=2), "below_median", 0.25, 4, False),  # the smallest mask is a quarter of the image
        (B3DConfig(grid=3), "below_median", 0.25, 4, True),
        (B3DConfig(), "anomaly_index", 2.0, 2, False),  # two sizes are never further than 0.67 deviations from theirs
        (B3DConfig(), "anomaly_index", 2.0, 3, True),
    ],
)
def test_a_rule_that_flags_no_mask_at_all(
    search: SearchConfig, rule: str, threshold: float, n_classes: int, flags: bool
) -> None:
    chosen, task = replace(RULES[rule], threshold=threshold), Task(SHAPE, n_classes, np.full(60, -1, np.int32))
    found = lacking(search, chosen, SequentialTest(), task, ImageSet.unlabelled(np.zeros((60, *SHAPE), np.float32), ""))
    assert bool(found) is not flags
    assert flags or "rule.threshold" in told(found, n_classes)


@pytest.mark.parametrize(("searched", "unseen"), [(6, 48), (64, 10), (6, 6)])
def test_a_backdoored_model_is_not_called_clean_on_too_few_images(searched: int, unseen: int) -> None:
    few, scan = images(searched, unseen), Scan(PlantedOracle(plant=corner_plant(2)))
    course = Course(PATCHES, 0, None)
    with pytest.raises(ConfigError, match="no class can be flagged: that needs"):
        course.check(few, 4)
    *_, last = Relay(course, few, lambda: 4).run(scan.evaluator)
    assert last.verdict is not None
    assert last.verdict.verdict == "undecided"


def test_one_class_that_cannot_be_flagged_makes_a_clean_verdict_undecided() -> None:
    labels = np.array([0] * 57 + [1] * 7, np.int32)
    part = planted_images(200, seed=1)
    rows = np.concatenate([np.flatnonzero(part.labels == c)[: int((labels == c).sum())] for c in (0, 1)])
    few = ScanImages(part.take(rows), planted_images(48, seed=2))
    *_, last = Relay(Course(PATCHES, 0, None), few, lambda: 4).run(Scan(PlantedOracle()).evaluator)
    assert last.verdict is not None
    assert last.verdict.verdict == "undecided"
    assert "1 of 4 classes, such as 0, cannot be flagged: that needs 8 search_images" in last.verdict.notes


def test_a_detector_refuses_before_its_first_query() -> None:
    victim = PlantedOracle(plant=corner_plant(2))
    with pytest.raises(ConfigError, match="no class can be flagged"):
        TriggerSearch(PATCHES).detect(QueryDataAccess(victim, planted_images(12, seed=1)))
    assert victim.images_seen == 0


def test_a_search_and_a_rule_of_the_users_own_are_taken_at_their_word() -> None:
    class Own:
        def search(self, task: Task, seed: int) -> Any:
            raise NotImplementedError

    own = replace(RULES["small_patch"], decide=lambda _classes, _threshold: RULES["small_patch"]([]))
    task = Task(SHAPE, 4, np.zeros(1, np.int32))
    assert not lacking(Own(), own, SequentialTest(), task, planted_images(60, seed=2))
