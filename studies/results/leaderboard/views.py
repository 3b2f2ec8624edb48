"""A leaderboard as Markdown, as one self-contained HTML page, and as text."""

from __future__ import annotations

from importlib.metadata import version

from studies.render.markdown import code, escaped, listed, section_markdown
from studies.render.pages import environment
from studies.render.text import filled, joined, notes, section_blocks
from studies.results.leaderboard.layout import (
    READING,
    SETTINGS,
    TITLE,
    Setting,
    about,
    files,
    results,
    sections,
    settings,
    tables,
)
from studies.results.leaderboard.records import Leaderboard

HEADING = f"# {TITLE}\n"
"""The first line of a leaderboard in Markdown."""

_MADE = "This page is made by `simkit study leaderboard` from result lines alone, and not edited by hand."


def markdown(board: Leaderboard) -> str:
    """The page for a documentation site; it holds no date, so equal lines give equal text."""
    blocks = [block for section in results(board) for block in section_markdown(section)]
    head = [HEADING.rstrip(), _MADE, escaped(about(board)).replace("--split", "`--split`")]
    used = "\n".join(map(_used, settings(board)))
    read = ["## How to read this page", listed(READING)]
    return joined([*head, *blocks, f"## {SETTINGS}", used, escaped(files(board)), *read])


def _used(one: Setting) -> str:
    """An item of a list, which wraps where a table of so many settings would not."""
    changed = [code(words) for words in tables(one.changed)]
    told = ", ".join([*changed, *filter(None, [escaped(one.others)])])
    return f"- {code(one.digest)} {escaped(one.method)} ({escaped(one.made_by)}): {told}"


def page(board: Leaderboard) -> str:
    """The page; it holds no date and no random name, so equal records give equal text."""
    return (
        environment()
        .get_template("leaderboard.html.j2")
        .render(
            title=TITLE,
            about=about(board),
            sections=sections(board),
            reading=READING,
            version=version("b3d-simkit"),
        )
    )


def text(board: Leaderboard, width: int) -> str:
    """All tables as text that is at most `width` columns wide."""
    blocks = [block for section in sections(board) for block in section_blocks(section, width)]
    return joined([f"{TITLE}\n{filled(about(board), width)}", *blocks, notes(READING, width)])
