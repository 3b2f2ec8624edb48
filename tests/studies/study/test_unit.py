"""One detector on one victim: its line says what its ledger says, and what the manifest knows."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch

from db import reads
from db.check import check
from simkit.errors import ConfigError
from simkit.search.relay import Relay
from simkit.zoo.manifest import Manifest
from studies.scan.canonical import digest
from studies.scan.config import ScanConfig
from studies.scan.images import choose_images
from studies.study.result_file import append_line, read_lines
from studies.study.result_line import ResultLine
from studies.study.unit import Outcome, Unit, scan_unit
from tests.studies.study.detectors import HERE
from tests.studies.study.studies import IMAGES, study_of, units


@pytest.fixture
def zoo(demo_victims: Path) -> Path:
    return demo_victims / "zoo"


def lines_of(outcomes: list[Outcome]) -> list[ResultLine]:
    assert [(o.state, o.messages) for o in outcomes if o.state != "scanned"] == []
    return [outcome.line for outcome in outcomes if outcome.line is not None]


def rows(ledgers: Path, sql: str) -> list[Any]:
    found = []
    for path in sorted(ledgers.glob("*.db")):
        with sqlite3.connect(path) as ledger:
            found += ledger.execute(sql).fetchall()
    return found


def test_a_scan_leaves_its_line_and_its_ledger(zoo: Path, tmp_path: Path) -> None:
    study = study_of(zoo, tmp_path)
    lines = lines_of([scan_unit(unit) for unit in units(study, "random-patch")])
    assert read_lines(study.out) == lines
    assert [check(path) for path in sorted(study.ledgers.glob("*.db"))] == [[], []]
    told = rows(study.ledgers, "SELECT model_hash, data_hash, config, spent, verdict FROM runs, verdicts")
    kept = [(line.model_hash, line.data_hash, line.config_of_run, line.queries, line.verdict) for line in lines]
    assert [(m, d, json.loads(c), s, v) for m, d, c, s, v in told] == kept
    for line, victim in zip(lines, Manifest.load(zoo).victims, strict=True):
        assert line.unit[:4] == ("demo", "report", victim.index, victim.sha256)
        truth = victim.truth, victim.stratum, victim.architecture, victim.clean_accuracy, victim.success_rate
        assert (line.truth, line.stratum, line.architecture, line.clean_accuracy, line.implant_success) == truth
        assert (line.attack, line.target_classes) == (victim.attack_kind, victim.target_classes)
        assert [c.target_class for c in line.classes] == list(range(10))
        assert line.environment["threads"] == 1
        assert line.image_shape == (1, 8, 8)
        assert (line.asks, line.white_box, line.forward_passes) == (True, False, None)


def test_each_victim_is_scanned_with_images_of_its_own_and_the_lines_are_of_one_method(
    zoo: Path, tmp_path: Path
) -> None:
    victims = Manifest.load(zoo).victims
    own = lines_of([scan_unit(unit) for unit in units(study_of(zoo, tmp_path / "own"), "label-noise")])
    assert [line.seed for line in own] == [victim.seed for victim in victims]
    assert len({line.data_hash for line in own}) == len(own) == 2
    assert {(line.config["seed"], line.config_hash) for line in own} == {("0, by victim", digest(own[0].config))}
    for line in own:
        alone = scan_images({**IMAGES, "seed": line.seed})
        assert line.data_hash == alone


def test_the_seeds_of_a_study_give_every_victim_other_images_each_time(zoo: Path, tmp_path: Path) -> None:
    hashes = [unit.data_hash for seed in (0, 1, 2) for unit in units(study_of(zoo, tmp_path, seed=seed), "b3d")]
    assert len(set(hashes)) == 6


def test_one_draw_of_images_for_all_victims_on_demand(zoo: Path, tmp_path: Path) -> None:
    study = replace(study_of(zoo, tmp_path, seed=3), same_images=True)
    lines = lines_of([scan_unit(unit) for unit in units(study, "label-noise")])
    assert [(line.seed, line.config["seed"]) for line in lines] == [(3, 3), (3, 3)]
    assert {line.data_hash for line in lines} == {scan_images({**IMAGES, "seed": 3})}
    assert units(study, "label-noise") == ()


def scan_images(settings: dict[str, Any]) -> str:
    """The hash of the images that a scan with these settings uses."""
    return choose_images(ScanConfig.of(settings), None).sha256


def test_a_scan_that_makes_its_images_has_no_use_for_the_data(zoo: Path, tmp_path: Path) -> None:
    few = {"search": {"steps": 1}, "synthesis": {"draws": 70, "steps": 1}, "image_shape": (1, 8, 8)}
    study = study_of(zoo, tmp_path, **few)
    first, second = lines_of([scan_unit(unit) for unit in units(study, "b3d-ss")])
    assert first.data_hash == second.data_hash
    assert first.config["image_shape"] == [1, 8, 8]
    for line in (first, second):
        assert 70 < line.image_queries <= 70 + 64 * 11 < line.queries
    assert units(study, "b3d-ss") == ()


def test_what_is_done_is_not_done_again(zoo: Path, tmp_path: Path) -> None:
    study = study_of(zoo, tmp_path)
    (first, second) = units(study, f"{HERE}:ASKS")
    assert scan_unit(first).state == "scanned"
    assert units(study, f"{HERE}:ASKS") == (second,)
    assert scan_unit(first).state == "there"
    assert len(read_lines(study.out)) == 1
    assert len(units(study_of(zoo, tmp_path, budget=3_000), f"{HERE}:ASKS")) == 2


def test_a_finished_ledger_gives_a_lost_line_again(zoo: Path, tmp_path: Path) -> None:
    study = study_of(zoo, tmp_path)
    names = ("random-patch", f"{HERE}:ASKS", f"{HERE}:LOOKS")
    before = lines_of([scan_unit(unit) for unit in units(study, *names)])
    study.out.unlink()
    assert lines_of([scan_unit(unit) for unit in units(study, *names)]) == before
    assert len(list(study.ledgers.glob("*.db"))) == len(before)


@pytest.fixture
def two_threads() -> Iterator[Callable[[], None]]:
    before = torch.get_num_threads()
    yield lambda: torch.set_num_threads(before + 1)
    torch.set_num_threads(before)


def broken_off(unit: Unit, monkeypatch: pytest.MonkeyPatch, steps: int) -> Outcome:
    """The outcome of a scan whose process ends after some steps."""
    whole = Relay.run

    def part(self: Relay, evaluator: Any) -> Iterator[Any]:
        yield from islice(whole(self, evaluator), steps)
        raise RuntimeError("broken off")

    with monkeypatch.context() as patch:
        patch.setattr(Relay, "run", part)
        return scan_unit(unit)


@pytest.mark.parametrize("finished", [False, True])
def test_a_scan_that_was_paid_for_with_other_threads_is_refused_until_new_run(
    zoo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, two_threads: Callable[[], None], finished: bool
) -> None:
    study = study_of(zoo, tmp_path)
    (alone, _) = units(study_of(zoo, tmp_path / "alone"), "random-patch")
    (wanted,) = lines_of([scan_unit(alone)])
    (first, _) = units(study, "random-patch")
    if finished:
        assert scan_unit(first).state == "scanned"
        study.out.unlink()
    else:
        assert "broken off" in broken_off(first, monkeypatch, 3).messages[0]
    (ledger,) = study.ledgers.glob("*.db")
    paid = [row["spent"] for row in reads.listed(ledger)]
    one = torch.get_num_threads()
    two_threads()
    refused = scan_unit(first)
    assert (refused.state, refused.line) == ("failed", None)
    assert f"{ledger}: run 1 is the same scan made with threads {one}, now {one + 1}" in refused.messages[0]
    assert "--new-run" in refused.messages[0]
    assert list(study.ledgers.glob("*.db")) == [ledger]
    assert [row["spent"] for row in reads.listed(ledger)] == paid != [0]
    torch.set_num_threads(one)
    (line,) = lines_of([scan_unit(first)])
    assert line.model_copy(update={"seconds": 0.0}) == wanted.model_copy(update={"seconds": 0.0})
    assert [row["spent"] for row in reads.listed(ledger)] == [wanted.queries]
    study.out.unlink()
    two_threads()
    (anew,) = lines_of([scan_unit(replace(first, new_run=True))])
    assert anew.environment["threads"] == one + 1
    assert len(list(study.ledgers.glob("*.db"))) == 2


def test_a_scan_that_was_begun_anew_goes_on_without_new_run(
    zoo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, two_threads: Callable[[], None]
) -> None:
    (first, _) = units(study_of(zoo, tmp_path), "random-patch")
    broken_off(first, monkeypatch, 3)
    two_threads()
    broken_off(replace(first, new_run=True), monkeypatch, 4)
    assert lines_of([scan_unit(first)])


def test_a_detector_that_was_paid_for_with_other_threads_is_refused_until_new_run(
    zoo: Path, tmp_path: Path, two_threads: Callable[[], None]
) -> None:
    study = study_of(zoo, tmp_path)
    (first, _) = units(study, f"{HERE}:ASKS")
    lines_of([scan_unit(first)])
    study.out.unlink()
    two_threads()
    refused = scan_unit(first)
    assert (refused.state, "--new-run" in refused.messages[0]) == ("failed", True)
    assert len(list(study.ledgers.glob("*.db"))) == 1
    lines_of([scan_unit(replace(first, new_run=True))])
    assert len(list(study.ledgers.glob("*.db"))) == 2


def test_paid_answers_to_another_scan_refuse_nothing(
    zoo: Path, tmp_path: Path, two_threads: Callable[[], None]
) -> None:
    (first, second) = units(study_of(zoo, tmp_path), "random-patch")
    lines_of([scan_unit(first)])
    two_threads()
    (other, _) = units(study_of(zoo, tmp_path, budget=1_999), "random-patch")
    assert lines_of([scan_unit(second), scan_unit(other)])


def test_a_detector_that_broke_off_begins_anew_and_says_what_it_cost(
    zoo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    study = study_of(zoo, tmp_path)
    unit = units(study, f"{HERE}:FAILS")[0]
    Path("fail").touch()
    outcome = scan_unit(unit)
    assert (outcome.state, outcome.line, outcome.messages) == ("failed", None, ("this detector fails",))
    assert read_lines(study.out) == []
    Path("fail").unlink()
    (line,) = lines_of([scan_unit(unit)])
    assert line.queries == 64
    assert line.notes == f"started anew: {unit.stem}.db was interrupted after 64 queries"


def test_a_white_box_asks_nothing_and_tells_its_passes(zoo: Path, tmp_path: Path) -> None:
    study = study_of(zoo, tmp_path)
    unit = units(study, f"{HERE}:COUNTS")[0]
    (line,) = lines_of([scan_unit(unit)])
    assert (line.queries, line.forward_passes, line.backward_passes, line.score) == (0, 64, 3, 0.25)
    assert check(next(study.ledgers.glob("*.db"))) == []
    assert {json.loads(state)["schedule"] for (state,) in rows(study.ledgers, "SELECT state FROM steps")} == {"quick"}
    study.out.unlink()
    assert lines_of([scan_unit(unit)]) == [line]


def test_a_white_box_of_ones_own_gets_weights_and_all_images(zoo: Path, tmp_path: Path) -> None:
    study = study_of(zoo, tmp_path)
    (first, _) = lines_of([scan_unit(unit) for unit in units(study, f"{HERE}:LOOKS")])
    assert (first.score or 0) > 1_000
    assert first.notes == "64 images"
    assert (first.white_box, first.asks, first.forward_passes, first.backward_passes) == (True, False, None, None)


def test_a_white_box_that_answers_nonsense_is_named_and_leaves_no_run(
    zoo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.studies.study.detectors.Looks.detect.__code__", _nothing.__code__)
    study = study_of(zoo, tmp_path)
    outcome = scan_unit(units(study, f"{HERE}:LOOKS")[0])
    assert outcome.messages == (f"{HERE}.Looks returned NoneType; return a Verdict",)
    assert rows(study.ledgers, "SELECT * FROM runs") == []


def _nothing(self: object, access: object) -> None:
    return None


def test_a_white_box_without_data_gets_the_weights_and_the_shape_of_images(zoo: Path, tmp_path: Path) -> None:
    study = study_of(zoo, tmp_path)
    shaped = replace(study, settings={**study.settings, "image_shape": (1, 8, 8), "budget": 5})
    (first, *_) = outcomes = lines_of([scan_unit(unit) for unit in units(shaped, f"{HERE}:ALONE")])
    assert len(outcomes) == 2
    assert (first.queries, first.white_box, first.notes) == (0, True, "(1, 8, 8)")


def test_a_detector_of_training_data_is_not_scanned_with(zoo: Path, tmp_path: Path) -> None:
    study = study_of(zoo, tmp_path)
    with pytest.raises(
        ConfigError, match="activation-clustering-tuned needs the images that each model was trained on"
    ):
        units(study, "activation-clustering-tuned")
    assert not study.ledgers.exists()


def test_other_weights_than_the_manifests_are_not_scanned(zoo: Path, tmp_path: Path) -> None:
    shutil.copytree(zoo, tmp_path / "zoo")
    (tmp_path / "zoo" / "0000.safetensors").write_bytes((zoo / "0001.safetensors").read_bytes())
    (tmp_path / "zoo" / "0001.safetensors").unlink()
    study = study_of(tmp_path / "zoo", tmp_path)
    told = [scan_unit(unit) for unit in units(study, "random-patch")]
    assert [outcome.state for outcome in told] == ["failed", "failed"]
    assert "other weights than those in the manifest" in told[0].messages[0]
    assert "cannot be read" in told[1].messages[0]
    assert not list(study.ledgers.glob("*.db"))


def test_two_commands_at_once_write_one_line(zoo: Path, tmp_path: Path) -> None:
    study = study_of(zoo, tmp_path)
    elsewhere = study_of(zoo, tmp_path / "else")
    unit = units(study, f"{HERE}:ASKS")[0]
    (line,) = lines_of([scan_unit(units(elsewhere, f"{HERE}:ASKS")[0])])
    append_line(study.out, line)
    assert scan_unit(unit).state == "there"


def test_an_unforeseen_error_is_told_with_its_kind(zoo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise KeyError("no such\nthing")

    monkeypatch.setattr("studies.study.unit.run_scan", broken)
    outcome = scan_unit(units(study_of(zoo, tmp_path), "random-patch")[0])
    assert outcome.state == "failed"
    assert outcome.messages[0].startswith("unexpected KeyError: ")
    assert "\n" not in outcome.messages[0]


@pytest.mark.parametrize("detector", ["random-patch", f"{HERE}:ASKS", "neural-cleanse-quick"])
def test_a_worker_with_other_images_asks_nothing(detector: str, zoo: Path, tmp_path: Path) -> None:
    study = study_of(zoo, tmp_path)
    unit = replace(units(study, detector)[0], data_hash="of other images")
    outcome = scan_unit(unit)
    assert (outcome.state, "give this worker the same data" in outcome.messages[0]) == ("failed", True)
    assert rows(study.ledgers, "SELECT * FROM runs") == []
    assert not study.out.exists()


def test_an_interrupt_during_a_commit_ends_the_study_and_the_unit_goes_on(
    zoo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = study_of(zoo, tmp_path)
    unit, *_ = units(study, "random-patch")
    commit, left = sqlite3.Connection.commit, iter(range(8))

    def interrupted(self: sqlite3.Connection) -> None:
        commit(self)
        if next(left, None) == 7:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("db.held._Connection.commit", interrupted, raising=False)
        with pytest.raises(KeyboardInterrupt):
            scan_unit(unit)
    assert [check(path) for path in study.ledgers.glob("*.db")] == [[]]
    (line,) = lines_of([scan_unit(unit)])
    assert rows(study.ledgers, "SELECT sum(charged) FROM calls") == [(line.queries,)]
