"""The length of a preset's searches from its settings, against known answers and against scans."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from simkit.search.contract import Bounded, Search, Task
from simkit.search.costs import full_length
from simkit.search.presets import PRESETS, Preset
from simkit.search.race import RaceConfig
from simkit.search.random_patch import RandomPatchConfig
from simkit.search.relay import Course, Relay
from simkit.search.stage_names import stage_names
from tests.fakes import PlantedOracle
from tests.simkit.search.scans import IMAGES, Scan


@pytest.mark.parametrize(
    ("name", "labels_only", "queries"),
    [
        ("b3d", False, 24_584 - 64),  # ten classes, as docs/measured/fleet.md counts them, without the first check
        ("b3d", True, 42_384 - 64),
        ("random-patch", False, 3_374 - 64),
        ("annealing", False, 24_000 + 320),
        ("race", False, 2_800),
        ("race-wide", False, 10_000),
        ("auto", False, 1_150 + 1_330 + 2_400 + 1_300 + 2_200),
        ("auto", True, 2_200 + 2_600 + 3_300 + 1_800),
        ("race", True, 4_700),
        ("race-families", False, 2_400),
        ("race-families", True, 3_300),
        ("race-warps", False, 2_700),
        ("race-warps", True, 3_500),
        ("race-mosaics", False, 2_200),
        ("race-pictures", False, 1_500),
        ("race-pictures", True, 1_800),
        ("race-sources", False, 10 * 800),
    ],
)
def test_the_length_of_presets_for_ten_classes(name: str, labels_only: bool, queries: int) -> None:
    assert full_length(PRESETS[name].for_answers(labels_only=labels_only), 10) == queries


def test_the_slides_ask_mask_and_pattern_apart() -> None:
    search = PRESETS["b3d-slides"].search
    assert isinstance(search, Bounded)
    assert search.full_length(1) == 1000 * 2 * 50 * 128 + 100 * 20


@dataclass(frozen=True)
class Own:
    """A search of the user's own."""

    def search(self, task: Task, seed: int) -> Search:
        return RaceConfig().search(task, seed)


def test_a_search_of_the_users_own_has_no_known_length() -> None:
    own = Preset(Own(), "below_median")
    assert full_length(own, 10) is None
    assert full_length(Preset(RaceConfig(), "small_share", then=own), 10) is None


@pytest.mark.parametrize("rounds", [1, 2, 7])
def test_a_clean_scan_takes_its_length(rounds: int) -> None:
    preset = Preset(RandomPatchConfig(rounds=rounds, largest_side=1), "small_patch")
    scan = Scan(PlantedOracle())
    list(Relay(Course(preset, 0, scan.cap), IMAGES, lambda: 4).run(scan.evaluator))
    length = full_length(preset, 4)
    assert length is not None
    searched = scan.purposes.count("search")
    assert searched == rounds
    assert scan.victim.images_seen <= length + 64


def test_stages_are_named_by_the_presets_that_run_them() -> None:
    assert stage_names(PRESETS["auto"]) == ("race", "race-families", "race-warps", "race-pictures", "race-mosaics")
    assert stage_names(PRESETS["annealing"]) == ("annealing",)
    assert stage_names(Preset(Own(), "below_median", then=PRESETS["race"])) == ("Own", "race")
