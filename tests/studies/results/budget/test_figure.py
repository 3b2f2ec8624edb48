"""The picture: what is drawn, in two forms, whatever the names."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
from matplotlib import image as pictures

from simkit.errors import ConfigError
from studies.render.figures import COLOURS
from studies.results.budget.figure import checked_figure, draw, one_panel
from studies.results.budget.gather import BudgetConfig, gather_budget
from studies.results.budget.records import Measure
from tests.studies.results.table.made import ORACLE, config, line, lines, write


def drawn(folder: Path, names: list[str]) -> bytes:
    told = [one for name in names for one in lines("cbbc", detector=name)]
    return draw(gather_budget([write(folder / "a.jsonl", told)]), "svg")


def test_every_curve_has_a_colour_in_every_panel(tmp_path: Path) -> None:
    said = drawn(tmp_path, ["a", "b"]).decode()
    for colour in COLOURS[:2]:
        assert said.count(f"stroke: {colour}") == 3 + 1  # and in the legend
    assert COLOURS[2] not in said


def test_names_are_no_formulas_and_none_is_left_out(tmp_path: Path) -> None:
    said = drawn(tmp_path, ["$x_$", "_hidden", "<b>&"]).decode()
    ElementTree.fromstring(said)
    for name in ("$x_$", "_hidden", "&lt;b&gt;&amp;"):
        assert re.search(f"<!--  ?{re.escape(name)} -->", said), name
    assert COLOURS[2] in said


def test_equal_records_give_equal_pictures(tmp_path: Path) -> None:
    assert drawn(tmp_path, ["a"]) == drawn(tmp_path, ["a"])


def test_points_ends_and_missing_kinds_are_drawn(tmp_path: Path) -> None:
    own = lines("cb", detector="own:D", config={"budget": 5000, "detector": {"kind": "D"}})
    ran_out = [line(1, "undecided", stopped="budget", queries=990, config=config(1000))]
    picture = draw(gather_budget([write(tmp_path / "a.jsonl", [*own, *ran_out])]), "png")
    (tmp_path / "a.png").write_bytes(picture)
    assert pictures.imread(tmp_path / "a.png").shape[1] > 1000


@pytest.mark.parametrize(("measure", "told"), [("accuracy", "n = 3 to 4"), ("tpr", "n = 1 to 2"), ("fpr", "n = 2")])
def test_an_axis_says_where_a_curve_has_fewer_victims(measure: Measure, told: str, tmp_path: Path) -> None:
    scans = [*lines("cbbc", detector="a"), *lines("cbb", detector="b")]
    study = gather_budget([write(tmp_path / "a.jsonl", scans)], BudgetConfig(by_service=True))
    axes = one_panel(study, measure)
    assert axes.get_ylabel().endswith(f"({told})")
    assert f"({told})" in draw(study, "svg", measure).decode()
    apart = gather_budget([write(tmp_path / "a.jsonl", scans)])
    assert f"({told})" in draw(apart, "svg").decode(), "and above a panel of its own"


def test_an_axis_counts_the_victims_of_curves_and_not_of_all_together(tmp_path: Path) -> None:
    scans = [*lines("cbbc", detector="a")[:3], *lines("cbbc", detector="b")[1:]]
    study = gather_budget([write(tmp_path / "a.jsonl", scans)], BudgetConfig(by_service=True))
    assert one_panel(study, "accuracy").get_ylabel().endswith("(n = 3)")


@pytest.mark.parametrize("measure", ["accuracy", "tpr", "fpr", "undecided", "auroc"])
def test_every_service_has_a_panel(measure: Measure, tmp_path: Path) -> None:
    behind = [ORACLE, {"label_only": True}, {"top_k": 3}, {"decimals": 2}]
    settings = [config() | {"oracle": oracle} for oracle in behind]
    told = [one for given in settings for name in ("a", "b") for one in lines("cbbc", detector=name, config=given)]
    study = gather_budget([write(tmp_path / "a.jsonl", told)], BudgetConfig(by_service=True))
    said = draw(study, "svg", measure).decode()
    for title in ("scores", "rounded to 2 decimals", "top-3", "label-only"):
        assert f"<!-- {title} -->" in said, title
    for colour in COLOURS[:2]:
        assert said.count(f"stroke: {colour}") >= len(behind) + 1  # and in the legend


def test_its_form_is_how_its_name_ends(tmp_path: Path) -> None:
    assert checked_figure(tmp_path / "a.SVG", []) == (tmp_path / "a.SVG", "svg")
    with pytest.raises(ConfigError, match=r"name a file that ends in \.png or \.svg"):
        checked_figure(tmp_path / "a.pdf", [])
