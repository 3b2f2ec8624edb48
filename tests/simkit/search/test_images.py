"""Unlabelled images: what is asked about them, what the model's answers make of them, and what is said."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from oracles.answers import Answer, Labels
from oracles.oracle import Oracle, Tag
from oracles.restrict import KeepTopK, LabelOnly
from simkit.data import ImageSet
from simkit.errors import DataError
from simkit.search.b3d import B3D
from simkit.search.contract import Search, Task
from simkit.search.driver import Driver
from simkit.search.images import ScanImages, class_of_all, crowding, halves
from simkit.search.random_patch import RandomPatch, RandomPatchConfig
from simkit.search.synthesis import Synthesis, SynthesisConfig
from simkit.triggers import IntArray
from simkit.verdict import RULES, Rule, Verdict
from tests.fakes import NotANumberOracle, PlantedOracle, corner_plant, planted_images
from tests.simkit.search.scans import B3D_SMALL, DRIVER, IMAGES, Scan, bytes_of, verdict_of

LOOSE = ScanImages(
    search=ImageSet.unlabelled(IMAGES.search.pixels, "loose"), verify=ImageSet.unlabelled(IMAGES.verify.pixels, "loose")
)
BOTH = len(LOOSE.search) + len(LOOSE.verify)
SETTINGS: dict[str, tuple[Callable[[Task], Search], Rule]] = {
    "b3d": (lambda task: B3D(B3D_SMALL, task, 0), RULES["below_median"]),
    "patches": (lambda task: RandomPatch(RandomPatchConfig(), task, 0), RULES["small_patch"]),
}


def _verdict(scan: Scan, kind: str, images: ScanImages = LOOSE) -> Verdict:
    search, rule = SETTINGS[kind]
    driver = Driver(lambda part: search(Task(part.image_shape, 4, part.labels)), images, rule, DRIVER, scan.cap)
    return verdict_of(list(driver.run(scan.evaluator)))


@pytest.mark.parametrize("kind", SETTINGS)
@pytest.mark.parametrize("restricted", [lambda o: o, LabelOnly, lambda o: KeepTopK(o, 2)])
def test_the_models_answers_are_the_labels(kind: str, restricted: Callable[[Oracle], Oracle]) -> None:
    victim = PlantedOracle(plant=corner_plant(2))
    scan = Scan(victim, told=restricted(victim))
    verdict = _verdict(scan, kind)
    labelled = _verdict(Scan(victim, told=restricted(victim)), kind, IMAGES)
    assert (verdict.verdict, verdict.flagged) == (labelled.verdict, labelled.flagged)
    assert (verdict.clean_accuracy, verdict.notes) == (None, "")
    assert bytes_of(verdict)[1:] == bytes_of(labelled)[1:], "the planted victim is right about every image"
    first = scan.recorder.calls[0].rows
    assert scan.purposes.count("check") == 1
    assert first.tolist() == [[image, -1] for image in range(BOTH)]


@pytest.mark.parametrize("kind", SETTINGS)
def test_a_clean_model_is_clean(kind: str) -> None:
    assert _verdict(Scan(PlantedOracle()), kind).verdict == "clean"


@pytest.mark.parametrize("cap", [0, 1, BOTH - 1, BOTH, BOTH + 7, BOTH + 60])
@pytest.mark.parametrize("kind", SETTINGS)
def test_a_budget_that_ends_early_is_an_outcome(kind: str, cap: int) -> None:
    scan = Scan(PlantedOracle(plant=corner_plant(2)), cap=cap)
    verdict = _verdict(scan, kind)
    assert (verdict.verdict, verdict.stopped, len(verdict.classes)) == ("undecided", "budget", 4)
    assert scan.budget.spent == scan.recorded == scan.victim.images_seen <= cap
    assert scan.budget.spent >= BOTH if cap >= BOTH else scan.budget.spent == 0


@pytest.mark.parametrize("calls", [0, 1, 5])
@pytest.mark.parametrize("kind", SETTINGS)
def test_a_killed_scan_goes_on_from_its_answers(kind: str, calls: int) -> None:
    whole = Scan(PlantedOracle(plant=corner_plant(1)))
    verdict = _verdict(whole, kind)
    later = Scan(PlantedOracle(plant=corner_plant(1)), stored=whole.recorder.calls[:calls])
    assert bytes_of(_verdict(later, kind)) == bytes_of(verdict)
    assert later.victim.images_seen == whole.recorded - sum(len(c.rows) for c in whole.recorder.calls[:calls])


def test_nan_is_invalid_for_the_price_of_the_labels() -> None:
    scan = Scan(NotANumberOracle())
    verdict = _verdict(scan, "b3d")
    assert (verdict.verdict, scan.recorded) == ("invalid", BOTH)


class OneClassOracle(PlantedOracle):
    """Answers class 3 to every image without the plant's corner."""

    def query(self, images: torch.Tensor, tag: Tag | None = None) -> Answer:
        answer = super().query(images, tag)
        white = images[:, :, :2, :2].mean(dim=(1, 2, 3)).numpy() > 0.8
        assert len(answer) == len(images)
        return Labels(np.where(white, 1, 3).astype(np.int32), 4)


@pytest.mark.parametrize("kind", SETTINGS)
def test_a_class_that_owns_all_images_is_not_searched_and_never_makes_a_model_clean(kind: str) -> None:
    verdict = _verdict(Scan(OneClassOracle()), kind)
    assert verdict.verdict in ("backdoored", "undecided")
    assert "112 of the 112 unlabelled images to class 3" in verdict.notes
    assert "not searched" in verdict.notes
    assert 3 not in verdict.flagged
    assert (verdict.classes[3].trials, verdict.classes[3].censored) == (0, True)


