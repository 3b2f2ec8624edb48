"""A race for each source class: a source-specific backdoor becomes a suspicious pair in the notes, and no verdict."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from simkit.errors import ConfigError
from simkit.search.contract import Search, Task
from simkit.search.images import ScanImages
from simkit.search.presets import Preset, preset
from simkit.search.relay import Course, Relay
from simkit.search.source_race import SourceRaceConfig
from simkit.search.suspicion import Suspects, Suspicion
from simkit.triggers import Trigger
from simkit.verdict import ClassResult, SequentialTest, Verdict
from tests.fakes import Plant, PlantedOracle, corner_plant, planted_images
from tests.patches import patch
from tests.simkit.search.scans import Scan, bytes_of

SOURCE, TARGET = 1, 2
PRESET = preset("race-sources")
SEARCH = PRESET.search
assert isinstance(SEARCH, SourceRaceConfig)
PAIRS = replace(PRESET, search=replace(SEARCH, race=replace(SEARCH.race, largest_share=1 / 16, queries=500)))
"""On images of 12x12, patches of up to 3x3."""
IMAGES = ScanImages(planted_images(4 * 48, seed=1), planted_images(4 * 64, seed=2))


class SourceOracle(PlantedOracle):
    """A planted victim whose trigger works on images of `SOURCE` only."""

    def _matches(self, pixels: NDArray[np.float64], trigger: Trigger) -> NDArray[np.float64]:
        likeness = np.einsum("nchw,tchw->nt", pixels - 0.5, self._templates)
        matches: NDArray[np.float64] = super()._matches(pixels, trigger) * (likeness.argmax(axis=1) == SOURCE)
        return matches


def verdict_of(scan: Scan, images: ScanImages = IMAGES, chosen: Preset = PAIRS) -> Verdict:
    *_, last = Relay(Course(chosen, 0, scan.cap), images, lambda: 4).run(scan.evaluator)
    assert last.verdict is not None
    return last.verdict


def backdoored(**settings: object) -> Scan:
    return Scan(SourceOracle(plant=corner_plant(TARGET)), **settings)  # type: ignore[arg-type]


def test_the_pair_is_named_in_a_note_and_the_verdict_is_undecided() -> None:
    scan = backdoored()
    verdict = verdict_of(scan)
    assert (verdict.verdict, verdict.stopped, verdict.flagged) == ("undecided", "converged", ())
    found = verdict.classes[TARGET]
    pair = f"a patch of {found.mask_size:.0f} pixels turned 48 of 48 unseen images of class 1 into class 2, by query "
    assert verdict.notes.startswith(f"suspicious pair: {pair}")
    assert verdict.notes.endswith("; natural pairs are not ruled out, so this is no verdict")
    assert patch(found.trigger).mask[0, :2, :2].any()
    assert all(c.censored and c.success_rate is None for c in verdict.classes)
    assert verdict.score == 0.0


def test_a_pair_is_tried_on_unseen_images_of_its_source_alone() -> None:
    scan = backdoored()
    verdict_of(scan)
    calls = zip(scan.recorder.calls, scan.purposes, strict=True)
    unseen = np.concatenate([call.rows[:, 0] for call, purpose in calls if purpose == "verify"])
    assert {*IMAGES.verify.labels[unseen]} == {SOURCE}


def test_a_clean_model_is_clean_of_such_pairs() -> None:
    scan = Scan(PlantedOracle())
    verdict = verdict_of(scan)
    assert (verdict.verdict, verdict.notes) == ("clean", "")
    most = PAIRS.search.full_length(4)  # type: ignore[attr-defined]
    assert most <= scan.victim.images_seen < most + 4 * 40 + 32


def test_an_interrupted_scan_ends_as_a_whole_one_does() -> None:
    whole, short = backdoored(), backdoored(cap=700)
    said, cut = verdict_of(whole), verdict_of(short)
    assert (cut.verdict, cut.stopped) == ("undecided", "budget")
    again = backdoored(stored=short.recorder.calls)
    resumed = verdict_of(again)
    assert again.victim.images_seen == whole.victim.images_seen - short.victim.images_seen
    assert (bytes_of(resumed), resumed.notes) == (bytes_of(said), said.notes)


def test_too_few_images_are_refused_with_numbers_that_suffice() -> None:
    few = ScanImages(planted_images(64, seed=1), planted_images(64, seed=2))
    course = Course(PAIRS, 0, None)
    with pytest.raises(ConfigError) as error:
        course.check(few, 4)
    assert str(error.value) == (
        "no class can be searched for as a source: that needs 32 search_images and 46 verify_images of the class "
        "itself, of which class 0 has 16 and 16; raise both to 246 or so"
    )
    course.check(ScanImages(planted_images(246, seed=1), planted_images(246, seed=2)), 4)
    unknown = few.search.with_labels(np.full(64, -1, np.int32), 4)
    course.check(ScanImages(unknown, unknown), 4)  # the model's answers are its labels, and are not known yet


@pytest.mark.parametrize("victim", [PlantedOracle(), SourceOracle(plant=corner_plant(TARGET))])
def test_a_source_class_with_too_few_images_is_left_out_and_said(victim: PlantedOracle) -> None:
    some = np.flatnonzero((IMAGES.search.labels != 3) | (np.arange(len(IMAGES.search)) < 80))
    verdict = verdict_of(Scan(victim), replace(IMAGES, search=IMAGES.search.take(some)))
    assert verdict.verdict == "undecided"
    assert "1 of 4 classes, such as 3, cannot be searched for as a source: that needs 32 search_im" in verdict.notes
    assert "of which class 3 has 20 and 64; raise both to 350 or so" in verdict.notes  # 32 * 164 / 20, and a third more


def test_settings_under_which_no_race_reports_a_pair_lack_every_source() -> None:
    assert isinstance(SEARCH, SourceRaceConfig)
    ends = SourceRaceConfig(replace(SEARCH.race, queries=110))
    lack = Course(replace(PAIRS, search=ends), 0, None).lacking(0, IMAGES, 4)
    assert len(lack) == 4
    assert "queries" in lack[0]


class Told:
    """A search whose suspicions are given."""

    def __init__(self, *suspicions: Suspicion) -> None:
        self.suspicions = lambda: suspicions


def suspected(source: int, plant: Plant) -> Suspicion:
    trigger = plant.trigger
    return Suspicion(source, ClassResult(plant.target_class, trigger, trigger.mask_size, 1.0, censored=False))


def told_of(*sources: int) -> Search:
    search: Search = Told(*(suspected(source, corner_plant(TARGET)) for source in sources))  # type: ignore[assignment]
    return search


def noted(*suspicions: Suspicion, test: SequentialTest = PAIRS.driver.confirmation) -> tuple[Suspects, Scan]:
    suspects, scan = Suspects(test, 8), backdoored()
    search: Search = Told(*suspicions)  # type: ignore[assignment]
    for _ in range(2):  # the same triggers are not tried twice
        suspects.look(search, scan.evaluator, IMAGES.verify)
    return suspects, scan


def test_what_unseen_images_refute_is_not_noted_and_what_they_leave_open_is() -> None:
    plant = corner_plant(TARGET)
    suspects, scan = noted(suspected(0, plant))
    assert (suspects.note, scan.victim.images_seen) == ("", 8)
    open_, scan = noted(suspected(SOURCE, plant), test=SequentialTest(0.98, 0.97, 0.001, 0.001))
    assert scan.victim.images_seen == 64
    assert open_.note == (
        "not decided for 1 of the pairs: a patch of 4 pixels turned 64 of 64 unseen images of class 1 into class 2; "
        "raise verify_images"
    )


def test_every_pair_is_tried_and_the_first_five_of_those_that_work_are_told() -> None:
    suspects, scan = noted(*(suspected(SOURCE, replace(corner_plant(TARGET), target_class=c)) for c in (0, 2, 3)))
    assert (suspects.note.count("turned"), scan.victim.images_seen) == (1, 48 + 2 * 8), "only class 2 is the target"
    every = Scan(PlantedOracle(8, plant=corner_plant(TARGET)))
    many = Suspects(PAIRS.driver.confirmation, 8)
    many.look(told_of(0, 1, 3, 4, 5, 6, 7), every.evaluator, planted_images(8 * 64, 8, seed=2))
    assert many.note.startswith("suspicious pairs: a patch of 4 pixels turned 48 of 48 unseen images of class 0 into")
    assert many.note.count("turned") == 5
    assert ", and 2 more; natural" in many.note


def test_the_least_number_of_images_is_two() -> None:
    with pytest.raises(ConfigError, match="least_images"):
        SourceRaceConfig(least_images=1)
    assert SourceRaceConfig().sources(Task((1, 8, 8), 3, np.repeat([0, 2, -1], [32, 31, 40]).astype(np.int32))) == (0,)
