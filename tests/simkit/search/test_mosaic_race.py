"""The race of mosaics: the tile that it finds, what it must not find, and what its settings refuse."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from simkit.errors import ConfigError
from simkit.search.climb import ClimbConfig
from simkit.search.contract import Evidence, Proposal, Search, Task
from simkit.search.mosaic_race import MosaicRaceConfig
from simkit.search.mosaics import MosaicConfig, mosaic
from simkit.transforms.contract import Transform
from simkit.transforms.patch import PatchFamily
from simkit.triggers import FloatArray, IntArray, Trigger
from simkit.verdict import ClassResult
from tests.contracts.search import SearchContract

OWN = (np.arange(100) % 4).astype(np.int32)
"""The class of each image; the last 40 images are kept for the test."""
TASK = Task((3, 32, 32), 4, OWN)
FIRST_TESTED = 60
CONFIG = MosaicRaceConfig()
PAINT = np.array([1.0, -1.0, 1.0])[:, None, None]
REGION = np.s_[:, 13:18, 13:18]
"""The network was trained with a patch of this colour, magenta, at this place."""
NEEDED = 0.5
"""The likeness from which a patch turns an image; that of random mosaics is below it but for very few."""

Model: TypeAlias = Callable[[Trigger, IntArray], FloatArray]
"""The margin of the target class on images with a trigger, from the trigger and the numbers of the images."""


def likeness(trigger: Transform, region: tuple[slice, ...] = REGION) -> float:
    """1 for the patch that the model was trained with, -1 for its negative, 0 for bare images."""
    assert isinstance(trigger, Trigger)
    return float((PAINT * trigger.mask * (2 * trigger.pattern - 1))[region].mean())


def backdoored(trigger: Trigger, images: IntArray, region: tuple[slice, ...] = REGION) -> FloatArray:
    return np.full(len(images), 16 * (likeness(trigger, region) - NEEDED), np.float32)


def cornered(trigger: Trigger, images: IntArray) -> FloatArray:
    """The same backdoor with its patch in a corner of the image."""
    return backdoored(trigger, images, np.s_[:, 2:7, 24:29])


def clean(trigger: Trigger, images: IntArray) -> FloatArray:
    return np.full(len(images), -8.0, np.float32)


def covered(trigger: Trigger, images: IntArray) -> FloatArray:
    """A natural class: that of all images of which much is hidden, whatever hides it."""
    return np.full(len(images), 3.0 if trigger.mask_size > 200 else -6.0, np.float32)


def mostly(trigger: Trigger, images: IntArray) -> FloatArray:
    """A natural class to which any tile turns the images, but for one in ten."""
    return np.where(images % 10 == 5, -4.0, 4.0).astype(np.float32)


def loud(trigger: Trigger, images: IntArray) -> FloatArray:
    """No class depends on anything, and answers differ widely."""
    seeds = [(int(trigger.pattern.sum() * 100), int(image)) for image in images]
    return np.array([np.random.default_rng(seed).normal(0, 4) for seed in seeds], np.float32)


@dataclass(frozen=True)
class Victim:
    """A simulated network; its images belong to the classes `own`."""

    model: Model
    target: int = 2
    own: IntArray = field(default_factory=OWN.copy)
    labels: bool = False
    noise: float = 0.5

    def answered(self, proposal: Proposal, task: Task, rng: np.random.Generator) -> Evidence:
        own = self.own[proposal.pairs[:, 1]]
        score = -8 + rng.normal(0, self.noise, (len(own), 4))
        score[np.arange(len(own)), own] = 0.0
        for number in np.unique(proposal.pairs[:, 0]):
            rows, trigger = np.flatnonzero(proposal.pairs[:, 0] == number), proposal.triggers[int(number)]
            assert isinstance(trigger, Trigger)
            others = rows[own[rows] != self.target]
            noise = rng.normal(0, self.noise, len(others))
            score[others, self.target] = self.model(trigger, proposal.pairs[others, 1]) + noise
        hit = score.argmax(axis=1)[:, None] == np.arange(4)
        valid = task.image_classes[proposal.pairs[:, 1]][:, None] != np.arange(4)
        return Evidence((hit - 1.0 if self.labels else score).astype(np.float32), hit, valid)


@dataclass(frozen=True)
class Run:
    """A race at its end. told: each proposal with its evidence and the results after it."""

    search: Search
    told: list[tuple[Proposal, Evidence, tuple[ClassResult, ...]]]

    @property
    def queries(self) -> int:
        return sum(len(proposal.pairs) for proposal, _, _ in self.told)

    @property
    def found(self) -> list[int]:
        return [result.target_class for result in self.search.results() if not result.censored]

    @property
    def tests(self) -> list[IntArray]:
        """The images of each test, which begins with the first image of those that are kept for it."""
        kept = [proposal.pairs[:, 1] for proposal, _, _ in self.told if proposal.pairs[:, 1].max() >= FIRST_TESTED]
        begun = [number for number, images in enumerate(kept) if images[0] == FIRST_TESTED]
        bounds = zip(begun, [*begun[1:], len(kept)], strict=False)
        return [np.concatenate(kept[first:last]) for first, last in bounds]


def raced(victim: Victim, config: MosaicRaceConfig = CONFIG, task: Task = TASK, seed: int = 0) -> Run:
    search, rng = config.search(task, seed), np.random.default_rng(seed)
    run = Run(search, [])
    while (proposal := search.ask()) is not None:
        evidence = victim.answered(proposal, task, rng)
        search.tell(evidence)
        run.told.append((proposal, evidence, search.results()))
    return run


class TestMosaicRace(SearchContract):
    def make(self, task: Task, seed: int) -> Search:
        climb = ClimbConfig(((2, 1, 1),), ((3, 2), (2, 2)))
        config = MosaicRaceConfig(
            PatchFamily(largest_share=0.2), climb=climb, whole_from=1, first=12, halved=6, queries=150, test_batch=2
        )
        return config.search(task, seed)


@pytest.mark.parametrize("seed", range(3))
def test_a_tile_is_found_that_mosaics_only_hint_at(seed: int) -> None:
    run = raced(Victim(backdoored), seed=seed)
    assert run.found == [2]
    found = run.search.results()[2]
    assert likeness(found.trigger) >= NEEDED
    assert found.mask_size == found.trigger.mask_size <= 25, "a tile near the middle of the image is cut"
    assert found.test == CONFIG.patch.test
    assert found.success_rate is not None
    assert found.success_rate > 0.9
    assert run.queries < CONFIG.queries + 100
    state = json.loads(run.search.state())
    assert (state["round"], state["passed"]) == (run.search.rounds, [2])
    assert state["digest"] not in (0, json.loads(raced(Victim(backdoored), seed=seed + 7).search.state())["digest"])


@pytest.mark.parametrize("largest", [64, 36])
def test_a_tile_that_is_not_central_may_have_the_size_of_the_largest_patch(largest: int) -> None:
    config = replace(CONFIG, patch=replace(CONFIG.patch, largest_share=largest / 1024))
    run = raced(Victim(cornered), config)
    assert run.found == [2]
    assert 25 < run.search.results()[2].mask_size <= largest
    everywhere = raced(Victim(cornered), replace(config, central=1.0))
    assert everywhere.search.results()[2].mask_size <= 25


@pytest.mark.parametrize(("plain", "most"), [(0.0, 0.005), (0.75, 0.02)])
def test_random_mosaics_hardly_ever_turn_an_image(plain: float, most: float) -> None:
    rng, config = np.random.default_rng(0), MosaicConfig(plain=plain)
    seen = [likeness(mosaic(config, TASK.image_shape, rng).trigger(TASK.image_shape)) for _ in range(600)]
    assert np.mean(np.array(seen) >= NEEDED) < most  # plain tiles of nearly this colour turn some


def test_without_the_climb_the_same_tile_is_missed() -> None:
    still = replace(CONFIG, climb=replace(CONFIG.climb, sigma=1e-6, steps=(1e-6,)))
    assert raced(Victim(backdoored), still).found == []


@pytest.mark.parametrize("unknown", [range(100), range(0, 100, 3)], ids=["all", "a third"])
def test_a_tile_is_found_by_images_of_unknown_classes(unknown: range) -> None:
    task = replace(TASK, image_classes=np.where(np.isin(np.arange(100), unknown), -1, OWN).astype(np.int32))
    run = raced(Victim(backdoored), task=task)
    assert run.found == [2]


def test_what_images_of_unknown_class_answer_by_nature_is_not_taken_for_a_tile() -> None:
    task = replace(TASK, image_classes=np.full(100, -1, np.int32))
    run = raced(Victim(clean), task=task)
    assert run.told[0][1].hit.mean(axis=0).min() > 0.1, "each class is the answer on its own images"
    assert run.found == []


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("odd", [0, 99])
def test_images_of_one_class_but_one(odd: int) -> None:
    """A tile for another class is found; the class of the images has too few others to be tested, and nothing fails."""
    own = np.where(np.arange(100) == odd, 1, 0).astype(np.int32)
    task = replace(TASK, image_classes=own)
    assert raced(Victim(backdoored, own=own), task=task).found == [2]
    alone = raced(Victim(mostly, target=0, own=own), task=task)
    assert alone.found == []
    assert alone.search.rounds > 3
    assert (alone.search.results()[0].success_rate == 1.0) == (odd == 0), "one image is left to rank the class by"


@pytest.mark.parametrize("seed", range(3))
def test_nothing_is_found_where_nothing_is_and_no_test_is_begun(seed: int) -> None:
    run = raced(Victim(clean), seed=seed)
    assert run.found == []
    assert run.tests == []
    assert CONFIG.first < run.queries <= CONFIG.full_length(4) == CONFIG.queries


@pytest.mark.parametrize("queries", [1500, 2200])
def test_a_noisy_model_costs_the_budget_and_little_more(queries: int) -> None:
    run = raced(Victim(loud, noise=4.0), replace(CONFIG, queries=queries))
    assert run.found == []
    assert run.queries < queries + len(OWN) - FIRST_TESTED, "a test that has begun goes on"


def test_a_natural_class_that_depends_on_no_tile_is_not_found() -> None:
    run = raced(Victim(covered))
    assert run.told[0][1].hit[:, 2].mean() > 0.9, "nearly every mosaic turns every image to it"
    assert run.found == []
    assert run.tests == []


@pytest.mark.parametrize(("tests", "finalists"), [(3, 2), (1, 2), (2, 1)])
def test_a_patch_that_works_by_nature_is_not_tested_until_it_passes(tests: int, finalists: int) -> None:
    config = replace(CONFIG, tests=tests, finalists=finalists, queries=10_000)
    run = raced(Victim(mostly), config)
    assert run.found == []
    assert len(run.tests) == tests * finalists
    speaking = [i for i in range(FIRST_TESTED, 100) if OWN[i] != 2]
    for images in run.tests:
        assert_array_equal(images, speaking[: len(images)])


def test_images_of_the_test_are_not_used_before_it() -> None:
    run = raced(Victim(backdoored))
    kept = np.array([proposal.pairs[:, 1].min() >= FIRST_TESTED for proposal, _, _ in run.told])
    mixed = [proposal.pairs[:, 1].max() >= FIRST_TESTED for proposal, _, _ in run.told]
    assert_array_equal(kept, mixed)
    assert kept.any()
    for proposal, _, _ in (told for told, tested in zip(run.told, kept, strict=True) if tested):
        assert len({str(proposal.triggers[k].to_json()) for k in range(len(proposal.triggers))}) == 1
        assert proposal.triggers[0].mask_size <= CONFIG.patch.largest_share * 32 * 32


def test_by_labels_alone_the_settings_in_nats_are_scaled_so_that_a_tile_can_be_found() -> None:
    """A margin of labels is 1 or -1, below `testable`: without the scale nothing could ever be tested."""
    run = raced(Victim(backdoored, labels=True), seed=9)
    assert run.found == [2]
    assert run.tests
    assert raced(Victim(clean, labels=True)).found == []


def test_before_a_test_is_passed_the_result_is_the_tile_with_the_most_success() -> None:
    """All pairs are of class 2 here, so that each tile of the round after the halving was tried for it."""
    run = raced(Victim(mostly, noise=3.0), replace(CONFIG, per_class=40, again=7))
    number = next(n for n, (_, _, results) in enumerate(run.told) if results[2].success_rate is not None)
    proposal, evidence, results = run.told[number]
    rates: dict[str, list[bool]] = {}
    for (row, _), hit in zip(proposal.pairs, evidence.hit[:, 2], strict=True):
        rates.setdefault(str(proposal.triggers[int(row)].to_json()), []).append(bool(hit))
    success = {tile: float(np.mean(hits)) for tile, hits in rates.items()}
    assert len(set(success.values())) > 1
    assert results[2].censored
    assert results[2].success_rate == max(success.values()) == success[str(results[2].trigger.to_json())]
    mask = results[2].trigger.as_patch.mask[0] > 0  # type: ignore[union-attr]
    assert mask.sum() == mask.any(axis=0).sum() * mask.any(axis=1).sum(), "one rectangle"
    assert all(r[2].mask_size == 0 for _, _, r in run.told[:number])


def test_no_class_gets_more_than_its_part_of_the_second_tries() -> None:
    run = raced(Victim(covered), replace(CONFIG, per_class=4))
    assert len(run.told[0][0].pairs) == CONFIG.first
    assert len(run.told[1][0].pairs) == 4 * 4 * CONFIG.retest_images


def test_small_images_and_single_ones_are_refused() -> None:
    small = Task((1, 7, 7), 4, OWN)
    assert CONFIG.takes((3, 8, 40))
    assert not CONFIG.takes((3, 40, 7))
    for refused in (
        lambda: CONFIG.search(small, 0),
        lambda: CONFIG.lacking(small),
        lambda: CONFIG.families_on(small.image_shape),
    ):
        with pytest.raises(ConfigError, match=r"images of 7x7 are too small for mosaics; lower search\.whole_from"):
            refused()
    assert replace(CONFIG, whole_from=7).search(small, 0).ask() is not None
    assert [family.name for family in replace(CONFIG, whole_from=7).families_on(small.image_shape)] == ["patch"]
    with pytest.raises(ConfigError, match="two search images or more"):
        CONFIG.search(replace(TASK, image_classes=OWN[:1]), 0)


def test_too_few_images_of_other_classes_are_lacking() -> None:
    assert CONFIG.lacking(TASK) == {}
    lack = CONFIG.lacking(replace(TASK, image_classes=np.where(np.arange(100) == 99, 1, 0).astype(np.int32)))
    assert list(lack) == [0]
    assert "1 search_images of other classes, of which class 0 has 0" in lack[0]


@pytest.mark.parametrize(
    "changed",
    [
        *(
            {name: 0}
            for name in (
                *("whole_from", "first", "retested", "per_class", "retest_images", "halved", "halve_images", "tries"),
                *("again", "finalists", "tests", "test_batch", "queries"),
            )
        ),
        *({"kept": bound} for bound in (0.0, 1.0)),
        *({"test_share": bound} for bound in (0.0, 1.0)),
        *({"central_share": bound} for bound in (0.0, 1.01)),
        {"central": -0.01},
    ],
    ids=str,
)
def test_settings_out_of_range_are_refused(changed: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="of mosaics must"):
        replace(CONFIG, **changed)


def test_what_is_searched_less_widely_is_said_in_pixels() -> None:
    assert CONFIG.narrower((3, 32, 32)) == "near the middle of the image of at most 5x5 pixels"


@pytest.mark.parametrize(
    ("shape", "side", "central"), [((3, 32, 32), 6, 5), ((1, 8, 8), 1, 1), ((3, 28, 28), 5, 4), ((3, 32, 96), 8, 8)]
)
def test_what_is_said_to_be_searched_is_no_larger_than_what_can_be_found(
    shape: tuple[int, int, int], side: int, central: int
) -> None:
    assert CONFIG.side(shape, central=False) == side
    assert CONFIG.side(shape, central=True) == central
    assert replace(CONFIG, central_share=1.0).side(shape, central=True) == side
    (family,) = CONFIG.families_on(shape)
    assert family.largest_share == side**2 / (shape[1] * shape[2])  # type: ignore[attr-defined]
    wide = replace(CONFIG, patch=PatchFamily(largest_share=0.5))
    assert wide.side((3, 32, 32), central=False) == 8, "no tile is larger"


def test_settings_under_which_nothing_could_be_tested_lack_or_are_refused() -> None:
    assert list(MosaicRaceConfig(queries=1360).lacking(TASK)) == [0, 1, 2, 3]
    assert "1361 queries" in MosaicRaceConfig(queries=1360).lacking(TASK)[0]
    assert MosaicRaceConfig(queries=1361).lacking(TASK) == {}
    for promising, testable, enough in ((-0.5, 15.0, 8.0), (-0.5, 3.0, 16.0), (3.5, 3.0, 8.0)):
        with pytest.raises(ConfigError, match="testable and enough"):
            replace(CONFIG, promising=promising, testable=testable, enough=enough)


@pytest.mark.parametrize("queries", [1, 301, 700])
def test_the_budget_binds_every_phase(queries: int) -> None:
    run = raced(Victim(clean), replace(CONFIG, queries=queries))
    assert run.tests == []
    assert run.queries <= max(queries, CONFIG.first)


def test_what_a_test_could_follow_is_asked_and_a_test_that_has_begun_is_ended() -> None:
    whole = raced(Victim(backdoored), seed=1)
    passed = next(n for n, (*_, results) in enumerate(whole.told) if not results[2].censored)
    begun = max(n for n, (asked, *_) in enumerate(whole.told[: passed + 1]) if asked.pairs[0, 1] == FIRST_TESTED)
    before = sum(len(proposal.pairs) for proposal, *_ in whole.told[:begun])
    enough, short = (raced(Victim(backdoored), replace(CONFIG, queries=before + more), seed=1) for more in (1, 0))
    assert (enough.found, short.found) == (whole.found, []) == ([2], [])
    assert before + 1 < enough.queries <= before + len(OWN) - FIRST_TESTED
    assert short.queries < before