MAKING = SynthesisConfig(
    draws=150,
    noise="smooth",
    samples=8,
    steps=1,
    learning_rate=0.1,
    unit_steps=True,
    baseline="leave_one_out",
    antithetic=True,
)
MADE = ScanImages.to_be_made(Synthesis(MAKING, 0), (1, 12, 12), 64, 48)
PRICE = MAKING.most_queries(112)


@pytest.mark.parametrize("restricted", [lambda o: o, LabelOnly, lambda o: KeepTopK(o, 2)])
@pytest.mark.parametrize("kind", SETTINGS)
def test_images_that_the_scan_makes_serve_as_well(kind: str, restricted: Callable[[Oracle], Oracle]) -> None:
    """But for B3D of labels alone, which wants settings of its own."""
    victim = PlantedOracle(plant=corner_plant(2))
    scan = Scan(victim, told=restricted(victim))
    verdict = _verdict(scan, kind, MADE)
    if (kind, restricted) != ("b3d", LabelOnly):
        assert (verdict.verdict, verdict.flagged) == ("backdoored", (2,))
    assert verdict.clean_accuracy is None
    assert scan.budget.spent == scan.recorded == victim.images_seen
    making = sum(len(c.rows) for c, p in zip(scan.recorder.calls, scan.purposes, strict=True) if p == "check")
    assert making == (150 if restricted is LabelOnly else PRICE)
    assert verdict.notes.endswith(
        f"112 images of 4 of 4 classes were synthesised with {making:,} queries; the accuracy on real images is unknown"
    )


@pytest.mark.parametrize("kind", SETTINGS)
def test_a_clean_model_is_clean_on_made_images(kind: str) -> None:
    assert _verdict(Scan(PlantedOracle()), kind, MADE).verdict == "clean"


@pytest.mark.parametrize("calls", [0, 1, 3, 9])
def test_a_scan_killed_while_it_makes_images_goes_on_from_its_answers(calls: int) -> None:
    whole = Scan(PlantedOracle(plant=corner_plant(1)))
    verdict = _verdict(whole, "patches", MADE)
    later = Scan(PlantedOracle(plant=corner_plant(1)), stored=whole.recorder.calls[:calls])
    assert bytes_of(_verdict(later, "patches", MADE)) == bytes_of(verdict)
    assert later.victim.images_seen == whole.recorded - sum(len(c.rows) for c in whole.recorder.calls[:calls])


@pytest.mark.parametrize("cap", [0, 149, 151, PRICE - 1, PRICE, PRICE + 60])
def test_a_budget_that_ends_while_images_are_made_is_an_outcome(cap: int) -> None:
    scan = Scan(PlantedOracle(plant=corner_plant(2)), cap=cap)
    verdict = _verdict(scan, "patches", MADE)
    assert (verdict.verdict, verdict.stopped, len(verdict.classes)) == ("undecided", "budget", 4)
    assert ("were synthesised" in verdict.notes) == (cap >= PRICE)
    assert scan.budget.spent == scan.recorded <= cap


def test_checkpoints_come_while_images_are_made() -> None:
    scan = Scan(PlantedOracle())
    search, rule = SETTINGS["patches"]
    driver = Driver(lambda part: search(Task(part.image_shape, 4, part.labels)), MADE, rule, DRIVER, None)
    points = [(c.queries, c.rounds) for c in driver.run(scan.evaluator)]
    making = [point for point in points if point[0] < PRICE]
    assert making[0] == (150, 0)
    assert len(making) > 3
    assert making == sorted(set(making)), "one after every call"
    assert {rounds for _, rounds in making} == {0}


def test_nan_is_invalid_at_the_first_call_for_images() -> None:
    scan = Scan(NotANumberOracle())
    verdict = _verdict(scan, "patches", MADE)
    assert (verdict.verdict, scan.recorded) == ("invalid", 150)


class ConstantOracle(PlantedOracle):
    """Answers class 3, whatever it is asked."""

    def query(self, images: torch.Tensor, tag: Tag | None = None) -> Answer:
        return Labels(np.full(len(super().query(images)), 3, np.int32), 4)


def test_a_model_that_always_answers_one_class_is_undecided() -> None:
    verdict = _verdict(Scan(ConstantOracle()), "patches", MADE)
    assert (verdict.verdict, verdict.flagged) == ("undecided", ())
    assert "112 of the 112 synthesised images to class 3, so that this class was not searched; raise" in verdict.notes


def _labelled(*labels: int) -> ScanImages:
    told: IntArray = np.array(labels, dtype=np.int32)
    part = ImageSet.unlabelled(torch.zeros(len(told), 1, 2, 2), "x").with_labels(told, 4)
    return ScanImages(part, part)


@pytest.mark.parametrize(
    ("labels", "owner", "said"),
    [
        ((0, 1, 2, 3), None, ""),
        ((1, 1, 1, 1), 1, "8 of the 8 unlabelled images to class 1, so that this class was not searched"),
        ((1, *[2] * 9), None, "18 of the 20 unlabelled images to class 2; give images"),
        ((1, 1, *[2] * 9), None, ""),
        ((-1, -1), None, "names no class"),
        ((2, -1), None, ""),
    ],
)
def test_crowded_classes_are_told(labels: tuple[int, ...], owner: int | None, said: str) -> None:
    images = _labelled(*labels)
    assert class_of_all(images.search) == owner
    assert (said in crowding(images)) if said else crowding(images) == ""


def test_one_image_is_too_few() -> None:
    with pytest.raises(DataError, match="two or more"):
        halves(planted_images(1))
    assert [len(halves(planted_images(5)).search), len(halves(planted_images(5)).verify)] == [2, 3]
