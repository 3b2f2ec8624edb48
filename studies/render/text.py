"""Grids as text for a terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from studies.render.grids import Grid, Section

if TYPE_CHECKING:
    from rich.table import Table


def table_text(rows: Sequence[Sequence[str]], columns: Mapping[str, int]) -> str:
    """The rows under named columns of these widths, without colours; what does not fit goes on in the next line."""
    from io import StringIO

    from rich.console import Console

    width = sum(columns.values()) + 2 * len(columns)
    console = Console(file=StringIO(), width=width, color_system=None, highlight=False)
    with console.capture() as said:
        table = _table([dict(zip(columns, row, strict=True)) for row in rows], list(columns))
        table.padding = (0, 1, 0, 0)
        for column, width in zip(table.columns, columns.values(), strict=True):
            column.width, column.overflow = width, "fold"
        console.print(table)
    return "\n".join(line.rstrip() for line in said.get().splitlines()).strip("\n")


def _table(rows: Sequence[Mapping[str, object]], columns: Sequence[str]) -> Table:
    from rich import box
    from rich.table import Column, Table
    from rich.text import Text

    table = Table(*(Column(Text(name)) for name in columns), box=box.SIMPLE_HEAD, pad_edge=False)
    for row in rows:
        table.add_row(*(Text(_cell(row.get(name))) for name in columns))  # Text: a name in [] is no markup
    return table


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, list | tuple):
        return " ".join(map(_cell, value)) or "-"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


_GAP = 2
"""Columns of a terminal beside each column of a grid."""

_LONGEST = 32
"""Letters of a word, or of a name with hyphens, that is never broken."""


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
