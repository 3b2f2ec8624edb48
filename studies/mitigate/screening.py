"""Screens inputs with the triggers of a finished scan, and measures how many attacks that stops, and at what cost."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from db import reads
from db.ledger import Ledger
from db.records import RunInfo, TriggerRow, VerdictRow
from db.run import Run
from db.stored import StoredRun
from oracles.budget import Budget
from oracles.guard import ServiceClock
from oracles.oracle import Oracle, Restriction
from oracles.remote.target import is_remote
from oracles.replay import ReplayOracle
from oracles.spec import OracleSpec, build
from simkit.data import ImageSet, load
from simkit.errors import ConfigError, DataError
from simkit.mitigation import Screened, Screener
from simkit.search.images import ScanImages
from simkit.search.synthesis import SYNTHETIC
from simkit.seeding import stream
from studies.ledgers.folders import SCREENER, SCREENING
from studies.ledgers.truth import Truths
from studies.mitigate.result import Judged, MitigationResult, ScreenConfig, Where, result_of
from studies.scan.config import ScanConfig
from studies.scan.images import choose_images
from studies.scan.ledger_run import DeferredRun, opened, past_of
from studies.scan.models import Model, OpenedModel, open_model
from studies.scan.result import Bill
from studies.scan.run_key import as_decided, run_info, with_output
from studies.scan.stored_triggers import stored_trigger
from studies.scan.user_code import PREFIX

_OF_A_SEARCH = frozenset({"preset", "search", "driver", "rule", "synthesis", "image_shape", "restriction"})


@dataclass(frozen=True, eq=False)
class Asked:
    """What is screened; None means as in the scan.

    data: labelled test images. oracle: the service. restriction: the user's own restriction, if the scan had one. zoos:
    folders of zoos that may know the attack, besides that of the model.
    """

    model: Model | None = None
    data: str | None = None
    oracle: OracleSpec | None = None
    restriction: Restriction | None = None
    zoos: tuple[Path, ...] = ()


AS_SCANNED = Asked()
"""The scan's own model, data and service."""

DEFAULT = ScreenConfig()


def mitigate(
    scan_db: str | Path,
    run: int | None = None,
    asked: Asked = AS_SCANNED,
    config: ScreenConfig = DEFAULT,
    db: str | Path | None = None,
) -> MitigationResult:
    """Reject inputs whose answers the triggers of a scan hardly change, and measure the effect.

    scan_db, run: a finished run that flags a class; it is only read. The inputs are test images that the scan did not
    use and, where a zoo knows the attack, the same images with the trigger; each takes 1 + (flagged classes) queries.
    db: the ledger of these queries, by default `SCAN.mitigation.db` beside that of the scan; an equal second call sends
    no query. Raises ConfigError where the run has no trigger or the budget is too small, DataError, ModelError and
    StorageError before any query; Refused.
    """
    path = Path(scan_db)
    stored = StoredRun.read(path, run)
    verdict, triggers = _reversed(stored)
    screening = _prepared(stored, triggers, asked, config)
    ledger_path = path.with_suffix(SCREENING) if db is None else Path(db)
    if ledger_path.resolve() == path.resolve():
        raise ConfigError(f"{path}: is the ledger of the scan, which is only read; name another file")
    with opened(ledger_path) as ledger:
        return _conducted(screening, ledger, verdict)


@dataclass(frozen=True, eq=False)
class _Screening:
    """Everything needed for the first query. triggered: None where no zoo knows the attack."""

    stored: StoredRun
    triggers: Sequence[TriggerRow]
    model: OpenedModel
    clean: ImageSet
    triggered: ImageSet | None
    service: ScanConfig
    config: ScreenConfig

    @property
    def info(self) -> RunInfo:
        """The identity of the run: triggers, images and service, but not the threshold, which needs no query."""
        digest = hashlib.sha256()
        for row in self.triggers:
            digest.update(_form(row))
        kind = {"kind": SCREENER, "scan": self.stored.info.key, "triggers": digest.hexdigest()}
        images = ScanImages(self.clean, self.clean if self.triggered is None else self.triggered)
        return run_info(self.model, images, self.service, kind)


