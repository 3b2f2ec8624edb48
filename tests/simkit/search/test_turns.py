"""Turns: whose turn it is, and that a stage searches the same with and without interruptions."""

from __future__ import annotations

from dataclasses import replace
from itertools import groupby

import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from oracles.answers import Answer
from oracles.errors import Refused
from oracles.oracle import Tag
from simkit.errors import ConfigError
from simkit.search.presets import Preset
from simkit.search.relay import Course, Relay
from simkit.search.turns import Turns, plan
from simkit.verdict import Verdict
from tests.fakes import PlantedOracle, corner_plant
from tests.simkit.search.scans import IMAGES, Scan, bytes_of
from tests.simkit.search.test_relay import FIRST, SECOND, verdict_of

SHORT = replace(FIRST, search=replace(FIRST.search, fresh=5))  # type: ignore[type-var]
LONG = replace(SHORT, search=replace(SHORT.search, rounds=40))  # type: ignore[type-var]
"""Forty rounds of single pixels, which find nothing; the second stage finds the corner."""


def taking_turns(first: Preset = LONG, ends: tuple[int, ...] = (60, 90), later: tuple[int, ...] = (50, 100)) -> Preset:
    assert first.then is not None
    return replace(first, turns=Turns(ends), then=replace(first.then, turns=Turns(later)))


def run(preset: Preset, scan: Scan) -> tuple[Relay, Verdict, list[tuple[int, int]]]:
    """The relay, its verdict, and the stage and the queries of each checkpoint before the verdict."""
    relay = Relay(Course(preset, 0, scan.cap), IMAGES, lambda: 4)
    stages, checkpoints = [], []
    for checkpoint in relay.run(scan.evaluator):
        stages.append((relay.stage, checkpoint.queries))
        checkpoints.append(checkpoint)
    return relay, verdict_of(checkpoints), stages[:-1]


def calls_of(scan: Scan) -> list[tuple[str, str, bytes]]:
    steps = {number: (purpose, state) for number, purpose, state in scan.recorder.steps}
    return [(*steps[c.step], c.rows.tobytes()) for c in scan.recorder.calls if c.step is not None]


def test_the_plan_goes_round_until_every_stage_had_its_last_turn() -> None:
    turns = [Turns((800, 1600)), None, Turns((900,))]
    assert list(plan(turns)) == [(0, 800), (1, None), (2, 900), (0, 1600), (2, None), (0, None)]
    assert list(plan([None, None])) == [(0, None), (1, None)]


@given(st.lists(st.none() | st.builds(lambda n: Turns(tuple(range(1, n + 1))), st.integers(0, 4)), max_size=4))
def test_every_stage_comes_to_its_end_and_begins_in_order(turns: list[Turns | None]) -> None:
    every = list(plan(turns))
    assert sorted(stage for stage, end in every if end is None) == list(range(len(turns)))
    assert list(dict.fromkeys(stage for stage, _ in every)) == list(range(len(turns)))
    for own in range(len(turns)):
        ends = [end for stage, end in every if stage == own]
        assert ends == [*(() if turns[own] is None else turns[own].ends), None]  # type: ignore[union-attr]


@pytest.mark.parametrize("ends", [(0,), (5, 5), (5, 4), (-1, 4)])
def test_turns_that_do_not_rise_are_refused(ends: tuple[int, ...]) -> None:
    with pytest.raises(ConfigError, match="rise"):
        Turns(ends)


def test_a_turn_ends_with_the_first_step_at_its_end() -> None:
    _, verdict, told = run(taking_turns(), Scan(PlantedOracle()))
    order = [stage for stage, _ in groupby(told, key=lambda one: one[0])]
    assert order == [0, 1, 0, 1, 0, 1]
    assert (verdict.verdict, verdict.stopped) == ("clean", "converged")
    first = [queries for stage, queries in told if stage == 0]
    assert next(queries for queries in first if queries >= 60) == [q for q in first if q < 100][-1]


@pytest.mark.parametrize("ends", [(1, 2, 3), (60, 90), (200,)])
def test_interruptions_change_no_search_and_no_sum(ends: tuple[int, ...]) -> None:
    """Each stage sends the very queries that it sends where it runs at one go, and a clean verdict says the same."""
    plain, turned = Scan(PlantedOracle()), Scan(PlantedOracle())
    _, straight, _ = run(LONG, plain)
    relay, verdict, _ = run(taking_turns(ends=ends, later=ends), turned)
    assert turned.victim.images_seen == plain.victim.images_seen
    assert sorted(calls_of(turned)) == sorted(calls_of(plain))
    assert calls_of(turned) != calls_of(plain)
    assert bytes_of(verdict) == bytes_of(straight)
    assert (relay.stage, verdict.verdict) == (1, "clean")
    alone = Scan(PlantedOracle())
    run(replace(LONG, then=None), alone)
    own = [call for call in calls_of(turned) if call in calls_of(alone)]
    assert own == calls_of(alone), "in the order in which the stage alone sends them"


