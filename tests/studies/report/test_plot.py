"""The geometry of plots."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from studies.render.charts import Line, Plot
from studies.report.plot import SIDE, figure


def plot(*points: tuple[float, float], log: bool = False) -> Plot:
    return Plot("Loss", "nats", (Line("class 1", points, 3, True),), log)


def test_a_line_goes_from_left_to_right_and_high_values_are_up() -> None:
    drawn = figure(plot((0, 0.0), (500, 5.0), (1000, 10.0)))
    (stroke,) = drawn.strokes
    assert stroke.colour == 3
    places = [tuple(map(int, pair.split(","))) for pair in stroke.points.split()]
    assert [x for x, _ in places] == [0, 500, 1000]
    assert places[0][1] == SIDE
    assert 0 < places[2][1] < places[1][1] < SIDE
    assert (drawn.up[0].percent, drawn.up[0].text) == (100.0, "0")
    assert drawn.across[-1].text == "1k"
    assert drawn.alt == "Loss (nats) against queries: class 1 from 0 to 10."


def test_decades_are_equally_far_apart_on_a_log_scale() -> None:
    drawn = figure(plot((0, 1.0), (10, 10.0), (20, 100.0), log=True))
    heights = [int(pair.split(",")[1]) for pair in drawn.strokes[0].points.split()]
    assert heights[0] - heights[1] == pytest.approx(heights[1] - heights[2], abs=1)
    assert {tick.text for tick in drawn.up} >= {"1", "10", "100"}


@given(st.lists(st.tuples(st.integers(0, 10**8), st.floats(1e-3, 1e6)), min_size=1, max_size=30))
def test_everything_drawn_lies_inside(points: list[tuple[float, float]]) -> None:
    values = [value for _, value in points]
    log = max(values) > 10 * min(values)
    drawn = figure(plot(*points, log=log))
    for pair in drawn.strokes[0].points.split():
        assert all(0 <= int(number) <= SIDE for number in pair.split(","))
    assert drawn.across
    assert drawn.up
    assert all(0 <= tick.percent <= 100 for tick in (*drawn.across, *drawn.up))


@pytest.mark.parametrize("value", [0.0, 3.0, -2.0])
def test_a_line_that_does_not_move_is_drawn(value: float) -> None:
    assert figure(plot((0, value), (10, value))).strokes[0].points
