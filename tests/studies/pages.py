"""Pages as their tests read them: as elements, and in a browser."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

VOID = {"br", "circle", "img", "input", "line", "link", "meta", "path", "polyline", "rect", "wbr"}


class Elements(HTMLParser):
    """Every element, and those left open at the end."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag, f"{tag} closed at {self.getpos()}"


CUT_OFF = """() => [...document.querySelectorAll('body *')].filter(element => {
  const style = getComputedStyle(element), place = element.getBoundingClientRect();
  if (!place.width || style.visibility === 'hidden' || element.closest('svg')) return false;
  if (element.scrollWidth > element.clientWidth + 1 && element.clientWidth) {
    if (['hidden', 'clip'].includes(style.overflowX)) return true;
    const before = getComputedStyle(element, '::before').content;
    const cue = style.backgroundImage.includes('gradient') || before.includes('scrolls');
    if (style.overflowX === 'auto') return !(element.tabIndex === 0 && cue);
  }
  if (place.right <= document.documentElement.clientWidth + 1) return false;
  for (let outer = element.parentElement; outer; outer = outer.parentElement)
    if (getComputedStyle(outer).overflowX === 'auto') return false;
  return true;
}).map(element => `${element.tagName} ${element.className}: ${element.textContent.trim().slice(0, 60)}`)"""
"""What cannot be read: cut off, beyond the page, or in a box that scrolls without a sign or a keyboard."""


def opened(browser: Browser, address: str, width: int) -> tuple[Page, list[str], list[str]]:
    """The page with everything unfolded, what its console said, and what it asked for besides itself."""
    page = browser.new_page(viewport={"width": width, "height": 800})
    said: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(address)
    page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    assert page.evaluate(CUT_OFF) == []
    return page, said, [url for url in asked if not url.startswith("data:") and url != address]
