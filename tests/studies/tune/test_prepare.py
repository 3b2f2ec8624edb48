"""From a study file to a task; what cannot be tuned is told before a query."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from simkit.errors import ConfigError
from simkit.zoo.manifest import Manifest
from studies.study.study_file import StudyFile
from studies.tune.prepare import task_of
from studies.tune.task import Mode, Task
from tests.studies.tune.files import HEAD, TUNE, written

SPAN = "{ low = 1, high = 2 }"


def prepared(path: Path, mode: Mode = "at", budget: int | None = None, **changes: Any) -> Task:
    return task_of(StudyFile.load(path), mode, budget, changes)


def test_a_task_scans_every_victim_with_every_seed(zoo: Path, tmp_path: Path) -> None:
    services = "[services.exact]\n[services.label]\nlabel_only = true\n"
    file = written(tmp_path, tune=services + TUNE.replace("[tune]\n", '[tune]\nservice = "label"\n', 1))
    task = prepared(file, budget=300, seed=3)
    assert [(s.settings["seed"], [v.index for v in victims]) for s, victims in task.zoos] == [(0, [0, 1]), (1, [0, 1])]
    settings = task.zoos[0][0].settings
    assert (settings["budget"], settings["oracle"].label_only, settings["search"]) == (300, True, {"rounds": 12})
    assert settings["driver"] == {"check_images": 16, "first_look": 6}
    assert task.study_name == "small-at-300-seed-3"
    assert task.folder == tmp_path / "tune" / "small-at-300-seed-3"
    assert task.storage == f"sqlite:///{tmp_path / 'small-optuna.db'}"
    assert task.checkpoints == (150, 225)
    assert prepared(file, "pareto").checkpoints == ()
    assert prepared(file, "pareto").budget == 600


def test_a_storage_is_seen_from_the_file_or_from_here(
    zoo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    file = written(tmp_path, tune=TUNE.replace("[tune]\n", '[tune]\nstorage = "sqlite:///own.db"\n', 1))
    assert prepared(file).storage == f"sqlite:///{tmp_path / 'own.db'}"
    assert prepared(file, storage="sqlite:///mine.db").storage == f"sqlite:///{tmp_path / 'here' / 'mine.db'}"


@pytest.mark.parametrize(
    ("tune", "head", "changes", "said"),
    [
        ("", HEAD + 'detectors = [{name = "race"}]', {}, "study.toml: has no [tune] table"),
        (TUNE, HEAD, {"workers": 2}, "2 workers need a database for several writers"),
        (TUNE, HEAD, {"storage": "mysql://x"}, "storage 'mysql://x': give sqlite:///FILE or postgresql://"),
        (TUNE.replace("random-patch", "label-noise"), HEAD, {}, "[tune] label-noise is no search with settings"),
        (TUNE.replace("random-patch", "auto"), HEAD, {}, "[tune] auto has stages, whose scores do not compare; name a"),
        (TUNE.replace("random-patch", "no-such"), HEAD, {}, "no detector 'no-such'"),
        (
            TUNE.replace("{ search", "{ budget = 9, search"),
            HEAD,
            {},
            "tune: budget cannot be set here; use budget",
        ),
        (TUNE.replace("{ search", "{ oracle = {}, search"), HEAD, {}, "oracle cannot be set here; use services"),
        (f"{TUNE}\n[tune.space]\nseed.choices = [1, 2]", HEAD, {}, "tune: seed cannot be set here; use seeds instead"),
        (
            f'{TUNE}\n[tune.space]\n"oracle.decimals" = {SPAN}',
            HEAD,
            {},
            "oracle cannot be set here; use services",
        ),
        (f'{TUNE}\n[tune.space]\n"rule.threshold" = {SPAN}', HEAD, {}, "thresholds are chosen on split 'calibrate'"),
        (f"{TUNE}\n[tune.space.rule]\nthreshold = {SPAN}", HEAD, {}, "thresholds are chosen on split 'calibrate'"),
        (TUNE.replace("{ search", "{ rule.threshold = 1, search"), HEAD, {}, "tune: rule.threshold cannot be tuned"),
        (TUNE.replace("low = 2", "low = 0"), HEAD, {}, "search.largest_side = 0: "),
        (TUNE, HEAD.replace("seeds", "zoo = 1\nseeds"), {}, "there is no key 'zoo'"),
        (TUNE, HEAD.replace('"tune"', '"report"'), {}, "[tune] needs split = 'tune', not 'report'"),
    ],
)
def test_what_cannot_be_tuned(
    zoo: Path, tmp_path: Path, tune: str, head: str, changes: dict[str, Any], said: str
) -> None:
    file = written(tmp_path, head=head, tune=tune)
    with pytest.raises(ConfigError) as caught:
        prepared(file, **changes)
    assert said in str(caught.value)
    assert str(caught.value).startswith("study.toml: ")
    assert not (tmp_path / "tune").exists()
    assert list(tmp_path.glob("*.db")) == []


def test_a_report_zoo_is_not_tuned_on(demo_victims: Path, zoo: Path, tmp_path: Path) -> None:
    file = written(tmp_path)
    file.write_text(file.read_text().replace('folder = "zoo"', f'folder = "{demo_victims / "zoo"}"'))
    with pytest.raises(ConfigError, match="is of split 'report', but the study of 'tune'"):
        prepared(file)


def test_one_kind_of_victims_alone_has_no_roc_curve(zoo: Path, tmp_path: Path) -> None:
    manifest = Manifest.load(zoo)
    manifest.model_copy(update={"victims": manifest.victims[:1]}).save(zoo)
    with pytest.raises(ConfigError, match=r"all 2 victims are \w+; AUROC needs clean and backdoored ones"):
        prepared(written(tmp_path))
