"""From ranges to settings of a scan."""

from __future__ import annotations

import optuna
import pytest

from simkit.errors import ConfigError
from studies.study.detectors import method
from studies.study.tune_config import B3D_SPACE, Choices, Range, Span
from studies.tune.space import check_space, defaults, suggested, with_values

EFFICIENT = method("b3d")
DIGITS = {"data": "digits"}


def test_every_value_that_can_be_drawn_is_one_that_the_ranges_have() -> None:
    space: dict[str, Range] = {
        "a": Span(low=1, high=9, step=4),
        "b": Span(low=1e-3, high=1e-1, log=True),
        "c": Choices(choices=("x", True, 3)),
        "d": Span(low=1, high=64, log=True),
    }
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(0))
    drawn = [suggested(study.ask(), space) for _ in range(40)]
    assert {one["a"] for one in drawn} == {1, 5, 9}
    assert {one["c"] for one in drawn} == {"x", True, 3}
    assert all(isinstance(one["d"], int) and 1 <= one["d"] <= 64 for one in drawn)
    small = [one for one in drawn if isinstance(one["b"], float) and 1e-3 <= one["b"] < 1e-2]
    assert 10 < len(small) < 30


def test_values_go_into_tables_and_leave_the_rest() -> None:
    settings = {"search": {"steps": 3, "sparsity": {"mode": "patience"}}, "seed": 1}
    told = with_values(settings, {"search.sparsity.weight": 0.5, "search.samples": 8, "seed": 2})
    assert told == {"search": {"steps": 3, "samples": 8, "sparsity": {"mode": "patience", "weight": 0.5}}, "seed": 2}
    assert settings["search"] == {"steps": 3, "sparsity": {"mode": "patience"}}


def test_the_default_space_is_one_that_the_detector_takes_with_its_own_values_inside() -> None:
    check_space(EFFICIENT, DIGITS, B3D_SPACE)
    assert defaults(EFFICIENT.config(DIGITS), B3D_SPACE) == {
        "search.sparsity.weight": 0.01,
        "search.sigma": 1.0,
        "search.samples": 10,
    }


def test_values_of_its_own_outside_the_space_are_none() -> None:
    config = EFFICIENT.config(DIGITS)
    assert defaults(config, {"search.samples": Span(low=60, high=100)}) is None
    assert defaults(config, {"search.samples": Span(low=20, high=100, step=20)}) is None
    assert defaults(config, {"search.grid": Choices(choices=(8, 16))}) == {"search.grid": 16}
    assert defaults(config, {"rule.threshold": Span(low=0.1, high=0.5), "search_images": Span(low=8, high=256)}) == {
        "rule.threshold": 0.25,
        "search_images": 128,
    }


@pytest.mark.parametrize(
    ("name", "values", "said"),
    [
        ("search.no_such", Span(low=1, high=2), "search.no_such = 1: search has no setting 'no_such'"),
        ("search.samples", Span(low=10, high=101), "search.samples = 101: antithetic noise needs an even number"),
        ("search.sparsity.weight", Span(low=0.01, high=0.5), "search.sparsity.weight = 0.5: sparsity weight 0.5"),
        ("budget.deep", Span(low=1, high=2), "budget is a single value and has no deep"),
        ("search.baseline", Choices(choices=("none", "other")), "search.baseline = 'other'"),
    ],
)
def test_what_a_detector_does_not_take_is_told_before_a_query(name: str, values: Span | Choices, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        check_space(EFFICIENT, {**DIGITS, "budget": 5}, {name: values})
