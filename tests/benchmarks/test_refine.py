"""The lines about refinement: a victim that was found has the patch and both refined ones, within their queries."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.refine import SETTINGS, main

KEPT = Path(__file__).resolve().parents[2] / "results" / "refine.jsonl"


def test_the_kept_lines_stay_within_their_queries_and_better_the_success() -> None:
    lines = [json.loads(line) for line in KEPT.read_text(encoding="utf-8").splitlines()]
    found = [line for line in lines if line["verdict"] == "backdoored"]
    assert all(line["500"]["queries"] <= 500 for line in found)
    before, few = (sum(line[name]["success"] for line in found) for name in ("found", "500"))
    assert few > before


@pytest.mark.slow
def test_a_victim_of_digits_makes_a_line(zoo: Path, tmp_path: Path) -> None:
    main(zoo, "digits", tmp_path / "lines.jsonl", seeds=1)
    for line in map(json.loads, (tmp_path / "lines.jsonl").read_text(encoding="utf-8").splitlines()):
        assert ("found" in line) == (line["verdict"] == "backdoored")
        assert not line.get("found") or SETTINGS.keys() <= line.keys()
