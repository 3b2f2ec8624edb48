"""One model, one verdict: the scan itself, in a ledger from its first query to its verdict."""

from __future__ import annotations

import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from db import reads
from db.ledger import Ledger, Run
from db.records import RunInfo, VerdictRow
from oracles.budget import Budget
from oracles.guard import ServiceClock
from oracles.oracle import Oracle
from oracles.resume import Past
from oracles.spec import build
from oracles.torch_model import Output, TorchOracle
from simkit.data import ImageSet, load, unlabelled
from simkit.errors import ConfigError, DataError
from simkit.home import home
from simkit.search.annealing import AnnealingConfig
from simkit.search.contract import Search, Task
from simkit.search.driver import Checkpoint
from simkit.search.evaluator import Evaluator
from simkit.search.images import ScanImages, class_of_all
from simkit.search.presets import Preset
from simkit.search.race_config import RaceConfig
from simkit.search.random_patch import RandomPatchConfig
from simkit.search.relay import Relay
from simkit.seeding import stream
from studies.identity import run_info, with_output
from studies.models import Model, OpenedModel, open_model
from studies.no_images import shaped, to_be_made
from studies.runs import LateRun, opened, warn_of_others
from studies.scan_config import ScanConfig
from studies.scan_result import Bill, ScanResult, scan_result, trigger_rows, verdict_row
from studies.trigger_files import check_folder, file_stem, save_triggers

_LARGE_SHARE = 0.2
"""Of an image: 4x4 patches on 8x8 pixels, a quarter, flagged clean models; 3x3, a seventh, did not."""

_FEW_PIXELS = 4
"""A race for smaller patches than 2x2 says so."""

_TELL_SECONDS = 0.2
"""How often progress is told, at most."""


@dataclass(frozen=True)
class Standing:
    """Where a scan stands: queries so far (also those of earlier processes), rounds, the smallest working mask."""

    queries: int
    budget: int | None
    rounds: int
    smallest: float | None


Images: TypeAlias = ImageSet | torch.Tensor | NDArray[Any]
Told: TypeAlias = Callable[[Standing], None]


def scan(
    model: Model,
    *,
    images: Images | None = None,
    db: str | Path | Ledger | None = None,
    out: str | Path | None = None,
    progress: Told | None = None,
    **settings: Any,
) -> ScanResult:
    """Whether `model` carries a backdoor, found by asking it; settings are the fields of `ScanConfig`.

    `scan(model, data="cifar10/", budget=100_000, oracle="top3", db="run.db").verdict` is all it takes; with
    `preset="b3d-ss"` no data.

    model: a torch module, a file, `DIR:7` for an entry of a zoo, an Oracle, or a function (see `callable_oracle`).
    images: instead of `data`, test images; a tensor or an array of them has no labels, then the model's own answers,
    asked for first, stand in. db: the ledger, where the same call goes on after a crash, and answers without a query
    once it is finished; None keeps nothing, and an open Ledger may take many scans. out: folder for the triggers, by
    default beside the ledger. Raises ConfigError, InvalidSpec, DataError, ModelError before the ledger is touched, a
    ModelError of the first query with the ledger as it was; StorageError. Warns where the ledger has the same scan from
    another environment.
    """
    return run_scan(prepare(model, ScanConfig.of(settings), images), db, out, progress)


@dataclass(frozen=True, eq=False)
class Prepared:
    """A scan that is known to be sound and has asked nothing yet. source: what `model` was opened from."""

    model: OpenedModel
    images: ScanImages
    config: ScanConfig
    source: Model

    def search(self, images: ImageSet, stage: Preset) -> Search:
        """A fresh search of this stage on these images. Raises ConfigError if it cannot be."""
        task = Task(images.image_shape, self.model.oracle.n_classes, images.labels)
        return stage.search.search(task, self.config.seed)

    def oracle(self, output: Output) -> Oracle:
        """The model to ask. output: what an earlier process found that its rows are; `auto` if nobody asked yet."""
        oracle = self.model.oracle
        if output == "auto" or not isinstance(oracle, TorchOracle) or oracle.output == output:
            return oracle
        config = self.config.model_copy(update={"output": output})
        return open_model(self.source, self.images.search, config).oracle


