"""Workers that die: their unit goes on elsewhere, one that kills every process is given up, and no other is touched."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from simkit.errors import ConfigError
from studies.study import executors
from studies.study.executors import Workers
from studies.study.result_file import read_lines
from studies.study.unit import Outcome
from studies.study.workers import TRIES, work_through
from tests.studies.study.detectors import HERE
from tests.studies.study.studies import study_of, units


def told(outcomes: list[Outcome]) -> list[tuple[str, str]]:
    return sorted((outcome.unit.detector.split(":")[1], outcome.state) for outcome in outcomes)


@pytest.mark.process
def test_a_unit_that_kills_every_process_is_told_and_stops_no_other(demo_victims: Path, tmp_path: Path) -> None:
    study = study_of(demo_victims / "zoo", tmp_path)
    both = (*units(study, f"{HERE}:DIES")[:1], *units(study, f"{HERE}:ASKS"))
    outcomes = list(work_through(both, Workers(2)))
    assert told(outcomes) == [("ASKS", "scanned"), ("ASKS", "scanned"), ("DIES", "failed")]
    said = next(outcome.messages for outcome in outcomes if outcome.state == "failed")
    assert f"{TRIES} processes died at it" in said[0]
    assert len(list(study.ledgers.glob("*-tests_studies_study_detectors_DIES-*.db"))) == TRIES
    assert len(read_lines(study.out)) == 2


@pytest.mark.process
def test_one_that_dies_once_is_scanned_after_all(
    demo_victims: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    study = study_of(demo_victims / "zoo", tmp_path)
    (outcome,) = work_through(units(study, f"{HERE}:DIES_ONCE")[:1], Workers(2))
    assert outcome.line is not None
    assert outcome.line.notes.endswith("was interrupted after 64 queries")


@pytest.mark.process
@pytest.mark.parametrize(
    ("executor", "said"),
    [("elsewhere", "no executor 'elsewhere'; write processes"), ("dask://localhost:1", "no scheduler answers")],
)
def test_workers_that_are_not_there_are_told(
    executor: str, said: str, demo_victims: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if executor.startswith("dask"):
        pytest.importorskip("distributed", reason="no Dask: pip install 'b3d-simkit[dask]'")
    monkeypatch.setattr(executors, "_PATIENCE", 0.5)
    with pytest.raises(ConfigError, match=said):
        list(work_through(units(study_of(demo_victims / "zoo", tmp_path), f"{HERE}:ASKS"), Workers(2, 1, executor)))


def test_without_dask_it_is_told_how_to_get_it(
    demo_victims: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ConfigError, match=r"needs Dask: pip install 'b3d-simkit\[dask\]'"):
        list(work_through(units(study_of(demo_victims / "zoo", tmp_path), f"{HERE}:ASKS"), Workers(1, 1, "dask://h:1")))


class Ghosts:
    """A cluster of whose workers there are as many as `there` says, at every look one further."""

    def __init__(self, *there: int | None) -> None:
        self._there = list(there)

    def nthreads(self) -> dict[str, int]:
        there = self._there.pop(0)
        if there is None:
            raise TimeoutError
        return dict.fromkeys(map(str, range(there)), 1)


@pytest.mark.parametrize(
    ("there", "said"), [((2, 0, 0, 1, 0, 0, 0, 0), "no worker is left"), ((2, 1, None), "went away")]
)
def test_a_cluster_without_workers_or_scheduler_is_told_of(there: tuple[int | None, ...], said: str) -> None:
    seconds = iter(range(0, 1000, 20))
    watch = executors.Watch(Ghosts(*there), "host:1", lambda: float(next(seconds)))
    for _ in there[:-1]:
        watch()
    with pytest.raises(ConfigError, match=said):
        watch()
