"""The result of a scan, always built from the ledger, so that stored and fresh runs give the same result."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from db import reads
from db.ledger import Ledger
from db.records import RunInfo, VerdictRow
from db.run import Run
from oracles.spec import OracleSpec
from simkit.data.images import ImageShape
from simkit.transforms.families import Reader
from simkit.verdict import ClassResult, Rule, Verdict, on_one_scale, stored_rule
from studies.scan.price import Price
from studies.scan.probability import Probability, probability
from studies.scan.stored_triggers import NO_MORE, stored_class
from studies.scan.trigger_files import TriggerFiles

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from studies.scan.notebook import Classes

_GROUPED = frozenset({"rule", "threshold", "rule_limit", "threshold_source", "spent", "refused"})
"""Fields of a verdict that are nested in `rule` and `queries`."""

_FIRST = (
    *("verdict", "stopped", "flagged", "score", "rule", "queries", "seconds", "run", "db"),
    *("cost", "currency", "api_seconds", "clean_accuracy", "checked_images", "classes", "trigger", "notes"),
    *("error", "exit_code"),
)
_OF_THE_VERDICT = tuple(field.name for field in fields(VerdictRow) if field.name not in _GROUPED)

JSON_KEYS = (*_FIRST, *(name for name in _OF_THE_VERDICT if name not in _FIRST), "probability")
"""The keys of a scan's JSON object, which always has all of them; unknown values are null."""


@dataclass(frozen=True, eq=False, kw_only=True)
class ScanResult(VerdictRow):
    """The verdict on one model and what it took, as the ledger records both, and what belongs to it.

    budget: query budget, None for no limit. image_queries: number of the spent queries that made images.
    checked_images: number of clean images behind `clean_accuracy`, None where that is None. classes: one result per
    class, in order, with success rates on unseen images. run, db: where it is stored, None for nowhere.
    triggers: the files of the triggers, None if none were wanted. currency: of the cost, None where none is stated.
    probability: of a backdoor, None for a verdict or a detector that was not calibrated; it is stored nowhere.
    """

    budget: int | None
    image_queries: int
    checked_images: int | None
    classes: tuple[ClassResult, ...]
    run: int | None
    db: Path | None
    triggers: TriggerFiles | None
    currency: str | None
    probability: Probability | None

    def __repr__(self) -> str:
        shown = ("verdict", "flagged", "score", "spent", "budget", "stopped")
        values = ", ".join(f"{name}={getattr(self, name)!r}" for name in shown)
        return f"ScanResult({values}, {len(self.classes)} classes)"

    def __str__(self) -> str:
        from studies.scan.result_words import in_lines

        return "\n".join(in_lines(self, self.classes, self.budget, self.checked_images))

    @property
    def image_shape(self) -> ImageShape | None:
        """The shape (C, H, W) of the model's images, as its triggers state it; None without a class."""
        return self.classes[0].trigger.image_shape if self.classes else None

    @property
    def size_limit(self) -> float | None:
        """The mask size in pixels below (or at) which the rule flags a class; None for a rule without sizes."""
        rule = stored_rule(self.rule, self.rule_limit)
        return None if rule is None else rule.size_limit([c.mask_size for c in self.classes])

    def under(self, prior: float) -> ScanResult:
        """The same result, its probability under the prior that this share of all models is backdoored.

        Raises ConfigError unless the share is in (0, 1).
        """
        return replace(self, probability=None if self.probability is None else self.probability.at(prior))

    def to_json(self) -> dict[str, Any]:
        """Plain values under JSON_KEYS; the command fills in `error` and `exit_code`."""
        return empty_json() | {
            **{name: getattr(self, name) for name in _OF_THE_VERDICT},
            "flagged": list(self.flagged),
            "ruled_out": None if self.ruled_out is None else [dict(entry) for entry in self.ruled_out],
            "rule": {
                "name": self.rule,
                "threshold": self.threshold,
                "limit": self.rule_limit,
                "source": self.threshold_source,
            },
            "queries": {
                "budget": self.budget,
                "spent": self.spent,
                "refused": self.refused,
                "images": self.image_queries,
            },
            "run": self.run,
            "db": None if self.db is None else str(self.db),
            "currency": self.currency,
            "checked_images": self.checked_images,
            "classes": [_class_json(c) for c in self.classes],
            "trigger": None if self.triggers is None else self.triggers.to_json(),
            "probability": None if self.probability is None else self.probability.to_json(),
        }

    def plot_triggers(self, most: int = 6, ax: Axes | None = None) -> Axes:
        """Draw the reversed triggers on grey and as masks: flagged classes first, then the smallest working ones.

        most: maximum number of classes, at least 1. ax: the axes to draw on; None for a new figure, which is `.figure`
        of the returned axes.
        """
        from studies.render.charts import trigger_chart

        return trigger_chart(self._classes().captions(most), self._title(), ax)

    def plot_mask_sizes(self, ax: Axes | None = None) -> Axes:
        """Draw the mask size of every class as a bar, with the rule's limit. ax: as in `plot_triggers`."""
        from studies.render.charts import mask_size_chart

        return mask_size_chart(self._classes().bars(), self._title(), ax)

    def _repr_html_(self) -> str:
        from studies.scan.notebook import result_html

        return result_html(self.to_json(), self._classes())

    def _classes(self) -> Classes:
        from studies.scan.notebook import Classes

        limit = None if self.verdict == "invalid" else self.size_limit
        return Classes(self.classes, self.flagged, self.rule, limit)

    def _title(self) -> str:
        return f"{self.verdict}, {self.spent:,} queries"


