"""Curves from the states of steps."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from db.survey import AskedStep
from studies.report.search_curves import averaged, concluded, curves, plots, smallest_first, stepped, thinned


def step(first: int, purpose: str = "search", target: int | None = None, **state: object) -> AskedStep:
    state |= {} if target is None else {"class": target}
    return AskedStep(purpose, json.dumps(state), first, 1, 10, 10)


def test_a_searcher_whose_classes_take_turns_has_a_line_a_class() -> None:
    first = step(4, target=0, loss=None, best_mask_size=None, expected_mask_size=100.0)
    second = step(14, target=1, loss=2.5, best_mask_size=30, expected_mask_size=9.0)
    found = curves([step(0, "check"), first, second, step(24, "verify", target=1, loss=9.0)])
    drawn = plots(found, {1: "one", 0: "zero"}, [1])
    assert [plot.title for plot in drawn] == ["Expected mask size", "Smallest working mask so far", "Loss"]
    sizes, best, loss = drawn
    assert [(line.label, line.points, line.emphasis) for line in sizes.lines] == [
        ("one", ((14.0, 9.0),), True),
        ("zero", ((4.0, 100.0),), False),
    ]
    assert sizes.log
    assert [(line.colour, line.points) for line in best.lines] == [(0, ((14.0, 30.0),))]
    assert [line.colour for line in sizes.lines] == [0, 1]
    assert [line.points for line in loss.lines] == [((14.0, 2.5),)]
    assert smallest_first(found) == [1, 0]


def test_a_searcher_without_turns_has_one_line() -> None:
    drawn = plots(curves([step(0, best_success_rate=0.5), step(9, best_success_rate=0.9)]), {0: "zero"}, [])
    assert [(plot.title, [line.label for line in plot.lines]) for plot in drawn] == [
        ("Success rate of the best patch", ["all classes"])
    ]


def test_states_that_say_nothing_draw_nothing() -> None:
    assert plots(curves([step(0), AskedStep("search", "[1]", 0, 1, 1, 1), step(1, loss="high")]), {}, []) == ()


@given(st.lists(st.tuples(st.integers(0, 10**7), st.floats(-5, 5)), min_size=1, max_size=2000), st.integers(2, 400))
def test_a_shortened_line_keeps_its_ends_and_its_order(line: list[tuple[float, float]], points: int) -> None:
    short = thinned(line, points)
    assert len(short) == min(len(line), points)
    assert (short[0], short[-1]) == (line[0], line[-1])
    places = [line.index(point) for point in short]
    assert len(set(line)) < len(line) or places == sorted(set(places))


@given(st.lists(st.floats(-5, 5), min_size=1, max_size=500), st.integers(1, 60))
def test_averages_are_few_and_keep_the_mean(values: list[float], points: int) -> None:
    line = [(float(x), y) for x, y in enumerate(values)]
    short = averaged(line, points)
    assert len(short) <= points
    assert short[-1][0] == line[-1][0]
    assert min(values) - 1e-9 <= min(y for _, y in short) <= max(y for _, y in short) <= max(values) + 1e-9


def test_the_smallest_mask_is_a_staircase() -> None:
    line = [(0.0, 9.0), (1.0, 9.0), (2.0, 4.0), (3.0, 4.0), (4.0, 1.0), (5.0, 1.0)]
    corners = ((0.0, 9.0), (2.0, 9.0), (2.0, 4.0), (4.0, 4.0), (4.0, 1.0), (5.0, 1.0))
    assert stepped(line, 400) == corners


def test_what_worked_in_the_end_is_the_last_point() -> None:
    found = curves([step(4, target=0, best_mask_size=30.0), step(14, target=1)])
    best = concluded(found, {0: 20.0, 1: 7.0}, 24)["best_mask_size"]
    assert best == {0: [(4.0, 30.0), (24.0, 20.0)], 1: [(24.0, 7.0)]}
    alone = curves([step(4, best_mask_size=4.0)])
    assert concluded(alone, {0: 20.0}, 24) == alone


def test_averages_of_neighbours() -> None:
    assert averaged([(0, 1.0), (1, 3.0), (2, 5.0), (3, 7.0)], 2) == ((1, 2.0), (3, 6.0))
    assert averaged([(0, 1.0)], 5) == ((0, 1.0),)
    assert [x for x, _ in averaged([(float(x), 0.0) for x in range(9)], 4)] == [1, 3, 5, 8]  # no stray last one
