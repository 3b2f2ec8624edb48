"""`simkit data`: what a source holds, before a scan is paid for."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from studies.cli.main import main
from tests.simkit.data.pictures import picture, save, save_classes

FEW = ["--set", "search_images=3", "--set", "verify_images=2"]


def test_a_source_is_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_classes(tmp_path / "test", {"cat": 4, "ant": 4})
    assert main(["data", "show", str(tmp_path), *FEW]) == 0
    shown = capsys.readouterr().out
    for words in ("a folder of images", "3 x 4 x 5 (channels, height, width)", "2: ant (", "for training: "):
        assert words in shown
    assert "problem" not in shown


def test_the_images_of_the_scan_are_read_or_all(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(7):
        save(tmp_path / f"{number}.png", picture(number))
    for more, read in (([], 5), (["--all"], 7)):
        assert main(["data", "show", str(tmp_path), "--json", *FEW, *more]) == 0
        told = json.loads(capsys.readouterr().out)
        assert (told["read"], told["test"], told["labelled"], told["problems"]) == (read, 7, False, [])


@pytest.mark.parametrize(("height", "settings", "said"), [(9, FEW, "image_size="), (4, [], "1 test images")])
def test_what_keeps_a_scan_from_it_ends_with_4(
    tmp_path: Path, height: int, settings: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    save(tmp_path / "0.png", picture(0))
    if height != 4:
        save(tmp_path / "1.png", picture(1, height))
    assert main(["data", "show", str(tmp_path), *settings]) == 4
    shown = capsys.readouterr().out
    assert "problem: " in shown
    assert said in shown


def test_no_source_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "show", str(tmp_path / "none")]) == 4
    error = capsys.readouterr().err
    assert error.startswith("simkit: error: ")
    assert error.count("\n") == 1
