"""Scans one model, with every query from the first to the verdict in a ledger."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from db import reads
from db.errors import StorageError
from db.ledger import Ledger
from db.records import RunInfo, VerdictRow
from db.run import Run
from oracles.budget import Budget
from oracles.errors import ModelError
from oracles.guard import ServiceClock
from oracles.remote.oracle import RemoteOracle
from oracles.spec import build
from oracles.torch_model import TorchOracle, check_answers
from simkit.errors import ConfigError
from simkit.home import home
from simkit.progress import OnProgress
from simkit.search.driver import Checkpoint
from simkit.search.evaluator import Evaluator
from simkit.search.relay import Relay
from simkit.transforms.families import Reader
from simkit.verdict import Verdict
from studies.scan.config import ScanConfig
from studies.scan.images import Images
from studies.scan.ledger_run import DeferredRun, opened, past_of, refuse_to_pay_again, warn_of_others
from studies.scan.link import Link
from studies.scan.models import Model
from studies.scan.prepare import Prepared, prepare
from studies.scan.progress import StageProgress
from studies.scan.result import Bill, ScanResult, result_of, verdict_row
from studies.scan.ruled_out import ruled_out
from studies.scan.run_key import as_decided, with_notes, with_output
from studies.scan.stored_triggers import Admission, readers_of, trigger_rows
from studies.scan.trigger_files import check_folder, file_stem, save_triggers

_TELL_SECONDS = 0.2
"""Minimum seconds between two progress reports."""


def scan(
    model: Model,
    *,
    images: Images | None = None,
    db: str | Path | Ledger | None = None,
    out: str | Path | None = None,
    progress: OnProgress | None = None,
    new_run: bool = False,
    **settings: Any,
) -> ScanResult:
    """Decide by queries whether `model` carries a backdoor; settings are the fields of `ScanConfig`.

    For example: `scan(model, data="cifar10/", budget=100_000, oracle="top3", db="run.db").verdict`. With
    `preset="b3d-ss"` no data is needed.

    model: a torch module, a file, `DIR:7` for an entry of a zoo, an Oracle, or a function (see `callable_oracle`).
    images: test images in place of `data`; a tensor or an array has no labels, so the model's own answers, queried
    first, are used as labels. db: the ledger, in which the same call resumes after a crash, and returns the stored
    result without a query once finished; None stores nothing, and an open Ledger may hold many scans. out: folder for
    the triggers, by default beside the ledger. progress: told the queries so far, including those of earlier
    processes, those at which the turn of the current stage ends at most, and a note with its name. new_run: start a
    new run, and pay again, where the ledger holds the same scan with a verdict, or with another number of threads or
    other library versions, which is a ConfigError without it; an interrupted run is resumed. Raises ConfigError,
    InvalidSpec, DataError and ModelError before the ledger is touched, ModelError by the first query with the ledger
    unchanged, and StorageError.
    """
    prepared = prepare(model, ScanConfig.of(settings), images)
    return run_scan(prepared, db, out, progress, new_run=new_run, again=new_run)


def run_scan(
    prepared: Prepared,
    db: str | Path | Ledger | None = None,
    out: str | Path | None = None,
    progress: OnProgress | None = None,
    *,
    new_run: bool = False,
    again: bool = False,
) -> ScanResult:
    """Start a scan, resume it, or return its stored result; see `scan`.

    new_run: admit a run from another environment. again: begin anew also where this scan has its verdict.
    """
    if db is None:
        with tempfile.TemporaryDirectory(prefix="simkit-") as folder:
            kept = _in_ledger(prepared, Path(folder) / "scan.db", None if out is None else Path(out), progress, True)
            return replace(kept, run=None, db=None)
    if not prepared.model.sha256:
        raise ConfigError(
            "an oracle or a function has no weights that identify it; give name=..., a different one for each model"
        )
    ledger = db if isinstance(db, Ledger) else Path(db)
    try:
        return _in_ledger(prepared, ledger, _trigger_folder(ledger, out), progress, new_run, again)
    except ModelError as error:
        _tell_what_is_kept(error, prepared, ledger.path if isinstance(ledger, Ledger) else ledger)
        raise


def _tell_what_is_kept(error: ModelError, prepared: Prepared, ledger: Path) -> None:
    """Add to the error of a model that failed how many answers are stored; a remote service's says so itself."""
    if isinstance(prepared.model.oracle, RemoteOracle) or not ledger.exists():
        return
    stored = 0
    with suppress(StorageError):  # the model's error is what to tell
        key = _last(prepared, ledger, again=False).info.key
        runs = [run.id for run in reads.same_scans(ledger, prepared.info) if run.key == key]
        stored = sum(row["spent"] for row in reads.listed(ledger) if row["run"] in runs)
    if stored:
        error.args = (f"{error}; {stored:,} answers are stored, and the same scan goes on from there",)