def prepare(model: Model, config: ScanConfig, images: Images | None = None) -> Prepared:
    """Read and check everything that a scan needs, without a query and without a ledger. Raises as `scan` does.

    The config of the result has the model's image shape where images are to be made.
    """
    config = config if config.resolved().synthesis is None else shaped(config, model)
    chosen = choose_images(config, images)
    prepared = Prepared(open_model(model, chosen.search, config), chosen, config, model)
    for stage in config.resolved().stages:
        prepared.search(chosen.search, stage)
    build(config.oracle, config.restricted(prepared.model.oracle, 0), Budget(0))
    _warn_of_large_patches(config, chosen.search)
    return prepared


def _warn_of_large_patches(config: ScanConfig, images: ImageSet) -> None:
    """Patches are judged by their size in pixels; on small images they hide what the class is seen by."""
    preset, (_, height, width) = config.resolved(), images.image_shape
    search = preset.search
    if isinstance(search, RaceConfig) and preset.then is None and search.largest_area(images.image_shape) < _FEW_PIXELS:
        warnings.warn(
            f"on images of {height}x{width} this race looks for patches of {search.largest_area(images.image_shape)} "
            "pixels at most; raise search.largest_share and rule.threshold, or choose preset auto",
            stacklevel=2,
        )
    if not isinstance(search, RandomPatchConfig | AnnealingConfig):
        return
    if search.largest_side**2 / (height * width) > _LARGE_SHARE:
        warnings.warn(
            f"patches of {search.largest_side}x{search.largest_side} cover much of an image of {height}x{width}: clean "
            "models may be flagged; lower search.largest_side and rule.threshold, or raise search.required_success",
            stacklevel=2,
        )


def choose_images(config: ScanConfig, images: Images | None) -> ScanImages:
    """Disjoint search and verification images of the test split, drawn by the seed; blank where they are to be made.

    Raises DataError, ConfigError.
    """
    if config.resolved().synthesis is not None:
        return to_be_made(config, given=images is not None)
    wanted = config.search_images + config.verify_images
    if config.image_shape is not None:
        raise ConfigError(f"image_shape is for presets that make images, {config.preset_name} does not; leave it out")
    if images is None:
        if not config.data:
            raise ConfigError(
                "no images to scan with; give data, for example data='digits', or images, or choose preset b3d-ss, "
                "which needs none"
            )
        images = load(config.data, "test", wanted, config.seed, config.image_size)
    elif config.data or config.image_size:
        raise ConfigError("images are given, and data or image_size too; give either images or data")
    elif not isinstance(images, ImageSet):
        return choose_images(config, unlabelled(images))
    elif len(images) >= wanted:
        images = images.take(stream(config.seed, "scan", "images").permutation(len(images))[:wanted])
    if len(images) < wanted:
        raise DataError(_too_few(images, config))
    numbers = np.arange(wanted)
    chosen = ScanImages(images.take(numbers[: config.search_images]), images.take(numbers[config.search_images :]))
    _check_labels(images, chosen.search)
    return chosen


