"""Which lines of `auto` hold for other lengths of its stages too."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer import BadParameter

from benchmarks.carried import NOTE, calibrated, carried, has_todays, main
from simkit.search.images import ScanImages
from simkit.search.presets import Preset, preset
from simkit.search.relay import Course, Relay
from studies.scan.canonical import digest
from studies.scan.config import ScanConfig
from studies.scan.probability import probability
from studies.study.result_file import append_line, read_lines
from studies.study.result_line import ResultLine
from tests.fakes import PlantedOracle, planted_images
from tests.simkit.search.scans import Scan
from tests.studies.results.table.made import lines

AUTO: dict[str, Any] = json.loads(json.dumps(ScanConfig.of({"data": "digits"}).identity()))
FIRST_TURNS = 1000 + 1200 + 1300 + 1300
SHAPE = (1, 24, 24)


def before(**changes: Any) -> ResultLine:
    """A detection by `auto` as it was: with longer stages, and without the last."""
    search = AUTO["search"] | {"queries": 2100}
    stages = [stage | {"search": stage["search"] | {"queries": 2500}} for stage in AUTO["stages"][:-1]]
    settings = AUTO | {"search": search, "stages": stages}
    (line,) = lines("b", config=settings, decision_queries=900, queries=1300, image_shape=(3, 32, 32))
    return line.model_copy(update={"detector": "auto", "notes": "refined"} | changes)


def test_a_detection_in_the_first_turns_is_one_of_todays_settings() -> None:
    line = before(decision_queries=FIRST_TURNS)
    kept = carried(line)
    assert kept is not None
    assert kept.config == AUTO
    assert kept.config_hash == digest(AUTO) != line.config_hash
    assert has_todays(kept)
    assert not has_todays(line)
    assert kept.notes == f"refined; {NOTE}"
    same = kept.model_copy(update={name: getattr(line, name) for name in ("config", "config_hash", "notes")})
    assert same == line


@pytest.mark.parametrize(
    "changes",
    [
        {"verdict": "clean"},
        {"verdict": "undecided"},
        {"decision_queries": FIRST_TURNS + 1},
        {"config": before().config | {"turns": {"ends": [900]}}},
        {"config": before().config | {"search": AUTO["search"] | {"queries": 999}}},
        {"config": before().config | {"search": AUTO["search"] | {"patches": 2}}},
        {"config": before().config | {"stages": [AUTO["stages"][1], AUTO["stages"][0]]}},
        {"config": {name: value for name, value in before().config.items() if name != "stages"}},
        {"image_shape": None},
        {"image_shape": (1, 8, 8), "decision_queries": 1000 + 1200 + 1},
    ],
    ids=lambda changes: next(reversed(changes)),
)
def test_what_might_differ_is_not_carried_over(changes: dict[str, Any]) -> None:
    assert carried(before(**changes)) is None


def test_a_line_that_is_carried_over_has_todays_probability() -> None:
    kept = carried(before(environment={"output": "logits"}, probability=0.123))
    assert kept is not None
    today = probability(AUTO, {"output": "logits"}, "backdoored", (3, 32, 32))
    assert today is not None
    assert calibrated(kept).probability == today.value != 0.123
    assert calibrated(before(environment={}, probability=0.123)).probability is None


def test_small_images_have_fewer_turns() -> None:
    assert carried(before(image_shape=(1, 8, 8), decision_queries=1000 + 1200)) is not None


def test_a_line_of_five_stages_with_other_lengths_is_carried_over_too() -> None:
    stages = [AUTO["stages"][0] | {"search": AUTO["stages"][0]["search"] | {"queries": 1200}}, *AUTO["stages"][1:]]
    kept = carried(before(config=AUTO | {"stages": stages}))
    assert kept is not None
    assert kept.config == AUTO


def test_every_line_goes_to_one_file(tmp_path: Path) -> None:
    given = [before(), before(index=1, verdict="clean"), before(index=2, detector="b3d"), before(index=3, config=AUTO)]
    for line in given:
        append_line(tmp_path / "given.jsonl", line)
    main(tmp_path / "given.jsonl", tmp_path / "out.jsonl", tmp_path / "rest.jsonl")
    out = read_lines(tmp_path / "out.jsonl")
    assert [(line.index, line.detector) for line in out] == [(0, "auto"), (2, "b3d"), (3, "auto")]
    assert [line.index for line in read_lines(tmp_path / "rest.jsonl")] == [1]
    with pytest.raises(BadParameter, match="is there already"):
        main(tmp_path / "given.jsonl", tmp_path / "out.jsonl")


def calls(chosen: Preset, cap: int | None = FIRST_TURNS) -> list[tuple[bytes, bytes]]:
    """What a scan asks a clean model, and its answers."""
    images = ScanImages(planted_images(48, image_shape=SHAPE, seed=1), planted_images(48, image_shape=SHAPE, seed=2))
    scan = Scan(PlantedOracle(image_shape=SHAPE), cap=cap)
    list(Relay(Course(chosen, 0, scan.cap), images, lambda: 4).run(scan.evaluator))
    assert cap is None or cap - 100 < scan.victim.images_seen <= cap
    return [(call.rows.tobytes(), np.asarray(call.answers).tobytes()) for call in scan.recorder.calls]


def test_the_first_turns_are_the_same_with_longer_stages_and_without_the_last() -> None:
    today = preset("auto")
    longer: Preset | None = None
    for stage in reversed(today.stages[:-1]):
        longer = replace(stage, search=replace(stage.search, queries=2500), then=longer)  # type: ignore[type-var]
    assert longer is not None
    assert calls(longer) == calls(today)


@pytest.mark.parametrize("number", range(4))
def test_a_longer_race_begins_as_the_shorter_one(number: int) -> None:
    """So that `benchmarks/coverage.py` may count its lines."""
    stage = replace(preset("auto").stages[number], turns=None, then=None, refine=None)
    shorter, longer = (
        calls(replace(stage, search=replace(stage.search, queries=queries)), cap=None)  # type: ignore[type-var]
        for queries in (700, 1000)
    )
    assert 10 < len(shorter) < len(longer)
    assert longer[: len(shorter)] == shorter
