"""The training benchmark on digits: a line a recipe, with figures that belong together."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer import BadParameter

from benchmarks import training
from benchmarks.training import Recipe
from tests.threads import one_torch_thread


def test_a_recipe_that_there_is_not_is_told() -> None:
    with pytest.raises(BadParameter, match="99: choose from 0; 1"):
        training.main(data="digits", only=[0, 99])


def test_each_recipe_has_its_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(training, "RECIPES", (Recipe("flat", 200, 2), Recipe("conv4", None, 1), Recipe("flat", 9, 1)))
    out = tmp_path / "results" / "training.jsonl"
    with one_torch_thread():
        training.main(data="digits", only=[0, 1], seed=0, out=out)
    first, second = map(json.loads, out.read_text().splitlines())
    assert (first["network"], first["images"], first["epochs"]) == ("flat", 200, 2)
    assert (second["network"], second["epochs"]) == ("conv4", 1)
    assert second["images"] > 200
    assert 400 / first["images_per_second"] == pytest.approx(first["cpu_seconds"], abs=0.06)  # rounded to 0.1
    assert "images_per_second" in capsys.readouterr().out
