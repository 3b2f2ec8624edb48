"""The pages of what was measured: each begins in the same way, and the front page says what they say."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from docs import snippets

PAGES = sorted((Path(__file__).parent / "measured").glob("*.md"))
FRONT = next(page for page in PAGES if page.stem == "index")
WORDS = "(index.md#words-and-conventions)"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_is_short_and_begins_with_its_question_in_words(page: Path) -> None:
    """The first paragraph is a few sentences; one page has the words of all."""
    text = page.read_text(encoding="utf-8")
    opening = text.split("\n\n")[1]
    assert 3 <= len(re.findall(r"[.?](?=\s|$)", opening)) <= 6
    assert text.count("\n") <= 250
    assert page == FRONT or WORDS in opening
    assert page == FRONT or f"]({page.name}" in FRONT.read_text(encoding="utf-8")


def test_every_figure_of_the_front_page_is_on_the_page_that_its_row_names() -> None:
    rows = [line for line in FRONT.read_text(encoding="utf-8").splitlines() if line.startswith("| [")]
    assert len(rows) > 15
    for row in rows:
        what, _, *answers = row.strip("| ").split(" | ")
        text = (FRONT.parent / re.findall(r"\]\(([\w-]+\.md)", what)[0]).read_text(encoding="utf-8")
        figures = re.findall(r"\d+ of \d+(?: \([\d-]+ %\))?|[\d,]{3,}(?= |$)", " | ".join(answers))
        assert figures
        written = " ".join(re.sub(r" = [\d.]+ %", "", text).split())
        assert [figure for figure in figures if figure not in written] == [], row


def test_the_blocks_of_every_page_are_run_or_say_why_not() -> None:
    docs = Path(__file__).parent
    pages = {path for path in docs.rglob("*.md") if path.parent.name != "generated"}
    assert {path for path in pages if not snippets.PAGES.should_parse(path)} == {snippets.QUICKSTART}
