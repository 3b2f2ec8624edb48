"""Detectors side by side on one victim."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import race_variants, side_by_side
from simkit.search.presets import Preset
from simkit.zoo.spec import ZooSpec
from simkit.zoo.zoo import make


def test_a_row_for_each_detector_that_asks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec = {"name": "tiny", "data": "digits", "split": "tune", "models": 1, "clean_share": 1.0}
    make(ZooSpec.of(spec | {"train": {"epochs": 1, "train_images": 200}}), tmp_path / "zoo")
    out = tmp_path / "results" / "side.jsonl"
    only = ["race", "random-patch", "k-arm"]
    side_by_side.main(f"{tmp_path / 'zoo'}:0", data="digits", budget=600, only=only, out=out)
    (line,) = map(json.loads, out.read_text().splitlines())
    assert {row["detector"] for row in line["detectors"]} == set(only)
    assert all(0 < row["queries"] <= 600 and row["seconds"] >= 0 for row in line["detectors"])
    assert "images per second" in capsys.readouterr().out


def test_each_variant_differs_from_the_others_in_what_it_says() -> None:
    variants = {name: value for name, value in vars(race_variants).items() if isinstance(value, Preset)}
    stages = {name: variants.pop(name) for name in [*variants] if name.startswith(("FIRST", "SMALL", "ROUNDS"))}
    searches = [variant.search for name, variant in variants.items() if name not in ("RACE", "AUTO")]
    assert len(set(map(repr, searches))) == len(searches) == 9
    assert len(set(map(repr, stages.values()))) == len(stages) == 9
