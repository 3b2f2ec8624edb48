"""The check that attacks implant tells every one of them, failures too."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import attacks as benchmark
from simkit.attacks.registry import ATTACKS, attack_to_json


def test_every_kind_of_attack_is_tried() -> None:
    tried = {attack_to_json(attack)["kind"] for attack in benchmark.attacks((3, 32, 32), 0).values() if attack}
    assert tried == set(ATTACKS)


def test_each_gets_a_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "results" / "attacks.jsonl"
    only = ["clean", "badnets 3x3", "source-specific", "several: two badnets 3x3"]
    benchmark.main("digits", train_images=300, epochs=1, only=only, out=out)
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert [line["attack"] for line in lines] == only
    assert [line["poisoned"] > 0 for line in lines] == [False, True, True, True]
    assert lines[0]["success"] is None
    assert all(0.0 <= line["success"] <= 1.0 for line in lines[1:])
    assert 0.0 <= lines[2]["elsewhere"] <= 1.0
    assert len(lines[3]["parts"]) == 2
    assert "badnets 3x3" in capsys.readouterr().out
