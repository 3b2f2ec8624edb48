"""The table as a page: well formed, self-contained, safe from names, and fit for a phone."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from studies.results.table.gather import gather
from studies.results.table.views import page
from studies.study.result_line import ResultLine
from tests.studies.pages import Elements, opened
from tests.studies.results.table.made import line, lines, write

if TYPE_CHECKING:
    from playwright.sync_api import Browser

NAME = "a-very-long-name-of-a-detector-without-a-break" * 2


def told(folder: Path, given: list[ResultLine]) -> str:
    return page(gather([write(folder / "a.jsonl", given)]))


def many() -> list[ResultLine]:
    """Two zoos and seven methods, so that pairs are a matrix."""
    named = [*lines("cbub", detector=NAME), *lines("bbcc", detector="nc", forward_passes=3, backward_passes=2)]
    return [*named, *(one for n in range(5) for one in lines("cbcb", detector=f"d{n}")), line(0, zoo="another")]


def test_it_is_well_formed_and_loads_nothing(tmp_path: Path) -> None:
    said = told(tmp_path, many())
    elements = Elements(said)
    assert elements.open == []
    assert not {"script", "iframe", "object", "img"} & {tag for tag, _ in elements.found}
    assert [a["href"] for _, a in elements.found if "href" in a] == ["data:,"]
    assert "default-src 'none'" in said
    assert "url(" not in said
    assert "http" not in said.replace("http-equiv", "")
    ids = [a["id"] for _, a in elements.found if "id" in a]
    assert len(ids) == len(set(ids))


def test_equal_lines_give_equal_pages(tmp_path: Path) -> None:
    assert told(tmp_path, many()) == told(tmp_path, many())


def test_names_are_no_markup(tmp_path: Path) -> None:
    evil = "<script>alert(1)</script>\"'&"
    given = [one.model_copy(update={"zoo": evil, "detector": evil, "architecture": evil}) for one in lines("cb")]
    said = told(tmp_path, given)
    assert "<script" not in said
    assert "&lt;script&gt;alert(1)" in said
    assert Elements(said).open == []


def test_every_share_is_drawn_with_its_interval(tmp_path: Path) -> None:
    said = told(tmp_path, lines("cbcb"))
    drawn = re.findall(r'<rect x="([\d.]+)%" width="([\d.]+)%" y="2" height="6"/><circle cx="([\d.]+)%"', said)
    assert len(drawn) == 1 + 12  # of the method, and of the slides
    left, width, dot = map(float, drawn[0])
    assert [left, left + width, dot] == pytest.approx([51.01, 100, 100], abs=0.01)


@pytest.mark.browser
@pytest.mark.parametrize("width", [1280, 390, 320])
def test_it_fits_asks_for_nothing_and_has_no_errors(browser: Browser, tmp_path: Path, width: int) -> None:
    file = tmp_path / "page.html"
    file.write_text(told(tmp_path, many()), encoding="utf-8")
    shown, said, asked = opened(browser, file.as_uri(), width)
    assert shown.evaluate("document.documentElement.scrollWidth") <= width
    bars = shown.evaluate("[...document.querySelectorAll('svg.interval')].map(s => s.getBoundingClientRect().width)")
    assert min(bars) > 100
    assert (said, asked) == ([], [])
    shown.close()
