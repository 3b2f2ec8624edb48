"""The figure system: what is written on axes, in which form it is saved, and that nothing global is left."""

from __future__ import annotations

import csv
import io
import sys
from xml.etree import ElementTree

import pytest
from matplotlib import rcParams
from matplotlib.figure import Figure

from studies.render.figures import COLOURS, Drawing, axes_to_draw_on, csv_text, in_short, logarithmic, looks, plain


def one_line() -> Figure:
    figure = Figure(figsize=(2, 2))
    figure.subplots().plot([0, 1], [0, 1], label="$x_$")
    figure.legend()
    return figure


def test_a_drawing_has_equal_bytes_in_both_forms_each_time() -> None:
    first, second = (Drawing.of("name", "Title", "A line", one_line, "a,b\n") for _ in range(2))
    assert (first.svg, first.png) == (second.svg, second.png)
    ElementTree.fromstring(first.svg)
    assert b"<!-- $x_$ -->" in first.svg  # a name is no formula
    assert first.png.startswith(b"\x89PNG")
    assert (first.name, first.title, first.alt, first.csv) == ("name", "Title", "A line", "a,b\n")


def test_axes_are_those_given_or_of_a_new_figure() -> None:
    given = Figure().subplots()
    with axes_to_draw_on(given, (9.0, 9.0)) as axes:
        axes.set_title("$a$")
        assert rcParams["text.parse_math"] is False
    assert axes is given
    assert given.title.get_parse_math() is False
    assert rcParams["text.parse_math"] is True
    with axes_to_draw_on(None, (3.0, 2.0)) as made:
        pass
    assert made.get_figure(root=True).get_size_inches().tolist() == [3.0, 2.0]
    assert "matplotlib.pyplot" not in sys.modules or not sys.modules["matplotlib.pyplot"].get_fignums()


def test_curves_look_different_until_there_are_more_than_28() -> None:
    found = looks(f"curve {number}" for number in range(28))
    assert len({(look["color"], str(look["linestyle"])) for look in found.values()}) == 28
    assert [look["color"] for look in looks(["b", "a", "b"]).values()] == list(COLOURS[:2])


@pytest.mark.parametrize("which", ["x", "y"])
def test_marks_of_a_logarithmic_axis_are_plain_numbers(which: str) -> None:
    axes = Figure().subplots()
    axes.set(xlim=(1, 5000), ylim=(1, 5000))
    logarithmic(axes, "x" if which == "x" else "y", (1.0, 3.0))
    axis, other = (axes.xaxis, axes.yaxis) if which == "x" else (axes.yaxis, axes.xaxis)
    marks = [mark for mark in axis.get_majorticklocs() if 1 <= mark <= 5000]
    assert marks == pytest.approx([1, 3, 10, 30, 100, 300, 1000, 3000])
    assert axis.get_major_formatter()(3000.0, 0) == "3k"
    assert (axis.get_scale(), other.get_scale()) == ("log", "linear")


def test_a_plain_panel_has_a_grid_and_no_frame() -> None:
    axes = Figure().subplots()
    plain(axes)
    in_short(axes.xaxis)
    assert [axes.spines[side].get_visible() for side in ("left", "bottom", "top", "right")] == [
        True,
        True,
        False,
        False,
    ]
    assert axes.get_axisbelow() is True
    assert axes.xaxis.get_major_formatter()(1.5e6, 0) == "1.5M"


def test_what_is_drawn_is_told_for_programs() -> None:
    text = csv_text(("name", "value"), [("a, b", 1), (None, 0.5)])
    assert list(csv.reader(io.StringIO(text))) == [["name", "value"], ["a, b", "1"], ["", "0.5"]]
