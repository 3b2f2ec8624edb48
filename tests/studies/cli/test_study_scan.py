"""`simkit study scan` over the demo's two victims."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from simkit.zoo.manifest import Manifest
from studies.cli.main import main
from studies.cli.scan_progress import _words
from studies.study.result_file import read_lines
from studies.study.unit import scan_unit
from tests.studies.study.detectors import HERE
from tests.studies.study.studies import study_of, units

IMAGES = ("--set", "search_images=32", "--set", "verify_images=32")


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SIMKIT_HOME", str(tmp_path / "home"))


@pytest.fixture
def zoo(demo_victims: Path) -> str:
    return str(demo_victims / "zoo")


def study(zoo: str, *args: str, detector: str = "ASKS") -> int:
    return main(["study", "scan", zoo, "--detector", f"{HERE}:{detector}", "--out", "r.jsonl", *IMAGES, *args])


def test_every_victim_is_scanned_once(zoo: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert study(zoo, "--limit", "1") == 0
    assert re.search(r": clean, (right|wrong), 64 queries, [\d.]+ s\n1 scanned\n$", capsys.readouterr().out)
    assert study(zoo) == 0
    assert capsys.readouterr().out.endswith("\n1 scanned, 1 scanned before\n")
    assert study(zoo) == 0
    assert capsys.readouterr().out == "2 scanned before\n"
    assert [line.index for line in read_lines(Path("r.jsonl"))] == [0, 1]
    assert len(list((tmp_path / "home" / "studies" / "demo").glob("*.db"))) == 2


def test_a_line_says_who_found_what_and_whether_it_is_so(zoo: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert study(zoo, "--ledgers", "here") == 0
    told = capsys.readouterr().out.splitlines()
    truths = [victim.truth for victim in Manifest.load(zoo).victims]
    for line, truth, index in zip(told, truths, (0, 1), strict=False):
        assert line.split()[0] == str(index)
        assert f"{HERE}:ASKS: clean, {'right' if truth == 'clean' else 'wrong'}, 64 queries, " in line
    assert len(list(Path("here").glob("*.db"))) == 2


def test_programs_get_one_object(zoo: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert study(zoo, "--indices", "1", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert {name: told[name] for name in ("scanned", "there", "busy", "failed")} == {
        **{"scanned": 1, "there": 0, "busy": 0, "failed": 0},
    }
    assert [(line["index"], line["queries"]) for line in told["lines"]] == [(1, 64)]


def test_scans_that_fail_are_told_at_the_end(zoo: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("fail").touch()
    assert study(zoo, "--detector", f"{HERE}:ASKS", detector="FAILS") == 1
    out, err = capsys.readouterr()
    assert out.endswith("\n2 scanned, 2 failed\n")
    assert err.splitlines() == [
        f"simkit: error: {HERE}:FAILS on victim {index}: this detector fails" for index in (0, 1)
    ]
    assert {line.detector for line in read_lines(Path("r.jsonl"))} == {f"{HERE}:ASKS"}


def test_programs_are_told_what_failed(zoo: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("fail").touch()
    assert study(zoo, "--limit", "1", "--json", detector="FAILS") == 1
    told = json.loads(capsys.readouterr().out)
    assert (told["failed"], told["lines"]) == (1, [])
    assert told["failures"] == [{"index": 0, "detector": f"{HERE}:FAILS", "error": "this detector fails"}]


def test_what_a_scan_warns_of_is_told_once(zoo: str, capsys: pytest.CaptureFixture[str]) -> None:
    args = ["study", "scan", zoo, "--detector", "random-patch", "--out", "r.jsonl", "--budget", "500", *IMAGES]
    assert main(args) == 0
    assert capsys.readouterr().err.count("simkit: warning: patches of 4x4") == 1


def test_settings_of_the_zoo_are_the_scans_and_may_be_changed(zoo: str) -> None:
    assert study(zoo, "--limit", "1", "--budget", "70", "--oracle", "label", "--set", "seed=4") == 0
    (line,) = read_lines(Path("r.jsonl"))
    assert (line.config["budget"], line.config["seed"], line.config["oracle"]["label_only"]) == (
        70,
        "4, by victim",
        True,
    )
    assert study(zoo, "--limit", "1", "--budget", "70", "--set", "seed=4", "--same-images") == 0
    assert read_lines(Path("r.jsonl"))[1].config["seed"] == 4
    assert study(zoo, "--limit", "1", "--data", "no-such.npz") == 4


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        (("--indices", "5"), 2, "no such victims; it has 0, 1"),
        (("--detector", "no-such"), 2, "no detector 'no-such'"),
        (("--set", "no_such=1"), 2, "no_such"),
        (("--set", "search.samples=3"), 2, "has no setting search"),
        (("--budget", "0"), 2, "budget"),
        (("--out", "/dev/null/r.jsonl"), 5, "/dev/null is a file; name another folder"),
        (("--ledgers", "/dev/null"), 5, "is a file; name another folder"),
    ],
)
def test_what_is_wrong_is_told_and_nothing_is_asked(
    args: tuple[str, ...], code: int, said: str, zoo: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert study(zoo, *args) == code
    err = capsys.readouterr().err
    assert said in err
    assert err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_weights_are_no_service(zoo: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    args = ["--detector", "neural-cleanse-quick", "--oracle", "label", "--out", "r.jsonl"]
    assert main(["study", "scan", zoo, *args]) == 2
    assert "is white-box and queries no service; leave --oracle out" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_right_verdict_for_another_class_is_told_as_such(demo_victims: Path, tmp_path: Path) -> None:
    unit = units(study_of(demo_victims / "zoo", tmp_path), f"{HERE}:ASKS")[1]
    line = scan_unit(unit).line
    assert line is not None
    found = {"verdict": "backdoored", "truth": "backdoored", "target_classes": (1,)}
    for flagged, said in (((1, 2), "right, 64 queries"), ((3,), "right, for another class, 64 queries")):
        assert said in _words(line.model_copy(update=found | {"flagged": flagged}), "it")


def test_a_zoo_in_the_making_is_scanned_unless_it_is_to_be_complete(
    zoo: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = Manifest.load(zoo)
    half = manifest.model_copy(update={"victims": manifest.victims[:1]})
    (tmp_path / "half").mkdir()
    half.save(tmp_path / "half")
    (tmp_path / "half" / "0000.safetensors").write_bytes((Path(zoo) / "0000.safetensors").read_bytes())
    assert study("half", "--only-complete") == 2
    assert "has only 1 of 2 victims" in capsys.readouterr().err
    assert study("half") == 0
    assert study(zoo, "--only-complete") == 0
    assert [line.index for line in read_lines(Path("r.jsonl"))] == [0, 1]
