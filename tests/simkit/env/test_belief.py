"""Belief: what nothing found says, by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from simkit.env.allocation import AllocationEnv
from simkit.env.arms import Field
from simkit.env.belief import Belief, budget_of, spent
from simkit.env.observation import Observation, Sight
from simkit.env.recording import Recording
from simkit.errors import DataError
from tests.simkit.env.planted import CLASSES, ENV, TARGET, recorded

INF = float("inf")
KNOWN = Belief(np.array([100.0, 300.0, INF]), np.array([500.0, INF, 500.0]), false_alarms=0.05)
"""Three victims; a class gets found after 500 queries, or never."""


def seen(shared: float = 0.0, classes: tuple[float, ...] = (0.0,) * CLASSES, found: bool = False) -> Observation:
    """After so many queries of each arm."""
    budget = 10_000
    now = Sight(CLASSES, budget, clean_accuracy=0.9).now(left=5_000)
    now["shared"][0], now["shared"][5] = shared / budget, found
    now["classes"][:, 0] = np.array(classes) / budget
    return now


@pytest.mark.parametrize(
    ("observation", "unfound"),
    [
        (seen(), [1, 1, 1]),
        (seen(200), [0, 1, 1]),
        (seen(400), [0, 0, 1]),
        (seen(0, (600, 0, 0, 0)), [0.75, 1, 0.75]),
        (seen(400, (600, 600, 600, 600)), [0, 0, 0]),
    ],
)
def test_what_was_not_found_makes_a_backdoor_less_likely(observation: Observation, unfound: list[float]) -> None:
    assert KNOWN.unfound(*spent(observation)).tolist() == unfound
    likelihood = (sum(unfound) + 1) / 4
    assert KNOWN(observation) == pytest.approx(likelihood / (likelihood + 1))


def test_what_was_found_is_doubted_as_much_as_clean_victims_gave_reason() -> None:
    assert KNOWN(seen(found=True)) == pytest.approx(1 / 1.05)


def test_it_is_fitted_on_costs_and_false_alarms() -> None:
    backdoored, clean = recorded(), recorded(None)
    belief = Belief.fitted([backdoored, clean], prior=0.2)
    assert belief.shared.tolist() == [backdoored.arms[-1][-1, Field.QUERIES]]
    assert belief.of_class.tolist() == [backdoored.arms[TARGET][-1, Field.QUERIES]]
    assert (belief.false_alarms, belief.prior) == (0.25, 0.2)
    assert belief(seen()) == pytest.approx(0.2)


def test_an_arm_that_finds_nothing_costs_for_ever() -> None:
    backdoored = recorded()
    header = backdoored.header.model_copy(update={"target_classes": (0,)})
    assert Belief.fitted([Recording(header, backdoored.arms, backdoored.gains)]).of_class.tolist() == [INF]


@pytest.mark.parametrize("update", [{"split": "report"}, {"truth": "clean"}])
def test_the_report_split_and_clean_victims_alone_teach_nothing(update: dict[str, Any]) -> None:
    kept = recorded()
    with pytest.raises(DataError):
        Belief.fitted([Recording(kept.header.model_copy(update=update), kept.arms, kept.gains)])


def test_queries_are_read_off_an_observation() -> None:
    env = AllocationEnv([recorded()], ENV)
    env.reset()
    observation, *_ = env.step(1)
    shared, classes = spent(observation)
    asked = recorded().arms[1][0, Field.QUERIES]
    assert (shared, classes.round(2).tolist()) == (0.0, [0.0, asked, 0.0, 0.0])
    assert budget_of(observation) == pytest.approx(ENV.budget, rel=1e-5)
