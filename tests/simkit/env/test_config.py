"""Settings, and that the score is a proper one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simkit.env.config import ArmsConfig, EnvConfig
from simkit.errors import ConfigError
from simkit.search.presets import PRESETS
from simkit.search.race import RaceConfig


@pytest.mark.parametrize(
    ("stated", "backdoored", "score"), [(1.0, True, 1), (0.5, True, 0), (0.5, False, 0), (1.0, False, -3)]
)
def test_a_verdict_scores_what_the_docstring_says(stated: float, backdoored: bool, score: float) -> None:
    assert EnvConfig().score(stated, backdoored) == score


@given(believed=st.floats(0, 1), stated=st.floats(0, 1))
def test_who_states_what_he_believes_expects_the_most(believed: float, stated: float) -> None:
    def expected(p: float) -> float:
        return believed * EnvConfig().score(p, True) + (1 - believed) * EnvConfig().score(p, False)

    assert expected(stated) <= expected(believed) + 1e-12


def test_queries_cost_their_price() -> None:
    assert EnvConfig(price=0.02).cost(1_500) == pytest.approx(0.03)


@pytest.mark.parametrize(
    "fields",
    [
        {"budget": 0},
        {"price": -0.1},
        {"prior": 0.0},
        {"prior": 1.0},
        {"levels": ()},
        {"levels": (0.5, 0.2)},
        {"levels": (0.0, 0.5)},
        {"levels": (0.5, 1.0)},
    ],
)
def test_an_environment_out_of_range_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        EnvConfig(**fields)


@pytest.mark.parametrize("fields", [{"batch": 0}, {"largest_share": 0.0}, {"shared_chunk": 0}, {"check_images": 0}])
def test_arms_out_of_range_are_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        ArmsConfig(**fields)


def test_a_search_that_ends_before_its_first_look_is_refused() -> None:
    with pytest.raises(ConfigError, match="checks every"):
        ArmsConfig(classes=replace(ArmsConfig().classes, steps=3))


def test_arms_search_as_the_presets_do() -> None:
    arms = ArmsConfig()
    assert arms.classes == replace(PRESETS["b3d-ss"].search, steps=arms.classes.steps)  # type: ignore[type-var]
    assert arms.classes.steps % arms.classes.check_every == 0
    labels = PRESETS["race"].labels  # with rounds of 28 queries: no policy was measured with smaller ones
    assert isinstance(labels, RaceConfig)
    assert arms.shared == replace(labels, queries=arms.shared.queries)
