"""The best of what was tried, and the front."""

from __future__ import annotations

import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.trial import TrialState, create_trial

from simkit.errors import DataError
from studies.tune.best import Tried, all_tried, best, front


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
    with pytest.raises(DataError, match="no trial went to its end within the allowed false alarms"):
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
