"""Several processes at one study, on a real PostgreSQL."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from optuna.trial import TrialState

from db import reads
from db.check import check
from db.errors import StorageError
from simkit.errors import ConfigError
from studies.cli.main import main
from studies.study.result_file import read_lines
from studies.tune.run import tune
from studies.tune.storage import placed, read
from tests.postgres import server
from tests.studies.tune.fakes import Dying, Parabola, task_of
from tests.studies.tune.files import HEAD, TUNE, written

pytestmark = pytest.mark.process


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with server() as found:
        yield placed(found, Path(), Path())


def test_four_processes_bring_two_hundred_trials_to_an_end(url: str, zoo: Path, tmp_path: Path) -> None:
    task = task_of(zoo, tmp_path, storage=url, trials=200, workers=4, seed=1)
    told = [trial.number for trial in tune(task, Parabola)]
    trials = read(task).trials
    assert Counter(trial.state for trial in trials) == {TrialState.COMPLETE: 200}
    assert sorted(told) == [trial.number for trial in trials] == list(range(200))
    assert len({trial.user_attrs["worker"] for trial in trials}) > 1
    assert list(task.folder.glob("worker-*")) == []
    assert list(tune(task, Parabola)) == []


def test_a_process_that_dies_leaves_its_trial_to_the_others(url: str, zoo: Path, tmp_path: Path) -> None:
    task = task_of(zoo, tmp_path, storage=url, trials=12, workers=2, seed=2)
    with pytest.raises(ConfigError, match="a process died, perhaps out of memory; run the same command again"):
        list(tune(task, Dying))
    running = [trial for trial in read(task).trials if trial.state == TrialState.RUNNING]
    assert [trial for trial in running if trial.number == 5]
    list(tune(task, Parabola))
    trials = read(task).trials
    assert [trial.number for trial in trials] == list(range(12))
    assert {trial.state for trial in trials} == {TrialState.COMPLETE}
    assert all(trials[trial.number].params.items() >= trial.params.items() for trial in running)
    assert list(task.folder.glob("worker-*")) == []


def test_two_processes_scan_each_into_ledgers_of_its_own(
    url: str, zoo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = written(tmp_path, head=HEAD.replace("[0, 1]", "[0]"), tune=TUNE.replace("trials = 4", "trials = 3"))
    assert main(["study", "tune", str(file), "--at", "450", "--storage", url, "--workers", "2"]) == 0
    assert "simkit" not in capsys.readouterr().err
    folder = tmp_path / "tune" / "small-at-450-seed-0"
    ledgers = sorted(folder.glob("*.db"))
    assert [path.name for path in ledgers] == [f"trial-000{number}.db" for number in range(3)]
    assert [check(path) for path in ledgers] == [[], [], []]
    for path in ledgers:
        spent = dict(zip(reads.runs(path)["model_hash"], reads.runs(path)["spent"], strict=True))
        lines = read_lines(path.with_suffix(".jsonl"))
        assert {line.model_hash: line.queries for line in lines}.items() <= spent.items()


def test_a_database_that_is_not_there_is_told(url: str, zoo: Path, tmp_path: Path) -> None:
    task = task_of(zoo, tmp_path, storage=url.replace("/postgres?", "/none?"))
    with pytest.raises(StorageError, match='database "none" does not exist; see --storage'):
        list(tune(task, Parabola))
