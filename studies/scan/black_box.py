"""Runs any black-box detector on one model, metered and recorded, with its verdict in a ledger like that of a scan."""

from __future__ import annotations

import math
import tempfile
import time
import warnings
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

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
from simkit.detectors.access import Detector, QueryAccess, QueryDataAccess, held, stated_access
from simkit.detectors.registry import needs_more_than_labels
from simkit.errors import ConfigError
from simkit.search.images import ScanImages
from simkit.verdict import Decision, Rule, Stopped, Verdict
from studies.scan.config import ScanConfig
from studies.scan.images import choose_images, no_images
from studies.scan.ledger_run import DeferredRun, opened, refuse_to_pay_again, warn_of_others
from studies.scan.link import Link
from studies.scan.models import Model, OpenedModel, open_model
from studies.scan.own_verdicts import verdict_of
from studies.scan.prepare import shaped
from studies.scan.remote_models import reached
from studies.scan.result import Bill, ScanResult, result_of, verdict_row
from studies.scan.run_key import run_info, with_notes, with_output
from studies.scan.stored_triggers import readers_of, trigger_rows
from studies.scan.user_code import described, qualified_name

_OF_A_SCAN = ("preset", "search", "driver", "rule", "synthesis")


def detect(
    detector: Detector[QueryDataAccess] | Detector[QueryAccess],
    model: Model,
    *,
    images: ImageSet | None = None,
    db: str | Path | Ledger | None = None,
    new_run: bool = False,
    **settings: Any,
) -> ScanResult:
    """The verdict of `detector` on `model`; every query is charged to the budget and recorded in the ledger.

    detector: a frozen dataclass. It gets search_images + verify_images test images and an oracle with the service of
    the settings; one that takes `QueryAccess` gets no images. It may flag a class without a trigger. settings: the
    fields of `ScanConfig`, except preset, search, driver, rule and synthesis. db: see `scan`; a finished run gives its
    result without a query, and an interrupted one cannot be resumed, since the detector's state is unknown. new_run:
    admit a run where the ledger has one from another environment.
    Raises as `scan` does, StorageError for an interrupted run, and ContractError for a verdict
    that contradicts itself or the model, and for an error of the detector's own.
    """
    if unused := settings.keys() & set(_OF_A_SCAN):
        raise ConfigError(f"{min(unused)} is a setting of a scan; a detector has settings of its own, in its fields")
    trial = prepare_trial(detector, model, ScanConfig.of(settings), images)
    if db is None:
        with tempfile.TemporaryDirectory(prefix="simkit-") as folder:
            return replace(run_trial(trial, Path(folder) / "detect.db"), run=None, db=None)
    if not trial.model.sha256:
        raise ConfigError("an oracle has no weights that identify it; give name=..., a different one for each model")
    return run_trial(trial, db if isinstance(db, Ledger) else Path(db), new_run=new_run)


def prepare_trial(
    detector: Detector[QueryDataAccess] | Detector[QueryAccess],
    model: Model,
    config: ScanConfig,
    images: ImageSet | None = None,
) -> Trial:
    """Read and check everything that a detector needs, without a query and without a ledger. Raises as `detect`."""
    described(detector, "detect")
    _check_asks(detector)
    model = reached(model, config)
    if takes_no_images(detector):
        config, model = shaped(config, model)
        chosen = no_images(config, given=images is not None)
    else:
        chosen = choose_images(config, images)
    if config.oracle.label_only and (entry := needs_more_than_labels(detector)) is not None:
        warnings.warn(
            f"{entry.name} cannot decide behind a label-only service; use scores or top-k, or another detector",
            stacklevel=2,
        )
    return Trial(detector, open_model(model, chosen.search, config), chosen, config)


def takes_no_images(detector: Detector[Any]) -> bool:
    """Whether `detector.detect` is annotated to take `QueryAccess`."""
    return stated_access(detector.detect) is QueryAccess


def _check_asks(detector: Detector[Any]) -> None:
    """Raise ConfigError for a detector that needs more than the queries of an oracle."""
    access = stated_access(detector.detect)
    if access is not None and Oracle not in held(access):
        raise ConfigError(
            f"{qualified_name(detector)} takes {access.__name__}, and an oracle answers queries only; call its detect "
            "with the model itself"
        )


