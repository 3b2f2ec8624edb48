"""A clean verdict says what each of its searches looked for, and what share it misses only where that was measured."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from db import reads
from simkit.data.images import ImageShape
from simkit.search.family_race import FamilyRaceConfig
from simkit.search.presets import PRESETS, Preset
from studies.report.gather import gather
from studies.report.page import render
from studies.scan import scan
from studies.scan.config import ScanConfig
from studies.scan.ruled_out import in_words, ruled_out
from studies.statistics import share
from tests.studies.scans import IMAGES, TemplateNet, scanned

SHAPE = (3, 32, 32)


def said(local: bool = True, shape: ImageShape = SHAPE, **settings: Any) -> list[dict[str, Any]]:
    config = ScanConfig.of({"data": "digits"} | settings)
    return [dict(entry) for entry in ruled_out(config, shape, local=local)]


def test_every_search_of_auto_says_its_sizes_and_only_the_measured_one_a_share() -> None:
    race, *families = said()
    assert [(e["stage"], e["family"]) for e in (race, *families)] == [
        ("race", "patch"),
        *(("race-families", family) for family in ("patch", "wave", "blend")),
        ("race-warps", "warp"),
        ("race-pictures", "picture"),
        ("race-mosaics", "patch"),
    ]
    assert race["sought"] == "patches of up to 16 pixels"
    known = share(5, 24)
    assert (race["missed"], race["victims"], race["low"], race["high"]) == (5, 24, known.low, known.high)
    assert race["zoos"] == ["cifar10-tune", "cifar10-tuning", "cifar10-wide-tune"]
    assert [(e["family"], e["missed"], e["victims"]) for e in families] == [
        ("patch", 22, 31),
        ("wave", 1, 3),
        ("blend", 0, 3),
        ("warp", 0, 6),
        ("picture", 1, 6),
        ("patch", 1, 16),
    ]
    assert all(
        (e["low"], e["high"]) == (share(e["missed"], e["victims"]).low, share(e["missed"], e["victims"]).high)
        for e in families
    )
    assert said(preset="race-wide")[0]["victims"] == 0, "it was never measured with these settings"


def test_what_labels_miss_is_counted_apart_and_without_mosaics() -> None:
    race, *families = said(oracle="label")
    assert (race["missed"], race["victims"]) == (1, 10)
    assert [entry["stage"] for entry in families][-1] == "race-pictures"


@pytest.mark.parametrize(
    "settings",
    [
        {"oracle": "top3"},
        {"oracle": "noisy"},
        {"search": {"queries": 600}},
        {"rule": {"threshold": 0.05}},
        {"driver": {"confirm_batch": 2}},
        {"search_images": 32},
        {"local": False},
        {"shape": (1, 8, 8)},
    ],
    ids=str,
)
def test_what_was_measured_otherwise_is_not_measured(settings: dict[str, Any]) -> None:
    assert said(preset="race")[0]["victims"] == 16
    assert said(preset="race", oracle={"price_per_thousand": 2.0, "currency": "USD"})[0]["victims"] == 16
    (entry,) = said(**{"preset": "race"} | settings)
    assert (entry["victims"], entry["missed"], entry["high"]) == (0, None, None)
    assert "is not measured" in in_words([entry])[0]
    assert "%" not in in_words([entry])[0]


def test_a_race_of_families_names_each_with_its_limit() -> None:
    preset = Preset(FamilyRaceConfig(patch=None), PRESETS["race"].rule)
    entries = said(preset=preset)
    assert [entry["family"] for entry in entries] == ["wave", "blend", "warp"]
    assert any(entry["sought"].startswith("blend triggers up to alpha 0.15") for entry in entries)
    assert in_words(entries)[-1] == "no search looked for triggers that are a patch or picture"


def test_a_race_for_each_source_says_that_it_sought_triggers_of_one_class() -> None:
    (entry,) = said(preset="race-sources")
    assert (entry["family"], entry["victims"]) == ("patch", 0)
    assert entry["sought"] == "patches of up to 16 pixels that turn images of one class only"


def test_a_search_for_less_near_the_middle_says_so() -> None:
    (entry,) = said(preset="race-mosaics")
    assert (entry["family"], entry["victims"]) == ("patch", 16)
    assert entry["sought"] == (
        "patch triggers up to share 0.0352 of the image's area, near the middle of the image of at most 5x5 pixels"
    )


def test_every_share_says_of_what() -> None:
    sought = {entry["family"]: entry["sought"] for entry in said()}
    assert sought["wave"] == "wave triggers up to amplitude 0.157 of the range of a pixel"
    assert sought["blend"] == "blend triggers up to alpha 0.15 of every pixel"
    assert sought["warp"] == "warp triggers up to shift 0.0938 of the image's shorter side, averaged over the pixels"
    assert sought["picture"] == "picture triggers up to alpha 0.3 of every pixel"


@pytest.mark.parametrize(
    ("settings", "pixels"),
    [
        ({"preset": "race", "rule": {"threshold": 0.5}}, "16 pixels"),
        ({"preset": "race", "search": {"largest_share": 1 / 256}}, "4 pixels"),
        ({"preset": "race", "rule": {"threshold": 1 / 256}}, "4 pixels"),
        ({"preset": "random-patch", "search": {"largest_side": 2}}, "4 pixels"),
        ({"preset": "annealing", "search": {"largest_side": 3}}, "9 pixels"),
        ({"preset": "race-sources", "search": {"race": {"largest_share": 1 / 256}}}, "4 pixels"),
    ],
    ids=str,
)
def test_no_larger_patches_are_named_than_were_searched(settings: dict[str, Any], pixels: str) -> None:
    assert said(**settings)[0]["sought"].startswith(f"patches of up to {pixels}")


def test_in_words() -> None:
    race, patch, *_ = in_words(said())
    assert race == (
        "race searched for patches of up to 16 pixels; of 24 such backdoors it missed 5 (9 to 40 %, measured on "
        "cifar10-tune, cifar10-tuning, cifar10-wide-tune)"
    )
    assert patch.endswith(
        "of 31 such backdoors it missed 22 (53 to 84 %, measured on cifar10-families-tune, cifar10-large-tune, "
        "cifar10-tune, cifar10-tuning, cifar10-wide-tune)"
    )
    (wide,) = [words for words in in_words(said(preset="race-wide")) if words.startswith("race-wide")]
    assert wide.endswith("; what share of such backdoors it misses is not measured")
    assert (
        in_words(said(preset="race"))[-1] == "no search looked for triggers that are a wave or blend or warp or picture"
    )
    assert in_words([]) == []


def test_the_ledger_says_what_the_fresh_run_says(tmp_path: Path) -> None:
    fresh = scanned(TemplateNet(), budget=3_000, db=tmp_path / "a.db")
    assert fresh.verdict == "clean"
    (entry,) = fresh.ruled_out or ()
    assert entry["sought"] == "patches of up to 16 pixels"
    again = scanned(TemplateNet(), budget=3_000, db=tmp_path / "a.db")
    stored = reads.result(tmp_path / "a.db", 1)
    assert stored is not None
    assert fresh.ruled_out == again.ruled_out == stored.ruled_out
    assert fresh.to_json()["ruled_out"] == [dict(entry)]
    text = render(gather(tmp_path / "a.db"))
    assert all(words in text for words in in_words(fresh.ruled_out or ()))


def test_no_other_verdict_says_it() -> None:
    found = scanned(TemplateNet(target=1), budget=3_000)
    short = scanned(TemplateNet(), budget=100)
    assert (found.verdict, found.ruled_out) == ("backdoored", None)
    assert (short.verdict, short.ruled_out) == ("undecided", None)
    assert scan(TemplateNet(), images=IMAGES, budget=20, search_images=32, verify_images=32).ruled_out is None