def empty_json() -> dict[str, Any]:
    """A scan's JSON object with all values null."""
    return dict.fromkeys(JSON_KEYS)


@dataclass(frozen=True)
class Bill:
    """The cost of a scan: queries spent and refused, real seconds, and the service's stated cost and time."""

    spent: int
    refused: int
    seconds: float
    cost: float | None
    api_seconds: float | None

    @classmethod
    def of(cls, spec: OracleSpec, spent: int, refused: int, seconds: float, api_seconds: float) -> Bill:
        """The bill of a scan, with cost and time only if `spec` states them."""
        cost = None if spec.price_per_thousand is None else spec.price_per_thousand * spent / 1000
        return cls(spent, refused, seconds, cost, api_seconds if spec.timed else None)


def verdict_row(verdict: Verdict, rule: Rule, bill: Bill) -> VerdictRow:
    """The stored form of a verdict."""
    stored = {name: value for name, value in vars(verdict).items() if name in _STORED}
    settings: dict[str, Any] = {
        "threshold": rule.score_threshold,
        "rule_limit": rule.threshold,
        "threshold_source": rule.source,
    }
    return VerdictRow(**stored, rule=rule.name, **settings, **vars(bill))


_STORED = frozenset(field.name for field in fields(VerdictRow))


def _class_json(result: ClassResult) -> dict[str, Any]:
    trigger = result.trigger
    return {
        "class": result.target_class,
        "mask_size": result.mask_size,
        "success_rate": result.success_rate,
        "censored": result.censored,
        "family": trigger.family,
        "strength": trigger.strength,
        "unit": trigger.unit,
        "trigger": None if trigger.as_patch is not None else trigger.to_json(),
    }


def result_of(run: Run, ledger: Ledger, info: RunInfo, more: Mapping[str, Reader] = NO_MORE) -> ScanResult:
    """The result of a finished run from its ledger, without trigger files. more: readers of a user's own families."""
    row = run.result()
    assert row is not None
    threshold, limit = on_one_scale(row.rule, row.threshold, row.rule_limit)
    classes = tuple(stored_class(trigger, more) for trigger in reads.triggers(ledger.path, run.id))
    return ScanResult(
        **vars(row) | {"threshold": threshold, "rule_limit": limit},
        budget=info.budget,
        image_queries=reads.image_queries(ledger.path, run.id),
        checked_images=None if row.clean_accuracy is None else reads.check_queries(ledger.path, run.id),
        classes=classes,
        run=run.id,
        db=ledger.path,
        triggers=None,
        currency=None if (price := Price.stated(json.loads(info.oracle))) is None else price.currency,
        probability=_probability(run, ledger, info, row.verdict, classes),
    )


def _probability(
    run: Run, ledger: Ledger, info: RunInfo, verdict: str, classes: Sequence[ClassResult]
) -> Probability | None:
    """Computed from what is stored, so that a later calibration speaks about earlier scans."""
    kept = next((kept for kept in reads.same_scans(ledger.path, info) if kept.id == run.id), None)
    if kept is None or not classes:
        return None
    return probability(json.loads(info.config), kept.environment, verdict, classes[0].trigger.image_shape)
