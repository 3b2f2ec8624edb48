"""A scan's result in a notebook, of a verdict, of none, and with nothing found."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from studies.scan import ScanResult
from tests.studies.axes import across, points, widths, words
from tests.studies.pages import Elements
from tests.studies.scans import TemplateNet, scanned


@pytest.fixture(scope="module")
def result() -> ScanResult:
    return scanned(TemplateNet(1), budget=20_000)


@pytest.fixture(scope="module")
def undecided() -> ScanResult:
    return scanned(TemplateNet(1), budget=50)


def test_the_triggers_are_those_of_the_classes_flagged_first(result: ScanResult) -> None:
    axes = result.plot_triggers(most=2)
    captions = [caption.splitlines()[0] for caption in across(axes)]
    assert captions[0] == "class 1"
    assert len(captions) == 2
    assert axes.get_title() == f"backdoored, {result.spent:,} queries"


def test_the_mask_sizes_are_those_of_all_classes_with_the_limit(result: ScanResult) -> None:
    axes = result.plot_mask_sizes(ax=Figure().subplots())
    assert widths(axes) == [one.mask_size for one in result.classes]
    assert [x for x, _ in points(axes)[0]] == [result.size_limit] * 2
    assert "the rule flags masks of at most" in axes.get_xlabel()


def test_the_page_tells_what_was_found(result: ScanResult) -> None:
    html = replace(result, notes="<b>note</b>", run=3, db=Path("<here>.db"))._repr_html_()
    page = Elements(html)
    assert page.open == []
    assert "<strong>backdoored, class 1</strong>" in html
    assert f"{result.spent:,} queries of a budget of 20,000, 0 refused; stopped: decided" in html
    assert "run 3 of &lt;here&gt;.db" in html
    assert "&lt;b&gt;note&lt;/b&gt;" in html
    pictures = [attributes["alt"] for tag, attributes in page.found if tag == "img"]
    assert pictures[0] == "The reversed trigger of class 1 on grey"
    assert len([tag for tag, _ in page.found if tag == "tr"]) == 1 + len(result.classes)


def test_an_undecided_scan_without_a_trigger_says_so(undecided: ScanResult) -> None:
    assert undecided.verdict == "undecided"
    html = undecided._repr_html_()
    assert Elements(html).open == []
    assert "<strong>undecided</strong>" in html
    assert "stopped: budget" in html
    assert "<img" not in html
    assert html.count(">no trigger</td>") == len(undecided.classes)
    assert words(undecided.plot_triggers()) == ["no trigger was found"]
    assert set(words(undecided.plot_mask_sizes())) == {"no trigger"}


def test_a_result_without_classes_has_no_table(undecided: ScanResult) -> None:
    nothing = replace(undecided, classes=(), score=None, budget=None, clean_accuracy=None)
    assert "<table" not in nothing._repr_html_()
    assert words(nothing.plot_mask_sizes()) == ["no trigger was found"]


def test_an_invalid_verdict_has_no_limit(result: ScanResult) -> None:
    axes = replace(result, verdict="invalid").plot_mask_sizes()
    assert len(axes.lines) == 0


def test_of_many_classes_the_table_shows_the_first(result: ScanResult) -> None:
    many = tuple(replace(result.classes[0], target_class=number) for number in range(50))
    html = replace(result, classes=many)._repr_html_()
    assert html.count("<tr>") == 1 + 20
    assert "30 more classes are in `classes`" in html
