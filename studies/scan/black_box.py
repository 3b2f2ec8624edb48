"""Any black-box detector on one model: metered, recorded, its verdict in a ledger like a scan's."""

from __future__ import annotations

import math
import tempfile
import time
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, get_type_hints

import numpy as np
import torch

from db import reads
from db.errors import StorageError
from db.ledger import Ledger
from db.records import RunInfo, VerdictRow
from db.run import Run
from oracles.budget import Budget
from oracles.errors import Refused
from oracles.guard import ServiceClock
from oracles.oracle import Oracle
from oracles.spec import build
from oracles.torch_model import TorchOracle, check_answers
from simkit.data import ImageSet
from simkit.detectors.access import Detector, QueryAccess, QueryDataAccess
from simkit.errors import ConfigError, ContractError
from simkit.search.images import ScanImages
from simkit.verdict import Decision, Rule, Stopped, Verdict
from studies.scan.config import ScanConfig
from studies.scan.images import choose_images, no_images
from studies.scan.ledger_run import DeferredRun, opened
from studies.scan.models import Model, OpenedModel, open_model
from studies.scan.prepare import shaped
from studies.scan.result import Bill, ScanResult, result_of, trigger_rows, verdict_row
from studies.scan.run_key import run_info, with_notes, with_output
from studies.scan.user_code import described

_OF_A_SCAN = ("preset", "search", "driver", "rule", "synthesis")


def detect(
    detector: Detector[QueryDataAccess] | Detector[QueryAccess],
    model: Model,
    *,
    images: ImageSet | None = None,
    db: str | Path | Ledger | None = None,
    **settings: Any,
) -> ScanResult:
    """What `detector` says of `model`; every query it sends is paid from the budget and kept in the ledger.

    detector: a frozen dataclass. It gets search_images + verify_images test images, and an oracle behind the service
    that the settings describe; one that takes `QueryAccess` gets no images. settings: the fields of `ScanConfig` but
    for preset, search, driver, rule and synthesis. db: see `scan`; a finished run answers without a query. A run that
    was broken off does not go on: nobody knows what the detector had learnt. It may flag a class of which it has no
    trigger. Raises what `scan` raises; StorageError on a run that was broken off; ContractError on a verdict that
    contradicts itself.
    """
    if unused := settings.keys() & set(_OF_A_SCAN):
        raise ConfigError(f"{min(unused)} is a setting of a scan; a detector has its own, in its fields")
    trial = prepare_trial(detector, model, ScanConfig.of(settings), images)
    if db is None:
        with tempfile.TemporaryDirectory(prefix="simkit-") as folder:
            return replace(run_trial(trial, Path(folder) / "detect.db"), run=None, db=None)
    if not trial.model.sha256:
        raise ConfigError("an oracle has no weights to know it again by; give name=..., one for each model")
    return run_trial(trial, db if isinstance(db, Ledger) else Path(db))


def prepare_trial(
    detector: Detector[QueryDataAccess] | Detector[QueryAccess],
    model: Model,
    config: ScanConfig,
    images: ImageSet | None = None,
) -> Trial:
    """Read and check everything that a detector needs, without a query and without a ledger. Raises as `detect`."""
    described(detector, "detect")
    if takes_no_images(detector):
        config, model = shaped(config, model)
        chosen = no_images(config, given=images is not None)
    else:
        chosen = choose_images(config, images)
    return Trial(detector, open_model(model, chosen.search, config), chosen, config)


def takes_no_images(detector: Detector[Any]) -> bool:
    """Whether `detector.detect` is annotated to take `QueryAccess`."""
    try:
        return QueryAccess in get_type_hints(detector.detect).values()
    except NameError:  # of a name that its module imports for the type checker alone
        return False


