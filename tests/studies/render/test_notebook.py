"""Fragments for notebooks: whole elements, and nothing of a name is taken for one."""

from __future__ import annotations

from studies.render.grids import Grid, Shown
from studies.render.notebook import Picture, fragment
from studies.statistics import share
from tests.studies.pages import Elements


def test_names_are_escaped_and_every_element_is_closed() -> None:
    bad = "<script>&\"'"
    grid = Grid(bad, (bad, "b"), ((bad, Shown(share(1, 2), bad)),), bad)
    text = fragment(bad, [bad], [Picture("data:image/png;base64,AA==", bad, bad)], [grid])
    page = Elements(text)
    assert page.open == []
    assert [tag for tag, _ in page.found if tag in ("script", "img", "table", "td")] == ["img", "table", "td"]
    assert "<script" not in text
    assert dict(page.found)["img"]["alt"] == bad


def test_what_is_not_there_leaves_no_element() -> None:
    assert {tag for tag, _ in Elements(fragment("clean")).found} == {"div", "p", "strong"}