def _last(prepared: Prepared, ledger: Path, again: bool) -> Prepared:
    """The scan as the last of its runs in this environment. again: as the one after it, once that has its verdict."""
    kept = {run.key: run.id for run in reads.same_scans(ledger, prepared.info)}
    attempt = prepared.attempt
    while prepared.key_of(attempt + 1) in kept:
        attempt += 1
    own = kept.get(prepared.key_of(attempt))
    attempt += again and own is not None and reads.result(ledger, own) is not None
    return prepared if attempt == prepared.attempt else replace(prepared, attempt=attempt)


def default_db(prepared: Prepared) -> Path:
    """The default ledger of a scan; the same scan has the same file.

    If it has none, the file of the same scan from another environment, which was paid for already.
    """
    info = prepared.info
    own = home() / "scans" / f"{file_stem(prepared.model.name, info.key)}.db"
    if own.exists():
        return own
    others = sorted(own.parent.glob(f"{file_stem(prepared.model.name, '')}*.db"))
    return next((other for other in others if _same_in(other, info)), own)


def _same_in(ledger: Path, info: RunInfo) -> bool:
    try:
        return bool(reads.same_scans(ledger, info))
    except StorageError:  # damaged, or of another schema: no place for a new run
        return False


def _trigger_folder(db: Path | Ledger, out: str | Path | None) -> Path:
    beside = db.path if isinstance(db, Ledger) else db
    return beside.parent / "triggers" if out is None else Path(out)


def _in_ledger(
    prepared: Prepared,
    db: Path | Ledger,
    out: Path | None,
    progress: OnProgress | None,
    new_run: bool,
    again: bool = False,
) -> ScanResult:
    if out is not None:
        check_folder(out)
    with opened(db) as ledger:
        if not new_run:
            refuse_to_pay_again(ledger.path, prepared.info)
        prepared = _last(prepared, ledger.path, again)
        info = prepared.info
        run = _finished(prepared, ledger, progress)
        more = own_families(prepared.config)
        result, triggers = result_of(run, ledger, info, more), reads.triggers(ledger.path, run.id)
    if out is None:
        return result
    stem = file_stem(prepared.model.name, info.key)
    return replace(result, triggers=save_triggers(out, stem, result.flagged, triggers, more))


def _finished(prepared: Prepared, ledger: Ledger, progress: OnProgress | None) -> Run:
    """The finished run of this scan, from the ledger or run to its verdict now."""
    scan, last_told = OpenScan(prepared, ledger), -_TELL_SECONDS
    for checkpoint in () if scan.verdict is not None else scan.steps():
        if progress is not None and time.perf_counter() - last_told >= _TELL_SECONDS:
            last_told = time.perf_counter()
            progress(*scan.told(checkpoint))
    return scan.run


def own_families(config: ScanConfig) -> Mapping[str, Reader]:
    """The readers of the families that do not come with simkit, of the searches of all stages."""
    return readers_of(*(stage.search for stage in config.resolved().stages))


