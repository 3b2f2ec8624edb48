"""What the report of a study says, as frozen records: gathered from lines and ledgers, and rendered without them."""

from __future__ import annotations

from dataclasses import dataclass

from studies.render.figures import Drawing
from studies.report.gallery.gather import ShownZoo
from studies.results.budget.records import BudgetStudy
from studies.results.table.records import Table
from studies.statistics import Spread


@dataclass(frozen=True)
class Spend:
    """What the scans of one method took, over all zoos.

    label: of the method. queries, seconds: of a scan; a white box asks nothing. price: of a thousand queries, None
    where nobody says.
    """

    label: str
    scans: int
    queries: Spread
    backdoored: Spread
    clean: Spread
    seconds: Spread
    price: float | None

    @property
    def money(self) -> float | None:
        """Of all scans together, in the money of the price."""
        return None if self.price is None else self.price * self.queries.total / 1000


@dataclass(frozen=True)
class Source:
    """A zoo of the study. models: victims of the study, of those in the zoo. manifest, images: SHA-256."""

    name: str
    split: str
    models: int
    of: int
    data: str
    manifest: str
    images: str


@dataclass(frozen=True)
class Made:
    """Where scans were made: versions, platform and threads, by name, and how many scans."""

    scans: int
    told: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Origin:
    """What the study is. file: the name of its file, with text and SHA-256; hash: of what it says of the scans.

    results: SHA-256 of the lines that the report is made of. done, wanted: scans.
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
    """All of a report. curves: None where no detector asks; table: None where nothing was scanned but to tune.

    gallery: empty where there is none, and why in a line. tuned: what the tuning of the study has to show; tunings: the
    options of `simkit study tune` that made it.
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
