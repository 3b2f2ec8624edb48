"""`simkit demo`: only right verdicts, and the second time no model is trained or asked."""

from __future__ import annotations

import contextlib
import io
import json
import re
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from db.check import check
from studies.cli.demo_scans import SERVICES
from studies.cli.main import main

pytestmark = pytest.mark.timeout(900)  # the first one makes the demo, which takes minutes where others share the cores


@pytest.fixture(scope="module")
def scans(demo_folder: Path) -> list[dict[str, Any]]:
    """What the demo says when it is run a second time, in which no model is trained and none is asked."""

    def forbidden(*_args: object, **_settings: object) -> None:
        raise AssertionError("trained or asked a second time")

    printed = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(printed):
        patch.setattr("simkit.zoo.workshop.train", forbidden)
        patch.setattr("oracles.torch_model.TorchOracle.query", forbidden)
        assert main(["demo", "--out", str(demo_folder), "--json"]) == 0
    told: list[dict[str, Any]] = json.loads(printed.getvalue())["scans"]
    return told


@pytest.mark.slow
@pytest.mark.process
def test_every_verdict_is_right_and_nothing_is_done_twice(scans: list[dict[str, Any]]) -> None:
    assert [scan["oracle"] for scan in scans] == ["scores", "top3", "label", "noisy"] * 4
    trained = [scan["trained_with"] for scan in scans[::4]]
    assert trained == ["a 3x3 patch", "a wave", "a warp", "no trigger"]
    for scan in scans:
        truth = [] if scan["truth"] == "clean" else [int(scan["truth"].removeprefix("class "))]
        assert scan["flagged"] == truth
        assert scan["verdict"] == ("backdoored" if truth else "clean")
        assert (scan["truth"] == "clean") == (scan["trained_with"] == "no trigger")


@pytest.mark.slow
@pytest.mark.process
def test_the_table_has_the_services_beside_each_other_and_the_pages_are_named(
    demo_folder: Path, scans: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    spent: dict[str, dict[str, int]] = defaultdict(dict)
    for scan in scans:
        spent[scan["trained_with"]][scan["oracle"]] = scan["queries"]
    assert main(["demo", "--out", str(demo_folder)]) == 0
    printed = capsys.readouterr().out
    for trained, queries in spent.items():
        (row,) = (line for line in printed.splitlines() if line.strip().startswith(trained))
        assert re.findall(r": ([\d,]+)", row) == [f"{queries[oracle]:,}" for oracle in SERVICES]
    for page in ("demo.html", "triggers.html"):
        assert str(demo_folder / page) in printed


@pytest.mark.slow
@pytest.mark.process
def test_the_report_shows_every_scan_and_the_gallery_each_family_beside_what_was_reversed(demo_folder: Path) -> None:
    assert (demo_folder / "demo.html").read_text().count('<details class="run">') == 16
    triggers = (demo_folder / "triggers.html").read_text()
    assert triggers.count('<article class="victim">') == 3
    assert triggers.count("<strong>auto, ") == 12
    for family in ("patch", "wave", "warp"):
        assert f"A {family} of " in triggers
    assert triggers.count("original arrows, x") == 1


@pytest.mark.slow
@pytest.mark.process
def test_ledger_and_picture_are_whole(demo_folder: Path) -> None:
    assert check(demo_folder / "demo.db") == []
    with Image.open(demo_folder / "demo.png") as picture:
        picture.load()
        assert min(picture.size) > 800


def test_a_folder_below_a_file_ends_with_5_and_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("mine")
    for args in (["demo"], ["zoo", "make", "--set", "data=digits", "--set", "split=tune", "--set", "models=1"]):
        assert main([*args, "--out", str(tmp_path / "file" / "below")]) == 5
        assert capsys.readouterr().err.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