class OpenScan:
    """A scan in an open ledger, which advances on demand; a scan with a stored verdict is not advanced.

    Warns where the ledger holds the same scan from another environment. Raises StorageError, and ConfigError where no
    class could be flagged with these images.
    """

    def __init__(self, prepared: Prepared, ledger: Ledger) -> None:
        self._prepared, info = prepared, prepared.info
        kept = reads.same_scans(ledger.path, info)
        own = next((run for run in kept if run.key == info.key), None)
        self._oracle = prepared.model.oracle
        self._late = DeferredRun(lambda: ledger.begin(with_output(info, self._oracle)), self._odd)
        if own is not None:
            self._oracle = as_decided(self._oracle, own.environment, self._late.resume(own.environment))
        self._relay = Relay(prepared.course, prepared.images, lambda: prepared.model.oracle.n_classes)
        self._progress = StageProgress(prepared, self._relay)
        if own is None:
            prepared.course.check(prepared.images, prepared.model.oracle.n_classes)
            warn_of_others(ledger.path, info, kept)
        self.verdict: VerdictRow | None = None if own is None else self._late.run.result()
        """The stored verdict, None before the end."""

    def _ruled_out(self, verdict: Verdict) -> tuple[Mapping[str, Any], ...] | None:
        """What a clean verdict rules out; None for others."""
        if verdict.verdict != "clean":
            return None
        prepared = self._prepared
        local = isinstance(prepared.model.oracle, TorchOracle)
        return ruled_out(prepared.config, prepared.images.search.image_shape, local=local)

    def _odd(self) -> int:
        return self._oracle.odd if isinstance(self._oracle, TorchOracle) else 0

    @property
    def run(self) -> Run:
        """The run, which starts with the first answer."""
        return self._late.run

    def told(self, checkpoint: Checkpoint) -> tuple[int, int | None, str]:
        """What a progress callback is called with, see `StageProgress.told`."""
        return self._progress.told(checkpoint)

    @property
    def score(self) -> float | None:
        """The verdict's score; before the verdict, the rule's score for the triggers so far, without confirmation."""
        return self._relay.decision().score if self.verdict is None else self.verdict.score

    def steps(self) -> Iterator[Checkpoint]:
        """Send queries until there is a verdict, with a checkpoint after every step, and finish the run; use once.

        The queries of a checkpoint include those of earlier processes. Time that the caller spends between checkpoints
        is not counted.
        """
        if isinstance(self._oracle, TorchOracle):
            check_answers(self._oracle, self._prepared.images.search.pixels)
        began, seconds, config = time.perf_counter(), 0.0, self._prepared.config
        before = self.run if self._late.begun else None
        past = past_of(before) if before else None
        spent = past.queries if past else 0
        budget, clock = Budget(config.budget, spent=spent), ServiceClock(config.oracle.real_time)
        link = Link.of(self._oracle, config)
        link.begin(self._prepared.info.key, spent, self._late)
        model = config.restricted(link.resumable(self._oracle), spent)
        oracle = link.around(build(config.oracle, model, budget, self._late, past=past, clock=clock))
        verdict = None
        for checkpoint in self._relay.run(Evaluator(oracle, self._late, admit=Admission(own_families(config)))):
            verdict, seconds = checkpoint.verdict, seconds + time.perf_counter() - began
            if verdict is not None:
                verdict = with_notes(verdict, self._prepared.model, self._oracle)
                bill = Bill.of(config.oracle, self.run.spent, self.run.refused, seconds, clock.seconds)
                row = replace(verdict_row(verdict, self._relay.rule, bill), ruled_out=self._ruled_out(verdict))
                self.run.finish(row, trigger_rows(verdict))
                self.verdict = self.run.result()
            yield checkpoint
            began = time.perf_counter()
        assert verdict is not None
