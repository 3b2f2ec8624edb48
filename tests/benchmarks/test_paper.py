"""The script for a GPU on a CPU, in this process: a line a scan, an end when the time is up, and no scan twice."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer

from benchmarks import paper
from benchmarks.paper import DETECTORS, limited, main
from simkit.errors import ConfigError
from simkit.zoo.manifest import Manifest, Victim
from simkit.zoo.zoo import make
from studies.study.unit import Outcome
from tests.threads import one_torch_thread

TINY = ["train.epochs=1", 'architectures=["flat"]', "train.train_images=200", "held_out=100", "required_success=0"]


def _run(folder: Path, **options: Any) -> None:
    given: dict[str, Any] = {
        "device": "cpu",
        "models": 2,
        "trainers": 1,
        "scanners": 1,
        "budget": 300,
        "settings": TINY,
    }
    with one_torch_thread():
        main("digits", folder / "lines.jsonl", minutes=1.0, folder=folder, **(given | options))


def _lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "lines.jsonl").read_text().splitlines()]


def test_the_same_command_goes_on_when_the_time_was_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def cut_short(spec: Any, out: Path, progress: Callable[[Victim], None], workers: int) -> Any:
        def then_time_is_up(victim: Victim) -> None:
            progress(victim)
            signal.raise_signal(signal.SIGINT)

        return make(spec, out, then_time_is_up, workers)

    monkeypatch.setattr(paper, "make", cut_short)
    _run(tmp_path)
    first = _lines(tmp_path)
    assert [(line["detector"], line["config"]["oracle"]["label_only"]) for line in first] == [
        (name, labels) for labels in (False, True) for name in DETECTORS
    ]
    assert "1 of 2 victims" in capsys.readouterr().out
    monkeypatch.setattr(paper, "make", make)
    _run(tmp_path)
    lines, victims = _lines(tmp_path), Manifest.load(tmp_path / "zoo").victims
    assert lines[: len(first)] == first
    assert [line["index"] for line in lines] == [0] * 6 + [1] * 6
    assert {victim.truth for victim in victims} == {"clean", "backdoored"}
    said = capsys.readouterr().out.splitlines()
    named = [line.partition(" s ")[2].partition(":")[0].split() for line in said[:2]]
    assert named == [[str(victim.index), victim.stratum] for victim in victims]
    assert all(f"{name} by {by}" in line for line in said[:2] for name in DETECTORS for by in ("scores", "labels"))
    assert "2 of 2 victims" in said[2]
    assert "all of them are scanned" in said[2]


def test_settings_that_no_scan_takes_are_told_before_anything_is_trained(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="budget"):
        _run(tmp_path, budget=0)
    assert not (tmp_path / "zoo").exists()


def test_a_scan_that_fails_is_told_and_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(paper, "scan_unit", lambda unit: Outcome(unit, "failed", messages=("no memory",)))
    with pytest.raises(typer.Exit):
        _run(tmp_path, models=1)
    said = capsys.readouterr()
    assert "without 6 scans" in said.out
    assert "error: auto on victim 0: no memory" in said.err


def test_the_time_ends_what_is_under_way() -> None:
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt), limited(0.05):
        time.sleep(30.0)
    assert time.monotonic() - began < 20.0
