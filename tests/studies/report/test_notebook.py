"""Ledgers and result files in a notebook, against ledgers and lines whose every number is known."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure

import db
from db.errors import StorageError
from db.ledger import Ledger
from simkit.errors import ConfigError, DataError
from studies.report.notebook import (
    Results,
    plot_budget,
    plot_mask_sizes,
    plot_search,
    plot_triggers,
    read_results,
)
from tests.studies.axes import across, drawn, legend, points, up, widths, words
from tests.studies.pages import Elements
from tests.studies.report.ledgers import SIZES, Kept, write, zoo
from tests.studies.results.table.made import config, line, lines
from tests.studies.results.table.made import write as write_lines


def test_the_mask_sizes_of_a_run_and_its_limit(tmp_path: Path) -> None:
    path = write(tmp_path / "a.db", Kept())
    axes = plot_mask_sizes(db.open(path))
    assert tuple(widths(axes)) == SIZES
    assert words(axes) == ["20", "24", "4, flagged", "28, censored"]
    assert [x for x, _ in points(axes)[0]] == [5.5, 5.5]  # a quarter of the median, 22
    assert axes.get_title() == "run 1, backdoored, class 2, 72 queries"
    assert axes.get_xlabel().endswith("the rule flags masks under 5.50 pixels")


def test_the_triggers_of_a_run_stand_beside_the_original(tmp_path: Path) -> None:
    folder = zoo(tmp_path / "zoo")
    path = write(tmp_path / "a.db", Kept(model=str(folder / "model.safetensors")))
    axes = drawn(plot_triggers(path))
    assert [" ".join(caption.split("\n")) for caption in across(axes)] == [
        "class 2 <bird> original",
        "class 2 <bird> 4 pixels flagged",
        "class 0 airplane 20 pixels",
        "class 1 car 24 pixels",
        "class 3 cat 28 pixels censored",
    ]
    assert up(plot_mask_sizes(path)) == ["class 0 airplane", "class 1 car", "class 2 <bird>", "class 3 cat"]


def test_what_the_search_knew_over_its_queries(tmp_path: Path) -> None:
    path = str(write(tmp_path / "a.db", Kept(steps=8)))
    axes = plot_search(path)
    assert axes.get_title() == "Expected mask size"
    assert legend(axes) == ["class 2", "class 0", "class 1", "class 3"]
    assert points(axes)[0] == [(24.0, 30.0), (64.0, 15.0)]  # 4 queries of the check, 10 a step
    assert plot_search(path, measure="loss").get_title() == "Loss"
    with pytest.raises(ConfigError, match="reports expected_mask_size, loss"):
        plot_search(path, measure="accuracy")


def test_a_run_is_chosen_where_there_are_several(tmp_path: Path) -> None:
    path = write(tmp_path / "a.db", Kept(), Kept(verdict="undecided"))
    for plot in (plot_mask_sizes, plot_triggers, plot_search):
        with pytest.raises(ConfigError, match="holds 2 runs; choose one"):
            plot(path)
    axes = plot_mask_sizes(path, run=2, ax=Figure().subplots())
    assert axes.get_title() == "run 2, undecided, 72 queries"
    with pytest.raises(ConfigError, match="no run 3"):
        plot_mask_sizes(path, run=3)


def test_an_open_run_has_its_curves_and_no_trigger_yet(tmp_path: Path) -> None:
    path = write(tmp_path / "a.db", Kept(verdict=None))
    assert words(plot_triggers(path)) == ["no trigger was found"]
    assert words(plot_mask_sizes(path)) == ["no trigger was found"]
    assert len(points(plot_search(path))) == 4
    asked_nothing = write(tmp_path / "b.db", Kept(verdict=None, steps=0))
    with pytest.raises(ConfigError, match="reports no measure"):
        plot_search(asked_nothing)


@pytest.mark.parametrize("plot", [plot_mask_sizes, plot_triggers, plot_search])
def test_an_empty_ledger_is_told(plot: Any, tmp_path: Path) -> None:
    with Ledger.open(tmp_path / "a.db"):
        pass
    with pytest.raises(StorageError, match="holds no run yet"):
        plot(tmp_path / "a.db")


def results(folder: Path, verdicts: str = "cbbc", **changes: Any) -> Results:
    return read_results(write_lines(folder / "a.jsonl", lines(verdicts, **changes)))


def test_the_budget_curve_rises_where_verdicts_were_reached(tmp_path: Path) -> None:
    axes = drawn(plot_budget(results(tmp_path)))
    # clean after 1,000 queries, backdoored after 2,000, a miss after 3,000 and a victim missed after 4,000
    assert [rate for budget, rate in points(axes)[0] if budget in (1000, 2000, 3000, 4000)] == [25, 50, 50, 50]
    assert axes.get_xscale() == "log"
    assert "1k" in across(axes)
    assert axes.get_title() == "small, split report"
    figure = axes.get_figure(root=True)
    assert figure is not None
    assert [text.get_text() for box in figure.legends for text in box.get_texts()] == [" probe"]


def test_measures_are_drawn_of_their_victims_on_the_axes_given(tmp_path: Path) -> None:
    axes = Figure().subplots()
    assert plot_budget(results(tmp_path, "bbbc"), "fpr", ax=axes) is axes
    assert points(axes)[0][-1][1] == 100.0  # both clean victims
    assert axes.get_ylabel().endswith("% (n = 2)")
    assert legend(axes) == ["probe"]


def test_several_zoos_are_named_to_be_pooled(tmp_path: Path) -> None:
    other = [line(number, zoo="other", model_hash=f"other {number}") for number in range(2)]
    file = write_lines(tmp_path / "a.jsonl", [*lines("cb"), *other])
    with pytest.raises(ConfigError, match="2 zoos; name one, or several to pool: small, other"):
        plot_budget(read_results(file))
    assert plot_budget(read_results(file), zoos=["other"]).get_title() == "other, split report"
    pooled = plot_budget(read_results(file), zoos=["small", "other"])
    assert pooled.get_title() == "small + other (pooled), split report"
    assert pooled.get_ylabel().endswith("(n = 4)")
    with pytest.raises(ConfigError, match="none"):
        plot_budget(read_results(file), zoos=["none"])


def test_white_boxes_have_a_table_and_no_curve(tmp_path: Path) -> None:
    white = results(tmp_path, "cb", detector="neural-cleanse-quick", white_box=True, queries=0)
    with pytest.raises(ConfigError, match="black-box"):
        plot_budget(white)
    assert "2/2" in white._repr_html_()


def test_the_table_tells_every_method_and_split(tmp_path: Path) -> None:
    told = [*lines("cbbc", detector="<probe>"), *lines("cb", zoo="tuned", split="tune", config=config(500))]
    html = read_results(write_lines(tmp_path / "a.jsonl", told))._repr_html_()
    page = Elements(html)
    assert page.open == []
    assert "probe&gt;" in html
    assert "<probe" not in html
    assert "2/4 50%" in html
    assert "6 result lines, split report and tune" in html
    assert len([tag for tag, _ in page.found if tag == "table"]) == 2


def test_a_file_without_lines_is_shown_as_such(tmp_path: Path) -> None:
    assert "No result lines" in read_results(write_lines(tmp_path / "a.jsonl", []))._repr_html_()
    with pytest.raises(DataError, match="cannot be read"):
        read_results(tmp_path / "missing.jsonl")


@pytest.mark.process
def test_importing_it_loads_neither_torch_nor_matplotlib() -> None:
    code = "import sys, studies.report.notebook; print({'torch', 'matplotlib', 'jinja2'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