def _form(row: TriggerRow) -> bytes:
    if row.mask is not None and row.pattern is not None:
        return row.mask.tobytes() + row.pattern.tobytes()
    return (row.parameters or "").encode()


def _reversed(stored: StoredRun) -> tuple[VerdictRow, list[TriggerRow]]:
    """The verdict of a run, and the triggers of the flagged classes."""
    verdict, where = reads.result(stored.path, stored.id), f"{stored.path}: run {stored.id}"
    if verdict is None:
        raise ConfigError(f"{where} has no verdict yet; finish the scan first")
    if not verdict.flagged:
        raise ConfigError(f"{where} is {verdict.verdict}: it flags no class, so there is no trigger to screen with")
    triggers = [row for row in reads.triggers(stored.path, stored.id) if row.target_class in verdict.flagged]
    if missing := set(verdict.flagged) - {row.target_class for row in triggers if row.mask_size > 0}:
        raise ConfigError(f"{where} flags class {min(missing)} without a trigger; scan with a search that reverses one")
    return verdict, triggers


def _prepared(stored: StoredRun, triggers: Sequence[TriggerRow], asked: Asked, config: ScreenConfig) -> _Screening:
    service = _service(stored, asked)
    clean = _unseen_images(stored, service, config)
    model = _opened(stored, asked, clean, service)
    attack = Truths(asked.zoos).attack_on(stored.info)
    triggered = None if attack is None else attack.triggered(clean)
    needed = (1 + len(triggers)) * (len(clean) + (0 if triggered is None else len(triggered)))
    if config.budget is not None and config.budget < needed:
        raise ConfigError(
            f"{needed} queries are needed, but the budget is {config.budget}; raise it, or use fewer images"
        )
    paid = service.model_copy(update={"budget": config.budget or needed})
    return _Screening(stored, triggers, model, clean, triggered, paid, config)


def _service(stored: StoredRun, asked: Asked) -> ScanConfig:
    """The settings of a run without its search, with those of `asked` in their place."""
    info = stored.info
    settings: dict[str, Any] = json.loads(info.config)
    if settings.get("restriction") is not None and asked.restriction is None:
        kind = settings["restriction"].get("kind")
        raise ConfigError(f"run {stored.id} used the restriction {kind}; give it")
    kept = {name: settings[name] for name in settings.keys() & ScanConfig.model_fields.keys() - _OF_A_SEARCH}
    output = json.loads(info.environment).get("output", "auto")
    if asked.data is None and info.data == SYNTHETIC:
        raise ConfigError(f"run {stored.id} had no data, but screening needs labelled images; give data")
    given: dict[str, Any] = {"data": asked.data or info.data, "restriction": asked.restriction}
    given |= {} if asked.oracle is None else {"oracle": asked.oracle}
    return ScanConfig.of(kept | ({} if output == "auto" else {"output": output}) | given)


def _opened(stored: StoredRun, asked: Asked, images: ImageSet, service: ScanConfig) -> OpenedModel:
    info = stored.info
    if asked.model is None and info.model.startswith(PREFIX):
        raise ConfigError(
            f"the model of run {stored.id}, {info.model}, is code, which is not run because a ledger names it; give it"
        )
    if asked.model is None and is_remote(info.model):
        raise ConfigError(
            f"the model of run {stored.id}, {info.model}, is a service, which is not asked because a ledger names it; "
            "give it"
        )
    opened = open_model(info.model if asked.model is None else asked.model, images, service)
    if opened.sha256 != info.model_hash:
        raise ConfigError(
            f"{opened.name}: is not the model of run {stored.id}, whose triggers these are; give that one"
        )
    return opened


