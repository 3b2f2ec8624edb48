"""Tables as plain data, before they become text or HTML: sections that consist of grids of cells."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from studies.statistics import Share


@dataclass(frozen=True)
class Shown:
    """A cell with a share in words, which a page also draws as a bar."""

    share: Share
    words: str


@dataclass(frozen=True)
class Grid:
    """A table whose first column names the rows. note: a remark below the table; may be empty."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str | Shown, ...], ...]
    note: str = ""


@dataclass(frozen=True)
class Section:
    """A titled group of grids, with a text before and after them; both may be empty."""

    title: str
    intro: str
    grids: tuple[Grid, ...]
    outro: str = ""
