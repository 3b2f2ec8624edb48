"""`simkit env`: what it prints, and how it ends."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from studies.cli.main import main

SMALL = (
    *("-s", "search_images=32", "-s", "verify_images=32", "-s", "arms.check_images=16"),
    *("-s", "arms.classes.steps=10", "-s", "arms.classes.samples=10", "-s", "arms.shared.queries=200"),
)


@pytest.mark.slow
def test_a_zoo_is_recorded_and_the_second_time_it_is_there(
    demo_victims: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["env", "record", str(demo_victims / "zoo"), "--out", str(tmp_path / "arms"), *SMALL]
    assert main(command) == 0
    assert "2 recorded" in capsys.readouterr().out
    assert main([*command, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"recorded": 0, "there": 2, "busy": 0, "failed": 0, "queries": 0}
    assert main([*command, "-s", "arms.batch=4"]) == 1
    assert "another --out" in capsys.readouterr().err


def test_bad_settings_are_usage_and_make_no_folder(
    demo_victims: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "arms"
    for setting in ("arms.nonsense=1", "preset=race", "arms=3"):
        assert main(["env", "record", str(demo_victims / "zoo"), "--out", str(out), "-s", setting]) == 2
        assert capsys.readouterr().err.count("\n") == 1
    assert not out.exists()
