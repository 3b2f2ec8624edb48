"""What a report says, as plain frozen records: gathered from a ledger, and rendered without it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from db.records import VerdictRow
from simkit.triggers import Trigger
from studies.ledgers.run_words import Setting
from studies.ledgers.truth import Truth
from studies.statistics import Share


@dataclass(frozen=True)
class ClassRow:
    """One class of a run. name: empty where nobody told it. target: of the true trigger."""

    target_class: int
    name: str
    mask_size: float
    success: Share
    censored: bool
    flagged: bool
    target: bool

    @property
    def label(self) -> str:
        return f"{self.target_class} {self.name}".rstrip()


@dataclass(frozen=True, eq=False)
class Reversed:
    """A found trigger to show, beside the original where it is known. overlap: intersection over union, or None."""

    row: ClassRow
    found: Trigger
    original: Trigger | None
    overlap: float | None


@dataclass(frozen=True)
class Line:
    """One curve: (queries, value) in the order of the queries.

    colour: 0 to 9, the same for a class in all plots of a run. emphasis: of a flagged class, or of the true target.
    """

    label: str
    points: tuple[tuple[float, float], ...]
    colour: int
    emphasis: bool


@dataclass(frozen=True)
class Plot:
    """Curves over queries. log: the values span more than a decade and are all above 0."""

    title: str
    unit: str
    lines: tuple[Line, ...]
    log: bool


@dataclass(frozen=True)
class Purpose:
    """What a run asked for one purpose; share: of what the run was charged in all."""

    name: str
    calls: int
    queries: int
    charged: int
    share: float


@dataclass(frozen=True, eq=False)
class RunReport:
    """One run. limit: the mask size under which its rule flags, in pixels. score_threshold: the score above which.

    at: seconds since 1970, of its beginning. refused: queries by reason. oracle: what the service withholds, in words.
    command: the shell command that repeats it, None where there is none, and then no_command says why. truth: None
    where unknown.
    """

    id: int
    key: str
    model: str
    model_hash: str
    data: str
    preset: str
    oracle: str
    seed: int
    budget: int | None
    at: float
    spent: int
    verdict: VerdictRow | None
    limit: float | None
    score_threshold: float | None
    purposes: tuple[Purpose, ...]
    refused: tuple[tuple[str, int], ...]
    classes: tuple[ClassRow, ...]
    reversed: tuple[Reversed, ...]
    plots: tuple[Plot, ...]
    settings: tuple[Setting, ...]
    environment: tuple[tuple[str, Any], ...]
    command: str | None
    no_command: str
    truth: Truth | None

    @property
    def right(self) -> bool | None:
        """Whether the verdict is the truth; None where either is not known."""
        return None if self.truth is None or self.verdict is None else self.verdict.verdict == self.truth.truth

    @property
    def found_target(self) -> bool | None:
        """Whether a true target is among the flagged classes; None for a clean victim, or where it is not known."""
        if self.truth is None or self.verdict is None or not self.truth.target_classes:
            return None
        return not set(self.truth.target_classes).isdisjoint(self.verdict.flagged)


@dataclass(frozen=True)
class Detection:
    """How well the runs of one preset, service, data set and budget told victims apart whose truth is known.

    models: different ones among the runs. queries: the median spent.
    """

    preset: str
    oracle: str
    data: str
    budget: int | None
    runs: int
    models: int
    accuracy: Share
    true_positives: Share
    false_positives: Share
    targets: Share
    queries: float


@dataclass(frozen=True, eq=False)
class ReportData:
    """The runs of one ledger, the newest first. ledger: the file's name. left_out: runs of it that are not shown."""

    ledger: str
    runs: tuple[RunReport, ...]
    left_out: int
    detection: tuple[Detection, ...]