@dataclass(frozen=True, eq=False)
class Trial:
    """A detector and everything that its run needs."""

    detector: Detector[Any]
    model: OpenedModel
    images: ScanImages
    config: ScanConfig

    @cached_property
    def info(self) -> RunInfo:
        """The run's key and its description in a ledger, computed on first use."""
        return run_info(self.model, self.images, self.config, described(self.detector, "detect"))

    def verdict(self, late: DeferredRun, clock: ServiceClock) -> Verdict:
        """The detector's verdict, with its queries recorded by `late`; `undecided` if it does not catch Refused."""
        if isinstance(self.model.oracle, TorchOracle):
            check_answers(self.model.oracle, self.images.search.pixels)
        link = Link.of(self.model.oracle, self.config)
        link.begin(self.info.key, 0, late)
        budget, model = Budget(self.config.budget), self.config.restricted(self.model.oracle, 0)
        oracle = link.around(build(self.config.oracle, model, budget, late, clock=clock))
        access = self._access(oracle, late)
        shape = self.model.oracle.image_shape
        try:
            verdict = verdict_of(self.detector, lambda: self.detector.detect(access), lambda: oracle.n_classes, shape)
        except Refused as error:
            stopped: Stopped = "budget" if error.reason == "budget" else "refused"
            verdict = Verdict("undecided", stopped, (), None, (), None, str(error))
        return with_notes(verdict, self.model, self.model.oracle)

    def _access(self, oracle: Oracle, late: DeferredRun) -> QueryAccess | QueryDataAccess:
        if takes_no_images(self.detector):
            return QueryAccess(oracle, self.config.budget, _StepsOf(late))
        return QueryDataAccess(oracle, joined(self.images), self.config.budget, _StepsOf(late))


class _StepsOf:
    """The steps of a recorder, without access to its rows. Satisfies `Steps`."""

    def __init__(self, recorder: DeferredRun) -> None:
        def opened(number: int, purpose: str, state: str) -> int:
            return recorder.open_step(number, purpose, state)

        self._opened = opened

    def open_step(self, number: int, purpose: str, state: str) -> int:
        """See `Steps.open_step`."""
        return self._opened(number, purpose, state)


def run_trial(trial: Trial, db: Path | Ledger, *, new_run: bool = False) -> ScanResult:
    """The detector's verdict, now or from the ledger `db`; see `detect`."""
    with opened(db) as ledger:
        if not new_run:
            refuse_to_pay_again(ledger.path, trial.info)
        return result_of(_finished(trial, ledger), ledger, trial.info, readers_of(trial.detector))


def _finished(trial: Trial, ledger: Ledger) -> Run:
    info = trial.info
    late = DeferredRun(lambda: ledger.begin(with_output(info, trial.model.oracle)))
    kept = reads.same_scans(ledger.path, info)
    if any(run.key == info.key for run in kept):
        if late.run.result() is None:
            raise StorageError(
                f"{ledger.path}: run {late.run.id} of this detector was interrupted and cannot resume; use another db"
            )
        return late.run
    warn_of_others(ledger.path, info, kept)
    started, clock = time.perf_counter(), ServiceClock(trial.config.oracle.real_time)
    verdict = trial.verdict(late, clock)
    seconds = time.perf_counter() - started
    bill = Bill.of(trial.config.oracle, late.run.spent, late.run.refused, seconds, clock.seconds)
    late.run.finish(own_verdict_row(trial.detector, verdict, bill), trigger_rows(verdict))
    return late.run


def own_verdict_row(detector: object, verdict: Verdict, bill: Bill) -> VerdictRow:
    """The stored form of a verdict by a detector's own rule."""
    rule = Rule(type(detector).__name__, math.nan, "the detector's own", lambda _c, _t: Decision((), 0.0))
    return replace(verdict_row(verdict, rule, bill), rule_limit=None)


def joined(images: ScanImages) -> ImageSet:
    """All images of a scan as one set, search images first."""
    first, second = images.search, images.verify
    labels = np.concatenate([first.labels, second.labels])
    return ImageSet(torch.cat([first.pixels, second.pixels]), labels, first.classes, first.name)
