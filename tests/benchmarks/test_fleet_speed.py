"""The speed of a zoo's scans: as many images reach the bare oracle as the ledgers count, and the sums are sums."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from benchmarks import fleet_speed
from benchmarks.fleet_speed import Timed, main, send, summary
from oracles.budget import Budget
from oracles.meter import Metered
from oracles.oracle import Oracle
from tests.threads import one_torch_thread


def test_the_bare_oracle_answers_as_many_images_as_the_scans_asked(
    zoo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sent, out = list[list[int]](), tmp_path / "results" / "speed.jsonl"

    def counted(oracle: Oracle, images: torch.Tensor, batches: Sequence[int]) -> None:
        send(Metered(oracle, budget := Budget(None)), images, batches)
        sent.append([budget.spent, len(batches)])

    monkeypatch.setattr(fleet_speed, "send", counted)
    with one_torch_thread():
        main(zoo, "digits", detector="random-patch", budget=500, indices="0", out=out)
    (line,) = map(json.loads, out.read_text().splitlines())
    assert sent == 2 * [[line["queries"], line["calls"]]]  # the first victim is scanned once before
    assert 0 < line["calls"] < line["queries"] == line["each"][0]["queries"] <= 500
    assert "times the bare oracle" in capsys.readouterr().out


def test_the_ratio_is_that_of_the_sums() -> None:
    of_two = summary([Timed("clean", 100, 2, 3.0, 2.0, 1.0, 0.5), Timed("backdoored", 20, 1, 1.0, 1.0, 1.0, 0.5)])
    assert {
        name: of_two[name] for name in ("models", "queries", "calls", "ratio", "wall_ratio", "models_per_minute")
    } == {
        **{"models": 2, "queries": 120, "calls": 3, "ratio": 3.0, "wall_ratio": 2.0},
        "models_per_minute": 30.0,
    }
