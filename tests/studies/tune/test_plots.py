"""Pictures of what was tuned."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution

from studies.study.study_file import StudyFile
from studies.tune.best import Tried
from studies.tune.history import Tuned, importances, tuned
from studies.tune.plots import plots
from studies.tune.run import work
from studies.tune.task import Mode
from tests.studies.tune.fakes import Parabola, task_of
from tests.studies.tune.files import written

pytestmark = pytest.mark.slow

DRAWN: dict[str, BaseDistribution] = {
    "search.sigma": FloatDistribution(0.1, 10, log=True),
    "search.grid": CategoricalDistribution((8, "all")),
}


def group(mode: Mode = "at", trials: int = 12) -> Tuned:
    """AUROC is the higher the larger sigma is, whatever the grid; the last trial of each seed is pruned."""

    def one(number: int) -> Tried:
        values = {"search.sigma": 0.1 * 1.4**number, "search.grid": (8, "all")[number % 2]}
        state = "pruned" if number == trials - 1 else "complete"
        known = {"mean_queries": 100.0 * number, "tpr": 0.5, "fpr": 0.25}
        return Tried(number, state, values, (40 + 5 * number) / 100, True, known, DRAWN)

    return Tuned(f"{mode}-900", mode, 900, {seed: tuple(map(one, range(trials))) for seed in (0, 3)})


def test_what_decides_matters_most() -> None:
    shares = importances(group())
    assert list(shares) == ["search.sigma", "search.grid"]
    assert sum(shares.values()) == pytest.approx(1.0)
    assert shares["search.sigma"] > 0.8
    assert importances(group(trials=2)) == {}


@pytest.mark.parametrize(
    ("mode", "names"), [("at", ["importance", "slice"]), ("pareto", ["importance", "slice", "front"])]
)
def test_every_figure_comes_in_three_forms_with_what_is_drawn(mode: Mode, names: list[str]) -> None:
    found = plots(group(mode))
    assert [plot.name for plot in found] == [f"tune-{mode}-900-{name}" for name in names]
    for plot in found:
        assert plot.svg.lstrip().startswith(b"<?xml")
        assert plot.png.startswith(b"\x89PNG")
    rows = list(csv.DictReader(io.StringIO(found[1].csv)))
    assert len(rows) == 24
    assert rows[-1] == {
        **{"sampler_seed": "3", "trial": "11", "state": "pruned", "search.grid": "all", "auroc": "0.95"},
        **{"search.sigma": str(0.1 * 1.4**11), "mean_queries": "1100.0", "tpr": "0.5", "fpr": "0.25"},
    }
    assert [(plot.svg, plot.png, plot.csv) for plot in plots(group(mode))] == [(p.svg, p.png, p.csv) for p in found]


def test_nothing_to_draw_is_no_figure() -> None:
    assert plots(Tuned("at-900", "at", 900, {0: ()})) == []


def test_the_studies_of_a_file_are_those_of_its_name(zoo: Path, tmp_path: Path) -> None:
    file = StudyFile.load(written(tmp_path, head='name = "fake"\nsplit = "tune"'))
    assert tuned(file) == []
    storage = f"sqlite:///{tmp_path / 'fake-optuna.db'}"
    for seed, trials in ((0, 2), (1, 3)):
        list(work(task_of(zoo, tmp_path, storage=storage, seed=seed, trials=trials), Parabola))
    (found,) = tuned(file)
    assert (found.name, found.budget) == ("at-100", 100)
    assert {seed: len(own) for seed, own in found.trials.items()} == {0: 2, 1: 3}
    assert found.title == "AUROC at 100 queries per scan"
    other = StudyFile.load(written(tmp_path, head='name = "fak"\nsplit = "tune"'))
    assert tuned(other, storage) == []