def test_a_detection_by_any_stage_ends_the_scan_while_others_wait() -> None:
    plain, turned = Scan(PlantedOracle(plant=corner_plant(2))), Scan(PlantedOracle(plant=corner_plant(2)))
    _, straight, _ = run(LONG, plain)
    relay, verdict, told = run(taking_turns(ends=(40,), later=(2_000,)), turned)
    assert (verdict.verdict, verdict.flagged, relay.stage) == ("backdoored", (2,), 1)
    assert bytes_of(verdict) == bytes_of(straight)
    assert turned.victim.images_seen < plain.victim.images_seen
    assert turned.purposes.count("check") == 1
    assert [stage for stage, _ in groupby(told, key=lambda one: one[0])] == [0, 1]


@pytest.mark.parametrize("plant", [None, corner_plant(2)])
def test_a_scan_that_was_killed_in_any_turn_ends_as_if_it_had_not_been(plant: object) -> None:
    whole = Scan(PlantedOracle(plant=plant))  # type: ignore[arg-type]
    _, verdict, told = run(taking_turns(), whole)
    calls = whole.recorder.calls
    for kept in (1, 6, len(calls) // 3, len(calls) // 2, len(calls) - 1, len(calls)):
        resumed = Scan(PlantedOracle(plant=plant), stored=calls[:kept])  # type: ignore[arg-type]
        _, again, retold = run(taking_turns(), resumed)
        assert (bytes_of(again), again.notes, retold) == (bytes_of(verdict), verdict.notes, told)
        assert resumed.victim.images_seen == whole.recorded - sum(len(c.rows) for c in calls[:kept])


REST = "the next step needs {} queries, and {} left"
BOTH = f"{REST}; stages 1 and 2 of 2 did not complete (budget)"
ONE = f"{REST}; stage 2 of 2 did not complete (budget)"


@pytest.mark.parametrize(
    ("cap", "noted"),
    [
        *((10, ""), (45, REST.format(7, "3 are")), (80, BOTH.format(30, "17 are")), (150, BOTH.format(7, "3 are"))),
        *((300, BOTH.format(7, "1 is")), (600, ONE.format(40, "36 are"))),
    ],
)
def test_a_budget_below_the_plan_leaves_the_scan_undecided(cap: int, noted: str) -> None:
    """A stage whose turn comes starts with what is left, whatever it wants as the successor of one at its end."""
    scan = Scan(PlantedOracle(), cap=cap)
    preset = taking_turns()
    assert preset.then is not None
    _, verdict, told = run(replace(preset, then=replace(preset.then, least_queries=60)), scan)
    assert (verdict.verdict, verdict.stopped) == ("undecided", "budget")
    assert scan.victim.images_seen <= cap
    assert (len({stage for stage, _ in told}) == 2) == (cap >= 150)
    assert verdict.notes == noted


def test_a_stage_that_waits_when_the_budget_ends_still_counts_with_what_it_found() -> None:
    """The first stage has found the corner and would look at it after a thousand rounds; the next asks for too much."""
    large = replace(LONG.search, fresh=300)  # type: ignore[type-var]
    unseen = replace(SECOND.driver, first_look=1_000, look_every=1_000)
    preset = replace(SECOND, driver=unseen, turns=Turns((1_800,)), then=replace(LONG, then=None, search=large))
    relay, verdict, _ = run(preset, Scan(PlantedOracle(plant=corner_plant(2)), cap=1_950))
    assert (verdict.verdict, verdict.flagged, relay.stage) == ("backdoored", (2,), 0)


def test_a_stage_that_waits_is_not_cut_because_the_one_after_it_ended_and_the_next_wants_more_than_is_left() -> None:
    """The second of three ends in its first turn; the third starts with what is left, and the first goes on after."""
    third = replace(SECOND, turns=Turns((50,)), least_queries=100)
    preset = replace(LONG, turns=Turns((60,)), then=replace(SHORT, then=third))
    scan = Scan(PlantedOracle(), cap=300)
    _, verdict, told = run(preset, scan)
    assert [stage for stage, _ in groupby(told, key=lambda one: one[0])][:4] == [0, 1, 2, 0]
    assert (verdict.verdict, verdict.stopped) == ("undecided", "budget")
    assert "not started" not in verdict.notes


@pytest.mark.parametrize(("plant", "kind"), [(corner_plant(2), "backdoored"), (None, "undecided")])
def test_a_stage_that_waits_when_the_service_refuses_still_counts_with_what_it_found(plant: object, kind: str) -> None:
    """As above, and it is the service that does not answer the next stage."""

    class Refusing(PlantedOracle):
        def query(self, images: Tensor, tag: Tag | None = None) -> Answer:
            if len(images) >= 250:
                raise Refused(len(images), "near_duplicate")
            return super().query(images, tag)

    large = replace(LONG.search, fresh=300)  # type: ignore[type-var]
    unseen = replace(SECOND.driver, first_look=1_000, look_every=1_000)
    preset = replace(SECOND, driver=unseen, turns=Turns((1_800,)), then=replace(LONG, then=None, search=large))
    _, verdict, _ = run(preset, Scan(Refusing(plant=plant)))  # type: ignore[arg-type]
    assert verdict.verdict == kind
    assert verdict.stopped == ("decided" if kind == "backdoored" else "refused")
