"""A whole small study on the demo's two victims: every cell once, resumed for free, and what its rows say."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from simkit.errors import ConfigError
from studies.cli.main import main
from studies.watch import run
from studies.watch.config import WatchLine, WatchStudy, append_line, read_lines
from studies.watch.run import ZooOf, run_study
from studies.watch.table import drawing, rows
from studies.watch.traffic import Cell, Target, top_score, traffic

SMALL: dict[str, Any] = {
    "probers": ("random-patch",),
    "dodges": ("plain", "keys"),
    "detectors": ("blacklight",),
    "actions": ("log", "ban"),
    "budget": 600,
    "honest_queries": 60,
}


@pytest.fixture(scope="module")
def zoos(demo_victims: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The demo's zoo under the names of the splits report and calibrate."""
    folders = []
    for split in ("report", "calibrate"):
        folder = tmp_path_factory.mktemp("watch") / split
        shutil.copytree(demo_victims / "zoo", folder)
        manifest = json.loads((folder / "manifest.json").read_text())
        manifest["spec"]["split"] = split
        (folder / "manifest.json").write_text(json.dumps(manifest))
        folders.append(folder)
    return folders[0], folders[1]


@pytest.fixture(scope="module")
def lines(zoos: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> list[WatchLine]:
    out = tmp_path_factory.mktemp("lines") / "watch.jsonl"
    made = run_study([ZooOf(zoos[0])], ZooOf(zoos[1]), WatchStudy.of(SMALL), out)
    assert read_lines(out) == made
    return made


def test_every_cell_is_a_line(lines: list[WatchLine]) -> None:
    # two victims, two thresholds: 2 clients, and 1 prober x 2 dodges x 2 actions
    assert len(lines) == len({line.unit for line in lines}) == 2 * 2 * (2 + 4)
    assert {line.split for line in lines} == {"report"}
    for line in lines:
        assert line.queries <= line.budget
        assert line.honest == (line.verdict is None)
        assert (line.first_alarm is None) == (line.alarms == 0)
        assert line.first_alarm is None or 1 <= line.first_alarm <= line.queries


def test_a_ban_ends_what_a_log_lets_pass(lines: list[WatchLine]) -> None:
    plain = [line for line in lines if not line.honest and line.dodge == "plain" and line.threshold_from == "default"]
    for log in (line for line in plain if line.action == "log"):
        ban = next(line for line in plain if line.action == "ban" and line.index == log.index)
        assert log.first_alarm == ban.first_alarm
        assert ban.queries < log.queries
        assert (ban.verdict, ban.stopped) == ("undecided", "refused")


def test_several_keys_are_seen_later_than_one(lines: list[WatchLine]) -> None:
    log = [line for line in lines if line.action == "log" and not line.honest and line.threshold_from == "default"]
    for one in (line for line in log if line.dodge == "plain"):
        several = next(line for line in log if line.dodge == "keys" and line.index == one.index)
        assert one.first_alarm is not None
        assert several.first_alarm is None or several.first_alarm > one.first_alarm


def test_a_threshold_comes_from_honest_traffic_on_other_images(lines: list[WatchLine], zoos: tuple[Path, Path]) -> None:
    study = WatchStudy.of(SMALL)
    target, other = ZooOf(zoos[0]).targets("report", study)[0], ZooOf(zoos[1]).targets("calibrate", study)[0]
    known = {image.tobytes() for image in target.natural.pixels.numpy()}
    assert not any(image.tobytes() in known for image in other.natural.pixels.numpy())
    highest = max(top_score(other, client, "blacklight", study) for client in study.clients)
    assert {line.threshold for line in lines if line.threshold_from == "calibrated"} == {highest}
    assert {line.threshold for line in lines if line.threshold_from == "default"} == {25.0}


def test_nothing_is_done_twice(
    lines: list[WatchLine], zoos: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "watch.jsonl"
    for line in lines[:-1]:
        append_line(out, line)
    with out.open("ab") as file:
        file.write(b'{"zoo": "half')
    new: list[int] = []
    study = WatchStudy.of(SMALL)
    again = run_study([ZooOf(zoos[0])], ZooOf(zoos[1]), study, out, lambda _, number, of: new.append(number * 100 + of))
    assert again == lines == read_lines(out)
    assert new == [2424]


def test_rows_count_victims_and_the_figure_draws_them(lines: list[WatchLine]) -> None:
    table = rows(lines)
    assert {row.victims for row in table} == {2}
    assert all((row.detected is None) == (row.traffic in ("augmenting", "explaining")) for row in table)
    for row in table:
        if row.detected is not None and row.accused is not None:
            assert (row.detected.trials, row.accused.trials, row.seen.trials) == (1, 1, 2)
            assert f"{row.detected.hits}/1 (" in str(row.plain["detected"])
    drawn = drawing(lines)
    assert drawn.png.startswith(b"\x89PNG")
    assert "random-patch,plain,blacklight" in drawn.csv


def test_the_command_prints_the_rows(
    zoos: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = ["probers=random-patch", "dodges=plain", "detectors=piha", "actions=log", "thresholds=default"]
    options = [part for setting in (*settings, "budget=200", "honest_queries=40") for part in ("-s", setting)]
    out, figure = tmp_path / "lines.jsonl", tmp_path / "watch.png"
    command = ["study", "watch", str(zoos[0]), "--out", str(out), "--limit", "1", *options]
    assert main([*command, "--figure", str(figure)]) == 0
    assert "random-patch" in capsys.readouterr().out
    assert figure.read_bytes().startswith(b"\x89PNG")
    assert main([*command, "--json"]) == 0
    table = json.loads(capsys.readouterr().out)
    assert [row["traffic"] for row in table] == ["augmenting", "explaining", "random-patch"]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"dodges": ("honst",)}, "did you mean 'honest'"),
        ({"clients": ("x",)}, "augmenting"),
        ({"detectors": ("blacklit",)}, "did you mean 'blacklight'"),
        ({"actions": ("bann",)}, "'log', 'slow', 'coarse', 'cached' or 'ban'"),
        ({"budget": 0}, "greater than or equal to 1"),
        ({"thresholds": ("guessed",)}, "'default' or 'calibrated'"),
        ({"bugdet": 1}, "budget"),
    ],
)
def test_a_wrong_study_is_refused_in_one_line(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as told:
        WatchStudy.of(fields)
    assert "\n" not in str(told.value)


def test_splits_are_kept_apart(zoos: tuple[Path, Path], tmp_path: Path) -> None:
    study = WatchStudy.of(SMALL)
    with pytest.raises(ConfigError, match="name a zoo of 'report'"):
        run_study([ZooOf(zoos[1])], ZooOf(zoos[1]), study, tmp_path / "a.jsonl")
    with pytest.raises(ConfigError, match="name a zoo of 'calibrate'"):
        run_study([ZooOf(zoos[0])], ZooOf(zoos[0]), study, tmp_path / "a.jsonl")
    with pytest.raises(ConfigError, match="name one, or only default"):
        run_study([ZooOf(zoos[0])], None, study, tmp_path / "a.jsonl")
    assert not (tmp_path / "a.jsonl").exists()


def test_a_file_of_other_lines_is_refused(zoos: tuple[Path, Path], tmp_path: Path) -> None:
    other = tmp_path / "other.jsonl"
    other.write_text('{"zoo": "a"}\n')
    with pytest.raises(ConfigError, match="no file of lines of this study"):
        run_study([ZooOf(zoos[0])], None, WatchStudy.of(SMALL | {"thresholds": ("default",)}), other)


def test_traffic_that_only_logs_is_sent_once_for_all_detectors(zoos: tuple[Path, Path]) -> None:
    study = WatchStudy.of(SMALL | {"budget": 300})
    target = ZooOf(zoos[0], limit=1).targets("report", study)[0]
    for name, dodge in (("random-patch", "keys"), ("explaining", "plain")):
        watches = (("blacklight", 25.0), ("blacklight", 40.0), ("piha", 0.95), ("prada", 0.1))
        cells = [Cell(name, dodge, detector, "log", "default", threshold) for detector, threshold in watches]
        together = traffic(target, cells, study)
        assert together == [line for cell in cells for line in traffic(target, [cell], study)]
        assert len({line.first_alarm for line in together}) > 1


def test_an_action_that_no_alarm_led_to_is_not_tried(
    zoos: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fields = {**SMALL, "detectors": ("prada",), "dodges": ("plain",), "thresholds": ("default",), "budget": 40}
    study, report = WatchStudy.of(fields), ZooOf(zoos[0], limit=1)
    sent: list[str] = []

    def counted(target: Target, cells: list[Cell], of: WatchStudy) -> list[WatchLine]:
        sent.append(cells[0].action)
        return traffic(target, cells, of)

    monkeypatch.setattr(run, "traffic", counted)
    *_, log, ban = run_study([report], None, study, tmp_path / "lines.jsonl")
    assert (log.action, ban.action, log.first_alarm) == ("log", "ban", None)
    assert sent == ["log"] * 3
    target = report.targets("report", study)[0]
    assert [ban] == traffic(target, [Cell("random-patch", "plain", "prada", "ban", "default", 0.1)], study)


def test_a_study_in_a_file_is_that_of_its_zoos_and_settings(
    zoos: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "zoo").symlink_to(zoos[0])
    file, out = tmp_path / "watch.toml", tmp_path / "lines.jsonl"
    settings = 'probers = ["random-patch"]\ndodges = ["plain"]\ndetectors = ["piha"]\nthresholds = ["default"]\n'
    file.write_text(f'{settings}budget = 200\nhonest_queries = 40\n[[zoos]]\nfolder = "zoo"\nlimit = 1\n')
    command = ["study", "watch", str(file), "--out", str(out), "-s", "actions=log"]
    assert main(command) == 0
    assert [line.budget for line in read_lines(out)] == [40, 40, 200]
    assert main([*command, "--limit", "1"]) == 2
    assert "write them into watch.toml" in capsys.readouterr().err
    for text, told in (
        ("bugdet = 1\n[[zoos]]\nfolder = 'zoo'", "no setting 'bugdet'"),
        ("budget = 1", "zoos"),
        ("thresholds = ['default']\n[[zoos]]\nfolder = 'nowhere'", "nowhere"),
        ("[[zoos]", "watch.toml"),
    ):
        file.write_text(text)
        assert main(command) == (4 if told == "nowhere" else 2)
        error = capsys.readouterr().err
        assert told in error
        assert error.count("\n") == 1
