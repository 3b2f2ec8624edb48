"""Charts on one Axes: every line, bar and label against the values it stands for."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.text import Text

from simkit.triggers import Trigger
from studies.render.charts import (
    MOST_BARS,
    Bar,
    Bars,
    Caption,
    Line,
    Plot,
    curve_chart,
    first_to_look_at,
    mask_size_chart,
    trigger_chart,
)
from studies.render.figures import COLOURS
from tests.studies.axes import across, bars, drawn, legend, points, up, widths, words


def bar(target: int, size: float, flagged: bool = False, censored: bool = False) -> Bar:
    return Bar(f"class {target}", size, flagged, censored)


def square(side: int, height: int = 4, width: int = 6) -> Trigger:
    mask = np.zeros((1, height, width), np.float32)
    mask[:, :side, :side] = 1.0
    return Trigger(mask, np.ones((3, height, width), np.float32))


BARS = Bars(
    (bar(0, 20.0), bar(1, 4.0, flagged=True), bar(2, 28.5, censored=True), bar(3, 0.0, censored=True)),
    5.5,
    "under 5.50 pixels",
)


def test_a_bar_for_each_class_and_a_line_at_the_limit() -> None:
    axes = drawn(mask_size_chart(BARS, "backdoored"))
    assert widths(axes) == [20.0, 4.0, 28.5, 0.0]
    assert up(axes) == ["class 0", "class 1", "class 2", "class 3"]
    assert words(axes) == ["20", "4, flagged", "28.5, censored", "no trigger"]
    assert [to_hex(one.get_edgecolor()) for one in bars(axes)[:2]] == [COLOURS[0], COLOURS[1]]
    assert [to_hex(one.get_facecolor(), keep_alpha=True)[-2:] for one in bars(axes)] == ["ff", "ff", "00", "00"]
    assert [x for x, _ in points(axes)[0]] == [5.5, 5.5]
    assert axes.get_xlabel() == "mask size in pixels\ndashed: the rule flags masks under 5.50 pixels"
    assert axes.get_title() == "backdoored"
    low, high = axes.get_ylim()
    assert low > high  # the first on top
    assert axes.get_xlim()[1] > 28.5


def test_without_a_limit_there_is_no_line() -> None:
    axes = mask_size_chart(Bars(BARS.bars))
    assert len(axes.lines) == 0
    assert axes.get_xlabel() == "mask size in pixels"


def test_of_many_classes_the_flagged_and_the_smallest_that_work_are_drawn() -> None:
    many = [bar(target, 100.0 + target, censored=target < 10, flagged=target == 59) for target in range(60)]
    axes = mask_size_chart(Bars(tuple(many)))
    assert len(axes.patches) == MOST_BARS
    assert words(axes)[:2] == ["159, flagged", "110"]
    assert axes.get_xlabel().endswith("10 more classes are not shown")


def test_the_classes_to_look_at_first() -> None:
    ordered = sorted([*BARS.bars, bar(4, 2.0)], key=first_to_look_at)
    assert [one.label for one in ordered] == ["class 1", "class 4", "class 0", "class 3", "class 2"]


def test_triggers_stand_beside_each_other_with_their_masks_below() -> None:
    captions = [Caption.of(bar(3, 4.0, flagged=True), square(2)), Caption.of(bar(0, 1.0), square(1))]
    axes = drawn(trigger_chart(captions, "clean"))
    on_grey, mask, _, other_mask = (np.asarray(image.get_array()) for image in axes.images)
    assert on_grey[0, 0].tolist() == [255, 255, 255]
    assert on_grey[3, 5].tolist() == [128, 128, 128]
    assert (mask[:, :, 0] == 255).sum() == 4
    assert (other_mask[:, :, 0] == 255).sum() == 1
    left, right, bottom, top = axes.images[1].get_extent()
    assert [right - left, bottom - top] == pytest.approx([6, 4])  # every pixel a square
    assert axes.get_aspect() == 1.0
    assert across(axes) == ["class 3\n4 pixels\nflagged", "class 0\n1 pixel"]
    assert up(axes) == ["on grey", "mask"]
    assert axes.get_title() == "clean"


def test_curves_are_lines_over_queries() -> None:
    lines = Line("class 1", ((0, 1.0), (500, 0.25)), 4, True), Line("_$x$", ((10, 2.0),), 0, False)
    axes = drawn(curve_chart(Plot("Loss", "nats", lines, log=False)))
    assert points(axes) == [[(0, 1.0), (500, 0.25)], [(10, 2.0)]]
    assert axes.lines[0].get_linewidth() > axes.lines[1].get_linewidth()
    assert [line.get_color() for line in axes.lines] == [COLOURS[4], COLOURS[0]]
    assert axes.lines[1].get_marker() == "o"  # one point is no line
    assert legend(axes) == ["class 1", "_$x$"]
    assert not any(text.get_parse_math() for text in axes.findobj(Text) if isinstance(text, Text))
    assert (axes.get_title(), axes.get_xlabel(), axes.get_ylabel()) == ("Loss", "queries", "nats")
    assert axes.get_yscale() == "linear"


def test_values_of_several_decades_are_on_a_logarithmic_axis_with_plain_numbers() -> None:
    axes = drawn(curve_chart(Plot("Size", "pixels", (Line("a", ((0, 1.0), (3000, 2000.0)), 0, False),), log=True)))
    assert axes.get_yscale() == "log"
    assert {"1", "10", "1k"} <= set(up(axes))
    assert "2k" in across(axes)
    assert legend(axes) == []  # one curve needs none


@pytest.mark.parametrize(
    ("chart", "nothing", "said"),
    [
        (trigger_chart, [], "no trigger was found"),
        (mask_size_chart, Bars(()), "no trigger was found"),
    ],
)
def test_nothing_to_draw_is_said(chart: Any, nothing: Any, said: str) -> None:
    assert words(chart(nothing)) == [said]


@pytest.mark.parametrize(
    ("chart", "shown"),
    [
        (trigger_chart, [Caption.of(bar(0, 1.0), square(1))]),
        (mask_size_chart, BARS),
        (curve_chart, Plot("Loss", "nats", (Line("a", ((0, 1.0), (1, 2.0)), 0, False),), log=False)),
    ],
)
def test_it_draws_on_the_axes_that_it_is_given(chart: Any, shown: Any) -> None:
    figure = Figure()
    first, second = figure.subplots(1, 2)
    assert chart(shown, axes=second) is second
    assert not first.has_data()
    assert second.has_data()
    assert figure.axes == [first, second]
