"""What is gathered, against ledgers whose every number is known."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from db.errors import NotALedger, StorageError
from db.ledger import Ledger
from simkit.errors import ConfigError, DataError
from studies.report.gather import gather
from tests.studies.report.ledgers import SIZES, Kept, write, zoo


def test_a_run_is_counted_by_purpose_and_reason(tmp_path: Path) -> None:
    (run,) = gather(write(tmp_path / "a.db", Kept())).runs
    assert (run.spent, run.budget) == (72, 1000)
    assert [(p.name, p.calls, p.charged) for p in run.purposes] == [
        ("check", 1, 4),
        ("search", 6, 60),
        ("verify", 1, 8),
    ]
    assert sum(p.share for p in run.purposes) == pytest.approx(1.0)
    assert run.refused == (("budget", 5),)


def test_the_classes_stand_against_the_rule(tmp_path: Path) -> None:
    (run,) = gather(write(tmp_path / "a.db", Kept())).runs
    assert tuple(row.mask_size for row in run.classes) == SIZES
    assert run.limit == 0.25 * 22.0
    assert run.score_threshold == pytest.approx(1.386, abs=1e-3)
    assert [row.target_class for row in run.classes if row.flagged] == [2]
    assert [row.target_class for row in run.classes if row.censored] == [3]
    assert run.truth is None
    assert run.right is None


def test_the_flagged_class_is_shown_first_and_then_the_smallest_that_work(tmp_path: Path) -> None:
    (run,) = gather(write(tmp_path / "a.db", Kept())).runs
    assert [shown.row.target_class for shown in run.reversed] == [2, 0, 1, 3]
    assert [line.label for line in run.plots[0].lines] == ["class 2", "class 0", "class 1", "class 3"]
    assert [line.emphasis for line in run.plots[0].lines] == [True, False, False, False]


def test_a_zoo_tells_the_truth_by_the_hash_of_the_weights(tmp_path: Path) -> None:
    db = write(tmp_path / "a.db", Kept(), Kept(model_hash="x" * 64, verdict="clean"))
    run, unknown = gather(db, zoos=[zoo(tmp_path / "zoo")]).runs
    assert unknown.truth is None
    assert run.truth is not None
    assert (run.truth.truth, run.truth.target_classes, run.right, run.found_target) == ("backdoored", (2,), True, True)
    assert run.classes[2].name == "<bird>"
    assert run.reversed[0].overlap == pytest.approx(2 / 6)  # two of the four pixels of each
    assert run.reversed[0].original is not None
    assert run.reversed[1].original is None


def test_a_zoo_beside_the_model_is_found_unasked(tmp_path: Path) -> None:
    folder = zoo(tmp_path / "zoo", target=None)
    (run,) = gather(write(tmp_path / "a.db", Kept(model=str(folder / "model.safetensors")))).runs
    assert run.truth is not None
    assert (run.truth.truth, run.right, run.found_target) == ("clean", False, None)
    (folder / "manifest.json").write_text("{")
    (run,) = gather(tmp_path / "a.db").runs
    assert run.truth is None


def test_detection_is_counted_by_settings(tmp_path: Path) -> None:
    label = {"oracle": "label"}
    db = write(tmp_path / "a.db", Kept(), Kept(verdict="undecided"), Kept(verdict="clean", settings=label))
    scores, behind_labels = gather(db, zoos=[zoo(tmp_path / "zoo")]).detection
    assert (scores.runs, scores.models, scores.accuracy.hits) == (2, 1, 1)
    assert (scores.true_positives.hits, scores.true_positives.trials, scores.false_positives.trials) == (1, 2, 0)
    assert (scores.targets.hits, scores.targets.trials, scores.queries) == (1, 2, 72)
    assert (behind_labels.oracle, behind_labels.accuracy.hits) == ("label", 0)


def test_an_open_run_has_no_verdict_and_its_lines(tmp_path: Path) -> None:
    (run,) = gather(write(tmp_path / "a.db", Kept(verdict=None, steps=12))).runs
    assert run.verdict is None
    assert (run.spent, run.classes, run.limit) == (132, (), None)
    assert run.plots[0].lines[0].label == "class 2"  # the smallest by now


def test_a_scan_that_goes_on_is_read_beside_its_writer(tmp_path: Path) -> None:
    db = write(tmp_path / "a.db", Kept(verdict=None))
    with Ledger.open(db):
        assert gather(db).runs[0].spent == 72


def test_in_the_order_of_db_runs_and_only_those_wanted(tmp_path: Path) -> None:
    db = write(tmp_path / "a.db", Kept(), Kept(), Kept())
    data = gather(db)
    assert ([run.id for run in data.runs], data.left_out) == ([1, 2, 3], 0)
    data = gather(db, [1, 3, 1])
    assert ([run.id for run in data.runs], data.left_out) == ([1, 3], 1)


def test_with_many_runs_each_shows_less(tmp_path: Path) -> None:
    runs = gather(write(tmp_path / "a.db", *[Kept(steps=400)] * 9)).runs
    assert {len(run.reversed) for run in runs} == {2}
    assert max(len(line.points) for line in runs[0].plots[0].lines) == 60


def test_what_cannot_be_reported_is_told_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="no ledger there"):
        gather(tmp_path / "missing.db")
    (tmp_path / "notes.txt").write_text("not a ledger\n" * 20)
    with pytest.raises(NotALedger):
        gather(tmp_path / "notes.txt")
    with Ledger.open(tmp_path / "empty.db"):
        pass
    with pytest.raises(StorageError, match="holds no run yet"):
        gather(tmp_path / "empty.db")
    db = write(tmp_path / "a.db", Kept())
    with pytest.raises(ConfigError, match="has no run 7"):
        gather(db, [1, 7])
    with pytest.raises(DataError, match="folder of a zoo"):
        gather(db, zoos=[tmp_path])


def test_the_answers_themselves_are_not_read(tmp_path: Path) -> None:
    db = write(tmp_path / "a.db", Kept())
    with sqlite3.connect(db) as connection:  # what is asked of the calls must not need their rows
        connection.execute("PRAGMA ignore_check_constraints = ON")
        connection.execute("UPDATE calls SET rows = 'no JSON', answers = x''")
    connection.close()
    assert gather(db).runs[0].spent == 72
