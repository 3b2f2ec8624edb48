"""`simkit detectors`."""

from __future__ import annotations

import json

import pytest

from studies.cli.main import main


def test_the_table_says_what_each_may_reach(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["detectors"]) == 0
    table = {line.split()[0]: line.split() for line in capsys.readouterr().out.splitlines() if line.strip()}
    assert table["detector"] == ["detector", "weights", "clean_data", "queries", "names"]
    assert table["TABOR"][1:4] == ["yes", "yes", "-"]
    assert table["B3D"][1:4] == ["-", "yes", "yes"]


def test_programs_get_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["detectors", "--json"]) == 0
    rows = {row["title"]: row for row in json.loads(capsys.readouterr().out)["detectors"]}
    assert set(rows["B3D"]) == {"title", "names", "access", "weights", "clean_data", "queries"}
    assert rows["B3D"]["access"] == "QueryDataAccess"
    assert "b3d" in rows["B3D"]["names"]
