"""A table before it is drawn: sections of grids of words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from studies.statistics import Share


@dataclass(frozen=True)
class Shown:
    """A share in words; a page draws it, too."""

    share: Share
    words: str


@dataclass(frozen=True)
class Grid:
    """Rows under columns, the first of which names the row. note: how to read it, may be empty."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str | Shown, ...], ...]
    note: str = ""


@dataclass(frozen=True)
class Section:
    """Grids about one thing, with what to know before and after them; each may be empty."""

    title: str
    intro: str
    grids: tuple[Grid, ...]
    outro: str = ""
