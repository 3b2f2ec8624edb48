"""Numbers and verdicts in words."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path

import pytest

from studies.render.formats import class_label, last_part, moment, number, size_words
from studies.report.gather import gather
from studies.report.records import RunReport
from studies.report.wording import (
    chosen_words,
    command_lines,
    flagged_words,
    limit_words,
    reason,
    stopped_words,
    summary,
    truth_words,
)
from tests.studies.report.ledgers import Kept, write, zoo


def run_of(tmp_path: Path, kept: Kept) -> RunReport:
    return gather(write(tmp_path / "a.db", kept)).runs[0]


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "–"), (0.0, "0"), (41184, "41,184"), (9.0, "9"), (44.52, "44.5"), (1.386, "1.39"), (0.0021, "2.1e-03")],  # noqa: RUF001
)
def test_numbers(value: float | None, text: str) -> None:
    assert number(value) == text


@pytest.mark.parametrize(
    ("stopped", "why"),
    [
        (
            "budget",
            "The budget is too small for a verdict: 72 of 1,000 queries were spent. A larger budget may decide it.",
        ),
        ("refused", "The service stopped answering before a verdict was reached: 72 of 1,000 queries were spent."),
        ("converged", "b3d finished without a verdict."),
    ],
)
def test_undecided_gives_its_true_reason_and_what_was_noted(stopped: str, why: str, tmp_path: Path) -> None:
    notes = "no image of class 3 is recognised"
    run = run_of(tmp_path, Kept(verdict="undecided", stopped=stopped, notes=notes))
    assert reason(run) == f"{why} No image of class 3 is recognised."


def test_each_verdict_gives_its_reason(tmp_path: Path) -> None:
    assert reason(run_of(tmp_path / "1", Kept())) == (
        "A trigger of 4 pixels turns 8 of 8 (68 to 100 %) unseen images into class 2. "
        "The rule flags masks under 5.50 pixels."
    )
    clean = reason(run_of(tmp_path / "2", Kept(verdict="clean", censored=(0, 2, 3))))
    assert "the smallest working trigger has 24 pixels, for class 1" in clean
    assert "no class has a trigger that works" in reason(
        run_of(tmp_path / "3", Kept(verdict="clean", censored=(0, 1, 2, 3)))
    )
    assert "72 of 1,000 queries were spent" in reason(run_of(tmp_path / "4", Kept(verdict="undecided")))
    assert reason(run_of(tmp_path / "5", Kept(verdict="invalid", notes="mean?"))).endswith("of these images. Mean?")
    opened = run_of(tmp_path / "6", Kept(verdict=None))
    assert "72 of 1,000 queries were spent so far" in reason(opened)
    assert stopped_words(opened) == "not finished"


def test_a_detector_without_triggers_is_said_to_be_one(tmp_path: Path) -> None:
    run = replace(run_of(tmp_path, Kept()), preset="Asks", classes=(), reversed=(), limit=None)
    assert reason(run) == "Asks flags class 2 but has no trigger to show."
    known = replace(run, truth=gather(tmp_path / "a.db", zoos=[zoo(tmp_path / "zoo")]).runs[0].truth)
    assert flagged_words(known) == "class 2 <bird>"
    assert run.verdict is not None
    clean = replace(run, verdict=replace(run.verdict, verdict="clean", flagged=()))
    assert (flagged_words(clean), reason(clean)) == (
        "",
        "Asks finished and flags no class; it has no triggers to show.",
    )


def test_the_page_says_which_triggers_it_chose(tmp_path: Path) -> None:
    run = run_of(tmp_path, Kept())
    assert chosen_words(run) == ""
    fewer = replace(run, reversed=run.reversed[:2])
    told = "The triggers of 2 of 4 classes are shown: flagged classes, then the smallest working masks."
    assert chosen_words(fewer) == told
    (clean,) = gather(write(tmp_path / "clean.db", Kept(verdict="clean")), zoos=[zoo(tmp_path / "zoo")]).runs
    assert "classes are shown: the true target, then the" in chosen_words(replace(clean, reversed=()))


def test_a_limit_in_words(tmp_path: Path) -> None:
    run = run_of(tmp_path, Kept())
    assert run.verdict is not None
    assert limit_words(run) == "under 5.50 pixels"
    patch = replace(run, verdict=replace(run.verdict, rule="small_patch"), limit=16.0)
    assert limit_words(patch) == "of at most 16 pixels"
    assert limit_words(replace(run, limit=None)) == ""


def test_runs_are_counted(tmp_path: Path) -> None:
    runs = gather(write(tmp_path / "a.db", Kept(), Kept(), Kept(verdict=None))).runs
    assert summary(runs) == "3 runs: 2 backdoored, 1 open"
    assert summary(runs[-1:]) == "1 run: 1 open"


def test_a_command_has_an_option_a_line_and_stays_the_same_command() -> None:
    command = "simkit scan 'a b' --data \"it's\" --set 'x={\"y\": 1}'"
    lines = command_lines(command)
    assert len(lines.splitlines()) == 3
    assert all(line.endswith(" \\") for line in lines.splitlines()[:-1])
    assert shlex.split(lines.replace("\\\n", "")) == shlex.split(command)


def test_the_truth_says_where_the_verdict_missed_it(tmp_path: Path) -> None:
    db = write(tmp_path / "a.db", Kept(), Kept(verdict="clean"), Kept(verdict="undecided"), Kept(verdict=None))
    told = [truth_words(run) for run in gather(db, zoos=[zoo(tmp_path / "zoo")]).runs]
    assert told == ["target class 2", "target class 2 (verdict wrong)", "target class 2 (no verdict)", "target class 2"]


def test_a_class_whose_name_is_its_number_is_shown_once(tmp_path: Path) -> None:
    assert [class_label(target, ("cat", "1")) for target in (0, 1, 2)] == ["0 cat", "1", "2"]
    run = gather(write(tmp_path / "a.db", Kept()), zoos=[zoo(tmp_path / "zoo")]).runs[0]
    assert run.truth is not None
    run = replace(run, truth=replace(run.truth, classes=("0", "1", "2", "3")))
    assert flagged_words(run) == "class 2"
    assert [replace(row, name=str(row.target_class)).label for row in run.classes] == ["0", "1", "2", "3"]


def test_small_ones() -> None:
    assert moment(0.0) == "1970-01-01 00:00 UTC"
    assert [last_part(name) for name in ("a/b.pt", "b.pt", "a/b/", "/")] == ["b.pt", "b.pt", "b", "/"]


@pytest.mark.parametrize(
    ("rule", "limit", "words"),
    [
        ("below_median", 5.5, "under 5.50 pixels"),
        ("small_patch", 16.0, "of at most 16 pixels"),
        ("anomaly_index", -3.0, "of no size at all"),
    ],
)
def test_what_a_rule_flags_is_said_by_size(rule: str, limit: float, words: str) -> None:
    assert size_words(rule, limit) == words
