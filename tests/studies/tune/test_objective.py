"""A trial's scans side by side: as each alone, broken off anywhere, and pruned."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest
import torch
from optuna.trial import TrialState

from db import reads
from db.check import check
from simkit.errors import ConfigError
from studies.scan import scan
from studies.scan.ledger_run import PaidElsewhere
from studies.study.result_file import read_lines
from studies.study.result_line import ResultLine
from studies.study.study_file import StudyFile
from studies.tune.objective import ScanObjective
from studies.tune.prepare import task_of
from studies.tune.run import work
from studies.tune.storage import read
from studies.tune.task import Mode, Task, trial_number
from tests.studies.tune.fakes import Killed
from tests.studies.tune.files import tune_zoo, written

pytestmark = [pytest.mark.usefixtures("zoo"), pytest.mark.slow]


def task(folder: Path, mode: Mode = "at", **changes: Any) -> Task:
    return task_of(StudyFile.load(written(folder)), mode, 600, changes)


def worked(task: Task) -> list[Any]:
    """All that a study says, but for when."""
    list(work(task, ScanObjective))
    lines = [told(line) for path in sorted(task.folder.glob("*.jsonl")) for line in read_lines(path)]
    own = ("worker",)
    trials = [
        (t.number, t.state, t.params, t.values, t.intermediate_values, t.constraints, without(t.user_attrs, *own))
        for t in read(task).trials
    ]
    return [*trials, *lines]


def told(line: ResultLine) -> ResultLine:
    return line.model_copy(update={"seconds": 0.0})


def without(values: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name not in names}


def test_a_trial_is_its_scans_each_as_it_is_alone(tmp_path: Path, zoo: Path) -> None:
    tuned = task(tmp_path, trials=2)
    list(work(tuned, ScanObjective))
    trial = read(tuned).trials[1]
    lines = read_lines(tuned.folder / "trial-0001.jsonl")
    seeds = [(line.index, line.config["seed"]) for line in lines]
    assert seeds == [(0, "0, by victim"), (1, "0, by victim"), (0, "1, by victim"), (1, "1, by victim")]
    assert len({line.seed for line in lines}) == 4
    assert trial_number(tuned.folder / "trial-0001.db") == 1
    for line in lines:
        settings: dict[str, Any] = {"search_images": 32, "verify_images": 32, "preset": "random-patch"}
        values = {name.removeprefix("search."): value for name, value in trial.params.items()}
        alone = scan(
            f"{zoo}:{line.index}",
            **settings,
            data="digits",
            budget=600,
            seed=line.seed,
            search={"rounds": 12, **values},
            driver={"check_images": 16, "first_look": 6},
        )
        assert (line.verdict, line.score, line.queries) == (alone.verdict, alone.score, alone.spent)
        assert line.queries <= 600
    attributes = trial.user_attrs
    assert attributes["mean_queries"] == sum(line.queries for line in lines) / 4
    assert attributes["ledger"] == "trial-0001.db"
    assert trial.value == attributes["auroc"]


def test_each_checkpoint_is_reported(tmp_path: Path) -> None:
    tuned = task(tmp_path, trials=1, checkpoints=(0.2, 0.5))
    list(work(tuned, ScanObjective))
    assert list(read(tuned).trials[0].intermediate_values) == [120, 300]
    pareto = task(tmp_path, "pareto", trials=1)
    list(work(pareto, ScanObjective))
    (trial,) = read(pareto).trials
    assert trial.intermediate_values == {}
    assert trial.values == [trial.user_attrs["auroc"], trial.user_attrs["mean_queries"]]


class Dying(ScanObjective):
    """Its process ends when it was told of progress so often."""

    def __init__(self, task: Task, after: int) -> None:
        super().__init__(task, self._tell)
        self._left = after

    def _tell(self, _done: int, _total: int | None, _trial: str = "", /) -> None:
        self._left -= 1
        if self._left < 0:
            raise Killed


SHORT: dict[str, Any] = {"trials": 2, "startup": 1, "allowed_false_alarms": 0.25}


@pytest.fixture(scope="module")
def unbroken(demo_victims: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Task, list[Any]]:
    """A study that nothing befell, and all that it says."""
    folder = tmp_path_factory.mktemp("unbroken")
    tune_zoo(demo_victims, folder)
    tuned = task(folder, **SHORT)
    return tuned, worked(tuned)


@pytest.mark.parametrize("after", [2, 11, 22])
def test_a_study_broken_off_anywhere_comes_to_the_same_and_pays_for_nothing_twice(
    tmp_path: Path, unbroken: tuple[Task, list[Any]], after: int
) -> None:
    whole, said = unbroken
    tuned = task(tmp_path, **SHORT)
    with pytest.raises(Killed):
        list(work(tuned, lambda broken: Dying(broken, after)))
    assert worked(tuned) == said
    for one, other in zip(*(sorted(known.folder.glob("*.db")) for known in (whole, tuned)), strict=True):
        assert check(other) == []
        assert list(reads.runs(one)["spent"]) == list(reads.runs(other)["spent"])


def test_a_hopeless_trial_ends_at_its_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    areas: Iterator[float] = iter([0.6, 0.7, 0.8, 0.8, 0.9, 0.9, 0.1, 0.1])
    monkeypatch.setattr("studies.tune.objective.auroc", lambda _: next(areas))
    tuned = task(tmp_path, trials=3, startup=2, checkpoints=(0.3, 0.6))
    list(work(tuned, ScanObjective))
    trials = read(tuned).trials
    assert [(t.state, t.value) for t in trials] == [
        *[(TrialState.COMPLETE, value) for value in (0.8, 0.9)],
        (TrialState.PRUNED, 0.1),
    ]
    assert list(trials[2].intermediate_values) == [180]
    spent = [list(reads.runs(tuned.folder / f"trial-000{number}.db")["spent"]) for number in (0, 2)]
    assert max(spent[1]) < 180 + 120 < max(spent[0])
    ended = read_lines(tuned.folder / "trial-0002.jsonl")
    assert len(ended) == trials[2].user_attrs["scans"] < 4


def test_too_many_false_alarms_are_a_constraint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("studies.tune.objective.summary", lambda *_: {"fpr": 0.5, "mean_queries": 1.0})
    tuned = task(tmp_path, trials=1, allowed_false_alarms=0.125)
    list(work(tuned, ScanObjective))
    assert read(tuned).trials[0].constraints == {"false_alarms": 0.375}
    with pytest.raises(ValueError, match="No feasible trials"):
        _ = read(tuned).best_trial


def test_settings_that_exclude_each_other_fail_the_trial_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tuned = task(tmp_path, trials=2)

    def refused(*_: Any) -> Any:
        raise ConfigError("not together")

    with monkeypatch.context() as patch:
        patch.setattr("studies.tune.trial_scans.with_values", refused)
        first = next(work(tuned, ScanObjective))
    assert (first.state, first.user_attrs["error"]) == (TrialState.FAIL, "not together")
    assert [t.state for t in work(tuned, ScanObjective)] == [TrialState.COMPLETE]
    assert isinstance(read(tuned), optuna.Study)


def test_a_trial_that_was_paid_for_with_other_threads_waits_for_them_or_for_new_run(
    tmp_path: Path, unbroken: tuple[Task, list[Any]]
) -> None:
    tuned, threads = task(tmp_path, **SHORT), torch.get_num_threads()
    with pytest.raises(Killed):
        list(work(tuned, lambda broken: Dying(broken, 11)))
    paid = {path.name: [row["spent"] for row in reads.listed(path)] for path in tuned.folder.glob("*.db")}
    try:
        torch.set_num_threads(threads + 1)
        with pytest.raises(PaidElsewhere, match=f"made with threads {threads}, now {threads + 1}.*--new-run"):
            list(work(tuned, ScanObjective))
        states = [trial.state for trial in read(tuned).trials]
        assert states.count(TrialState.RUNNING) == 1
        assert TrialState.FAIL not in states
        assert {path.name: [row["spent"] for row in reads.listed(path)] for path in tuned.folder.glob("*.db")} == paid
    finally:
        torch.set_num_threads(threads)
    assert worked(tuned) == unbroken[1]


def test_new_run_begins_the_scans_of_a_trial_anew(tmp_path: Path) -> None:
    tuned, threads = task(tmp_path, **SHORT | {"trials": 1}), torch.get_num_threads()
    with pytest.raises(Killed):
        list(work(tuned, lambda broken: Dying(broken, 5)))
    (ledger,) = tuned.folder.glob("*.db")
    begun = len(reads.listed(ledger))
    try:
        torch.set_num_threads(threads + 1)
        (trial,) = work(replace(tuned, new_run=True), ScanObjective)
    finally:
        torch.set_num_threads(threads)
    assert trial.state == TrialState.COMPLETE
    assert len(reads.listed(ledger)) == begun + 4