def _unseen_images(stored: StoredRun, service: ScanConfig, config: ScreenConfig) -> ImageSet:
    """Labelled test images that the scan did not use, up to the wanted number."""
    wanted = config.images + service.search_images + service.verify_images
    images = load(service.data, "test", wanted, config.seed, service.image_size)
    if not images.labelled:
        raise DataError(f"{images.name}: the images have no labels; give labelled test images")
    used = _used(service)
    order = stream(config.seed, "mitigation", "images").permutation(len(images))
    unseen = [i for i in order if images.pixels[i].numpy().tobytes() not in used][: config.images]
    if not unseen:
        raise DataError(f"{images.name}: run {stored.id} used every image of it; give more test images")
    return images.take(unseen)


def _used(service: ScanConfig) -> set[bytes]:
    """The pixels of each image that a scan with these settings uses; empty where there are too few for a scan."""
    try:
        chosen = choose_images(service, None)
    except DataError:
        return set()  # these data are not those of the scan
    return {image.numpy().tobytes() for images in (chosen.search, chosen.verify) for image in images.pixels}


def _conducted(screening: _Screening, ledger: Ledger, verdict: VerdictRow) -> MitigationResult:
    """Send the queries that the ledger does not hold yet, and evaluate the answers."""
    started, info, clock = time.perf_counter(), screening.info, ServiceClock(screening.service.oracle.real_time)
    late = DeferredRun(lambda: ledger.begin(with_output(info, screening.model.oracle)))
    own = next((run for run in reads.same_scans(ledger.path, info) if run.key == info.key), None)
    model = as_decided(screening.model.oracle, own.environment if own else {})
    oracle = _oracle(screening, model, late, clock, continued=own is not None)
    screener = Screener(oracle, [stored_trigger(row) for row in screening.triggers], late)
    clean = screener.screen(screening.clean.pixels)
    triggered = None if screening.triggered is None else screener.screen(screening.triggered.pixels)
    if late.run.result() is None:
        spent, spec = (late.run.spent, late.run.refused), screening.service.oracle
        bill = Bill.of(spec, *spent, time.perf_counter() - started, clock.seconds)
        accuracy = float((clean.labels == screening.clean.labels).mean())
        _finish(late.run, screening, replace(verdict, **asdict(bill), clean_accuracy=accuracy))
    return _result(screening, clean, triggered, Where(late.run.spent, ledger.path, late.run.id))


def _oracle(screening: _Screening, model: Oracle, late: DeferredRun, clock: ServiceClock, *, continued: bool) -> Oracle:
    """The service, which replays the stored answers first; only these where the run is finished."""
    service = screening.service
    if continued and late.run.result() is not None:
        return ReplayOracle(late.run.stored_calls(), model.n_classes, model.image_shape)
    past = past_of(late.run) if continued else None
    spent = 0 if past is None else past.queries
    budget = Budget(service.budget, spent=spent)
    return build(service.oracle, service.restricted(model, spent), budget, late, past=past, clock=clock)


def _finish(run: Run, screening: _Screening, verdict: VerdictRow) -> None:
    """Finish the run with the verdict and the triggers of the scan, since a mitigation has no verdict of its own."""
    notes = f"inputs screened with the triggers of run {screening.stored.id} of {screening.stored.path.name}"
    said = "; ".join(filter(None, (f"{notes}, whose verdict this is", screening.model.notes)))
    run.finish(replace(verdict, notes=said), screening.triggers)


def _result(screening: _Screening, clean: Screened, triggered: Screened | None, kept: Where) -> MitigationResult:
    combined = screening.config.combined
    of_triggered = None
    if triggered is not None and screening.triggered is not None:
        of_triggered = Judged.of(triggered, screening.triggered, combined)
    return result_of(
        tuple(row.target_class for row in screening.triggers),
        Judged.of(clean, screening.clean, combined),
        of_triggered,
        screening.config.threshold,
        kept,
    )
