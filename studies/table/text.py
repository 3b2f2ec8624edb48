"""A table as text for a terminal of 80 columns or more."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence

from studies.output import table_text
from studies.table import words
from studies.table.data import Table
from studies.table.sections import Grid, Section, sections

_LONG = 10
"""Letters of a name that is broken where there is no room."""


def text(table: Table, width: int) -> str:
    """The whole table, `width` columns wide at most."""
    blocks = [block for section in sections(table) for block in section_blocks(section, width)]
    return joined(
        [*blocks, notes(words.READING, width), filled(words.left_out_words(table.split, table.left_out), width)]
    )


def joined(blocks: Sequence[str]) -> str:
    """Blocks with a line between them; empty ones are left out."""
    return "\n\n".join(filter(None, blocks)) + "\n"


def notes(said: Sequence[str], width: int) -> str:
    """A list with a star before each."""
    return "\n".join(textwrap.fill(note, width, initial_indent="* ", subsequent_indent="  ") for note in said)


def section_blocks(section: Section, width: int) -> Iterator[str]:
    """Its title, its paragraphs and its grids, each a block; an empty one is nothing."""
    yield f"{section.title}\n{'=' * min(len(section.title), width)}"
    yield filled(section.intro, width)
    for grid in section.grids:
        yield _grid(grid, width)
    yield filled(section.outro, width)


def _grid(grid: Grid, width: int) -> str:
    rows = [[cell if isinstance(cell, str) else cell.words for cell in row] for row in grid.rows]
    columns = list(grid.columns)
    if _natural_width([columns, *rows]) > width:  # a name is broken at its hyphens before it is broken anywhere
        columns = list(map(_broken, columns))
        rows = [[_broken(name), *rest] for name, *rest in rows]
    drawn = table_text([dict(zip(columns, row, strict=True)) for row in rows], columns, width)
    return "\n".join(filter(None, [grid.title, drawn, filled(grid.note, width)]))


def _broken(name: str) -> str:
    return name.replace("-", "-\n") if len(name) > _LONG else name


def _natural_width(rows: Sequence[Sequence[str]]) -> int:
    """Columns that a grid takes where nothing is broken, with two between its own."""
    return sum(2 + max(len(line) for cell in column for line in cell.split("\n")) for column in zip(*rows, strict=True))


def filled(paragraph: str, width: int) -> str:
    """A paragraph in lines of that width."""
    return textwrap.fill(paragraph, width)
