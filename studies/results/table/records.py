"""What the table of detectors says, as frozen records: gathered from lines of results, and rendered without them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from simkit.zoo.spec import ZooSplit
from studies.statistics import Ranking, Share, Spread

By: TypeAlias = Literal["size", "attack", "architecture"]

Key: TypeAlias = tuple[str, str]
"""What a method is known by: detector and config_hash."""


@dataclass(frozen=True)
class Method:
    """A detector with its settings, the row of a table.

    label: unlike that of any other method on the same zoo; the same detector has one label over all zoos, even where
    its settings or its budget differ. service: what the oracle tells, in words; empty for a white box. budget: queries
    a victim, None for no limit. changed: settings, by dotted name, that set it apart from others of that detector.
    """

    label: str
    detector: str
    config_hash: str
    service: str
    budget: int | None
    changed: tuple[tuple[str, str], ...]

    @property
    def key(self) -> Key:
        return self.detector, self.config_hash


@dataclass(frozen=True)
class Rates:
    """What a method called backdoored. caught: of the backdoored victims (TPR); accused: of the clean ones (FPR)."""

    caught: Share
    accused: Share


@dataclass(frozen=True)
class Cost:
    """What scans cost, by what the victims were: queries, or images through the model one way."""

    backdoored: Spread
    clean: Spread
    all: Spread


@dataclass(frozen=True)
class Cell:
    """One method on one zoo.

    scans: victims it was tried on. right: verdicts that are the truth; `undecided` and `invalid` never are. target: of
    the backdoored victims it caught, those where it flags a target class; only_target: and no class that is none.
    image_queries: those of all queries that went into making images. forward, backward: None where none are counted,
    as for a black box. seconds: of the scans. image_sets: different sets of images that it was given.
    """

    method: Method
    scans: int
    right: Share
    rates: Rates
    ranking: Ranking
    target: Share
    only_target: Share
    undecided: Share
    invalid: Share
    queries: Cost
    image_queries: int
    forward: Cost | None
    backward: Cost | None
    seconds: Spread
    image_sets: int


@dataclass(frozen=True)
class Pair:
    """Two methods on the victims that both were tried on, and the p value of McNemar's exact test (two-sided)."""

    first: Method
    second: Method
    victims: int
    both: int
    only_first: int
    only_second: int
    p: float

    @property
    def neither(self) -> int:
        return self.victims - self.both - self.only_first - self.only_second


@dataclass(frozen=True)
class BreakdownRow:
    """One method; rates: a record for each group, in their order."""

    method: Method
    rates: tuple[Rates, ...]


@dataclass(frozen=True)
class Breakdown:
    """What each method caught in each group of victims. groups: names, clean victims last where they are one."""

    by: By
    groups: tuple[str, ...]
    rows: tuple[BreakdownRow, ...]


@dataclass(frozen=True)
class Configurations:
    """How many configurations were ever tried on a zoo: the more, the more the best of them owes to luck.

    detectors: (name as in the lines, configurations). ledgers: files read besides lines.
    """

    detectors: tuple[tuple[str, int], ...]
    configurations: int
    ledgers: int


@dataclass(frozen=True)
class Victims:
    """The victims of a zoo that any line is about, `count` of them. strata, attacks, architectures: (name, victims).

    clean_accuracy, implant_success: (lowest, highest); the latter None without a backdoored victim.
    """

    count: int
    clean: int
    strata: tuple[tuple[str, int], ...]
    attacks: tuple[tuple[str, int], ...]
    architectures: tuple[tuple[str, int], ...]
    clean_accuracy: tuple[float, float]
    implant_success: tuple[float, float] | None

    @property
    def backdoored(self) -> int:
        return self.count - self.clean


@dataclass(frozen=True)
class ZooTable:
    """All that the lines say about one zoo."""

    zoo: str
    victims: Victims
    cells: tuple[Cell, ...]
    pairs: tuple[Pair, ...]
    breakdowns: tuple[Breakdown, ...]
    tries: Configurations


@dataclass(frozen=True)
class Table:
    """The zoos of one split. left_out: (split, lines) of the others, which are never pooled with it."""

    split: ZooSplit
    zoos: tuple[ZooTable, ...]
    left_out: tuple[tuple[str, int], ...]
