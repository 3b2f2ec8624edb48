"""`simkit detectors`."""

from __future__ import annotations

import json

import pytest

from studies.cli.main import main


def test_the_table_says_what_each_may_reach(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["detectors"]) == 0
    table = {line.split()[0]: line.split() for line in capsys.readouterr().out.splitlines() if line.strip()}
    flags = ["weights", "training_data", "clean_data", "queries"]
    assert table["detector"] == ["detector", "stage", *flags, "gives", "names"]
    assert table["TABOR"][1:7] == ["inference", "yes", "-", "yes", "-", "verdict"]
    assert table["B3D"][1:7] == ["inference", "-", "-", "yes", "yes", "verdict"]
    assert table["Activation"][2:8] == ["training", "yes", "yes", "-", "-", "verdict"]
    assert table["Fine-pruning"][1:7] == ["training", "yes", "-", "yes", "-", "model"]


def test_programs_get_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["detectors", "--json"]) == 0
    rows = {row["title"]: row for row in json.loads(capsys.readouterr().out)["detectors"]}
    flags = {"weights", "training_data", "clean_data", "queries"}
    assert set(rows["B3D"]) == {"title", "names", "access", "stage", "gives"} | flags
    assert rows["B3D"]["access"] == "QueryDataAccess"
    assert "b3d" in rows["B3D"]["names"]
