"""`simkit bench` measures what it says; how fast this machine is, is nobody's test."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from db import reads
from studies.cli import bench_memory
from studies.cli.bench_ratios import Bench, Measured, bench
from studies.cli.main import main

TINY = Bench(images=128, pairs=1, scan_steps=1, recorded=1000)


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("studies.cli.bench_ratios.QUICK", TINY)
    monkeypatch.setattr("studies.cli.bench_ratios._peak_of", lambda queries: {100: 100_000, 1000: 120_000}[queries])


def test_every_ratio_is_measured_with_its_bar(tiny: None) -> None:
    found = list(bench(TINY, "digits"))
    assert [(m.bar, m.at_least) for m in found] == [(4.0, True), (4.0, True), (0.9, True), (0.6, True), (1.1, False)]
    assert all(m.ratio > 0.0 for m in found)
    assert found[-1].ratio == pytest.approx(1.2)
    assert not found[-1].passed


@pytest.mark.parametrize(("ratio", "at_least", "passed"), [(2.0, True, True), (1.9, True, False), (1.9, False, True)])
def test_a_bar_is_passed_from_its_side(ratio: float, at_least: bool, passed: bool) -> None:
    assert Measured("", ratio, 2.0, at_least, "").passed is passed


def test_only_strict_fails(tiny: None, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "--quick", "--json", "--data", "digits"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert len(told["ratios"]) == 5
    assert told["passed"] is False
    assert main(["bench", "--quick", "--strict", "--data", "digits"]) == 1


def test_memory_is_measured_over_what_a_ledger_took(tmp_path: Path) -> None:
    bench_memory.record(2_000, tmp_path / "memory.db")
    assert len(reads.queries(tmp_path / "memory.db")) == 2_000
    assert bench_memory.peak() > 10_000
