"""The best of what was tried, the front, and the file of settings that scans as it did."""

from __future__ import annotations

from pathlib import Path

import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.trial import TrialState, create_trial

from simkit.errors import DataError
from studies.scan.config import ScanConfig
from studies.scan.settings_file import settings_from, settings_in
from studies.study.config import SET_ELSEWHERE
from studies.study.study_file import StudyFile
from studies.tune.best import Tried, all_tried, best, front, settings_file
from studies.tune.prepare import task_of
from studies.tune.space import with_values
from studies.tune.task import Task
from tests.studies.tune.files import HEAD, TUNE, written

SERVICES = "[services.exact]\n[services.label]\nlabel_only = true\n"


def tried(number: int, auroc: float, queries: float) -> Tried:
    return Tried(number, "complete", {}, auroc, True, {"mean_queries": queries}, {})


def told(study: optuna.Study, auroc: float, queries: float, state: TrialState = TrialState.COMPLETE) -> None:
    attributes = {"auroc": auroc, "mean_queries": queries}
    values = [auroc] if len(study.directions) == 1 else [auroc, queries]
    x = {"x": 0.5}
    study.add_trial(
        create_trial(
            state=state, values=values, params=x, distributions={"x": FloatDistribution(0, 1)}, user_attrs=attributes
        )
    )


def test_the_front_has_what_no_other_beats_the_cheapest_first() -> None:
    given = [(0.9, 500), (0.8, 300), (0.8, 200), (0.7, 400), (0.95, 900), (0.9, 500), (0.5, 200)]
    found = front([tried(number, *point) for number, point in enumerate(given)])
    assert [one.number for one in found] == [2, 0, 4]


def test_of_equal_areas_the_fewest_queries_are_best_then_the_first_trial() -> None:
    study = optuna.create_study(direction="maximize")
    for auroc, queries in ((0.8, 100), (0.9, 300), (0.9, 200), (0.9, 200)):
        told(study, auroc, queries)
    told(study, 0.99, 50, TrialState.PRUNED)
    assert [one.number for one in best(study)] == [2]


def test_what_breaks_the_constraint_or_was_begun_in_vain_is_not_the_best() -> None:
    study = optuna.create_study(direction="maximize")
    trial = study.ask()
    trial.set_user_attr("auroc", 0.9)
    trial.set_user_attr("mean_queries", 100.0)
    trial.set_constraint("false_alarms", 0.1)
    study.tell(trial, 0.9)
    with pytest.raises(DataError, match="no complete trial has an allowed FPR"):
        best(study)
    told(study, 0.6, 100)
    surplus = study.ask()
    surplus.set_user_attr("surplus", True)
    study.tell(surplus, state=TrialState.FAIL)
    assert [one.number for one in best(study)] == [1]
    assert [(one.number, one.feasible) for one in all_tried(study)] == [(0, False), (1, True)]


def test_two_objectives_give_the_front() -> None:
    study = optuna.create_study(directions=["maximize", "minimize"])
    for auroc, queries in ((0.8, 100), (0.9, 300), (0.7, 200)):
        told(study, auroc, queries)
    assert [one.number for one in best(study)] == [0, 1]
    assert {t.number for t in study.best_trials} == {0, 1}


VALUES = {"search.largest_side": 3, "search.required_success": 0.7}


def tuned_behind_labels(folder: Path) -> Task:
    tune = SERVICES + TUNE.replace("[tune]\n", '[tune]\nservice = "label"\n', 1)
    return task_of(StudyFile.load(written(folder, tune=tune)), "at", 450)


def test_a_study_scans_with_the_settings_file_as_the_trial_did(demo_victims: Path, zoo: Path, tmp_path: Path) -> None:
    task = tuned_behind_labels(tmp_path)
    (tmp_path / "best.toml").write_text(settings_file(task, Tried(5, "complete", VALUES, 0.8, True, {}, {})))
    head = HEAD.replace('"tune"', '"report"').replace("600", "900").split("settings")[0]
    zoos = f'[[zoos]]\nfolder = "{demo_victims / "zoo"}"\n'
    entry = '[[detectors]]\nname = "random-patch"\nservices = ["label"]\nsettings_file = "best.toml"\n'
    (tmp_path / "after.toml").write_text(f"{head}{zoos}{SERVICES}{entry}")
    cells = StudyFile.load(tmp_path / "after.toml").cells()
    assert [(cell.service, cell.seed) for cell in cells] == [("label", 0), ("label", 1)]
    for cell, (study, _) in zip(cells, task.zoos, strict=True):
        tried = task.method.config(with_values(study.settings, VALUES))
        assert cell.method.config(cell.study.settings) == tried


def test_a_scan_with_the_settings_file_is_the_scan_of_the_trial(zoo: Path, tmp_path: Path) -> None:
    task = tuned_behind_labels(tmp_path)
    (tmp_path / "best.toml").write_text(settings_file(task, Tried(5, "complete", VALUES, 0.8, True, {}, {})))
    study, _ = task.zoos[1]
    images = {name: study.settings[name] for name in ("data", "image_size")}
    mine = ScanConfig.of(settings_from(tmp_path / "best.toml") | images | {"seed": 1})
    assert mine.identity() == task.method.config(with_values(study.settings, VALUES)).identity()
    assert mine.oracle.label_only


def test_every_kind_of_value_comes_back_from_the_file(zoo: Path, tmp_path: Path) -> None:
    given = 'driver = { check_images = 16 }, mean = [0.5], std = [0.25], name = "ä 😀", chunk = 7 }'
    head = HEAD.replace("driver = { check_images = 16 } }", given)
    task = task_of(StudyFile.load(written(tmp_path, head=head)), "at", 450)
    values = {"search.required_success": 1e-05}
    (tmp_path / "best.toml").write_text(settings_file(task, Tried(5, "complete", values, None, True, {}, {})))
    read = settings_in(tmp_path / "best.toml")
    study, _ = task.zoos[0]
    same = {name: value for name, value in with_values(study.settings, values).items() if name not in SET_ELSEWHERE}
    assert read == same | {"preset": "random-patch", "budget": 450}
