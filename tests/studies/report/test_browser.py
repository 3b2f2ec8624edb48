"""The page in a real browser: nothing asked for, nothing complained of, nothing wider than a phone, and printable."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from studies.report.gallery.gather import ZooSource, gather_gallery
from studies.report.gather import gather
from studies.report.page import render, render_gallery
from tests.studies.pages import opened
from tests.studies.report.gallery.galleries import images, scanned, zoo_of
from tests.studies.report.ledgers import Kept, bent, write, zoo

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.browser

EVERY = [Kept(), *(Kept(verdict=verdict) for verdict in ("clean", "undecided", "invalid", None))]
NAME = "a-very-long-name-of-a-model-without-any-break-" * 4
LONG = Kept(model=NAME, notes="x" * 300, verdict="invalid", reason="y" * 200)


@pytest.fixture(scope="module", params=["few", "many"])
def address(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("page")
    runs = {"few": [LONG, Kept(steps=30), Kept(trigger=bent()), Kept(verdict=None)], "many": [*EVERY, LONG]}[
        request.param
    ]
    page = folder / "page.html"
    page.write_text(render(gather(write(folder / "a.db", *runs), zoos=[zoo(folder / "zoo")])), encoding="utf-8")
    return page.as_uri()


@pytest.fixture(scope="module")
def gallery(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("gallery")
    zoo, ledgers = zoo_of(folder / "zoo", images(folder / "images.npz")), scanned(folder / "ledgers", "2x2-0")
    page = folder / "gallery.html"
    page.write_text(render_gallery(gather_gallery([ZooSource(zoo)], [ledgers]), 3), encoding="utf-8")
    return page.as_uri()


@pytest.mark.parametrize("width", [1280, 390, 320])
def test_a_gallery_fits_asks_for_nothing_and_has_no_errors(browser: Browser, gallery: str, width: int) -> None:
    page, said, asked = opened(browser, gallery, width)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert (said, asked) == ([], [])
    assert page.evaluate("[...document.images].every(i => i.complete && i.naturalWidth > 0)")
    assert min(page.evaluate("[...document.images].map(i => i.getBoundingClientRect().width)")) > 40
    page.close()


@pytest.mark.parametrize("width", [1280, 390, 320])
def test_it_fits_asks_for_nothing_and_has_no_errors(browser: Browser, address: str, width: int) -> None:
    page, said, asked = opened(browser, address, width)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    ends = "[...document.querySelectorAll('p, caption')].map(text => text.getBoundingClientRect().right)"
    assert max(page.evaluate(ends)) <= width  # what is read without scrolling a table
    assert (said, asked) == ([], [])
    assert page.evaluate("[...document.images].every(i => i.complete && i.naturalWidth > 0)")
    page.close()


def test_the_table_of_detection_performance_is_read_without_scrolling(browser: Browser, tmp_path: Path) -> None:
    kinds = [(service, preset) for service in ("scores", "noisy") for preset in ("b3d", "random-patch")]
    runs = [Kept(settings={"oracle": service, "preset": preset, "budget": 150_000}) for service, preset in kinds * 2]
    path = tmp_path / "page.html"
    path.write_text(render(gather(write(tmp_path / "a.db", *runs), zoos=[zoo(tmp_path / "zoo")])), encoding="utf-8")
    page, _, _ = opened(browser, path.as_uri(), 1280)
    table = "document.querySelector('[aria-label^=Detection]')"
    assert page.evaluate(f"{table}.scrollWidth") <= page.evaluate(f"{table}.clientWidth")
    page.close()


def test_what_a_picture_shows_is_drawn(browser: Browser, address: str) -> None:
    page, _, _ = opened(browser, address, 1280)
    sizes = page.evaluate("[...document.querySelectorAll('polyline')].map(l => l.getBoundingClientRect().width)")
    assert sizes
    assert max(sizes) > 100
    flagged = page.evaluate("document.querySelector('rect.flagged').getBoundingClientRect().width")
    widest = page.evaluate(
        "Math.max(...[...document.querySelectorAll('rect')].map(r => r.getBoundingClientRect().width))"
    )
    assert 0 < flagged < widest
    page.close()


def test_dark_is_dark(browser: Browser, address: str) -> None:
    colours = []
    for scheme in ("light", "dark"):
        page = browser.new_page(color_scheme=scheme)
        page.goto(address)
        colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
        colours.append(sum(map(int, re.findall(r"\d+", colour))))
        page.close()
    assert colours[0] > 600
    assert colours[1] < 120


def test_a_keyboard_reaches_the_folded_runs(browser: Browser, address: str) -> None:
    page = browser.new_page()
    page.goto(address)
    folded = page.evaluate("document.querySelectorAll('details').length")
    reached: set[str] = set()
    for _ in range(60):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.tagName"))
    page.keyboard.press("Enter")
    assert folded
    assert "SUMMARY" in reached
    page.close()


def test_it_prints_with_the_settings_of_shown_runs_unfolded(browser: Browser, address: str, tmp_path: Path) -> None:
    page = browser.new_page()
    page.goto(address)
    page.emulate_media(media="print")
    shown = "[...document.querySelectorAll('section.run > details')].map(d => d.getBoundingClientRect().height)"
    assert all(height > 100 for height in page.evaluate(shown))
    printed = page.pdf(path=tmp_path / "page.pdf", format="A4")
    pages = len(re.findall(rb"/Type\s*/Page\b", printed))
    folded = page.query_selector("details.run") is not None
    assert pages <= 2 if folded else pages >= 3
    page.close()
