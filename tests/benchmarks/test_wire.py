"""The benchmark of wire formats measures every format at each batch that it carries."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import wire
from oracles.wire.registry import NAMES


@pytest.mark.process
def test_every_format_has_its_rows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "results" / "wire.jsonl"
    wire.main(seconds=0.001, out=out)
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert {row["format"] for row in rows} == set(NAMES)
    assert [row["batch"] for row in rows if row["format"] == "oip"] == [1, 16, 128]
    assert [row["batch"] for row in rows if row["format"] == "hf"] == [1]
    assert all(row["server"] > 0 and row["caller"] > 0 for row in rows)
    assert "rekognition" in capsys.readouterr().out
