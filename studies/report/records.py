"""The records of a report: plain frozen data, gathered from a ledger and rendered without it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from db.records import VerdictRow
from db.trigger_rows import PATCH
from simkit.transforms.contract import Transform
from simkit.triggers import in_short
from studies.ledgers.run_words import Setting
from studies.ledgers.truth import Truth
from studies.render.charts import Plot
from studies.render.formats import labelled
from studies.scan.price import Price
from studies.scan.probability import Probability
from studies.statistics import Share


@dataclass(frozen=True)
class ClassRow:
    """One class of a run. name: empty where it is unknown. target: whether it is the target of the true trigger.

    family, strength, unit: of its trigger, as the ledger says them.
    """

    target_class: int
    name: str
    mask_size: float
    family: str
    strength: float
    unit: str
    success: Share
    censored: bool
    flagged: bool
    target: bool

    @property
    def label(self) -> str:
        """The number and the name of the class; the number alone where the name is unknown or the same."""
        return labelled(self.target_class, self.name)

    @property
    def is_patch(self) -> bool:
        """Whether its trigger is a mask and a pattern, which alone has a size in pixels to draw."""
        return self.family == PATCH

    @property
    def kind(self) -> str:
        """The family and the strength of its trigger."""
        return f"{self.family}, {in_short(self.strength)} {self.unit}"


@dataclass(frozen=True, eq=False)
class Reversed:
    """A reversed trigger, and the original where it is known. overlap: their masks' intersection over union (IoU)."""

    row: ClassRow
    reversed: Transform
    original: Transform | None
    overlap: float | None


@dataclass(frozen=True)
class Purpose:
    """The calls and queries of a run for one purpose. share: fraction of all queries that the run was charged for."""

    name: str
    calls: int
    queries: int
    charged: int
    share: float


@dataclass(frozen=True, eq=False)
class RunReport:
    """One run.

    limit: mask size in pixels below which its rule flags a class. rule_limit: the rule's own setting. score_threshold:
    a class is flagged just when its score is above it.
    at: start time, in seconds since 1970. refused: number of refused queries by reason. alarms: see `SurveyedRun`.
    oracle: the service's restrictions, in words. price: None where none is stated with its currency. command: the shell
    command that reproduces the run; None where there is none, for the reason in `no_command`. truth: None where
    unknown. caller: the id of the API key whose run of `simkit serve` it is; None for a run of a detector. probability:
    of a backdoor, None where the detector was not calibrated.
    """

    id: int
    key: str
    model: str
    model_hash: str
    data: str
    preset: str
    oracle: str
    price: Price | None
    seed: int
    budget: int | None
    at: float
    spent: int
    verdict: VerdictRow | None
    limit: float | None
    rule_limit: float | None
    score_threshold: float | None
    purposes: tuple[Purpose, ...]
    refused: tuple[tuple[str, int], ...]
    alarms: tuple[tuple[str, int, int], ...]
    classes: tuple[ClassRow, ...]
    reversed: tuple[Reversed, ...]
    plots: tuple[Plot, ...]
    settings: tuple[Setting, ...]
    environment: tuple[tuple[str, Any], ...]
    command: str | None
    no_command: str
    truth: Truth | None
    caller: str | None = None
    probability: Probability | None = None

    @property
    def checked_images(self) -> int | None:
        """The number of images behind the clean accuracy; None where that is unknown."""
        if self.verdict is None or self.verdict.clean_accuracy is None:
            return None
        return next((purpose.queries for purpose in self.purposes if purpose.name == "check"), None)

    @property
    def right(self) -> bool | None:
        """Whether the verdict is correct; None without a verdict or without the truth."""
        return None if self.truth is None or self.verdict is None else self.verdict.verdict == self.truth.truth

    @property
    def found_target(self) -> bool | None:
        """Whether a true target class is flagged; None for a clean victim, without a verdict or without the truth."""
        if self.truth is None or self.verdict is None or not self.truth.target_classes:
            return None
        return not set(self.truth.target_classes).isdisjoint(self.verdict.flagged)


@dataclass(frozen=True)
class Detection:
    """Detection performance over the runs of one preset, service, data set and budget whose truth is known.

    models: number of different models among the runs. queries: median of the queries spent.
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
    """The runs of one ledger by their ids, as `simkit db runs` lists them.

    ledger: the file's name. command: writes this page again. left_out: number of runs that are not shown.
    """

    ledger: str
    command: str
    runs: tuple[RunReport, ...]
    left_out: int
    detection: tuple[Detection, ...]
