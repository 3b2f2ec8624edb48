"""Draws that depend on the seed, the trial's number and the trials before, and on nothing else."""

from __future__ import annotations

from typing import Any

import optuna
import pytest
from optuna.trial import Trial

from studies.study.tune_config import Range, Sampler, Span, TuneConfig
from studies.tune.sampler import sampler
from studies.tune.space import suggested

SPACE: dict[str, Range] = {"x": Span(low=0.0, high=1.0), "y": Span(low=1, high=100)}


def study_of(kind: Sampler, seed: int = 0, first: dict[str, Any] | None = None) -> optuna.Study:
    config = TuneConfig(space=SPACE, sampler=kind, seed=seed, startup=4, population=3)
    return optuna.create_study(direction="maximize", sampler=sampler(config, first))


def drawn(study: optuna.Study, trials: int) -> list[dict[str, Any]]:
    for _ in range(trials):
        trial = study.ask()
        values = suggested(trial, SPACE)
        study.tell(trial, -abs(float(values["x"]) - 0.3))
    return [trial.params for trial in study.trials]


@pytest.mark.parametrize("kind", ["tpe", "random", "nsga2"])
def test_equal_seeds_draw_alike_and_others_do_not(kind: Sampler) -> None:
    one, same, other = (drawn(study_of(kind, seed), 10) for seed in (0, 0, 1))
    assert one == same
    assert one != other
    assert len({tuple(values.items()) for values in one}) > 5


@pytest.mark.parametrize("kind", ["tpe", "random", "nsga2"])
def test_another_process_goes_on_as_the_first_would_have(kind: Sampler) -> None:
    whole = drawn(study_of(kind), 10)
    first = study_of(kind)
    drawn(first, 6)
    second = study_of(kind)
    second.add_trials(first.trials)
    assert drawn(second, 4) == whole


@pytest.mark.parametrize("kind", ["tpe", "random"])
@pytest.mark.parametrize("at", [2, 7])
def test_a_trial_that_was_broken_off_between_two_settings_draws_the_second_as_before(kind: Sampler, at: int) -> None:
    whole = drawn(study_of(kind), at + 1)
    study = study_of(kind)
    drawn(study, at)
    trial = study.ask()
    assert trial.suggest_float("x", 0.0, 1.0) == whole[at]["x"]
    again = Trial(study, trial._trial_id)
    assert suggested(again, SPACE) == whole[at]


def test_the_first_trial_has_the_values_that_it_is_given() -> None:
    given = {"x": 0.25, "y": 7}
    values = drawn(study_of("tpe", first=given), 3)
    assert values[0] == given
    assert values[1:] == drawn(study_of("tpe"), 3)[1:]


def test_settings_of_one_trial_are_drawn_apart() -> None:
    space: dict[str, Range] = {"x": Span(low=0.0, high=1.0), "y": Span(low=0.0, high=1.0)}
    values = suggested(study_of("random").ask(), space)
    assert values["x"] != values["y"]
