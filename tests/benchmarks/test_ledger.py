"""The benchmark of a large ledger, on a small one: what it stores is sound, and its line says what was measured."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import db
from benchmarks import ledger
from db.check import check


def test_a_line_tells_every_figure(tmp_path: Path) -> None:
    out = tmp_path / "results" / "ledger.jsonl"
    out.parent.mkdir()
    out.write_text("{}\n")
    ledger.main(1000, out, tmp_path)
    first, line = (json.loads(line) for line in out.read_text().splitlines())
    assert (first, line["queries"]) == ({}, 1000)
    assert line["bytes_per_query"] == round(line["bytes"] / 1000, 2)
    assert {"write", "db check", "export to Parquet", "report"} <= set(line["seconds_and_cpu"])
    assert [path.name for path in tmp_path.iterdir()] == ["results"]


def test_what_is_stored_is_what_was_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "ledger.db"
    monkeypatch.setattr(ledger, "SCAN", 600)
    ledger.write(path, 850)
    assert check(path) == []
    stored = db.open(path)
    assert stored.runs()["spent"].tolist() == [600, 250]
    answers = stored.answers(2)
    assert answers.shape == (250, ledger.CLASSES)
    assert len({row.tobytes() for row in answers}) == 250
    assert stored.curve(2)["class"].tolist() == [0, 1]
