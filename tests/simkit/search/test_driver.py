"""Whole scans of the planted victim: the verdict, the money, the purposes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch

from oracles.answers import Answer, Scores
from oracles.oracle import Tag
from oracles.restrict import KeepTopK, LabelOnly
from simkit.data import ImageSet
from simkit.errors import ConfigError
from simkit.search.b3d import B3DConfig
from simkit.search.contract import Evidence, Proposal, Search
from simkit.search.driver import DriverConfig
from simkit.search.evaluator import Evaluator
from simkit.search.images import ScanImages
from simkit.search.random_patch import RandomPatchConfig
from simkit.triggers import Trigger, Triggers
from simkit.verdict import ClassResult, Decision, Rule, SequentialTest
from tests.fakes import NotANumberOracle, PlantedOracle, corner_plant, planted_images, templates
from tests.patches import patch
from tests.simkit.search.scans import DRIVER, IMAGES, TASK, Scan, b3d, patches, verdict_of

Searched = Callable[[], tuple[Search, Rule]]
SEARCHES: list[Searched] = [b3d, patches]


def tiny_b3d() -> tuple[Search, Rule]:
    return b3d(config=B3DConfig(samples=4, images=1, steps=50, check_every=2, check_images=2))


def tiny_patches() -> tuple[Search, Rule]:
    return patches(config=RandomPatchConfig(fresh=5, retests=2))


@pytest.mark.parametrize("target", [0, 3])
@pytest.mark.parametrize("searched", SEARCHES)
def test_a_backdoor_is_found_and_its_class_named(searched: Searched, target: int) -> None:
    verdict = Scan(PlantedOracle(plant=corner_plant(target))).verdict(searched())
    assert (verdict.verdict, verdict.stopped, verdict.flagged) == ("backdoored", "decided", (target,))
    actual = verdict.classes[target]
    assert actual.success_rate is not None
    assert actual.success_rate >= 0.8
    assert patch(actual.trigger).mask[0, :2, :2].any()
    assert verdict.clean_accuracy == 1.0


@pytest.mark.parametrize("searched", SEARCHES)
def test_a_clean_model_is_clean(searched: Searched) -> None:
    verdict = Scan(PlantedOracle()).verdict(searched())
    assert (verdict.verdict, verdict.stopped, verdict.flagged) == ("clean", "converged", ())
    assert [c.target_class for c in verdict.classes] == [0, 1, 2, 3]
    assert all(c.success_rate is not None for c in verdict.classes)


def test_labels_alone_suffice_for_patches_and_one_score_for_b3d() -> None:
    for searched, restricted in ((patches, LabelOnly), (b3d, lambda oracle: KeepTopK(oracle, 1))):
        victim = PlantedOracle(plant=corner_plant(1))
        verdict = Scan(victim, told=restricted(victim)).verdict(searched())
        assert (verdict.verdict, verdict.flagged) == ("backdoored", (1,))


@pytest.mark.parametrize("searched", SEARCHES)
def test_every_query_is_paid_recorded_and_has_a_purpose(searched: Searched) -> None:
    victim = PlantedOracle(plant=corner_plant(2))
    scan = Scan(victim)
    checkpoints = scan.run(searched())
    assert victim.images_seen == scan.budget.spent == scan.recorded == checkpoints[-1].queries
    assert [c.verdict is None for c in checkpoints] == [True] * (len(checkpoints) - 1) + [False]
    assert (np.diff([c.queries for c in checkpoints]) >= 0).all()
    purposes = scan.purposes
    assert purposes[0] == "check"
    assert purposes.count("check") == 1
    assert set(purposes) == {"check", "search", "verify"}
    assert len(scan.recorder.calls[0].rows) == DRIVER.check_images


@pytest.mark.parametrize("searched", [tiny_b3d, tiny_patches])
@pytest.mark.parametrize("limited", [True, False])
def test_no_cap_is_ever_overspent_and_running_out_is_an_outcome(searched: Searched, limited: bool) -> None:
    for cap in [*range(0, 40), *range(40, 160, 7)]:
        victim = PlantedOracle(plant=corner_plant(2))
        scan = Scan(victim, cap=cap)
        if limited:
            verdict = scan.verdict(searched())
        else:  # only the budget stops it
            scan.cap = None
            verdict = scan.verdict(searched())
        assert victim.images_seen == scan.budget.spent == scan.recorded == scan.evaluator.queries <= cap
        assert (verdict.verdict, verdict.stopped, verdict.flagged) == ("undecided", "budget", ())
        assert [c.target_class for c in verdict.classes] == [0, 1, 2, 3]
        assert (verdict.clean_accuracy is None) == (cap < DRIVER.check_images)


def test_the_limit_keeps_enough_to_try_every_class() -> None:
    scan = Scan(PlantedOracle(), cap=400)
    verdict = scan.verdict(patches())
    assert scan.budget.remaining is not None
    assert scan.budget.remaining < 40, "and no more than a step is left unspent"
    assert verdict.verdict == "undecided"
    assert [c.trials for c in verdict.classes] == [DRIVER.verify_images] * 4


def test_a_rest_of_the_budget_that_is_too_small_for_a_step_is_told() -> None:
    config = replace(DRIVER, verify_images=0)
    scan = Scan(PlantedOracle(), cap=16 + 79)
    verdict = verdict_of(scan.run(patches(config=RandomPatchConfig(fresh=80)), config=config))
    assert (verdict.verdict, verdict.stopped, scan.evaluator.queries) == ("undecided", "budget", 16)
    assert verdict.notes == "the next step needs 80 queries, and 79 are left"
    spent = Scan(PlantedOracle(), cap=16 + 80)
    assert verdict_of(spent.run(patches(config=RandomPatchConfig(fresh=80)), config=config)).notes == ""
    assert spent.evaluator.queries == 96


def test_what_tries_the_triggers_is_not_told_as_left() -> None:
    scan = Scan(PlantedOracle(), cap=16 + 4 * DRIVER.verify_images)
    assert scan.verdict(patches(config=RandomPatchConfig(fresh=80))).notes == ""


def test_nan_is_invalid_whenever_it_comes() -> None:
    whole = Scan(PlantedOracle(plant=corner_plant(2)))
    total = whole.run(patches())[-1].queries
    searches = sum(len(c.rows) for c, p in zip(whole.recorder.calls, whole.purposes, strict=True) if p != "verify")
    for after in (0, 16, total // 2, searches, total - 1):
        victim = NotANumberOracle(plant=corner_plant(2))
        victim.after = after
        scan = Scan(victim)
        verdict = scan.verdict(patches())
        assert (verdict.verdict, verdict.flagged, verdict.score) == ("invalid", (), None)
        assert "NaN" in verdict.notes
        assert victim.images_seen == scan.recorded


def test_nan_after_the_budget_ended_is_invalid_too() -> None:
    victim = NotANumberOracle()
    victim.after = 56
    scan = Scan(victim, cap=56 + 4 * DRIVER.verify_images)
    assert scan.verdict(patches()).verdict == "invalid"


def test_labels_that_do_not_fit_are_invalid_for_the_price_of_the_check() -> None:
    search = IMAGES.search
    permuted = ImageSet(search.pixels, (search.labels + 1) % 4, search.classes, "permuted")
    scan = Scan(PlantedOracle(plant=corner_plant(2)))
    verdict = scan.verdict(patches(), ScanImages(permuted, IMAGES.verify))
    assert (verdict.verdict, verdict.clean_accuracy, scan.recorded) == ("invalid", 0.0, DRIVER.check_images)
    assert "--mean" in verdict.notes


@pytest.mark.parametrize("searched", SEARCHES)
def test_unseen_images_are_for_verification_only(searched: Searched, monkeypatch: pytest.MonkeyPatch) -> None:
    used: set[tuple[bool, str]] = set()
    evaluate = Evaluator.evaluate

    def spy(self: Evaluator, images: ImageSet, proposal: Proposal, purpose: str, state: str = "{}") -> Evidence:
        used.add((images is IMAGES.verify, purpose))
        return evaluate(self, images, proposal, purpose, state)

    monkeypatch.setattr(Evaluator, "evaluate", spy)
    Scan(PlantedOracle(plant=corner_plant(2))).run(searched())
    assert used == {(True, "verify"), (False, "search")}


class FixedSearch:
    """Has converged before it began, with these triggers."""

    rounds = 0

    def __init__(self, triggers: Sequence[Trigger]) -> None:
        self._triggers = triggers

    def ask(self) -> Proposal | None:
        return None

    def tell(self, evidence: Evidence) -> None:
        raise AssertionError("nothing was asked")

    def results(self) -> tuple[ClassResult, ...]:
        copies = (Trigger(t.mask.copy(), t.pattern.copy()) for t in self._triggers)
        return tuple(ClassResult(c, t, t.mask_size, 1.0, censored=False) for c, t in enumerate(copies))

    def state(self) -> str:
        return "{}"


def flag_all(classes: Sequence[ClassResult], threshold: float) -> Decision:
    return Decision(tuple(c.target_class for c in classes if not c.censored), 1.0)


def _class_pictures(working: Sequence[int]) -> FixedSearch:
    """For each class a full-size picture of it, which always works, or nothing at all."""
    pictures = 0.5 + 0.5 * templates(TASK.n_classes, TASK.image_shape)
    masks = [np.full((1, 12, 12), float(c in working), dtype=np.float32) for c in range(4)]
    return FixedSearch([Trigger(m, p.astype(np.float32)) for m, p in zip(masks, pictures, strict=True)])


def test_only_what_unseen_images_confirm_is_flagged() -> None:
    verdict = Scan(PlantedOracle()).verdict((_class_pictures([1, 3]), Rule("all", 0.0, "a test", flag_all)))
    assert verdict.flagged == (1, 3)
    assert [c.success_rate for c in verdict.classes] == [0.0, 1.0, 0.0, 1.0]


def test_a_class_that_is_flagged_and_not_confirmed_is_told_of() -> None:
    of_others = FixedSearch([patch(c.trigger) for c in reversed(_class_pictures([0, 1, 2, 3]).results())])
    verdict = Scan(PlantedOracle()).verdict((of_others, Rule("all", 0.0, "a test", flag_all)))
    assert (verdict.verdict, verdict.flagged) == ("clean", ())
    told = "class {}: a patch of 144 pixels turned 0 % of 12 unseen images, too few to confirm it"
    assert verdict.notes == "; ".join(map(told.format, range(4)))


class OftenOracle(PlantedOracle):
    """A white corner of 2x2 pixels turns this share of the images into class 2, whatever else they have."""

    share = 0.0

    def query(self, images: torch.Tensor, tag: Tag | None = None) -> Answer:
        """See `Oracle.query`."""
        answer = super().query(images, tag)
        assert isinstance(answer, Scores)
        white = images[:, 0, :2, :2].numpy().min(axis=(1, 2)) > 0.99
        turned = images[:, 0, 6:, 6:].double().sum(dim=(1, 2)).numpy() * 1e4 % 1 < self.share
        values = np.array(answer.values)
        values[white & turned] = 0.01
        values[white & turned, 2] = 0.97
        return Scores(values)


@pytest.mark.parametrize(("share", "kind"), [(0.6, "clean"), (0.88, "undecided")])
def test_a_trigger_that_turns_nearly_enough_unseen_images_clears_no_model(share: float, kind: str) -> None:
    victim = OftenOracle()
    victim.share = share
    many = replace(IMAGES, verify=planted_images(160, seed=2))
    strict = replace(DRIVER, confirmation=SequentialTest(0.98, 0.9, 0.02, 0.02))
    corner = corner_plant(2).trigger
    nothing = Trigger(np.zeros_like(corner.mask), corner.pattern)
    search = FixedSearch([nothing, nothing, corner, nothing])
    verdict = verdict_of(Scan(victim).run((search, Rule("all", 0.0, "a test", flag_all)), many, strict))
    assert (verdict.verdict, verdict.stopped, verdict.flagged) == (kind, "converged", ())
    rate = verdict.classes[2].success_rate
    assert rate is not None
    assert (rate >= 0.8) == (kind == "undecided")
    assert ("too many for a clean model" in verdict.notes) == (kind == "undecided")


def test_a_class_confirmed_leaves_no_note() -> None:
    search = _class_pictures([0, 1, 2, 3])
    assert Scan(PlantedOracle()).verdict((search, Rule("all", 0.0, "a test", flag_all))).notes == ""


def test_a_confirmed_class_stays_confirmed_when_the_budget_ends_at_the_next() -> None:
    scan = Scan(PlantedOracle(), cap=DRIVER.check_images + 2 * DRIVER.confirm_batch + 1)
    verdict = scan.verdict((_class_pictures([0, 1, 2, 3]), Rule("all", 0.0, "a test", flag_all)))
    assert (verdict.verdict, verdict.flagged) == ("backdoored", (0,))
    assert verdict.classes[0].success_rate == 1.0
    assert verdict.classes[3].success_rate is None


class LateSearch(FixedSearch):
    """Tries one trigger on one image a round; only after 12 rounds are its results worth anything."""

    def __init__(self) -> None:
        super().__init__([])
        self.rounds = 0

    def ask(self) -> Proposal | None:
        trigger = corner_plant(0).trigger
        return Proposal(Triggers.of([trigger]), np.zeros((1, 2), dtype=np.int32)) if self.rounds < 40 else None

    def tell(self, evidence: Evidence) -> None:
        self.rounds += 1

    def results(self) -> tuple[ClassResult, ...]:
        return _class_pictures([1] if self.rounds > 12 else []).results()


def test_a_flag_that_unseen_images_refuse_does_not_end_the_search() -> None:
    checkpoints = Scan(PlantedOracle()).run((LateSearch(), Rule("all", 0.0, "a test", flag_all)))
    assert verdict_of(checkpoints).flagged == (1,)
    assert checkpoints[-1].rounds == 15, "looks are after 5, 10 and 15 rounds"


def test_nothing_is_verified_twice() -> None:
    scan = Scan(PlantedOracle())
    scan.run((_class_pictures([0, 1, 2, 3]), Rule("all", 0.0, "a test", flag_all)))
    rows = [(p, *r) for p, call in zip(scan.purposes, scan.recorder.calls, strict=True) for r in call.rows.tolist()]
    # 16 images decide each class, which is more than verify_images asks for; a class skips its own 12 of 48 images.
    assert sum(p == "verify" for p, *_ in rows) == 4 * 16


def test_verdicts_come_from_whole_rounds() -> None:
    checkpoints = Scan(PlantedOracle(plant=corner_plant(2))).run(patches())
    assert verdict_of(checkpoints).verdict == "backdoored"
    assert checkpoints[-1].rounds % DRIVER.look_every == 0


@pytest.mark.parametrize("field", ["check_images", "check_batch", "first_look", "look_every", "confirm_batch"])
def test_settings_out_of_range_are_refused(field: str) -> None:
    with pytest.raises(ConfigError):
        replace(DriverConfig(), **{field: 0})  # type: ignore[arg-type]


def test_verify_images_may_be_none_but_not_fewer() -> None:
    assert replace(DriverConfig(), verify_images=0).verify_images == 0
    with pytest.raises(ConfigError, match="verify_images"):
        replace(DriverConfig(), verify_images=-1)
