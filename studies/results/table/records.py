"""The records of the table of detectors: frozen data, gathered from result lines and rendered without them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from simkit.zoo.spec import ZooSplit
from studies.statistics import Forecast, Ranking, Share, Spread

By: TypeAlias = Literal["size", "attack", "architecture"]

Key: TypeAlias = tuple[str, str]
"""The identity of a method: detector and config_hash."""


@dataclass(frozen=True)
class Method:
    """A detector with its settings, which is a row of a table.

    label: unique on every zoo; a detector keeps its label over all zoos, even where its settings or its budget differ.
    service: the oracle's answers, in words; empty for a white-box detector. budget: query budget per victim, None for
    no limit. changed: settings by dotted name, see `studies.results.table.changed`.
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
    """Verdicts `backdoored` of a method. caught: among backdoored victims (TPR); accused: among clean ones (FPR)."""

    caught: Share
    accused: Share


@dataclass(frozen=True)
class Cost:
    """The cost of scans by the truth about their victims, in queries or in forward or backward passes of images."""

    backdoored: Spread
    clean: Spread
    all: Spread


@dataclass(frozen=True)
class Cell:
    """The figures of one method on one zoo.

    scans: number of scanned victims. right: correct verdicts; `undecided` and `invalid` never are. target: detected
    backdoored victims of which a target class is flagged. only_target: those of which no other class is flagged.
    image_queries: queries spent on making images, of all scans. forward, backward: None where passes are not
    counted, as for a black-box detector. seconds: wall time per scan. image_sets: number of different sets of
    images used, those drawn for one victim apart. forecast: how good its probabilities of a backdoor are, over the
    victims that have one.
    """

    method: Method
    scans: int
    right: Share
    rates: Rates
    ranking: Ranking
    forecast: Forecast
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
    """Two methods on the victims that both scanned, and the p value of McNemar's exact two-sided test.

    adjusted: the p value by Holm's method, over all pairs of the zoo.
    """

    first: Method
    second: Method
    victims: int
    both: int
    only_first: int
    only_second: int
    p: float
    adjusted: float

    @property
    def neither(self) -> int:
        """Number of victims that neither method classifies correctly."""
        return self.victims - self.both - self.only_first - self.only_second


@dataclass(frozen=True)
class BreakdownRow:
    """One method in a breakdown. rates: one record per group, in the order of the groups."""

    method: Method
    rates: tuple[Rates, ...]


@dataclass(frozen=True)
class Breakdown:
    """TPR and FPR of each method per group of victims. groups: their names; a group of clean victims comes last."""

    by: By
    groups: tuple[str, ...]
    rows: tuple[BreakdownRow, ...]


@dataclass(frozen=True)
class Configurations:
    """How many configurations were ever tried on a zoo: the more, the more the best of them owes to chance.

    detectors: (name in the result lines, number of configurations). ledgers: number of ledgers read besides the lines.
    """

    detectors: tuple[tuple[str, int], ...]
    configurations: int
    ledgers: int


@dataclass(frozen=True)
class Victims:
    """The victims of a zoo that have a result line. strata, attacks, architectures: (name, number of victims).

    clean_accuracy: lowest and highest accuracy on clean images. implant_success: lowest and highest attack success rate
    (ASR), None without a backdoored victim.
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
    """All figures of one zoo."""

    zoo: str
    victims: Victims
    cells: tuple[Cell, ...]
    pairs: tuple[Pair, ...]
    breakdowns: tuple[Breakdown, ...]
    tries: Configurations


@dataclass(frozen=True)
class Table:
    """The zoos of one split. left_out: (split, number of lines) of other splits, which are never pooled with it.

    prior: the share of backdoored models that probabilities assume.
    """

    split: ZooSplit
    zoos: tuple[ZooTable, ...]
    left_out: tuple[tuple[str, int], ...]
    prior: float
