"""Scans one victim with one detector, in a ledger of its own, and appends the result line."""

from __future__ import annotations

import glob
import json
import re
import warnings
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal, TypeAlias

from db import reads
from db.errors import StorageBusy, StorageError
from db.ledger import Ledger
from db.records import RunInfo, VerdictRow
from db.stored import StoredRun
from oracles.outside import OutsideFile
from simkit.data.load import absolute
from simkit.errors import DataError
from simkit.search.images import ScanImages
from simkit.search.refine import is_refinement
from simkit.seeding import subseed
from simkit.verdict import ClassResult
from simkit.zoo.manifest import Victim, checked_weights
from simkit.zoo.spec import ZooSplit
from studies.scan.black_box import prepare_trial, run_trial
from studies.scan.canonical import digest
from studies.scan.images import choose_images, no_images
from studies.scan.ledger_run import refuse_to_pay_again
from studies.scan.plan_length import BudgetBelowPlan
from studies.scan.prepare import prepare
from studies.scan.result import ScanResult
from studies.scan.run import run_scan
from studies.scan.run_key import environment
from studies.scan.white_box import cost_of, inspect_model
from studies.study.claim import claimed
from studies.study.detectors import Method, method
from studies.study.executors import error_in_one_line
from studies.study.result_file import append_line, find_line, length
from studies.study.result_line import BY_VICTIM, ClassLine, ResultLine

UnitKey: TypeAlias = tuple[str, str, int, str, str, str]
"""See `ResultLine.unit`."""

State: TypeAlias = Literal["scanned", "there", "busy", "failed"]


