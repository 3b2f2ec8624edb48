"""A table as text for a terminal of 80 columns or more."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence

from studies.output import table_text
from studies.table import words
from studies.table.data import Table
from studies.table.sections import Grid, Section, sections

_GAP = 2
"""Columns of a terminal beside each column of a grid."""

_LONGEST = 32
"""Letters of a word, or of a name with hyphens, that is never broken."""


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
    return "\n".join(filled(note, width, "* ") for note in said)


def section_blocks(section: Section, width: int) -> Iterator[str]:
    """Its title, its paragraphs and its grids, each a block; an empty one is nothing."""
    yield f"{section.title}\n{'=' * min(len(section.title), width)}"
    yield filled(section.intro, width)
    for grid in section.grids:
        yield _grid(grid, width)
    yield filled(section.outro, width)


def _grid(grid: Grid, width: int) -> str:
    rows = [[cell if isinstance(cell, str) else cell.words for cell in row] for row in grid.rows]
    columns = [_Column(cells) for cells in zip(grid.columns, *rows, strict=True)]
    drawn = [_drawn(piece, width) for piece in _pieces(columns, width)]
    return "\n".join(filter(None, [grid.title, "\n\n".join(drawn), filled(grid.note, width)]))


class _Column:
    """The cells of a column, its name first. natural: as wide as it likes to be; least: where no word is broken."""

    def __init__(self, cells: Sequence[str]) -> None:
        self.cells = cells
        self.natural = max(len(line) for cell in cells for line in cell.split("\n"))
        self.least = min(_LONGEST, max((len(word) for cell in cells for word in cell.split()), default=0))


def _pieces(columns: Sequence[_Column], width: int) -> Iterator[list[_Column]]:
    """The columns in as many grids, one below the other, as there must be; the first, which names rows, in each."""
    name, *others = columns
    piece = [name]
    for column in others:
        if len(piece) > 1 and sum(_GAP + one.least for one in (*piece, column)) > width:
            yield piece
            piece = [name]
        piece.append(column)
    yield piece


def _drawn(columns: Sequence[_Column], width: int) -> str:
    names, *rows = zip(*(column.cells for column in columns), strict=True)
    return table_text(rows, dict(zip(names, _widths(columns, width), strict=True)))


def _widths(columns: Sequence[_Column], width: int) -> list[int]:
    """Of each column; the widest gives way first, and none further than its longest word."""
    widths = [column.natural for column in columns]
    while sum(_GAP + one for one in widths) > width:
        spare = [(one, i) for i, one in enumerate(widths) if one > columns[i].least]
        if not spare:
            break
        widths[max(spare)[1]] -= 1
    return widths


def filled(paragraph: str, width: int, mark: str = "") -> str:
    """A paragraph in lines of that width, after a mark; no name is broken at its hyphens."""
    beneath = " " * len(mark)
    return textwrap.fill(paragraph, width, initial_indent=mark, subsequent_indent=beneath, break_on_hyphens=False)
