"""The records of a study's report: frozen data, gathered from result lines and ledgers and rendered without them."""

from __future__ import annotations

from dataclasses import dataclass

from studies.render.figures import Drawing
from studies.report.gallery.gather import ShownZoo
from studies.results.budget.records import BudgetStudy
from studies.results.table.records import Table
from studies.scan.price import Price
from studies.statistics import Spread


@dataclass(frozen=True)
class Spend:
    """The cost of the scans of one method, over all zoos.

    queries, backdoored, clean: queries per scan, of all scans and by the truth about the victim; 0 for a white-box
    detector. seconds: wall time per scan. price: None where none is stated with its currency.
    """

    label: str
    scans: int
    queries: Spread
    backdoored: Spread
    clean: Spread
    seconds: Spread
    price: Price | None

    @property
    def money(self) -> float | None:
        """The cost of all scans together, in the currency of the price."""
        return None if self.price is None else self.price.of(self.queries.total)


@dataclass(frozen=True)
class Source:
    """A zoo of the study. models: number of its victims in the study; of: in the zoo. manifest, images: SHA-256."""

    name: str
    split: str
    models: int
    of: int
    data: str
    manifest: str
    images: str


@dataclass(frozen=True)
class Made:
    """An environment (versions, platform and thread count, by name) and the number of scans made in it."""

    scans: int
    environment: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Origin:
    """What the report was made from.

    file, text, sha256: name, text and SHA-256 of the study file. hash: hash of the settings that determine the scans.
    results: SHA-256 of the result lines. done, wanted: number of finished scans, and of all scans.
    """

    name: str
    file: str
    text: str
    sha256: str
    hash: str
    results: str
    done: int
    wanted: int
    zoos: tuple[Source, ...]
    made: tuple[Made, ...]


@dataclass(frozen=True, eq=False)
class StudyReport:
    """A whole report.

    curves: None where no detector sends queries. table: None where scans were made for tuning only. gallery: empty for
    the reason in `no_gallery`. tuned: figures of the study's tuning. tunings: the options of `simkit study tune` that
    made it.
    """

    origin: Origin
    curves: BudgetStudy | None
    table: Table | None
    spend: tuple[Spend, ...]
    gallery: tuple[ShownZoo, ...]
    no_gallery: str
    each: int
    tuned: tuple[Drawing, ...]
    tunings: tuple[str, ...]
