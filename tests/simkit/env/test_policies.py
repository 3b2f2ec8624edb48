"""Policies: which arm is next, told by hand; and on planted victims, what all of them come to."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from simkit.env.belief import Belief
from simkit.env.config import LEVELS, EnvConfig
from simkit.env.observation import Observation, OfClass, OfShared, Sight
from simkit.env.policies import POLICIES, Greedy, Halving, Policy, RaceFirst, Ucb, policy, uniform, uniform_all
from simkit.env.rollout import Outcome, play
from simkit.errors import ConfigError
from tests.simkit.env.planted import ENV, recorded

BUDGET = 10_000
ALL = np.ones(5, dtype=np.bool_)
SHARED = 4
INF = float("inf")
BELIEF = Belief(np.array([200.0, 200.0]), np.array([500.0, 500.0]), false_alarms=0.05)


def seen(
    spent: tuple[int, ...] = (0, 0, 0, 0),
    promise: tuple[float, ...] = (0, 0, 0, 0),
    gain: tuple[float, ...] = (0, 0, 0, 0),
    shared: int = 0,
) -> Observation:
    """Four classes, and the shared arm."""
    now = Sight(4, BUDGET, clean_accuracy=0.9).now(left=BUDGET - sum(spent) - shared)
    now["classes"][:, OfClass.SPENT] = np.array(spent) / BUDGET
    now["classes"][:, OfClass.LOSS] = 1.0 - np.array(promise)
    now["classes"][:, OfClass.GAIN] = gain
    now["shared"][OfShared.SPENT] = shared / BUDGET
    return now


def without(*arms: int) -> NDArray[np.bool_]:
    can = ALL.copy()
    can[list(arms)] = False
    return can


def test_uniform_takes_the_classes_in_turn_and_the_race_last() -> None:
    assert uniform(seen(), ALL) == 0
    assert uniform(seen((500, 500, 0, 0)), ALL) == 2
    assert uniform(seen((500, 500, 0, 0)), without(2)) == 3
    assert uniform(seen(), without(0, 1, 2, 3)) == SHARED


def test_uniform_over_all_arms_counts_the_race_as_one() -> None:
    assert uniform_all(seen(), ALL) == SHARED
    assert uniform_all(seen(shared=200), ALL) == 0
    assert uniform_all(seen((500, 500, 500, 500), shared=200), ALL) == SHARED
    assert uniform_all(seen((500, 500, 500, 500), shared=200), without(SHARED)) == 0


def test_halving_tries_all_then_the_better_half_and_then_the_best() -> None:
    rule = Halving(unit=500)
    promise = (0.1, 0.4, 0.3, 0.2)
    assert rule(seen((500, 500, 0, 0), promise), ALL) == 2
    assert rule(seen((500, 500, 500, 500), promise), ALL) == 1
    assert rule(seen((500, 1_000, 500, 500), promise), ALL) == 1
    assert rule(seen((500, 1_500, 500, 500), promise), ALL) == 2
    assert rule(seen((500, 1_500, 1_500, 500), promise), ALL) == 1


def test_upper_bounds_try_all_then_weigh_promise_against_doubt() -> None:
    promise = (0.3, 0.5, 0.1, 0.1)
    assert Ucb()(seen((520, 520, 0, 520), promise), ALL) == 2
    assert Ucb(width=0.1)(seen((520, 520, 520, 520), promise), ALL) == 1
    assert Ucb(width=0.0)(seen((520, 4_680, 520, 520), promise), ALL) == 1
    assert Ucb(width=1.0)(seen((520, 4_680, 520, 520), promise), ALL) == 0


def test_the_race_comes_first_then_what_it_has_seen_most_of() -> None:
    rule, gain = RaceFirst(queries=400), (0.1, 0.0, 0.3, 0.2)
    assert rule(seen(shared=300, gain=gain), ALL) == SHARED
    assert rule(seen(shared=450, gain=gain), ALL) == 2
    assert rule(seen((0, 0, 520, 0), shared=450, gain=gain), ALL) == 3
    assert rule(seen(shared=300, gain=gain), without(SHARED)) == 2
    assert rule(seen((520,) * 4, (0.1, 0.6, 0.1, 0.1), gain, shared=450), ALL) == 1
    assert rule(seen(shared=450), without(0, 1, 2, 3)) == SHARED


def test_greed_goes_where_queries_have_found_most() -> None:
    assert Greedy(BELIEF)(seen(), ALL) == SHARED  # two finds for 200 queries, against a quarter of them for 500
    assert Greedy(BELIEF)(seen(gain=(0, 0, 0.5, 0)), without(SHARED)) == 2
    classes_alone = Belief(np.array([INF]), np.array([500.0]), false_alarms=0.05)
    assert Greedy(classes_alone)(seen(), ALL) == 0
    assert Greedy(classes_alone)(seen((250, 0, 0, 0)), ALL) == 0  # half of the way is gone
    assert Greedy(classes_alone)(seen((600, 0, 0, 0)), ALL) == 1
    nothing_left = seen((600,) * 4, shared=300)
    assert Greedy(BELIEF)(nothing_left, ALL) == uniform_all(nothing_left, ALL)
    gained = seen((700, 600, 650, 700), gain=(0.9, 0, 0, 0.5), shared=900)
    assert Greedy(BELIEF)(gained, ALL) == 1  # a gain is no chance of a find: the arm with the fewest queries


@pytest.mark.parametrize(("found", "level"), [(False, 0.2), (True, 0.98)])
def test_all_stop_by_one_rule(found: bool, level: float) -> None:
    rule, mask = Policy(uniform, BELIEF, budget=2_000), np.ones(10, dtype=np.int8)
    assert rule(seen((500, 0, 0, 0)), mask) == 1
    observation = seen((500,) * 4, shared=300)
    observation["classes"][2, OfClass.FOUND] = found
    assert LEVELS[rule(observation, mask) - 5] == level
    mask[:5] = 0
    assert rule(seen(), mask) >= 5


@pytest.mark.parametrize("name", POLICIES)
def test_every_policy_tells_planted_victims_from_clean_ones(name: str) -> None:
    victims = [recorded(None), recorded(1), recorded(3)]
    belief = Belief.fitted([recorded(), recorded(None)])
    outcomes = play(victims, policy(name, belief, 20_000), EnvConfig(budget=30_000))
    assert [o.right for o in outcomes] == [True, True, True]
    assert [o.backdoored for o in outcomes] == [False, True, True]
    assert outcomes[0].queries == recorded(None).queries  # a clean victim is asked to the end


def test_a_policy_keeps_to_its_budget_but_for_the_last_chunk() -> None:
    belief = Belief.fitted([recorded(), recorded(None)])
    (outcome,) = play([recorded(None)], policy("uniform", belief, 1_000), ENV)
    assert 1_000 <= outcome.queries < 1_000 + recorded(None).begin().chunks.of_class


@pytest.mark.parametrize(("stated", "right"), [(0.2, False), (0.5, False), (0.8, True)])
def test_one_half_leans_nowhere(stated: float, right: bool) -> None:
    assert Outcome(1, stated, 0.0, backdoored=True).right == right


def test_an_unknown_policy_is_told_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="uniform, uniform-all, halving"):
        policy("best", BELIEF, 1_000)
