"""`simkit demo`: only right verdicts, and the second time no model is trained or asked."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from db.check import check
from studies.cli.main import main


def test_every_verdict_is_right_and_nothing_is_done_twice(
    demo_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def forbidden(*_args: object, **_settings: object) -> None:
        raise AssertionError("trained or asked a second time")

    monkeypatch.setattr("simkit.zoo.workshop.train", forbidden)
    monkeypatch.setattr("oracles.torch_model.TorchOracle.query", forbidden)
    assert main(["demo", "--out", str(demo_folder), "--json"]) == 0
    scans = json.loads(capsys.readouterr().out)["scans"]
    assert [scan["oracle"] for scan in scans] == ["scores", "scores", "top3", "label", "noisy"] * 2
    assert [scan["preset"] for scan in scans] == ["b3d", *["random-patch"] * 4] * 2
    for scan in scans:
        truth = [] if scan["truth"] == "clean" else [int(scan["truth"].removeprefix("class "))]
        assert scan["flagged"] == truth
        assert scan["verdict"] == ("backdoored" if truth else "clean")
    assert {scan["truth"] == "clean" for scan in scans} == {True, False}


def test_ledger_and_picture_are_whole(demo_folder: Path) -> None:
    assert check(demo_folder / "demo.db") == []
    with Image.open(demo_folder / "demo.png") as picture:
        picture.load()
        assert min(picture.size) > 300


def test_a_folder_below_a_file_ends_with_5_and_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("mine")
    for args in (["demo"], ["zoo", "make", "--set", "data=digits", "--set", "split=tune", "--set", "models=1"]):
        assert main([*args, "--out", str(tmp_path / "file" / "below")]) == 5
        assert capsys.readouterr().err.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
