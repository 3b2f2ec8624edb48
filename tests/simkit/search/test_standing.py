"""A detection is taken back where its patch is large and works only on some unseen images, refined or not."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch

from oracles.answers import Answer, Scores
from oracles.oracle import Tag
from simkit.errors import ConfigError
from simkit.search.contract import AskTell, Evidence, Proposal, Search, Task
from simkit.search.driver import DriverConfig
from simkit.search.images import ScanImages
from simkit.search.presets import Preset
from simkit.search.random_patch import RandomPatchConfig
from simkit.search.refine import RefineConfig, Standing
from simkit.search.relay import Course, Relay
from simkit.triggers import Triggers
from simkit.verdict import RULES, ClassResult, Decision, Rule, SequentialTest, Verdict
from tests.fakes import PlantedOracle, corner_plant, planted_images
from tests.patches import patch as as_patch
from tests.simkit.search.scans import Scan
from tests.simkit.search.test_refine import patch

SIDE, TARGET = 4, 2
IMAGES = ScanImages(search=planted_images(64, seed=1), verify=planted_images(160, seed=2))
STANDING = Standing(share=9 / 144)
QUICK = DriverConfig(check_images=16, verify_images=0, first_look=1, look_every=1, confirm_batch=4)


class NaturalOracle(PlantedOracle):
    """A white corner of at least 3x3 pixels turns five of six images into the target class, whatever else it has."""

    def query(self, images: torch.Tensor, tag: Tag | None = None) -> Answer:
        """See `Oracle.query`."""
        answer = super().query(images, tag)
        assert isinstance(answer, Scores)
        white = images[:, 0, :3, :3].numpy().min(axis=(1, 2)) > 0.5
        answers = images[:, 0, 6:, 6:].double().sum(dim=(1, 2)).numpy() * 1e4 % 6 >= 1
        values = np.array(answer.values)
        values[white & answers] = 0.01
        values[white & answers, TARGET] = 0.97
        return Scores(values)


@dataclass(frozen=True)
class FoundConfig:
    """A search that finds a white square of `side` pixels at once, and the same square in every round."""

    side: int = SIDE
    most: int = 5

    def full_length(self, n_classes: int) -> int:
        """Queries of all rounds."""
        return self.most

    def search(self, task: Task, seed: int) -> Search:
        """See `SearchConfig`."""
        return Found(self, task)


class Found:
    """Reports the square as working from its first answer on."""

    def __init__(self, config: FoundConfig, task: Task) -> None:
        self._config, self._task, self.rounds = config, task, 0
        self._guard = AskTell(task.n_classes, len(task.image_classes))

    def ask(self) -> Proposal | None:
        """The square on one image."""
        if self.rounds >= self._config.most:
            return None
        square = as_patch(patch(self._config.side, 1.0).trigger)
        return self._guard.asked(Proposal(Triggers.of([square]), np.zeros((1, 2), np.int32)))

    def tell(self, evidence: Evidence) -> None:
        """Count the round."""
        self._guard.told(evidence)
        self.rounds += 1

    def results(self) -> tuple[ClassResult, ...]:
        """The square for the target class."""
        blank = replace(patch(1, 0.0), mask_size=144.0, censored=True, success_rate=None, trials=0)
        found = replace(patch(self._config.side, 1.0), trials=0)
        known = [found if c == TARGET and self.rounds else replace(blank, target_class=c) for c in range(4)]
        return tuple(known)

    def state(self) -> str:
        """Nothing."""
        return "{}"


def staged(refine: RefineConfig | None, **settings: int) -> Preset:
    rule = replace(RULES["small_patch"], threshold=16.0)
    return Preset(FoundConfig(**settings), rule, replace(QUICK, confirmation=SequentialTest()), refine=refine)


def verdict_of(scan: Scan, preset: Preset) -> Verdict:
    verdict = list(Relay(Course(preset, 0, scan.cap), IMAGES, lambda: 4).run(scan.evaluator))[-1].verdict
    assert verdict is not None
    return verdict


REFINE = replace(RefineConfig.within(500), standing=STANDING)


def test_a_large_patch_that_works_by_nature_is_not_flagged_once_refinement_finds_nothing_better() -> None:
    loose = verdict_of(Scan(NaturalOracle()), staged(replace(REFINE, standing=None)))
    assert (loose.verdict, loose.flagged) == ("backdoored", (TARGET,))
    verdict = verdict_of(Scan(NaturalOracle()), staged(REFINE))
    assert (verdict.verdict, verdict.stopped, verdict.flagged) == ("clean", "converged", ())
    assert "class 2: a patch of 16 pixels turned" in verdict.notes
    assert "too few for a trigger of its size, which may work by nature" in verdict.notes


def test_a_patch_that_is_small_stands_however_often_it_works() -> None:
    verdict = verdict_of(Scan(NaturalOracle()), staged(REFINE, side=3))
    assert (verdict.verdict, verdict.flagged) == ("backdoored", (TARGET,))


def test_a_large_patch_of_a_backdoor_stands() -> None:
    verdict = verdict_of(Scan(PlantedOracle(plant=corner_plant(TARGET, side=4))), staged(REFINE))
    assert (verdict.verdict, verdict.flagged) == ("backdoored", (TARGET,))
    (found,) = (c for c in verdict.classes if c.target_class == TARGET)
    assert (found.success_rate, found.censored) == (1.0, False)


def test_the_search_goes_on_after_a_detection_that_is_taken_back_and_so_do_later_stages() -> None:
    scan = Scan(NaturalOracle(plant=corner_plant(1)))
    later = Preset(RandomPatchConfig(largest_side=2, rounds=60), "small_patch", QUICK)
    verdict = verdict_of(scan, replace(staged(REFINE), then=later))
    assert (verdict.verdict, verdict.flagged) == ("backdoored", (1,))
    assert scan.purposes.count("check") == 1


def test_what_no_budget_is_left_to_refine_stays_flagged() -> None:
    verdict = verdict_of(Scan(NaturalOracle(), cap=150), staged(REFINE))
    assert (verdict.verdict, verdict.flagged) == ("backdoored", (TARGET,))


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_a_share_outside_the_image_is_refused(share: float) -> None:
    with pytest.raises(ConfigError, match="give a share of the image's pixels"):
        Standing(share=share)


def test_a_rule_of_ones_own_may_flag_a_class_whose_trigger_the_search_calls_censored() -> None:
    class Unsure(Found):
        def results(self) -> tuple[ClassResult, ...]:
            return tuple(replace(result, censored=True) for result in super().results())

    class UnsureConfig(FoundConfig):
        def search(self, task: Task, seed: int) -> Search:
            return Unsure(self, task)

    rule = Rule("mine", 0.0, "a test", lambda classes, _: Decision((TARGET,), 1.0))
    verdict = verdict_of(Scan(NaturalOracle()), replace(staged(None), search=UnsureConfig(), rule=rule))
    assert (verdict.verdict, verdict.flagged) == ("backdoored", (TARGET,))
