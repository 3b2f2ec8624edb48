"""The lines about defences with training data or clean images: kept ones agree with themselves, victims make them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.access import CLUSTERING, lines_of, main

KEPT = Path(__file__).resolve().parents[2] / "results" / "access.jsonl"


def test_the_kept_lines_agree_with_themselves() -> None:
    lines = list(lines_of(KEPT))
    assert {line["method"] for line in lines} == {*CLUSTERING, "fine-pruning"}
    assert len({(line["zoo"], line["index"], line["method"]) for line in lines}) == len(lines)
    for line in lines:
        if line["method"] in CLUSTERING:
            assert line["found"] <= min(line["suspected"], line["poisoned"])
            assert (line["verdict"] == "backdoored") == bool(line["flagged"]) == (line["suspected"] > 0)
            assert (line["poisoned"] > 0) == (line["truth"] == "backdoored")
        else:
            assert 0 <= line["channels_pruned"] < line["channels"]
            assert (line["asr"]["after"] is None) == (line["truth"] == "clean")


@pytest.mark.slow
def test_victims_of_digits_make_lines_once(zoo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.access.HELD_OUT", 100)
    monkeypatch.setattr("benchmarks.access.CLEAN", 200)
    out = tmp_path / "lines.jsonl"
    main(zoo, "digits", out, "0")
    lines = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    assert [line["method"] for line in lines] == [*CLUSTERING, "fine-pruning"]
    assert all(line["seconds"] >= 0 and line["environment"] for line in lines)
    main(zoo, "digits", out, "0")
    assert len(out.read_text(encoding="utf-8").splitlines()) == 3
