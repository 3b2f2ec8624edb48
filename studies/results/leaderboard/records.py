"""The records of a leaderboard: frozen data, gathered from result lines and rendered without them."""

from __future__ import annotations

from dataclasses import dataclass

from simkit.zoo.spec import ZooSplit
from studies.results.table.records import Cell, Victims


@dataclass(frozen=True)
class Entry:
    """One detector with its settings, budget and service on one zoo, which is a row.

    cell: its figures. default: whether its settings are the defaults of today. lacks: settings of today that its lines
    do not have. rank: of its service, lower is more informative. made_by: versions of simkit and torch that its lines
    name.
    """

    cell: Cell
    default: bool
    lacks: tuple[str, ...]
    rank: tuple[int, ...]
    made_by: tuple[str, ...]


@dataclass(frozen=True)
class Board:
    """The entries of one zoo, best first within each service.

    making: 1, or a higher number for lines whose victims have the index of an earlier victim but other weights, as
    after a zoo was made again.
    """

    zoo: str
    making: int
    victims: Victims
    entries: tuple[Entry, ...]

    @property
    def title(self) -> str:
        return self.zoo if self.making == 1 else f"{self.zoo}, other victims of that name ({self.making})"


@dataclass(frozen=True)
class Leaderboard:
    """The zoos of one split, the one with the most victims first.

    lines: number of result lines shown. files: names of the files that they are from. left_out: (split, number of
    lines) of other splits. others: names of files that hold no result lines.
    """

    split: ZooSplit
    boards: tuple[Board, ...]
    lines: int
    files: tuple[str, ...]
    left_out: tuple[tuple[str, int], ...]
    others: tuple[str, ...]
