"""Refinement: where it begins, what it keeps, and that unseen images have the last word."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from simkit.errors import ConfigError
from simkit.search.contract import Evidence, Proposal, Task
from simkit.search.driver import Checkpoint
from simkit.search.images import ScanImages
from simkit.search.refine import Refine, RefineConfig
from simkit.search.refine_stage import Refinement
from simkit.triggers import Trigger
from simkit.verdict import ClassResult
from tests.fakes import PlantedOracle, corner_plant
from tests.patches import patch as as_patch
from tests.patches import stack
from tests.simkit.search.scans import IMAGES, TASK, Scan

CONFIG = RefineConfig(queries=1500, grow=1, verify_images=24)
SHAPE = (1, 12, 12)


def patch(side: int, colour: float, target: int = 2) -> ClassResult:
    """A square in the corner of one colour, said to work."""
    mask, pattern = np.zeros((1, 12, 12), np.float32), np.zeros(SHAPE, np.float32)
    mask[:, :side, :side], pattern[:, :side, :side] = 1.0, colour
    return ClassResult(target, Trigger(mask, pattern), float(side**2), 0.8, censored=False, trials=20)


def refined(actual: ClassResult, scan: Scan, images: ScanImages = IMAGES) -> tuple[ClassResult, list[Checkpoint]]:
    steps = Refinement(CONFIG, actual, images, 0).run(scan.evaluator, scan.cap)
    checkpoints: list[Checkpoint] = []
    while True:
        try:
            checkpoints.append(next(steps))
        except StopIteration as end:
            return end.value, checkpoints


def test_a_patch_of_another_colour_takes_the_triggers_and_works() -> None:
    scan = Scan(PlantedOracle(plant=corner_plant(2)))
    actual = patch(4, 0.5)
    result, _ = refined(actual, scan)
    assert result.success_rate is not None
    assert result.success_rate >= 0.95
    assert (result.trials, result.censored) == (24, False)
    assert as_patch(result.trigger).pattern[0, :2, :2].mean() > 0.9, "the trigger is white, the patch was grey"


def test_the_mask_stays_near_the_patch() -> None:
    search = Refine(CONFIG, TASK, patch(2, 0.9), 0)
    for _ in range(12):
        proposal = search.ask()
        assert proposal is not None
        assert stack(proposal.triggers).masks[:, :, 3:].sum() == stack(proposal.triggers).masks[:, :, :, 3:].sum() == 0
        size = (len(proposal.pairs), TASK.n_classes)
        search.tell(Evidence(np.full(size, -1.0, np.float32), np.ones(size, np.bool_), np.ones(size, np.bool_)))


def test_without_budget_for_a_look_the_patch_stays_as_it_was() -> None:
    actual = patch(3, 0.5)
    scan = Scan(PlantedOracle(plant=corner_plant(2)), cap=200)
    result, _ = refined(actual, scan)
    assert result is actual
    assert scan.victim.images_seen <= 200


def test_what_unseen_images_like_less_is_not_taken() -> None:
    """On a model without a backdoor nothing works; the better of two failures stays."""
    scan = Scan(PlantedOracle())
    actual = patch(3, 0.5)
    result, _ = refined(actual, scan)
    assert result.trials == 24
    assert result.success_rate is not None


def test_a_limit_is_kept_and_queries_are_counted() -> None:
    scan = Scan(PlantedOracle(plant=corner_plant(2)), cap=1000)
    _, checkpoints = refined(patch(4, 0.5), scan)
    assert scan.victim.images_seen <= 1000
    assert [c.queries for c in checkpoints] == sorted({c.queries for c in checkpoints})


def test_looks_keep_the_smallest_that_works_else_the_one_that_works_most() -> None:
    config = replace(CONFIG, first=3.0, b3d=replace(CONFIG.b3d, check_every=1))
    search, kept = Refine(config, TASK, patch(3, 0.5), 0), []
    for rate in [0.5, 0.8, 0.6, 1.0, 0.2]:
        search.tell(_hits(search.ask(), rate))
        result = search.results()[0]
        kept.append((result.success_rate, result.censored))
    assert kept == [(0.5, True), (0.8, True), (0.8, True), (1.0, False), (1.0, False)]


def _hits(proposal: Proposal | None, rate: float) -> Evidence:
    """The last candidate, which is the one looked at, hits so often."""
    assert proposal is not None
    size = (len(proposal.pairs), TASK.n_classes)
    hit = np.zeros(size, np.bool_)
    looked = np.flatnonzero(proposal.pairs[:, 0] == len(proposal.triggers) - 1)
    hit[looked[: round(rate * len(looked))]] = True
    return Evidence(np.full(size, -1.0, np.float32), hit, np.ones(size, np.bool_))


@pytest.mark.parametrize("change", [{"grow": -1}, {"first": 0.0}, {"queries": 0}, {"verify_images": 0}])
def test_settings_out_of_range_are_refused(change: dict[str, float]) -> None:
    with pytest.raises(ConfigError):
        RefineConfig(**change)  # type: ignore[arg-type]


def test_apart_from_joint_sampling_it_cannot_be() -> None:
    with pytest.raises(ConfigError, match="joint"):
        RefineConfig(b3d=replace(CONFIG.b3d, joint=False))


def test_a_task_of_another_image_shape_is_another_search() -> None:
    wide = Task((3, 12, 12), 4, TASK.image_classes)
    mask, pattern = np.ones((1, 12, 12), np.float32), np.full((3, 12, 12), 0.5, np.float32)
    actual = ClassResult(1, Trigger(mask, pattern), 144.0, 0.9, censored=False)
    proposal = Refine(CONFIG, wide, actual, 0).ask()
    assert proposal is not None
    assert stack(proposal.triggers).patterns.shape[1:] == (3, 12, 12)


@pytest.mark.parametrize("queries", [300, 500, 1_499, 1_500, 4_000])
@pytest.mark.parametrize("limit", [None, 100_000])
def test_a_refinement_within_a_number_of_queries_takes_no_more(queries: int, limit: int | None) -> None:
    scan, config = Scan(PlantedOracle(plant=corner_plant(2))), RefineConfig.within(queries)
    steps = Refinement(config, patch(4, 0.5), IMAGES, 0).run(scan.evaluator, limit)
    for _ in steps:
        pass
    assert config.least_queries < scan.victim.images_seen <= queries


def test_five_hundred_queries_find_the_colour_of_a_planted_trigger() -> None:
    scan = Scan(PlantedOracle(plant=corner_plant(2)))
    steps = Refinement(RefineConfig.within(500), patch(4, 0.5), IMAGES, 0).run(scan.evaluator, None)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result = end.value
            break
    assert result.success_rate >= 0.95
    assert scan.victim.images_seen <= 500


def test_too_few_queries_for_the_first_check_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"refine=150: a refinement takes \d+ queries or more; give 0 for none"):
        RefineConfig.within(150)
