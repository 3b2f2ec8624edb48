"""What a scan says of itself while it is under way."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from simkit.search.costs import full_length
from studies.scan import ScanResult, scan
from studies.scan.config import ScanConfig
from tests.studies.scan.test_staged_scan import STAGED, scanned_in_stages
from tests.studies.scans import IMAGES, SETTINGS, TemplateNet, scanned

Told: TypeAlias = tuple[int, int | None, str]


def told_by(monkeypatch: pytest.MonkeyPatch, run: Callable[..., ScanResult]) -> tuple[ScanResult, list[Told]]:
    told: list[Told] = []
    monkeypatch.setattr("studies.scan.run._TELL_SECONDS", 0.0)
    return run(progress=lambda *now: told.append(now)), told


def test_the_end_is_that_of_the_search_where_the_budget_is_larger(monkeypatch: pytest.MonkeyPatch) -> None:
    result, told = told_by(monkeypatch, lambda **more: scanned(TemplateNet(), budget=10**9, **more))
    length = full_length(ScanConfig.of({"preset": "random-patch"} | SETTINGS).resolved(), 4)
    assert length is not None
    ends = {end for _, end, _ in told}
    assert len(ends) == 1
    assert length < min(end or 0 for end in ends) < length + 200
    assert result.verdict == "clean"
    assert result.spent <= max(end or 0 for end in ends)


def test_the_end_is_the_budget_where_that_is_smaller(monkeypatch: pytest.MonkeyPatch) -> None:
    _, told = told_by(monkeypatch, lambda **more: scanned(TemplateNet(), budget=60, **more))
    assert {end for _, end, _ in told} == {60}


def test_every_stage_has_its_name_and_its_own_end(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    budget = 10**6
    result, told = told_by(monkeypatch, lambda **more: scanned_in_stages(tmp_path / "a.db", budget=budget, **more))
    assert "class 3 refined from" in result.notes
    stages = [(name, list(now)) for name, now in itertools.groupby(told, lambda one: one[2].partition(",")[0])]
    names = ["Race (stage 1 of 2)", "Race (stage 2 of 2)", "refining the trigger"]
    assert [name for name, _ in stages] == names
    preset = ScanConfig.of({"preset": STAGED}).resolved()
    for (_, now), own in zip(stages, (replace(preset, then=None), preset.stages[1]), strict=False):
        first, ends = now[0][0], {end for _, end, _ in now}
        assert all(done <= (end or 0) < budget for done, end, _ in now)
        assert len(ends) <= 2  # the last step may go a few queries beyond
        assert max(end or 0 for end in ends) - first <= (full_length(own, 4) or 0) + 200
    refining = stages[-1][1]
    assert refining[-1][0] <= (refining[-1][1] or 0) <= refining[0][0] + 1_300 + 2 * 16


def test_the_stages_of_auto_are_called_by_their_presets(monkeypatch: pytest.MonkeyPatch) -> None:
    settings: dict[str, Any] = {
        "preset": "auto",
        "search_images": 56,
        "verify_images": 56,
        "budget": 1_200,
        "name": "planted",
    }
    _, told = told_by(monkeypatch, lambda **more: scan(TemplateNet(), images=IMAGES, **settings, **more))
    assert {note.partition(",")[0] for _, _, note in told} == {
        "race (stage 1 of 2)",
        "race-families (stage 2 of 2)",
    }
