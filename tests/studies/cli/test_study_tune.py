"""`simkit study tune` on the demo's two victims."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from db.stored import StoredRun
from studies.cli.main import main
from studies.study.study_file import StudyFile
from tests.studies.tune.files import HEAD, TUNE, tune_zoo, written

pytestmark = pytest.mark.slow


@pytest.fixture
def file(demo_victims: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    tune_zoo(demo_victims, tmp_path)
    head = HEAD.replace("600", "450").replace("[0, 1]", "[0]")
    return str(written(tmp_path, head=head, tune=TUNE.replace("trials = 4", "trials = 2")))


def tune(file: str, *args: str, at: str = "450") -> int:
    return main(["study", "tune", file, *(["--at", at] if at else []), *args])


def test_the_same_command_goes_on_and_tells_the_best(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert tune(file, "--trials", "1") == 0
    first = capsys.readouterr().out
    own = r"search\.largest_side=4 search\.required_success=0\.65"
    assert re.search(rf"^   0  AUROC [\d.]+, \d+ queries per scan, {own}$", first, re.MULTILINE)
    assert "small-at-450-seed-0: 1 complete; each AUROC is of 1 backdoored and 1 clean scans\n" in first
    assert tune(file) == 0
    assert re.match(r"   1  AUROC [\d.]+( when pruned)?, ", capsys.readouterr().out)
    assert tune(file, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert [one["trial"] for one in told["trials"]] == [0, 1]
    assert told["best"] in ([0], [1])
    assert told["folder"].endswith("/tune/small-at-450-seed-0")


def test_the_best_settings_feed_a_scan_and_a_study(
    file: str, tmp_path: Path, demo_victims: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert tune(file, "--best", "out.toml") == 5
    assert "nothing was tuned yet" in capsys.readouterr().err
    assert tune(file, "--trials", "1") == 0
    assert tune(file, "--best", "out.toml", "--show") == 0
    assert "small-at-450-seed-0: 1 complete" in capsys.readouterr().out
    report = f'name = "after"\nsplit = "report"\n[[zoos]]\nfolder = "{demo_victims / "zoo"}"\n'
    (tmp_path / "after.toml").write_text(f'{report}[[detectors]]\nname = "random-patch"\nsettings_file = "out.toml"\n')
    (cell,) = StudyFile.load("after.toml").cells()
    assert cell.method.name == "random-patch"
    assert cell.study.settings["budget"] == 450
    assert cell.study.settings["search"] == {"rounds": 12, "largest_side": 4, "required_success": 0.65}
    assert tune(file, "--best", "out.toml", "--trial", "0") == 0
    assert tune(file, "--best", "out.toml", "--trial", "7") == 2
    assert "--trial 7: there are trials 0 to 0" in capsys.readouterr().err


def test_a_scan_with_the_best_settings_repeats_the_scan_of_the_trial(
    file: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert tune(file, "--trials", "1") == 0
    assert tune(file, "--best", "best.toml") == 0
    line = json.loads(Path("tune/small-at-450-seed-0/trial-0000.jsonl").read_text().splitlines()[0])
    capsys.readouterr()
    model = f"zoo:{line['index']}"
    own = ["--settings", "best.toml", "--seed", str(line["seed"]), "--db", "own.db"]
    code = main(["scan", model, "--data", "digits", *own, "--json"])
    told = json.loads(capsys.readouterr().out)
    assert code == told["exit_code"]
    assert json.loads(StoredRun.read(Path("own.db"), told["run"]).info.config) == line["config"] | {
        "seed": line["seed"]
    }
    assert (told["verdict"], told["queries"]["spent"], told["score"]) == (
        line["verdict"],
        line["queries"],
        line["score"],
    )


def test_figures_of_all_that_was_tuned(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert tune(file, "--plots", "figures") == 4
    assert "nothing was tuned yet; leave out --plots" in capsys.readouterr().err
    assert tune(file, "--trials", "1") == 0
    assert tune(file, "--plots", "figures") == 0
    names = {f"tune-at-450-slice.{ending}" for ending in ("png", "svg", "csv")}
    assert {path.name for path in Path("figures").iterdir()} == names


def test_two_objectives_have_a_front(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert tune(file, "--pareto", "--json", at="") == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["mode"], told["study"]) == ("pareto", "small-pareto-450-seed-0")
    assert {one["state"] for one in told["trials"]} == {"complete"}
    of = {one["trial"]: one for one in told["trials"]}
    front = [(of[number]["mean_queries"], of[number]["auroc"]) for number in told["best"]]
    assert front == sorted(front)
    assert len(front) >= 1


AT = ("--at", "450")


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        ((), 2, "give --at BUDGET to tune for one budget, or --pareto"),
        ((*AT, "--pareto"), 2, "give --at BUDGET to tune for one budget, or --pareto"),
        ((*AT, "--workers", "2"), 2, "2 workers need a database for several writers"),
        ((*AT, "--storage", "postgresql://me:secret@localhost:1/none"), 5, "psycopg://me:***@localhost:1/none: "),
        ((*AT, "--show"), 5, "nothing was tuned yet; leave out --show"),
        ((*AT, "--best", "study.toml"), 2, "name another file"),
    ],
)
def test_what_is_wrong_is_told_in_one_line_and_nothing_is_asked(
    file: str, args: tuple[str, ...], code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["study", "tune", file, *args]) == code
    err = capsys.readouterr().err
    assert said in err
    assert err.count("\n") == 1
    assert "secret" not in err
    assert not Path("tune").exists()
