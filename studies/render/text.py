"""Grids as text for a terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from studies.render.grids import Grid, Section

if TYPE_CHECKING:
    from rich.table import Table


_CONTROLS = {
    code: f"\\u{code:04x}" if code > 0x7E else f"\\x{code:02x}"
    for code in (*range(0x20), *range(0x7F, 0xA0), *range(0x202A, 0x202F), *range(0x2066, 0x206A))
    if chr(code) not in "\n\t"
}
"""Characters that begin an escape sequence or turn the direction of writing; names come from strangers."""


def printable(text: str) -> str:
    """The text with control characters, except line feeds and tabs, written out, so that no terminal obeys them.

    JSON stays JSON with the same content, since it holds the first 32 of them only in this form.
    """
    return text.translate(_CONTROLS).encode("utf-8", "backslashreplace").decode()


def table_text(rows: Sequence[Sequence[str]], columns: Mapping[str, int]) -> str:
    """A table without colours; `columns` maps names to widths, and longer cells continue on the next line."""
    from io import StringIO

    from rich.console import Console

    width = sum(columns.values()) + 2 * len(columns)
    console = Console(file=StringIO(), width=width, color_system=None, highlight=False)
    with console.capture() as captured:
        table = _table([dict(zip(columns, row, strict=True)) for row in rows], list(columns))
        table.padding = (0, 1, 0, 0)
        for column, width in zip(table.columns, columns.values(), strict=True):
            column.width, column.overflow = width, "fold"
        console.print(table)
    return "\n".join(line.rstrip() for line in captured.get().splitlines()).strip("\n")


def _table(rows: Sequence[Mapping[str, object]], columns: Sequence[str]) -> Table:
    from rich import box
    from rich.table import Column, Table
    from rich.text import Text

    table = Table(*(Column(Text(name)) for name in columns), box=box.SIMPLE_HEAD, pad_edge=False)
    for row in rows:
        table.add_row(*(Text(_cell(row.get(name))) for name in columns))  # Text, since [] in a name is no markup
    return table


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, list | tuple):
        return " ".join(map(_cell, value)) or "-"
    return f"{value:.6g}" if isinstance(value, float) else printable(str(value))


_GAP = 2
"""Terminal columns between two columns of a grid."""

_LONGEST = 32
"""Words up to this length are never broken, even at hyphens."""


def joined(blocks: Sequence[str]) -> str:
    """The blocks, separated by empty lines; empty blocks are left out."""
    return "\n\n".join(filter(None, blocks)) + "\n"


def notes(texts: Sequence[str], width: int) -> str:
    """A list with a star before each item."""
    return "\n".join(filled(text, width, "* ") for text in texts)


def section_blocks(section: Section, width: int) -> Iterator[str]:
    """The title, the paragraphs and the grids of a section, each as one block of text."""
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
    """The cells of a column, its name first. natural: width without wrapping. least: width that breaks no word."""

    def __init__(self, cells: Sequence[str]) -> None:
        self.cells = cells
        self.natural = max(len(line) for cell in cells for line in cell.split("\n"))
        self.least = min(_LONGEST, max((len(word) for cell in cells for word in cell.split()), default=0))


def _pieces(columns: Sequence[_Column], width: int) -> Iterator[list[_Column]]:
    """The columns split into as many grids as the width requires; each begins with the column that names the rows."""
    name, *others = columns
    piece = [name]
    for column in others:
        if len(piece) > 1 and sum(_GAP + part.least for part in (*piece, column)) > width:
            yield piece
            piece = [name]
        piece.append(column)
    yield piece


def _drawn(columns: Sequence[_Column], width: int) -> str:
    names, *rows = zip(*(column.cells for column in columns), strict=True)
    return table_text(rows, dict(zip(names, _widths(columns, width), strict=True)))


def _widths(columns: Sequence[_Column], width: int) -> list[int]:
    """The width of each column; the widest is narrowed first, and none below its longest word."""
    widths = [column.natural for column in columns]
    while sum(_GAP + column_width for column_width in widths) > width:
        spare = [(column_width, i) for i, column_width in enumerate(widths) if column_width > columns[i].least]
        if not spare:
            break
        widths[max(spare)[1]] -= 1
    return widths


def filled(paragraph: str, width: int, mark: str = "") -> str:
    """A paragraph wrapped to that width, with `mark` before its first line; words are not broken at hyphens."""
    beneath = " " * len(mark)
    return textwrap.fill(paragraph, width, initial_indent=mark, subsequent_indent=beneath, break_on_hyphens=False)
