"""How long a search must be to find anything, and how many candidates it must try: else `clean` is not said."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from simkit.search.contract import Evidence, Proposal, SearchConfig, Task
from simkit.search.family_race import FamilyRaceConfig
from simkit.search.images import ScanImages
from simkit.search.leaps import LeapConfig
from simkit.search.lengths import Retests, Rounds, narrow
from simkit.search.needs import ends_early
from simkit.search.presets import PRESETS
from simkit.search.race import RaceConfig
from simkit.search.random_patch import RandomPatchConfig
from simkit.search.relay import Course, Relay
from simkit.transforms.contract import Transform, same
from simkit.transforms.picture import PictureFamily
from simkit.transforms.wave import WaveFamily
from simkit.verdict import Verdict
from tests.fakes import Plant, PlantedOracle, corner_plant, planted_images
from tests.simkit.search.scans import Scan

SHAPE = (1, 24, 24)
IMAGES = ScanImages(planted_images(128, image_shape=SHAPE, seed=1), planted_images(128, image_shape=SHAPE, seed=2))
TASK = Task(SHAPE, 4, IMAGES.search.labels)
WAVES = FamilyRaceConfig(
    patch=None, blend=None, warp=None, wave=WaveFamily(parts=1), leap=LeapConfig(each=0), queries=180
)


@pytest.mark.parametrize("success", [0.3, 0.5, 0.65, 0.75, 0.9, 0.95, 0.99])
def test_the_answers_needed_are_the_first_that_reach_the_required_rate(success: float) -> None:
    first = next(n for n in range(1, 1000) if (n + 0.5) / (n + 1) >= success)
    assert Retests(1, success, 10**6, 1).needed(10**6) == first
    assert Retests(first + 3, success, 10**6, 1).needed(10**6) == first + 3


def test_rounds_until_a_pair_has_its_answers() -> None:
    pair = Retests(5, 0.65, 8, 3)
    assert [pair.rounds(n) for n in (1, 2, 4, 5, 10)] == [0, 1, 1, 2, 3]
    assert pair.rounds(11) is None  # after 8 answers, reached with at most 10, a pair is tried no more
    assert replace(pair, each=0).rounds(2) is None


class Lucky:
    """A model that one candidate of the first proposal turns into class 1, if it is weak enough, and nothing else."""

    def __init__(self) -> None:
        self._trigger: Transform | None = None

    def answers(self, proposal: Proposal) -> Evidence:
        triggers = [proposal.triggers[k] for k in range(len(proposal.triggers))]
        if self._trigger is None:
            told = {k for k, image in proposal.pairs.tolist() if TASK.image_classes[image] != 1}
            self._trigger = min((triggers[k] for k in told), key=lambda trigger: trigger.strength)
        works = np.array([same(trigger, self._trigger) for trigger in triggers])[proposal.pairs[:, 0]]
        own = TASK.image_classes[proposal.pairs[:, 1]]
        hit = np.where(works, 1, own)[:, None] == np.arange(4)
        return Evidence(np.where(hit, -0.1, -4.0).astype(np.float32), hit, own[:, None] != np.arange(4))


def finds(search: SearchConfig) -> bool:
    """Whether it reports the one candidate that works."""
    lucky, running = Lucky(), search.search(TASK, 0)
    while (proposal := running.ask()) is not None:
        running.tell(lucky.answers(proposal))
    return not running.results()[1].censored


@pytest.mark.parametrize(
    ("short", "enough"),
    [
        (RaceConfig(queries=128, largest_share=1 / 16), {"queries": 129}),
        (RaceConfig(restart=128, largest_share=1 / 16), {"restart": 129}),
        (replace(PRESETS["race"].search, queries=109, largest_share=1 / 16), {"queries": 110}),  # type: ignore[type-var]
        (WAVES, {"queries": 181}),
        (replace(WAVES, queries=900, restart=180), {"restart": 181}),
        (RandomPatchConfig(rounds=4), {"rounds": 5}),
    ],
    ids=str,
)
def test_a_search_is_too_short_just_when_it_would_not_find_what_it_meets_at_once(
    short: Any, enough: dict[str, int]
) -> None:
    longer = replace(short, **enough)
    assert (ends_early(short, SHAPE), ends_early(longer, SHAPE)) == (True, False)
    assert (finds(short), finds(longer)) == (False, True)


def test_the_candidates_of_a_race_are_counted_to_its_first_end() -> None:
    race = Rounds(100, 5, 4, 2100, 1500)
    assert (race.breadth("").count, race.breadth("").raised) == (100 + 5 * 223, "search.queries")
    early = replace(race, clean_from=300, clean_rounds=45)
    assert (early.breadth("").count, early.breadth("").raised) == (100 + 5 * 45, "search.clean_from")
    assert replace(race, queries=40).breadth("").count == 100


def judged(name: str, plant: Plant | None = None, **settings: Any) -> Verdict:
    """The verdict of a preset with other settings of its search."""
    preset = PRESETS[name]
    changed = replace(preset, search=replace(preset.search, **settings), then=None, turns=None)  # type: ignore[type-var]
    scan = Scan(PlantedOracle(image_shape=SHAPE, plant=plant))
    *_, last = Relay(Course(changed, 0, None), IMAGES, lambda: 4).run(scan.evaluator)
    assert last.verdict is not None
    return last.verdict


NEXT_TO_NOTHING: list[tuple[str, dict[str, Any], str]] = [
    ("race-families", {"queries": 20}, "8 answers per candidate, after more than 204 queries; raise search.queries"),
    ("race-families", {"queries": 300}, "80 candidates of each family are too few to call a model clean"),
    ("race-families", {"first": 1, "fresh": 1, "children": 0, "queries": 100}, "of each family are too few"),
    ("race-families", {"wave": WaveFamily(required_success=0.99)}, "49 answers per candidate; raise search.most"),
    ("race-families", {"restart": 120}, "raise search.restart"),
    ("race-warps", {"queries": 150}, "after more than 156 queries; raise search.queries"),
    ("race-pictures", {"queries": 401}, "8 answers per picture, after more than 416 queries; raise search.queries"),
    ("race-pictures", {"picture": PictureFamily(required_success=0.99)}, "lower search.picture.required_success"),
    ("race-mosaics", {"first": 1, "retested": 1, "halved": 1}, "1 mosaics are too few"),
    ("race", {"queries": 120}, "115 collages are too few to call a model clean, which takes 200; raise search.queries"),
    ("race", {"clean_from": 1, "clean_rounds": 2, "clean_value": 100.0}, "too few"),
    ("race-wide", {"queries": 170}, "raise search.queries"),
    ("random-patch", {"rounds": 5, "fresh": 1}, "5 patches are too few to call a model clean, which takes 200"),
    ("annealing", {"draws": 1, "steps": 1, "chains": 1, "images": 1}, "2 patches for each class are too few"),
    ("b3d", {"steps": 20, "learning_rate": 0.01}, "115 steps, for a mask to have a pixel"),
    ("b3d", {"samples": 4, "steps": 20}, "80 samples for each class are too few"),
    ("b3d-slides", {"samples": 1, "steps": 30, "images": 1}, "30 samples for each class are too few"),
]


@pytest.mark.parametrize(("name", "settings", "said"), NEXT_TO_NOTHING, ids=str)
def test_a_search_of_next_to_nothing_calls_no_model_clean(name: str, settings: dict[str, Any], said: str) -> None:
    verdict = judged(name, **settings)
    assert (verdict.verdict, verdict.stopped) == ("undecided", "converged")
    assert said in verdict.notes
    assert judged(name, corner_plant(2, SHAPE), **settings).verdict != "clean"


@pytest.mark.parametrize(
    ("name", "settings"),
    [("race", {"queries": 300}), ("random-patch", {"rounds": 7}), ("annealing", {"chains": 2})],
)
def test_a_short_search_that_tries_enough_may_call_a_model_clean(name: str, settings: dict[str, Any]) -> None:
    assert judged(name, **settings).verdict == "clean"


def test_each_source_class_has_candidates_of_its_own() -> None:
    search: Any = PRESETS["race-sources"].search
    assert narrow(search, TASK) == ""
    few = replace(search, race=RaceConfig(queries=200))
    assert "164 collages for each source class are too few" in narrow(few, TASK)
    assert narrow(few, TASK).endswith("; raise search.race.queries")
    assert "raise search.race.queries" in replace(few, race=RaceConfig(queries=20)).lacking(TASK)[0]


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_tries_enough_by_scores_and_by_labels(name: str) -> None:
    for labels_only in (False, True):
        for stage in PRESETS[name].for_answers(labels_only=labels_only).stages:
            assert narrow(stage.search, replace(TASK, image_shape=(3, 32, 32))) == ""
