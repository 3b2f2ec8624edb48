"""What a study file says, and in one line what it must not say."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from simkit.errors import ConfigError
from simkit.zoo.manifest import Manifest
from studies.study.detectors import method
from studies.study.study_file import StudyFile
from studies.study.unit import scan_unit
from tests.studies.study.files import ASKS, HEAD, LOOKS, written

SIGMA = "[tune.space.search]\nsigma ="
SERVICES = "[services.scores]\n[services.label]\nlabel_only = true\n"


@pytest.fixture
def zoo(demo_victims: Path) -> Path:
    return demo_victims / "zoo"


def test_a_file_is_its_grid(zoo: Path, tmp_path: Path) -> None:
    more = f'{SERVICES}[[detectors]]\nname = "random-patch"\nservices = ["label"]\nbudget = 70\n'
    file = StudyFile.load(written(tmp_path, zoo, ASKS, LOOKS, head=f"{HEAD}seeds = [3, 4]", more=more))
    grid = [(cell.detector, cell.service, cell.seed) for cell in file.cells()]
    of_one = [(ASKS, "scores"), (ASKS, "label"), (LOOKS, "weights"), ("random-patch", "label")]
    assert grid == [(*pair, seed) for seed in (3, 4) for pair in of_one]
    todo = file.plan().todo
    assert [unit.victim.index for unit in todo] == [0] * 4 + [1] * 4 + [0] * 4 + [1] * 4
    settings = todo[3].study.settings
    assert (settings["budget"], settings["oracle"].label_only, settings["seed"]) == (70, True, 3)
    assert (settings["search_images"], settings["image_shape"]) == (32, (1, 8, 8))
    assert len({unit.key for unit in todo}) == len(todo) == 16


def test_settings_of_a_detector_go_over_those_of_the_study(zoo: Path, tmp_path: Path) -> None:
    head = HEAD.replace("settings = {", "settings = {search = {rounds = 5, largest_side = 2}, ")
    more = '[[detectors]]\nname = "random-patch"\nsettings.search.rounds = 7\n'
    file = StudyFile.load(written(tmp_path, zoo, "random-patch", head=head, more=more))
    plain, changed = file.cells()
    assert (plain.detector, changed.detector) == ("random-patch", "random-patch search.rounds=7")
    assert plain.study.settings["search"] == {"rounds": 5, "largest_side": 2}
    assert changed.study.settings["search"] == {"rounds": 7, "largest_side": 2}


def test_a_study_may_trust_its_models_and_asks_nothing_anew_for_it(zoo: Path, tmp_path: Path) -> None:
    trusting = HEAD.replace("settings = {", "settings = {trust_model = true, ")
    first, second = (
        StudyFile.load(written(tmp_path, zoo, ASKS, LOOKS, head=head)).plan().todo for head in (HEAD, trusting)
    )
    assert [unit.key for unit in first] == [unit.key for unit in second]
    for units, trusted in ((first, False), (second, True)):
        assert all(method(unit.detector).config(unit.study.settings).trust_model is trusted for unit in units)


def test_paths_are_relative_to_the_file(zoo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    places = 'results = "kept/lines.jsonl"\nledgers = "kept/ledgers"\n'
    path = written(tmp_path, Path(os.path.relpath(zoo, tmp_path)), ASKS, head=HEAD + places)
    path.write_text(path.read_text().replace("[[detectors]]", 'data = "images.npz"\n[[detectors]]', 1))
    monkeypatch.chdir(tmp_path)
    file = StudyFile.load("study.toml")
    assert (file.results, file.ledgers) == (tmp_path / "kept" / "lines.jsonl", tmp_path / "kept" / "ledgers")
    assert file.reports == tmp_path / "report"
    assert file.zoos[0].data == str(tmp_path / "images.npz")
    assert file.zoos[0].folder.samefile(zoo)


def test_images_that_a_zoo_names_are_the_same_from_every_folder(
    zoo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = Manifest.load(zoo)
    made = manifest.model_copy(update={"spec": manifest.spec.model_copy(update={"data": "images.npz"})})
    monkeypatch.setattr(Manifest, "read", lambda _file: made)
    monkeypatch.chdir(tmp_path)
    (opened,) = StudyFile.load(written(tmp_path, zoo, ASKS)).zoos
    assert opened.data == str(tmp_path / "images.npz")


def test_what_is_done_is_not_left(zoo: Path, tmp_path: Path) -> None:
    file = StudyFile.load(written(tmp_path, zoo, ASKS, LOOKS))
    first, *others = file.plan().todo
    line = scan_unit(first).line
    again = file.plan()
    assert again.lines == (line,)
    assert [unit.key for unit in again.todo] == [unit.key for unit in others]
    assert {unit.key: again.cells[unit.key].detector for unit in others} == {unit.key: unit.detector for unit in others}


def test_a_white_box_is_scanned_once_whatever_the_budgets(zoo: Path, tmp_path: Path) -> None:
    more = f'{SERVICES}[[detectors]]\nname = "{LOOKS}"\nbudget = 5\n'
    assert len(StudyFile.load(written(tmp_path, zoo, LOOKS, more=more)).plan().todo) == 2


def test_the_hash_is_of_what_is_scanned(zoo: Path, tmp_path: Path) -> None:
    def of(head: str = "", more: str = "") -> str:
        return StudyFile.load(written(tmp_path, zoo, ASKS, head=HEAD + head, more=more)).hash

    assert of() == of('results = "other.jsonl"', "[workers]\nprocesses = 3\n") == of("budgets = [100]")
    assert of() != of("seed = 1")
    assert of() != of(more=SERVICES)


@pytest.mark.parametrize(
    ("head", "more", "said"),
    [
        ("budgt = 3", "", "there is no key 'budgt'; did you mean 'budget'?"),
        ("", "[[detectors]]\nname = 'race'\nservise = []", "no key 'servise' in detectors[race]; did you mean"),
        ("", "[services.few]\ntopk = 3", "few has no key 'topk'; did you mean 'top_k'?"),
        ("", "[services.few]\ntop_k = 0", "services: few: top_k = 0: "),
        ("", "[services.few]\ntop_k = 1\nlabel_only = true", "few: label_only and top_k exclude each other"),
        ("", "[workers]\nprocesses = 0", "workers.processes = 0: "),
        ("", "[workers]\nexecutor = 'dask'", "workers.executor = 'dask': "),
        ("seeds = [-1]", "", "seeds[0] = -1: "),
        ("seeds = [1, 1]", "", "seeds: give each value once"),
        ("budgets = [2001]", "", "budgets: 2001 exceeds the largest budget of 2000; raise budget"),
        ("[report]\nprice_per_thousand = -1", "", "report.price_per_thousand = -1: "),
        ("[report]\ncurrency = 'USD'", "", "currency is set without price_per_thousand"),
        (
            "",
            "[[detectors]]\nname = 'race'\nservices = ['top']",
            "race: there is no service 'top'; the file",
        ),
        ("", f"[[detectors]]\nname = '{ASKS}'", "is listed twice"),
        ("", "[[detectors]]\nname = 'no-such'", "detectors[no-such]: no detector 'no-such'"),
        ("", "[[detectors]]\nname = 'race'\nsettings.search.x = 1", "detectors[race]: search has no setting 'x'"),
        ("", "[[detectors]]\nname = 'race'\nsettings.budget = 1", "budget cannot be set here; use budget instead"),
        ("", "[[detectors]]\nbudget = 1", "detectors[1].name: is missing; set it"),
        ("", "[tune]", "[tune] needs split = 'tune', not 'report'"),
        ("", "[[zoos]]\nfolder = 'nowhere'", "zoos[nowhere]: there is no zoo in "),
        ("name =", "", "cannot be read: no TOML: "),
        ("seeds = []", "", "seeds: is empty; give one or more, or leave it out"),
        ("", f"{SIGMA} {{ low = 3.0, high = 0.3 }}", "tune.space.search.sigma: low 3.0 must lie below high 0.3"),
        ("", f"{SIGMA} {{ low = -1, high = 0.3, log = true }}", "search.sigma: log needs low above 0 and no step"),
        ("", f"{SIGMA} {{ low = 0.3, hgih = 3.0 }}", "'hgih' in tune.space.search.sigma"),
        ("", f"{SIGMA} {{ choices = [] }}", "tune.space.search.sigma"),
    ],
)
def test_what_is_wrong_is_told_in_one_line(head: str, more: str, said: str, zoo: Path, tmp_path: Path) -> None:
    path = written(tmp_path, zoo, ASKS, head=HEAD + head, more=more)
    with pytest.raises(ConfigError) as caught:
        StudyFile.load(path)
    told = str(caught.value)
    assert told.startswith("study.toml: ")
    assert said in told
    assert "\n" not in told
    assert [entry.name for entry in tmp_path.iterdir()] == ["study.toml"]


@pytest.mark.parametrize(("data", "said"), [("cifar", "images (3, 8, 8) of 10 classes"), ("nowhere", "no such data")])
def test_images_that_are_not_the_zoos_stop_it_before_it_begins(data: str, said: str, zoo: Path, tmp_path: Path) -> None:
    pixels, labels = np.zeros((20, 8, 8, 3), np.uint8), np.arange(20) % 10
    np.savez(tmp_path / "cifar.npz", x_train=pixels, y_train=labels, x_test=pixels, y_test=labels)
    path = written(tmp_path, zoo, ASKS)
    path.write_text(path.read_text().replace("[[detectors]]", f'data = "{data}.npz"\n[[detectors]]', 1))
    with pytest.raises(ConfigError, match=r"^study\.toml: zoos\[zoo\]: ") as caught:
        StudyFile.load(path).plan()
    assert said in str(caught.value)


def test_images_are_wanted_where_a_detector_takes_some_and_need_not_name_classes(zoo: Path, tmp_path: Path) -> None:
    (tmp_path / "loose").mkdir()
    for number in range(64):
        Image.fromarray(np.full((8, 8), number, np.uint8)).save(tmp_path / "loose" / f"{number}.png")
    for data, detector in (("nowhere.npz", "b3d-ss"), ("loose", "random-patch")):
        path = written(tmp_path, zoo, detector)
        path.write_text(path.read_text().replace("[[detectors]]", f'data = "{data}"\n[[detectors]]', 1))
        assert len(StudyFile.load(path).plan().todo) == 2


def test_splits_are_not_mixed(zoo: Path, tmp_path: Path) -> None:
    manifest = Manifest.load(zoo)
    (tmp_path / "other").mkdir()
    manifest.model_copy(update={"spec": manifest.spec.model_copy(update={"split": "tune"})}).save(tmp_path / "other")
    path = written(tmp_path, zoo, ASKS, more='[[zoos]]\nfolder = "other"\n')
    with pytest.raises(ConfigError, match=r"study\.toml: zoos\[other\]: is of split 'tune', but the study of 'report'"):
        StudyFile.load(path)


def test_victims_that_are_not_there_are_told(zoo: Path, tmp_path: Path) -> None:
    path = written(tmp_path, zoo, ASKS, more=f'[[zoos]]\nfolder = "{zoo}"\nindices = "7-9"\n')
    with pytest.raises(ConfigError, match="no such victims; it has 0, 1"):
        StudyFile.load(path)


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.toml: cannot be read: No such file"):
        StudyFile.load(tmp_path / "none.toml")