@dataclass(frozen=True, eq=False)
class Trial:
    """A detector, and all that its one run needs."""

    detector: Detector[Any]
    model: OpenedModel
    images: ScanImages
    config: ScanConfig

    @cached_property
    def info(self) -> RunInfo:
        """The run's key and what a ledger says of it, as of when it was first asked for."""
        return run_info(self.model, self.images, self.config, described(self.detector, "detect"))

    def verdict(self, late: DeferredRun, clock: ServiceClock) -> Verdict:
        """What the detector says, its queries recorded with `late`; `undecided` if it leaves Refused to us."""
        if isinstance(self.model.oracle, TorchOracle):
            check_answers(self.model.oracle, self.images.search.pixels)
        budget, model = Budget(self.config.budget), self.config.restricted(self.model.oracle, 0)
        oracle = build(self.config.oracle, model, budget, late, clock=clock)
        try:
            verdict = self.detector.detect(self._access(oracle, late))
        except Refused as error:
            stopped: Stopped = "budget" if error.reason == "budget" else "refused"
            verdict = Verdict("undecided", stopped, (), None, (), None, str(error))
        return _checked(with_notes(verdict, self.model.oracle), oracle.n_classes)

    def _access(self, oracle: Oracle, late: DeferredRun) -> QueryAccess | QueryDataAccess:
        if takes_no_images(self.detector):
            return QueryAccess(oracle, self.config.budget, _StepsOf(late))
        return QueryDataAccess(oracle, joined(self.images), self.config.budget, _StepsOf(late))


class _StepsOf:
    """The steps of a recorder, and no way to its rows. Satisfies `Steps`."""

    def __init__(self, recorder: DeferredRun) -> None:
        def opened(number: int, purpose: str, state: str) -> int:
            return recorder.open_step(number, purpose, state)

        self._opened = opened

    def open_step(self, number: int, purpose: str, state: str) -> int:
        """See `Steps.open_step`."""
        return self._opened(number, purpose, state)


def run_trial(trial: Trial, db: Path | Ledger) -> ScanResult:
    """What the detector says, or said before, in the ledger `db`; see `detect`."""
    with opened(db) as ledger:
        return result_of(_finished(trial, ledger), ledger, trial.info)


def _finished(trial: Trial, ledger: Ledger) -> Run:
    info = trial.info
    late = DeferredRun(lambda: ledger.begin(with_output(info, trial.model.oracle)))
    if any(run.key == info.key for run in reads.same_scans(ledger.path, info)):
        if late.run.result() is None:
            raise StorageError(
                f"{ledger.path}: run {late.run.id} of this detector was broken off and cannot go on; use another db"
            )
        return late.run
    started, clock = time.perf_counter(), ServiceClock(trial.config.oracle.real_time)
    verdict = trial.verdict(late, clock)
    seconds = time.perf_counter() - started
    bill = Bill.of(trial.config.oracle, late.run.spent, late.run.refused, seconds, clock.seconds)
    late.run.finish(own_verdict_row(trial.detector, verdict, bill), trigger_rows(verdict))
    return late.run


def own_verdict_row(detector: object, verdict: Verdict, bill: Bill) -> VerdictRow:
    """The verdict of a detector that has no rule beside itself, as a ledger keeps it."""
    rule = Rule(type(detector).__name__, math.nan, "the detector's own", lambda _c, _t: Decision((), 0.0))
    return replace(verdict_row(verdict, rule, bill), threshold=None)


def _checked(verdict: Verdict, n_classes: int) -> Verdict:
    """Raise ContractError on what no class is, and on what the ledger's own check would later call unsound."""
    if unknown := set(verdict.flagged) - set(range(n_classes)):
        raise ContractError(f"class {min(unknown)} is flagged, but the classes are 0 to {n_classes - 1}")
    if (verdict.verdict == "backdoored") != bool(verdict.flagged):
        flagged = list(verdict.flagged)
        raise ContractError(f"{verdict.verdict} with the flagged classes {flagged}; flag classes of a backdoor alone")
    for found in verdict.classes:
        hits = (found.success_rate or 0.0) * found.trials
        if abs(hits - round(hits)) > 1e-6:
            rate = f"class {found.target_class}: a success rate of {found.success_rate} in {found.trials} trials"
            raise ContractError(f"{rate} is {hits:g} hits; give the trials that it is a share of")
    return verdict


def joined(images: ScanImages) -> ImageSet:
    """All images of a scan in one set, search images first."""
    first, second = images.search, images.verify
    labels = np.concatenate([first.labels, second.labels])
    return ImageSet(torch.cat([first.pixels, second.pixels]), labels, first.classes, first.name)