@dataclass(frozen=True)
class Study:
    """One zoo, the places of its scans, and the settings that they share, which are fields of `ScanConfig`.

    served: the name of the service that answers for each victim, with `{index}`; None for the files of the zoo.
    same_images: whether all victims are scanned with the same seed, so with the same images.
    """

    zoo: Path
    name: str
    split: ZooSplit
    out: Path
    ledgers: Path
    settings: Mapping[str, Any]
    served: str | None = None
    same_images: bool = False

    def settings_of(self, victim: Victim) -> dict[str, Any]:
        """The settings of this victim's scan. Its seed follows from the victim's, so that the choice of images is part
        of what intervals over victims measure; at seed 0 it is the victim's own."""
        seed = int(self.settings.get("seed", 0))
        if self.same_images:
            return dict(self.settings)
        own = victim.seed if seed == 0 else subseed(seed, "scan", victim.seed)
        return {**self.settings, "seed": own}

    def in_lines(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """A scan's settings as they are in its result line: equal for all victims, so without their seeds."""
        seed = self.settings.get("seed", 0)
        return dict(config) if self.same_images else {**config, "seed": f"{seed}{BY_VICTIM}"}

    def model_of(self, victim: Victim) -> OutsideFile | str:
        """The victim's weights, or the name of the service that answers for it. Raises DataError."""
        if self.served is not None:
            return self.served.replace("{index}", str(victim.index))
        return checked_weights(self.zoo, victim)

    def absolute(self) -> Study:
        """The study with absolute paths."""
        settings = {**self.settings, "data": absolute(str(self.settings.get("data", "")), Path.cwd())}
        zoo, out, ledgers = self.zoo.absolute(), self.out.absolute(), self.ledgers.absolute()
        return replace(self, zoo=zoo, out=out, ledgers=ledgers, settings=settings)


@dataclass(frozen=True)
class Unit:
    """One detector, by name, on one victim; plain data that is sent to worker processes.

    new_run: scan anew, and pay again, where another ledger of the study holds this scan, interrupted, from another
    environment.
    """

    study: Study
    victim: Victim
    detector: str
    config_hash: str
    data_hash: str
    new_run: bool = False

    @property
    def key(self) -> UnitKey:
        """The identity of the unit and of its result line."""
        victim = self.victim
        of_victim = self.study.name, self.study.split, victim.index, str(victim.sha256)
        return *of_victim, self.detector, self.config_hash

    @property
    def settings(self) -> dict[str, Any]:
        """The settings of its scan, see `Study.settings_of`."""
        return self.study.settings_of(self.victim)

    @property
    def stem(self) -> str:
        """The name of its ledger, which differs for other images, versions, or numbers of threads."""
        ours = environment()
        here = [ours[name] for name in ("threads", "simkit", "torch", "numpy")]
        identity = digest([*self.key, self.data_hash, *here])
        return f"{self._name}-{identity[:12]}"

    @property
    def _name(self) -> str:
        detector = re.sub(r"[^A-Za-z0-9-]+", "_", self.detector)
        return f"{self.study.name}-{self.victim.index:04d}-{detector}"

    def ledgers_elsewhere(self) -> list[Path]:
        """The ledgers of this detector and victim from other environments, or with other settings."""
        stem = self.stem
        found = sorted(self.study.ledgers.glob(f"{glob.escape(self._name)}-*.db"))
        return [path for path in found if not path.stem.startswith(stem)]


@dataclass(frozen=True)
class Outcome:
    """The outcome of a unit.

    state: `there` if it was done already, `busy` if another process is scanning it. messages: the error or warnings.
    """

    unit: Unit
    state: State
    line: ResultLine | None = None
    messages: tuple[str, ...] = ()


def scan_unit(unit: Unit) -> Outcome:
    """Scan or resume, and append the line; an error becomes a message, since it concerns only this unit."""
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("ignore", BudgetBelowPlan)  # said once, before the first scan of the study
        try:
            line = _scanned(unit)
            state: State = "there" if line is None else "scanned"
        except StorageBusy:
            return Outcome(unit, "busy")
        except Exception as error:
            return Outcome(unit, "failed", messages=(error_in_one_line(error),))
    return Outcome(unit, state, line, tuple(dict.fromkeys(" ".join(str(w.message).split()) for w in warned)))


def _scanned(unit: Unit) -> ResultLine | None:
    """The line that was appended to the file; None if another process was faster."""
    chosen, study = method(unit.detector), unit.study
    with claimed(study.ledgers, unit.stem, goes_on=chosen.preset is not None) as claim:
        checked = length(study.out)
        if find_line(study.out, unit.key) is not None:
            return None
        result = _result(unit, chosen, study.model_of(unit.victim), claim.ledger)
        line = line_of(unit, result, claim.broken)
        return line if append_line(study.out, line, checked) else None


def _result(unit: Unit, chosen: Method, model: OutsideFile | str, ledger: Ledger) -> ScanResult:
    config = chosen.config(unit.settings)
    if chosen.preset is not None:
        prepared = prepare(model, config)
        _check_images(unit, prepared.images)
        if not unit.new_run:
            _refuse_to_pay_again(unit, ledger, prepared.info)
        return run_scan(prepared, ledger, new_run=unit.new_run)
    if chosen.white_box:
        images = choose_images(config, None) if chosen.takes_images else no_images(config, given=False)
        _check_images(unit, images)
        assert isinstance(model, OutsideFile)  # a study file with a served zoo has no such detector
        return inspect_model(chosen.detector, model, config, ledger, images)
    trial = prepare_trial(chosen.detector, model, config)
    _check_images(unit, trial.images)
    if not unit.new_run:
        _refuse_to_pay_again(unit, ledger, trial.info)
    return run_trial(trial, ledger, new_run=unit.new_run)


def _refuse_to_pay_again(unit: Unit, own: Ledger, info: RunInfo) -> None:
    """Raise PaidElsewhere where another ledger of the study holds paid answers to this scan, and its own has none."""
    if any(run.key == info.key for run in reads.same_scans(own.path, info)):
        return
    for path in unit.ledgers_elsewhere():
        with suppress(StorageError):  # damaged, or of another schema: nothing that a scan could go on with
            refuse_to_pay_again(path, info)


def _check_images(unit: Unit, images: ScanImages) -> None:
    """Raise DataError where the images differ from the plan, as on a worker with other data of the same name."""
    if images.sha256 != unit.data_hash:
        data = unit.study.settings.get("data")
        raise DataError(f"{data}: holds other images than the study was planned with; give this worker the same data")


_OF_THE_MANIFEST = frozenset({"clean_accuracy"})
"""Fields that a line takes from the victim's manifest, although the verdict has a field of the same name."""

_OF_THE_VERDICT = {field.name for field in fields(VerdictRow)} & ResultLine.model_fields.keys() - _OF_THE_MANIFEST
"""Fields that a line takes from the stored verdict, under the same name."""


def line_of(unit: Unit, result: ScanResult, broken: str) -> ResultLine:
    """The result line of a run, from its ledger and the victim's manifest. broken: put first in its notes."""
    assert result.db is not None
    victim, run = unit.victim, StoredRun.read(result.db, result.run)
    white_box = method(unit.detector).white_box
    cost = cost_of(run) if white_box else {}
    stored = {name: getattr(result, name) for name in _OF_THE_VERDICT}
    stored["notes"] = "; ".join(filter(None, (broken, result.notes)))
    return ResultLine(
        zoo=unit.study.name,
        split=unit.study.split,
        index=victim.index,
        model_hash=run.info.model_hash if unit.study.served is None else str(victim.sha256),
        detector=unit.detector,
        config_hash=unit.config_hash,
        config=unit.study.in_lines(json.loads(run.info.config)),
        seed=run.info.seed,
        data_hash=run.info.data_hash,
        image_shape=result.image_shape,
        environment=json.loads(run.info.environment),
        truth=victim.truth,
        stratum=victim.stratum,
        attack=victim.attack_kind,
        architecture=victim.architecture,
        target_classes=victim.target_classes,
        clean_accuracy=victim.clean_accuracy,
        implant_success=victim.success_rate,
        **stored,
        probability=None if result.probability is None else result.probability.value,
        queries=result.spent,
        decision_queries=None if white_box else decision_queries(run, result.spent),
        image_queries=result.image_queries,
        white_box=white_box,
        forward_passes=cost.get("forward_passes"),
        backward_passes=cost.get("backward_passes"),
        classes=tuple(map(_class_line, result.classes)),
    )


def _class_line(result: ClassResult) -> ClassLine:
    trigger = result.trigger
    of_trigger: dict[str, Any] = {"family": trigger.family, "strength": trigger.strength, "unit": trigger.unit}
    own: dict[str, Any] = {name: getattr(result, name) for name in ClassLine.model_fields.keys() - of_trigger.keys()}
    return ClassLine(**own, **of_trigger)


def decision_queries(run: StoredRun, spent: int) -> int:
    """The queries of a finished run before it began to refine the trigger that it had found.

    A refinement after which the search went on, since the trigger did not stand, counts as part of the search.
    """
    steps = sorted(run.steps.values(), key=lambda step: step.id)
    searched = [step.id for step in steps if step.purpose == "search" and not is_refinement(step.state)]
    refining = [step.id for step in steps if is_refinement(step.state) and step.id > max(searched, default=0)]
    before = run.spent_before(refining) if refining else None
    return spent if before is None else before