def _too_few(images: ImageSet, config: ScanConfig) -> str:
    """What to set instead, in the same proportion."""
    wanted, there = config.search_images + config.verify_images, len(images)
    said = f"{images.name}: {there} images, but search_images + verify_images is {wanted}"
    if there < 2:
        return f"{said}; give two images or more"
    search, verify = (max(1, n * there // wanted) for n in (config.search_images, config.verify_images))
    return f"{said}; --set search_images={min(search, there - 1)} --set verify_images={verify} fits"


def _check_labels(images: ImageSet, searched: ImageSet) -> None:
    unknown = int((images.labels < 0).sum())
    if 0 < unknown < len(images):
        raise DataError(f"{images.name}: {unknown} of {len(images)} images have no label; give all of them, or none")
    if (owner := class_of_all(searched)) is not None:
        raise DataError(f"{images.name}: every search image is of class {owner}; give images of two classes or more")


def run_scan(
    prepared: Prepared,
    db: str | Path | Ledger | None = None,
    out: str | Path | None = None,
    progress: Told | None = None,
) -> ScanResult:
    """Scan, or go on with a scan, or answer from a finished one; see `scan`."""
    if db is None:
        with tempfile.TemporaryDirectory(prefix="simkit-") as folder:
            kept = _in_ledger(prepared, Path(folder) / "scan.db", None if out is None else Path(out), progress)
            return replace(kept, run=None, db=None)
    if not prepared.model.sha256:
        raise ConfigError("an oracle or a function has no weights to know it by; give name=..., one for each model")
    ledger = db if isinstance(db, Ledger) else Path(db)
    return _in_ledger(prepared, ledger, _trigger_folder(ledger, out), progress)


def default_db(prepared: Prepared) -> Path:
    """Where a scan is kept when nobody says: the same scan, the same file."""
    info = run_info(prepared.model, prepared.images, prepared.config)
    return home() / "scans" / f"{file_stem(prepared.model.name, info.key)}.db"


def _trigger_folder(db: Path | Ledger, out: str | Path | None) -> Path:
    beside = db.path if isinstance(db, Ledger) else db
    return beside.parent / "triggers" if out is None else Path(out)


def _in_ledger(prepared: Prepared, db: Path | Ledger, out: Path | None, progress: Told | None) -> ScanResult:
    info = run_info(prepared.model, prepared.images, prepared.config)
    if out is not None:
        check_folder(out)
    with opened(db) as ledger:
        run = _finished(prepared, ledger, info, progress)
        result, triggers = result_of(run, ledger, info), reads.triggers(ledger.path, run.id)
    if out is None:
        return result
    stem = file_stem(prepared.model.name, info.key)
    return replace(result, triggers=save_triggers(out, stem, result.flagged, triggers))


def result_of(run: Run, ledger: Ledger, info: RunInfo) -> ScanResult:
    """What the ledger has of a finished run, without its files."""
    row = run.result()
    assert row is not None
    return scan_result(row, reads.triggers(ledger.path, run.id), info, run.id, ledger.path)


class UnderWay:
    """A scan in an open ledger, which goes on as far as it is pulled; one that has its verdict there is not pulled.

    Warns where the ledger has the same scan from another environment. Raises StorageError.
    """

    def __init__(self, prepared: Prepared, ledger: Ledger, info: RunInfo) -> None:
        self._prepared = prepared
        kept = reads.same_scans(ledger.path, info)
        own = next((run for run in kept if run.key == info.key), None)
        self._oracle = prepared.oracle(own.environment.get("output", "auto") if own else "auto")
        self._late = LateRun(lambda: ledger.begin(with_output(info, self._oracle)))
        self._relay = Relay(prepared.config.course(), prepared.images, lambda: prepared.model.oracle.n_classes)
        if own is None:
            warn_of_others(ledger.path, info, kept)
        self.verdict: VerdictRow | None = None if own is None else self._late.run.result()
        """What the ledger has of its end, None before."""

    @property
    def run(self) -> Run:
        """Its run, which begins with its first answer."""
        return self._late.run

    @property
    def search(self) -> Search:
        """The search of the stage that is under way."""
        return self._relay.search

    @property
    def score(self) -> float | None:
        """The verdict's score; before there is one, what the rule says by now, before any unseen image is asked."""
        return self._relay.decision().score if self.verdict is None else self.verdict.score

    def steps(self) -> Iterator[Checkpoint]:
        """Ask until there is a verdict, a checkpoint after every step, and finish the run with it; to be pulled once.

        The queries of a checkpoint count those of earlier processes. Only time between pulls counts as the scan's.
        """
        began, seconds, config = time.perf_counter(), 0.0, self._prepared.config
        before = self.run if self._late.begun else None
        past = Past(before.spent, before.stored_calls(), before.stored_refusals()) if before else None
        spent = past.queries if past else 0
        budget, clock = Budget(config.budget, spent=spent), ServiceClock(config.oracle.real_time)
        oracle = build(
            config.oracle, config.restricted(self._oracle, spent), budget, self._late, past=past, clock=clock
        )
        verdict = None
        for checkpoint in self._relay.run(Evaluator(oracle, self._late)):
            verdict, seconds = checkpoint.verdict, seconds + time.perf_counter() - began
            if verdict is not None:
                bill = Bill.of(config.oracle, self.run.spent, self.run.refused, seconds, clock.seconds)
                self.run.finish(verdict_row(verdict, self._relay.rule, bill), trigger_rows(verdict))
                self.verdict = self.run.result()
            yield checkpoint
            began = time.perf_counter()
        assert verdict is not None


def _finished(prepared: Prepared, ledger: Ledger, info: RunInfo, progress: Told | None) -> Run:
    """The run of this scan with its verdict: as it is in the ledger, or conducted to it now."""
    scan, told = UnderWay(prepared, ledger, info), -_TELL_SECONDS
    for checkpoint in () if scan.verdict is not None else scan.steps():
        if progress is not None and time.perf_counter() - told >= _TELL_SECONDS:
            told = time.perf_counter()
            progress(Standing(checkpoint.queries, prepared.config.budget, checkpoint.rounds, _smallest(scan.search)))
    return scan.run


def _smallest(search: Search) -> float | None:
    return min((c.mask_size for c in search.results() if not c.censored), default=None)
