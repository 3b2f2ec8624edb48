"""Verdicts and scores read off ledgers: what a scan with the smaller budget really says."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest

from db.errors import NewerLedger, StorageError
from db.tables import APPLICATION_ID
from simkit.errors import DataError
from simkit.progress import unheard
from studies.cli.main import main
from studies.results.budget.from_ledgers import read, read_all, tasks, verdicts_of
from studies.results.budget.gather import BudgetConfig, gather_budget
from studies.results.budget.matching_ledgers import Ledgers
from studies.results.budget.verdict_at_budget import verdict_at
from studies.study.result_file import read_lines
from studies.study.result_line import ResultLine
from studies.study.unit import scan_unit
from tests.studies.study.studies import study_of, units

pytestmark = pytest.mark.slow


class Deadly:
    """Ends the process that it is sent to."""

    def __reduce__(self) -> tuple[object, ...]:
        return os._exit, (1,)


AT = (40, 150, 700, 1_500, 2_000)
DETECTORS = ("race", "random-patch", "label-noise")


def scanned(zoo: Path, folder: Path, budget: int, *detectors: str) -> list[ResultLine]:
    study = study_of(zoo, folder, budget=budget)
    assert {scan_unit(unit).state for unit in units(study, *detectors)} == {"scanned"}
    return read_lines(study.out)


@pytest.fixture(scope="module")
def folder(demo_victims: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("exact")
    scanned(demo_victims / "zoo", made, 2_000, *DETECTORS)
    return made


def test_a_word_is_what_a_scan_with_that_budget_says(folder: Path, demo_victims: Path, tmp_path: Path) -> None:
    lines = read_lines(folder / "results.jsonl")
    found = verdicts_of(lines, Ledgers((folder / "ledgers",), "all"), AT, unheard)
    assert {unit[4] for unit in found} == {"race", "random-patch"}  # the other is no scan, and whole or nothing
    assert 0 < sum(len(words) for words in found.values()) < 4 * len(AT)  # a budget that is surely enough is not read
    real = {b: scanned(demo_victims / "zoo", tmp_path / str(b), b, "race", "random-patch") for b in AT[:-1]}
    held = 0
    for line in lines:
        for budget in AT[:-1] if line.unit in found else ():
            word = found[line.unit].get(budget) or verdict_at([line], budget)
            (scan,) = [r for r in real[budget] if (r.index, r.detector) == (line.index, line.detector)]
            if word.held:
                held += 1
                assert (word.kind, word.ended) == (scan.verdict, True)
                assert word.spent in (scan.queries, min(line.queries, budget))
            else:
                assert word.kind == "undecided"
    assert held >= 12


def test_curves_of_ledgers_are_points_and_say_so(folder: Path) -> None:
    files = [folder / "results.jsonl"]
    told: list[tuple[int, int]] = []
    exact = BudgetConfig(budgets=AT, ledgers=Ledgers((folder / "ledgers",), exact="all"))
    (panel,) = gather_budget(files, exact, lambda done, of, _note="": told.append((done, of))).panels
    curves = {curve.detector: curve for curve in panel.curves}
    assert {name: curve.exact for name, curve in curves.items()} == {"race": 2, "random-patch": 2, "label-noise": 0}
    assert curves["race"].steps == curves["race"].points
    assert told == [(n, 4) for n in range(1, 5)]
    (lines,) = gather_budget(files, BudgetConfig(budgets=AT)).panels
    by_lines = {curve.detector: curve for curve in lines.curves}
    for name, curve in curves.items():
        assert curve.points[-1] == by_lines[name].points[-1]
        for read_off, stood in zip(curve.points, by_lines[name].points, strict=True):
            assert read_off.tpr.hits >= stood.tpr.hits


def test_what_cannot_be_read_is_told(folder: Path, tmp_path: Path) -> None:
    lines = read_lines(folder / "results.jsonl")
    assert tasks(lines, Ledgers((tmp_path,), "all"), AT) == []
    assert tasks(lines, Ledgers((folder / "ledgers",), "staged"), AT) == []  # none of these is in stages
    with pytest.raises(StorageError, match="no folder of ledgers"):
        tasks(lines, Ledgers((tmp_path / "none",), "all"), AT)
    other = Ledgers((folder / "ledgers",), "all", str(tmp_path / "none"))
    with pytest.raises(DataError, match="none"):
        verdicts_of(lines, other, AT, unheard)
    (first, *_) = tasks(lines, other, AT)
    assert (read(first).verdicts, bool(read(first).problem)) == ({}, True)


def test_a_scan_that_cannot_be_read_is_warned_of_and_stays_as_its_line_says(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(folder / "ledgers", tmp_path / "ledgers")
    (broken, *_) = tasks(read_lines(folder / "results.jsonl"), Ledgers((tmp_path / "ledgers",), "all"), AT)
    with closing(sqlite3.connect(broken.ledger)) as ledger, ledger:
        ledger.execute("UPDATE runs SET data = 'nowhere'")
    exact = ["--ledgers", str(tmp_path / "ledgers"), "--exact", "all"]
    assert main(["study", "budget", str(folder / "results.jsonl"), *exact, "--format", "json"]) == 0
    said = capsys.readouterr()
    assert "simkit: warning: the verdicts of 1 of " in said.err
    assert "scans are taken from their result lines;" in said.err
    json.loads(said.out)


def test_a_ledger_of_a_newer_simkit_is_told_and_another_programs_file_passed_over(folder: Path, tmp_path: Path) -> None:
    lines = read_lines(folder / "results.jsonl")
    for version, made_by in ((99, APPLICATION_ID), (1, 7)):
        with closing(sqlite3.connect(tmp_path / "kept.db")) as kept:
            kept.execute("CREATE TABLE IF NOT EXISTS notes (text TEXT)")
            kept.execute(f"PRAGMA application_id = {made_by}")
            kept.execute(f"PRAGMA user_version = {version}")
        if made_by == APPLICATION_ID:
            with pytest.raises(NewerLedger, match=r"kept\.db: written by a newer simkit .*; upgrade"):
                Ledgers((tmp_path,)).found(lines)
    assert Ledgers((tmp_path,)).found(lines) == []


@pytest.mark.process
def test_a_reader_that_dies_costs_its_scan_alone(folder: Path) -> None:
    found = tasks(read_lines(folder / "results.jsonl"), Ledgers((folder / "ledgers",), "all"), AT)[:2]
    deadly = replace(found[0], data=cast(str, Deadly()))
    told: list[int] = []
    first, second = read_all([deadly, found[1]], 2, lambda done, _of, _note="": told.append(done))
    assert (first.verdicts, "process died" in first.problem) == ({}, True)
    assert (second.problem, bool(second.verdicts)) == ("", True)
    assert told == [1, 2]


def test_a_line_from_before_is_completed(folder: Path) -> None:
    """What was refined is counted by the ledger; a scan that refined nothing decided with its last query."""
    lines = read_lines(folder / "results.jsonl")
    older = [line.model_copy(update={"decision_queries": None, "notes": "class 1 refined"}) for line in lines]
    told = Ledgers((folder / "ledgers",)).completed(older)
    assert [line.decision_queries for line in told] == [line.decision_queries for line in lines]
    assert Ledgers((folder / "ledgers",)).completed(lines) == lines
    assert Ledgers().completed(older) == older


def test_the_command_reads_ledgers(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["study", "budget", str(folder / "results.jsonl"), "--ledgers", str(folder / "ledgers"), "--format", "json"]
    assert main([*asked, "--exact", "all", "--budgets", "700", "--by", "service", "--price", "1USD"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [curve["exact"] for curve in told["panels"][0]["curves"]] == [2, 2, 0]
    assert told["by_service"] is True
    assert main(["study", "budget", str(folder / "results.jsonl"), "--exact", "staged"]) == 2
    assert "name their folder with --ledgers" in capsys.readouterr().err
    assert main([*asked, "--price", "-1 USD"]) == 2
    assert "give 0 or more" in capsys.readouterr().err
    assert main([*asked, "--price", "1"]) == 2
    assert "give a number and a currency, such as 2.5EUR" in capsys.readouterr().err
