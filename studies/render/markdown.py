"""Grids as Markdown, for pages of a documentation site."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from studies.render.grids import Grid, Section, Shown
from studies.render.text import printable

_MARKUP = re.compile(r"[\\*\[\]|{}$~]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])")
"""Characters that Markdown would read as markup; an underscore within a word is none."""


def escaped(text: str, *, marked: bool = False) -> str:
    """Text as Markdown shows it unchanged, on one line; names come from strangers. marked: keep code in backticks."""
    told = " ".join(printable(text).split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    plain = _MARKUP.sub(r"\\\g<0>", told)
    return plain if marked else plain.replace("`", "\\`")


def code(text: str) -> str:
    """Text as code, on one line; a backtick in it becomes an apostrophe."""
    return f"`{' '.join(printable(text).split()).replace('`', chr(39))}`"


def section_markdown(section: Section) -> Iterator[str]:
    """The heading, the paragraphs and the tables of a section, each as one block; empty ones are left out."""
    yield f"## {escaped(section.title)}"
    yield escaped(section.intro)
    for grid in section.grids:
        yield f"**{escaped(grid.title)}**" if grid.title else ""
        yield _grid(grid)
        yield escaped(grid.note)
    yield escaped(section.outro)


def listed(notes: Sequence[str]) -> str:
    """Notes of the program's own, with code between backticks, as a list."""
    return "\n".join(f"- {escaped(note, marked=True)}" for note in notes)


def _grid(grid: Grid) -> str:
    rows = [[cell.words if isinstance(cell, Shown) else cell for cell in row] for row in grid.rows]
    lines = [_row(grid.columns), f"|{'---|' * len(grid.columns)}", *map(_row, rows)]
    return "\n".join(lines)


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(map(escaped, cells))} |"
